"""Whole rollouts in one kernel: interpreted, the general path's episodes; compiled for a GPU, one launch."""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import train
from aljax.chance import draw_chance
from aljax.kernels.play import covers
from aljax.learning import gradients
from aljax.options import TrainConfig
from aljax.policy import Policy, Random, heuristics, learned_of
from aljax.rollout import rollout
from aljax.scenario import load_scenario, scenario_names
from aljax.target import Target

from strategies import EVERYTHING, MAX_HORIZON, env_params, random_environment

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from chips import target as chips

GENERAL, KERNEL, GPU = Target("cpu"), Target("gpu", "interpreted"), Target("gpu")
EPISODES = 40
"""Not a whole number of a kernel's blocks."""

play = jax.jit(
    rollout, static_argnames=("episodes", "steps", "target"), compiler_options=GENERAL.compiler_options(once=True)
)


def sampler(params, config, greedy=False):
    """A policy of first weights that prefers some rows."""
    weights = train.init(jax.random.key(0), params, config=config, steps=2).variables
    weights = train.policy_architecture(config, params).scaled(weights, 50.0)
    return learned_of(config, params, weights, greedy=greedy)


def same(one, other):
    """What a decision, a count or a sum says is equal bit for bit; what a division says, to the last ones."""
    chex.assert_trees_all_equal_shapes_and_dtypes(one, other)
    np.testing.assert_allclose(one.observation, other.observation, rtol=1e-5, atol=1e-6)
    for name in ("action", "alive", "success", "legal"):
        chex.assert_trees_all_equal(getattr(one, name), getattr(other, name))
    chex.assert_trees_all_close((one.costs, one.final), (other.costs, other.final), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", scenario_names())
def test_episodes_are_those_of_the_general_path(name):
    scenario = load_scenario(name)
    policy = sampler(scenario.params, TrainConfig(hidden=(12,)))
    given = jax.random.key(1), policy, scenario.params
    one, other = (play(*given, episodes=EPISODES, steps=scenario.horizon, target=x) for x in (GENERAL, KERNEL))
    assert len(np.unique(one.action)) > 2
    same(one, other)
    # What is looked up is equal bit for bit; products and roots may be rounded once or twice, by compilers' choice.
    exact = [3] if scenario.params.actions.latency_spread is not None else [0, 1, 3]
    np.testing.assert_array_equal(one.costs[:, exact], other.costs[:, exact])


def test_gradients_are_those_of_the_general_path():
    """Of the loss on an update's episodes, in an environment whose legal rows vary."""
    scenario, config = load_scenario("timeouts"), TrainConfig(hidden=(12,))
    policy = sampler(scenario.params, config)

    @functools.partial(jax.jit, static_argnames="target")
    def gradient(policy, params, target):
        played = rollout(jax.random.key(1), policy, params, episodes=EPISODES, steps=scenario.horizon, target=target)
        advantages = played.costs.sum(1) - played.costs.mean()
        loss = functools.partial(gradients.surrogate, architecture=policy.architecture, played=played)
        return jax.grad(loss, has_aux=True)(policy.variables, advantages=advantages, entropy_weight=0.1, params=params)[
            0
        ]

    one, other = (gradient(policy, scenario.params, x) for x in (GENERAL, KERNEL))
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(one)) > 0.1
    chex.assert_trees_all_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["deep", "greedy", "believing", "heuristics"])
def test_policies_play_as_on_the_general_path(case):
    scenario = load_scenario("outage" if case == "believing" else "escalation")
    params = scenario.params
    config = TrainConfig(hidden=(12, 20)) if case == "deep" else TrainConfig(hidden=(12,))
    if case == "believing":
        config = dataclasses.replace(config, inputs="belief")
    policy = sampler(params, config, greedy=case == "greedy")
    if case == "heuristics":
        policy = heuristics(scenario)["cost_aware"]
    given = jax.random.key(2), policy, params
    one, other = (play(*given, episodes=EPISODES, steps=scenario.horizon, target=x) for x in (GENERAL, KERNEL))
    same(one, other)


