"""Jaeger's JSON: traces with spans whose attributes are tags, and moments microseconds."""

import functools
from collections.abc import Mapping
from typing import Any

from aljax.logs.formats.otlp import nanoseconds, take_span
from aljax.logs.formats.source import Source
from aljax.logs.spans import Intake
from aljax.logs.values import hexadecimal, rows, text


def _recognises(document: Any) -> bool:
    """Whether a document is of Jaeger's."""
    return any("traceID" in trace and isinstance(trace.get("spans"), list) for trace in _traces(document)[:5])


def _traces(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        return []
    return rows(document.get("data")) if isinstance(document.get("data"), list) else [document]


def _read(document: Any, intake: Intake) -> None:
    """Takes the spans of a document."""
    for trace in _traces(document):
        processes = trace.get("processes")
        about = processes if isinstance(processes, dict) else {}
        intake.each(trace.get("spans"), functools.partial(_take, intake, about, trace.get("traceID")))


def _take(intake: Intake, processes: Mapping[str, Any], trace: Any, row: dict[str, Any]) -> None:
    tags = _tags(row.get("tags"))
    start, duration = nanoseconds(row.get("startTime")), intake.amount(row.get("duration"))
    began = start * 1_000 if start is not None and start < 2**52 else None
    above = [link for link in rows(row.get("references")) if link.get("refType", "CHILD_OF") == "CHILD_OF"]
    failed = tags.get("otel.status_code") == "ERROR" or tags.get("error") in (True, "true")
    process = processes.get(row.get("processID") or "")
    take_span(
        intake,
        trace=hexadecimal(row.get("traceID", trace)),
        span=hexadecimal(row.get("spanID")),
        parent=hexadecimal(above[0].get("spanID") if above else row.get("parentSpanID")),
        name=row.get("operationName"),
        start=began,
        end=began + int(duration) * 1_000 if began is not None and duration is not None else None,
        attributes=tags,
        status={"code": 2, "message": tags.get("otel.status_description")} if failed else {},
        events=[(fields.get("event", fields.get("name")), fields) for fields in map(_fields, rows(row.get("logs")))],
        service=text(process.get("serviceName")) if isinstance(process, dict) else None,
    )


def _fields(log: Mapping[str, Any]) -> dict[str, Any]:
    return _tags(log.get("fields"))


def _tags(pairs: Any) -> dict[str, Any]:
    return {pair["key"]: pair.get("value") for pair in rows(pairs) if isinstance(pair.get("key"), str)}


SOURCE = Source("otlp", _recognises, _read, "Jaeger JSON with traceID and spans")
"""Jaeger's JSON."""
