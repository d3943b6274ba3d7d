"""Tables of scenarios, which need nothing of what plays in them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from aljax.fields import Declared
from aljax.overrides import COLUMNS, FIELDS, SETTABLE
from aljax.params import COMPONENTS, EnvParams
from aljax.rules.words import described
from aljax.scenario import Scenario
from aljax.tables import in_short, new_table


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
      Three tables; more where the scenario has rules or intervals, and where the file names sources.
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
    unsure = [interval_table(scenario)] if scenario.doubts else []
    return [actions, task, cost, *rules, *unsure, *([sources] if scenario.sources else [])]


def interval_table(scenario: Scenario) -> Table:
    """The numbers of a scenario that are not known for certain, a row each.

    Args:
      scenario: which has some.

    Returns:
      The table.
    """
    table = new_table("What is not known for certain: 95 % intervals", False)
    for column in ("number", "is", "from", "to"):
        table.add_column(column, justify="left" if column == "number" else "right")
    for doubt in scenario.doubts:
        table.add_row(doubt.key, *map(in_short, (doubt.value, doubt.low, doubt.high)))
    return table


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
