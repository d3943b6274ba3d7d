"""Programs are lowered for GPUs and TPUs without one, and without a plugin: nothing that only a CPU has slips in."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import evaluate, rollout, train
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import heuristics, learned_of
from aljax.scenario import load_scenario
from aljax.target import target_of

SMALL = {"episodes": 8, "batch": 4, "hidden": (4,)}
WORLDS = {
    "paper": ("paper", (), TrainConfig(**SMALL)),
    "loops over steps": ("timeouts", ("horizon=50",), TrainConfig(**SMALL)),
    "noise and misreading": ("service_desk", ("horizon=3",), TrainConfig(**SMALL)),
    "remembers": ("outage", ("horizon=3",), TrainConfig(**SMALL, policy="gru")),
    "belief": ("outage", ("horizon=3",), TrainConfig(**SMALL, inputs="belief")),
}
"""Scenario, changes, configuration."""
KEY = jax.ShapeDtypeStruct((), jax.random.key(0).dtype)
PROGRAMS = ("update", "rollout", "evaluation")


@functools.cache
def world(name):
    """Scenario, configuration, and the shapes of training's first state."""
    scenario, changes, config = WORLDS[name]
    found = load_scenario(scenario, changes)
    begin = functools.partial(train.init, config=config, steps=found.horizon)
    return found, config, jax.eval_shape(begin, KEY, found.params)


def program(name, what, target):
    """A function, and shapes of its arguments."""
    scenario, config, state = world(name)
    static = {"steps": scenario.horizon, "target": target}
    if what == "update":
        numbers = jax.tree.map(np.float32, Hyperparameters())
        advance = functools.partial(train.advance, config=config, **static)
        return advance, (state, jnp.int32(0), jnp.int32(1), numbers, scenario.params)

    def play(key, variables, params):
        policy = learned_of(config, params, variables, greedy=False)
        return rollout.rollout(key, policy, params, episodes=4, **static)

    def compare(key, variables, params):
        policies = {"learned": learned_of(config, params, variables)} | dict(heuristics(scenario))
        return evaluate.evaluate(key[None], policies, params, trained=frozenset(), episodes=4, **static)

    return (play if what == "rollout" else compare), (KEY, state.variables, scenario.params)


def asked_of_the_host(function, args, platform):
    """What a program lowered for a platform asks the host; JAX itself refuses what is not for the platform."""
    ours = [jax.export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")]  # kernels, which have no other form yet
    exported = jax.export.export(jax.jit(function), platforms=[platform], disabled_checks=ours)(*args)
    assert exported.platforms == (platform,)
    return re.findall(r"\w*(?:callback|infeed|outfeed|lapack)\w*", exported.mlir_module())


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("what", PROGRAMS)
@pytest.mark.parametrize("name", WORLDS)
def test_a_program_is_lowered_for_an_accelerator_and_asks_the_host_nothing(name, what, platform):
    function, args = program(name, what, target_of(platform))
    assert not asked_of_the_host(function, args, platform)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_question_to_the_host_would_be_seen(platform):
    def asks(x):
        return jax.pure_callback(np.sin, x, x)

    with pytest.raises((AssertionError, ValueError)):
        assert not asked_of_the_host(asks, (jax.ShapeDtypeStruct((), jnp.float32),), platform)
