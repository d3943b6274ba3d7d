"""Logs of agents replayed under a scenario: what it would have shown them, and what it makes of what they did.

An agent log says what was called, whether it worked, and where known what that took and cost. What is missing to learn
from it follows from the scenario (`aljax.offline.bookkeeping`): what was seen before each call, how far it led from the
plan, and what was left undone. Seconds and dollars of the log count; the scenario's expectations stand in for unknown
ones.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np

from aljax.errors import UserError, listed, short
from aljax.logs.agent_log import CERTAIN, LEAST
from aljax.logs.episode import LoggedEpisode
from aljax.logs.fields import expected, is_number
from aljax.logs.moves import STOP, Move, Spent, moves_of
from aljax.offline.arrays import EpisodeArrays
from aljax.offline.bookkeeping import Calls, Ends, book, check_replayable, starts_of
from aljax.offline.rows import Rows
from aljax.scenario import Scenario

_TOGETHER = 512
"""Episodes that are played at once."""
_ANSWERS = ("clarify", "escalate", STOP)
"""Kinds of moves that have worked where nobody says that they failed."""


def knows_no_scenario(episode: LoggedEpisode) -> bool:
    """Whether an episode is of an agent log, and not of a log that a scenario's simulator wrote.

    Args:
      episode: the first of a file.

    Returns:
      Whether nothing in it is the work of a scenario.
    """
    own = any(field in step for step in episode.steps for field in ("observation", "divergence"))
    return not own and not any(field in episode.end for field in ("violation", "scenario", "digest"))


@dataclasses.dataclass(frozen=True)
class _Episode:
    """What is kept of one until all have been read."""

    about: LoggedEpisode
    """Without its steps."""
    success: bool
    action: list[int]
    failed: list[bool]
    parts: np.ndarray
    """Seconds and dollars before a call, and its own, NaN where unknown. ``[T, 2, 2]``"""
    probability: list[float]
    """NaN where unknown."""
    rows: list[int]
    """In the file, and that of the end."""


class Replay:
    """Takes an agent log's episodes, and then gives them as a scenario's."""

    def __init__(self, scenario: Scenario):
        """For logs under this scenario.

        Raises:
          UserError: what an agent saw in it cannot be had from a log of calls.
        """
        check_replayable(scenario)
        self.scenario, self.rows = scenario, Rows(scenario)
        self.ends = np.asarray(scenario.params.actions.ends)
        self.episodes: list[_Episode] = []
        self.left_out: Counter[str] = Counter()
        """Episodes, by why."""
        self.odd: Counter[str] = Counter()
        """What was found in the others that the scenario does not have."""
        self.unknown: Counter[str] = Counter()
        """Calls without a row, by name."""
        self.logged: Counter[str] = Counter()
        """Calls whose seconds and dollars are known, as a whole and in part."""

    def add(self, episode: LoggedEpisode) -> None:
        """Takes an episode.

        Args:
          episode: of an agent log.

        Raises:
          UserError: one line with file and row: a probability that can be none.
        """
        success = episode.end.get("success")
        moves = list(self._known(moves_of(episode)))
        if success is None:
            self.left_out["of which nobody says whether they succeeded"] += 1
        elif not moves:
            self.left_out["without a call of the scenario's"] += 1
        elif any(move.ok is None and move.kind not in _ANSWERS for _, move in moves):
            self.left_out["with a call of which nobody knows whether it worked"] += 1
        else:
            self.episodes.append(
                _Episode(
                    dataclasses.replace(episode, steps=()),
                    success,
                    [row for row, _ in moves],
                    [move.ok is False for _, move in moves],
                    np.array([(move.before, move.own) for _, move in moves], np.float64),
                    [self._probability(episode, move, row) for row, move in moves],
                    [*(episode.rows[move.step] for _, move in moves), episode.rows[-1]],
                )
            )

    def arrays(self) -> Iterator[tuple[LoggedEpisode, EpisodeArrays]]:
        """The episodes under the scenario.

        Yields:
          Each episode, without its steps, and its arrays; its success is that all is done and nothing over budget.

        Raises:
          UserError: one line: there is none.
        """
        if not self.episodes:
            why = listed([f"{number:,} {why}" for why, number in self.left_out.items()]) or "it has none"
            raise UserError(f"no episode of the log can be replayed under {self.scenario.name}: {why}")
        usual, starts = self._usual(), starts_of(self.scenario.params)
        for first in range(0, len(self.episodes), _TOGETHER):
            some = self.episodes[first : first + _TOGETHER]
            found = book(self.scenario.params, starts, *self._calls(some, usual))
            observation, costs, steps, success, ruled_out = map(np.asarray, found)
            illegal = int(ruled_out[: len(some)].sum())
            if illegal:
                self.odd["calls were of rows that are not legal there"] += illegal
            for i, episode in enumerate(some):
                t = int(steps[i])
                if t < len(episode.action):
                    self.odd["episodes went on past the horizon or a limit, and are cut there"] += 1
                yield (
                    episode.about,
                    EpisodeArrays(
                        observation[i, :t],
                        episode.action[:t],
                        costs[i, :t],
                        {episode.about.logger: np.array(episode.probability[:t], np.float32)},
                        bool(success[i]),
                        [*episode.rows[:t], episode.rows[-1]],
                    ),
                )

    def note(self) -> str:
        """What the log was taken for, in a line."""
        calls = self.logged["calls"]
        known = "; ".join(
            f"{what} are the log's for {self.logged[what]:,} of {calls:,} calls"
            + (f", in part for {self.logged['part of ' + what]:,} more" if self.logged["part of " + what] else "")
            for what in ("seconds", "dollars")
        )
        found = [
            f"an agent log, replayed under {self.scenario.name}: {len(self.episodes):,} episodes; {known}; what is "
            "missing of them is what the scenario expects"
        ]
        if self.unknown:
            names = listed([f"{name} ({number:,})" for name, number in self.unknown.most_common()], 160)
            found.append(f"{self.unknown.total():,} calls are none of the scenario's and only pass: {names}")
        found += [f"{number:,} {what}" for what, number in self.odd.items()]
        found += [f"left out: {number:,} episodes {why}" for why, number in self.left_out.items()]
        return "; ".join(found)

    def _known(self, moves: Sequence[Move]) -> Iterator[tuple[int, Move]]:
        """Moves with their rows. What has none passes before the next one; what follows an end, with the end."""
        passed, held = Spent(), None
        for number, move in enumerate(moves):
            row = self.rows.row(move.kind, move.name)
            if row is None:
                if move.kind != STOP:
                    self.unknown[move.name] += 1
                passed = passed.plus(move.before).plus(move.own)
                continue
            if held is not None:
                yield held
            held, passed = (row, move._replace(before=passed.plus(move.before))), Spent()
            if self.ends[row] and move.ok is not False:
                after = moves[number + 1 :]
                passed = functools.reduce(lambda sum_, more: sum_.plus(more.before).plus(more.own), after, passed)
                if any(more.kind != STOP for more in after):
                    self.odd[f"episodes went on after {short(move.name)}, which ends them"] += 1
                break
        if held is not None:
            yield held[0], held[1]._replace(own=held[1].own.plus(passed))

    def _probability(self, episode: LoggedEpisode, move: Move, row: int) -> float:
        """With which the logger chose a row, where the log says so."""
        if move.step == len(episode.steps):
            return np.nan
        step = episode.steps[move.step]
        given = step.get("probabilities")
        if given is not None:
            if not isinstance(given, dict):
                raise episode.refuse(move.step, expected(step, "probabilities", "an object, a name to a number"))
            for name, value in given.items():
                if not (value is None or (is_number(value) and 0 <= value <= CERTAIN)):
                    what = f"probabilities of {short(name)}: expected a number from 0 to 1, got {short(value)}"
                    raise episode.refuse(move.step, what)
            rows = [value for name, value in given.items() if value is not None and self.rows.chosen(name) == row]
            if sum(rows) >= LEAST:
                return min(sum(rows), 1.0)
        own = step.get("probability")
        return np.nan if own is None or self.rows.stands_for_several(row) else min(own, 1.0)

    def _usual(self) -> np.ndarray:
        """Means of what is known, by row, of before and own, of seconds and dollars. ``[A, 2, 2]``"""
        parts = np.concatenate([episode.parts for episode in self.episodes])
        action = np.concatenate([episode.action for episode in self.episodes])
        known = np.isfinite(parts)
        sums, counts = np.zeros((len(self.ends), 2, 2)), np.zeros((len(self.ends), 2, 2))
        np.add.at(sums, action, np.where(known, parts, 0.0))
        np.add.at(counts, action, known)
        self.logged["calls"] = len(parts)
        for k, what in enumerate(("seconds", "dollars")):
            self.logged[what] = int(known[..., k].all(1).sum())
            self.logged[f"part of {what}"] = int((known[..., k].any(1) & ~known[..., k].all(1)).sum())
        return sums / np.maximum(counts, 1)

    def _calls(self, episodes: Sequence[_Episode], usual: np.ndarray) -> tuple[Calls, Ends]:
        """Some episodes' calls as arrays of one size, so that few programs are compiled, and how they ended."""
        params, count = self.scenario.params, _TOGETHER
        longest = max(len(episode.action) for episode in episodes)
        steps = min(self.scenario.horizon, max(16, 1 << (longest - 1).bit_length()))
        action, failed = np.zeros((count, steps), np.int32), np.zeros((count, steps), bool)
        parts = np.zeros((count, steps, 2, 2))
        length, success = np.ones(count, np.int32), np.zeros(count, bool)
        moved = np.zeros((count, len(self.scenario.coordinate_names)), np.float32)
        shift, drift = np.asarray(params.actions.shift), np.asarray(params.drift)
        for n, episode in enumerate(episodes):
            t = min(len(episode.action), steps)
            action[n, :t], failed[n, :t], parts[n, :t] = episode.action[:t], episode.failed[:t], episode.parts[:t]
            length[n], success[n] = len(episode.action), episode.success
            worked, ended = ~np.array(episode.failed), self.ends[episode.action]
            moved[n] = (shift * ~self.ends[:, None])[episode.action][worked].sum(0) + drift * (~(worked & ended)).sum()
        known = np.isfinite(parts)
        sums, partly = np.where(known, parts, 0.0).sum(2), np.logical_not(known.all(2))
        common = np.where(known, usual[action], 0.0).sum(2)
        calls = Calls(*map(jnp.asarray, (action, failed, sums.astype(np.float32), partly, common.astype(np.float32))))
        return calls, Ends(*map(jnp.asarray, (length, moved, success)))
