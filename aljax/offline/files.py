"""Logged episodes as JSON lines: a row a step and one of kind ``end`` after the last, gzipped where the name says so.

A step has ``episode``, ``task``, ``logger``, ``t``, ``kind``, ``name`` (the action's), ``ok`` and, where known,
``latency_s``, ``cost_usd`` and the ``probability`` with which the logger chose it. A log to learn from also has what
the policy is to see, ``observation``, and the plan's ``divergence``; its ``end`` has ``success`` and ``violation``.
Where several loggers' probabilities are known, ``probabilities`` has them by name. See docs/offline.md.
"""

import dataclasses
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np
import orjson

from aljax import env
from aljax.errors import UserError, one_line, short
from aljax.files import whole_file
from aljax.offline.data import Episodes, Log, joined
from aljax.scenario import Scenario


@dataclasses.dataclass(frozen=True)
class LoggedEpisode:
    """One episode's rows, as they stood in the file."""

    name: str
    task: str
    logger: str
    steps: Sequence[Mapping[str, Any]]
    end: Mapping[str, Any]
    rows: Sequence[int]
    """Numbers of the steps' rows, from 1, and last that of the end."""


def read_episodes(path: str | Path, on_progress: Callable[[int], None] = lambda row: None) -> Iterator[LoggedEpisode]:
    """Reads any log of this form, whatever its actions are, episode by episode as they end.

    Args:
      path: the file; ``.gz``: gzipped.
      on_progress: called now and then with the row reached.

    Yields:
      Episodes. They may lie between each other in the file; their steps are in order. After an episode's end its name
      may stand for another. An episode may have no steps.

    Raises:
      UserError: one line with file and row: no such file, damaged, no JSON object, a missing or senseless field, steps
        out of order, an episode that never ends.
    """
    steps: dict[str, list[dict[str, Any]]] = {}
    rows: dict[str, list[int]] = {}
    number = 0
    for number, row in _rows(path):
        if number % 10_000 == 0:
            on_progress(number)

        def refuse(text: str, number: int = number) -> UserError:
            return UserError(f"{path}, row {number}: {text}")

        for field in ("episode", "logger", "kind"):
            if not isinstance(row.get(field), str):
                raise refuse(_expected(row, field, "text"))
        name: str = row["episode"]
        if row["kind"] == "end":
            if not isinstance(row.get("success"), bool):
                raise refuse(_expected(row, "success", "true or false"))
            before = steps.pop(name, [])
            for field in ("logger", "task"):
                if before and row.get(field) != before[0].get(field):
                    raise refuse(
                        f"{field} {row.get(field)!r}, but {before[0].get(field)!r} earlier in episode {name!r}"
                    )
            task = row.get("task", name)
            yield LoggedEpisode(name, str(task), row["logger"], before, row, [*rows.pop(name, []), number])
            continue
        if not isinstance(row.get("name"), str):
            raise refuse(_expected(row, "name", "text"))
        earlier = steps.setdefault(name, [])
        if row.get("t") != len(earlier) or isinstance(row["t"], bool):
            raise refuse(_expected(row, "t", f"{len(earlier)}, the next step of episode {name!r}"))
        probability = row.get("probability")
        if probability is not None and not (_number(probability) and 0 < probability <= 1):
            raise refuse(_expected(row, "probability", "a number above 0 and at most 1"))
        earlier.append(row)
        rows.setdefault(name, []).append(number)
    for name, found in rows.items():
        raise UserError(f"{path}, row {found[-1]}: episode {name!r} is cut short: no row of kind 'end' follows")
    if not number:
        raise UserError(f"{path}: empty, expected a row of JSON a step")


