"""Pictures of a run, drawn with matplotlib (the extra ``plot``)."""

import functools
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.env import COMPONENTS, EnvParams, EnvState
from aljax.errors import UserError, one_line, plain_path
from aljax.evaluate import Evaluation, Summary
from aljax.exact import recursion
from aljax.exact.structure import Plan
from aljax.host import files
from aljax.host.terminal import visible
from aljax.offline.answer import Answer
from aljax.policy import Policy
from aljax.scenario import Scenario
from aljax.statistics import Interval
from aljax.train import Curve

_GRID = 61  # points along each side of the picture of choices
_MOST_NAMED = 12  # actions with a colour of their own; the eye tells no more apart
_OTHER = "0.75"  # the colour of all others
_LETTER = 0.075  # inches, of a legend's text


def pyplot() -> Any:
    """Imports matplotlib for drawing without a screen.

    Raises:
      UserError: it is not there, or its parts do not go together.
    """
    log = logging.getLogger("matplotlib")
    if log.level == logging.NOTSET:
        log.setLevel(logging.ERROR)  # a cache that cannot be written, a font that is missing: the picture is drawn
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import matplotlib

            matplotlib.use("Agg")
            import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        raise UserError("plots need matplotlib: pip install 'aljax[plot]', or leave them out with --no-plots") from None
    except Exception as error:  # whatever a broken installation or environment raises
        raise UserError(f"matplotlib cannot be loaded: {one_line(error) or type(error).__name__}") from None
    plt.rcParams.update(
        {"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 120, "font.size": 9, "text.usetex": False}
    )
    return plt


def check_figure(path: Path) -> None:
    """Refuses a picture that is asked for by name, before the work.

    Raises:
      UserError: no name of a PNG file, or no matplotlib.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"figure: expected a file that ends in .png, got {plain_path(path)}")
    pyplot()


def draw_all(drawings: Mapping[Path, Callable[[Path], None]]) -> list[str]:
    """Draws pictures, each whole or not at all; one that fails costs itself only.

    Args:
      drawings: by the PNG file to make, what draws it to the path that it is given.

    Returns:
      A complaint a picture that could not be drawn, or a single one where none can: a line each.
    """
    try:
        plt = pyplot()
    except UserError as error:
        return [f"no pictures: {error}"]
    complaints, before = [], set(plt.get_fignums())
    for place, drawing in drawings.items():
        try:
            with warnings.catch_warnings(), files.whole_file(place) as file:
                warnings.simplefilter("ignore")  # such as a glyph that no font has
                drawing(file)
        except Exception as error:  # whatever matplotlib raises: results are worth more than their pictures
            complaints.append(f"{place} could not be drawn: {type(error).__name__}: {one_line(error)}")
        for left in set(plt.get_fignums()) - before:
            plt.close(left)
    return complaints


def label(text: object, most: int = 40) -> str:
    """Text of the user's for a picture: as it is written, on one line, a long one shortened in the middle.

    Args:
      text: a name; a dollar would begin a formula.
      most: characters.

    Returns:
      What matplotlib shows as that text.
    """
    line = visible(str(text)).replace("\n", "\\n")
    if len(line) > most:
        line = f"{line[: most - most // 3 - 1]}…{line[-(most // 3) :]}"
    return line.replace("$", "\\$")


def learning_curves(path: Path, curve: Curve, batch: int, summaries: Mapping[str, Summary], title: str) -> None:
    """Cost, success, weighted-free components, entropy and gradient norm against episodes, spread over seeds.

    Args:
      path: the PNG file.
      curve: leading seed axis, ``[S, updates, ...]``.
      batch: episodes an update.
      summaries: evaluated policies, drawn as levels in the first panel.
      title: of the figure.
    """
    plt = pyplot()
    episodes = (1 + np.arange(curve.cost.shape[1])) * batch
    panels: list[tuple[str, np.ndarray]] = [
        ("total cost", np.asarray(curve.cost)),
        ("success", np.asarray(curve.success)),
    ]
    panels += [(name, np.asarray(curve.components)[..., k]) for k, name in enumerate(COMPONENTS)]
    panels += [("entropy, nats", np.asarray(curve.entropy)), ("gradient norm", np.asarray(curve.gradient_norm))]
    figure, axes = plt.subplots(3, 3, figsize=(11, 8), sharex=True, layout="constrained")
    for axis, (name, values) in zip(axes.flat, panels, strict=True):
        _over_seeds(axis, episodes, values)
        axis.set_title(name, fontsize=9)
    for (name, summary), colour in zip(summaries.items(), plt.cm.tab10.colors[1:], strict=False):
        axes.flat[0].axhline(
            summary.cost.mean, linestyle="--", linewidth=1, color=colour, label=f"{label(name)}, evaluated"
        )
    axes.flat[0].legend(fontsize=7)
    axes.flat[-1].set_yscale("log")
    for axis in axes[-1]:
        axis.set_xlabel("episodes")
    figure.suptitle(f"{label(title)}: training, {_seeds(len(curve.cost))}")
    save(figure, path, plt)


def losses(path: Path, found: np.ndarray, title: str) -> None:
    """What learning from a log minimised against its steps, smoothed, spread over seeds.

    Args:
      path: the PNG file.
      found: the losses. ``[S, updates]``
      title: of the figure.
    """
    plt = pyplot()
    values = np.asarray(found, np.float64)
    width = max(1, values.shape[1] // 100)
    values = values[:, : values.shape[1] // width * width].reshape(len(values), -1, width).mean(2)
    updates = width * (1 + np.arange(values.shape[1]))
    figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
    _over_seeds(axis, updates, values)
    axis.set(xlabel="updates", ylabel="loss", title=f"{label(title)}: learning from a log, {_seeds(len(values))}")
    axis.legend(fontsize=7)
    save(figure, path, plt)


def estimates(path: Path, answers: Mapping[str, Answer], truths: Mapping[str, Mapping[str, Interval]]) -> None:
    """Every estimator's interval, a row of panels a policy and a panel an outcome, beside the truth where it is known.

    Args:
      path: the PNG file.
      answers: by policy.
      truths: by policy and outcome; may be empty.
    """
    plt = pyplot()
    outcomes = list(next(iter(answers.values())).estimates)
    estimators = list(next(iter(answers.values())).estimates[outcomes[0]])
    size = (5 * len(outcomes), len(answers) * (0.3 * len(estimators) + 1))
    figure, axes = plt.subplots(len(answers), len(outcomes), figsize=size, squeeze=False, layout="constrained")
    for row, (name, answer) in zip(axes, answers.items(), strict=True):
        for axis, outcome in zip(row, outcomes, strict=True):
            for place, estimator in enumerate(estimators):
                interval = answer.estimates[outcome][estimator].interval
                if interval is None:
                    axis.text(0.5, place, "refused", transform=axis.get_yaxis_transform(), ha="center", va="center")
                    continue
                axis.plot([interval.low, interval.high], [place, place], color="C0", linewidth=2)
                axis.plot(interval.estimate, place, "o", color="C0", markersize=4)
            axis.axvline(answer.logged[outcome].estimate, color="grey", linestyle=":", label="the loggers")
            if name in truths:
                axis.axvline(truths[name][outcome].estimate, color="C3", linewidth=1, label="in the simulator")
            axis.set_yticks(range(len(estimators)), estimators)
            axis.invert_yaxis()
            axis.set_title(f"{label(name)}: {outcome}", fontsize=9)
    axes[0, 0].legend(fontsize=7)
    save(figure, path, plt)


def components(path: Path, scenario: Scenario, summaries: Mapping[str, Summary]) -> None:
    """Weighted cost components of every policy side by side, stacked to the total cost."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(8, 0.6 * len(summaries) + 1.6), layout="constrained")
    weights, names = np.asarray(scenario.params.weights), list(summaries)
    left, places = np.zeros(len(names)), np.arange(len(names))
    for k, component in enumerate(COMPONENTS):
        values = np.array([weights[k] * summaries[name].components[component].mean for name in names])
        axis.barh(places, values, left=left, label=component)
        left += values
    spread = [np.nan if summaries[name].single else summaries[name].cost.std for name in names]
    axis.errorbar(left, places, xerr=spread, fmt="none", color="black", capsize=3, linewidth=1)
    for place, total in zip(places, left, strict=True):
        axis.annotate(
            f" {total:.2f}", (total, place), va="center", fontsize=8, xytext=(4, 0), textcoords="offset points"
        )
    axis.set_yticks(places, [label(name) for name in names])
    axis.invert_yaxis()
    axis.margins(x=0.1)
    axis.set_xlabel("mean cost of an episode, λ-weighted")
    axis.legend(ncols=len(COMPONENTS), fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    figure.suptitle(f"{label(scenario.name)}: what each policy pays for")
    save(figure, path, plt)


def choices(
    path: Path, scenario: Scenario, evaluations: Mapping[str, Evaluation], policy: Policy | None = None
) -> None:
    """What the policies do: the share of episodes playing each action at each step, and a map of choices.

    Args:
      path: the PNG file.
      scenario: where they play.
      evaluations: one panel each.
      policy: one of those evaluated, whose choice halfway through an episode is drawn over the two coordinates of
        the task that start farthest out, the others resolved; none: no map.
    """
    plt = pyplot()
    shares = {name: np.asarray(evaluation.plays).mean(0) for name, evaluation in evaluations.items()}
    named = _named(np.max([each.sum(0) for each in shares.values()], axis=0))
    colours = _colours(plt, named, len(scenario.action_names))
    shown = len(scenario.coordinate_names) > 1 and policy is not None
    count = len(evaluations) + shown
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.7 * columns, 3 * rows + 0.6), squeeze=False, layout="constrained"
    )
    steps = 1 + np.arange(scenario.horizon)
    for axis, (name, played) in zip(axes.flat, shares.items(), strict=False):
        bottom = np.zeros(len(played))
        for row in named:
            axis.bar(steps, played[:, row], 1.0, bottom=bottom, color=colours[row], linewidth=0)
            bottom += played[:, row]
        axis.bar(steps, np.delete(played, named, axis=1).sum(1), 1.0, bottom=bottom, color=_OTHER, linewidth=0)
        axis.set(
            title=label(name), xlabel="step", ylabel="share of episodes", ylim=(0, 1), xlim=(0.5, len(steps) + 0.5)
        )
    if shown and policy is not None:
        _map_of_choices(axes.flat[len(evaluations)], scenario, policy, shares[policy.name], colours)
    for axis in list(axes.flat)[count:]:
        axis.set_axis_off()
    _legend(figure, plt, scenario, named, colours)
    figure.suptitle(f"{label(scenario.name)}: which action at which step (white: the episode has ended)")
    save(figure, path, plt)


