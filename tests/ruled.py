"""Tiny scenarios with rules. `verdicts.Verdicts` says what is legal in them."""

from aljax.host import toml
from aljax.scenario import Scenario, parse_scenario

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
