"""How a log's agents choose: a conditional logit of the next row, given what the run has come to.

Rows share their coefficients, and each has a constant of its own; what ends a run (hand-overs, stopping) has its own
coefficients. Which row usually comes after which enters as one feature. The penalty is that of a normal prior.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from aljax.calibration.features import END, ROW, Standing, end_features, row_features
from aljax.calibration.fitting import Calibration
from aljax.calibration.runs import CLARIFY

PENALTY = 1.0
"""Of the squared coefficients."""
_USUAL = 3.0  # what a row's share of all calls counts for in what follows another one, in calls
_MOST = 1_000_000  # steps times rows that are fitted to: more would tell hardly more, and fill the memory
_TOLERANCE = 1e-6  # of the loss


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """The fitted coefficients, A rows of which the first d have a coordinate, and L loggers."""

    constants: np.ndarray
    """``[A]``"""
    row: np.ndarray
    """Of `ROW`. ``[ROW]``"""
    ends: np.ndarray
    """Of `END`, for each row that ends a run. ``[END, A − d]``"""
    loggers: np.ndarray
    """What each logger differs by: at rows that are planned, at stopping, at stopping before the plan is done.
    ``[3, L]``"""
    usual: np.ndarray
    """The logarithm of how often a row follows another, or the start, which comes last. ``[A + 1, A]``"""
    company: np.ndarray
    """How often a row is called in runs in which another one is. ``[d, d]``"""
    clarify: np.ndarray
    """1 at turns of the user's. ``[d]``"""
    plans: np.ndarray
    """What each logged run set out to do: successful calls of each row, 1 where none worked. Integer ``[N, d]``"""
    task: np.ndarray
    """Its task's number in `Needs`. Integer ``[N]``"""
    logger: np.ndarray
    """Its logger's number. Integer ``[N]``"""


def fit_behaviour(calibration: Calibration) -> Behaviour:
    """Fits how the loggers of a calibration's log chose, from a sample of the runs where there are very many.

    Args:
      calibration: of that log.

    Returns:
      The coefficients.
    """
    rows, needs = calibration.rows, calibration.needs
    d, number = needs.fewest.shape[1], {row: i for i, row in enumerate(rows)}
    place = {task: j for j, task in enumerate(needs.tasks)}
    paths = [np.array([number[call.row] for call in run.calls]) for run in calibration.runs]
    usual, company = _usual(paths, len(rows)), _company(paths, d)
    clarify = np.array([float(kind == CLARIFY) for kind in calibration.kinds[:d]])
    task = np.array([place[run.task] for run in calibration.runs])
    outcomes = [np.array([call.ok is False for call in run.calls], float) for run in calibration.runs]
    plans = np.array([_plan(path, bad, d) for path, bad in zip(paths, outcomes, strict=True)])
    fitted = _some(np.array([len(path) for path in paths]), d)
    parts = [_standing(paths[n], outcomes[n], needs.likeliest[task[n]], plans[n], usual, clarify) for n in fitted]
    at = Standing(*(np.concatenate(field, -1) for field in zip(*parts, strict=True)))
    x, y = row_features(np, at, company).astype(np.float32), end_features(np, at, d).astype(np.float32)
    names = sorted({run.logger for run in calibration.runs})
    logger = np.array([names.index(run.logger) for run in calibration.runs])
    acting = np.repeat(logger[fitted], [len(paths[n]) for n in fitted])
    chosen = np.concatenate([paths[n] for n in fitted])
    constants, row, ends, loggers = _fitted(x, y, chosen, acting, len(names))
    return Behaviour(constants, row, ends, loggers, usual, company, clarify, plans, task, logger)


def _some(steps: np.ndarray, d: int) -> np.ndarray:
    """The runs to fit to: of very many, some that are drawn. Integer"""
    order = np.random.default_rng(0).permutation(len(steps))
    within = np.cumsum(steps[order]) * d <= _MOST
    within[0] = True
    return np.sort(order[within])


def _plan(path: np.ndarray, bad: np.ndarray, d: int) -> np.ndarray:
    """What a run set out to do. Integer ``[d]``"""
    calls, failed = np.bincount(path, minlength=d)[:d], np.bincount(path, bad, d)[:d].astype(np.int64)
    return np.maximum(calls - failed, np.minimum(calls, 1))


