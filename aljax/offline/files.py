"""Logged episodes as JSON lines: a row a step and one of kind ``end`` after the last, gzipped where the name says so.

A step has ``episode``, ``task``, ``logger``, ``t``, ``kind``, ``name`` (the action's), ``ok`` and, where known,
``latency_s``, ``cost_usd`` and the ``probability`` with which the logger chose it. A log to learn from also has what
the policy is to see, ``observation``, and the plan's ``divergence``; its ``end`` has ``success`` and ``violation``,
and says by ``scenario`` and ``digest`` which scenario all of that belongs to, the first one in full (``environment``).
Where several loggers' probabilities are known, ``probabilities`` has them by name. See docs/reference/log_files.md.
"""

import dataclasses
import gzip
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orjson

from aljax import env, limits
from aljax.errors import UserError, listed, plain_path, short
from aljax.host.files import whole_file
from aljax.logs.lines import Lines
from aljax.offline.data import Episodes, Log, Source, joined
from aljax.offline.identity import Identity, identity_from, identity_of
from aljax.offline.unusual import far_off
from aljax.scenario import Scenario

_CERTAIN = 1 + 1e-6
"""A probability so little above 1 was rounded, and stands for 1."""
_LEAST = float(np.finfo(np.float32).tiny)
"""Smaller probabilities become 0 in single precision, on devices that have no denormal numbers."""
_MET = 1e-5
"""A violation so small was rounded, and stands for 0."""


@dataclasses.dataclass(frozen=True)
class LoggedEpisode:
    """One episode's rows, as they stood in the file."""

    name: str
    task: str
    """The episode's name, where the log has none."""
    logger: str
    steps: Sequence[Mapping[str, Any]]
    end: Mapping[str, Any]
    rows: Sequence[int]
    """Numbers of the steps' rows, from 1, and last that of the end."""


def read_episodes(path: str | Path, on_progress: Callable[[int], None] = lambda row: None) -> Iterator[LoggedEpisode]:
    """Reads any log of this form, whatever its actions are, episode by episode as they end.

    Args:
      path: the file, device or pipe; what is gzipped is recognised.
      on_progress: called now and then with the row reached.

    Yields:
      Episodes. They may lie between each other in the file; their steps are in order. After an episode's end its name
      may stand for another. An episode may have no steps. Fields that are null are as if absent: unknown.

    Raises:
      UserError: one line with file and row: no such file, damaged, no JSON object, a missing or senseless field, steps
        out of order or by several loggers, an episode that never ends.
    """
    return _episodes(Lines(path), on_progress)


def _episodes(lines: Lines, on_progress: Callable[[int], None]) -> Iterator[LoggedEpisode]:
    """See `read_episodes`."""
    steps: dict[str, list[dict[str, Any]]] = {}
    rows: dict[str, list[int]] = {}
    number = 0
    for number, row in lines:
        if number % 10_000 == 0:
            on_progress(number)

        def refuse(text: str, number: int = number) -> UserError:
            return UserError(f"{lines}, row {number}: {text}")

        for field in ("episode", "logger", "kind"):
            if not (isinstance(row.get(field), str) and row[field]):
                raise refuse(_expected(row, field, "text"))
        if row.get("task") is not None and not (isinstance(row["task"], str) and row["task"]):
            raise refuse(_expected(row, "task", "text, or null"))
        name: str = row["episode"]
        earlier = steps.setdefault(name, [])
        for field in ("logger", "task"):
            if earlier and row.get(field) != earlier[0].get(field):
                raise refuse(
                    f"{field} {_shown(row.get(field))}, but {_shown(earlier[0].get(field))} earlier in episode "
                    f"{short(name)}"
                )
        for field in ("latency_s", "cost_usd", "duration_s", "in_tokens", "out_tokens"):
            if row.get(field) is not None and not _cost(row[field]):
                raise refuse(_expected(row, field, _a_cost(row[field])))
        if row["kind"] == "end":
            if not isinstance(row.get("success"), bool):
                raise refuse(_expected(row, "success", "true or false"))
            yield LoggedEpisode(
                name, row.get("task") or name, row["logger"], steps.pop(name), row, [*rows.pop(name, []), number]
            )
            continue
        if not isinstance(row.get("name"), str):
            raise refuse(_expected(row, "name", "text"))
        if row.get("ok") is not None and not isinstance(row["ok"], bool):
            raise refuse(_expected(row, "ok", "true or false"))
        if row.get("t") != len(earlier) or isinstance(row["t"], bool):
            raise refuse(_expected(row, "t", f"{len(earlier)}, the next step of episode {short(name)}"))
        if row.get("probability") is not None:
            if not (_number(row["probability"]) and 0 < row["probability"] <= _CERTAIN):
                raise refuse(_expected(row, "probability", "a number above 0 and at most 1"))
            if row["probability"] < _LEAST:
                raise refuse(_expected(row, "probability", f"at least {_LEAST:.2g}, the least in single precision"))
        earlier.append(row)
        rows.setdefault(name, []).append(number)
    for name, found in rows.items():
        raise UserError(f"{lines}, row {found[-1]}: episode {short(name)} is cut short: no row of kind 'end' follows")
    if not number:
        raise UserError(f"{lines}: empty, expected a row of JSON a step")


