"""What a policy would have cost, from logs: every estimator with its interval, and whether to believe it."""

from collections.abc import Mapping

import numpy as np

from aljax import limits
from aljax.errors import UserError
from aljax.offline import doubts, estimators, model
from aljax.offline.answer import Answer, Estimate
from aljax.offline.behaviour import Behaviour, cross_fitted, folds_of
from aljax.offline.estimators import Terms, bootstrap_by_task
from aljax.offline.question import Question, chosen
from aljax.options import EstimateSettings

FIT_FOLDS = 5
"""Fitted probabilities are taken from fits without the tasks of an episode's fold. Weights are products of their
inverses, so that what is lost by fitting to fewer tasks counts more than for models."""
_EPISODES_A_SCORE = 10


def estimate(question: Question, settings: EstimateSettings = EstimateSettings()) -> Answer:
    """Every estimator's answer.

    Args:
      question: the policy's choices on logged episodes.
      settings: how, and when to refuse.

    Returns:
      The answer: ``per_decision``, ``self_normalised``, ``weighted_doubly_robust``, and with several loggers the same
      with ``balanced_`` before, as weights against the logger that happened to act then vary more than they show; and
      ``direct`` where what is experimental was asked for.

    Raises:
      UserError: a probability of a logged action that is 0 or above 1; fewer tasks than folds.
    """
    alive, task = question.alive, question.task
    folds = folds_of(task, settings.folds, settings.seed)
    ways, fitted, probability = _probabilities(question, settings)
    own = np.take_along_axis(probability, question.logger[:, None, None], 2)[..., 0]
    _check(own, alive)
    target = chosen(question.target, question.action)
    if len(np.unique(question.logger)) > 1:
        weights = {"balanced": estimators.balanced_weights(target, probability, question.logger, alive)}
    else:
        weights = {"own": estimators.own_weights(target, own, alive)}

    sizes, means, warnings, refusals = {}, {}, [], {}
    for kind, w in weights.items():
        last = w[:, -1]
        by_task = estimators.by_task(w, task)
        # The estimators use the weights of every step, and those may be few before the end.
        sizes[kind] = min(map(estimators.effective_size, by_task.T))
        means[kind] = bootstrap_by_task(estimators.per_decision(last[:, None], 1.0), task, resamples=settings.resamples)
        refusals[kind] = doubts.refusal(kind, sizes[kind], means[kind], last, settings)
        if not refusals[kind]:
            warnings += doubts.suspicions(kind, sizes[kind], means[kind], by_task[:, -1])
    unlogged = doubts.unlogged_share(question, ways)
    no_model = doubts.no_model(unlogged)
    warnings += doubts.fit_doubts(question, ways, fitted)

    scores = _scores(question, ways) if "own" in weights and fitted else None
    estimates, logged = {}, {}
    for name, outcome in question.outcomes.items():
        terms, logged_terms = _terms(question, outcome, weights, folds, settings.experimental)
        if scores is not None:
            for label in terms.keys() - {"direct"}:
                terms[label] = estimators.with_fitted_weights(terms[label], scores)
        found = {}
        for label, value in terms.items():
            kind = "balanced" if label.startswith("balanced") else "own"
            refused = no_model if label == "direct" else refusals[kind]
            interval = None
            if not refused:
                interval = bootstrap_by_task(value, task, resamples=settings.resamples, seed=settings.seed)
            found[label] = Estimate(interval, refused)
        estimates[name] = found
        warnings += doubts.model_doubts(name, terms, found, question, settings)
        logged[name] = bootstrap_by_task(logged_terms, task, resamples=settings.resamples, seed=settings.seed)
    return Answer(estimates, logged, len(task), len(np.unique(task)), sizes, means, unlogged, fitted, tuple(warnings))


