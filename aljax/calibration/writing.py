"""The scenario's file: TOML, with the source of every number."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence

from aljax.calibration.counts import COLUMNS
from aljax.calibration.estimates import Estimate
from aljax.calibration.needs import UNSEEN, Needs

_DIGITS = 6
_ORDER = ("latency", "money", *COLUMNS, "failure_latency", "latency_spread")


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a scenario's file says."""

    name: str
    rows: Sequence[str]
    kinds: Sequence[str]
    covers: Mapping[str, Sequence[str]]
    """What a row stands for, where that is more than calls of its own name."""
    places: Sequence[str]
    """Rows with a coordinate, which has their name."""
    unexplained: str
    """The last coordinate's name."""
    columns: Mapping[str, Mapping[str, Estimate]]
    needs: Needs
    resolves: bool
    """A hand-over leaves nothing to do."""
    resolving: str
    """What says so."""
    horizon: int
    weights: Mapping[str, float]
    """λ."""
    declared: Mapping[str, float]
    """Those that the user gave."""
    runs: int
    warnings: Sequence[str]


def text_of(contents: Contents) -> str:
    """Writes a scenario.

    Args:
      contents: what it says.

    Returns:
      TOML.
    """
    return "\n".join([*_head(contents), *_actions(contents), *_intervals(contents), *_sources(contents)]) + "\n"


def _head(contents: Contents) -> Iterator[str]:
    tasks = len(contents.needs.tasks)
    points, weights = contents.needs.points()
    yield f"title = {_text(f'{contents.name}: calibrated from {contents.runs} episodes of {tasks} tasks')}"
    yield f"description = {_text(_about(contents))}"
    yield f"coordinates = {_list(map(_text, (*contents.places, contents.unexplained)))}"
    yield f"horizon = {contents.horizon}"
    yield "start_points = ["
    for point in points:
        yield f"  {_list(f'{x:g}' for x in point)},"
    yield "]"
    yield f"start_weights = {_list(_number(weight) for weight in weights)}"
    yield "blind = true"
    yield "tolerance = 0.5"
    yield "tolerance_low = inf"
    yield "auto_end = false"
    yield ""
    yield "[weights]"
    for component, weight in contents.weights.items():
        yield f"{component} = {_number(weight)}"


def _about(contents: Contents) -> str:
    said = (
        "Made by aljax calibrate. A tool's successful call takes 1 off its own coordinate: how many calls the task "
        f"still needs. {contents.unexplained} is what no count of calls brings into order: runs that failed although "
        "they had called as often as others that succeeded. What the log cannot say:"
    )
    return "\n".join([said, *(f"- {warning}." for warning in contents.warnings)])


def _actions(contents: Contents) -> Iterator[str]:
    for row, kind in zip(contents.rows, contents.kinds, strict=True):
        yield ""
        yield f"[actions.{_text(row)}]"
        yield f'kind = "{kind}"'
        if row in contents.covers:
            yield f"covers = {_list(map(_pattern, contents.covers[row]))}"
        for column in _ORDER:
            if column in contents.columns:
                yield f"{column} = {_number(contents.columns[column][row].value)}"
        if row in contents.places:
            yield f"shift = {{ {_text(row)} = -1.0 }}"
        if kind == "clarify":
            yield "reveals = false"
        if kind == "escalate" and not contents.resolves:
            yield "resolves = false"


def _intervals(contents: Contents) -> Iterator[str]:
    """What the log leaves open of the table: the 95 % intervals of its numbers."""
    ends = {
        f"actions.{row}.{column}": found
        for row in contents.rows
        for column in _ORDER
        if column in contents.columns and (found := _ends(contents.columns[column][row], column in COLUMNS))
    }
    if ends:
        yield ""
        yield "[intervals]"
        for key, (low, high) in ends.items():
            yield f"{_text(key)} = {_list(iter((low, high)))}"


def _ends(estimate: Estimate, probability: bool) -> tuple[str, str] | None:
    """An interval around a number as it is written; None: it is known, or nothing can be said of how well."""
    low, value, high = (float(_number(x)) for x in (estimate.low, estimate.value, estimate.high))
    if not low < high or low <= 0 or (probability and high >= 1):
        return None
    return _number(min(low, value)), _number(max(high, value))


def _sources(contents: Contents) -> Iterator[str]:
    needs = contents.needs
    weak = int(needs.weak.sum())
    told = (
        f"{len(needs.tasks)} tasks, weighted by their runs; {weak} of them weak (fewer than three runs, or no success)"
    )
    yield ""
    yield "[sources]"
    for key, source in {
        "coordinates": "assumed: a successful call takes 1 off its own; the last one is what calls do not explain",
        "horizon": "logged: the longest run",
        "start_points": "shrunk: bracketed by the runs that succeeded and those that failed; a call more or less of "
        f"what is needed counts like {UNSEEN:g} tasks; {told}",
        "start_weights": "logged: runs of the tasks",
        "blind": "assumed: what a task needs is seen by nobody before it is done",
        "tolerance": "assumed: half a call",
        "tolerance_low": "assumed: no call is one too many",
        "auto_end": "assumed: the agent says itself that it is done",
        "misread": "assumed", "drift": "assumed: nothing comes undone by itself", "start_low": "as start_points",
        "start_high": "as start_points", "z_scale": "assumed: the observation's units only",
        "latency_scale": "as z_scale", "money_scale": "as z_scale",
        "latency_budget": "assumed: none", "money_budget": "assumed: none",
        "actions": "assumed: what a call does to the task",
    }.items():  # fmt: skip
        yield f'"{key}" = {_text(source)}'
    for component in contents.weights:
        how = "declared" if component in contents.declared else "assumed: everything in dollars, see --weights"
        yield f'"weights.{component}" = "{how}"'
    for row, kind in zip(contents.rows, contents.kinds, strict=True):
        for column in _ORDER:
            if column in contents.columns:
                yield f"{_text(f'actions.{row}.{column}')} = {_text(contents.columns[column][row].source)}"
        if kind == "clarify":
            yield f"{_text(f'actions.{row}.reveals')} = " + '"assumed: an answer helps the task on, and shows no need"'
        if kind == "escalate" and contents.resolving:
            yield f"{_text(f'actions.{row}.resolves')} = {_text(contents.resolving)}"


def _text(text: str) -> str:
    """A basic string of TOML, which escapes as JSON does."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _pattern(name: str) -> str:
    """A pattern, as of a shell, of one name."""
    return _text(re.sub(r"([*?[])", r"[\1]", name))


def _list(parts: Iterator[str] | map) -> str:
    return f"[{', '.join(parts)}]"


def _number(value: float) -> str:
    return f"{float(value):.{_DIGITS}g}"