def read_logs(
    paths: Sequence[str | Path],
    scenario: Scenario,
    on_progress: Callable[[int], None] = lambda row: None,
    *,
    other_scenario: bool = False,
) -> Log:
    """Reads logs of a scenario's episodes, to learn from or to evaluate on, as one data set.

    Loggers and tasks of the same name are the same, also in different files. Of an episode without a task nobody else
    was given its task.

    Args:
      paths: the files.
      scenario: whose actions and observations they are.
      on_progress: see `read_episodes`.
      other_scenario: read logs, too, that say that they are another scenario's, with a warning, as far as names and
        shapes go together.

    Returns:
      The data set, as NumPy arrays, with T the steps of the longest episode.

    Raises:
      UserError: as `read_episodes`; also an action that the scenario does not have, an observation of another length,
        a cost that is missing, below 0 or too large for single precision, more steps than the horizon, what the
        scenario rules out, the log of another scenario, the same file twice.
    """
    together = _Together(scenario, identity_of(scenario), other_scenario)
    logs: list[Log] = []
    for number, path in enumerate(paths):
        if any(_same_file(path, before) for before in paths[:number]):
            raise UserError(f"{plain_path(path)}: given twice, its episodes would count twice")
        log = _LogReader(path, together).read(on_progress)
        source = log.sources[0]
        same = next((x.sources[0].file for x in logs if x.sources[0].sha256 == source.sha256), None)
        if same is not None:
            raise UserError(f"{plain_path(path)}: the same bytes as {plain_path(same)}, its episodes would count twice")
        logs.append(log)
    return joined(logs) if len(logs) > 1 else logs[0]


def read_log(
    path: str | Path,
    scenario: Scenario,
    on_progress: Callable[[int], None] = lambda row: None,
    *,
    other_scenario: bool = False,
) -> Log:
    """Reads one file. See `read_logs`."""
    return read_logs([path], scenario, on_progress, other_scenario=other_scenario)


def _same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one file with contents of its own; what pipes and devices give is read up."""
    try:
        return Path(one).samefile(other) and Path(one).is_file()
    except (OSError, ValueError):
        return False


@dataclasses.dataclass
class _Together:
    """What files that are read together share."""

    scenario: Scenario
    identity: Identity
    other_scenario: bool
    own_tasks: set[str] = dataclasses.field(default_factory=set)
    """Names given to tasks of episodes that have none."""
    seen: dict[bytes, str] = dataclasses.field(default_factory=dict)
    """File and row of every episode, by what is in it."""


@dataclasses.dataclass(frozen=True)
class _Episode:
    """What is kept of an episode: arrays of its steps."""

    observation: np.ndarray
    action: list[int]
    costs: np.ndarray
    known: dict[str, np.ndarray]
    """Loggers' probabilities by name, NaN where unknown."""
    success: bool
    rows: Sequence[int]