def test_environments_policies_and_seeds_are_vmapped():
    """Random environments that use every column, each under weights of its own: all in one kernel."""
    rng = np.random.default_rng(0)
    environments = [env_params(random_environment(rng, 3, 2, EVERYTHING)) for _ in range(40)]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *environments)
    config, one_of_them = TrainConfig(hidden=(12,)), environments[0]
    weights = [train.init(jax.random.key(seed), one_of_them, config=config, steps=2).variables for seed in range(40)]
    policies = learned_of(config, one_of_them, jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights), greedy=False)

    @functools.partial(jax.jit, static_argnames="target")
    def run(keys, policies, params, target):
        one = functools.partial(rollout, episodes=8, steps=MAX_HORIZON, target=target)
        return jax.vmap(one)(keys, policies, params)

    given = jax.random.split(jax.random.key(3), 40), policies, params
    one, other = (run(*given, x) for x in (GENERAL, KERNEL))
    assert len(np.unique(one.action)) == 3
    same(one, other)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OfManyEpisodes(Policy):
    """Somebody's own, which takes for granted that there is an axis of episodes."""

    name: ClassVar[str] = "of_many"

    def logits(self, params, observation, legal, memory):
        return jnp.where(jnp.arange(legal.shape[0])[:, None] == (observation[-1] > 0.5), 0.0, -jnp.inf)


def test_a_policy_that_knows_no_single_episodes_takes_the_general_path():
    scenario = load_scenario("paper")
    given = jax.random.key(2), OfManyEpisodes(), scenario.params
    one, other = (play(*given, episodes=EPISODES, steps=scenario.horizon, target=x) for x in (GENERAL, KERNEL))
    assert len(np.unique(one.action)) == 2
    same(one, other)


def test_there_is_a_kernel_for_every_scenario_and_for_networks_that_fit():
    chance = {}
    for name in scenario_names():
        params = load_scenario(name).params
        draw = functools.partial(draw_chance, episodes=EPISODES, steps=3)
        chance[name] = jax.eval_shape(draw, jax.random.key(0), params)
        assert covers(chance[name], sampler(params, TrainConfig()), params, GPU), name
        assert covers(chance[name], Random(), params, GPU), name
    large = env_params(random_environment(np.random.default_rng(0), 20, 5, EVERYTHING))
    drawn = jax.eval_shape(functools.partial(draw_chance, episodes=EPISODES, steps=3), jax.random.key(0), large)
    assert not covers(drawn, sampler(large, TrainConfig()), large, GPU), "it would compile for minutes"
    params = load_scenario("outage").params
    for config, fits in (
        (TrainConfig(hidden=(128, 128)), False),
        (TrainConfig(inputs="belief"), True),
        (TrainConfig(policy="gru"), False),
        (TrainConfig(inputs="told"), True),
    ):
        assert covers(chance["outage"], sampler(params, config), params, GPU) == fits, config


@pytest.mark.parametrize(("name", "most"), [("paper", 4), ("timeouts", 5)])
def test_a_rollout_is_a_handful_of_launches_on_a_gpu(name, most):
    """One kernel, and what draws the chance."""
    chip = chips.catalogue()["h100"]
    why = chips.missing(chip)
    if why is not None:
        pytest.skip(why)
    scenario = load_scenario(name)
    policy = sampler(scenario.params, TrainConfig())
    made = []
    for seeds, episodes in ((5, 30), (64, 1024)):
        play = functools.partial(rollout, episodes=episodes, steps=scenario.horizon, target=GPU)
        keys, policies = jax.tree.map(
            lambda leaf, seeds=seeds: jax.ShapeDtypeStruct((seeds, *leaf.shape), leaf.dtype),
            (jax.random.key_data(jax.random.key(0)), policy),
        )
        one = functools.partial(lambda play, key, *given: play(jax.random.wrap_key_data(key), *given), play)
        every = jax.vmap(one, in_axes=(0, 0, None))
        made.append(chips.compile_for(chip, every, keys, policies, scenario.params).launches)
    few, many = made
    for found in made:
        assert found.kinds["custom-call"] == 1 and not found.loops and found.conditionals == 0
    assert few.total <= most
    assert many.total <= few.total + 2, "what all numbers share of their drawing, the compiler may work out beforehand"
