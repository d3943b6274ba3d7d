"""What attributes of spans mean: OpenTelemetry's ``gen_ai``, OpenInference, Traceloop's older ones, the AI SDK's."""

from collections.abc import Mapping
from typing import Any

from aljax.logs.spans import Intake
from aljax.logs.values import text

OPERATIONS = {
    "execute_tool": "tool", "chat": "llm", "generate_content": "llm", "text_completion": "llm", "call_llm": "llm",
    "completion": "llm", "invoke_agent": "agent", "create_agent": "agent",
}  # fmt: skip
"""Kinds by ``gen_ai.operation.name``."""
_INFERENCE = {"TOOL": "tool", "LLM": "llm", "AGENT": "agent"}
_TRACELOOP = {"tool": "tool", "llm": "llm", "agent": "agent"}
_SDK = {"ai.toolCall": "tool", "ai.generateText": "llm", "ai.streamText": "llm", "ai.generateObject": "llm",
        "ai.streamObject": "llm", "ai.generateText.doGenerate": "llm", "ai.streamText.doStream": "llm",
        "ai.generateObject.doGenerate": "llm", "ai.streamObject.doStream": "llm"}  # fmt: skip
_LOWER = {"chat", "completion"}
IN = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "ai.usage.promptTokens",
      "ai.usage.inputTokens", "llm.usage.prompt_tokens")  # fmt: skip
OUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion",
       "ai.usage.completionTokens", "ai.usage.outputTokens", "llm.usage.completion_tokens")  # fmt: skip
DOLLARS = ("operation.cost", "gen_ai.usage.cost", "llm.cost.total", "gen_ai.usage.total_cost", "llm.usage.cost")
PARTS = ("gen_ai.usage.input_cost", "gen_ai.usage.output_cost")
"""Dollars that some tell apart."""
SESSIONS = (
    "gen_ai.conversation.id",
    "session.id",
    "langfuse.session.id",
    "traceloop.association.properties.session_id",
)
TOOLS = ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "tool_name", "traceloop.entity.name")
MODELS = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "ai.model.id")
AGENTS = ("gen_ai.agent.name", "agent.name", "agent_name")
MARKS = (
    "openinference.span.kind",
    "gen_ai.operation.name",
    "traceloop.span.kind",
    "ai.operationId",
    "llm.request.type",
)
TRANSFER = ("gen_ai.transfer.target.name", "gen_ai.transfer.mode")
EVALUATION = ("gen_ai.evaluation.score.value", "gen_ai.evaluation.score.label", "gen_ai.evaluation.name")
FAILURE = ("error.type", "exception.type", "service.name")
WANTED = frozenset(
    (*IN, *OUT, *DOLLARS, *PARTS, *SESSIONS, *TOOLS, *MODELS, *AGENTS, *MARKS, *TRANSFER, *EVALUATION, *FAILURE)
)
"""Every attribute that is looked at, of spans, events and resources: the others, often long texts, are passed over."""


def first(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """The first of some attributes that is there and not null.

    Args:
      attributes: by key.
      keys: in the order in which they are asked for.

    Returns:
      Its value; none: there is none.
    """
    for key in keys:
        found = attributes.get(key)
        if found is not None:
            return found
    return None


def kind_of(attributes: Mapping[str, Any], name: Any) -> str | None:
    """What a span is.

    Args:
      attributes: its own.
      name: its own, which tells where nothing else does.

    Returns:
      ``tool``, ``llm``, ``escalate``, ``agent``; none: something else.
    """
    if TRANSFER[0] in attributes or TRANSFER[1] in attributes:
        return "escalate"
    operation = attributes.get("gen_ai.operation.name")
    if operation is not None:
        found = OPERATIONS.get(operation) if isinstance(operation, str) else None
        if found is not None:
            return found
    found = attributes.get("openinference.span.kind")
    if found is not None:
        return _INFERENCE.get(found.upper()) if isinstance(found, str) else None
    found = attributes.get("ai.operationId")
    if found is not None:
        return _SDK.get(found) if isinstance(found, str) else None
    found = attributes.get("traceloop.span.kind")
    if found is not None:
        return _TRACELOOP.get(found) if isinstance(found, str) else None
    if operation is not None:
        return None
    if attributes.get("llm.request.type") in _LOWER:
        return "llm"
    if "gen_ai.tool.name" in attributes or (isinstance(name, str) and name.startswith("execute_tool ")):
        return "tool"
    return "llm" if first(attributes, IN) is not None and "gen_ai.request.model" in attributes else None


def name_of(kind: str | None, attributes: Mapping[str, Any], name: Any) -> str | None:
    """What was called.

    Args:
      kind: of the span.
      attributes: its own.
      name: the span's.

    Returns:
      The name of the tool, or of whom was handed over to.
    """
    if kind == "escalate":
        target = text(first(attributes, (TRANSFER[0], "gen_ai.tool.name")))
        return None if target is None else f"transfer_to_{target}"
    found = text(first(attributes, TOOLS)) or text(name)
    return found.removeprefix("execute_tool ").removeprefix("running tool: ") if found else found


def spent(intake: Intake, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens and dollars of a model's call, and the model.

    Args:
      intake: counts what is no number.
      attributes: the span's.

    Returns:
      Fields of a span.
    """
    dollars = intake.amount(first(attributes, DOLLARS))
    if dollars is None and PARTS[0] in attributes:
        parts = [intake.amount(attributes.get(key)) for key in PARTS]
        dollars = None if None in parts else sum(part for part in parts if part is not None)
    return {
        "in_tokens": intake.amount(first(attributes, IN)),
        "out_tokens": intake.amount(first(attributes, OUT)),
        "dollars": dollars,
        "model": text(first(attributes, MODELS)),
    }


def evaluated(intake: Intake, trace: str, attributes: Mapping[str, Any]) -> None:
    """Takes an event ``gen_ai.evaluation.result`` as a score.

    Args:
      intake: where to.
      trace: of the event.
      attributes: the event's.
    """
    value = first(attributes, EVALUATION[:2])
    intake.score(trace, attributes.get("gen_ai.evaluation.name"), value)
