"""From the runs of a log to a scenario, every number with where it comes from."""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from aljax.calibration.columns import Columns, fill_dollars, fill_failures, fill_seconds
from aljax.calibration.counts import Failures, count_failures
from aljax.calibration.estimates import Estimate
from aljax.calibration.failing import Failing
from aljax.calibration.needs import Needs, fit_needs
from aljax.calibration.prices import Prices
from aljax.calibration.rows import UNEXPLAINED, arrange, covers_of, rows_of
from aljax.calibration.runs import ESCALATE, Run, runs_of
from aljax.calibration.writing import Contents, text_of
from aljax.errors import UserError, listed, short
from aljax.logs.episode import LoggedEpisode
from aljax.options import CalibrationSettings
from aljax.params import COMPONENTS
from aljax.scenario import Scenario, parse_scenario

WEIGHTS: Mapping[str, float] = {"latency": 0.06, "money": 1.0, "violation": 3.0, "failure": 0.5, "divergence": 0.0}
"""λ where nobody declares it: everything in dollars, a second 6 cents, a call that is missing 3, a failed one 50
cents."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What a log says of the world that its agents met."""

    scenario: Scenario
    """To train in."""
    rows: tuple[str, ...]
    """A names, in the order of the table: tools by how often they were called, then what is no tool."""
    kinds: tuple[str, ...]
    """Their kinds."""
    columns: Mapping[str, Mapping[str, Estimate]]
    """By column of the table and by row. ``after_failed_naive`` is beside them: after_failed, whatever the task."""
    needs: Needs
    """What tasks need; its coordinates are the first rows of the table, in order."""
    failing: Failing | None
    """Behind the tools' failure columns; None: the log does not say which of their calls failed."""
    counts: Failures
    """What they are counted from."""
    runs: tuple[Run, ...]
    """Of the log, with the table's rows."""
    resolves: bool
    """A hand-over leaves nothing to do."""
    longest: int
    """Steps of the longest run."""
    warnings: tuple[str, ...]
    """What the log cannot say, a line each."""

    @property
    def text(self) -> str:
        """The scenario's file."""
        return self.scenario.text


def fit(
    log: Iterable[LoggedEpisode | str | Path],
    settings: CalibrationSettings | None = None,
    *,
    groups: Mapping[str, str] | None = None,
    prices: Prices | None = None,
    weights: Mapping[str, float] | None = None,
    loggers: Collection[str] = (),
    tasks: Collection[str] = (),
    name: str = "calibrated",
) -> Calibration:
    """Fits a scenario to a log.

    Args:
      log: episodes of an agent log, or its files.
      settings: how; None: as `CalibrationSettings` says.
      groups: names of rows, by patterns (as of a shell) of the tools that they stand for.
      prices: of models, where dollars are not logged.
      weights: λ by component; what is left out is as in `WEIGHTS`.
      loggers: whose runs are wanted; none: everybody's.
      tasks: patterns (as of a shell) of tasks whose runs are wanted; none: all.
      name: of the scenario.

    Returns:
      The scenario, and what is known of its numbers.

    Raises:
      UserError: a file cannot be read, no run has a call, or a weight is of no component.
    """
    settings = settings or CalibrationSettings()
    runs = list(runs_of(log, groups, prices, loggers, tasks))
    return fit_runs(arrange(runs, settings.least), settings, prices=prices, weights=weights, name=name)


def fit_runs(
    runs: Sequence[Run],
    settings: CalibrationSettings,
    *,
    like: Calibration | None = None,
    prices: Prices | None = None,
    weights: Mapping[str, float] | None = None,
    name: str = "calibrated",
) -> Calibration:
    """Fits a scenario to runs whose tools have their rows. See `fit`.

    Args:
      runs: as `arrange` gives them.
      settings: as there.
      like: a calibration whose rows, horizon and hand-over are taken over; these runs may lack some.
      prices: named in sources.
      weights: as there.
      name: as there.

    Returns:
      As there.

    Raises:
      UserError: as there.
    """
    rows, kinds = (like.rows, like.kinds) if like else rows_of(runs)
    places = [row for row, kind in zip(rows, kinds, strict=True) if kind in ("tool", "clarify")]
    resolves, told = (like.resolves, "as the whole log") if like else _resolves(runs)
    counts = count_failures(runs, rows[:-1])
    needs = fit_needs(runs, places, resolves=resolves, seed=settings.seed)
    columns: Columns = {}
    failing, warnings = fill_failures(columns, rows, counts, kinds.count("tool"), settings.seed)
    fill_seconds(columns, rows, runs, warnings)
    fill_dollars(columns, rows, runs, prices, warnings)
    longest = like.longest if like else max(len(run.calls) for run in runs)
    warnings += _doubts(runs, needs)
    contents = Contents(
        name, rows, kinds, covers_of(runs), places, UNEXPLAINED, columns, needs, resolves, told, longest,
        _weights(weights), weights or {}, len(runs), tuple(warnings),
    )  # fmt: skip
    scenario = parse_scenario(text_of(contents), name=name, where=f"{name}.toml")
    return Calibration(
        scenario, rows, kinds, columns, needs, failing, counts, tuple(runs), resolves, longest, tuple(warnings)
    )


def _resolves(runs: Sequence[Run]) -> tuple[bool, str]:
    """Whether a hand-over leaves nothing to do, and what says so."""
    ends = [run.success for run in runs if run.calls[-1].kind == ESCALATE and run.success is not None]
    if not ends:
        return True, "assumed: whoever takes over leaves nothing to do; the log does not say"
    good = sum(ends)
    return 2 * good >= len(ends), f"logged: {good} of {len(ends)} episodes that were handed over succeeded"


def _weights(given: Mapping[str, float] | None) -> dict[str, float]:
    unknown = sorted(set(given or {}) - set(COMPONENTS))
    if unknown:
        raise UserError(f"weights: unknown {listed(unknown)}: expected {', '.join(COMPONENTS)}")
    for component, value in (given or {}).items():
        if not (math.isfinite(value) and value >= 0):
            raise UserError(f"weights: {component}: expected a number not below 0, got {short(value)}")
    return {**WEIGHTS, **(given or {})}


def _doubts(runs: Sequence[Run], needs: Needs) -> list[str]:
    """What the log cannot say of needs."""
    found = []
    judged = sum(run.success is not None for run in runs)
    if not judged:
        found.append("No run says whether it succeeded: tasks are taken to need what their runs usually called")
    elif judged < len(runs):
        found.append(f"{len(runs) - judged} of {len(runs)} runs do not say whether they succeeded")
    weak = int(np.sum(needs.weak))
    if judged and weak:
        found.append(
            f"Needs are weak: {weak} of {len(needs.tasks)} tasks have fewer than three runs, or none that succeeded"
        )
    if judged and not needs.surplus.any():
        found.append("No task shows how much agents call for beyond need: tasks may need less than the scenario says")
    if len(runs) < 100:
        found.append(f"{len(runs)} episodes are few: see how wide the intervals are before anything is trained")
    return found
