"""What means do not say of evaluated policies: percentiles and CVaR of the cost, and whether promises are kept."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from aljax.evaluate import Evaluation
from aljax.learning.risk import Risk, cvar
from aljax.options import Hyperparameters, TrainConfig
from aljax.promises import Constraint, constraints_of
from aljax.statistics import Interval, mean_interval
from aljax.tables import new_table


@dataclasses.dataclass(frozen=True)
class Kept:
    """One promise, and how one policy keeps it."""

    constraint: Constraint
    value: Interval
    """What is bounded, over all episodes."""

    @property
    def slack(self) -> float:
        """By how much the value is below its bound; below 0: the promise is broken."""
        return self.constraint.bound - self.value.estimate


@dataclasses.dataclass(frozen=True)
class Tail:
    """One policy's row."""

    p50: float
    """Half of the episodes cost more."""
    p95: float
    """5 % of them do."""
    cvar: Interval
    """The mean of each seed's worst share, over seeds."""
    kept: tuple[Kept, ...]
    """A promise each, in the order in which they were given."""

    def to_json(self) -> dict[str, Any]:
        """As in ``metrics.json``."""
        found: dict[str, Any] = {"p50": self.p50, "p95": self.p95, "cvar": self.cvar.to_json()}
        promises = {each.constraint.name: each for each in self.kept}
        found["constraints"] = {
            name: each.value.to_json() | {"bound": each.constraint.bound, "slack": each.slack}
            for name, each in promises.items()
        }
        return found


@dataclasses.dataclass(frozen=True)
class Tails:
    """All policies' rows, and what was learned of thresholds and multipliers."""

    alpha: float
    """Of CVaR."""
    rows: Mapping[str, Tail]
    """By policy."""
    learned: Risk | None
    """Leading seed axis; None: nothing was trained here."""

    def to_json(self) -> dict[str, Any]:
        """As in ``metrics.json``."""
        found: dict[str, Any] = {"alpha": self.alpha, "policies": {n: row.to_json() for n, row in self.rows.items()}}
        if self.learned is not None:
            names = ("threshold", "multipliers")
            known = {name: getattr(self.learned, name) for name in names}
            found |= {name: np.asarray(x).tolist() for name, x in known.items() if x is not None}
        return found


def tails_of(
    evaluations: Mapping[str, Evaluation],
    config: TrainConfig,
    hyperparameters: Hyperparameters,
    trained: str,
    learned: Risk | None = None,
) -> Tails | None:
    """Percentiles, CVaR and promises of evaluated policies.

    Args:
      evaluations: by policy.
      config: of the run, which says what was asked for.
      hyperparameters: likewise, α.
      trained: the policy that differs from seed to seed: seeds, not episodes, are what repeats itself.
      learned: thresholds and multipliers at the end of training.

    Returns:
      The rows; None where the objective is the mean and nothing is promised.
    """
    constraints = constraints_of(config)
    if config.objective == "mean" and not constraints:
        return None
    rows = {}
    for name, found in evaluations.items():
        total = np.asarray(found.outcome.total, np.float64)
        kept = tuple(
            Kept(each, mean_interval(each.values(found.outcome.costs), by_seed=name == trained)) for each in constraints
        )
        p50, p95 = np.quantile(total, [0.5, 0.95])
        tail = mean_interval(cvar(total, hyperparameters.alpha)[:, None], by_seed=True)
        rows[name] = Tail(float(p50), float(p95), tail, kept)
    return Tails(hyperparameters.alpha, rows, learned)


def tail_table(tails: Tails, *, plain: bool = False) -> Table:
    """Percentiles, CVaR and promises, a row a policy.

    Args:
      tails: the rows.
      plain: without colours, for a file.

    Returns:
      The table.
    """
    table = new_table(f"Tails of the total cost, CVaR of the worst {100 * tails.alpha:g} %, and promises", plain)
    table.add_column("policy")
    for heading in ("p50", "p95", "CVaR [95 % CI]"):
        table.add_column(heading, justify="right")
    for each in next(iter(tails.rows.values())).kept:
        table.add_column(f"{each.constraint.name} ≤ {each.constraint.bound:g} [95 % CI]", justify="right")
        table.add_column("slack", justify="right")
    for name, row in tails.rows.items():
        promises = [cell for each in row.kept for cell in (str(each.value), f"{each.slack:.4f}")]
        table.add_row(name, f"{row.p50:.4f}", f"{row.p95:.4f}", str(row.cvar), *promises)
    return table