def _map_of_choices(axis: Any, scenario: Scenario, policy: Policy, shares: np.ndarray, colours: np.ndarray) -> None:
    """The likeliest row halfway through an episode over two coordinates of the task, the others resolved."""
    params = scenario.params
    low, high = np.asarray(params.start_low), np.asarray(params.start_high)
    across, up = np.sort(np.argsort(-np.maximum(abs(low), abs(high)), kind="stable")[:2])
    sides = [_side(float(low[i]), float(high[i]), float(params.tolerance[i])) for i in (across, up)]
    z = np.zeros((len(low), _GRID * _GRID), np.float32)
    z[across], z[up] = (side.ravel() for side in np.meshgrid(*sides))
    time = scenario.horizon // 2
    spent = shares[:time].sum(0) / max(shares[:time].sum(), 1e-9) * time  # times each row was played
    batch = z.shape[1:]
    arrays: dict[str, Any] = {  # NumPy's: each would be a small program of JAX's
        "z": z,
        "misread": np.zeros_like(z),
        "latency": np.full(batch, spent @ np.asarray(params.actions.latency), np.float32),
        "money": np.full(batch, spent @ np.asarray(params.actions.money), np.float32),
        "time": np.full(batch, time, np.int32),
        "last_failed": np.full(batch, -1, np.int32),
        "done": np.zeros(batch, bool),
    }
    state = EnvState(**arrays)
    picture = colours[np.asarray(_likeliest(policy, params, state)).reshape(_GRID, _GRID)]
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    axis.imshow(picture, origin="lower", extent=extent, aspect="auto", interpolation="nearest")
    names = scenario.coordinate_names
    others = ", the rest resolved" if len(names) > 2 else ""
    axis.set(xlabel=label(names[across]), ylabel=label(names[up]))
    axis.set_title(f"{policy.name}: choice at step {time + 1} of {scenario.horizon}{others}", fontsize=9)


