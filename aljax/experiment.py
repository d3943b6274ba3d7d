"""One experiment as one call: train, compare with the optimum and the heuristics, keep, draw.

    import aljax

    result = aljax.experiment.run("escalation", seeds=3, episodes=6_000, out="runs/first")
    print(result.gap)  # percent above the exact optimum

`run` trains in the simulator from scratch. Policies that come about otherwise, from logs or as a row of a sweep, go the
same way through `pursue`, which takes any `Learner`.
"""

import contextlib
import dataclasses
import difflib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from aljax import plots as pictures
from aljax import report, runs
from aljax.breaker import Tuned
from aljax.checks import check
from aljax.comparison import Compared, compare, prepare
from aljax.drawing import draw_all
from aljax.errors import UserError, listed, plain
from aljax.evaluate import Evaluation, Summary
from aljax.exact.bracket import find_optimal
from aljax.host import files
from aljax.host.folders import Place
from aljax.learner import Learner, Scratch, Watch
from aljax.learning.run_state import CURVES, Curve
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.overrides import Given
from aljax.policy import Learned, heuristics
from aljax.promises import constraints_of
from aljax.robust import Robust, evaluate_environments, robust_table
from aljax.rules.plots import forbidden
from aljax.scenario import Scenario, load_scenario
from aljax.statistics import Interval
from aljax.tables import markdown
from aljax.tails import Tails, tail_table, tails_of
from aljax.training import Trained, abstract_policy

_Options = TypeVar("_Options", TrainConfig, Hyperparameters, Protocol)


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What an experiment came to."""

    scenario: Scenario
    """Where the policies play."""
    config: TrainConfig
    hyperparameters: Hyperparameters
    protocol: Protocol
    policy: Learned
    """The learned one, greedy; every array has a leading seed axis."""
    curves: Mapping[str, np.ndarray]
    """How learning went, by name: ``cost``, ``success``, ``entropy``, ``gradient_norm`` ``[S, updates]`` and
    ``components`` ``[S, updates, 5]``, of K constraints ``multipliers`` and ``promised`` ``[S, updates, K]``; of
    learning from logs alone, ``loss`` ``[S, updates]``."""
    evaluations: Mapping[str, Evaluation]
    """By policy, episode by episode: every policy met the same starts and the same luck."""
    summaries: Mapping[str, Summary]
    """By policy, the learned one first: means and spread over seeds, gap to the optimum."""
    no_optimum: str
    """Why there is no exact optimum to compare with, one line; empty where there is one."""
    figures: Mapping[str, Any]
    """As ``metrics.json`` has them."""
    seconds: Mapping[str, float]
    """``compile``, ``train`` (unless nothing was trained) and ``evaluate``."""
    breaker: Tuned | None = None
    """How the circuit breaker among the policies was chosen; None where nothing ever goes down."""
    tails: Tails | None = None
    """Percentiles, CVaR and promises; None where the objective is the mean and nothing is promised."""
    robust: Robust | None = None
    """The policies in environments drawn from the scenario's intervals; None where that was not asked for."""
    folder: Path | None = None
    """Where everything was written; None: nowhere."""
    notice: str = ""
    """Why that is not where it was asked for, one line; empty where it is."""
    complaints: tuple[str, ...] = ()
    """Pictures that could not be drawn, a line each."""

    @property
    def curve(self) -> Curve | None:
        """The learning curves as a `Curve`; None where nothing was trained in the simulator."""
        found: dict[str, Any] = dict(self.curves)
        return Curve(**found) if set(CURVES) <= set(found) else None

    @property
    def gap(self) -> Interval | None:
        """By how many percent the learned policy costs more than the exact optimum; None where there is none."""
        return self.summaries[self.policy.name].gap

    def to_json(self) -> dict[str, Any]:
        """The figures, as ``metrics.json`` has them."""
        return dict(self.figures)

    def draw(self, folder: str | Path | None = None) -> list[str]:
        """Draws learning curves, cost components and choices of actions, the first seed's policy over the task.

        Where there are hard rules, also which of them forbids which row when that policy plays.

        Args:
          folder: one that there is; None: the run's own, and nothing if it has none.

        Returns:
          A complaint, one line, for each picture that could not be drawn.
        """
        folder = self.folder if folder is None else Path(folder)
        if folder is None:
            return []
        name, first = self.scenario.name, jax.tree.map(lambda leaf: np.asarray(leaf)[0], self.policy)
        drawings: dict[str, Callable[[Path], None]] = {
            "components.png": lambda file: pictures.components(file, self.scenario, self.summaries),
            "choices.png": lambda file: pictures.choices(file, self.scenario, self.evaluations, first),
        }
        if self.scenario.params.rules is not None and self.scenario.params.rules.structure.hard:
            drawings["rules.png"] = lambda file: forbidden(file, self.scenario, first)
        curve, batch = self.curve, self.config.batch
        if curve is not None:
            promises = constraints_of(self.config)
            drawings["learning_curves.png"] = lambda file: pictures.learning_curves(
                file, curve, batch, self.summaries, name, promises
            )
        elif runs.LOSS in self.curves:
            drawings["learning_curves.png"] = lambda file: pictures.losses(file, self.curves[runs.LOSS], name)
        return draw_all({folder / name: drawing for name, drawing in drawings.items()})