class _LogReader:
    """Checks one file's episodes against a scenario and turns them into arrays."""

    def __init__(self, path: str | Path, together: _Together):
        self.lines, self.together = Lines(path), together
        self.scenario = together.scenario
        self.actions = {name: row for row, name in enumerate(self.scenario.action_names)}
        self.ends = np.asarray(self.scenario.params.actions.ends)
        self.weights = np.asarray(self.scenario.params.weights, np.float64)
        self.size = env.observation_size(self.scenario.params)
        self.loggers: dict[str, int] = {}
        self.tasks: dict[str, int] = {}
        self.described: dict[str, Identity] = {}  # by digest
        self.foreign: dict[str, str] = {}  # digests of other scenarios: in words, with the first row
        self.unsaid: list[int] = []  # rows of ends without a digest
        self.twice: list[str] = []
        self.unexplained: list[int] = []  # rows of ends of failed episodes that violate nothing

    def read(self, on_progress: Callable[[int], None]) -> Log:
        """The whole file."""
        found, who, which = [], [], []
        for episode in _episodes(self.lines, on_progress):
            self._check_scenario(episode)
            found.append(self._episode(episode))
            self._check_new(episode, found[-1])
            who.append(self.loggers.setdefault(episode.logger, len(self.loggers)))
            which.append(self.tasks.setdefault(self._task(episode), len(self.tasks)))
            for name in found[-1].known:
                self.loggers.setdefault(name, len(self.loggers))
        episodes, rows = _stacked(found, who, which, self.loggers)
        far = far_off(episodes, rows, np.array([episode.rows[-1] for episode in found]))
        warnings = tuple(f"{self.lines}, {text}" for text in itertools.chain(self._warnings(), far))
        source = Source(str(self.lines.path), self.lines.sha256)
        return Log(episodes, tuple(self.loggers), tuple(self.tasks), (source,), warnings)

    def refuse(self, episode: LoggedEpisode, step: int, text: str) -> UserError:
        """A complaint about the row of a step; −1: of the end."""
        return UserError(f"{self.lines}, row {episode.rows[step]}: {text}")

    def _check_scenario(self, episode: LoggedEpisode) -> None:
        """Refuses another scenario's episode, unless it was asked for; keeps what to warn about."""
        end, ours = episode.end, self.together.identity
        digest, name = end.get("digest"), end.get("scenario")
        if digest is None:
            self.unsaid.append(episode.rows[-1])
            return
        if not isinstance(digest, str) or not isinstance(name, str):
            field = "scenario" if isinstance(digest, str) else "digest"
            raise self.refuse(episode, -1, _expected(end, field, "text"))
        described = identity_from(end.get("environment"))
        if described is not None:
            self.described[digest] = described
        if digest == ours.digest or digest in self.foreign:
            return
        theirs = self.described.get(digest)
        what = f"digest {short(digest)}, here {ours.digest}" if theirs is None else ours.differences(theirs)
        text = f"logged under scenario {short(name)} with other numbers or names than {self.scenario.name}: {what}"
        if not self.together.other_scenario:
            raise self.refuse(episode, -1, f"{text} (--other-scenario reads it all the same)")
        self.foreign[digest] = f"row {episode.rows[-1]}: {text}; read all the same, as asked for"

    def _task(self, episode: LoggedEpisode) -> str:
        """Its name; a new one where the episode's task is its own."""
        own = self.together.own_tasks
        if episode.end.get("task") is not None:
            return episode.task
        name, number = episode.task, 1
        while name in own:
            number += 1
            name = f"{episode.task}#{number}"
        own.add(name)
        return name

    def _check_new(self, episode: LoggedEpisode, found: _Episode) -> None:
        """Keeps what to say of an episode that was there before, name, numbers and all."""
        content = hashlib.blake2b(digest_size=16)
        for part in (episode.name, episode.task, episode.logger, str(found.action)):
            content.update(part.encode() + b"\0")
        content.update(found.observation.tobytes() + found.costs.tobytes())
        here = f"{self.lines}, row {found.rows[-1]}"
        before = self.together.seen.setdefault(content.digest(), here)
        if before is not here:
            self.twice.append(f"row {found.rows[-1]} (before: {before})")

    def _warnings(self) -> Iterator[str]:
        """What is odd about the file."""
        yield from self.foreign.values()
        if self.unsaid:
            yield (
                f"{_rows(self.unsaid)}: no digest of the scenario that it was logged under: whether scales, starts and "
                f"tolerances are those of {self.scenario.name} cannot be checked"
            )
        if self.twice:
            more = f" and {len(self.twice) - 1:,} more" if len(self.twice) > 1 else ""
            yield f"{self.twice[0]}{more}: the same episode again, with the same name: it counts twice"
        if self.unexplained:
            yield (
                f"{_rows(self.unexplained)}: no success, but a violation of 0, which is a success in scenario "
                f"{self.scenario.name}"
            )

    def _episode(self, episode: LoggedEpisode) -> _Episode:
        """Its arrays, checked."""
        scenario, steps = self.scenario, episode.steps
        if not steps:
            raise self.refuse(episode, -1, f"episode {short(episode.name)} ends without a step")
        if len(steps) > scenario.horizon:
            what = f"goes on after {scenario.horizon} steps, {scenario.name}'s horizon"
            raise self.refuse(episode, scenario.horizon, f"episode {short(episode.name)} {what}")
        observation = np.empty((len(steps), self.size), np.float32)
        action: list[int] = []
        known: dict[str, np.ndarray] = {}
        costs = np.zeros((len(steps), len(env.COMPONENTS)), np.float32)
        for t, row in enumerate(steps):
            action.append(self._action(episode, t))
            for field in ("latency_s", "cost_usd", "divergence"):
                if not _cost(row.get(field)):
                    raise self.refuse(episode, t, _expected(row, field, _a_cost(row.get(field))))
            observation[t] = self._observation(episode, t)
            for name, value in self._probabilities(episode, t).items():
                known.setdefault(name, np.full(len(steps), np.nan, np.float32))[t] = value
            costs[t] = row["latency_s"], row["cost_usd"], 0.0, not row["ok"], row["divergence"]
        violation, success = episode.end.get("violation"), episode.end["success"]
        if violation is None or not _cost(violation):
            raise self.refuse(episode, -1, _expected(episode.end, "violation", _a_cost(violation)))
        if success and violation > _MET:
            raise self.refuse(episode, -1, f"success: true, but a violation of {violation:g}, expected 0")
        if not success and violation == 0:
            self.unexplained.append(episode.rows[-1])
        costs[-1, env.COMPONENTS.index("violation")] = violation
        total = float(costs.sum(0, dtype=np.float64) @ self.weights)
        if total > limits.DEAREST:
            what = f"episode {short(episode.name)} costs {total:.3g} in all, expected at most {limits.DEAREST:g}"
            raise self.refuse(episode, -1, what)
        return _Episode(observation, action, costs, known, success, episode.rows)

    def _action(self, episode: LoggedEpisode, t: int) -> int:
        """The row of a step's action."""
        scenario, row = self.scenario, episode.steps[t]
        action = self.actions.get(row["name"])
        if action is None:
            what = (
                f"action {short(row['name'])} is unknown to scenario {scenario.name}, which has {listed(self.actions)}"
            )
            raise self.refuse(episode, t, what)
        kind = scenario.kinds[action]
        if row["kind"] != kind:
            what = f"{row['name']} is of kind {short(row['kind'])}, but {kind!r} in scenario {scenario.name}"
            raise self.refuse(episode, t, what)
        if not isinstance(row.get("ok"), bool):
            raise self.refuse(episode, t, _expected(row, "ok", "true or false"))
        if row["ok"] and self.ends[action] and t + 1 < len(episode.steps):
            what = f"goes on after {row['name']} worked, which ends it in scenario {scenario.name}"
            raise self.refuse(episode, t + 1, f"episode {short(episode.name)} {what}")
        return action

    def _observation(self, episode: LoggedEpisode, t: int) -> list[float]:
        """A step's observation, all of it finite numbers."""
        values = episode.steps[t].get("observation")
        if not isinstance(values, list) or len(values) != self.size:
            given = f"{len(values)}" if isinstance(values, list) else "none"
            what = f"observation: expected {self.size} numbers (scenario {self.scenario.name}), got {given}"
            raise self.refuse(episode, t, what)
        if not (
            set(map(type, values)) <= {int, float} and min(values) >= -limits.DEAREST and max(values) <= limits.DEAREST
        ):
            place = next(i for i, x in enumerate(values) if not (_number(x) and abs(x) <= limits.DEAREST))
            most = f" of at most {limits.DEAREST:g}" if _number(values[place]) else ""
            what = f"observation: expected {self.size} numbers{most} (scenario {self.scenario.name})"
            raise self.refuse(episode, t, f"{what}, but observation[{place}] is {_shown(values[place])}")
        return values

    def _probabilities(self, episode: LoggedEpisode, t: int) -> dict[str, float]:
        """What a step says about the loggers' probabilities, by name."""
        row = episode.steps[t]
        own, given = row.get("probability"), row.get("probabilities")
        if given is None:
            return {} if own is None else {episode.logger: min(own, 1.0)}
        if not isinstance(given, dict):
            raise self.refuse(episode, t, _expected(row, "probabilities", "an object, a logger's name to a number"))
        if given and episode.logger not in given and self.actions.keys() >= given.keys():
            what = f"probabilities: expected names of loggers, got the action {short(next(iter(given)))}"
            raise self.refuse(episode, t, what)
        found = {name: value for name, value in given.items() if value is not None}
        for name, value in found.items():
            if not (_number(value) and 0 <= value <= _CERTAIN):
                what = f"probabilities of {short(name)}: expected a number from 0 to 1, got {short(value)}"
                raise self.refuse(episode, t, what)
        acted = found.get(episode.logger)
        if acted is not None and acted < _LEAST:
            what = f"probabilities of {short(episode.logger)}, which acted: expected a number above 0"
            raise self.refuse(episode, t, f"{what}, at least {_LEAST:.2g}, got {short(acted)}")
        if own is not None and acted is not None and not math.isclose(own, acted, rel_tol=1e-5):
            what = (
                f"probability {short(own)}, but {short(acted)} in probabilities of {short(episode.logger)}, who acted"
            )
            raise self.refuse(episode, t, what)
        found = found if own is None else {**found, episode.logger: own}
        return {name: min(value, 1.0) for name, value in found.items()}


