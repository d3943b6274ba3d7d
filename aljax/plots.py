"""Pictures of a run: how it learned, what its policies pay for, what they do."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.drawing import GRID, OTHER, colours_of, label, legend_below, named_rows, pyplot, save
from aljax.env import COMPONENTS, EnvParams
from aljax.evaluate import Evaluation, Summary
from aljax.host.programs import Program
from aljax.learning.run_state import Curve
from aljax.policy import Policy
from aljax.promises import Constraint
from aljax.scenario import Scenario
from aljax.target import here


def learning_curves(
    path: Path,
    curve: Curve,
    batch: int,
    summaries: Mapping[str, Summary],
    title: str,
    constraints: Sequence[Constraint] = (),
) -> None:
    """Cost, success, weighted-free components, entropy and gradient norm against episodes, spread over seeds.

    Where something is promised, also what each constraint bounds, its bound beside it, and its multiplier.

    Args:
      path: the PNG file.
      curve: leading seed axis, ``[S, updates, ...]``.
      batch: episodes an update.
      summaries: evaluated policies, drawn as levels in the first panel.
      title: of the figure.
      constraints: what the run promises, in the order of the curve's.
    """
    plt = pyplot()
    episodes = (1 + np.arange(curve.cost.shape[1])) * batch
    panels: list[tuple[str, np.ndarray]] = [
        ("total cost", np.asarray(curve.cost)),
        ("success", np.asarray(curve.success)),
    ]
    panels += [(name, np.asarray(curve.components)[..., k]) for k, name in enumerate(COMPONENTS)]
    panels += [("entropy, nats", np.asarray(curve.entropy)), ("gradient norm", np.asarray(curve.gradient_norm))]
    usual, bounds = len(panels), {}
    if curve.multipliers is not None:
        for k, each in enumerate(constraints):
            bounds[len(panels)] = each.bound
            panels.append((f"{each.name}, average of past batches", np.asarray(curve.promised)[..., k]))
            panels.append((f"multiplier of {each.name}", np.asarray(curve.multipliers)[..., k]))
    rows = -(-len(panels) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(11, 8 * rows / 3), sharex=True, layout="constrained")
    for axis, (name, values) in zip(axes.flat, panels, strict=False):
        _over_seeds(axis, episodes, values)
        axis.set_title(name, fontsize=9)
    for place, bound in bounds.items():
        axes.flat[place].axhline(bound, linestyle="--", linewidth=1, color="black", label="bound")
        axes.flat[place].legend(fontsize=7)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for (name, summary), colour in zip(summaries.items(), plt.cm.tab10.colors[1:], strict=False):
        axes.flat[0].axhline(
            summary.cost.mean, linestyle="--", linewidth=1, color=colour, label=f"{label(name)}, evaluated"
        )
    axes.flat[0].legend(fontsize=7)
    axes.flat[usual - 1].set_yscale("log")
    for axis in axes.flat[max(0, len(panels) - 3) : len(panels)]:
        axis.set_xlabel("episodes")
        axis.tick_params(labelbottom=True)
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


def _over_seeds(axis: Any, places: np.ndarray, values: np.ndarray) -> None:
    """A curve: the median over seeds, and between which values all of them are. One seed is a line alone."""
    if len(values) > 1:
        axis.fill_between(places, values.min(0), values.max(0), alpha=0.25, linewidth=0, label="all seeds")
    axis.plot(places, np.median(values, axis=0), linewidth=1.2, label="median" if len(values) > 1 else "the seed")


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def components(path: Path, scenario: Scenario, summaries: Mapping[str, Summary]) -> None:
    """Weighted cost components of every policy side by side, stacked to the total cost.

    Args:
      path: the PNG file.
      scenario: where the policies played; it has the weights λ.
      summaries: a bar each, in this order.
    """
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
    named = named_rows(np.max([each.sum(0) for each in shares.values()], axis=0))
    colours = colours_of(plt, named, len(scenario.action_names))
    shown = len(scenario.coordinate_names) > 1 and policy is not None
    count = len(evaluations) + shown
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.7 * columns, 3 * rows + 0.6), squeeze=False, layout="constrained"
    )
    edges = 0.5 + np.arange(scenario.horizon + 1)
    for axis, (name, played) in zip(axes.flat, shares.items(), strict=False):
        bottom = np.zeros(len(played))
        for row in named:
            bottom = _layer(axis, edges, bottom, played[:, row], colours[row])
        _layer(axis, edges, bottom, np.delete(played, named, axis=1).sum(1), OTHER)
        axis.set(title=label(name), xlabel="step", ylabel="share of episodes", ylim=(0, 1), xlim=(edges[0], edges[-1]))
    if shown and policy is not None:
        _map_of_choices(axes.flat[len(evaluations)], scenario, policy, shares[policy.name], colours)
    for axis in list(axes.flat)[count:]:
        axis.set_axis_off()
    legend_below(figure, plt, scenario, named, colours)
    figure.suptitle(f"{label(scenario.name)}: which action at which step (white: the episode has ended)")
    save(figure, path, plt)


def _layer(axis: Any, edges: np.ndarray, bottom: np.ndarray, shares: np.ndarray, colour: Any) -> np.ndarray:
    """One colour of a stack, a step as wide as between two edges: one shape, where bars are one a step. Its top."""
    axis.stairs(bottom + shares, edges, baseline=bottom, fill=True, color=colour, linewidth=0)
    return bottom + shares


def _map_of_choices(axis: Any, scenario: Scenario, policy: Policy, shares: np.ndarray, colours: np.ndarray) -> None:
    """The likeliest row halfway through an episode over two coordinates of the task, the others resolved."""
    params = scenario.params
    low, high = np.asarray(params.start_low), np.asarray(params.start_high)
    across, up = np.sort(np.argsort(-np.maximum(abs(low), abs(high)), kind="stable")[:2])
    tolerance = np.asarray(params.tolerance)
    sides = [_side(float(low[i]), float(high[i]), float(tolerance[i])) for i in (across, up)]
    z = np.zeros((len(low), GRID * GRID), np.float32)
    z[across], z[up] = (side.ravel() for side in np.meshgrid(*sides))
    time = scenario.horizon // 2
    spent = shares[:time].sum(0) / max(shares[:time].sum(), 1e-9) * time  # times each row was played
    clocks = {
        "latency": np.float32(spent @ np.asarray(params.actions.latency)),
        "money": np.float32(spent @ np.asarray(params.actions.money)),
        "time": np.int32(time),
    }
    picture = colours[np.asarray(_program()(policy, params, z, clocks)).reshape(GRID, GRID)]
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    axis.imshow(picture, origin="lower", extent=extent, aspect="auto", interpolation="nearest")
    names = scenario.coordinate_names
    others = ", the rest resolved" if len(names) > 2 else ""
    axis.set(xlabel=label(names[across]), ylabel=label(names[up]))
    axis.set_title(f"{policy.name}: choice at step {time + 1} of {scenario.horizon}{others}", fontsize=9)


def _likeliest(policy: Policy, params: EnvParams, z: jax.Array, clocks: Mapping[str, jax.Array]) -> jax.Array:
    """The likeliest rows at task vectors ``[d, B]`` after so much was spent, no row of which was called."""
    batch, none = z.shape[1:], jnp.zeros_like(z)
    start = env.Start(none, none, jnp.zeros(batch), jnp.ones((env.num_actions(params), *batch)))
    fresh = env.begin(start, params)
    spent = {name: jnp.broadcast_to(value, batch) for name, value in clocks.items()}
    state = dataclasses.replace(fresh, z=z, misread=none, **spent)
    observation, legal = policy.observe(params, state), env.legal(state, params)
    return jnp.argmax(policy.logits(params, observation, legal, policy.begin(params, observation)), axis=0)


@functools.lru_cache(1)
def _program() -> Program:
    """`_likeliest` in one: operation by operation, JAX would compile twenty."""
    return Program(_likeliest, "likeliest", compiler_options=here().compiler_options(once=True))


def _side(low: float, high: float, tolerance: float) -> np.ndarray:
    """Values of one coordinate worth showing: from resolved to the worst start."""
    return np.linspace(min(low, -tolerance, 0.0), max(high, tolerance), GRID)
