"""MLflow's traces, as ``Trace.to_dict`` and ``Trace.to_json`` give them: attributes are JSON in texts."""

import functools
from typing import Any

from aljax.logs.formats.otlp import ERRORS, failure_of
from aljax.logs.formats.source import Source
from aljax.logs.spans import Intake, Span
from aljax.logs.values import hexadecimal, rows, table, text, unpacked

_KINDS = {"TOOL": "tool", "LLM": "llm", "CHAT_MODEL": "llm", "AGENT": "agent"}


def _recognises(document: Any) -> bool:
    """Whether a document is a trace, or a list of them."""
    return any(isinstance(row.get("info"), dict) and isinstance(row.get("data"), dict) for row in _traces(document)[:5])


def _traces(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, dict):
        return rows(document["traces"]) if isinstance(document.get("traces"), list) else [document]
    return rows(document)


def _read(document: Any, intake: Intake) -> None:
    """Takes the spans of a document."""
    intake.each(_traces(document), functools.partial(_take_trace, intake), "traces")


def _take_trace(intake: Intake, row: dict[str, Any]) -> None:
    info = table(row.get("info"))
    trace = text(info.get("trace_id")) or text(info.get("request_id"))
    if trace is None:
        intake.skip("traces without an id")
        return
    metadata = table(info.get("trace_metadata")) or table(info.get("request_metadata"))
    intake.note(trace, "session", text(metadata.get("mlflow.trace.session")))
    intake.note(trace, "root", text(table(info.get("tags")).get("mlflow.traceName")))
    intake.about(trace, table(info.get("tags")), metadata)
    for found in rows(info.get("assessments")):
        feedback = table(found.get("feedback"))
        if feedback and not found.get("span_id"):
            intake.score(trace, found.get("assessment_name", found.get("name")), feedback.get("value"))
    intake.each(table(row.get("data")).get("spans"), functools.partial(_take, intake, trace))


def _take(intake: Intake, trace: str, row: dict[str, Any]) -> None:
    context, attributes = table(row.get("context")), table(row.get("attributes"))
    name = hexadecimal(row.get("span_id", context.get("span_id")))
    if name is None:
        intake.skip("spans without an id or a trace")
        return
    intake.about(trace, {key: unpacked(value) for key, value in attributes.items() if key == intake.task})
    sort = unpacked(attributes.get("mlflow.spanType", row.get("span_type")))
    kind = _KINDS.get(sort) if isinstance(sort, str) else None
    span = Span(
        trace,
        name,
        hexadecimal(row.get("parent_span_id", row.get("parent_id"))),
        intake.moment(row.get("start_time_unix_nano", row.get("start_time"))),
        intake.moment(row.get("end_time_unix_nano", row.get("end_time"))),
    )
    if kind == "agent":
        span = span._replace(agent=text(row.get("name")))
    elif kind is not None:
        status = table(row.get("status")) or {"code": row.get("status_code"), "message": row.get("status_message")}
        events = [(event.get("name"), table(event.get("attributes"))) for event in rows(row.get("events"))]
        failure = failure_of(attributes, status, events) if status.get("code") in ERRORS else None
        failed = True if failure else False if span.end is not None else None
        usage = table(attributes.get("mlflow.chat.tokenUsage"))
        span = span._replace(kind=kind, name=text(row.get("name")), failed=failed, error=failure)
        if kind == "llm":
            cost = unpacked(attributes.get("mlflow.llm.cost"))
            span = span._replace(
                in_tokens=intake.amount(usage.get("input_tokens")),
                out_tokens=intake.amount(usage.get("output_tokens")),
                dollars=intake.amount(cost.get("total_cost") if isinstance(cost, dict) else cost),
                model=text(unpacked(attributes.get("mlflow.llm.model"))),
            )
    intake.span(span)


SOURCE = Source("mlflow", _recognises, _read, "MLflow's traces with info and data")
"""MLflow."""
