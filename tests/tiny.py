"""A scenario small enough to enumerate: two tools, a way out, one coordinate, three steps."""

import jax
import jax.numpy as jnp

from aljax import env
from aljax.scenario import Scenario, parse_scenario

TINY = """
title = "Two tools, one coordinate"
coordinates = ["error"]
horizon = 3
drift = 0.25
start_low = 2.0
start_high = 2.0
tolerance = 0.125

[weights]
latency = 0.5
money = 1.0
violation = 2.0
failure = 1.0
divergence = 0.5

[actions.weak]
latency = 1.0
money = 0.25
failure = 0.25
shift = -0.5

[actions.strong]
latency = 2.0
money = 1.0
failure = 0.5
after_failed = 0.75
shift = -1.5

[actions.stop]
kind = "terminate"
latency = 0.5
money = 0.0
"""


def tiny_scenario(*overrides: str) -> Scenario:
    return parse_scenario(TINY, name="tiny", where="tiny.toml", overrides=overrides)


_transition = jax.jit(env.transition)


def branches(state, action, params):
    """The outcomes of an action without noise: (probability, next state, total cost) each."""
    again = int(state.status[action]) == env.FAILED
    failure = float((params.actions.after_failed if again else params.actions.failure)[action])
    for chance, u in ((failure, 0.0), (1 - failure, 0.999)):
        if chance > 0:
            moved, costs = _transition(state, jnp.int32(action), (u, jnp.zeros(env.num_coordinates(params))), params)
            yield chance, moved, float(params.weights @ costs)


def start_of(params):
    """The start at the lower corner of the box."""
    zero = jnp.zeros(env.num_coordinates(params))
    return env.begin(env.Start(zero, zero), params)
