"""Behaviour probabilities where nobody logged them: a softmax regression of the logged actions for each logger."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aljax.errors import UserError

PENALTY = 30.0
"""What draws a logger's coefficients to those of all loggers together. On logs of real agents (examples/real_logs.py)
it explains held-out choices better than regressions of each logger alone do, or one of all together."""


def fit_behaviour(
    phi: Any, action: Any, actions: int, *, penalty: float = 1.0, toward: np.ndarray | None = None
) -> np.ndarray:
    """Multinomial logistic regression.

    Args:
      phi: features of logged steps, the first of them constant. ``[M, F]``
      action: what was played there. Integer ``[M]``
      actions: A.
      penalty: of the squared distance of the coefficients from `toward`.
      toward: coefficients ``[F, A]``; None: 0, and then the constant's are free.

    Returns:
      Coefficients; the probabilities are softmax(φ · β). ``[F, A]``
    """
    from scipy.optimize import minimize

    phi, action = np.asarray(phi, np.float64), np.asarray(action)
    one_hot = np.eye(actions)[action]
    shrunk = np.ones((phi.shape[1], 1))
    if toward is None:
        shrunk[0] = 1e-3
    centre = np.zeros((phi.shape[1], actions)) if toward is None else toward

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        away = flat.reshape(-1, actions)
        found = probabilities(phi, centre + away)
        likelihood = np.log(np.maximum(found[np.arange(len(action)), action], 1e-300)).sum()
        gradient = phi.T @ (found - one_hot) + penalty * shrunk * away
        return -likelihood + 0.5 * penalty * float((shrunk * away**2).sum()), gradient.ravel()

    begin = np.zeros(phi.shape[1] * actions)
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": 100}).x
    return centre + found.reshape(-1, actions)


def probabilities(phi: Any, beta: np.ndarray) -> np.ndarray:
    """Softmax of ``φ · β``. ``[..., A]``"""
    logits = np.asarray(phi, np.float64) @ beta
    found = np.exp(logits - logits.max(-1, keepdims=True))
    return found / found.sum(-1, keepdims=True)


def folds_of(task: Any, folds: int, seed: int = 0) -> np.ndarray:
    """Which fold each episode is in, whole tasks together. Integer ``[N]``

    Raises:
      UserError: fewer tasks than folds.
    """
    distinct, number = np.unique(task, return_inverse=True)
    if len(distinct) < folds:
        raise UserError(f"{len(distinct)} tasks: too few to estimate anything from, expected at least {folds}")
    return (np.random.default_rng(seed).permutation(len(distinct)) % folds)[number]


def cross_fitted(
    phi: Any,
    action: Any,
    alive: Any,
    logger: Any,
    folds: Any,
    actions: int,
    *,
    penalty: float = PENALTY,
    only: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
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
      penalty: see `PENALTY`.
      only: fit these loggers, and leave the others at 0; None: all.

    Returns:
      Probabilities of every action under each logger ``[N, T, L, A]`` and under all together ``[N, T, A]``; 0 after
      the end.
    """
    phi, action, alive, logger, folds = map(np.asarray, (phi, action, alive, logger, folds))
    loggers = int(logger.max()) + 1
    each = np.zeros((*action.shape, loggers, actions))
    together = np.zeros((*action.shape, actions))
    present = np.unique(logger)
    wanted = present if only is None else np.intersect1d(present, only)
    for fold in np.unique(folds):
        learn, rows = alive & (folds != fold)[:, None], alive & (folds == fold)[:, None]
        middle = fit_behaviour(phi[learn], action[learn], actions)
        together[rows] = probabilities(phi[rows], middle)
        for number in wanted:
            own = learn & (logger == number)[:, None]
            beta = middle
            if len(present) > 1 and own.any():
                beta = fit_behaviour(phi[own], action[own], actions, penalty=penalty, toward=middle)
            each[rows, number] = probabilities(phi[rows], beta)
    return each, together
