"""LangSmith's runs: flat, one within the other, or as they are sent (posted when they begin, patched when they end)."""

import functools
from collections.abc import Mapping
from typing import Any

from aljax.logs.formats.source import Source
from aljax.logs.spans import Intake, Span
from aljax.logs.values import error_class, rows, table, text

_KINDS = {"tool": "tool", "llm": "llm"}
_LISTS = ("post", "patch", "runs", "data")


def _recognises(document: Any) -> bool:
    """Whether a document is a run, feedback on one, or a list of either."""
    return any(_is_run(row) or _is_feedback(row) for row in _runs(document)[:5])


def _runs(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        return rows(document)
    found = [row for key in _LISTS for row in rows(document.get(key))]
    return found or [document]


def _is_run(row: Mapping[str, Any]) -> bool:
    return "id" in row and ("run_type" in row or "dotted_order" in row)


def _is_feedback(row: Mapping[str, Any]) -> bool:
    return {"run_id", "key", "score"} <= row.keys()


def _read(document: Any, intake: Intake) -> None:
    """Takes the runs of a document."""
    intake.each(_runs(document), functools.partial(_take, intake), "runs")


def _take(intake: Intake, row: dict[str, Any]) -> None:
    waiting: list[tuple[dict[str, Any], str | None, str | None]] = [(row, None, None)]
    while waiting:
        run, above, trace = waiting.pop()
        if _is_feedback(run):
            intake.score(text(run.get("trace_id")) or text(run["run_id"]), run["key"], run["score"])
        elif not _is_run(run):
            intake.skip("rows that are no runs")
        else:
            trace = _take_run(intake, run, above, trace)
            waiting += [(child, text(run["id"]), trace) for child in rows(run.get("child_runs"))]


def _take_run(intake: Intake, run: Mapping[str, Any], above: str | None, trace: str | None) -> str | None:
    """Takes one run; gives its trace."""
    name, parent = text(run["id"]), text(run.get("parent_run_id")) or above
    order = run.get("dotted_order")
    root = order.partition(".")[0].partition("Z")[2] if isinstance(order, str) else ""
    trace = text(run.get("trace_id")) or trace or root or (name if parent is None else None)
    if not name or not trace:
        intake.skip("runs without an id or a trace")
        return trace
    metadata = table(table(run.get("extra")).get("metadata"))
    threads = (run.get("thread_id"), *(metadata.get(key) for key in ("thread_id", "session_id", "conversation_id")))
    intake.note(trace, "session", next(filter(None, map(text, threads)), None))
    intake.note(trace, "task", text(run.get("reference_example_id")))
    intake.about(trace, metadata, run if name == trace else {})
    if name == trace:
        intake.note(trace, "root", text(run.get("name")))
        for key, found in table(run.get("feedback_stats")).items():
            if isinstance(found, dict) and found.get("avg") is not None:
                intake.score(trace, key, found["avg"])
    intake.span(_span(intake, run, trace, name, parent, metadata))
    return trace


def _span(
    intake: Intake, run: Mapping[str, Any], trace: str, name: str, parent: str | None, metadata: Mapping[str, Any]
) -> Span:
    start, end, error = intake.moment(run.get("start_time")), intake.moment(run.get("end_time")), run.get("error")
    span = Span(trace, name, parent, start, end)
    kind = _KINDS.get(run["run_type"]) if isinstance(run.get("run_type"), str) else None
    outputs = table(run.get("outputs"))
    asks = isinstance(error, str) and "GraphInterrupt(" in error[:200]
    failed: bool | None = None
    if asks:
        failed = False
    elif error or run.get("status") == "error" or _refused(outputs):
        failed = True
    elif end is not None:
        failed = False
    # What is patched may not say of what type it is; what was posted does, and both become one.
    span = span._replace(failed=failed, error=error_class(error) if failed else None)
    if kind is not None:
        span = span._replace(kind="clarify" if asks and kind == "tool" else kind, name=text(run.get("name")))
    return span._replace(**_spent(intake, run, outputs, metadata)) if kind != "tool" else span


def _refused(outputs: Mapping[str, Any]) -> bool:
    """Whether a tool's output says that it failed, where the run does not."""
    inner = outputs.get("output")
    message = inner if isinstance(inner, dict) else outputs
    return message.get("status") == "error" or table(message.get("kwargs")).get("status") == "error"


def _spent(
    intake: Intake, run: Mapping[str, Any], outputs: Mapping[str, Any], metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Tokens, dollars and the model, from whichever place has them."""
    usages = [run, table(outputs.get("usage_metadata")), table(metadata.get("usage_metadata")), *_generated(outputs)]
    usages += [table(table(outputs.get("llm_output")).get("token_usage")), table(outputs.get("usage"))]

    def told(*keys: str) -> Any:
        values = (intake.amount(usage.get(key)) for usage in usages for key in keys)
        return next((value for value in values if value is not None), None)

    models = (metadata.get("ls_model_name"), outputs.get("model"))
    return {
        "in_tokens": told("prompt_tokens", "input_tokens"),
        "out_tokens": told("completion_tokens", "output_tokens"),
        "dollars": told("total_cost"),
        "model": next(filter(None, map(text, models)), None),
    }


def _generated(outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What messages that LangChain's models gave say of their usage."""
    found = outputs.get("generations")
    while isinstance(found, list) and found:
        found = found[0]
    message = table(table(found).get("message"))
    return [table(place.get("usage_metadata")) for place in (table(message.get("kwargs")), message)]


SOURCE = Source("langsmith", _recognises, _read, "LangSmith's runs with run_type")
"""LangSmith."""