class UnsavedError(UserError):
    """The run went well but could not be written: `result` has everything, with no folder."""

    def __init__(self, trouble: UserError, result: RunResult):
        super().__init__(str(trouble))
        self.result = result


def run(
    scenario: str | Path | Scenario = "paper",
    *,
    overrides: Given = (),
    config: TrainConfig = TrainConfig(),
    hyperparameters: Hyperparameters = Hyperparameters(),
    protocol: Protocol = Protocol(),
    out: str | Path | None = None,
    numbered: bool = False,
    overwrite: bool = False,
    plots: bool = True,
    watch: Watch | None = None,
    **options: Any,
) -> RunResult:
    """Trains all seeds, compares them with the optimum and the heuristics, keeps and draws: ``aljax train``.

    Args:
      scenario: a scenario, the name of one that ships with aljax, or the path of a TOML file.
      overrides: changes to a scenario that is loaded, values by key, or each ``key=value``; see `aljax.load_scenario`.
      config: shape of the training.
      hyperparameters: its numbers.
      protocol: its seeds, and episodes of evaluation.
      out: a run folder to make, as ``aljax train`` writes it; None: nothing is written.
      numbered: not there, but at the first of ``out-1``, ``out-2``, ... that is free.
      overwrite: replace a run folder that stands at `out`.
      plots: draw into the folder.
      watch: is told how it goes.
      **options: single fields of `config`, `hyperparameters` and `protocol`, such as ``episodes=6_000, seeds=3``.

    Returns:
      Policies, curves, evaluations and figures.

    Raises:
      UserError: an option out of range, a scenario that cannot be, a place that is taken, training that diverged.
      UnsavedError: all went well, but could not be written.
    """
    if not isinstance(scenario, Scenario):
        scenario = load_scenario(scenario, overrides)
    elif overrides:
        raise UserError("overrides change a scenario that is loaded: give its name or path, not a Scenario")
    unused, known = dict(options), [field for part in (config, hyperparameters, protocol) for field in _fields(part)]
    config, hyperparameters, protocol = (
        _with(config, unused), _with(hyperparameters, unused), _with(protocol, unused)
    )  # fmt: skip
    for name in unused:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"unknown option {plain(name)}{hint}: expected one of {listed(known)}")
    check(config, hyperparameters, protocol, scenario)
    learner = Scratch(scenario, config, hyperparameters, protocol)
    return pursue(learner, out=out, numbered=numbered, overwrite=overwrite, plots=plots, watch=watch)


def pursue(
    learner: Learner,
    *,
    out: str | Path | None = None,
    numbered: bool = False,
    overwrite: bool = False,
    plots: bool = True,
    watch: Watch | None = None,
    ahead: Callable[[], None] | None = None,
) -> RunResult:
    """`run`, whose policies come about in any way.

    Args:
      learner: that way.
      out: as for `run`.
      numbered: as for `run`.
      overwrite: as for `run`.
      plots: as for `run`.
      watch: as for `run`.
      ahead: called in a thread once the comparison is compiled, while the policies train, to load what is needed later.

    Returns:
      Policies, curves, evaluations and figures.

    Raises:
      UserError: what the learner refuses, or a place that is taken.
      UnsavedError: all went well, but could not be written.
    """
    watch, scenario, protocol = watch or Watch(), learner.scenario, learner.protocol
    optimal, no_optimum = find_optimal(scenario, protocol)
    policy = abstract_policy(scenario, learner.config, protocol)
    with contextlib.ExitStack() as reserved:
        place = _reserved(reserved, watch, out, numbered, overwrite)
        with ThreadPoolExecutor(1) as pool:
            # The comparison compiles while the policies train.
            prepared = pool.submit(prepare, scenario, protocol, policy, optimal)
            for load in filter(None, (None if place is None else runs.load_ahead, ahead)):
                pool.submit(load)
            made = learner.learn(watch)
            waiting = time.perf_counter()
            comparison = prepared.result()
            waiting = time.perf_counter() - waiting
        compared = comparison(made.policy)
        seconds = {**compared.seconds, **made.seconds}
        seconds["compile"] += waiting
        options = (learner.config, learner.hyperparameters, protocol)
        tails = tails_of(
            compared.evaluations, *options[:2], made.policy.name, made.risk if isinstance(made, Trained) else None
        )
        found = _result(
            scenario, options, made.policy, made.curves, compared, no_optimum, learner.episodes, seconds, tails
        )

        def write(folder: Path) -> None:
            runs.save(folder, scenario, *options, made.policy, made.curves, learner.to_json())

        return _kept(found, reserved, place, plots, write)


