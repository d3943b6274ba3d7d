"""What a policy would have cost, from logs: every estimator with its interval, and whether to believe it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from aljax.env import EnvParams
from aljax.errors import UserError
from aljax.offline import estimators, model
from aljax.offline.behaviour import PENALTY, cross_fitted, folds_of
from aljax.offline.data import Log, distributions
from aljax.offline.estimators import Terms, bootstrap_by_task
from aljax.policy import Policy
from aljax.statistics import Interval


@dataclasses.dataclass(frozen=True)
class EstimateSettings:
    """How estimates are made and when they are refused."""

    resamples: int = 1_000
    """Of the bootstrap."""
    floor: float = 30.0
    """Fewest tasks that importance weights must be worth, in effect; below, what they say is refused."""
    folds: int = 2
    """Models and fitted probabilities are taken from the other folds' tasks, never from the episode's own."""
    penalty: float = PENALTY
    """Where probabilities must be fitted: what draws a logger's way of choosing to that of all together."""
    seed: int = 0
    """Of folds, features and resampling."""


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
    """Features of what was seen, for the model and for fitted probabilities; the first is constant. ``[N, T, F]``"""
    probability: np.ndarray
    """With which each logger would have played the logged action; NaN where unknown. ``[N, T, L]``"""
    logger: np.ndarray
    """Who acted. Integer ``[N]``"""
    task: np.ndarray
    """On which task. Integer ``[N]``"""


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
"""A choice that the logs have this rarely in such a place counts as not logged."""
_MOST_UNLOGGED = 0.05
_MOST_OF_ONE = 0.1


def estimate(question: Question, settings: EstimateSettings = EstimateSettings()) -> Answer:
    """Every estimator's answer.

    Args:
      question: the policy's choices on logged episodes.
      settings: how, and when to refuse.

    Returns:
      The answer: ``direct``, ``per_decision``, ``self_normalised``, ``weighted_doubly_robust``, and with several
      loggers the last three with ``balanced_`` before.

    Raises:
      UserError: a probability of a logged action that is 0 or above 1; fewer tasks than folds.
    """
    alive, task = question.alive, question.task
    folds = folds_of(task, settings.folds, settings.seed)
    ways, together = cross_fitted(
        question.phi, question.action, alive, question.logger, folds, question.target.shape[2], penalty=settings.penalty
    )
    probability, fitted = _completed(question, ways)
    own = np.take_along_axis(probability, question.logger[:, None, None], 2)[..., 0]
    _check(own, alive)
    chosen = np.take_along_axis(question.target, question.action[..., None], 2)[..., 0]
    weights = {"own": estimators.own_weights(chosen, own, alive)}
    if len(np.unique(question.logger)) > 1:
        weights["balanced"] = estimators.balanced_weights(chosen, probability, question.logger, alive)

    sizes, means, warnings, refusals = {}, {}, [], {}
    for kind, w in weights.items():
        last = w[:, -1]
        by_task = estimators.by_task(w, task)
        # The estimators use the weights of every step, and those may be few before the end.
        sizes[kind] = min(map(estimators.effective_size, by_task.T))
        means[kind] = bootstrap_by_task(estimators.per_decision(last[:, None], 1.0), task, resamples=settings.resamples)
        refusals[kind] = _refusal(kind, sizes[kind], last, settings)
        if not refusals[kind]:
            warnings += _suspicions(kind, means[kind], by_task[:, -1])
    unlogged = float((question.target[alive] * (together[alive] < HARDLY)).sum(1).mean())
    no_model = ""
    if unlogged > _MOST_UNLOGGED:
        no_model = (
            f"{100 * unlogged:.0f} % of what the policy chooses was hardly ever logged there: nothing to learn it from"
        )
    if fitted:
        warnings.append("probabilities fitted, not logged: what the loggers saw and the features lack is not corrected")

    estimates, logged = {}, {}
    for name, outcome in question.outcomes.items():
        terms, logged_terms = _terms(question, outcome, weights, folds)
        found = {}
        for label, value in terms.items():
            kind = "balanced" if label.startswith("balanced") else "own"
            refused = no_model if label == "direct" else refusals[kind]
            interval = None
            if not refused:
                interval = bootstrap_by_task(value, task, resamples=settings.resamples, seed=settings.seed)
            found[label] = Estimate(interval, refused)
        estimates[name] = found
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
    target = _distributions(policy, params, episodes.observation, episodes.action)
    return Question(
        outcomes={"cost": costs, "success": success},
        action=episodes.action,
        alive=alive,
        target=np.asarray(target, np.float64),
        phi=model.features_of(episodes.observation, alive, seed=seed)(episodes.observation),
        probability=episodes.probability.astype(np.float64),
        logger=episodes.logger,
        task=episodes.task,
    )


