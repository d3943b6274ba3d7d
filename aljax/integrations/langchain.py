"""A router inside LangChain's agents, as middleware, and inside LangGraph's graphs, as a conditional edge.

    agent = create_agent(model, tools, middleware=[middleware("router.json", mode="mask")])

Each run of the agent is an episode; which one is kept in the graph's state, so runs side by side do not mix.
"""

import contextlib
import contextvars
import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired

from aljax.errors import UserError
from aljax.host.modules import framework
from aljax.integrations.shared import Mode, Reads, Routing, Run, Runs, routing
from aljax.router import Router

_RUN = "aljax_run"
"""Where the graph's state keeps the name of a run."""


def middleware(
    router: Router | str | Path,
    *,
    mode: Mode = "block",
    prices: tuple[float, float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    task: Callable[[Any], str] | None = None,
    readings: Callable[[Any], Mapping[str, float]] | None = None,
    success: Callable[[Any], bool] | None = None,
) -> Any:
    """Middleware for ``langchain.agents.create_agent``, synchronous and asynchronous.

    Args:
      router: a router, or the file of one.
      mode: `block`, `mask` or `force`, see `aljax.integrations.shared.Mode`.
      prices: dollars a million tokens read and written; None: dollars are not known.
      clock: what tells the seconds.
      task: says of the graph's state when a run begins which task it is, for the log.
      readings: says of it what the agent knows of the task, for routers exported with ``--readings``.
      success: says of the graph's state when a run ends whether the task was done, for the log.

    Returns:
      An ``AgentMiddleware``.

    Raises:
      UserError: there is no such mode.
      RouterError: the file is none of a router.
      ImportError: LangChain is not installed.
    """
    types = framework("langchain.agents.middleware.types", "langchain")

    class State(types.AgentState):
        aljax_run: NotRequired[Annotated[str, types.PrivateStateAttr]]  # pyright: ignore[reportInvalidTypeForm]

    class RouterMiddleware(_Hooks, types.AgentMiddleware):
        state_schema = State

    return RouterMiddleware(routing(router, mode, prices, clock, Reads(task, readings, success)))


class _Hooks:
    """What LangChain's agents ask of middleware."""

    tools: Any = ()

    def __init__(self, routing: Routing) -> None:
        self._routing, self._runs = routing, Runs(routing)

    def before_agent(self, state: Any, runtime: Any) -> dict[str, Any]:
        """Begins an episode."""
        del runtime
        return {_RUN: self._runs.begin(state)}

    async def abefore_agent(self, state: Any, runtime: Any) -> dict[str, Any]:
        """Begins an episode."""
        return self.before_agent(state, runtime)

    def after_agent(self, state: Any, runtime: Any) -> None:
        """Ends the episode."""
        del runtime
        run = self._runs.close(state.get(_RUN, ""))
        if run is not None:
            run.end(success=self._routing.read("success", state))

    async def aafter_agent(self, state: Any, runtime: Any) -> None:
        """Ends the episode."""
        self.after_agent(state, runtime)

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Offers what is worth calling, and counts the model's tokens."""
        return self._answered(request, handler(self._offered(request)))

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Offers what is worth calling, and counts the model's tokens."""
        return self._answered(request, await handler(self._offered(request)))

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Makes a call or answers that it is not the time for it, and books what came of it."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        with self._booked(request) as result:
            result.append(handler(request))
        return result[0]

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Makes a call or answers that it is not the time for it, and books what came of it."""
        refused = self._refused(request)
        if refused is not None:
            return refused
        with self._booked(request) as result:
            result.append(await handler(request))
        return result[0]

    def _run(self, state: Any) -> Run:
        return self._runs.of(state.get(_RUN, ""))

    def _offered(self, request: Any) -> Any:
        """The request, as the router would have it."""
        with self._routing.router.harmless("wrap_model_call"):
            turn = self._run(request.state).turn(map(_name, request.tools))
            if turn.forced is not None:
                return request.override(tool_choice=turn.forced)
            if turn.shut and self._routing.mode == "mask":
                return request.override(tools=[tool for tool in request.tools if _name(tool) not in turn.shut])
        return request

    def _answered(self, request: Any, response: Any) -> Any:
        """The response, whose tokens are counted."""
        with self._routing.router.harmless("wrap_model_call"):
            for message in getattr(response, "result", [response]):
                usage = getattr(message, "usage_metadata", None) or {}
                self._run(request.state).spend(usage.get("input_tokens"), usage.get("output_tokens"))
        return response

    def _refused(self, request: Any) -> Any:
        """The answer to a call that is not to be made; None: it is."""
        with self._routing.router.harmless("wrap_tool_call"):
            call = request.tool_call
            said = self._run(request.state).refusal(call["name"])
            if said is not None:
                messages = framework("langchain_core.messages", "langchain")
                return messages.ToolMessage(said, name=call["name"], tool_call_id=call["id"])
        return None

    @contextlib.contextmanager
    def _booked(self, request: Any) -> Iterator[list[Any]]:
        """Books a call, whose result the block puts into the list."""
        run, name, result = self._run(request.state), request.tool_call["name"], []
        try:
            yield result
        except Exception as error:
            if not _pauses(error):
                run.record(name, ok=False)
            raise
        run.record(name, ok=getattr(result[0], "status", None) != "error")


def _name(tool: Any) -> Any:
    """A tool's name; tools that the provider brings are dictionaries."""
    return tool.get("name") if isinstance(tool, dict) else getattr(tool, "name", None)


def _pauses(error: Exception) -> bool:
    """Whether it is no failure but LangGraph's way of asking the user, or of leaving a graph."""
    return isinstance(error, framework("langgraph.errors", "langchain").GraphBubbleUp)


class Edge:
    """A conditional edge of a LangGraph graph: the router says which node comes next. Made by `edge`."""

    def __init__(self, routing: Routing, nodes: tuple[str, ...], end: str) -> None:
        """Nodes by name, and where the graph goes when it is done."""
        self._routing, self._nodes, self._end = routing, nodes, end
        self._current: contextvars.ContextVar[Run | None] = contextvars.ContextVar("aljax_run", default=None)

    @contextlib.contextmanager
    def episode(self, task: str | None = None, readings: Mapping[str, float] | None = None) -> Iterator[Run]:
        """Within it the graph is run once: ``with route.episode(): graph.invoke(...)``.

        Args:
          task: which task it is, for the log.
          readings: what is known of the task, for routers exported with ``--readings``.

        Yields:
          The run, whose `success` may be set.
        """
        run = Run(self._routing, task=task, readings=readings)
        token = self._current.set(run)
        try:
            yield run
        except BaseException as error:
            run.end(type(error).__name__, answered=False)
            raise
        else:
            run.end()
        finally:
            self._current.reset(token)

    def __call__(self, state: Any) -> str:
        """The node that comes next.

        Args:
          state: the graph's, of which nothing is asked.

        Returns:
          Its name, or the end: when the router would end, or when the episode is past what training covered.

        Raises:
          UserError: outside of `episode`.
        """
        del state
        run = self._run()
        turn = run.turn(self._nodes)
        return self._end if run.over or turn.forced is None else turn.forced

    def node(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A node whose outcomes are booked: it fails where it raises.

        Args:
          name: of the node, as the router knows it.
          function: what it does, synchronous or asynchronous.

        Returns:
          The same, booked.
        """

        @contextlib.contextmanager
        def booked() -> Iterator[None]:
            run = self._run()
            try:
                yield
            except Exception as error:
                if not _pauses(error):
                    run.record(name, ok=False)
                raise
            run.record(name, ok=True)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def waited(*args: Any, **options: Any) -> Any:
                with booked():
                    return await function(*args, **options)

            return waited

        @functools.wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            with booked():
                return function(*args, **options)

        return called

    def _run(self) -> Run:
        run = self._current.get()
        if run is None:
            raise UserError("the graph runs outside of an episode: with route.episode(): graph.invoke(...)")
        return run


def edge(
    router: Router | str | Path,
    nodes: Iterable[str],
    *,
    end: str = "__end__",
    prices: tuple[float, float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Edge:
    """A conditional edge for ``StateGraph.add_conditional_edges``.

    Args:
      router: a router, or the file of one.
      nodes: names of nodes that may come next, those of the router's rows.
      end: where the graph goes when the router would end; default: LangGraph's END.
      prices: dollars a million tokens read and written; None: dollars are not known.
      clock: what tells the seconds.

    Returns:
      The edge; its `node` wraps the nodes, its `episode` the graph's run.

    Raises:
      RouterError: the file is none of a router.
    """
    return Edge(routing(router, "force", prices, clock), tuple(nodes), end)
