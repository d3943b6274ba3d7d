"""A router inside a LangChain agent: python in_langchain.py [block|mask|force]. No network: the model is scripted.

The search is broken. The model would try it again and again; the router, trained in lookup.toml, knows better.
"""

import sys
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import ToolException, tool

from aljax.integrations.langchain import middleware
from aljax.router import Router


@tool
def search(question: str) -> str:
    """Looks in the index."""
    raise ToolException("the index is down")


@tool
def archive(question: str) -> str:
    """Looks in the archive, slowly."""
    return f"what the archive says of {question}"


search.handle_tool_error = True  # the model is told, as agents in production do


class Scripted(GenericFakeChatModel):
    """Calls the tool that it must, else the first that it is offered, until it has two findings."""

    tools: list = []
    forced: str | None = None

    def bind_tools(self, tools, *, tool_choice=None, **_):
        """A copy that is offered these tools."""
        return self.model_copy(update={"tools": [each.name for each in tools], "forced": tool_choice})

    def _generate(self, messages, *args, **options):
        results = [message for message in messages if isinstance(message, ToolMessage)]
        found = [message for message in results if message.content.startswith("what")]
        name = self.forced or self.tools[0]
        if results and results[-1].content.startswith("Not now"):
            name = "archive"
        call = {"name": name, "args": {"question": "routers"}, "id": str(len(messages))}
        self.messages = iter([AIMessage("Done.") if len(found) == 2 else AIMessage("", tool_calls=[call])])
        return super()._generate(messages, *args, **options)


mode = sys.argv[1] if len(sys.argv) > 1 else "mask"
router = Router.load(Path(__file__).with_name("router.json"))
agent = create_agent(Scripted(messages=iter([])), [search, archive], middleware=[middleware(router, mode=mode)])
for message in agent.invoke({"messages": [("user", "What are routers?")]})["messages"]:
    calls = ", ".join(call["name"] for call in getattr(message, "tool_calls", []))
    print(f"{message.type:6} {calls or message.content}")
