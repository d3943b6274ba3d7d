"""OpenTelemetry in OTLP/JSON, as a collector, an SDK or Tempo writes it: groups of spans under what made them."""

import functools
from collections.abc import Mapping
from typing import Any

from aljax.logs.formats.attributes import AGENTS, SESSIONS, WANTED, evaluated, first, kind_of, name_of, spent
from aljax.logs.formats.source import Source
from aljax.logs.spans import ODD, Intake, Span
from aljax.logs.values import error_class, hexadecimal, rows, text

_GROUPS = ("resourceSpans", "resource_spans", "batches")
_LOGS = "resourceLogs"
_SCOPES = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans")
ERRORS = frozenset({2, "2", "STATUS_CODE_ERROR", "ERROR", "Error", "error"})
"""How a failed status is written."""


def _recognises(document: Any) -> bool:
    """Whether a document is OTLP."""
    return isinstance(document, dict) and any(isinstance(_inner(document).get(key), list) for key in (*_GROUPS, _LOGS))


def _inner(document: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = document.get("trace")
    return inner if isinstance(inner, dict) else document


def _read(document: Any, intake: Intake) -> None:
    """Takes the spans of a document."""
    wanted = WANTED if intake.task is None else WANTED | {intake.task}
    for key in _GROUPS:
        for group in rows(_inner(document).get(key)):
            resource = group.get("resource")
            about = flat(resource.get("attributes")) if isinstance(resource, dict) else {}
            service = service_of(about)
            for scopes in _SCOPES:
                for scope in rows(group.get(scopes)):
                    intake.each(scope.get("spans"), functools.partial(_take, intake, service, wanted))
    for group in rows(_inner(document).get(_LOGS)):
        for scope in rows(group.get("scopeLogs")):
            intake.each(scope.get("logRecords"), functools.partial(_take_record, intake), "records")


def _take_record(intake: Intake, row: dict[str, Any]) -> None:
    """Takes an evaluation that is an event of its own; other records of logs say nothing of calls."""
    if row.get("eventName") == "gen_ai.evaluation.result":
        trace = hexadecimal(row.get("traceId"))
        if trace:
            evaluated(intake, trace, flat(row.get("attributes")))


def _take(intake: Intake, service: str | None, wanted: frozenset[str], row: dict[str, Any]) -> None:
    status = row.get("status")
    events = row.get("events")
    take_span(
        intake,
        trace=hexadecimal(row.get("traceId") or row.get("trace_id")),
        span=hexadecimal(row.get("spanId") or row.get("span_id")),
        parent=hexadecimal(row.get("parentSpanId") or row.get("parent_span_id")),
        name=row.get("name"),
        start=_time(intake, row.get("startTimeUnixNano") or row.get("start_time_unix_nano")),
        end=_time(intake, row.get("endTimeUnixNano") or row.get("end_time_unix_nano")),
        attributes=flat(row.get("attributes"), wanted),
        status=status if isinstance(status, dict) else {},
        events=[(event.get("name"), flat(event.get("attributes"))) for event in rows(events)] if events else (),
        service=service,
    )


def _time(intake: Intake, value: Any) -> int | None:
    found = nanoseconds(value)
    if found is None and value not in (None, "", "0"):
        intake.skip("times that are none")
    return found


def nanoseconds(value: Any) -> int | None:
    """A moment as OTLP has it: nanoseconds, as a number or text; 0 is none.

    Args:
      value: any.

    Returns:
      Nanoseconds; none: it is no moment.
    """
    try:
        found = int(value) if type(value) is int or len(value) < 30 else 0
    except (TypeError, ValueError):
        return None
    return found if 0 < found < 2**62 else None


def service_of(resource: Mapping[str, Any]) -> str | None:
    """The name of what ran, unless nobody gave it one.

    Args:
      resource: attributes of what made the spans.

    Returns:
      The service's name.
    """
    found = text(resource.get("service.name"))
    return None if found is None or found.startswith("unknown_service") else found


def flat(attributes: Any, wanted: frozenset[str] = WANTED) -> dict[str, Any]:
    """Attributes by key: those of a table, or those wanted of a list of keys and typed values.

    Args:
      attributes: of a span, an event or a resource.
      wanted: keys.

    Returns:
      Values; what is of a wrong type is left out.
    """
    if not isinstance(attributes, list):
        return attributes if isinstance(attributes, dict) else {}
    found = {}
    for pair in attributes:
        try:
            key = pair["key"]
            if key in wanted:
                value = pair["value"]
                if "stringValue" in value:
                    found[key] = value["stringValue"]
                elif "intValue" in value:
                    found[key] = int(value["intValue"])
                else:
                    found[key] = value.get("doubleValue", value.get("boolValue"))
        except ODD:
            continue
    return found


def take_span(
    intake: Intake,
    *,
    trace: str | None,
    span: str | None,
    parent: str | None,
    name: Any,
    start: int | None,
    end: int | None,
    attributes: Mapping[str, Any],
    status: Mapping[str, Any],
    events: Any,
    service: str | None,
) -> None:
    """Takes a span of OpenTelemetry's, however it was written.

    Args:
      intake: where to.
      trace: its trace's id.
      span: its own.
      parent: of the span around it.
      name: its own.
      start: nanoseconds since 1970.
      end: nanoseconds since 1970.
      attributes: by key.
      status: ``code`` or ``status_code``, and a message.
      events: names with attributes.
      service: what ran.
    """
    if not trace or not span:
        intake.skip("spans without an id or a trace")
        return
    kind = kind_of(attributes, name)
    failure = failure_of(attributes, status, events)
    for event, about in events:
        if event == "gen_ai.evaluation.result":
            evaluated(intake, trace, about)
    intake.about(trace, attributes)
    session = text(first(attributes, SESSIONS))
    if session is not None:
        intake.note(trace, "session", session)
    if parent is None and service is not None:
        intake.note(trace, "root", service)
    agent = text(first(attributes, AGENTS)) if kind == "agent" else None
    if kind in ("tool", "escalate"):
        intake.span(
            Span(trace, span, parent, start, end, kind, name_of(kind, attributes, name), failure is not None, failure)
            if failure is not None or end is not None
            else Span(trace, span, parent, start, end, kind, name_of(kind, attributes, name))
        )
    elif kind == "llm":
        failed = True if failure is not None else None
        known = spent(intake, attributes)
        intake.span(Span(trace, span, parent, start, end, kind, text(name), failed, failure, **known))
    else:
        intake.span(Span(trace, span, parent, start, end, agent=agent))


def failure_of(attributes: Mapping[str, Any], status: Mapping[str, Any], events: Any) -> str | None:
    """The class of a span's failure.

    Args:
      attributes: the span's.
      status: the span's.
      events: the span's.

    Returns:
      The class; none: it did not fail.
    """
    raised = next((about for event, about in events if event == "exception"), None) if events else None
    named = attributes.get("error.type")
    if raised is None and named is None:
        if not status:
            return None
        code = status.get("code", status.get("status_code"))
        if isinstance(code, dict | list) or code not in ERRORS:
            return None
        return error_class(status.get("message") or status.get("description"))
    found = text(named if named is not None else (raised or {}).get("exception.type"), 80)
    return (found or "").rpartition(".")[2] or "error"


SOURCE = Source("otlp", _recognises, _read, "OTLP/JSON with resourceSpans or batches")
"""OTLP/JSON."""