def _rows(rows: Sequence[int]) -> str:
    """Rows by number, in words."""
    return f"row {rows[0]}" + (f" and {len(rows) - 1:,} more" if len(rows) > 1 else "")


def _stacked(
    found: Sequence[_Episode], who: Sequence[int], which: Sequence[int], loggers: Mapping[str, int]
) -> tuple[Episodes, np.ndarray]:
    """Episodes as arrays, and the rows of their steps ``[N, T]``."""
    count, steps = len(found), max(len(episode.action) for episode in found)
    observation = np.zeros((count, steps, found[0].observation.shape[1]), np.float32)
    action = np.zeros((count, steps), np.int32)
    costs = np.zeros((count, steps, len(env.COMPONENTS)), np.float32)
    alive = np.zeros((count, steps), bool)
    probability = np.full((count, steps, len(loggers)), np.nan, np.float32)
    rows = np.zeros((count, steps), np.int64)
    for n, episode in enumerate(found):
        used = slice(len(episode.action))
        observation[n, used], action[n, used], costs[n, used] = episode.observation, episode.action, episode.costs
        alive[n, used], rows[n, used] = True, episode.rows[:-1]
        for name, values in episode.known.items():
            probability[n, used, loggers[name]] = values
    success = np.array([episode.success for episode in found])
    whole = Episodes(
        observation, action, costs, alive, probability, np.array(who, np.int32), np.array(which, np.int32), success
    )
    return whole, rows