def _rows(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their numbers, from 1."""
    path = Path(path)
    number = 0
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if zipped else raw  # type: ignore[assignment]
            for number, line in enumerate(io.BufferedReader(stream) if zipped else stream, 1):  # type: ignore[arg-type]
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise UserError(f"{path}, row {number}: not JSON: {one_line(error)}") from None
                if not isinstance(row, dict):
                    raise UserError(f"{path}, row {number}: expected a JSON object, got {short(row)}")
                yield number, row
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}, after row {number}: damaged or truncated gzip: {one_line(error)}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or one_line(error)}") from None


def read_log(path: str | Path, scenario: Scenario, on_progress: Callable[[int], None] = lambda row: None) -> Log:
    """Reads a log of a scenario's episodes, to learn from or to evaluate on.

    Args:
      path: the file.
      scenario: whose actions and observations they are.
      on_progress: see `read_episodes`.

    Returns:
      The data set, as NumPy arrays.

    Raises:
      UserError: as `read_episodes`; also an action that the scenario does not have, an observation of another length,
        a cost that is missing or below 0, more steps than the horizon.
    """
    actions = {name: row for row, name in enumerate(scenario.action_names)}
    size, horizon = env.observation_size(scenario.params), scenario.horizon
    found: list[tuple[list[Any], list[int], list[list[float]], list[dict[str, float]], bool]] = []
    loggers: dict[str, int] = {}
    tasks: dict[str, int] = {}
    who, which = [], []
    for episode in read_episodes(path, on_progress):

        def refuse(step: int, text: str, episode: LoggedEpisode = episode) -> UserError:
            return UserError(f"{path}, row {episode.rows[step]}: {text}")

        if not episode.steps:
            raise refuse(-1, f"episode {episode.name!r} ends without a step")
        if len(episode.steps) > horizon:
            raise refuse(horizon, f"episode {episode.name!r} goes on after {horizon} steps, {scenario.name}'s horizon")
        seen, played, costs, known = [], [], [], []
        for t, row in enumerate(episode.steps):
            if row["name"] not in actions:
                names = ", ".join(actions)
                raise refuse(t, f"action {row['name']!r} is unknown to scenario {scenario.name}, which has {names}")
            kind = scenario.kinds[actions[row["name"]]]
            if row["kind"] != kind:
                raise refuse(t, f"{row['name']} is of kind {row['kind']!r}, but {kind!r} in scenario {scenario.name}")
            if not isinstance(row.get("ok"), bool):
                raise refuse(t, _expected(row, "ok", "true or false"))
            for field in ("latency_s", "cost_usd", "divergence"):
                if not (_number(row.get(field)) and row[field] >= 0):
                    raise refuse(t, _expected(row, field, "a number not below 0"))
            observation = row.get("observation")
            if not isinstance(observation, list) or len(observation) != size or not _finite(observation):
                given = f"{len(observation)}" if isinstance(observation, list) else "none"
                raise refuse(t, f"observation: expected {size} numbers (scenario {scenario.name}), got {given}")
            known.append(_probabilities(row, episode, refuse, t))
            seen.append(observation)
            played.append(actions[row["name"]])
            costs.append([row["latency_s"], row["cost_usd"], 0.0, float(not row["ok"]), row["divergence"]])
        violation = episode.end.get("violation")
        if violation is None or not (_number(violation) and violation >= 0):
            raise refuse(-1, _expected(episode.end, "violation", "a number not below 0"))
        costs[-1][env.COMPONENTS.index("violation")] = violation
        found.append((seen, played, costs, known, episode.end["success"]))
        who.append(loggers.setdefault(episode.logger, len(loggers)))
        which.append(tasks.setdefault(episode.task, len(tasks)))
        for name in {name for step in known for name in step}:
            loggers.setdefault(name, len(loggers))
    return Log(_stacked(found, who, which, loggers, size, horizon), tuple(loggers), tuple(tasks))


def _probabilities(
    row: Mapping[str, Any], episode: LoggedEpisode, refuse: Callable[[int, str], UserError], t: int
) -> dict[str, float]:
    """What a step says about the loggers' probabilities, by name."""
    found = row.get("probabilities", {})
    if not isinstance(found, dict):
        raise refuse(t, _expected(row, "probabilities", "an object, a logger's name to a number"))
    for name, value in found.items():
        if not (_number(value) and 0 <= value <= 1):
            raise refuse(t, f"probabilities of {name!r}: expected a number from 0 to 1, got {short(value)}")
    if found.get(episode.logger) == 0:
        raise refuse(t, f"probabilities of {episode.logger!r}, which acted: expected a number above 0, got 0")
    own = {} if row.get("probability") is None else {episode.logger: row["probability"]}
    return {**found, **own}


def _stacked(
    found: Sequence[Any], who: Sequence[int], which: Sequence[int], loggers: Mapping[str, int], size: int, horizon: int
) -> Episodes:
    """Arrays from lists."""
    count = len(found)
    observation = np.zeros((count, horizon, size), np.float32)
    action = np.zeros((count, horizon), np.int32)
    costs = np.zeros((count, horizon, len(env.COMPONENTS)), np.float32)
    alive = np.zeros((count, horizon), bool)
    probability = np.full((count, horizon, len(loggers)), np.nan, np.float32)
    for n, (seen, played, paid, known, _) in enumerate(found):
        steps = len(played)
        observation[n, :steps], action[n, :steps], costs[n, :steps], alive[n, :steps] = seen, played, paid, True
        for t, step in enumerate(known):
            for name, value in step.items():
                probability[n, t, loggers[name]] = value
    success = np.array([episode[4] for episode in found])
    return Episodes(
        observation, action, costs, alive, probability, np.array(who, np.int32), np.array(which, np.int32), success
    )  # type: ignore[arg-type] # NumPy arrays are arrays


def read_logs(
    paths: Sequence[str | Path], scenario: Scenario, on_progress: Callable[[int], None] = lambda row: None
) -> Log:
    """Several files as one data set; loggers and tasks of the same name are the same."""
    logs = [read_log(path, scenario, on_progress) for path in paths]
    return joined(logs) if len(logs) > 1 else logs[0]


def write_log(path: str | Path, log: Log, scenario: Scenario) -> None:
    """Writes a data set as JSON lines, gzipped if the name ends in ``.gz``, whole or not at all.

    Numbers are written so that reading gives the same float32.

    Raises:
      UserError: the place cannot be written.
    """
    with whole_file(path) as place, place.open("wb") as raw:
        if Path(path).suffix == ".gz":
            # No time of day and no name inside: the same data give the same bytes.
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream:
                stream.writelines(_lines(log, scenario))
        else:
            raw.writelines(_lines(log, scenario))


def _lines(log: Log, scenario: Scenario) -> Iterator[bytes]:
    episodes = jax.tree.map(np.asarray, log.episodes)
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
    used: dict[str, int] = {}
    for n in range(len(episodes)):
        logger, task = log.loggers[episodes.logger[n]], log.tasks[episodes.task[n]]
        name = f"{logger}/{task}"
        used[name] = used.get(name, 0) + 1
        about = {"episode": name if used[name] == 1 else f"{name}/{used[name]}", "task": task, "logger": logger}
        steps = int(episodes.alive[n].sum())
        for t in range(steps):
            action, costs, known = episodes.action[n, t], episodes.costs[n, t], episodes.probability[n, t]
            row = about | {
                "t": t,
                "kind": scenario.kinds[action],
                "name": scenario.action_names[action],
                "ok": bool(costs[3] == 0),
                "latency_s": costs[0],
                "cost_usd": costs[1],
                "divergence": costs[4],
                "observation": np.ascontiguousarray(episodes.observation[n, t]),
            }
            if math.isfinite(known[episodes.logger[n]]):
                row["probability"] = known[episodes.logger[n]]
            if len(log.loggers) > 1 and np.isfinite(known).any():
                row["probabilities"] = {
                    name: value for name, value in zip(log.loggers, known, strict=True) if math.isfinite(value)
                }
            yield orjson.dumps(row, option=options)
        end = {"kind": "end", "success": bool(episodes.success[n]), "violation": episodes.costs[n, :steps, 2].sum()}
        yield orjson.dumps(about | end, option=options)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _finite(values: list[Any]) -> bool:
    """Numbers all, none of them NaN or infinite."""
    try:
        return math.isfinite(math.fsum(values))
    except (TypeError, ValueError, OverflowError):
        return False


def _expected(row: Mapping[str, Any], field: str, what: str) -> str:
    got = f"got {short(row[field])}" if field in row else "but it is missing"
    return f"{field}: expected {what}, {got}"
