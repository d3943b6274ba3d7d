"""How loggers choose, where nobody logged it: a softmax regression of the logged actions for each logger.

How much such a regression may look at, and how strongly it is penalised, is decided by the likelihood of tasks that it
was not fitted on, each time anew. At one end of what is tried stand the plain frequencies of actions, so that a logger
that does not look at what it sees is found to be one; to fit more than that would only add noise to the weights, which
multiply it step by step.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aljax.errors import UserError

PENALTIES = (1000.0, 100.0, 30.0, 10.0, 3.0, 1.0)
"""Tried in this order, from what allows least to what allows most."""
_STEPS_A_COEFFICIENT = 4  # fewer tell a regression's coefficients nothing; of hundreds of actions it would take hours
_ITERATIONS = 200  # of a fit; one that has not converged then goes on ten times as long
_PATIENCE = 2  # so many penalties in a row that are worse end the search


@dataclasses.dataclass(frozen=True)
class Way:
    """One way of fitting."""

    features: int
    """The first so many of φ; 1: action frequencies."""
    penalty: float
    """Of the squared coefficients, or of their squared distance from those of all loggers together."""
    alone: bool = True
    """By itself; else drawn to what all loggers together do, by the penalty. An infinite one leaves nothing else."""


@dataclasses.dataclass(frozen=True)
class Regression:
    """A fit: the probabilities are softmax(φ · β)."""

    beta: np.ndarray
    """``[F, A]``"""
    converged: bool = True


@dataclasses.dataclass(frozen=True)
class Fits:
    """One way of fitting one logger's choices, or those of all together."""

    way: Way
    by_fold: Mapping[int, Regression]
    """Each fitted without the tasks of its fold."""


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """How each logger chooses, and all of them together, said of each task by a fit on others."""

    folds: np.ndarray
    """``[N]``"""
    together: Fits
    each: Mapping[int, Fits]
    """By logger."""

    def probabilities(self, phi: Any, logger: int | None = None) -> np.ndarray:
        """Of every action, under one logger or all together. ``[N, T, F]`` to ``[N, T, A]``

        Args:
          phi: features of the episodes that were fitted on. ``[N, T, F]``
          logger: its number; None: all together.

        Returns:
          Probabilities, each episode's by a fit without its fold. ``[N, T, A]``
        """
        fits = (self.together if logger is None else self.each[logger]).by_fold
        phi = np.asarray(phi, np.float64)
        found = np.empty((*phi.shape[:2], next(iter(fits.values())).beta.shape[1]))
        for fold, fit in fits.items():
            found[self.folds == fold] = probabilities(phi[self.folds == fold], fit.beta)
        return found

    @property
    def unfinished(self) -> tuple[int, ...]:
        """Loggers with a fit that did not converge."""
        return tuple(n for n, fits in self.each.items() if not all(x.converged for x in fits.by_fold.values()))


def fit_behaviour(
    phi: Any,
    action: Any,
    actions: int,
    *,
    penalty: float = 1.0,
    toward: np.ndarray | None = None,
    begin: np.ndarray | None = None,
) -> Regression:
    """Multinomial logistic regression.

    Args:
      phi: features of logged steps, the first of them constant. ``[M, F]``
      action: what was played there. Integer ``[M]``
      actions: A.
      penalty: of the squared distance of the coefficients from `toward`.
      toward: coefficients ``[F, A]``; None: 0, and then the constant's are free. There one more step that played all
        actions evenly, at features of 0, keeps an action that was never played from being impossible.
      begin: coefficients to begin from. ``[F, A]``

    Returns:
      The fit.
    """
    from scipy.optimize import minimize

    phi, action = np.asarray(phi, np.float64), np.asarray(action)
    steps, size = phi.shape
    played = np.stack([np.bincount(action, column, actions) for column in phi.T])
    free = toward is None
    if free and size == 1:
        return Regression(np.log((played + 1 / actions) / (steps + 1)))
    centre = np.zeros((size, actions)) if toward is None else toward
    drawn = np.full((size, 1), float(penalty))
    drawn[0] = 0.0 if free else penalty
    rows, across = np.arange(steps), np.ascontiguousarray(phi.T)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        away = flat.reshape(size, actions)
        beta = centre + away
        found = beta.T @ across  # actions first: sums over few of them are then sums of long rows
        found -= found.max(0)
        likelihood = found[action, rows].sum()
        np.exp(found, out=found)
        total = found.sum(0)
        likelihood -= np.log(total).sum()
        found /= total
        gradient = across @ found.T - played + drawn * away
        value = 0.5 * float((drawn * away**2).sum()) - likelihood
        if free:
            even = probabilities(np.ones(1), beta[:1])
            value -= float(np.log(np.maximum(even, 1e-300)).mean())
            gradient[0] += even - 1 / actions
        return value, gradient.ravel()

    at = (np.zeros_like(centre) if begin is None else begin - centre).ravel()
    for patience in (1, 10):
        found = minimize(loss, at, jac=True, method="L-BFGS-B", options={"maxiter": patience * _ITERATIONS})
        at = found.x
        if found.success:
            break
    return Regression(centre + at.reshape(size, actions), bool(found.success))


