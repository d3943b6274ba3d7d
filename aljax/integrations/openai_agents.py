"""A router inside agents of the OpenAI Agents SDK.

    result = await routed(agent, "router.json", mode="mask").run("Refund order 7")

Each run works on a copy of the agent, whose function tools ask the router whether they are enabled, and is an episode.
Tools of agents that it hands over to, and of its MCP servers, are left alone: the SDK does not say whether they worked.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aljax.host.modules import framework
from aljax.integrations.shared import FREE, Mode, Reads, Routing, Run, Turn, routing
from aljax.router import Router


class Routed(NamedTuple):
    """What ``Runner.run``, ``run_sync`` and ``run_streamed`` take, for one run."""

    agent: Any
    """The copy of the agent."""
    hooks: Any
    """By which outcomes are booked."""
    run_config: Any
    """With it, calls of tools that are masked are answered instead of raising."""
    episode: Run
    """It ends with the agent's last word."""

    async def run(self, input: Any, **options: Any) -> Any:
        """``Runner.run``; a run that breaks off ends the episode, too.

        Args:
          input: of the run.
          **options: of ``Runner.run``, but for its hooks and its configuration.

        Returns:
          The run's result.
        """
        sdk = framework("agents", "openai-agents")
        try:
            return await sdk.Runner.run(self.agent, input, hooks=self.hooks, run_config=self.run_config, **options)
        except BaseException as error:
            late = getattr(error, "tool_name", None)
            if isinstance(error, sdk.ToolTimeoutError) and late is not None:
                self.episode.record(late, ok=False)
            self.episode.end(type(error).__name__, answered=False)
            raise


def routed(
    agent: Any,
    router: Router | str | Path,
    *,
    mode: Mode = "block",
    prices: tuple[float, float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    task: str | None = None,
    readings: Mapping[str, float] | None = None,
    success: Callable[[Any], bool] | None = None,
    hooks: Any = None,
    run_config: Any = None,
) -> Routed:
    """An agent under a router, for one run.

    Args:
      agent: an ``agents.Agent``.
      router: a router, or the file of one.
      mode: `block`, `mask` or `force`, see `aljax.integrations.shared.Mode`.
      prices: dollars a million tokens read and written; None: dollars are not known.
      clock: what tells the seconds.
      task: which task it is, for the log.
      readings: what the agent knows of the task, for routers exported with ``--readings``.
      success: says of the run's final output whether the task was done, for the log.
      hooks: ``RunHooks`` of your own, which are called as well.
      run_config: a ``RunConfig`` of your own.

    Returns:
      What runs it: its `run`, or what the SDK's runner takes.

    Raises:
      UserError: there is no such mode.
      RouterError: the file is none of a router.
      ImportError: the SDK is not installed.
    """
    sdk = framework("agents", "openai-agents")
    ways = routing(router, mode, prices, clock, Reads(success=success))
    found = _Routed(sdk, agent, Run(ways, task=task, readings=readings), ways)
    config = dataclasses.replace(run_config or sdk.RunConfig(), tool_not_found_behavior="return_error_to_model")
    return Routed(found.agent, found.hooks(hooks), config, found.run)


class _Routed:
    """An agent's copy for one run, and what is called as the run goes on."""

    def __init__(self, sdk: Any, agent: Any, run: Run, routing: Routing) -> None:
        self.run, self._sdk, self._routing = run, sdk, routing
        self._turn, self._open = FREE, False
        self._failed: set[Any] = set()
        tools = [self._tool(tool) if isinstance(tool, sdk.FunctionTool) else tool for tool in agent.tools]
        self._tools = [tool for tool in tools if isinstance(tool, sdk.FunctionTool)]
        self._settings = agent.model_settings
        # The SDK would not force a tool twice by itself; here each turn is chosen for.
        again = {"reset_tool_choice": False} if routing.mode == "force" else {}
        self.agent = agent.clone(tools=tools, **again)

    def _asked(self) -> Turn:
        """What the router says now. The SDK asks of each tool before a turn and again before its calls; the router is
        asked once, until a call is booked.
        """
        if not self._open:
            self._open, self._turn = True, self.run.turn(tool.name for tool in self._tools)
            if self._routing.mode == "force":
                forced = self._turn.forced or self._settings.tool_choice
                self.agent.model_settings = dataclasses.replace(self._settings, tool_choice=forced)
        return self._turn

    def _tool(self, tool: Any) -> Any:
        """A tool that asks the router before it is offered and before it is called, and tells of failures."""
        guardrails, tools = (
            framework("agents.tool_guardrails", "openai-agents"),
            framework("agents.tool", "openai-agents"),
        )
        enabled, told = tool.is_enabled, tools.resolve_function_tool_failure_error_function(tool)
        told_late = tool.timeout_error_function

        async def is_enabled(context: Any, agent: Any) -> bool:
            shut = tool.name in self._asked().shut and self._routing.mode == "mask"
            return not shut and bool(await _value(enabled(context, agent) if callable(enabled) else enabled))

        def not_now(data: Any) -> Any:
            del data
            said = self.run.refusal(tool.name)
            output = guardrails.ToolGuardrailFunctionOutput
            return output.allow() if said is None else output.reject_content(said)

        async def failed(context: Any, error: Exception) -> Any:
            if told is None:  # the error goes on and ends the run, and no hook is called any more
                self.run.record(tool.name, ok=False)
                return None
            self._failed.add(getattr(context, "tool_call_id", None))
            return await _value(told(context, error))

        async def late(context: Any, error: Exception) -> Any:
            self._failed.add(getattr(context, "tool_call_id", None))
            return str(error) if told_late is None else await _value(told_late(context, error))

        guards = [guardrails.ToolInputGuardrail(not_now, name="aljax"), *(tool.tool_input_guardrails or [])]
        found = dataclasses.replace(
            tool, is_enabled=is_enabled, tool_input_guardrails=guards, timeout_error_function=late
        )
        return tools.set_function_tool_failure_error_function(found, failed)

    def hooks(self, also: Any) -> Any:
        """``RunHooks`` that book outcomes, and call others as well."""
        routed, base = self, also or self._sdk.RunHooks()

        class RouterHooks(type(base)):
            def __init__(self) -> None:
                self.__dict__.update(vars(base))

            async def on_llm_end(self, context: Any, agent: Any, response: Any) -> None:
                with routed._routing.router.harmless("on_llm_end"):
                    routed.run.spend(response.usage.input_tokens, response.usage.output_tokens)
                await base.on_llm_end(context, agent, response)

            async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
                if any(tool is mine for mine in routed._tools):
                    routed._open = False
                    routed.run.record(tool.name, ok=getattr(context, "tool_call_id", None) not in routed._failed)
                await base.on_tool_end(context, agent, tool, result)

            async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
                routed.run.end(success=routed._routing.read("success", output))
                await base.on_agent_end(context, agent, output)

        return RouterHooks()


async def _value(found: Any) -> Any:
    """What may have to be waited for."""
    return await found if hasattr(found, "__await__") else found
