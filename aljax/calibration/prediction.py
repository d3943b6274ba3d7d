"""How well a calibrated scenario predicts tasks that it has not seen, beside how far the log is from itself.

The tasks are divided several times. A scenario and its loggers' behaviour are fitted to one part and played; what
comes out is held against the other part. Two parts of one log differ too: by the *floor*, the distance of their means
(and, as distributions, the Kolmogorov–Smirnov distance) that no prediction made of one part can be expected to beat.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aljax.calibration.behaviour import fit_behaviour
from aljax.calibration.counts import COLUMNS, Failures, count_failures
from aljax.calibration.failing import SPREADS, Failing, concentration
from aljax.calibration.fitting import Calibration, fit_runs
from aljax.calibration.playing import Played, play_loggers
from aljax.calibration.runs import Run
from aljax.options import CalibrationSettings
from aljax.statistics import Interval, bootstrap

MEASURES: Mapping[str, Callable[[Run], float | None]] = {
    "steps": lambda run: float(len(run.calls)),
    "seconds": lambda run: run.seconds,
    "dollars": lambda run: run.dollars,
    "failures": lambda run: float(sum(call.ok is False for call in run.calls)),
    "success": lambda run: None if run.success is None else float(run.success),
}
"""What runs come to, by the names of `Played`."""
FEWEST = 4
"""Tasks that can be divided."""
WITHIN, POINTS = 1.25, 0.05
"""An error is fine up to so many floors; that of success also up to so much, on average over the divisions."""
COVERED = 0.90, 0.98
"""The share of tools' failure counts that 95 % intervals should contain."""
_DRAWS = 400


@dataclasses.dataclass(frozen=True)
class Measure:
    """One thing that runs come to."""

    logged: Interval
    """Its mean over the runs of the log; whole tasks are resampled."""
    predicted: float
    """Of tasks that no fit had seen, on average over the divisions."""
    error: float
    """How far predictions are from the held-out means, on average."""
    floor: float
    """How far the parts' means are from each other, on average."""
    bias: float
    """Predictions less held-out means, on average."""
    distance: float
    """Kolmogorov–Smirnov, of predicted from held-out runs, on average."""
    distance_floor: float
    """Of the parts from each other, on average."""

    @property
    def ratio(self) -> float:
        """The error in floors."""
        return self.error / self.floor if self.floor > 0 else (0.0 if self.error == 0 else math.inf)


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Of tools' failed calls in held-out tasks, by the 95 % predictive intervals of fits that have not seen them."""

    counts: int
    """How many counts: one a tool that was called, and division."""
    within: float
    """The share inside the intervals, whose ends are whole numbers: those of rare failures hold more than 95 %."""
    exact: float
    """The share inside intervals that hold exactly 95 %, an end counting in part."""
    missed: tuple[tuple[str, int], ...]
    """Tools whose counts lay outside, and how often."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What was found."""

    measures: Mapping[str, Measure]
    """By name, of those of `MEASURES` that the log has."""
    coverage: Coverage | None
    """None: no tool's call is known to have failed or not."""
    divisions: int
    """How often a fit was held against tasks that it had not seen."""
    held: float
    """Tasks held out each time, on average."""
    samples: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """Logged and predicted runs, by measure, for pictures."""

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        found: dict[str, Any] = {"divisions": self.divisions, "held_out_tasks": self.held, "measures": {}}
        for name, measure in self.measures.items():
            told = {field: value for field, value in dataclasses.asdict(measure).items() if field != "logged"}
            found["measures"][name] = {"logged": measure.logged.to_json()} | told
        if self.coverage is not None:
            found["failure_counts"] = dataclasses.asdict(self.coverage)
        return found


def predict(
    calibration: Calibration,
    settings: CalibrationSettings,
    on_progress: Callable[[int, int], None] = lambda done, all: None,
) -> Prediction | None:
    """Holds tasks out, predicts them, and compares.

    Args:
      calibration: of the whole log; its rows, horizon and kind of hand-over are used throughout.
      settings: how.
      on_progress: called with the divisions done and all of them.

    Returns:
      What was found; None: the log has fewer than `FEWEST` tasks.
    """
    runs = calibration.runs
    tasks = sorted({run.task for run in runs})
    if len(tasks) < FEWEST:
        return None
    parts = list(_divisions(tasks, settings))
    found: list[dict[str, tuple[np.ndarray, ...]]] = []
    covered: list[_Covered] = []
    for number, held in enumerate(parts):
        on_progress(number, len(parts))
        kept = [run for run in runs if run.task not in held]
        out = [run for run in runs if run.task in held]
        fitted = fit_runs(kept, settings, like=calibration)
        seed = settings.seed + 1 + number
        played = play_loggers(fitted, fit_behaviour(fitted), episodes=settings.simulated, seed=seed)
        found.append(_compared(kept, out, played))
        if fitted.failing is not None:
            tools = calibration.kinds.count("tool")
            counts = count_failures(out, calibration.rows[:-1]).of(slice(0, tools))
            covered.append(_covered(fitted.failing, counts, np.random.default_rng(seed)))
    names = [name for name in MEASURES if all(name in each for each in found)]
    measures = {name: _measure(name, runs, [each[name] for each in found]) for name in names}
    samples = {name: (_values(runs, name), np.concatenate([each[name][2] for each in found])) for name in names}
    held = float(np.mean([len(part) for part in parts]))
    return Prediction(measures, _coverage(covered, calibration.rows), len(parts), held, samples)


