"""Langfuse's exports: a trace with its observations, lists of the API, rows of the blob storage, scores."""

import functools
from collections.abc import Mapping
from typing import Any

from aljax.logs.formats.attributes import kind_of, name_of
from aljax.logs.formats.source import Source
from aljax.logs.spans import Intake, Span
from aljax.logs.values import error_class, rows, table, text

_KINDS = {"TOOL": "tool", "GENERATION": "llm", "AGENT": "agent"}
_TYPES = frozenset({*_KINDS, "SPAN", "EVENT", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL"})


def _of(row: Mapping[str, Any], camel: str) -> Any:
    """A field as the API calls it, or as rows of the blob storage do."""
    found = row.get(camel)
    return row.get("".join(f"_{c.lower()}" if c.isupper() else c for c in camel)) if found is None else found


def _recognises(document: Any) -> bool:
    """Whether a document is an export, a page of the API, or a row of the blob storage."""
    return any(_sort(row) for row in _parts(document)[:5])


def _parts(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, dict):
        return rows(document["data"]) if isinstance(document.get("data"), list) else [document]
    return rows(document)


def _sort(row: Mapping[str, Any]) -> str | None:
    """What a row tells of."""
    if isinstance(row.get("observations"), list) and ("trace" in row or "id" in row or len(row) == 1):
        return "whole"
    if row.get("type") in _TYPES and _of(row, "traceId") and _of(row, "startTime"):
        return "observation"
    if {"name", "value", "source"} <= row.keys() and (_of(row, "traceId") or _of(row, "sessionId")):
        return "score"
    if {"id", "timestamp"} <= row.keys() and (
        "sessionId" in row or "session_id" in row or isinstance(row.get("trace"), dict)
    ):
        return "trace"
    return "whole" if isinstance(row.get("trace"), dict) and "timestamp" in row["trace"] else None


def _read(document: Any, intake: Intake) -> None:
    """Takes the observations of a document."""
    intake.each(_parts(document), functools.partial(_take, intake), "rows")


def _take(intake: Intake, row: dict[str, Any]) -> None:
    sort = _sort(row)
    if sort == "observation":
        _take_observation(intake, None, row)
    elif sort == "score":
        _take_score(intake, None, row)
    elif sort == "trace":
        _take_trace(intake, row)
    elif sort == "whole":
        inner = row.get("trace")
        trace = inner if isinstance(inner, dict) else row
        _take_trace(intake, trace)
        name = text(trace.get("id"))
        found = row.get("observations", trace.get("observations"))
        intake.each(found, functools.partial(_take_observation, intake, name), "observations")
        intake.each(
            row.get("scores") if inner is not None else None, functools.partial(_take_score, intake, name), "scores"
        )
    else:
        intake.skip("rows that are neither observations, traces nor scores")


def _take_trace(intake: Intake, trace: Mapping[str, Any]) -> None:
    name = text(trace.get("id"))
    intake.note(name, "session", text(_of(trace, "sessionId")))
    intake.note(name, "root", text(trace.get("name")))
    intake.about(name, table(trace.get("metadata")), trace)
    intake.each(trace.get("scores"), functools.partial(_take_score, intake, name), "scores")


def _take_observation(intake: Intake, trace: str | None, row: dict[str, Any]) -> None:
    trace, name = text(_of(row, "traceId")) or trace, text(row.get("id"))
    if not trace or not name:
        intake.skip("observations without an id or a trace")
        return
    metadata = table(row.get("metadata"))
    attributes = table(metadata.get("attributes"))
    kind = _kind(row, metadata, attributes)
    intake.note(trace, "session", text(_of(row, "sessionId")))
    intake.note(trace, "root", text(_of(row, "traceName")))
    intake.about(trace, metadata, attributes)
    start, end = intake.moment(_of(row, "startTime")), intake.moment(_of(row, "endTime"))
    failed = True if row.get("level") == "ERROR" else False if end is not None else None
    span = Span(trace, name, text(_of(row, "parentObservationId")), start, end)
    if kind == "agent":
        span = span._replace(agent=text(row.get("name")))
    elif kind is not None:
        span = span._replace(
            kind=kind,
            name=text(row.get("name")) if kind == "llm" else name_of(kind, attributes, row.get("name")),
            failed=failed,
            error=error_class(_of(row, "statusMessage")) if failed else None,
        )
        if kind == "llm":
            span = span._replace(**_spent(intake, row))
    intake.span(span)


def _kind(row: Mapping[str, Any], metadata: Mapping[str, Any], attributes: Mapping[str, Any]) -> str | None:
    """What an observation is. Before there was a type for them, tools were spans that something else gave away."""
    if row.get("type") in _KINDS:
        return "escalate" if kind_of(attributes, None) == "escalate" else _KINDS[row["type"]]
    if row.get("type") != "SPAN":
        return None
    name = row.get("name")
    if isinstance(name, str) and name.startswith("running tool: "):
        return "tool"
    if metadata.get("langgraph_node") == "tools":  # the node that runs tools, and each tool within it
        return None if name == "tools" else "tool"
    found = kind_of(attributes, name)
    return None if found == "llm" else found


def _spent(intake: Intake, row: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens and dollars: in newer exports by what they were spent on, in older ones in fields of their own."""
    usage, older, cost = (table(_of(row, key)) for key in ("usageDetails", "usage", "costDetails"))
    dollars = intake.amount(cost.get("total"))
    if dollars is None and {"input", "output"} <= cost.keys():
        parts = [intake.amount(cost[key]) for key in ("input", "output")]
        dollars = None if None in parts else sum(part for part in parts if part is not None)
    whole = intake.amount(_of(row, "totalCost")) or intake.amount(row.get("calculatedTotalCost"))
    tokens = {
        field: next((found for found in map(intake.amount, places) if found is not None), None)
        for field, places in (
            ("in_tokens", (usage.get("input"), older.get("input"), older.get("promptTokens"), row.get("promptTokens"))),
            ("out_tokens", (usage.get("output"), older.get("output"), older.get("completionTokens"),
                            row.get("completionTokens"))),
        )
    }  # fmt: skip
    model = text(row.get("model")) or text(row.get("provided_model_name")) or text(row.get("providedModelName"))
    return tokens | {"dollars": dollars if dollars is not None else whole or None, "model": model}


def _take_score(intake: Intake, trace: str | None, row: dict[str, Any]) -> None:
    if _of(row, "observationId"):
        intake.skip("scores of single observations")
        return
    word = _of(row, "stringValue")
    value = word if word not in (None, "") else row.get("value")
    intake.score(text(_of(row, "traceId")) or trace or text(_of(row, "sessionId")), row.get("name"), value)


SOURCE = Source("langfuse", _recognises, _read, "Langfuse's traces with observations, or rows of them")
"""Langfuse."""
