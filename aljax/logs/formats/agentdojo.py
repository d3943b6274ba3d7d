"""AgentDojo's runs: a file a task, with its messages."""

import functools
from typing import Any

from aljax.logs.formats.messages import take_messages
from aljax.logs.formats.source import Source
from aljax.logs.spans import Intake
from aljax.logs.values import rows, text

_NEEDED = {"suite_name", "pipeline_name", "user_task_id", "messages"}


def _recognises(document: Any) -> bool:
    """Whether a document is a run, or a list of them."""
    return any(row.keys() >= _NEEDED for row in _runs(document)[:5])


def _runs(document: Any) -> list[dict[str, Any]]:
    return [document] if isinstance(document, dict) else rows(document)


def _read(document: Any, intake: Intake) -> None:
    """Takes the runs of a document."""
    intake.each(_runs(document), functools.partial(_take, intake), "runs")


def _take(intake: Intake, row: dict[str, Any]) -> None:
    pipeline, suite, task = (text(row.get(key)) or "?" for key in ("pipeline_name", "suite_name", "user_task_id"))
    attack, injection = (text(row.get(key)) for key in ("attack_type", "injection_task_id"))
    trace = "/".join((pipeline, suite, task, *(part for part in (attack, injection) if part and part != "none")))
    intake.note(trace, "task", f"{suite}/{task}")
    intake.note(trace, "logger", pipeline)
    intake.note(trace, "seconds", intake.amount(row.get("duration")))
    if row.get("utility") is not None:
        intake.score(trace, "utility", row["utility"])
    if row.get("error"):
        intake.note(trace, "reason", "error")
    take_messages(intake, trace, row["messages"])


SOURCE = Source("agentdojo", _recognises, _read, "AgentDojo's runs with suite_name and pipeline_name")
"""AgentDojo."""
