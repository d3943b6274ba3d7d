"""The agent of loop.py, in the OpenAI Agents SDK; its traces are what the SDK would send to its dashboard."""

import asyncio
import json
from datetime import UTC, datetime
from typing import TextIO

from office import TOOLS, Office
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from aljax.integrations.openai_agents import routed
from aljax.router import Router

from agents import (
    Agent,
    Model,
    ModelResponse,
    RunConfig,
    Runner,
    TracingProcessor,
    Usage,
    function_tool,
    generation_span,
    set_trace_processors,
)
from agents.tracing import get_trace_provider

PACKAGE = "openai-agents"


class Scripted(Model):
    """Calls what the office's script says."""

    def __init__(self, office: Office) -> None:
        """Of one episode."""
        self.office = office

    async def get_response(self, system_instructions, input, model_settings, tools, *_, **__):
        """One turn."""
        with generation_span(model="scripted"):  # as models of the SDK's own do
            name = self.office.turn([tool.name for tool in tools], model_settings.tool_choice)
        if name is None:
            text = ResponseOutputText(text="Done.", type="output_text", annotations=[])
            said = ResponseOutputMessage(id="m", role="assistant", status="completed", type="message", content=[text])
        else:
            number = str(self.office.turns)
            said = ResponseFunctionToolCall(type="function_call", call_id=number, name=name, arguments="{}")
        return ModelResponse(output=[said], usage=Usage(), response_id=None)

    def stream_response(self, *_, **__):
        """Not needed here."""
        raise NotImplementedError


class ToFile(TracingProcessor):
    """Writes traces and spans when they end."""

    def __init__(self, file: TextIO) -> None:
        """Into the file."""
        self.file = file

    def on_trace_end(self, trace):
        """A line."""
        self.file.write(json.dumps(trace.export()) + "\n")

    on_span_end = on_trace_end

    def on_trace_start(self, trace):
        """Nothing yet."""

    on_span_start = on_trace_start

    def shutdown(self):
        """The file is closed by who opened it."""

    force_flush = shutdown


def play(office: Office, traces: TextIO | None, router: Router | None) -> None:
    """An episode, traced into the file if there is one, with the router if there is one."""

    def tool(name: str):
        def call() -> str:
            if not office.works(name):
                raise ConnectionError(name)
            return "done"

        return function_tool(call, name_override=name)

    set_trace_processors([] if traces is None else [ToFile(traces)])
    get_trace_provider().time_iso = lambda: datetime.fromtimestamp(office.since_epoch(), UTC).isoformat()
    config = RunConfig(trace_metadata={"task": office.task}, tracing_disabled=traces is None)
    agent = Agent("clerk", model=Scripted(office), tools=[tool(name) for name in TOOLS])
    if router is None:
        asyncio.run(Runner.run(agent, "Go", run_config=config, max_turns=50))
    else:
        knows = {"clock": office.clock, "task": office.task, "readings": office.readings}
        hooked = routed(agent, router, mode=office.mode, run_config=config, **knows)
        asyncio.run(hooked.run("Go", max_turns=50))
