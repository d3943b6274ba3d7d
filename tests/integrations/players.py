"""Agents of three frameworks with one life: a model that follows a script, tools that fail, a clock that both move."""

import hashlib
import importlib
import json
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from aljax.router import Router

ROUTER = Path(__file__).parents[2] / "examples" / "routers" / "router.json"
"""Trained in a world whose search stays broken once it broke: then the archive is the place to look."""
SECONDS = {"search": 2.0, "archive": 4.0, "think": 8.0}
TOKENS = (1000, 500)


class Desk:
    """What happens around an agent, and what it saw of it."""

    def __init__(self, script: Iterable[str | None], failing: Iterable[str] = ("search",)) -> None:
        """The model calls the tools of the script, and says its last word at None."""
        self.script, self.failing, self.now = iter(script), set(failing), 0.0
        self.offered: list[list[str]] = []
        self.forced: list[str | None] = []
        self.called: list[str] = []
        self.told: list[str] = []

    def clock(self) -> float:
        return self.now

    def turn(self, offered: Iterable[str], forced: object) -> str | None:
        self.offered.append(sorted(offered))
        self.forced.append(forced[0] if isinstance(forced, list) else forced)
        self.now += 1.0
        return next(self.script)

    def works(self, name: str) -> bool:
        self.called.append(name)
        self.now += SECONDS[name]
        return name not in self.failing


Player = Callable[..., Awaitable[None]]


def reads_its_start(folder: Path) -> tuple[Path, dict[str, float]]:
    """The same router, but that the agent has to tell it where a task starts; and what there is to tell."""
    data = {key: value for key, value in json.loads(ROUTER.read_bytes()).items() if key != "digest"}
    known = {place["name"]: place.pop("start") for place in data["coordinates"]}
    for example in data["examples"]:
        example["readings"] = known
    rest = b'",\n' + json.dumps(data)[1:].encode()
    path = folder / "router.json"
    path.write_bytes(b'{"digest": "' + hashlib.sha256(rest).hexdigest().encode() + rest)
    return path, known


def needed(module: str, extra: str) -> Any:
    """A framework's module; without it a test is skipped, but for where it is there to be tested."""
    if os.environ.get("ALJAX_LIBRARY") != extra:
        pytest.importorskip(module, reason=f"needs the extra {extra}, see make integrations")
    return importlib.import_module(module.partition(".")[0] if module == "agents.tracing" else module)


async def langchain(desk: Desk, router: Router, names: Iterable[str] = SECONDS, **options) -> None:
    await _langchain(desk, router, names, **options).ainvoke({"messages": [("user", "Look it up")]}, {"callbacks": []})


async def langchain_synchronous(desk: Desk, router: Router, names: Iterable[str] = SECONDS, **options) -> None:
    _langchain(desk, router, names, **options).invoke({"messages": [("user", "Look it up")]})


def _langchain(desk, router, names, *, before=(), **options):
    agents = needed("langchain.agents", "langchain")
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessage, ToolMessage
    from langchain_core.outputs import ChatGeneration, ChatResult
    from langchain_core.tools import StructuredTool, ToolException

    from aljax.integrations.langchain import middleware

    class Scripted(BaseChatModel):
        given: dict = {}

        @property
        def _llm_type(self):
            return "scripted"

        def bind_tools(self, tools, *, tool_choice=None, **_):
            return Scripted(given={"offered": [tool.name for tool in tools], "forced": tool_choice})

        def _generate(self, messages, stop=None, run_manager=None, **_):
            desk.told += [m.content for m in messages[-1:] if isinstance(m, ToolMessage)]
            name = desk.turn(self.given["offered"], self.given["forced"])
            calls = [{"name": name, "args": {}, "id": str(len(desk.offered))}] if name else []
            usage = {"input_tokens": TOKENS[0], "output_tokens": TOKENS[1], "total_tokens": sum(TOKENS)}
            said = AIMessage("" if name else "Done", tool_calls=calls, usage_metadata=usage)
            return ChatResult(generations=[ChatGeneration(message=said)])

    def tool(name):
        def call() -> str:
            if not desk.works(name):
                raise ToolException("down")
            return "found"

        return StructuredTool.from_function(call, name=name, description=name, handle_tool_error=True)

    return agents.create_agent(
        Scripted(), [tool(name) for name in names], middleware=[*before, middleware(router, **options)]
    )


async def pydantic_ai(desk: Desk, router: Router, names: Iterable[str] = SECONDS, **options) -> None:
    library = needed("pydantic_ai", "pydantic-ai")
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.usage import RequestUsage

    from aljax.integrations.pydantic_ai import capability

    def scripted(messages, info):
        desk.told += [
            str(part.content) for part in messages[-1].parts if part.part_kind in ("tool-return", "retry-prompt")
        ]
        name = desk.turn([t.name for t in info.function_tools], (info.model_settings or {}).get("tool_choice"))
        part = ToolCallPart(name, {}) if name else TextPart("Done")
        return ModelResponse(parts=[part], usage=RequestUsage(input_tokens=TOKENS[0], output_tokens=TOKENS[1]))

    def tool(name):
        def call() -> str:
            if not desk.works(name):
                raise library.ModelRetry("down")
            return "found"

        return library.Tool(call, name=name, max_retries=9)

    found = capability(router, **options)
    agent = library.Agent(FunctionModel(scripted), tools=[tool(name) for name in names], capabilities=[found])
    await agent.run("Look it up")


async def openai_agents(desk: Desk, router: Router, names: Iterable[str] = SECONDS, **options) -> None:
    pytest.importorskip("agents.tracing", reason="needs the extra openai-agents")  # the suite has agents of its own
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    from aljax.integrations.openai_agents import routed

    import agents as sdk

    class Scripted(sdk.Model):
        async def get_response(self, system_instructions, input, model_settings, tools, *_, **__):
            last = input[-1] if isinstance(input, list) else {}
            desk.told += [last["output"]] if last.get("type") == "function_call_output" else []
            name, number = desk.turn([t.name for t in tools], model_settings.tool_choice), str(len(desk.offered))
            if name:
                said = ResponseFunctionToolCall(type="function_call", call_id=number, name=name, arguments="{}")
            else:
                text = ResponseOutputText(text="Done", type="output_text", annotations=[])
                said = ResponseOutputMessage(
                    id=number, role="assistant", status="completed", type="message", content=[text]
                )
            usage = sdk.Usage(requests=1, input_tokens=TOKENS[0], output_tokens=TOKENS[1], total_tokens=sum(TOKENS))
            return sdk.ModelResponse(output=[said], usage=usage, response_id=None)

        def stream_response(self, *_, **__):
            raise NotImplementedError

    def tool(name):
        def call() -> str:
            if not desk.works(name):
                raise ValueError("down")
            return "found"

        return sdk.function_tool(call, name_override=name)

    agent = sdk.Agent("desk", model=Scripted(), tools=[tool(name) for name in names])
    config = sdk.RunConfig(tracing_disabled=True)
    await routed(agent, router, run_config=config, **options).run("Look it up")


PLAYERS: dict[str, Player] = {
    "langchain": langchain,
    "langchain, synchronous": langchain_synchronous,
    "pydantic-ai": pydantic_ai,
    "openai-agents": openai_agents,
}
