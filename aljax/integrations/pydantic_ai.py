"""A router inside pydantic-ai's agents, as a capability.

    agent = Agent(model, tools=tools, capabilities=[capability("router.json", mode="mask")])

Each run of the agent is an episode.
"""

import copy
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aljax.host.modules import framework
from aljax.integrations.shared import Mode, Reads, Routing, Run, routing
from aljax.router import Router


def capability(
    router: Router | str | Path,
    *,
    mode: Mode = "block",
    prices: tuple[float, float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    task: Callable[[Any], str] | None = None,
    readings: Callable[[Any], Mapping[str, float]] | None = None,
    success: Callable[[Any], bool] | None = None,
) -> Any:
    """A capability for ``pydantic_ai.Agent(..., capabilities=[...])``.

    Args:
      router: a router, or the file of one.
      mode: `block`, `mask` or `force`, see `aljax.integrations.shared.Mode`.
      prices: dollars a million tokens read and written; None: dollars are not known.
      clock: what tells the seconds.
      task: says of the ``RunContext`` at the start of a run which task it is, for the log.
      readings: says of it what the agent knows of the task, for routers exported with ``--readings``.
      success: says of the ``AgentRunResult`` whether the task was done, for the log.

    Returns:
      An ``AbstractCapability``.

    Raises:
      UserError: there is no such mode.
      RouterError: the file is none of a router.
      ImportError: pydantic-ai is not installed.
    """
    base: Any = framework("pydantic_ai.capabilities", "pydantic-ai").AbstractCapability

    class RouterCapability(_Hooks, base):
        pass

    found = RouterCapability()
    found._routing = routing(router, mode, prices, clock, Reads(task, readings, success))
    return found


class _Hooks:
    """What pydantic-ai's agents ask of a capability; each run has a copy of its own."""

    _routing: Routing
    _run: Run

    @classmethod
    def get_serialization_name(cls) -> None:
        """A router is a file: it cannot be written into an agent's specification."""

    async def for_run(self, ctx: Any) -> Any:
        """A capability with an episode of its own."""
        found, read = copy.copy(self), self._routing.read
        found._run = Run(self._routing, task=read("task", ctx), readings=read("readings", ctx))
        return found

    async def before_model_request(self, ctx: Any, request_context: Any) -> Any:
        """Offers what is worth calling, or has the model call what the router chose."""
        del ctx
        with self._routing.router.harmless("before_model_request"):
            parameters = request_context.model_request_parameters
            turn = self._run.turn(tool.name for tool in parameters.function_tools)
            if turn.forced is not None:
                settings = {**(request_context.model_settings or {}), "tool_choice": [turn.forced]}
                return dataclasses.replace(request_context, model_settings=settings)
            if turn.shut and self._routing.mode == "mask":
                # Only the model's list is cut: a call of what is not in it is answered, and is none of its retries.
                kept = [tool for tool in parameters.function_tools if tool.name not in turn.shut]
                parameters = dataclasses.replace(parameters, function_tools=kept)
                return dataclasses.replace(request_context, model_request_parameters=parameters)
        return request_context

    async def after_model_request(self, ctx: Any, *, request_context: Any, response: Any) -> Any:
        """Counts the model's tokens."""
        del ctx, request_context
        with self._routing.router.harmless("after_model_request"):
            self._run.spend(response.usage.input_tokens, response.usage.output_tokens)
        return response

    async def wrap_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any, handler: Any) -> Any:
        """Makes a call or answers that it is not the time for it, and books what came of it."""
        del ctx, tool_def
        refused = self._run.refusal(call.tool_name)
        if refused is not None:
            return refused
        try:
            result = await handler(args)
        except Exception as error:
            if type(error).__name__ not in _PAUSES:
                self._run.record(call.tool_name, ok=False)
            raise
        self._run.record(call.tool_name, ok=True)
        return result

    async def wrap_run(self, ctx: Any, *, handler: Any) -> Any:
        """Ends the episode with the run."""
        del ctx
        try:
            result = await handler()
        except BaseException as error:
            self._run.end(type(error).__name__, answered=False)
            raise
        self._run.end(success=self._routing.read("success", result))
        return result


_PAUSES = ("ApprovalRequired", "CallDeferred", "SkipToolExecution")
"""What pydantic-ai raises for calls that are put off: no failures."""