def _standing(
    path: np.ndarray,
    bad: np.ndarray,
    need: np.ndarray,
    plan: np.ndarray,
    usual: np.ndarray,
    clarify: np.ndarray,
) -> Standing:
    """Where a run stands before each of its steps, the steps last."""
    d, steps = len(need), len(path)
    one = (path == np.arange(d)[:, None]) * 1.0  # [d, T]

    def before(values: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, -1)[..., :-1]], -1)

    def earlier(values: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros((*values.shape[:-1], 1)), values[..., :-1]], -1)

    done, last = before(one * (1 - bad)), earlier(one)
    status, now = np.zeros((d, steps)), np.zeros(d)
    for step in range(steps):
        status[:, step] = now
        if path[step] < d:
            now = now.copy()
            now[path[step]] = bad[step]
    follows = usual[np.concatenate([[len(usual) - 1], path[:-1]])].T
    return Standing(
        need[:, None] - done, np.repeat(plan[:, None], steps, 1), before(one), done,
        status, last, earlier(bad), before(bad), np.arange(steps) * 1.0,
        clarify @ last, follows,
    )  # fmt: skip


def _usual(paths: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """The logarithm of how often each row follows another, or the start."""
    counts = np.zeros((rows + 1, rows))
    for path in paths:
        np.add.at(counts, (np.concatenate([[rows], path[:-1]]), path), 1.0)
    share = (counts.sum(0) + 1) / (counts.sum() + rows)
    return np.log((counts + _USUAL * share) / (counts.sum(1, keepdims=True) + _USUAL))


def _company(paths: Sequence[np.ndarray], d: int) -> np.ndarray:
    """How often a row is called in runs in which another one is; with itself: as often as at all. ``[d, d]``"""
    called = np.zeros((len(paths), d))
    for run, path in enumerate(paths):
        called[run, path[path < d]] = 1.0
    share = called.mean(0)
    both = called.T @ called
    found = (both + share[:, None]) / (called.sum(0) + 1)
    np.fill_diagonal(found, share)
    return found


def _fitted(x: np.ndarray, y: np.ndarray, path: np.ndarray, acting: np.ndarray, loggers: int) -> list[np.ndarray]:
    """Coefficients by penalised maximum likelihood, as the first four fields of `Behaviour`."""
    d, steps = x.shape[1:]
    rows, across = d + y.shape[1], np.arange(steps)
    flat = np.ascontiguousarray(x.reshape(len(x), d * steps))
    shapes = (rows,), (len(x),), (len(y), y.shape[1]), (3, loggers)
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    planned, something = x[ROW.index("planned")], y[END.index("something planned"), 0]

    def split(values: np.ndarray) -> list[np.ndarray]:
        return [part.reshape(shape) for part, shape in zip(np.split(values, ends[:-1]), shapes, strict=True)]

    def by_logger(values: np.ndarray) -> np.ndarray:
        return np.bincount(acting, values, loggers)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        constants, row, end, own = (part.astype(np.float32) for part in split(values))
        mine = own[:, acting]
        found = np.empty((rows, steps), np.float32)
        found[:d] = (row @ flat).reshape(d, steps) + planned * mine[0]
        found[d:] = np.einsum("ke,kes->es", end, y) + mine[1] + something * mine[2]
        found += constants[:, None]
        found -= found.max(0)
        likelihood = float(found[path, across].sum())
        np.exp(found, out=found)
        total = found.sum(0)
        likelihood -= float(np.log(total).sum())
        found /= total
        found[path, across] -= 1
        stops = found[d:].sum(0)
        gradient = np.concatenate([
            found.sum(1), flat @ found[:d].reshape(-1), np.einsum("kes,es->ke", y, found[d:]).ravel(),
            by_logger((found[:d] * planned).sum(0)), by_logger(stops), by_logger(stops * something),
        ])  # fmt: skip
        return 0.5 * PENALTY * float(values @ values) - likelihood, gradient.astype(float) + PENALTY * values

    begin = np.zeros(ends[-1])
    begin[rows + ROW.index("usually next")] = 1.0
    split(begin)[2][END.index("usually next")] = 1.0
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": _TOLERANCE})
    return split(found.x)
