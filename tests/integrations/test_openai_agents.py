"""What is the Agents SDK's own."""

import asyncio
import json

import pytest

from aljax.router import Router

from players import ROUTER, Desk, needed, openai_agents

pytestmark = pytest.mark.filterwarnings("default")


def test_hooks_of_the_users_own_are_called_as_well():
    sdk = needed("agents.tracing", "openai-agents")
    seen = []

    class Mine(sdk.RunHooks):
        async def on_tool_start(self, context, agent, tool):
            seen.append(("start", tool.name))

        async def on_tool_end(self, context, agent, tool, result):
            seen.append(("end", tool.name))

        async def on_agent_end(self, context, agent, output):
            seen.append(("done", output))

    desk = Desk(["search", "search", "archive", None])
    asyncio.run(openai_agents(desk, Router.load(ROUTER), clock=desk.clock, hooks=Mine()))
    assert seen == [("start", "search"), ("end", "search"), ("start", "archive"), ("end", "archive"), ("done", "Done")]


def test_the_agent_that_was_given_stays_as_it_was():
    sdk = needed("agents.tracing", "openai-agents")
    from aljax.integrations.openai_agents import routed

    async def told(context, error):
        return f"sorry: {error}"

    @sdk.function_tool(failure_error_function=told, is_enabled=lambda context, agent: False)
    def search() -> str:
        """Looks in the index."""
        return "found"

    agent = sdk.Agent("desk", tools=[search, sdk.WebSearchTool()])
    found = routed(agent, ROUTER, mode="force")
    assert agent.tools[0] is search and not search.tool_input_guardrails and agent.reset_tool_choice
    assert found.agent.tools[1] is agent.tools[1]  # what is hosted is left alone
    context = sdk.RunContextWrapper(None)
    assert not asyncio.run(found.agent.tools[0].is_enabled(context, found.agent))  # its own word counts


def test_streamed_runs_are_routed_and_booked_as_well(tmp_path):
    sdk = needed("agents.tracing", "openai-agents")
    from openai.types.responses import Response, ResponseCompletedEvent, ResponseFunctionToolCall

    from aljax.integrations.openai_agents import routed

    class Streams(sdk.Model):
        offered = []

        async def get_response(self, *_, **__):
            raise NotImplementedError

        async def stream_response(self, system_instructions, input, model_settings, tools, *_, **__):
            self.offered.append([tool.name for tool in tools])
            call = ResponseFunctionToolCall(type="function_call", call_id="1", name="search", arguments="{}")
            response = Response.model_construct(id="1", output=[call], usage=None)
            yield ResponseCompletedEvent.model_construct(
                type="response.completed", response=response, sequence_number=0
            )

    @sdk.function_tool
    def search() -> str:
        """Looks in the index."""
        return "found"

    @sdk.function_tool
    def archive() -> str:
        """Looks in the archive."""
        return "found"

    agent = sdk.Agent("desk", model=Streams(), tools=[search, archive], tool_use_behavior="stop_on_first_tool")
    quiet = sdk.RunConfig(tracing_disabled=True)
    found = routed(agent, Router.load(ROUTER, log=tmp_path / "log"), mode="mask", run_config=quiet)

    async def streamed():
        result = sdk.Runner.run_streamed(found.agent, "Go", hooks=found.hooks, run_config=found.run_config)
        async for _ in result.stream_events():
            pass

    asyncio.run(streamed())
    assert Streams.offered == [["search"]]
    rows = [json.loads(line) for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    assert [(row.get("name"), row["kind"]) for row in rows] == [("search", "tool"), (None, "end")]


def told_of(tmp_path, tools, script, **agent):
    """What is booked of an agent that calls tools in turn; and the error that ended its run."""
    sdk = needed("agents.tracing", "openai-agents")
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    from aljax.integrations.openai_agents import routed

    left = iter(script)

    class Scripted(sdk.Model):
        async def get_response(self, *_, **__):
            name = next(left)
            if name is None:
                text = ResponseOutputText(type="output_text", text="Done", annotations=[])
                said = ResponseOutputMessage(
                    id="1", role="assistant", status="completed", type="message", content=[text]
                )
            else:
                said = ResponseFunctionToolCall(type="function_call", call_id=name, name=name, arguments="{}")
            return sdk.ModelResponse(output=[said], usage=sdk.Usage(), response_id=None)

        def stream_response(self, *_, **__):
            raise NotImplementedError

    made = sdk.Agent("desk", model=Scripted(), tools=tools, **{key: make(Scripted()) for key, make in agent.items()})
    found = routed(made, Router.load(ROUTER, log=tmp_path / "log"), run_config=sdk.RunConfig(tracing_disabled=True))
    error = None
    try:
        asyncio.run(found.run("Go"))
    except Exception as raised:
        error = raised
    rows = [json.loads(line) for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    return [(row.get("name"), row.get("ok")) for row in rows], error


def test_a_tool_whose_errors_end_the_run_has_failed(tmp_path):
    sdk = needed("agents.tracing", "openai-agents")

    @sdk.function_tool(failure_error_function=None)
    def search() -> str:
        """Looks in the index."""
        raise ConnectionError("down")

    found, error = told_of(tmp_path, [search], ["search"])
    assert found == [("search", False), (None, None)] and "down" in str(error)


@pytest.mark.parametrize("behaviour", ["error_as_result", "raise_exception"])
def test_a_tool_that_takes_too_long_has_failed(tmp_path, behaviour):
    sdk = needed("agents.tracing", "openai-agents")

    @sdk.function_tool(timeout=0.01, timeout_behavior=behaviour)
    async def search() -> str:
        """Looks in the index."""
        await asyncio.sleep(60)
        return "found"

    found, error = told_of(tmp_path, [search], ["search", None])
    ended = behaviour == "raise_exception"
    assert found == [("search", False), *([] if ended else [("terminate", True)]), (None, None)]
    assert isinstance(error, sdk.ToolTimeoutError) == ended


def test_tools_of_agents_that_it_hands_over_to_are_left_alone(tmp_path):
    sdk = needed("agents.tracing", "openai-agents")

    @sdk.function_tool
    def search() -> str:
        """Looks in the index."""
        return "found"

    @sdk.function_tool
    def archive() -> str:
        """Looks in the archive."""
        raise ConnectionError("down")

    def others(model):
        return [sdk.Agent("other", model=model, tools=[archive])]

    found, error = told_of(tmp_path, [search], ["search", "transfer_to_other", "archive", None], handoffs=others)
    assert error is None and found == [("search", True), ("terminate", True), (None, None)]
