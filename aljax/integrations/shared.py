"""What the integrations share: one run of an agent under a router, whatever the framework.

A run asks the router at each turn of the model what to offer, says of a call whether it is to be made, and books what
comes of it: whether it worked, the seconds since the choice, so that the model's turn before the call is in them as in
calibrated scenarios, and the dollars of its tokens. Nothing here raises into the agent: an error is the fallback, which
offers everything, and is counted in `aljax.router.Router.errors`.
"""

import dataclasses
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from aljax.errors import UserError, listed, short
from aljax.router import Choice, Router

Mode = Literal["block", "mask", "force"]
"""`block`: the list of tools stays as it is, and a call that is not worth making is answered "not now"; `mask`: the
list is cut to what is worth offering; `force`: the router chooses the tool."""
MOST_RUNS = 10_000
"""Runs that may be under way at once; of more, the oldest are taken for abandoned."""


class Turn(NamedTuple):
    """What the router says at a turn of the model."""

    shut: frozenset[str]
    """Tools not worth calling now, or forbidden by a rule: never all; in the mode `force` only those forbidden."""
    forced: str | None
    """The tool to call, in the mode `force`; None: the model is free."""
    offered: tuple[str, ...] = ()
    """Tools that the router knows and that are worth calling now."""
    reason: str = ""
    """In words."""


FREE = Turn(frozenset(), None)
"""Nothing is shut, nothing forced."""


@dataclasses.dataclass(frozen=True)
class Reads:
    """What an agent's own objects say of a run, read by functions of the user's. Whatever these raise is a fallback."""

    task: Callable[[Any], str] | None = None
    """Which task it is, for the log."""
    readings: Callable[[Any], Mapping[str, float]] | None = None
    """What the agent knows at the start of coordinates that no event tells, for routers exported with --readings."""
    success: Callable[[Any], bool] | None = None
    """Whether the task was done, for the log."""


@dataclasses.dataclass(frozen=True)
class Routing:
    """A router, and how agents go by it. Made by `routing`."""

    router: Router
    mode: Mode
    prices: tuple[float, float] | None
    """Dollars a million tokens that a model reads, and that it writes."""
    clock: Callable[[], float]
    """Seconds, from any moment on."""
    reads: Reads = Reads()

    def read(self, what: Literal["task", "readings", "success"], given: Any) -> Any:
        """What one of `reads` says.

        Args:
          what: which.
          given: what it reads.

        Returns:
          That; None where there is no such function, or where it failed.
        """
        function = getattr(self.reads, what)
        with self.router.harmless(what):
            found = None if function is None else function(given)
            return None if found is None else _READ_AS[what](found)


_READ_AS: dict[str, Callable[[Any], Any]] = {"task": str, "readings": dict, "success": bool}


