"""How many calls of each row tasks need, which no log says: from the runs that succeeded and those that failed.

A run that succeeded made all the calls that its task needs; one that failed lacked one, or failed for reasons that no
count of calls explains. So from the runs of a task:

- **fewest**: the fewest successful calls of each row among the runs that succeeded. Right where agents call for nothing
  that is not needed; else too much, the more so the fewer runs there are.
- **bracketed**: each row's need lies at or below that, and a run that failed says that some row's need lies above its
  calls, unless it failed unexplained. Where the runs leave it open, a law says by how much the fewest calls exceed the
  need: a geometric one, whose mean is that of the distance from the second fewest to the fewest. For calls that are
  spread evenly above the need both have the same mean (Robson and Whitlock, 1964, on the end of a distribution), which
  falls with the number R of runs like 1 / R; so the mean of R times the distance is pooled over tasks.

Both take a task without a success for one that needs what its runs usually called. `unexplained` is a coordinate of its
own, that no tool brings into order: 1 with the probability with which runs fail whose calls would do.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from scipy.special import betaln

from aljax.calibration.runs import ESCALATE, Run

ENOUGH = 3
"""Runs of a task from which its needs are bracketed from both sides; fewer are weak."""
UNSEEN = 3.0
"""What tasks that nobody has run count for, in tasks."""
LEAST = 0.01
"""A smaller share of unexplained failures is none."""
_CELLS = 5_000  # combinations of needs that are gone through
_ROUNDS = 6
_PRIOR_TASKS = 3.0  # what the mean surplus of all rows counts for in one row's, in tasks
_DRAWS = 8  # points a task
_POINTS, _NUMBERS = 2_000, 400_000  # of the scenario at most, and their coordinates
_MEANS, _STRENGTHS = (*np.linspace(0.02, 0.98, 49), 0.99, 0.995, 0.999), 2.0 ** np.arange(0.0, 8.0)


@dataclasses.dataclass(frozen=True)
class Needs:
    """What J tasks need of d rows."""

    tasks: tuple[str, ...]
    """Their names."""
    runs: np.ndarray
    """Runs of each: what it weighs. Integer ``[J]``"""
    fewest: np.ndarray
    """By the fewest calls that sufficed. ``[J, d]``"""
    bracketed: np.ndarray
    """By what all runs leave possible, on average. ``[J, d]``"""
    likeliest: np.ndarray
    """The likeliest of these: what the loggers' behaviour is fitted with. Integer ``[J, d]``"""
    weak: np.ndarray
    """The task has fewer than `ENOUGH` runs, or none that succeeded. Boolean ``[J]``"""
    unexplained: np.ndarray
    """The probability that a run whose calls would do fails all the same. ``[J]``"""
    surplus: np.ndarray
    """About how many calls of each row beyond the need a run makes that succeeds. ``[d]``"""
    starts: np.ndarray
    """Needs that tasks may have, the last coordinate the unexplained one. ``[M, d + 1]``"""
    owner: np.ndarray
    """Whose they may be. Integer ``[M]``"""
    weights: np.ndarray
    """How often, in runs. ``[M]``"""

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts of the scenario: what tasks may need, and what tasks may need that nobody has run.

        The latter are those with a call more or less of a row that is needed, and count like `UNSEEN` tasks in each
        row: policies that are trained on few tasks would else be sure of what these few need.

        Returns:
          The different ones ``[N, d + 1]``, of very many those that are likeliest, and their weights, in runs ``[N]``.
        """
        ratio = UNSEEN / (2 * len(self.tasks))  # of a neighbour's weight to the start's own
        place, row = (np.repeat(found, 2) for found in np.nonzero(self.starts[:, :-1] > 0))
        beside = self.starts[place]
        beside[np.arange(len(row)), row] += np.tile([-1.0, 1.0], len(row) // 2)
        own = self.weights / (1 + ratio * np.bincount(place, minlength=len(self.starts)))
        weights = np.concatenate([own, ratio * own[place]])
        points, number = np.unique(np.concatenate([self.starts, beside]), axis=0, return_inverse=True)
        weights = np.bincount(number.ravel(), weights)
        most = max(1, min(_POINTS, _NUMBERS // points.shape[1]))
        kept = np.sort(np.argsort(-weights, kind="stable")[:most])
        return points[kept], weights[kept]

    def drawn(self, rng: np.random.Generator, tasks: np.ndarray) -> np.ndarray:
        """Starts of given tasks.

        Args:
          rng: the chance.
          tasks: their numbers. Integer ``[B]``

        Returns:
          One of each. ``[B, d + 1]``
        """
        order = np.lexsort((np.arange(len(self.owner)), self.owner))
        up_to = np.cumsum(self.weights[order])
        last = np.cumsum(np.bincount(self.owner, minlength=len(self.tasks)))
        high = up_to[last - 1]
        low = np.concatenate([[0.0], high[:-1]])
        found = np.searchsorted(up_to, low[tasks] + (high - low)[tasks] * rng.random(len(tasks)), side="right")
        return self.starts[order[np.minimum(found, last[tasks] - 1)]]

    def mean(self, estimator: str) -> np.ndarray:
        """Mean needs over runs.

        Args:
          estimator: ``fewest`` or ``bracketed``.

        Returns:
          Calls of each row. ``[d]``
        """
        return np.average(getattr(self, estimator), axis=0, weights=self.runs)


def fit_needs(runs: Sequence[Run], rows: Sequence[str], *, resolves: bool, seed: int = 0) -> Needs:
    """Estimates what tasks need.

    Args:
      runs: of a log.
      rows: that have a coordinate: tools, and turns of the user's.
      resolves: a hand-over leaves nothing to do, so that runs that end by one say nothing of needs.
      seed: of draws.

    Returns:
      The needs.
    """
    names = tuple(sorted({run.task for run in runs}))
    number, place = {row: i for i, row in enumerate(rows)}, {task: j for j, task in enumerate(names)}
    made: list[list[tuple[np.ndarray, bool | None]]] = [[] for _ in names]
    for run in runs:
        counts = np.zeros(len(rows), np.int64)
        for call in run.calls:
            if call.row in number and call.ok is not False:
                counts[number[call.row]] += 1
        judged = None if resolves and run.calls[-1].kind == ESCALATE else run.success
        made[place[run.task]].append((counts, judged))
    surplus = _surplus(made, len(rows))
    tasks = [_Task.of(found, surplus) for found in made]
    ends = 8.0, 2.0
    for _ in range(_ROUNDS):
        ends = _beta([(task.worked, task.unexplained(ends)) for task in tasks if task.judged], ends)
    rng = np.random.default_rng(seed)
    draws = max(1, min(_DRAWS, _POINTS // len(tasks)))
    starts, owner, weights, unexplained = [], [], [], []
    for j, task in enumerate(tasks):
        fails = (ends[1] + task.unexplained(ends)) / (sum(ends) + task.worked + task.unexplained(ends))
        unexplained.append(fails if task.judged and fails >= LEAST else 0.0)
        drawn = task.draws(rng, ends, draws)
        for missed, share in ((0, 1 - unexplained[-1]), (1, unexplained[-1])):
            if share > 0:
                starts.append(np.column_stack([drawn, np.full(len(drawn), missed)]))
                owner += [j] * len(drawn)
                weights += [len(task.counts) * share / len(drawn)] * len(drawn)
    by_row = (len(tasks), len(rows))
    return Needs(
        tasks=names,
        runs=np.array([len(task.counts) for task in tasks]),
        fewest=np.array([task.most for task in tasks]).reshape(by_row),
        bracketed=np.array([task.mean(ends) for task in tasks]).reshape(by_row),
        likeliest=np.array([task.likeliest(ends) for task in tasks]).reshape(by_row),
        weak=np.array([task.worked == 0 or task.judged < ENOUGH for task in tasks]),
        unexplained=np.array(unexplained),
        surplus=surplus,
        starts=np.concatenate(starts).astype(np.float64),
        owner=np.array(owner),
        weights=np.array(weights),
    )


def _surplus(made: Sequence[Sequence[tuple[np.ndarray, bool | None]]], rows: int) -> np.ndarray:
    """R times the distance of the second fewest calls of R successful runs from the fewest, on average. ``[rows]``

    Rows that a task never calls say nothing of it; those that few tasks call are drawn to the mean over rows.
    """
    beyond, tasks = np.zeros(rows), np.zeros(rows)
    for runs in made:
        good = np.array([counts for counts, success in runs if success])
        if len(good) > 1:
            least = np.partition(good, 1, axis=0)[:2]
            beyond += len(good) * (least[1] - least[0])
            tasks += good.max(0) > 0
    pooled = beyond.sum() / tasks.sum() if tasks.sum() else 0.0
    return (beyond + _PRIOR_TASKS * pooled) / (tasks + _PRIOR_TASKS)


@dataclasses.dataclass(frozen=True)
class _Task:
    """What is known of one, and which needs that leaves: cells of a grid, each a range of needs in every row."""

    counts: np.ndarray
    """Of all runs. ``[N, d]``"""
    most: np.ndarray
    """What it needs at most: the fewest calls that sufficed; without a success, what its runs usually called. ``[d]``
    What it needs at most: the fewest calls that sufficed; without a success, what its runs usually called. ``[d]``"""
    failed: np.ndarray
    """Successful calls of the runs that failed, no more than `most`. ``[F, d]``"""
    often: np.ndarray
    """How many runs failed so. ``[F]``"""
    worked: int
    """Runs that succeeded."""
    tops: np.ndarray
    """The most that each cell's tasks need. ``[C, d]``"""
    bottoms: np.ndarray
    """And the least. ``[C, d]``"""
    prior: np.ndarray
    """The logarithm of how likely each cell is before the runs that failed. ``[C]``"""
    ratio: np.ndarray
    """How much less likely a need is than one more. ``[d]``"""

    @classmethod
    def of(cls, found: Sequence[tuple[np.ndarray, bool | None]], surplus: np.ndarray) -> "_Task":
        counts = np.array([count for count, _ in found])
        good = np.array([success is True for _, success in found])
        bad = np.array([success is False for _, success in found])
        worked = int(good.sum())
        most = counts[good].min(0) if worked else np.floor(np.median(counts, axis=0)).astype(np.int64)
        clipped = np.minimum(counts[bad], most).reshape(-1, counts.shape[1])
        failed, often = np.unique(clipped, axis=0, return_counts=True) if len(clipped) else (clipped, np.zeros(0))
        ratio = surplus / (worked + surplus) if worked else np.zeros(len(surplus))
        return cls(counts, most, failed, often, worked, *_cells(most, failed if worked else failed[:0], ratio), ratio)

    @property
    def judged(self) -> float:
        """Runs of which it is known how they ended."""
        return self.worked + self.often.sum()

    def _enough(self) -> np.ndarray:
        """In each cell, failed runs whose calls would have done. ``[C]``"""
        return (self.tops[:, None] <= self.failed[None]).all(2) @ self.often

    def chance(self, ends: tuple[float, float]) -> np.ndarray:
        """How likely each cell is, where runs whose calls would do succeed and fail by a Beta law. ``[C]``"""
        fit = self.prior + betaln(ends[0] + self.worked, ends[1] + self._enough())
        chance = np.exp(fit - fit.max())
        return chance / chance.sum()

    def unexplained(self, ends: tuple[float, float]) -> float:
        """Failed runs whose calls would have done."""
        return float(self.chance(ends) @ self._enough())

    def likeliest(self, ends: tuple[float, float]) -> np.ndarray:
        """The likeliest needs. ``[d]``"""
        return self.tops[int(np.argmax(self.chance(ends)))]

    def mean(self, ends: tuple[float, float]) -> np.ndarray:
        """Needs on average. ``[d]``"""
        below = np.arange(int((self.tops - self.bottoms).max(initial=0)) + 1)[:, None, None]
        weight = np.where(below <= self.tops - self.bottoms, self.ratio**below, 0.0)
        return self.chance(ends) @ (self.tops - (weight * below).sum(0) / weight.sum(0))

    def draws(self, rng: np.random.Generator, ends: tuple[float, float], count: int) -> np.ndarray:
        """Needs drawn from what is possible; one, where nothing else is. ``[count, d]``"""
        if not self.ratio.any():
            return self.tops[:1]
        cell = rng.choice(len(self.tops), count, p=self.chance(ends))
        span = self.tops[cell] - self.bottoms[cell] + 1
        whole = 1 - self.ratio**span
        below = np.log1p(-rng.random(span.shape) * whole) / np.log(np.clip(self.ratio, 1e-12, 1 - 1e-12))
        return self.tops[cell] - np.minimum(below.astype(np.int64), span - 1)


