"""Whether to believe an estimate from logs: why it is refused, and what speaks against one that is not."""

from collections.abc import Mapping, Sequence

import numpy as np

from aljax.offline.answer import Estimate
from aljax.offline.behaviour import Behaviour
from aljax.offline.estimators import Terms, bootstrap_by_task
from aljax.offline.question import Question
from aljax.options import EstimateSettings
from aljax.statistics import Interval

_HARDLY = 0.01
"""A choice that the logs have this rarely in such a place counts as not logged. Of more than ten actions none need be
frequent: this is for ten, and in proportion for more."""
_MOST_UNLOGGED = 0.05
_MOST_OFF = 0.1
_FEW = 100.0
_MOST_OF_ONE = 0.1


def refusal(kind: str, size: float, mean: Interval, last: np.ndarray, settings: EstimateSettings) -> str:
    """Why weights of this kind say nothing.

    Args:
      kind: ``own`` or ``balanced``.
      size: how many tasks they are worth at the step where they are worth least.
      mean: of whole episodes' weights.
      last: those weights. ``[N]``
      settings: the floor.

    Returns:
      In words; empty: they say something.
    """
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


def suspicions(kind: str, size: float, mean: Interval, by_task: np.ndarray) -> list[str]:
    """What speaks against weights that are not refused.

    Args:
      kind: ``own`` or ``balanced``.
      size: how many tasks they are worth at the step where they are worth least.
      mean: of whole episodes' weights.
      by_task: sums of those weights by task. ``[K]``

    Returns:
      A text a doubt.
    """
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


def unlogged_share(question: Question, ways: Behaviour) -> float:
    """Which share of the policy's choices, at logged steps, the logs hardly have there.

    Args:
      question: what is asked.
      ways: how loggers choose.

    Returns:
      From 0 to 1.
    """
    hardly = min(_HARDLY, _HARDLY * 10 / question.target.shape[2])
    return float((question.target * (ways.probabilities(question.phi) < hardly)).sum(2)[question.alive].mean())


def no_model(unlogged: float) -> str:
    """Why the model says nothing.

    Args:
      unlogged: the share of choices that were hardly logged.

    Returns:
      In words; empty: it says something.
    """
    if unlogged <= _MOST_UNLOGGED:
        return ""
    return f"{100 * unlogged:.0f} % of what the policy chooses was hardly ever logged there: nothing to learn it from"


def fit_doubts(question: Question, ways: Behaviour, fitted: Sequence[int]) -> list[str]:
    """What speaks against probabilities that were fitted.

    Args:
      question: what is asked.
      ways: how loggers choose.
      fitted: the loggers whose probabilities are from there.

    Returns:
      A text a doubt.
    """
    found = []
    if fitted:
        told = "probabilities fitted, not logged: what the loggers saw and the features lack is not corrected"
        if any(ways.each[n].way.features > 1 for n in fitted):
            told += ", nor is the regressions' own error in the intervals, which may be too narrow"
        found.append(told)
    if ways.unfinished:
        names = ", ".join(question.names[n] if question.names else f"logger {n}" for n in ways.unfinished)
        found.append(f"the fit of how {names} chooses did not converge: its probabilities are not to be relied upon")
    return found


def model_doubts(
    name: str, terms: Mapping[str, Terms], found: Mapping[str, Estimate], question: Question, settings: EstimateSettings
) -> list[str]:
    """What speaks against the model: weighted residuals that are not 0 on average, or nothing that could show them.

    Args:
      name: of the outcome.
      terms: every estimator's on it.
      found: their answers.
      question: what is asked.
      settings: of the bootstrap.

    Returns:
      A text, or none.
    """
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
