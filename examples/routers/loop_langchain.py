"""The agent of loop.py, in LangChain; its traces are the runs that LangSmith would get, kept by a tracer of its own."""

import json
from datetime import UTC, datetime
from typing import Any, TextIO

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import StructuredTool, ToolException
from langchain_core.tracers.base import BaseTracer
from office import TOOLS, Office

from aljax.integrations.langchain import middleware
from aljax.router import Router

PACKAGE = "langchain"
KEPT = ("id", "trace_id", "parent_run_id", "name", "run_type", "start_time", "end_time", "error", "outputs")


class Scripted(BaseChatModel):
    """Calls what the office's script says."""

    office: Any
    offered: list[str] = []
    forced: str | None = None

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools, *, tool_choice=None, **_):
        """A copy that is offered these, and may be forced."""
        return Scripted(office=self.office, offered=[tool.name for tool in tools], forced=tool_choice)

    def _generate(self, messages, stop=None, run_manager=None, **_):
        name = self.office.turn(self.offered, self.forced)
        calls = [] if name is None else [{"name": name, "args": {}, "id": str(self.office.turns)}]
        said = AIMessage("" if name else "Done.", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=said)])


class ToFile(BaseTracer):
    """Writes each run when it ends, by the office's clock."""

    def __init__(self, office: Office, file: TextIO) -> None:
        """Of one episode, into the file."""
        super().__init__()
        self.office, self.file = office, file

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.office.since_epoch(), UTC)

    def _start_trace(self, run: Any) -> None:
        run.start_time = self._now()
        super()._start_trace(run)

    def _end_trace(self, run: Any) -> None:
        run.end_time = self._now()
        found = run.model_dump(mode="json", include=set(KEPT)) | {"extra": {"metadata": run.metadata}}
        self.file.write(json.dumps(found) + "\n")
        super()._end_trace(run)

    def _persist_run(self, run: Any) -> None:
        """Each run is in the file by then."""


def play(office: Office, traces: TextIO | None, router: Router | None) -> None:
    """An episode, traced into the file if there is one, with the router if there is one."""

    def tool(name: str) -> StructuredTool:
        def call() -> str:
            if not office.works(name):
                raise ToolException("down")
            return "done"

        return StructuredTool.from_function(call, name=name, description=name, handle_tool_error=True)

    knows = {"clock": office.clock, "task": lambda _: office.task, "readings": lambda _: office.readings}
    hooks = [] if router is None else [middleware(router, mode=office.mode, **knows)]
    agent = create_agent(Scripted(office=office), [tool(name) for name in TOOLS], middleware=hooks)
    callbacks = [] if traces is None else [ToFile(office, traces)]
    config = {"callbacks": callbacks, "metadata": {"task": office.task}, "recursion_limit": 200}
    agent.invoke({"messages": [("user", "Go")]}, config)
