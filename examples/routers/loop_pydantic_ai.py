"""The agent of loop.py, in pydantic-ai; its traces are the OpenTelemetry spans of its own instrumentation."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any, TextIO

from office import TOOLS, Office
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from pydantic_ai import Agent, ModelRetry, Tool
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings

from aljax.integrations.pydantic_ai import capability
from aljax.router import Router

PACKAGE = "pydantic-ai-slim"


class ToFile(SpanProcessor):
    """Writes each span when it ends, by the office's clock, with the task as an attribute."""

    def __init__(self, office: Office, file: TextIO) -> None:
        """Of one episode, into the file."""
        self.office, self.file, self.began = office, file, {}

    def _now(self) -> str:
        return datetime.fromtimestamp(self.office.since_epoch(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Notes when."""
        span.set_attribute("task", self.office.task)
        self.began[span.context.span_id] = self._now()

    def on_end(self, span: ReadableSpan) -> None:
        """A line."""
        times = {"start_time": self.began.pop(span.context.span_id), "end_time": self._now()}
        self.file.write(json.dumps(json.loads(span.to_json()) | times) + "\n")


def play(office: Office, traces: TextIO | None, router: Router | None) -> None:
    """An episode, traced into the file if there is one, with the router if there is one."""

    def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        forced = (info.model_settings or {}).get("tool_choice")
        name = office.turn([tool.name for tool in info.function_tools], forced[0] if isinstance(forced, list) else None)
        return ModelResponse(parts=[TextPart("Done.") if name is None else ToolCallPart(name, {})])

    def tool(name: str) -> Tool:
        def call() -> str:
            if not office.works(name):
                raise ModelRetry("down")
            return "done"

        return Tool(call, name=name, max_retries=50)

    capabilities = []
    if traces is not None:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(ToFile(office, traces))
        settings = InstrumentationSettings(tracer_provider=provider, include_content=False)
        capabilities.append(Instrumentation(settings=settings))
    if router is not None:
        knows = {"clock": office.clock, "task": lambda _: office.task, "readings": lambda _: office.readings}
        capabilities.append(capability(router, mode=office.mode, **knows))
    agent = Agent(FunctionModel(scripted), tools=[tool(name) for name in TOOLS], capabilities=capabilities)
    asyncio.run(agent.run("Go"))
