"""Tables of logs and of what was estimated from them."""

from collections.abc import Iterator, Mapping

import numpy as np
from rich.table import Table

from aljax.offline.answer import Answer
from aljax.offline.data import Log
from aljax.scenario import Scenario
from aljax.statistics import Interval
from aljax.tables import new_table


def log_table(log: Log, scenario: Scenario) -> Table:
    """What each logger did and what it came to.

    Args:
      log: the data set.
      scenario: whose it is; costs are weighed by its λ.

    Returns:
      A row a logger.
    """
    table = new_table(f"Logged episodes: {scenario.name}", False)
    for column in ("logger", "episodes", "tasks", "steps", "cost", "success", "probabilities"):
        table.add_column(column, justify="left" if column in ("logger", "probabilities") else "right")
    episodes, weights = log.episodes, np.asarray(scenario.params.weights, np.float64)
    total = (np.asarray(episodes.costs, np.float64) @ weights).sum(1)
    alive, logger = np.asarray(episodes.alive), np.asarray(episodes.logger)
    for number, name in enumerate(log.loggers):
        rows = logger == number
        if not rows.any():
            continue
        known = np.isfinite(np.asarray(episodes.probability)[rows][..., number][alive[rows]])
        table.add_row(
            name,
            f"{rows.sum():,}",
            f"{len(np.unique(np.asarray(episodes.task)[rows])):,}",
            f"{alive[rows].sum():,}",
            f"{total[rows].mean():.4f}",
            f"{np.asarray(episodes.success)[rows].mean():.4f}",
            "logged" if known.all() else "unknown" if not known.any() else "partly logged",
        )
    return table


def log_words(log: Log) -> Iterator[str]:
    """What the files were taken for, and what is odd about them, a line each.

    Args:
      log: the data set.

    Yields:
      Lines.
    """
    for note in log.notes:
        yield f"{note}."
    for warning in log.warnings:
        yield f"Warning: {warning}."


def answer_table(name: str, answer: Answer, truth: Mapping[str, Interval] | None = None) -> Table:
    """Every estimator's answer, beside what the loggers paid and, where it is known, the truth.

    Args:
      name: of the policy.
      answer: about it.
      truth: its values in the simulator, by outcome.

    Returns:
      A row an estimator, a column an outcome.
    """
    table = new_table(f"Estimated from {answer.episodes:,} logged episodes of {answer.tasks:,} tasks: {name}", False)
    table.add_column("estimator")
    for outcome in answer.estimates:
        table.add_column(f"{outcome} [95 % CI]", justify="right")
    estimators = next(iter(answer.estimates.values()))
    for estimator in estimators:
        found = [answer.estimates[outcome][estimator] for outcome in answer.estimates]
        table.add_row(estimator, *("refused" if x.interval is None else str(x.interval) for x in found))
    table.add_row(
        "(the loggers themselves)", *(str(answer.logged[outcome]) for outcome in answer.estimates), style="dim"
    )
    if truth is not None:
        table.add_row("(in the simulator)", *(str(truth[outcome]) for outcome in answer.estimates), style="dim")
    return table


def answer_words(answer: Answer) -> Iterator[str]:
    """What to think of the answer, a line each.

    Args:
      answer: about a policy.

    Yields:
      Lines.
    """
    for kind, size in answer.effective_tasks.items():
        mean = answer.mean_weight[kind]
        yield f"Weights ({kind}): worth {size:,.1f} tasks, mean {mean.estimate:.3f} [{mean.low:.3f}, {mean.high:.3f}]"
    yield f"Choices that the logs hardly have: {100 * answer.unlogged:.1f} %"
    refusals: dict[str, list[str]] = {}
    for estimator, found in next(iter(answer.estimates.values())).items():
        if found.interval is None:
            refusals.setdefault(found.refused, []).append(estimator)
    for reason, refused in refusals.items():
        yield f"Refused ({', '.join(refused)}): {reason}."
    if any("direct" in found for found in answer.estimates.values()):
        yield "direct is experimental: its intervals contain the truth less often than they say."
    for warning in answer.warnings:
        yield f"Warning: {warning}."
