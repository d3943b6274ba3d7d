"""A router as a server of the Model Context Protocol: ``aljax serve DIR``, with the tools `next_action` and `record`.

A server does not stand between an agent and its tools: it says what is worth calling, and the agent goes by it.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aljax.host.modules import framework
from aljax.integrations.shared import Mode, Runs, routing
from aljax.router import Router


@dataclasses.dataclass
class Next:
    """What `next_action` answers."""

    action: str | None
    """The call to make; null where nothing that the router knows is available."""
    allowed: list[str]
    """The calls worth making now."""
    probabilities: dict[str, float]
    """How likely the policy is to make each."""
    reason: str
    """In words."""
    fallback: bool
    """It was not the trained policy that chose."""


@dataclasses.dataclass
class Recorded:
    """What `record` answers."""

    seconds: float
    """That the call took, as booked."""
    over: bool
    """The episode has ended, or is past what training covered."""


def server(router: Router | str | Path, *, mode: Mode = "mask", clock: Callable[[], float] = time.perf_counter) -> Any:
    """The server, to ``run``.

    Args:
      router: a router, or the file of one.
      mode: with `force` only the router's choice is worth making; else all that are nearly as likely.
      clock: what tells the seconds.

    Returns:
      An ``MCPServer`` (``FastMCP`` before version 2).

    Raises:
      UserError: there is no such mode.
      RouterError: the file is none of a router.
      ImportError: the protocol's library is not installed.
    """
    runs = Runs(routing(router, mode, None, clock))
    try:
        found: Any = framework("mcp.server.mcpserver", "mcp").MCPServer("aljax")
    except ImportError:
        found = framework("mcp.server.fastmcp", "mcp").FastMCP("aljax")

    def next_action(
        available: list[str] | None = None,
        episode: str = "",
        task: str | None = None,
        readings: dict[str, float] | None = None,
    ) -> Next:
        """Which tool to call next. Ask before each call, then call one of `allowed`, best of all `action`.

        Args:
          available: names of the tools that could be called now; without it, all that the router knows.
          episode: a name for what is under way, the same until it is done.
          task: what kind of task it is.
          readings: what is known of the task at its start, by name, if the router takes such readings.
        """
        found, force = runs.of(episode, task, readings), mode == "force"
        names = found.known(available)
        choice = found.choose(names, binding=force)
        worth = [choice.action] if force and choice.action is not None else choice.allowed
        allowed = [name for name in available or names if name in worth or name not in names]
        return Next(choice.action, allowed, choice.probabilities, choice.reason, choice.fallback)

    def record(
        name: str,
        ok: bool,
        episode: str = "",
        seconds: float | None = None,
        dollars: float | None = None,
        done: bool = False,
        success: bool | None = None,
    ) -> Recorded:
        """What came of a call. Tell it after each, whether it worked or failed.

        Args:
          name: of the tool that was called.
          ok: whether it worked.
          episode: the name that next_action was given.
          seconds: that it took; without it, those since next_action was asked.
          dollars: that it cost.
          done: it was the last call of the episode.
          success: with done, whether the task was done.
        """
        run = runs.of(episode)
        took = run.record(name, ok, seconds, dollars)
        if done:
            runs.close(episode)
            run.end(answered=False, success=success)
        return Recorded(took, run.over)

    for tool in (next_action, record):
        found.tool()(tool)
    return found
