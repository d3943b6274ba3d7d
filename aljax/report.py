"""Tables for the terminal and for files."""

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from aljax.breaker import Tuned
from aljax.env import COMPONENTS, EnvParams
from aljax.evaluate import Spread, Summary
from aljax.fields import Declared
from aljax.host.terminal import LiteralConsole
from aljax.overrides import COLUMNS, FIELDS, SETTABLE
from aljax.rules.words import described
from aljax.scenario import Scenario, shipped_text
from aljax.statistics import Interval

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


_UNFOLDED = 100_000  # columns: a folded cell would be a row of its own in Markdown


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


def scenario_list(scenarios: Iterable[Scenario]) -> Table:
    """The shipped scenarios, a row each.

    Args:
      scenarios: in this order.

    Returns:
      The table.
    """
    table = new_table("Scenarios", False)
    for column in ("name", "actions", "coordinates", "horizon", "what it is"):
        table.add_column(column, justify="right" if column in ("actions", "coordinates", "horizon") else "left")
    for scenario in scenarios:
        numbers = (len(scenario.action_names), len(scenario.coordinate_names), scenario.horizon)
        table.add_row(scenario.name, *map(str, numbers), scenario.title)
    return table


def scenario_tables(scenario: Scenario) -> list[Table]:
    """One scenario: its actions, its task, its weights, and where the numbers come from.

    Args:
      scenario: which.

    Returns:
      Three tables; more where the scenario has rules, and where the file names sources.
    """
    params, names = scenario.params, scenario.coordinate_names
    columns = {name: field for name, field in COLUMNS.items() if getattr(params.actions, name) is not None}
    shown = {name: field for name, field in columns.items() if field.heading}
    actions = new_table("Actions", False)
    actions.add_column("action")
    actions.add_column("kind")
    for field in shown.values():
        actions.add_column(field.heading, justify="left" if "d" in field.axes else "right")
    for i, (action, kind) in enumerate(zip(scenario.action_names, scenario.kinds, strict=True)):
        row = {name: np.asarray(getattr(params.actions, name))[i] for name in columns}
        actions.add_row(action, kind, *(_cell(row, name, field, names) for name, field in shown.items()))
    fields = {name: FIELDS[name] for name in SETTABLE if name in FIELDS and getattr(params, name) is not None}
    shown = {name: field for name, field in fields.items() if field.heading}
    vectors = {name: field for name, field in shown.items() if field.axes}
    task = new_table("Task", False)
    task.add_column("coordinate")
    for heading in ("starts", *(field.heading for field in vectors.values())):
        task.add_column(heading, justify="right")
    for i, name in enumerate(names):
        task.add_row(
            name, _starts(params, i), *(_said(getattr(params, vector)[i], vectors[vector]) for vector in vectors)
        )
    scalars = {name: field for name, field in shown.items() if not field.axes}
    cost = new_table("Cost weights λ and limits", False)
    for heading in (*COMPONENTS, *(field.heading for field in scalars.values())):
        cost.add_column(heading, justify="right")
    limits = (_said(getattr(params, name), field) for name, field in scalars.items())
    cost.add_row(*(in_short(weight) for weight in np.asarray(params.weights)), *limits)
    sources = new_table("Where the numbers come from", False)
    sources.add_column("key")
    sources.add_column("source", overflow="fold")
    for key, text in scenario.sources.items():
        sources.add_row(key, text)
    rules = [rule_table(scenario)] if scenario.rule_names else []
    return [actions, task, cost, *rules, *([sources] if scenario.sources else [])]


def rule_table(scenario: Scenario) -> Table:
    """The rules of a scenario, a row each.

    Args:
      scenario: which has some.

    Returns:
      The table.
    """
    table = new_table("Rules", False)
    for column in ("rule", "says", "counts", "if it is not kept"):
        table.add_column(column, overflow="fold")
    for name, text in described(scenario).items():
        table.add_row(name, *text.split("; "))
    return table


def show(console: Console, tables: Iterable[Table]) -> None:
    """Prints tables, each under its title on a line of its own: inside a narrow table a title would be folded.

    Args:
      console: where to.
      tables: in this order.
    """
    for table in tables:
        title, table.title = table.title, None
        console.print(title, style="bold", soft_wrap=True)
        console.print(table)
        table.title = title


def markdown(tables: Iterable[Table]) -> str:
    """Tables as text for a file; what Markdown would read in a name is escaped, so that a cell stays a cell.

    Args:
      tables: made plain (`new_table`).

    Returns:
      Markdown, a line a row.
    """
    stream = io.StringIO()
    show(_MarkdownConsole(file=stream, width=_UNFOLDED, color_system=None), tables)
    return "\n".join(line.rstrip() for line in stream.getvalue().strip().splitlines()) + "\n"


class _MarkdownConsole(LiteralConsole):
    """Writes Markdown: every string on one line."""

    def shown(self, text: str) -> str:
        """See `LiteralConsole.shown`."""
        return re.sub(r"[\\|<`*]", r"\\\g<0>", super().shown(text).replace("\n", "\\n"))


def new_table(title: str, plain: bool) -> Table:
    """An empty table with a title; `plain`: as Markdown.

    Args:
      title: above it.
      plain: drawn as Markdown.

    Returns:
      A table without columns.
    """
    return Table(title=title, box=box.MARKDOWN if plain else box.SIMPLE_HEAD, title_justify="left", title_style="bold")


def _said(value: Any, field: Declared) -> str:
    """One value of a field, for a table."""
    if field.check == "flag":
        return "yes" if value else "no"
    return str(value) if field.check == "count" else in_short(value)


def _cell(row: Mapping[str, Any], column: str, field: Declared, names: Sequence[str]) -> str:
    """What a row has in a column, for a table: of a column with a number a coordinate, all that it says."""
    if "d" not in field.axes:
        return _said(row[column], field)
    if field.check == "flag":
        return ", ".join(name for name, flag in zip(names, row[column], strict=True) if flag) or "nothing"
    return _effect(row, names)


def _starts(params: EnvParams, i: int) -> str:
    """Where a coordinate starts, in words."""
    low, high = (in_short(side[i]) for side in (params.start_low, params.start_high))
    box = low if low == high else f"{low} to {high}"
    if params.start_points is None:
        return box
    points = np.asarray(params.start_points)[:, i]
    several = f"one of {len(points)} points from {in_short(points.min())} to {in_short(points.max())}"
    return several if box == "0" else f"{box}, and {several}"


def _effect(row: Mapping[str, Any], names: Iterable[str]) -> str:
    """What a row's success does, in words."""
    if not row["allowed"]:
        return "not allowed"
    if row["ends"]:
        return "ends, all resolved" if row["resolves"] else "ends as it stands"
    parts = []
    for name, gain, shift in zip(names, row["gain"], row["shift"], strict=True):
        if gain != 1 or shift != 0:
            factor = "" if gain == 1 else f"× {in_short(gain)}"
            parts.append(" ".join(filter(None, (name, factor, f"{shift:+.4g}" if shift else ""))))
    if row["reveals"]:
        parts.append("clears the misreading")
    return ", ".join(parts) or "nothing"


def in_short(value: Any) -> str:
    """A number with four digits, for a table.

    Args:
      value: anything that is a number.

    Returns:
      Its text.
    """
    return f"{float(value):.4g}"
