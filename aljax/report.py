"""Tables of what policies came to."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from rich.table import Table

from aljax.breaker import Tuned
from aljax.evaluate import Spread, Summary
from aljax.params import COMPONENTS
from aljax.scenario import Scenario, shipped_text
from aljax.statistics import Interval
from aljax.tables import in_short, new_table

PUBLISHED: Mapping[str, Mapping[str, Spread]] = {
    "latency": {
        "cost": Spread(69.5754, 0.4427),
        "success": Spread(0.0, 0.0),
        "latency": Spread(5.0, 0.0),
        "money": Spread(1.0, 0.0),
        "violation": Spread(32.5507, 0.2378),
        "failure": Spread(0.9992, 0.0317),
        "divergence": Spread(4.5498, 0.0694),
    },
    "cost_aware": {"cost": Spread(69.2179, 0.2527), "success": Spread(0.0, 0.0)},
    "learned": {
        "cost": Spread(10.2262, 0.0309),
        "success": Spread(0.9164, 0.0063),
        "latency": Spread(25.2705, 2.5569),
        "money": Spread(8.2974, 0.9205),
        "violation": Spread(0.4607, 0.2436),
        "failure": Spread(0.5896, 0.0497),
        "divergence": Spread(3.3124, 0.0310),
    },
}
"""The paper's Tables 1 and 2: mean and standard deviation over 5 seeds of 1,000 episodes."""


def metric_tables(
    scenario: Scenario, summaries: Mapping[str, Summary], *, plain: bool = False, breaker: Tuned | None = None
) -> list[Table]:
    """The paper's Table 1 (cost, success) and Table 2 (components), a row a policy.

    On the `paper` scenario as it ships, by whatever name, each published row stands under the measured one.

    Args:
      scenario: where the policies played.
      summaries: a row each, in this order.
      plain: without colours, for a file.
      breaker: among the policies; how it was chosen, if there is one, is a third table.

    Returns:
      The tables.
    """
    published = PUBLISHED if scenario.text == shipped_text("paper") and not scenario.overrides else {}
    what = f"{about(scenario)}, {of_seeds(summaries.values())}"
    first = new_table(f"Table 1. Total cost and success: {what}", plain)
    second = new_table(f"Table 2. Cost components, unweighted: {what}", plain)
    first.add_column("policy")
    second.add_column("policy")
    for table, names in ((first, ("cost", "success")), (second, COMPONENTS)):
        for name in names:
            table.add_column(name, justify="right")
    gaps = any(summary.gap is not None for summary in summaries.values())
    if gaps:
        first.add_column("above optimum, % [95 % CI]", justify="right")
    first.add_column("cost, IQM [95 % CI]", justify="right")
    for name, summary in summaries.items():
        gap = [percent(summary.gap) if summary.gap is not None else ""] if gaps else []
        first.add_row(name, *figures_of(summary, ("cost", "success")), *gap, str(summary.cost_iqm))
        second.add_row(name, *figures_of(summary, COMPONENTS))
        paper = published.get(name, {})
        for table, names in ((first, ("cost", "success")), (second, COMPONENTS)):
            if any(k in paper for k in names):
                row = [str(paper[k]) if k in paper else "" for k in names]
                table.add_row(f"  {name}, published", *row, style=None if plain else "dim")
    return [first, second, *([] if breaker is None else [breaker_table(breaker, plain)])]


def breaker_table(breaker: Tuned, plain: bool) -> Table:
    """What each circuit breaker of the grid cost, the best one marked.

    Args:
      breaker: the grid.
      plain: without colours, for a file.

    Returns:
      A row for each number of failures in a row, a column for each time that the breaker stays open.
    """
    table = new_table("Circuit breakers around cost_aware: cost by when they open (rows) and for how long", plain)
    rows, columns = (list(dict.fromkeys(values.tolist())) for values in (breaker.failures, breaker.seconds))
    table.add_column("failures in a row", justify="right")
    for seconds in columns:
        words = {0.0: "not at all", math.inf: "for good"}
        table.add_column(words.get(seconds, f"{in_short(seconds)} s"), justify="right")
    places = {each: place for place, each in enumerate(zip(breaker.failures, breaker.seconds, strict=True))}
    for failures in rows:
        cells = []
        for seconds in columns:
            place = places.get((failures, seconds))
            cost = "" if place is None else f"{breaker.costs[place]:.4f}"
            cells.append(f"{cost} best" if place == breaker.best else cost)
        table.add_row(str(failures), *cells)
    return table


def percent(gap: Interval) -> str:
    """A gap in percent, as precisely as it is known.

    Args:
      gap: in percent.

    Returns:
      The estimate, and its interval where that is known.
    """
    return f"{gap.estimate:.2f}" if np.isnan(gap.low) else f"{gap.estimate:.2f} [{gap.low:.2f}, {gap.high:.2f}]"


def of_seeds(summaries: Iterable[Summary]) -> str:
    """What a table's figures are.

    Args:
      summaries: the table's rows.

    Returns:
      Words for its title.
    """
    return "of one seed" if all(summary.single for summary in summaries) else "mean ± std over seeds"


def figures_of(summary: Summary, names: Iterable[str]) -> list[str]:
    """Some of a policy's figures: with their spread where there are seeds to spread over.

    Args:
      summary: of the policy.
      names: which: ``cost``, ``success`` or a component.

    Returns:
      A cell a name.
    """
    spreads = {"cost": summary.cost, "success": summary.success, **summary.components}
    return [f"{spreads[name].mean:.4f}" if summary.single else str(spreads[name]) for name in names]


def about(scenario: Scenario) -> str:
    """A scenario's name, and what of it was changed.

    Args:
      scenario: which.

    Returns:
      Words for a title.
    """
    return scenario.name + (f" with {', '.join(scenario.overrides)}" if scenario.overrides else "")