def _probabilities(question: Question, settings: EstimateSettings) -> tuple[Behaviour, tuple[int, ...], np.ndarray]:
    """How loggers choose, which of them had to be fitted, and every logger's probabilities ``[N, T, L]``."""
    missing = _missing(question)
    fitted = tuple(int(n) for n in np.flatnonzero(missing.any((0, 1))))
    ways = cross_fitted(
        question.phi,
        question.action,
        question.alive,
        question.logger,
        folds_of(question.task, min(FIT_FOLDS, len(np.unique(question.task))), settings.seed),
        question.target.shape[2],
        penalty=settings.penalty,
        only=fitted,
        sizes=question.sizes,
    )
    probability = np.array(question.probability, np.float64)
    for n in fitted:
        chance = chosen(ways.probabilities(question.phi, n), question.action)
        probability[..., n] = np.where(missing[..., n], chance, probability[..., n])
    return ways, fitted, probability


def _scores(question: Question, ways: Behaviour) -> np.ndarray | None:
    """Each episode's part in the gradient of a single logger's fitted frequencies ``[N, A]``.

    None where regressions were fitted, whose noise is more than this first order, or where actions are too many for the
    episodes: intervals are then as if probabilities were known.
    """
    episodes, _, actions = question.target.shape
    if ways.together.way.features > 1 or actions * _EPISODES_A_SCORE > episodes:
        return None
    counts = (np.eye(actions)[question.action] * question.alive[..., None]).sum(1)
    return counts - ways.probabilities(question.phi)[:, 0] * question.alive.sum(1, keepdims=True)


def _missing(question: Question) -> np.ndarray:
    """Which probabilities are needed and not known. ``[N, T, L]``"""
    present = np.unique(question.logger)
    # A single logger's are asked for on its own episodes; of several, each one's on all.
    needed = np.isin(np.arange(question.probability.shape[2]), present)
    return np.isnan(question.probability) & question.alive[..., None] & needed


def _check(own: np.ndarray, alive: np.ndarray) -> None:
    wrong = alive & ~((own > 0) & (own <= 1 + 1e-6))
    if wrong.any():
        n, t = np.argwhere(wrong)[0]
        raise UserError(f"episode {n}, step {t}: logged with probability {own[n, t]:g}, expected above 0 and at most 1")


def _terms(
    question: Question, outcome: np.ndarray, weights: Mapping[str, np.ndarray], folds: np.ndarray, experimental: bool
) -> tuple[dict[str, Terms], Terms]:
    """Every estimator on one outcome, and the plain mean of what was logged."""
    alive, target, action = question.alive, question.target, question.action
    phi = question.phi if question.model_phi is None else question.model_phi
    q, v = np.zeros(alive.shape), np.zeros(alive.shape)
    for fold in np.unique(folds):
        learn, rows = folds != fold, folds == fold
        fitted = model.fit(phi[learn], action[learn], target[learn], outcome[learn], alive[learn])
        values, v[rows] = fitted.values(phi[rows], target[rows])
        q[rows] = chosen(values, action[rows])
    q, v = np.where(alive, q, 0.0), np.where(alive, v, 0.0)
    found = {}
    if experimental:
        found["direct"] = estimators.direct(model.fit(phi, action, target, outcome, alive).influence)
    for kind, w in weights.items():
        before = "" if kind == "own" else "balanced_"
        found[f"{before}per_decision"] = estimators.per_decision(w, outcome)
        found[f"{before}self_normalised"] = estimators.self_normalised(w, outcome)
        found[f"{before}weighted_doubly_robust"] = estimators.weighted_doubly_robust(w, outcome, q, v)
    return found, estimators.per_decision(np.ones_like(outcome), outcome)


def check_settings(settings: EstimateSettings) -> None:
    """Refuses settings out of range.

    Args:
      settings: of estimates.

    Raises:
      UserError: one line naming the option.
    """
    for name in ("resamples", "folds", "seed"):
        limits.check_whole(name, getattr(settings, name))
    if not settings.floor >= 0:
        raise UserError(f"floor: expected a number not below 0, got {settings.floor}")
    if settings.penalty is not None and not 0 <= settings.penalty < np.inf:
        raise UserError(f"penalty: expected a finite number not below 0, got {settings.penalty}")
