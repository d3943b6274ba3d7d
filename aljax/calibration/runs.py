"""Episodes of an agent log as the simulator's steps: what its agent chose, with the turns of the model that led to it.

What follows a hand-over belongs to it, as the simulator's episodes end there.
"""

import dataclasses
import fnmatch
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aljax.calibration.prices import Prices
from aljax.logs.episode import LoggedEpisode
from aljax.logs.fields import known
from aljax.logs.moves import STOP, Spent, moves_of
from aljax.logs.readers import read_episodes

CLARIFY, ESCALATE, TERMINATE, OTHER = "clarify", "escalate", STOP, "other"
"""Rows that are no tool of the log, by name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One step of the simulator."""

    row: str
    """Of the table."""
    name: str
    """What the log calls it."""
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
    tasks: Collection[str] = (),
) -> Iterator[Run]:
    """The runs of a log.

    Args:
      log: episodes, or files of them.
      groups: names of rows by the pattern (as of a shell) of the tools that they stand for; the first one holds.
      prices: of models, for turns whose dollars are not logged.
      loggers: whose runs are wanted; none: everybody's.
      tasks: patterns (as of a shell) of tasks whose runs are wanted; none: all.

    Yields:
      Runs, episodes without any step left out. Seconds or dollars that most of its turns do not say are not known.

    Raises:
      UserError: a file cannot be read; one line with file and row.
    """
    for item in log:
        episodes = [item] if isinstance(item, LoggedEpisode) else read_episodes(item)
        for episode in episodes:
            asked = not tasks or any(fnmatch.fnmatchcase(episode.task, pattern) for pattern in tasks)
            if episode.steps and asked and (not loggers or episode.logger in loggers):
                yield _run(episode, groups or {}, prices or Prices({}))


def _run(episode: LoggedEpisode, groups: Mapping[str, str], prices: Prices) -> Run:
    steps = [known(step) for step in episode.steps]
    told, timed, priced = _told(steps, prices, episode.logger)
    calls: list[Call] = []
    begin = 0
    for move in moves_of(dataclasses.replace(episode, steps=told)):
        seconds, dollars = move.before.plus(move.own)
        censored = any("latency_s" not in step and "censored_s" in step for step in steps[begin : move.step + 1])
        begin = move.step + 1
        if calls and calls[-1].kind == ESCALATE and calls[-1].ok is not False:  # what follows is the hand-over's
            last = calls[-1]
            seconds, dollars = Spent(last.seconds, last.dollars).plus(Spent(seconds, dollars))
            calls[-1] = dataclasses.replace(last, seconds=seconds, dollars=dollars, censored=last.censored or censored)
            continue
        kind = move.kind if move.kind in (CLARIFY, ESCALATE, TERMINATE) else "tool"
        row = _grouped(move.name, groups) if kind == "tool" else kind
        calls.append(Call(row, move.name, kind, move.ok, seconds, dollars, censored))
    if not (timed and priced):
        calls = [
            dataclasses.replace(call, seconds=call.seconds if timed else None, dollars=call.dollars if priced else None)
            for call in calls
        ]
    end = known(episode.end)
    return Run(episode.task, episode.logger, tuple(calls), end.get("success"), end.get("duration_s"))


def _told(steps: Sequence[Mapping[str, Any]], prices: Prices, logger: str) -> tuple[list[dict[str, Any]], bool, bool]:
    """Steps with seconds and dollars where most say them, what does not counting as nothing; and whether most do.

    Tools are not billed, and a first greeting is often canned; so it is the model's turns that have to say dollars.
    """
    seconds = [step.get("latency_s", step.get("censored_s")) for step in steps]
    dollars = [step.get("cost_usd", prices.dollars(step, logger)) for step in steps]
    billed = [cost for step, cost in zip(steps, dollars, strict=True) if step["kind"] == "llm"] or dollars
    found = [
        {**step, "latency_s": took or 0.0, "cost_usd": cost or 0.0}
        for step, took, cost in zip(steps, seconds, dollars, strict=True)
    ]
    return found, _mostly(seconds), _mostly(billed)


def _mostly(values: Sequence[float | None]) -> bool:
    return 2 * sum(value is not None for value in values) > len(values)


def _grouped(name: str, groups: Mapping[str, str]) -> str:
    return next((row for pattern, row in groups.items() if fnmatch.fnmatchcase(name, pattern)), name)


def with_rows(runs: Sequence[Run], names: Mapping[str, str]) -> list[Run]:
    """Runs whose tools have other rows.

    Args:
      runs: as read.
      names: of rows, by those that they have.

    Returns:
      Runs.
    """

    def renamed(call: Call) -> Call:
        return dataclasses.replace(call, row=names[call.row]) if call.kind == "tool" else call

    return [dataclasses.replace(run, calls=tuple(map(renamed, run.calls))) for run in runs]
