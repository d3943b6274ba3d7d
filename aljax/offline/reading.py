"""Logs of a scenario's episodes, or of agents, replayed under it: one data set (docs/reference/log_files.md)."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from aljax import env
from aljax.errors import UserError, plain_path, short
from aljax.logs import agent_log
from aljax.logs.episode import LoggedEpisode
from aljax.logs.fields import expected
from aljax.logs.lines import Lines
from aljax.offline.arrays import Converter, EpisodeArrays
from aljax.offline.data import Episodes, Log, Source, joined
from aljax.offline.identity import Identity, identity_from, identity_of
from aljax.offline.replay import Replay, knows_no_scenario
from aljax.offline.unusual import far_off
from aljax.scenario import Scenario


def read_logs(
    paths: Sequence[str | Path],
    scenario: Scenario,
    on_progress: Callable[[int], None] = lambda row: None,
    *,
    other_scenario: bool = False,
) -> Log:
    """Reads logs of a scenario's episodes, to learn from or to evaluate on, as one data set.

    Agents' logs, which know no scenario, are replayed under it (`aljax.offline.replay`).

    Loggers and tasks of the same name are the same, also in different files. Of an episode without a task nobody else
    was given its task.

    Args:
      paths: the files.
      scenario: whose actions and observations they are.
      on_progress: called now and then with the row reached.
      other_scenario: read logs, too, that say that they are another scenario's, with a warning, as far as names and
        shapes go together.

    Returns:
      The data set, as NumPy arrays, with T the steps of the longest episode.

    Raises:
      UserError: as `aljax.logs.readers.read_episodes`; also an action that the scenario does not have, an observation
        of another length, a cost that is missing, below 0 or too large for single precision, more steps than the
        horizon, what the scenario rules out, the log of another scenario, the same file twice.
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
    """Reads one file as a data set.

    Args:
      path: the file.
      scenario: whose actions and observations it has.
      on_progress: called now and then with the row reached.
      other_scenario: read it, too, if it says that it is another scenario's.

    Returns:
      The data set. See `read_logs`.

    Raises:
      UserError: one line with file and row. See `read_logs`.
    """
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


class _LogReader:
    """Checks one file's episodes against a scenario and turns them into arrays."""

    def __init__(self, path: str | Path, together: _Together):
        self.lines, self.together = Lines(path), together
        self.scenario, self.converter = together.scenario, Converter(together.scenario)
        self.loggers: dict[str, int] = {}
        self.tasks: dict[str, int] = {}
        self.described: dict[str, Identity] = {}  # by digest
        self.foreign: dict[str, str] = {}  # digests of other scenarios: in words, with the first row
        self.notes: list[str] = []
        self.unsaid: list[int] = []  # rows of ends without a digest
        self.twice: list[str] = []
        self.unexplained: list[int] = []  # rows of ends of failed episodes that violate nothing

    def read(self, on_progress: Callable[[int], None]) -> Log:
        """The whole file."""
        found, who, which = [], [], []
        for episode, arrays in self._episodes(on_progress):
            found.append(arrays)
            self._check_new(episode, arrays)
            if not arrays.success and arrays.costs[-1, env.COMPONENTS.index("violation")] == 0:
                self.unexplained.append(episode.rows[-1])
            who.append(self.loggers.setdefault(episode.logger, len(self.loggers)))
            which.append(self.tasks.setdefault(self._task(episode), len(self.tasks)))
            for name in found[-1].known:
                self.loggers.setdefault(name, len(self.loggers))
        episodes, rows = _stacked(found, who, which, self.loggers)
        far = far_off(episodes, rows, np.array([arrays.rows[-1] for arrays in found]))
        warnings = tuple(f"{self.lines}, {text}" for text in itertools.chain(self._warnings(), far))
        source = Source(str(self.lines.path), self.lines.sha256)
        return Log(episodes, tuple(self.loggers), tuple(self.tasks), (source,), warnings, tuple(self.notes))

    def _episodes(self, on_progress: Callable[[int], None]) -> Iterator[tuple[LoggedEpisode, EpisodeArrays]]:
        """Episodes with their arrays: as they stand there, or, of an agent's log, replayed under the scenario."""
        episodes = agent_log.read(self.lines, on_progress)
        first = next(episodes)
        rest = itertools.chain([first], episodes)
        if not knows_no_scenario(first):
            for episode in rest:
                self._check_scenario(episode)
                yield episode, self.converter.arrays(episode)
            return
        replay = Replay(self.scenario)
        for episode in rest:
            replay.add(episode)
        yield from replay.arrays()
        self.notes.append(f"{self.lines}: {replay.note()}")

    def _check_scenario(self, episode: LoggedEpisode) -> None:
        """Refuses another scenario's episode, unless it was asked for; keeps what to warn about."""
        end, ours = episode.end, self.together.identity
        digest, name = end.get("digest"), end.get("scenario")
        if digest is None:
            self.unsaid.append(episode.rows[-1])
            return
        if not isinstance(digest, str) or not isinstance(name, str):
            field = "scenario" if isinstance(digest, str) else "digest"
            raise episode.refuse(-1, expected(end, field, "text"))
        described = identity_from(end.get("environment"))
        if described is not None:
            self.described[digest] = described
        if digest == ours.digest or digest in self.foreign:
            return
        theirs = self.described.get(digest)
        what = f"digest {short(digest)}, here {ours.digest}" if theirs is None else ours.differences(theirs)
        text = f"logged under scenario {short(name)} with other numbers or names than {self.scenario.name}: {what}"
        if not self.together.other_scenario:
            raise episode.refuse(-1, f"{text} (--other-scenario reads it all the same)")
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

    def _check_new(self, episode: LoggedEpisode, found: EpisodeArrays) -> None:
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


def _rows(rows: Sequence[int]) -> str:
    """Rows by number, in words."""
    return f"row {rows[0]}" + (f" and {len(rows) - 1:,} more" if len(rows) > 1 else "")


def _stacked(
    found: Sequence[EpisodeArrays], who: Sequence[int], which: Sequence[int], loggers: Mapping[str, int]
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
