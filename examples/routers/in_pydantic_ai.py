"""A router inside a pydantic-ai agent: python in_pydantic_ai.py [block|mask|force]. No network: the model is scripted.

The search is broken. The model would try it again and again; the router, trained in lookup.toml, knows better.
"""

import sys
from pathlib import Path

from pydantic_ai import Agent, ModelRetry
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from aljax.integrations.pydantic_ai import capability
from aljax.router import Router


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Calls the tool that it must, else the first that it is offered, until it has two findings."""
    told = [str(getattr(part, "content", "")) for message in messages for part in message.parts]
    forced = (info.model_settings or {}).get("tool_choice")
    name = forced[0] if isinstance(forced, list) else info.function_tools[0].name
    if told[-1].startswith("Not now"):
        name = "archive"
    done = sum(text.startswith("what") for text in told) == 2
    return ModelResponse(parts=[TextPart("Done.") if done else ToolCallPart(name, {"question": "routers"})])


mode = sys.argv[1] if len(sys.argv) > 1 else "mask"
router = Router.load(Path(__file__).with_name("router.json"))
agent = Agent(FunctionModel(scripted), capabilities=[capability(router, mode=mode)])


@agent.tool_plain(retries=3)
def search(question: str) -> str:
    """Looks in the index."""
    raise ModelRetry("the index is down")


@agent.tool_plain
def archive(question: str) -> str:
    """Looks in the archive, slowly."""
    return f"what the archive says of {question}"


for message in agent.run_sync("What are routers?").all_messages():
    for part in message.parts:
        print(f"{part.part_kind:13} {getattr(part, 'tool_name', '') or '':8} {getattr(part, 'content', '')}")
