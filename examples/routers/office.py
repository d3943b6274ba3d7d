"""The world of loop.py: tools that fail as the rows of office.toml say, tasks that need them, and a clock."""

import random
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("office.toml")
WORLD: dict[str, Any] = tomllib.loads(FILE.read_text(encoding="utf-8"))
TOOLS = {name: row for name, row in WORLD["actions"].items() if name != "terminate"}
TURN = WORLD["actions"]["terminate"]["latency"]
"""Seconds that the model takes to decide: in the scenario they are part of the call that follows, if any does."""
PATIENCE = 6
"""Turns after which the agent alone gives up."""


def task_of(number: int) -> str:
    """The task of an episode, one of sixty."""
    return f"task {number % 60}"


def needs_of(number: int) -> dict[str, float]:
    """How many calls of each tool have to work: starts of the scenario take turns as often as their weights say."""
    weighed = zip(WORLD["start_points"], WORLD["start_weights"], strict=True)
    points = [point for point, weight in weighed for _ in range(int(weight))]
    return dict(zip(WORLD["coordinates"], points[number % len(points)], strict=True))


class Office:
    """An episode under way: what its task still needs, what its tools did, and the clock."""

    def __init__(self, number: int, mode: Any = None, told: bool = False) -> None:
        """Begins the episode of this number, of an agent alone (None) or of one that goes by a router in some mode.

        Told, the router gets to know at the start what the task needs.
        """
        self.number, self.task, self.mode = number, task_of(number), mode
        self.left, self.rng = needs_of(number), random.Random(number)
        self.readings = needs_of(number) if told else None
        self.now, self.turns, self.failures = 0.0, 0, 0
        self.asked: str | None = None
        self.refused: set[str] = set()
        self.column = dict.fromkeys(TOOLS, "failure")

    def clock(self) -> float:
        """Seconds since the episode began."""
        return self.now

    def since_epoch(self) -> float:
        """The same on a calendar, where episodes do not overlap."""
        return 1e9 + 1e4 * self.number + self.now

    def turn(self, offered: Collection[str], forced: str | None) -> str | None:
        """What the scripted model calls now, of what it is offered; None: it says that it is done.

        In the mode `force`, what it is forced to call. Else it does what the task needs, tries again what failed, and
        gives up in the end; what is not offered, or was answered "not now" since its last call, it leaves alone.
        """
        self.now, self.turns = self.now + TURN, self.turns + 1
        if self.mode == "force":
            return forced
        if self.asked is not None:  # and nothing came of it
            self.refused.add(self.asked)
        todo = [name for name, left in self.left.items() if left > 0 and name in offered and name not in self.refused]
        self.asked = None if self.turns > PATIENCE else next(iter(todo), None)
        return self.asked

    def works(self, name: str) -> bool:
        """Calls a tool, and says whether it worked."""
        row, self.asked = TOOLS[name], None
        self.refused.clear()
        self.now += row["latency"] - TURN
        failed = self.rng.random() < row[self.column[name]]
        self.column[name] = "after_failed" if failed else "after_ok"
        self.failures += failed
        self.left[name] -= not failed
        return not failed

    def cost(self, violation: float) -> float:
        """What the episode cost, where what a task lacks beyond the tolerance weighs so much."""
        missing = sum(max(left - WORLD["tolerance"], 0.0) for left in self.left.values())
        weights = WORLD["weights"]
        return weights["latency"] * self.now + weights["failure"] * self.failures + violation * missing
