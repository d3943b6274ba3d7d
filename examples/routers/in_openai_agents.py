"""A router inside an agent of the OpenAI Agents SDK: python in_openai_agents.py [block|mask|force]. No network.

The search is broken. The model would try it again and again; the router, trained in lookup.toml, knows better.
"""

import asyncio
import sys
from pathlib import Path

from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from aljax.integrations.openai_agents import routed
from aljax.router import Router

from agents import Agent, Model, ModelResponse, RunConfig, Usage, function_tool


@function_tool
def search(question: str) -> str:
    """Looks in the index."""
    raise ConnectionError("the index is down")


@function_tool
def archive(question: str) -> str:
    """Looks in the archive, slowly."""
    return f"what the archive says of {question}"


class Scripted(Model):
    """Calls the tool that it must, else the first that it is offered, until it has two findings."""

    async def get_response(self, system_instructions, input, model_settings, tools, *_, **__):
        """One turn."""
        told = [str(item.get("output", "")) for item in input] if isinstance(input, list) else [""]
        name = "archive" if told[-1].startswith("Not now") else model_settings.tool_choice or tools[0].name
        if sum(text.startswith("what") for text in told) == 2:
            text = ResponseOutputText(text="Done.", type="output_text", annotations=[])
            said = ResponseOutputMessage(
                id="last", role="assistant", status="completed", type="message", content=[text]
            )
        else:
            said = ResponseFunctionToolCall(
                type="function_call", call_id=str(len(told)), name=name, arguments='{"question": "routers"}'
            )
        return ModelResponse(output=[said], usage=Usage(), response_id=None)

    def stream_response(self, *_, **__):
        """Not needed here."""
        raise NotImplementedError


mode = sys.argv[1] if len(sys.argv) > 1 else "mask"
router = Router.load(Path(__file__).with_name("router.json"))
agent = Agent("clerk", model=Scripted(), tools=[search, archive])
config = RunConfig(tracing_disabled=True)
result = asyncio.run(routed(agent, router, mode=mode, run_config=config).run("What are routers?"))
for item in result.new_items:
    print(f"{item.type:22} {getattr(item.raw_item, 'name', '')} {getattr(item, 'output', '')}")
print(result.final_output)
