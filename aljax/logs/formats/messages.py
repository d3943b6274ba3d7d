"""Conversations: messages of the model, of tools and of the user, one after the other, as benchmarks keep them."""

from collections.abc import Mapping
from typing import Any

from aljax.logs.spans import MESSAGE, ODD, Intake, Span
from aljax.logs.values import error_class, rows, table, text


def take_messages(intake: Intake, trace: str, messages: Any, *, turns: bool = False) -> None:
    """Takes a conversation: each message is a step, under way since the one before.

    Args:
      intake: where to.
      trace: the conversation.
      messages: with ``role``, and where known ``timestamp``, ``error``, ``cost``, ``usage``, ``requestor``.
      turns: the user's messages are turns of the user's, not only the task.
    """
    names: dict[str, str] = {}
    before: int | None = None
    for n, message in enumerate(_flat(messages)):
        try:
            for call in rows(message.get("tool_calls")):
                name, number = _called(call), text(call.get("id"))
                if name and number:
                    names[number] = name
            span = _span(intake, message, names, turns)
        except ODD:
            intake.skip("messages of a wrong type")
            continue
        now = intake.moment(message.get("timestamp"))
        if span is not None:
            intake.span(
                span._replace(trace=trace, id=f"{MESSAGE}{n:08}", start=before if now is not None else None, end=now)
            )
        before = now if now is not None else before


def _flat(messages: Any) -> list[dict[str, Any]]:
    """Messages; several answers of tools in one are one each."""
    found = []
    for message in rows(messages):
        inner = message.get("tool_messages")
        found += rows(inner) if isinstance(inner, list) else [message]
    return found


def _called(call: Mapping[str, Any]) -> str | None:
    """The tool of a call: its function's name may be in a table or not."""
    function = call.get("function")
    return text(function.get("name")) if isinstance(function, dict) else text(function) or text(call.get("name"))


def _span(intake: Intake, message: Mapping[str, Any], names: Mapping[str, str], turns: bool) -> Span | None:
    """A message as a step; none: it is none."""
    role = message.get("role")
    if role == "assistant":
        usage = table(message.get("usage"))
        return Span(
            "",
            "",
            kind="llm",
            failed=False,
            dollars=intake.amount(message.get("cost")),
            in_tokens=intake.amount(usage.get("prompt_tokens", usage.get("input_tokens"))),
            out_tokens=intake.amount(usage.get("completion_tokens", usage.get("output_tokens"))),
            model=text(message.get("model")) or text(table(message.get("raw_data")).get("model")),
        )
    if role == "user" and turns and message.get("content"):
        return Span("", "", kind="clarify", name="user_turn", failed=False, dollars=intake.amount(message.get("cost")))
    if role != "tool":
        return None
    number = text(message.get("tool_call_id")) or text(message.get("id"))
    name = text(message.get("function")) or _called(table(message.get("tool_call"))) or names.get(number or "")
    error = message.get("error")
    return Span(
        "",
        "",
        kind="tool",
        name=name or text(message.get("name")),
        failed=bool(error),
        error=None if not error else text(error.get("type"), 80) if isinstance(error, dict) else error_class(error),
        by="user" if message.get("requestor") == "user" else None,
    )
