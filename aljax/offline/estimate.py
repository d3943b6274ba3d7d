"""What a policy would have cost, from logs: every estimator with its interval, and whether to believe it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from aljax import limits
from aljax.env import EnvParams
from aljax.errors import UserError
from aljax.offline import estimators, model
from aljax.offline.behaviour import Behaviour, cross_fitted, folds_of
from aljax.offline.data import Log, distributions
from aljax.offline.estimators import Terms, bootstrap_by_task
from aljax.options import EstimateSettings
from aljax.policy import Policy
from aljax.statistics import Interval


@dataclasses.dataclass(frozen=True)
class Question:
    """A policy's choices on logged episodes, N of at most T steps; all NumPy arrays."""

    outcomes: Mapping[str, np.ndarray]
    """What to add up, by name: costs, say, or success at the last step; 0 after the end. ``[N, T]`` each"""
    action: np.ndarray
    """What was played. Integer ``[N, T]``"""
    alive: np.ndarray
    """Boolean ``[N, T]``"""
    target: np.ndarray
    """With which probability the policy would have played each action there. ``[N, T, A]``"""
    phi: np.ndarray
    """Features of what was seen, for how loggers choose; the first is constant. ``[N, T, F]``"""
    probability: np.ndarray
    """With which each logger would have played the logged action; NaN where unknown. ``[N, T, L]``"""
    logger: np.ndarray
    """Who acted. Integer ``[N]``"""
    task: np.ndarray
    """On which task. Integer ``[N]``"""
    model_phi: np.ndarray | None = None
    """Features for the model of costs to go, if others are needed there. ``[N, T, F']``"""
    sizes: tuple[int, ...] = ()
    """How many of the first features of `phi` a fit of how loggers choose may look at: what is likeliest on held-out
    tasks is taken. Without, 1 or all."""
    names: tuple[str, ...] = ()
    """Of the loggers, for warnings; without, their numbers."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One estimator's answer."""

    interval: Interval | None
    """At the 95 % level; None: refused."""
    refused: str = ""
    """Why."""

    def to_json(self) -> dict[str, Any]:
        """For files."""
        return {"refused": self.refused} if self.interval is None else dict(self.interval.to_json())


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the logs say about a policy."""

    estimates: Mapping[str, Mapping[str, Estimate]]
    """By outcome, then by estimator."""
    logged: Mapping[str, Interval]
    """What the loggers' own episodes came to on average, by outcome."""
    episodes: int
    tasks: int
    effective_tasks: Mapping[str, float]
    """How many tasks the weights are worth at the step where they are worth least, by kind: ``own``, ``balanced``."""
    mean_weight: Mapping[str, Interval]
    """Of whole episodes; 1 in expectation where the logs cover the policy."""
    unlogged: float
    """Share of the policy's choices, at logged steps, that the logs hardly have there."""
    fitted: tuple[int, ...]
    """Loggers whose probabilities were fitted, for want of logged ones."""
    warnings: tuple[str, ...]
    """In plain words."""

    def to_json(self) -> dict[str, Any]:
        """For files."""
        return {
            "estimates": {
                outcome: {name: found.to_json() for name, found in by_name.items()}
                for outcome, by_name in self.estimates.items()
            },
            "logged": {name: interval.to_json() for name, interval in self.logged.items()},
            "episodes": self.episodes,
            "tasks": self.tasks,
            "effective_tasks": dict(self.effective_tasks),
            "mean_weight": {name: interval.to_json() for name, interval in self.mean_weight.items()},
            "unlogged": self.unlogged,
            "warnings": list(self.warnings),
        }


