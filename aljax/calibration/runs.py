"""Episodes of an agent log as the simulator's steps: a call, with the turn of the model before it.

What follows a hand-over, and a turn of the model behind the last call, belong to the step that ends the run. Tools that
the user ran are part of the world's answer, like the time that they took.
"""

import dataclasses
import fnmatch
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aljax.calibration.prices import Prices
from aljax.logs.episode import LoggedEpisode
from aljax.logs.fields import known
from aljax.logs.readers import read_episodes

CLARIFY, ESCALATE, TERMINATE, OTHER = "clarify", "escalate", "terminate", "other"
"""Rows that are no tool of the log, by name."""
_MODEL = ("llm", "reason")


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One step of the simulator."""

    row: str
    kind: str
    """``tool``, ``clarify``, ``escalate`` or ``terminate``."""
    ok: bool | None
    """Whether it worked; None: nobody says."""
    seconds: float | None
    """The turn of the model and the call, as far as known; None: nobody says."""
    dollars: float | None
    """Likewise."""
    censored: bool = False
    """It took so many seconds at least: nobody saw it end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One episode."""

    task: str
    logger: str
    calls: tuple[Call, ...]
    """The last one ends it."""
    success: bool | None
    """None: nobody says."""
    duration: float | None
    """Seconds of the whole, as logged."""

    @property
    def seconds(self) -> float | None:
        """Of its calls where they are known, else of the whole."""
        found = [call.seconds for call in self.calls if call.seconds is not None]
        return sum(found) if found else self.duration

    @property
    def dollars(self) -> float | None:
        """Of its calls, as far as they are known."""
        found = [call.dollars for call in self.calls if call.dollars is not None]
        return sum(found) if found else None

    @property
    def handed_over(self) -> bool:
        """Its last call was a hand-over."""
        return self.calls[-1].kind == ESCALATE


def runs_of(
    log: Iterable[LoggedEpisode | str | Path],
    groups: Mapping[str, str] | None = None,
    prices: Prices | None = None,
    loggers: Collection[str] = (),
) -> Iterator[Run]:
    """The runs of a log.

    Args:
      log: episodes, or files of them.
      groups: names of rows by the pattern (as of a shell) of the tools that they stand for; the first one holds.
      prices: of models, for turns whose dollars are not logged.
      loggers: whose runs are wanted; none: everybody's.

    Yields:
      Runs, episodes without any step left out. The dollars of a run most of whose model's turns have none are not known.

    Raises:
      UserError: a file cannot be read; one line with file and row.
    """
    for item in log:
        episodes = [item] if isinstance(item, LoggedEpisode) else read_episodes(item)
        for episode in episodes:
            if episode.steps and (not loggers or episode.logger in loggers):
                yield _run(episode, groups or {}, prices or Prices({}))


class _Pending:
    """What was taken before the next call."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.dollars: float | None = None
        self.censored = False

    def add(self, step: Mapping[str, Any], prices: Prices, logger: str) -> None:
        seconds, dollars = step.get("latency_s"), step.get("cost_usd")
        if seconds is None and step.get("censored_s") is not None:
            seconds, self.censored = step["censored_s"], True
        if dollars is None:
            dollars = prices.dollars(step, logger)
        self.seconds = _sum(self.seconds, seconds)
        self.dollars = _sum(self.dollars, dollars)

    def taken(self) -> dict[str, Any]:
        found = {"seconds": self.seconds, "dollars": self.dollars, "censored": self.censored}
        self.__init__()
        return found


def _sum(total: float | None, more: float | None) -> float | None:
    return total if more is None else more + (total or 0.0)


def _run(episode: LoggedEpisode, groups: Mapping[str, str], prices: Prices) -> Run:
    calls: list[Call] = []
    pending, timed = _Pending(), False
    turns = [known(step) for step in episode.steps if step["kind"] in _MODEL]
    priced = [step for step in turns if step.get("cost_usd") is not None or prices.dollars(step, episode.logger)]
    billed = 2 * len(priced) > len(turns) if turns else True  # else what is known is not what the run cost
    over: Mapping[str, Any] | None = None  # the hand-over: what follows is its own
    for raw in episode.steps:
        step = known(raw)
        pending.add(step, prices, episode.logger)
        if not billed:
            pending.dollars = None
        timed = timed or pending.seconds is not None
        kind = step["kind"]
        if over is not None or kind in _MODEL or step.get("by") == "user":
            continue
        if kind not in (CLARIFY, ESCALATE):
            kind = "tool"
        row = _grouped(step["name"], groups) if kind == "tool" else kind
        if kind == ESCALATE and step.get("ok") is not False:
            over = step
            continue
        calls.append(Call(row, kind, step.get("ok"), **pending.taken()))
    if over is not None:
        calls.append(Call(ESCALATE, ESCALATE, over.get("ok"), **pending.taken()))
    else:
        last = pending.taken()
        if last["seconds"] is None and timed:
            last["seconds"] = 0.0  # the user left: nobody's turn
        if last["dollars"] is None and billed and any(call.dollars is not None for call in calls):
            last["dollars"] = 0.0
        calls.append(Call(TERMINATE, TERMINATE, True, **last))
    end = known(episode.end)
    return Run(episode.task, episode.logger, tuple(calls), end.get("success"), end.get("duration_s"))


def _grouped(name: str, groups: Mapping[str, str]) -> str:
    return next((row for pattern, row in groups.items() if fnmatch.fnmatchcase(name, pattern)), name)


def with_rows(runs: Sequence[Run], names: Mapping[str, str]) -> list[Run]:
    """Runs whose tools have other names.

    Args:
      runs: as read.
      names: by the names that they have.

    Returns:
      Runs.
    """

    def renamed(call: Call) -> Call:
        return dataclasses.replace(call, row=names[call.row]) if call.kind == "tool" else call

    return [dataclasses.replace(run, calls=tuple(map(renamed, run.calls))) for run in runs]