def _cells(most: np.ndarray, failed: np.ndarray, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What failed runs tell apart: tops and bottoms ``[C, d]`` and the logarithm of the prior ``[C]``."""
    tops = [np.append(np.unique(column[column < top]), top)[::-1] for top, column in zip(most, failed.T, strict=True)]
    while np.prod([float(len(column)) for column in tops]) > _CELLS:
        longest = max(range(len(tops)), key=lambda i: len(tops[i]))
        tops[longest] = tops[longest][:-1]
    bottoms = [np.append(column[1:] + 1, 0) for column in tops]
    logs = []
    for top, low, power in zip(tops, bottoms, ratio, strict=True):
        mass = power ** (top[0] - top).astype(float) - power ** (top[0] - low + 1).astype(float)
        logs.append(np.log(np.maximum(mass / mass.sum(), 1e-12)))
    moving = [i for i, column in enumerate(tops) if len(column) > 1]
    cells = int(np.prod([len(tops[i]) for i in moving]))
    high = np.repeat(np.array([column[0] for column in tops], np.int64).reshape(1, -1), cells, axis=0)
    low = np.repeat(np.array([column[0] for column in bottoms], np.int64).reshape(1, -1), cells, axis=0)
    high[:, moving] = list(itertools.product(*(tops[i] for i in moving)))
    low[:, moving] = list(itertools.product(*(bottoms[i] for i in moving)))
    prior = np.array([sum(parts) for parts in itertools.product(*(logs[i] for i in moving))], np.float64)
    return high, low, prior


def _beta(counts: Sequence[tuple[float, float]], otherwise: tuple[float, float]) -> tuple[float, float]:
    """The likeliest Beta law behind counts of two outcomes."""
    if not counts:
        return otherwise
    good, bad = np.array(counts).T
    best, found = -np.inf, otherwise
    for mean, strength in itertools.product(_MEANS, _STRENGTHS):
        a, b = mean * strength, (1 - mean) * strength
        score = float((betaln(a + good, b + bad) - betaln(a, b)).sum())
        if score > best:
            best, found = score, (float(a), float(b))
    return found