def evaluate_again(
    run: runs.Run,
    scenario: Scenario,
    protocol: Protocol,
    *,
    draws: int = 0,
    widen: float = 1.0,
    out: str | Path | None = None,
    overwrite: bool = False,
    plots: bool = True,
    watch: Watch | None = None,
) -> RunResult:
    """Evaluates a run's policies anew, beside the optimum and the heuristics: ``aljax evaluate``.

    Args:
      run: a run folder, read (`aljax.runs.load`).
      scenario: where, as the run's policies see it (`aljax.runs.Run.as_seen`).
      protocol: as many seeds as the run has, and the evaluation's episodes.
      draws: besides in so many environments a seed that are drawn from the scenario's intervals; 0: in none.
      widen: how many times as unsure its numbers are as they say (`aljax.robust.evaluate_environments`).
      out: a folder to make for figures, tables and pictures; None: nothing is written.
      overwrite: as for `run`.
      plots: as for `run`.
      watch: as for `run`.

    Returns:
      Evaluations and figures; no curves.

    Raises:
      UserError: an option out of range, or a place that is taken.
      UnsavedError: all went well, but could not be written.
    """
    with contextlib.ExitStack() as reserved:
        place = _reserved(reserved, watch or Watch(), out, overwrite=overwrite)
        robust, name = None, run.policy.name
        if draws:
            policies = {name: run.policy, **heuristics(scenario)}
            robust = evaluate_environments(
                scenario, policies, protocol, trained=frozenset({name}), draws=draws, widen=widen
            )
        optimal, no_optimum = find_optimal(scenario, protocol)
        compared = compare(scenario, protocol, run.policy, optimal)
        options = (run.config, run.hyperparameters, protocol)
        episodes, seconds = run.metrics["episodes"], compared.seconds
        tails = tails_of(compared.evaluations, *options[:2], run.policy.name)
        found = _result(scenario, options, run.policy, {}, compared, no_optimum, episodes, seconds, tails, robust)
        return _kept(found, reserved, place, plots, lambda folder: None)


def _fields(options: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(options)]


def _with(part: _Options, given: dict[str, Any]) -> _Options:
    """Options with those of the given values that are fields of theirs, which are taken out."""
    return dataclasses.replace(part, **{name: given.pop(name) for name in _fields(part) if name in given})


def _reserved(
    stack: contextlib.ExitStack, watch: Watch, out: str | Path | None, numbered: bool = False, overwrite: bool = False
) -> Place | None:
    """The folder to make, its place held by a stack, if one is asked for."""
    if out is None:
        return None
    place = stack.enter_context(runs.new_folder(out, numbered=numbered, overwrite=overwrite))
    if place.notice:
        watch.told(place.notice)
    return place


def _result(
    scenario: Scenario,
    options: tuple[TrainConfig, Hyperparameters, Protocol],
    policy: Learned,
    curves: Mapping[str, np.ndarray],
    compared: Compared,
    no_optimum: str,
    episodes: int,
    seconds: Mapping[str, float],
    tails: Tails | None,
    robust: Robust | None = None,
) -> RunResult:
    """Everything, before it is written."""
    figures = runs.metrics(scenario, episodes, options[-1], compared, seconds)
    if tails is not None:
        figures["risk"] = tails.to_json()
    if robust is not None:
        figures["environments"] = robust.to_json()
    found = (compared.evaluations, compared.summaries, no_optimum, figures, seconds, compared.breaker, tails, robust)
    return RunResult(scenario, *options, policy, curves, *found)


def _kept(
    found: RunResult,
    reserved: contextlib.ExitStack,
    place: Place | None,
    plots: bool,
    write: Callable[[Path], None],
) -> RunResult:
    """Fills the folder, lets go of it, and draws into it.

    Args:
      found: the result.
      reserved: what holds the place; closing it puts the folder there.
      place: the place, if there is one.
      plots: draw.
      write: writes what is there beside figures and tables.
    """
    if place is None:
        return found
    try:
        with reserved:
            write(place.folder)
            shown = report.metric_tables(found.scenario, found.summaries, plain=True, breaker=found.breaker)
            shown += [] if found.tails is None else [tail_table(found.tails, plain=True)]
            shown += [] if found.robust is None else [robust_table(found.robust, plain=True)]
            (place.folder / "tables.md").write_text(markdown(shown), encoding="utf-8")
            files.write_json(place.folder / "metrics.json", found.figures)
    except UserError as trouble:
        raise UnsavedError(trouble, found) from None
    found = dataclasses.replace(found, folder=place.path, notice=place.notice)
    return dataclasses.replace(found, complaints=tuple(found.draw())) if plots else found
