"""The OpenAI Agents SDK's traces and spans, as its processors and exporters give them."""

import functools
from typing import Any

from aljax.logs.formats.source import Source
from aljax.logs.spans import Intake, Span
from aljax.logs.values import error_class, rows, table, text

_KINDS = {"function": "tool", "generation": "llm", "response": "llm", "handoff": "escalate"}


def _recognises(document: Any) -> bool:
    """Whether a document is a trace, a span, or a list of them."""
    return any(row.get("object") in ("trace", "trace.span") for row in _items(document)[:5])


def _items(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, dict):
        return rows(document["data"]) if isinstance(document.get("data"), list) else [document]
    return rows(document)


def _read(document: Any, intake: Intake) -> None:
    """Takes the traces and spans of a document."""
    intake.each(_items(document), functools.partial(_take, intake))


def _take(intake: Intake, row: dict[str, Any]) -> None:
    if row.get("object") == "trace":
        intake.note(text(row.get("id")), "session", text(row.get("group_id")))
        intake.note(text(row.get("id")), "root", text(row.get("workflow_name")))
        intake.about(text(row.get("id")), table(row.get("metadata")), row)
        return
    trace, name, data = text(row.get("trace_id")), text(row.get("id")), table(row.get("span_data"))
    if row.get("object") != "trace.span" or not trace or not name:
        intake.skip("rows that are no spans")
        return
    span = Span(
        trace,
        name,
        text(row.get("parent_id")),
        intake.moment(row.get("started_at")),
        intake.moment(row.get("ended_at")),
    )
    sort = data.get("type")
    kind = _KINDS.get(sort) if isinstance(sort, str) else None
    if sort == "agent":
        span = span._replace(agent=text(data.get("name")))
    if kind is not None:
        error = row.get("error")
        failed = True if error else False if span.end is not None else None
        message = error.get("message") if isinstance(error, dict) else error
        span = span._replace(kind=kind, name=text(data.get("name")), failed=failed)
        span = span._replace(error=error_class(message) if failed else None)
    if kind == "escalate":
        span = span._replace(name=f"transfer_to_{text(data.get('to_agent')) or 'agent'}")
    if kind == "llm":
        usage = table(data.get("usage"))
        span = span._replace(
            in_tokens=intake.amount(usage.get("input_tokens", usage.get("prompt_tokens"))),
            out_tokens=intake.amount(usage.get("output_tokens", usage.get("completion_tokens"))),
            model=text(data.get("model")),
        )
    intake.span(span)


SOURCE = Source("openai_agents", _recognises, _read, "the Agents SDK's objects trace and trace.span")
"""The OpenAI Agents SDK."""
