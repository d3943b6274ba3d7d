"""OpenTelemetry's spans as objects of their own, as SDKs print them: Python's, JavaScript's, any-agent's lists of them.

Their attributes are OpenInference's as often as ``gen_ai``'s, so both names of format lead here. A row of a data frame
of Phoenix's is flattened: ``attributes.llm.token_count.prompt``, ``context.span_id``.
"""

import functools
from collections.abc import Mapping
from typing import Any

from aljax.logs.formats.attributes import WANTED
from aljax.logs.formats.otlp import flat, service_of, take_span
from aljax.logs.formats.source import Source
from aljax.logs.spans import Intake
from aljax.logs.values import hexadecimal, rows, table, text, unpacked

_FRAME = "context.span_id"


def _recognises(document: Any) -> bool:
    """Whether a document is a span, a row of a data frame, or a list of either."""
    return any(_is_span(row) for row in _spans(document)[:5])


def _recognises_openinference(document: Any) -> bool:
    """Whether such spans have OpenInference's attributes."""
    found = [row for row in _spans(document)[:50] if _is_span(row)]
    return any("openinference.span.kind" in _attributes(row) for row in found)


def _spans(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, dict):
        inner = next((document[key] for key in ("spans", "data") if isinstance(document.get(key), list)), None)
        return [document] if inner is None else rows(inner)
    return rows(document)


def _is_span(row: Mapping[str, Any]) -> bool:
    context = row.get("context", row.get("spanContext"))
    return _FRAME in row or (isinstance(context, dict) and ("span_id" in context or "spanId" in context))


def _attributes(row: Mapping[str, Any], task: str | None = None) -> dict[str, Any]:
    """A span's attributes, those of a data frame's columns and of tables within tables by their whole key."""
    found: dict[str, Any] = dict(flat(unpacked(row.get("attributes")), WANTED | {task} if task else WANTED))
    if _FRAME in row:
        for key, value in row.items():
            if key.startswith("attributes.") and value is not None:
                found[key.removeprefix("attributes.")] = value
    for key, value in list(found.items()):
        if isinstance(value, dict):
            _flatten(found, key, value, 6)
    return found


def _flatten(found: dict[str, Any], key: str, value: Any, depth: int) -> None:
    if isinstance(value, dict) and depth:
        for inner, what in value.items():
            _flatten(found, f"{key}.{inner}", what, depth - 1)
    else:
        found[key] = value


def _read(document: Any, intake: Intake) -> None:
    """Takes the spans of a document."""
    intake.each(_spans(document), functools.partial(_take, intake))


def _take(intake: Intake, row: dict[str, Any]) -> None:
    if not _is_span(row):
        intake.skip("rows that are no spans")
        return
    framed = _FRAME in row
    context = table(row.get("context", row.get("spanContext")))
    attributes = _attributes(row, intake.task)
    above = table(row.get("parent") or row.get("parentSpanContext"))
    parent = row.get("parent_id", row.get("parentSpanId", row.get("parentId")))
    trace = row["context.trace_id"] if framed else context.get("trace_id", context.get("traceId"))
    status = row.get("status", {"status_code": row.get("status_code"), "message": row.get("status_message")})
    resource = row.get("resource")
    trace_id = hexadecimal(trace)
    take_span(
        intake,
        trace=trace_id,
        span=hexadecimal(row[_FRAME] if framed else context.get("span_id", context.get("spanId"))),
        parent=hexadecimal(parent if parent is not None else above.get("span_id", above.get("spanId"))),
        name=row.get("name"),
        start=intake.moment(row.get("start_time", row.get("startTime"))),
        end=intake.moment(row.get("end_time", row.get("endTime"))),
        attributes=attributes | ({"openinference.span.kind": row["span_kind"]} if row.get("span_kind") else {}),
        status=status if isinstance(status, dict) else {"status_code": status},
        events=[(event.get("name"), table(event.get("attributes"))) for event in rows(unpacked(row.get("events")))],
        service=service_of(flat(resource.get("attributes"))) if isinstance(resource, dict) else None,
    )
    for key in row:
        if key.startswith(("evaluations.", "eval.")):
            name, _, part = key.partition(".")[2].rpartition(".")
            if part in ("label", "score") and text(row[key]) is not None:
                intake.score(trace_id, name, row[key])


OTEL = Source("otlp", _recognises, _read, "spans of OpenTelemetry with a context")
"""Spans as objects, with ``gen_ai``'s attributes."""
OPENINFERENCE = Source("openinference", _recognises_openinference, _read, "spans with openinference.span.kind")
"""Spans as objects, with OpenInference's attributes."""
