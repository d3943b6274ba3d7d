"""Scenarios whose rows go down: one with something of everything, and one small enough to enumerate."""

import numpy as np

from aljax.scenario import Scenario, parse_scenario

EVERYTHING = """
title = "Outages beside all else that a call's outcome and seconds may depend on"
coordinates = ["error", "doubt"]
horizon = 6
start_low = { error = 1.0, doubt = -1.0 }
start_high = { error = 5.0, doubt = 1.0 }
drift = { error = 0.0, doubt = 0.25 }
tolerance = 0.5
auto_end = false

[weights]
latency = 0.1
money = 1.0
violation = 2.0
failure = 0.5
divergence = 0.1

[actions.spread]
latency = 2.0
failure_latency = 3.0
money = 0.25
failure = 0.2
after_ok = 0.1
after_failed = 0.5
latency_spread = 0.75
timeout = 4.0
mean_uptime = 10.0
mean_downtime = 4.0
shift = { error = -1.0 }

[actions.growing]
latency = 1.0
failure_latency = 1.5
latency_growth = 0.5
money = 0.5
failure = 0.25
timeout = 2.25
mean_uptime = 5.0
mean_downtime = 5.0
shift = { error = -1.5 }

[actions.limited]
latency = 0.5
money = 0.125
failure = 0.125
rate_limit = 0.5
rate_burst = 2.0
requires = { doubt = true }
mean_uptime = 3.0
mean_downtime = 6.0
shift = { error = -2.0 }

[actions.steady]
kind = "reason"
latency = 1.0
money = 0.5
failure = 0.25
max_calls = 2
shift = { doubt = -0.5 }
"""


def everything(seed: int = 0) -> Scenario:
    """With other numbers for every seed but 0."""
    rng, changes = np.random.default_rng(seed), []
    if seed:
        for row in ("spread", "growing", "limited"):
            for column, low, high in (("mean_uptime", 1, 20), ("mean_downtime", 0.5, 10), ("failure", 0, 0.6)):
                changes.append(f"actions.{column}.{row}={rng.uniform(low, high)}")
        changes += [f"actions.{column}.spread={rng.random()}" for column in ("after_ok", "after_failed")]
        changes += [f"actions.failure_latency.{row}={rng.uniform(0.5, 5)}" for row in ("spread", "growing")]
    return parse_scenario(EVERYTHING, name="everything", where="everything.toml", overrides=changes)
