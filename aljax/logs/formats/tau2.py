"""τ²-bench's results: simulations of an agent, a user and their tools."""

import functools
from collections.abc import Mapping
from typing import Any

from aljax.logs.formats.messages import take_messages
from aljax.logs.formats.source import Source
from aljax.logs.spans import Intake
from aljax.logs.values import rows, table, text

_WHOLE = 1 - 1e-6
"""A reward so near to 1 is all of it; the benchmark counts nothing else as a success."""


def _recognises(document: Any) -> bool:
    """Whether a document is a file of results, or a simulation."""
    return any({"task_id", "messages"} <= row.keys() for row in _simulations(document)[:5])


def _simulations(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        return rows(document)
    return rows(document["simulations"]) if "simulations" in document else [document]


def _read(document: Any, intake: Intake) -> None:
    """Takes the simulations of a document."""
    info = table(document.get("info")) if isinstance(document, dict) else {}
    if isinstance(document, dict) and "simulations" not in document and "messages" not in document:
        return  # a piece of the tasks' descriptions
    intake.each(_simulations(document), functools.partial(_take, intake, info), "simulations")


def _take(intake: Intake, info: Mapping[str, Any], row: dict[str, Any]) -> None:
    agent, domain = table(info.get("agent_info")), text(table(info.get("environment_info")).get("domain_name"))
    logger = text(agent.get("llm")) or text(agent.get("implementation"))
    task = "/".join(filter(None, (domain, text(row.get("task_id")))))
    trace = text(row.get("id")) or "/".join(filter(None, (logger, task, text(row.get("trial")) or "0")))
    intake.note(trace, "task", task)
    intake.note(trace, "logger", logger)
    intake.note(trace, "seconds", intake.amount(row.get("duration")))
    intake.note(trace, "reason", text(row.get("termination_reason")))
    reward = intake.amount(table(row.get("reward_info")).get("reward"))
    if reward is not None:
        intake.score(trace, "reward", reward >= _WHOLE)
    take_messages(intake, trace, row.get("messages"), turns=True)


SOURCE = Source("tau2", _recognises, _read, "τ²-bench's simulations with task_id and messages")
"""τ²-bench."""