HARDLY = 0.01
"""A choice that the logs have this rarely in such a place counts as not logged. Of more than ten actions none need be
frequent: this is for ten, and in proportion for more."""
FIT_FOLDS = 5
"""Fitted probabilities are taken from fits without the tasks of an episode's fold. Weights are products of their
inverses, so that what is lost by fitting to fewer tasks counts more than for models."""
_EPISODES_A_SCORE = 10
THRESHOLDS = 16
"""So many of the features' thresholds may serve to fit how loggers choose, fewer than for the model of costs to go."""
_MOST_UNLOGGED = 0.05
_MOST_OFF = 0.1
_FEW = 100.0
_MOST_OF_ONE = 0.1


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
    missing = _missing(question)
    fitted = tuple(int(n) for n in np.flatnonzero(missing.any((0, 1))))
    ways = cross_fitted(
        question.phi,
        question.action,
        alive,
        question.logger,
        folds_of(task, min(FIT_FOLDS, len(np.unique(task))), settings.seed),
        question.target.shape[2],
        penalty=settings.penalty,
        only=fitted,
        sizes=question.sizes,
    )
    probability = np.array(question.probability, np.float64)
    for n in fitted:
        chance = _chosen(ways.probabilities(question.phi, n), question.action)
        probability[..., n] = np.where(missing[..., n], chance, probability[..., n])
    own = np.take_along_axis(probability, question.logger[:, None, None], 2)[..., 0]
    _check(own, alive)
    chosen = _chosen(question.target, question.action)
    if len(np.unique(question.logger)) > 1:
        weights = {"balanced": estimators.balanced_weights(chosen, probability, question.logger, alive)}
    else:
        weights = {"own": estimators.own_weights(chosen, own, alive)}

    sizes, means, warnings, refusals = {}, {}, [], {}
    for kind, w in weights.items():
        last = w[:, -1]
        by_task = estimators.by_task(w, task)
        # The estimators use the weights of every step, and those may be few before the end.
        sizes[kind] = min(map(estimators.effective_size, by_task.T))
        means[kind] = bootstrap_by_task(estimators.per_decision(last[:, None], 1.0), task, resamples=settings.resamples)
        refusals[kind] = _refusal(kind, sizes[kind], means[kind], last, settings)
        if not refusals[kind]:
            warnings += _suspicions(kind, sizes[kind], means[kind], by_task[:, -1])
    hardly = min(HARDLY, HARDLY * 10 / question.target.shape[2])
    unlogged = float((question.target * (ways.probabilities(question.phi) < hardly)).sum(2)[alive].mean())
    no_model = ""
    if unlogged > _MOST_UNLOGGED:
        no_model = (
            f"{100 * unlogged:.0f} % of what the policy chooses was hardly ever logged there: nothing to learn it from"
        )
    if fitted:
        told = "probabilities fitted, not logged: what the loggers saw and the features lack is not corrected"
        if any(ways.each[n].way.features > 1 for n in fitted):
            told += ", nor is the regressions' own error in the intervals, which may be too narrow"
        warnings.append(told)
    if ways.unfinished:
        names = ", ".join(question.names[n] if question.names else f"logger {n}" for n in ways.unfinished)
        warnings.append(f"the fit of how {names} chooses did not converge: its probabilities are not to be relied upon")

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
        warnings += _doubts(name, terms, found, question, settings)
        logged[name] = bootstrap_by_task(logged_terms, task, resamples=settings.resamples, seed=settings.seed)
    return Answer(estimates, logged, len(task), len(np.unique(task)), sizes, means, unlogged, fitted, tuple(warnings))


def question_of(log: Log, policy: Policy, params: EnvParams, seed: int = 0) -> Question:
    """A policy's choices on a scenario's logs; outcomes are ``cost``, weighted by λ, and ``success``.

    Args:
      log: the data set.
      policy: any, remembering or not.
      params: the scenario.
      seed: of the features.

    Returns:
      The question for `estimate`.
    """
    episodes = jax.tree.map(np.asarray, log.episodes)
    alive = episodes.alive
    costs = np.where(alive, episodes.costs.astype(np.float64) @ np.asarray(params.weights, np.float64), 0.0)
    last = alive & ~np.concatenate([alive[:, 1:], np.zeros_like(alive[:, :1])], axis=1)
    success = np.where(last, episodes.success[:, None], False).astype(np.float64)
    features = model.features_of(episodes.observation, alive, seed=seed)
    phi = features(episodes.observation)
    linear = 1 + episodes.observation.shape[2]
    target = _distributions(policy, params, episodes.observation, episodes.action)
    return Question(
        outcomes={"cost": costs, "success": success},
        action=episodes.action,
        alive=alive,
        target=np.asarray(target, np.float64),
        phi=phi[..., : linear + THRESHOLDS],
        model_phi=features(episodes.observation, steps=True),
        probability=episodes.probability.astype(np.float64),
        logger=episodes.logger,
        task=episodes.task,
        sizes=(1, linear, linear + THRESHOLDS),
        names=log.loggers,
    )