def routing(
    router: Router | str | Path,
    mode: Mode,
    prices: tuple[float, float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    reads: Reads = Reads(),
) -> Routing:
    """Checks what an integration was given.

    Args:
      router: a router, or the file of one.
      mode: what becomes of tools that are not worth calling.
      prices: dollars a million tokens read and written; None: dollars are not known.
      clock: what tells the seconds.
      reads: what the agent's own objects say of a run.

    Returns:
      The router, loaded, and how agents go by it.

    Raises:
      UserError: there is no such mode, or prices are no two numbers.
      RouterError: the file is none of a router.
    """
    if mode not in get_args(Mode):
        raise UserError(f"mode: expected one of {listed(get_args(Mode))}, got {short(mode)}")
    if prices is not None:
        try:
            given, written = (float(price) for price in prices)
        except (TypeError, ValueError):
            raise UserError(
                f"prices: expected dollars a million tokens read and written, got {short(prices)}"
            ) from None
        prices = given, written
    return Routing(router if isinstance(router, Router) else Router.load(router), mode, prices, clock, reads)


class Run:
    """One run of an agent: an episode of the router's, and what is open in it. Its threads and tasks may share it."""

    success: bool | None = None
    """Whether the task was done; None: not known. What `end` is not told, it takes from here."""

    def __init__(
        self,
        routing: Routing,
        *,
        episode: str | None = None,
        task: str | None = None,
        readings: Mapping[str, float] | None = None,
    ) -> None:
        """Begins an episode of that name, for a task of which the agent knows so much."""
        router = routing.router
        self._routing, self._episode = routing, router.start(episode=episode, task=task, readings=readings)
        self._turn, self._lock = FREE, threading.Lock()
        self._since, self._settled = routing.clock(), True
        self._dollars: float | None = None if routing.prices is None else 0.0
        self._tools: frozenset[str] = frozenset()
        # An agent can always answer instead of calling a tool.
        self._answer = next((row["name"] for row in router.rows if row["kind"] == "terminate"), None)
        if router.log is not None:  # an episode that never ends would spoil the log
            weakref.finalize(self, self._episode.end, None, "abandoned")

    @property
    def over(self) -> bool:
        """Whether the episode has ended, or is past what training covered."""
        return bool(self._episode.over)

    def known(self, names: Iterable[Any] | None) -> list[str]:
        """The names that the router knows.

        Args:
          names: any; None: all that it knows.

        Returns:
          Those of them, in order.
        """
        router = self._routing.router
        return list(router.names) if names is None else [name for name in names if name in router.index]

    def turn(self, names: Iterable[Any]) -> Turn:
        """What to offer at a turn of the model. It never raises.

        Args:
          names: of the tools that there are; those that the router does not know are left alone.

        Returns:
          The turn, which `refusal` goes by until the next.
        """
        with self._lock:
            self._turn = FREE
            with self._routing.router.harmless("turn"):
                self._turn = self._asked(self.known(names))
            return self._turn

    def choose(self, names: Iterable[str], *, binding: bool) -> Choice:
        """The router's own word, for who goes by it himself. It never raises.

        Args:
          names: of what there is.
          binding: whether the call that it chooses will be made.

        Returns:
          The choice.
        """
        if self._settled:  # a turn that came to nothing counts with the next
            self._since, self._settled = self._routing.clock(), False
        return self._episode.choose(names, binding=binding)

    def refusal(self, name: str) -> str | None:
        """What to answer to a call that is not to be made now.

        Args:
          name: of the tool.

        Returns:
          Words for the model; None: the call is to be made. What a rule forbids now, even if the turn began otherwise,
          is never to be made.
        """
        turn, barred = self._turn, {}
        with self._routing.router.harmless("refusal"):
            barred = self._episode.barred
        worth = [tool for tool in turn.offered if tool not in barred]
        instead = f" Worth calling now: {listed(worth)}." if worth else ""
        if name in barred:
            return f"Not now: {name} was not called: {barred[name]}.{instead}"
        return f"Not now: {name} was not called.{instead} (Router: {turn.reason})" if name in turn.shut else None

    def spend(self, tokens_in: int | None, tokens_out: int | None) -> None:
        """Counts a turn of the model.

        Args:
          tokens_in: that it read; None: not known.
          tokens_out: that it wrote; None: not known.
        """
        prices = self._routing.prices
        with self._lock:
            if prices is None or self._dollars is None or tokens_in is None or tokens_out is None:
                self._dollars = None
            else:
                self._dollars += (tokens_in * prices[0] + tokens_out * prices[1]) * 1e-6

    def record(self, name: str, ok: bool, seconds: float | None = None, dollars: float | None = None) -> float:
        """Books a call. It never raises.

        Args:
          name: of the tool; what the router does not know is left alone.
          ok: whether it worked.
          seconds: that it took; None: those since the choice, or since the call before it in the same turn.
          dollars: that it cost; None: those of the model's tokens, where they are known.

        Returns:
          The seconds, as booked.
        """
        with self._lock:
            now = self._routing.clock()
            waited, self._since, self._settled = now - self._since, now, True
            spent, self._dollars = self._dollars, None if self._routing.prices is None else 0.0
            seconds = waited if seconds is None else seconds
            if name in self._routing.router.index:
                self._episode.record(name, ok=ok, seconds=seconds, dollars=spent if dollars is None else dollars)
            return seconds

    def end(self, reason: str | None = None, *, answered: bool = True, success: bool | None = None) -> None:
        """Closes the episode. It never raises.

        Args:
          reason: why it ended.
          answered: the agent itself ended the run; where the router knows a row for that, it is booked.
          success: whether the task was done; None: as the run's own `success` has it.
        """
        if answered and self._answer is not None and self._answer not in self._tools and not self._settled:
            self.record(self._answer, ok=True)
        self._episode.end(success=self.success if success is None else success, reason=reason)

    def _asked(self, known: list[str]) -> Turn:
        """What the router says of tools that it knows."""
        self._tools = frozenset(known)
        if not known:
            return FREE
        force = self._routing.mode == "force"
        also = [] if self._answer is None or self._answer in self._tools else [self._answer]
        choice = self.choose([*known, *also], binding=force)
        free = tuple(name for name in known if name not in choice.barred) or tuple(known)
        if force:
            forced = choice.action if choice.action in self._tools and not choice.fallback else None
            return Turn(self._tools - set(free), forced, free, choice.reason)
        offered = tuple(name for name in free if name in choice.allowed) or free
        return Turn(self._tools - set(offered), None, offered, choice.reason)


class Runs:
    """Runs that are under way, by name, for integrations whose framework carries no objects."""

    def __init__(self, routing: Routing) -> None:
        self._routing, self._lock = routing, threading.Lock()
        self._open: dict[str, Run] = {}

    def begin(self, given: Any = None) -> str:
        """Begins a run.

        Args:
          given: what the task and its readings are read from.

        Returns:
          Its name.
        """
        name, read = uuid.uuid4().hex, self._routing.read
        self.of(name, read("task", given), read("readings", given))
        return name

    def of(self, name: str, task: str | None = None, readings: Mapping[str, float] | None = None) -> Run:
        """The run of a name, begun if there is none.

        Args:
          name: of the run.
          task: which task it is, for the log, if it begins here.
          readings: what the agent knows of it, if it begins here.

        Returns:
          The run.
        """
        with self._lock:
            if name not in self._open:
                while len(self._open) >= MOST_RUNS:
                    self._open.pop(next(iter(self._open))).end("abandoned", answered=False)
                self._open[name] = Run(self._routing, episode=name, task=task, readings=readings)
            return self._open[name]

    def close(self, name: str) -> Run | None:
        """Takes a run out, for whoever ends it.

        Args:
          name: of the run.

        Returns:
          The run; None: there is none.
        """
        with self._lock:
            return self._open.pop(name, None)