@jax.jit  # a program of its own: operation by operation, JAX would compile twenty
def _likeliest(policy: Policy, params: EnvParams, state: EnvState) -> jax.Array:
    observation, legal = env.observe(state, params), env.legal(state, params)
    return jnp.argmax(policy.logits(params, observation, legal, policy.begin(params, observation)), axis=0)


def optimum(path: Path, scenario: Scenario, plan: Plan, start: Sequence[float]) -> None:
    """The optimal first action and the least expected cost over two coordinates of the start.

    Args:
      path: the PNG file.
      scenario: of at least two coordinates; shown are the two that start widest apart.
      plan: of its exact solution.
      start: the other coordinates' values; marked in the picture. d numbers

    Raises:
      UserError: see `check_optimum`.
    """
    check_optimum(scenario, plan)
    plt = pyplot()
    params, names = scenario.params, scenario.coordinate_names
    low, high = np.asarray(params.start_low), np.asarray(params.start_high)
    across, up = np.sort(np.argsort(low - high, kind="stable")[:2])
    sides = [np.linspace(low[i], high[i], _GRID) for i in (across, up)]
    z = np.repeat(np.array(start, np.float32)[:, None], _GRID * _GRID, axis=1)
    z[across], z[up] = (side.ravel() for side in np.meshgrid(*sides))
    first = jax.jit(lambda params, z: recursion.choices(params, z, plan)[0, 0])
    row = np.array(plan.rows)[np.asarray(first(params, z))]
    value = np.asarray(jax.jit(functools.partial(recursion.solve, plan=plan))(params, z).value).reshape(_GRID, _GRID)

    named = _named(np.bincount(row, minlength=len(scenario.action_names)), unplayed=False)
    colours = _colours(plt, named, len(scenario.action_names))
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.5), layout="constrained")
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    axes[0].imshow(
        colours[row.reshape(_GRID, _GRID)], origin="lower", extent=extent, aspect="auto", interpolation="nearest"
    )
    _legend(figure, plt, scenario, named, colours, others=bool(set(row.tolist()) - set(named)))
    axes[0].set_title("optimal first action", fontsize=9)
    drawn = axes[1].contourf(*sides, value, levels=16, cmap="viridis")
    figure.colorbar(drawn, ax=axes[1])
    axes[1].set_title("least expected cost from there", fontsize=9)
    for axis in axes:
        axis.plot(start[across], start[up], "x", color="black")
        axis.set(xlabel=label(names[across]), ylabel=label(names[up]))
    others = [f"{label(name)} {value:.3g}" for i, (name, value) in enumerate(zip(names, start, strict=True))
              if i not in (across, up)]  # fmt: skip
    figure.suptitle(
        f"{label(scenario.name)}: where an episode may start" + (f", {', '.join(others)}" if others else "")
    )
    save(figure, path, plt)


