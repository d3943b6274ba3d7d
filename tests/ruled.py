"""Tiny scenarios with rules, and by brute force over all continuations what is legal in them."""

import functools

from aljax.host import toml
from aljax.scenario import Scenario, parse_scenario

import declare

BARE = """
title = "Three rows and no task"
coordinates = ["nothing"]
start_low = 0.0
start_high = 0.0
tolerance = 0.5
auto_end = false

[weights]
latency = 0.125
money = 1.0
violation = 2.0
failure = 1.0
divergence = 0.0
"""
ROW = """
[actions.{name}]
kind = "{kind}"
latency = 1.0
money = 0.0
failure = 0.5
"""


def ruled(rules: list[dict], rows: str = "abc", ends: str = "", horizon: int = 5, *overrides: str) -> Scenario:
    """A scenario in which only rules matter: every row may fail, and nothing is to be done."""
    parts = [BARE, *(ROW.format(name=row, kind="terminate" if row in ends else "tool") for row in rows)]
    for rule in rules:
        parts += ["\n[[rules]]", *(f"{key} = {toml.dump(value)}" for key, value in rule.items())]
    text = "\n".join([f"horizon = {horizon}", *parts])
    return parse_scenario(text, name="ruled", where="ruled.toml", overrides=overrides)


class BruteForce:
    """What is legal, and what is owed, from whole traces alone."""

    def __init__(self, rules: list[dict], rows: str, ends: str, horizon: int, most: dict[str, int]) -> None:
        self.hard = [rule for rule in rules if rule.get("mode", "hard") == "hard"]
        self.rows, self.ends, self.horizon, self.most = rows, ends, horizon, most
        self.keepable = functools.cache(self._keepable)

    def holds(self, steps) -> bool:
        return all(declare.kept(rule, steps) for rule in self.hard)

    def unkept(self, steps) -> int:
        return sum(not declare.kept(rule, steps) for rule in self.hard)

    def free(self, steps) -> list[str]:
        """Rows that may be called but for the rules."""
        called = [row for row, _ in steps]
        return [row for row in self.rows if called.count(row) < self.most.get(row, self.horizon)]

    def legal(self, steps) -> set[str]:
        return {row for row in self.free(steps) if self._goes(row, steps)}

    def _goes(self, row: str, steps) -> bool:
        after = (*steps, (row, True))
        return self.holds(after) if row in self.ends else self.keepable(after)

    def _keepable(self, steps) -> bool:
        if len(steps) == self.horizon:
            return self.holds(steps)
        return any(self._goes(row, steps) for row in self.free(steps))