_distributions = jax.jit(distributions)


def _chosen(of_all: np.ndarray, action: np.ndarray) -> np.ndarray:
    """What belongs to the action that was played. ``[N, T, A]`` to ``[N, T]``"""
    return np.take_along_axis(of_all, action[..., None], 2)[..., 0]


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


def _refusal(kind: str, size: float, mean: Interval, last: np.ndarray, settings: EstimateSettings) -> str:
    """Why weights of this kind say nothing; empty: they do."""
    if size >= settings.floor:
        off = not mean.low <= 1.0 <= mean.high and abs(mean.estimate - 1) > _MOST_OFF
        if settings.floor > 0 and off:
            shown = f"the weights' mean is {mean.estimate:.3f} [{mean.low:.3f}, {mean.high:.3f}], expected 1"
            if mean.estimate < 1:
                shown += f": the logs cover {100 * mean.estimate:.0f} % of what the policy does"
            return f"{shown}, or probabilities are wrong" if mean.estimate < 1 else f"{shown}: probabilities are wrong"
        return ""
    if not last.any():
        return "no logged episode is one that the policy could have played"
    against = "" if kind == "own" else " against all loggers together"
    return (
        f"the logged episodes that the policy could have played are worth {size:.1f} tasks{against}, "
        f"expected at least {settings.floor:g}"
    )


def _suspicions(kind: str, size: float, mean: Interval, by_task: np.ndarray) -> list[str]:
    """What speaks against weights that are not refused."""
    found = []
    if size < _FEW:
        found.append(
            f"{kind} weights: worth {size:.1f} tasks, fewer than {_FEW:g}: intervals may be too narrow, most of all "
            "those over the weights' means (self_normalised, weighted_doubly_robust)"
        )
    if not mean.low <= 1.0 <= mean.high:
        found.append(
            f"{kind} weights: their mean is {mean.estimate:.3f} [{mean.low:.3f}, {mean.high:.3f}], expected 1: the "
            "logs do not cover what the policy does, or the probabilities are wrong"
        )
    share = float(by_task.max() / by_task.sum())
    if share > _MOST_OF_ONE:
        found.append(f"{kind} weights: one task carries {100 * share:.0f} % of them, the interval may be too narrow")
    return found


def _doubts(
    name: str, terms: Mapping[str, Terms], found: Mapping[str, Estimate], question: Question, settings: EstimateSettings
) -> list[str]:
    """What speaks against the model: weighted residuals that are not 0 on average, or nothing that could show them."""
    if "direct" not in found or found["direct"].interval is None:
        return []
    judges = [
        label for label in reversed(list(found)) if label.endswith("weighted_doubly_robust") and found[label].interval
    ]
    if not judges:
        return [f"direct ({name}): nothing but the model speaks for it where the weights are refused"]
    model_terms, weighted = terms["direct"], terms[judges[0]]
    both = Terms(
        np.concatenate([model_terms.values, weighted.values], axis=1),
        lambda means: model_terms.combine(means[..., :1]) - weighted.combine(means[..., 1:]),
    )
    difference = bootstrap_by_task(both, question.task, resamples=settings.resamples, seed=settings.seed)
    if difference.low <= 0 <= difference.high:
        return []
    return [
        f"direct ({name}): differs from {judges[0]} by {difference.estimate:.3g} [{difference.low:.3g}, "
        f"{difference.high:.3g}], expected 0: the model is wrong, or the weights are"
    ]


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
        q[rows] = _chosen(values, action[rows])
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

    Raises:
      UserError: one line naming the option.
    """
    for name in ("resamples", "folds", "seed"):
        limits.check_whole(name, getattr(settings, name))
    if not settings.floor >= 0:
        raise UserError(f"floor: expected a number not below 0, got {settings.floor}")
    if settings.penalty is not None and not 0 <= settings.penalty < np.inf:
        raise UserError(f"penalty: expected a finite number not below 0, got {settings.penalty}")
