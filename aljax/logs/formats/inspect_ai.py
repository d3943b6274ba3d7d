"""Inspect's logs of evaluations: a sample is an episode; its events say what was called, in older logs its messages."""

import functools
from collections.abc import Mapping
from typing import Any

from aljax.logs.formats.messages import take_messages
from aljax.logs.formats.source import Source
from aljax.logs.spans import Intake, Span
from aljax.logs.values import error_class, table, text


def _recognises(document: Any) -> bool:
    """Whether a document is a log of Inspect's."""
    return isinstance(document, dict) and isinstance(document.get("eval"), dict) and (
        "samples" in document or "version" in document
    )  # fmt: skip


def _read(document: Any, intake: Intake) -> None:
    """Takes the samples of a document."""
    intake.each(
        document.get("samples"), functools.partial(_take_sample, intake, table(document.get("eval"))), "samples"
    )


def _take_sample(intake: Intake, about: Mapping[str, Any], sample: dict[str, Any]) -> None:
    number, epoch = text(sample.get("id")), text(sample.get("epoch")) or "1"
    if number is None:
        intake.skip("samples without an id")
        return
    task = text(about.get("task")) or "task"
    run = text(about.get("run_id")) or text(about.get("eval_id")) or text(about.get("created")) or task
    trace = f"{run}/{number}/{epoch}"
    intake.note(trace, "task", f"{task}/{number}")
    intake.note(trace, "logger", text(about.get("model")))
    for name, score in table(sample.get("scores")).items():
        value = score.get("value") if isinstance(score, dict) else score
        intake.score(trace, name, value)
        if name != "success":
            intake.score(trace, "success", value)
    intake.note(trace, "seconds", intake.amount(sample.get("total_time")))
    intake.note(
        trace, "reason", text(table(sample.get("limit")).get("type")) or ("error" if sample.get("error") else None)
    )
    if sample.get("events"):
        intake.note(trace, "events", "all")
        intake.each(sample["events"], functools.partial(_take_event, intake, trace, None), "events")
    else:
        take_messages(intake, trace, sample.get("messages"))  # events may follow, where a sample comes in pieces


def _take_event(intake: Intake, trace: str, parent: str | None, event: dict[str, Any]) -> None:
    sort = event.get("event")
    if sort not in ("tool", "model"):
        return
    if event.get("pending"):
        intake.skip("pending events")
        return
    start, end = intake.moment(event.get("timestamp")), intake.moment(event.get("completed"))
    output = table(event.get("output"))
    took = intake.amount(event.get("working_time", output.get("time")))
    if end is None and start is not None and took is not None:
        end = start + int(took * 1e9)
    error = event.get("error")
    failed = bool(error)
    name = text(event.get("uuid")) or f"{sort} {text(event.get('id')) or ''} {text(event.get('timestamp')) or ''}"
    span = Span(trace, name, parent, start, end, failed=failed)
    if failed:
        span = span._replace(error=text(error.get("type"), 80) if isinstance(error, dict) else error_class(error))
    if sort == "tool":
        span = span._replace(kind="tool", name=text(event.get("function")))
        intake.each(event.get("events"), functools.partial(_take_event, intake, trace, name), "events")
    else:
        usage = table(output.get("usage"))
        span = span._replace(
            kind="llm",
            in_tokens=intake.amount(usage.get("input_tokens")),
            out_tokens=intake.amount(usage.get("output_tokens")),
            dollars=intake.amount(usage.get("total_cost")),
            model=text(event.get("model")),
        )
    intake.span(span)


SOURCE = Source("inspect", _recognises, _read, "Inspect's logs with eval and samples")
"""Inspect."""