def _divisions(tasks: list[str], settings: CalibrationSettings) -> Iterator[frozenset[str]]:
    """Tasks to hold out, each time anew; at a half, the other half after each."""
    rng = np.random.default_rng(settings.seed)
    size = min(max(1, round(settings.holdout * len(tasks))), len(tasks) - 1)
    for _ in range(settings.splits):
        order = [tasks[i] for i in rng.permutation(len(tasks))]
        yield frozenset(order[:size])
        if 2 * size in (len(tasks), len(tasks) - 1, len(tasks) + 1):
            yield frozenset(order[size:])


def _values(runs: Sequence[Run], name: str) -> np.ndarray:
    found = (MEASURES[name](run) for run in runs)
    return np.array([value for value in found if value is not None])


def _compared(kept: Sequence[Run], out: Sequence[Run], played: Played) -> dict[str, tuple[np.ndarray, ...]]:
    """By measure: runs that were fitted, that were held out, that are predicted."""
    found = {}
    for name in MEASURES:
        parts = _values(kept, name), _values(out, name)
        if min(map(len, parts)):
            found[name] = (*parts, np.asarray(getattr(played, name), np.float64))
    return found


def _measure(name: str, runs: Sequence[Run], parts: Sequence[tuple[np.ndarray, ...]]) -> Measure:
    by_task: dict[str, list[float]] = {}
    for run in runs:
        value = MEASURES[name](run)
        if value is not None:
            by_task.setdefault(run.task, []).append(value)
    sums = np.array([(sum(values), len(values)) for values in by_task.values()], np.float64)

    def mean(which: np.ndarray, axis: int = -1) -> np.ndarray:
        picked = sums[which.astype(np.int64)]  # [..., tasks, 2]
        return picked[..., 0].sum(axis) / picked[..., 1].sum(axis)

    errors = np.array([predicted.mean() - out.mean() for _, out, predicted in parts])
    floors = np.array([kept.mean() - out.mean() for kept, out, _ in parts])
    return Measure(
        bootstrap([np.arange(len(sums))], mean), float(np.mean([predicted.mean() for *_, predicted in parts])),
        float(np.abs(errors).mean()), float(np.abs(floors).mean()), float(errors.mean()),
        float(np.mean([_distance(predicted, out) for _, out, predicted in parts])),
        float(np.mean([_distance(kept, out) for kept, out, _ in parts])),
    )  # fmt: skip


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov–Smirnov: the largest difference of two distribution functions."""
    places = np.unique(np.concatenate([a, b]))
    below = [np.searchsorted(np.sort(x), places, side="right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


@dataclasses.dataclass(frozen=True)
class _Covered:
    """A division's counts, one a tool that was called."""

    rows: np.ndarray
    within: np.ndarray
    exact: np.ndarray


def _covered(failing: Failing, counts: Failures, rng: np.random.Generator) -> _Covered:
    """Whether held-out counts lie within what a fit predicts of as many calls, each task drawing its own rates."""
    total = np.zeros((counts.calls.shape[1], _DRAWS), np.int64)
    for number, name in enumerate(COLUMNS):
        column = failing.columns[name]
        rates = column.posterior.draws(rng, _DRAWS)  # [R, S]
        spread = np.array(SPREADS)[rng.choice(len(SPREADS), _DRAWS, p=column.posterior.forms)]
        alike = spread == 0
        kappa = concentration(rates, np.where(alike, 1.0, spread))
        for task in np.flatnonzero(counts.calls[number].any(0)):
            calls = counts.calls[number][:, task]
            rows = np.flatnonzero(calls)
            own, strength = rates[rows], kappa[rows]
            drawn = rng.beta(np.maximum(own * strength, 1e-9), np.maximum((1 - own) * strength, 1e-9))
            total[rows] += rng.binomial(calls[rows, None], np.where(alike, own, drawn))
    rows = np.flatnonzero(counts.calls.sum((0, 2)))
    seen, drawn = counts.failed.sum((0, 2))[rows, None], total[rows]
    below, up_to = (drawn < seen).mean(1), (drawn <= seen).mean(1)
    place = below + rng.random(len(rows)) * (up_to - below)
    within = (below < 0.975) & (up_to > 0.025)
    return _Covered(rows, within, (place >= 0.025) & (place <= 0.975))


def _coverage(parts: Sequence[_Covered], names: tuple[str, ...]) -> Coverage | None:
    if not parts:
        return None
    within = np.concatenate([part.within for part in parts])
    outside = np.concatenate([part.rows[~part.within] for part in parts])
    rows, often = np.unique(outside, return_counts=True)
    missed = sorted(((names[row], int(count)) for row, count in zip(rows, often, strict=True)), key=lambda x: -x[1])
    exact = np.concatenate([part.exact for part in parts])
    return Coverage(len(within), float(within.mean()), float(exact.mean()), tuple(missed))
