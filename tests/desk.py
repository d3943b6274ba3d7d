"""A scenario that events tell all about, with every column that a router keeps books of."""

import functools
import json

import jax

from aljax.networks.inputs import architecture_of, inputs_of
from aljax.options import TrainConfig
from aljax.policy import Learned, learned_of
from aljax.router import Router
from aljax.routing.export import Settings, router_text
from aljax.scenario import Scenario, parse_scenario

DESK = """
title = "A desk: search, update, ask, hand over"
coordinates = ["answers", "record"]
horizon = 8
blind = [true, true]
auto_end = false
start_low = 0.0
start_high = 0.0
start_points = [[1.0, 0.0], [2.0, 1.0], [3.0, 1.0]]
start_weights = [3.0, 2.0, 1.0]
drift = { answers = 0.05 }
tolerance = 0.5
tolerance_low = inf
latency_limit = 90.0
latency_budget = 60.0

[weights]
latency = 0.05
money = 1.0
violation = 4.0
failure = 0.5
divergence = 0.0

[actions.search]
latency = 3.0
money = 0.01
failure = 0.2
after_ok = 0.1
after_failed = 0.6
failure_latency = 6.0
latency_growth = 0.4
latency_spread = 0.8
timeout = 20.0
mean_uptime = 50.0
mean_downtime = 15.0
rate_limit = 0.2
rate_burst = 2.0
shift = { answers = -1.0 }

[actions.update]
latency = 2.0
money = 0.02
failure = 0.3
failure_money = 0.05
money_growth = 0.01
timeout = 9.0
mean_uptime = 80.0
mean_downtime = 20.0
max_calls = 3
shift = { record = -1.0 }

[actions.wait]
kind = "reason"
latency = 5.0
money = 0.0
reveals = false

[actions.escalate]
kind = "escalate"
latency = 20.0
money = 3.0

[actions.terminate]
kind = "terminate"
latency = 0.5
money = 0.0
"""
RULES = """
[[rules]]
name = "look_first"
template = "precedence"
a = "search"
b = "update"

[[rules]]
template = "response"
a = "update"
b = "wait"

[[rules]]
name = "rest"
template = "cooldown"
a = "wait"
seconds = 12.0

[[rules]]
template = "absence"
a = "search"
n = 4
on = "call"

[[rules]]
template = "not_chain_succession"
a = "search"
b = "wait"
mode = "soft"
weight = 0.5
"""


@functools.cache
def desk(*overrides: str, ruled: bool = False) -> Scenario:
    text = DESK + RULES if ruled else DESK
    return parse_scenario(text, name="desk", where="desk.toml", overrides=overrides)


def untrained(scenario: Scenario, **options) -> Learned:
    """A policy of first weights, made large: its choices are various and its probabilities far apart."""
    config = TrainConfig(**options)
    architecture = architecture_of(config, len(scenario.action_names))
    weights = architecture.init(jax.random.key(3), inputs_of(config).size(scenario.params))
    return learned_of(config, scenario.params, architecture.scaled(weights, 300.0))


@functools.cache
def text(policy="mlp", inputs="belief", ruled=False, **settings) -> bytes:
    scenario = desk(ruled=ruled)
    learned = untrained(scenario, policy=policy, inputs=inputs, hidden=(16,))
    return router_text(scenario, learned, Settings(**settings), about={})


def loaded(folder, *, policy="mlp", inputs="belief", ruled=False, log=None) -> Router:
    path = folder / "router.json"
    path.write_bytes(text(policy, inputs, ruled))
    return Router.load(path, log=log)


def drawing(log=None, seed: int = 1) -> Router:
    """A router that draws among several rows, whose weights are small."""
    data = json.loads(text())
    layers = data["network"]["layers"]
    layers["Dense_1"] = {
        "kernel": [[0.02 * weight for weight in unit] for unit in layers["Dense_1"]["kernel"]],
        "bias": layers["Dense_1"]["bias"],
    }
    return Router(data, log, True, seed, "router.json")