class TakenError(UserError):
    """A file stands where one was to be written."""


def write_log(path: str | Path, log: Log, scenario: Scenario, *, overwrite: bool = True) -> None:
    """Writes a data set as JSON lines, gzipped if the name ends in ``.gz``, whole or not at all.

    Numbers are written so that reading gives the same float32.

    Args:
      path: where.
      log: the data set.
      scenario: whose it is.
      overwrite: replace a file that is there when this one is complete.

    Raises:
      UserError: the place cannot be written.
      TakenError: a file is there, and may not be replaced.
    """
    with whole_file(path) as place, place.open("wb") as raw:
        if Path(path).suffix == ".gz":
            # No time of day and no name inside: the same data give the same bytes.
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as stream:
                stream.writelines(_lines(log, scenario))
        else:
            raw.writelines(_lines(log, scenario))
        if not overwrite and Path(path).is_file():
            raise TakenError(f"{plain_path(path)}: already exists")


def _lines(log: Log, scenario: Scenario) -> Iterator[bytes]:
    episodes = jax.tree.map(np.asarray, log.episodes)
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
    identity = identity_of(scenario)
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
        end = {
            "kind": "end",
            "success": bool(episodes.success[n]),
            "violation": episodes.costs[n, :steps, 2].sum(),
            "scenario": scenario.name,
            "digest": identity.digest,
        }
        if n == 0:
            end["environment"] = identity.to_json()
        yield orjson.dumps(about | end, option=options)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _cost(value: Any) -> bool:
    return _number(value) and 0 <= value <= limits.DEAREST


def _a_cost(value: Any) -> str:
    """What was expected instead of this."""
    return f"at most {limits.DEAREST:g}" if _number(value) and value > 0 else "a number not below 0"


def _expected(row: Mapping[str, Any], field: str, what: str) -> str:
    got = f"got {_shown(row[field])}" if field in row else "but it is missing"
    return f"{field}: expected {what}, {got}"


def _shown(value: Any) -> str:
    """As in JSON, where Python's form differs."""
    return orjson.dumps(value).decode() if value is None or isinstance(value, bool) else short(value)
