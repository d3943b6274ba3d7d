"""Has the world drifted from a scenario? A test a column, on what a log has seen since.

Under the scenario calls of a row fail independently with the rate that its latest call sets, and the log of their
seconds is normal. Each row's `failure`, `after_ok`, `after_failed` and seconds are tested on the whole log, on its last
half and on its last quarter, so that a change that came late is not drowned. All of them together give a false alarm in
at most the share `alpha` of logs of a world that is as the scenario says (Holm, 1979).
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from aljax.calibration.prices import Prices
from aljax.calibration.runs import runs_of
from aljax.logs.episode import LoggedEpisode
from aljax.offline.rows import Rows
from aljax.scenario import Scenario

WINDOWS = {"the whole log": 1.0, "its last half": 0.5, "its last quarter": 0.25}
"""Parts of a log, from its end."""
LEAST = 5
"""A column with fewer calls is not tested."""
_STEADY = {"mean_uptime": np.inf, "timeout": np.inf, "rate_limit": np.inf, "requires": False, "max_calls": np.inf}
"""Columns by which calls fail for other reasons than a rate, and what they are where they do nothing."""


@dataclasses.dataclass(frozen=True)
class Column:
    """What became of one column of one row."""

    row: str
    column: str
    """``failure``, ``after_ok``, ``after_failed``, ``latency`` or ``failure_latency``."""
    window: str
    """The part of the log that differs most, one of `WINDOWS`."""
    calls: int
    """In that part."""
    expected: float
    """As the scenario has it: a rate, or mean seconds."""
    found: float
    """The rate, or what mean seconds the calls' logs suggest."""
    p_value: float
    """Adjusted for all tests together."""
    drifted: bool
    """It is below `alpha`."""


@dataclasses.dataclass(frozen=True)
class Drift:
    """What a log says of a scenario."""

    columns: Sequence[Column]
    """Those tested, the most doubtful first."""
    episodes: int
    alpha: float
    unknown: Mapping[str, int]
    """Calls that no row stands for, by name."""
    untested: Sequence[str]
    """Rows whose failures are not of one rate."""

    @property
    def drifted(self) -> list[Column]:
        """The columns that drifted."""
        return [column for column in self.columns if column.drifted]

    def to_json(self) -> dict[str, Any]:
        """For files."""
        return dataclasses.asdict(self) | {"drifted": len(self.drifted)}


def find_drift(
    log: Iterable[LoggedEpisode | str | Path],
    scenario: Scenario,
    *,
    alpha: float = 0.05,
    prices: Prices | None = None,
    loggers: Collection[str] = (),
) -> Drift:
    """Tests a scenario's columns on a log, whose order is that of time.

    Args:
      log: episodes, or files of them.
      scenario: for instance the one that a router was trained in.
      alpha: the share of false alarms, over all columns together.
      prices: of models, for turns whose dollars are not logged.
      loggers: whose runs count; none: everybody's.

    Returns:
      A finding a column.

    Raises:
      UserError: a file cannot be read; one line with file and row.
    """
    rows, unknown, episodes = Rows(scenario), Counter(), 0
    failures: dict[tuple[int, str], list[tuple[int, bool]]] = {}
    seconds: dict[tuple[int, str], list[tuple[int, float]]] = {}
    table = {name: np.asarray(value) for name, value in vars(scenario.params.actions).items() if value is not None}
    varies = {row for row in range(len(scenario.action_names)) if _varies(table, row)}
    for episodes, run in enumerate(runs_of(log, prices=prices, loggers=loggers), 1):
        status: dict[int, str] = {}
        for t, call in enumerate(run.calls):
            row = rows.chosen(call.name) if call.kind == "tool" else rows.row(call.kind, call.name)
            if row is None:
                unknown[call.name] += 1
                continue
            if call.ok is not None and row not in varies:
                failures.setdefault((row, _column(table, status.get(row, "failure"))), []).append(
                    (episodes, not call.ok)
                )
            if call.ok is not None:
                status[row] = "after_ok" if call.ok else "after_failed"
            if call.seconds and not call.censored and row not in varies and "latency_spread" in table:
                name = "failure_latency" if call.ok is False and "failure_latency" in table else "latency"
                mean = table[name][row] + (table["latency_growth"][row] * t if "latency_growth" in table else 0.0)
                if mean > 0 and table["latency_spread"][row] > 0:
                    seconds.setdefault((row, name), []).append((episodes, math.log(call.seconds / mean)))
    tests = [
        *(test for key, found in failures.items() for test in _rates(key, found, table, episodes)),
        *(test for key, found in seconds.items() for test in _laws(key, found, table, episodes)),
    ]
    named = [scenario.action_names[row] for row in sorted(varies)]
    return Drift(_adjusted(tests, scenario, alpha), episodes, alpha, dict(unknown), named)


def _varies(table: Mapping[str, np.ndarray], row: int) -> bool:
    """Whether a row fails for reasons beside its rates."""
    return any(name in table and bool(np.any(table[name][row] != idle)) for name, idle in _STEADY.items())


def _column(table: Mapping[str, np.ndarray], name: str) -> str:
    return name if name in table else "failure"


_Test = tuple[int, str, str, int, float, float, float]
"""Row, column, window, calls, expected, found, p."""


def _windows(found: Sequence[tuple[int, Any]], episodes: int) -> Iterable[tuple[str, np.ndarray]]:
    """The parts of a column's calls that are long enough."""
    when, values = np.array([n for n, _ in found]), np.array([value for _, value in found], float)
    for window, share in WINDOWS.items():
        part = values[when > episodes * (1 - share)]
        if len(part) >= LEAST:
            yield window, part


def _rates(
    key: tuple[int, str], found: Sequence[tuple[int, bool]], table: Mapping[str, np.ndarray], episodes: int
) -> Iterable[_Test]:
    row, column = key
    expected = float(table[column][row])
    for window, part in _windows(found, episodes):
        p = stats.binomtest(int(part.sum()), len(part), expected).pvalue
        yield row, column, window, len(part), expected, float(part.mean()), float(p)


def _laws(
    key: tuple[int, str], found: Sequence[tuple[int, float]], table: Mapping[str, np.ndarray], episodes: int
) -> Iterable[_Test]:
    row, column = key
    spread = float(table["latency_spread"][row])
    for window, part in _windows(found, episodes):
        beyond = part.mean() + 0.5 * spread**2
        p = 2 * stats.norm.sf(abs(beyond) * math.sqrt(len(part)) / spread)
        expected = float(table[column][row])
        yield row, column, window, len(part), expected, expected * math.exp(beyond), float(p)


def _adjusted(tests: Sequence[_Test], scenario: Scenario, alpha: float) -> list[Column]:
    """Holm's p-values, the least of each column."""
    order = sorted(tests, key=lambda test: test[-1])
    least: dict[tuple[int, str], Column] = {}
    running = 0.0
    for rank, (row, column, window, calls, expected, found, p) in enumerate(order):
        running = max(running, min(1.0, p * (len(order) - rank)))
        told = Column(scenario.action_names[row], column, window, calls, expected, found, running, running < alpha)
        least.setdefault((row, column), told)
    return list(least.values())