_distributions = jax.jit(distributions)


def _completed(question: Question, ways: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Probabilities with the unknown ones as fitted, and whose they are."""
    probability = np.array(question.probability, np.float64)
    loggers = np.arange(probability.shape[2])
    present = np.isin(loggers, question.logger)
    # A single logger's probabilities are asked for on its own episodes only.
    needed = present if present.sum() > 1 else loggers == question.logger[0]
    missing = np.isnan(probability) & question.alive[..., None] & needed
    fitted = np.take_along_axis(ways, question.action[..., None, None], 3)[..., 0]
    fitted = np.pad(fitted, ((0, 0), (0, 0), (0, len(loggers) - fitted.shape[2])))
    return np.where(missing, fitted, probability), tuple(int(n) for n in loggers[missing.any((0, 1))])


def _check(own: np.ndarray, alive: np.ndarray) -> None:
    wrong = alive & ~((own > 0) & (own <= 1 + 1e-6))
    if wrong.any():
        n, t = np.argwhere(wrong)[0]
        raise UserError(f"episode {n}, step {t}: logged with probability {own[n, t]:g}, expected above 0 and at most 1")


def _refusal(kind: str, size: float, last: np.ndarray, settings: EstimateSettings) -> str:
    """Why weights of this kind say nothing; empty: they do."""
    if size >= settings.floor:
        return ""
    if not last.any():
        return "no logged episode is one that the policy could have played"
    against = "" if kind == "own" else " against all loggers together"
    return (
        f"the logged episodes that the policy could have played are worth {size:.1f} tasks{against}, "
        f"expected at least {settings.floor:g}"
    )


def _suspicions(kind: str, mean: Interval, by_task: np.ndarray) -> list[str]:
    """What speaks against weights that are not refused."""
    found = []
    if not mean.low <= 1.0 <= mean.high:
        found.append(
            f"{kind} weights: their mean is {mean.estimate:.3f} [{mean.low:.3f}, {mean.high:.3f}], expected 1: the "
            "logs do not cover what the policy does, or the probabilities are wrong"
        )
    share = float(by_task.max() / by_task.sum())
    if share > _MOST_OF_ONE:
        found.append(f"{kind} weights: one task carries {100 * share:.0f} % of them, the interval may be too narrow")
    return found


def _terms(
    question: Question, outcome: np.ndarray, weights: Mapping[str, np.ndarray], folds: np.ndarray
) -> tuple[dict[str, Terms], Terms]:
    """Every estimator on one outcome, and the plain mean of what was logged."""
    alive, phi, target, action = question.alive, question.phi, question.target, question.action
    q, v = np.zeros(alive.shape), np.zeros(alive.shape)
    for fold in np.unique(folds):
        learn, rows = folds != fold, folds == fold
        fitted = model.fit(phi[learn], action[learn], target[learn], outcome[learn], alive[learn])
        values, v[rows] = fitted.values(phi[rows], target[rows])
        q[rows] = np.take_along_axis(values, action[rows][..., None], 2)[..., 0]
    q, v = np.where(alive, q, 0.0), np.where(alive, v, 0.0)
    found = {"direct": estimators.direct(model.fit(phi, action, target, outcome, alive).influence)}
    for kind, w in weights.items():
        before = "" if kind == "own" else "balanced_"
        found[f"{before}per_decision"] = estimators.per_decision(w, outcome)
        found[f"{before}self_normalised"] = estimators.self_normalised(w, outcome)
        found[f"{before}weighted_doubly_robust"] = estimators.weighted_doubly_robust(w, outcome, q, v)
    return found, estimators.per_decision(np.ones_like(outcome), outcome)