def probabilities(phi: Any, beta: np.ndarray) -> np.ndarray:
    """Softmax of ``φ · β``, of as many features as β has. ``[..., A]``

    Args:
      phi: features, of which the first F' are looked at. ``[..., F]``
      beta: coefficients. ``[F', A]``

    Returns:
      Probabilities. ``[..., A]``
    """
    found = np.asarray(phi, np.float64)[..., : len(beta)] @ beta
    found -= found.max(-1, keepdims=True)
    np.exp(found, out=found)
    found /= found.sum(-1, keepdims=True)
    return found


def folds_of(task: Any, folds: int, seed: int = 0) -> np.ndarray:
    """Which fold each episode is in, whole tasks together.

    Args:
      task: of each episode. ``[N]``
      folds: how many.
      seed: of the draw.

    Returns:
      Integer ``[N]``, from 0.

    Raises:
      UserError: fewer tasks than folds.
    """
    distinct, number = np.unique(task, return_inverse=True)
    if len(distinct) < folds:
        raise UserError(f"{len(distinct)} tasks: too few to estimate anything from, expected at least {folds}")
    return (np.random.default_rng(seed).permutation(len(distinct)) % folds)[number]


@dataclasses.dataclass(frozen=True)
class _Steps:
    """Logged steps one after the other: M of them."""

    phi: np.ndarray
    action: np.ndarray
    fold: np.ndarray
    actions: int

    def fits(
        self, way: Way, folds: Sequence[int], middles: Fits | None = None, begin: Fits | None = None
    ) -> tuple[Fits, float]:
        """One way's fits without each of the folds, and how likely they find that fold's actions, in sum."""
        phi = self.phi[:, : way.features]
        found, likelihood = {}, 0.0
        for fold in folds:
            learn = self.fold != fold
            toward = None if middles is None or way.alone else middles.by_fold[fold].beta
            if toward is not None and (np.isinf(way.penalty) or not learn.any()):
                found[fold] = Regression(toward)
            else:
                found[fold] = fit_behaviour(
                    phi[learn],
                    self.action[learn],
                    self.actions,
                    penalty=way.penalty,
                    toward=toward,
                    begin=None if begin is None else begin.by_fold[fold].beta,
                )
            own = probabilities(phi[~learn], found[fold].beta)[np.arange((~learn).sum()), self.action[~learn]]
            likelihood += float(np.log(np.maximum(own, 1e-300)).sum())
        return Fits(way, found), likelihood

    def best(self, paths: Sequence[Sequence[Way]], folds: Sequence[int], middles: Fits | None = None) -> Fits:
        """Of the way that makes held-out tasks likeliest, of equals the first. A path that only gets worse is left."""
        best, most = None, -np.inf
        for path in paths:
            found, top, worse = None, -np.inf, 0
            for way in path:
                found, likelihood = self.fits(way, folds, middles, found)
                if best is None or likelihood > most:
                    best, most = found, likelihood
                top, worse = (likelihood, 0) if likelihood > top else (top, worse + 1)
                if worse == _PATIENCE:
                    break
        assert best is not None
        return best


def cross_fitted(
    phi: Any,
    action: Any,
    alive: Any,
    logger: Any,
    folds: Any,
    actions: int,
    *,
    penalty: float | None = None,
    only: Sequence[int] | None = None,
    sizes: Sequence[int] = (),
) -> Behaviour:
    """How each logger chooses, and all of them together, fitted without the tasks on which it is said.

    A policy in question that is itself fitted must be fitted on the same folds as the loggers: else it knows the
    peculiarities of a task that they do not, and weighs all of that task's episodes heavily.

    Args:
      phi: features, the first constant. ``[N, T, F]``
      action: what was played. Integer ``[N, T]``
      alive: Boolean ``[N, T]``
      logger: who acted. Integer ``[N]``
      folds: as `folds_of` gives them. ``[N]``
      actions: A.
      penalty: of the squared coefficients of all loggers together, and of each one's squared distance from them; None:
        by the likelihood of held-out tasks, among `PENALTIES`, action frequencies, and a logger's being like the rest.
      only: fit these loggers alone; None: all.
      sizes: so many of the first features may be looked at; without, 1 or all.

    Returns:
      The fits.
    """
    phi, action, alive, logger, folds = map(np.asarray, (phi, action, alive, logger, folds))
    sizes = sizes or (1, phi.shape[2])
    present = np.unique(logger)
    numbers = [int(fold) for fold in np.unique(folds)]

    def steps_of(rows: np.ndarray) -> _Steps:
        here = alive & rows[:, None]
        return _Steps(phi[here], action[here], np.broadcast_to(folds[:, None], here.shape)[here], actions)

    everybody = steps_of(np.ones(len(folds), bool))
    if penalty is None:
        enough = len(everybody.action) / (_STEPS_A_COEFFICIENT * actions)
        tried = [[Way(size, x) for x in PENALTIES] for size in sizes if 1 < size <= enough]
        together = everybody.best([[Way(1, 0.0)], *tried], numbers)
    else:
        together, _ = everybody.fits(Way(sizes[-1], penalty), numbers)
    each = {}
    for number in map(int, present if only is None else np.intersect1d(present, only)):
        if len(present) == 1:
            each[number] = together
            continue
        own, size = steps_of(logger == number), together.way.features
        if penalty is None:
            drawn = [Way(size, x, alone=False) for x in (np.inf, *PENALTIES)]
            each[number] = own.best([drawn, [Way(1, 0.0)]], numbers, together)
        else:
            each[number], _ = own.fits(Way(size, penalty, alone=False), numbers, together)
    return Behaviour(folds, together, each)