def check_optimum(scenario: Scenario, plan: Plan) -> None:
    """Refuses what `optimum` cannot draw, before the work.

    Raises:
      UserError: no matplotlib, a task of one coordinate, or tables that do not fit in memory.
    """
    pyplot()
    if len(scenario.coordinate_names) < 2:
        raise UserError(f"{scenario.name}: a picture of the starts needs two coordinates, the task has one")
    if plan.predicted_bytes(_GRID * _GRID, tables=True) > plan.memory_limit:
        raise UserError(f"{scenario.name}: the exact policy's tables for a picture do not fit in memory")


def _named(shares: np.ndarray, *, unplayed: bool = True) -> list[int]:
    """Rows that get a colour and a name: all where they are few, else those that are played most, in their order.

    Args:
      shares: how much each row is played. ``[A]``
      unplayed: few rows have a name whether they are played or not.

    Returns:
      At most `_MOST_NAMED` rows.
    """
    if unplayed and len(shares) <= _MOST_NAMED:
        return list(range(len(shares)))
    most = np.argsort(-shares, kind="stable")[:_MOST_NAMED]
    return sorted(int(row) for row in most if shares[row] > 0)


def _colours(plt: Any, named: Sequence[int], rows: int) -> np.ndarray:
    """A colour a row of the table, the strong ones first, and one for all that have no name. ``[A, 4]``"""
    to_rgba = plt.matplotlib.colors.to_rgba
    colours = np.array([to_rgba(_OTHER)] * rows)
    strong_first = [*plt.cm.tab20.colors[::2], *plt.cm.tab20.colors[1::2]]
    greys = {plt.cm.tab20.colors[14], plt.cm.tab20.colors[15]} if len(named) < rows else set()
    palette = [colour for colour in strong_first if colour not in greys]
    for place, row in enumerate(named):
        colours[row] = to_rgba(palette[row if rows <= _MOST_NAMED else place])
    return colours


def _legend(
    figure: Any, plt: Any, scenario: Scenario, named: Sequence[int], colours: np.ndarray, *, others: bool | None = None
) -> None:
    """Which colour is which action, below the panels, in as many columns as the names leave room for."""
    names = [label(scenario.action_names[row], 30) for row in named]
    shown = [colours[row] for row in named]
    if others if others is not None else len(named) < len(scenario.action_names):
        rest = len(scenario.action_names) - len(named)
        names.append(f"other ({rest} action{'s' * (rest > 1)})")
        shown.append(_OTHER)
    width = _LETTER * max(map(len, names)) + 0.6
    columns = max(1, min(6, len(names), int(figure.get_figwidth() / width)))
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in shown]
    figure.legend(handles, names, ncols=columns, fontsize=8, loc="outside lower center")


def _over_seeds(axis: Any, places: np.ndarray, values: np.ndarray) -> None:
    """A curve: the median over seeds, and between which values all of them are. One seed is a line alone."""
    if len(values) > 1:
        axis.fill_between(places, values.min(0), values.max(0), alpha=0.25, linewidth=0, label="all seeds")
    axis.plot(places, np.median(values, axis=0), linewidth=1.2, label="median" if len(values) > 1 else "the seed")


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _side(low: float, high: float, tolerance: float) -> np.ndarray:
    """Values of one coordinate worth showing: from resolved to the worst start."""
    return np.linspace(min(low, -tolerance, 0.0), max(high, tolerance), _GRID)


def save(figure: Any, path: Path, plt: Any) -> None:
    """Writes a figure and lets go of it."""
    figure.savefig(path)
    plt.close(figure)
