"""What must not creep back, and does not depend on the machine: compilations, callbacks, size of programs, memory."""

import dataclasses
import functools
import gc

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import train
from aljax.learning import baselines, gradients, returns
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned
from aljax.rollout import blocks_of, in_blocks, rollout
from aljax.scenario import load_scenario
from aljax.training import train_seeds

from counting import compilations
from tiny import tiny_scenario

CONFIG = TrainConfig(episodes=64, batch=16, hidden=(8,))
BASELINES = ("none", "running", "batch", "leave_one_out", "critic")


@functools.cache
def run(config=CONFIG, steps=3):
    return jax.jit(functools.partial(train.train, config=config, steps=steps))


def numbers(**changed):
    return jax.tree.map(np.float32, dataclasses.replace(Hyperparameters(), **changed))


def equations(jaxpr):
    """All operations of a traced program, those of its loops and branches included."""
    count = 0
    for equation in jaxpr.eqns:
        count += 1
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                count += equations(inner)
    return count


def traced(scenario, config, **static):
    function = functools.partial(train.train, config=config, steps=scenario.horizon, **static)
    return jax.make_jaxpr(function)(jax.random.key(0), numbers(), scenario.params)


def test_a_new_number_compiles_nothing():
    params = tiny_scenario().params
    key = jax.random.key(0)
    jax.block_until_ready(run()(key, numbers(), params))
    leaves, tree = jax.tree.flatten(params)
    changed = [leaf if leaf.dtype == bool else leaf + leaf.dtype.type(1) for leaf in leaves]
    other_key = jax.random.key(1)
    with compilations() as found:
        for field in dataclasses.fields(Hyperparameters):
            run()(key, numbers(**{field.name: 0.25}), params)
        run()(other_key, numbers(), tree.unflatten(changed))
    assert found == []


def test_an_equal_configuration_compiles_nothing():
    scenario, protocol = tiny_scenario(), Protocol(seeds=3, evaluation_episodes=10)
    train_seeds(scenario, CONFIG, Hyperparameters(), protocol)
    with compilations() as found:
        train_seeds(
            tiny_scenario("weights.latency=0.7"),
            TrainConfig(episodes=64, batch=16, hidden=(8,)),
            Hyperparameters(learning_rate=0.3, entropy=0.1),
            dataclasses.replace(protocol, seed=5),
        )
    assert found == []


def test_training_compiles_two_programs():
    config = TrainConfig(episodes=48, batch=16, hidden=(7,))
    scenario, protocol = tiny_scenario(), Protocol(seeds=3, evaluation_episodes=10)
    train_seeds(scenario, CONFIG, Hyperparameters(), protocol)
    with compilations() as found:
        train_seeds(scenario, config, Hyperparameters(), protocol)
    assert len(found) == 2, found  # the first weights, and the updates


@pytest.mark.parametrize("baseline", BASELINES)
def test_nothing_calls_back_to_the_host(baseline):
    program = str(traced(tiny_scenario(), dataclasses.replace(CONFIG, baseline=baseline)))
    assert "callback" not in program and "infeed" not in program and "outfeed" not in program


def test_the_program_does_not_grow_with_updates_episodes_or_horizon():
    scenario = tiny_scenario()
    size = equations(traced(scenario, CONFIG).jaxpr)
    assert size == equations(traced(scenario, dataclasses.replace(CONFIG, episodes=64_000)).jaxpr)
    assert size == equations(traced(scenario, dataclasses.replace(CONFIG, batch=32)).jaxpr)
    assert size == equations(traced(tiny_scenario("horizon=30"), CONFIG).jaxpr)


def test_the_program_stays_small():
    """Compile time goes with it. When this fails, look at what a change added before raising the number."""
    assert equations(traced(load_scenario("paper"), TrainConfig()).jaxpr) < 2_000
    with_critic = equations(traced(tiny_scenario(), CONFIG).jaxpr)
    assert equations(traced(tiny_scenario(), dataclasses.replace(CONFIG, baseline="none")).jaxpr) < with_critic


def test_a_rollout_draws_its_chance_outside_the_loop():
    scenario = tiny_scenario()
    state = train.init(jax.random.key(0), scenario.params, config=CONFIG, steps=3)
    policy = Learned(state.variables, train.policy_architecture(CONFIG, scenario.params), greedy=False)
    function = functools.partial(rollout, episodes=8, steps=3)
    program = jax.make_jaxpr(function)(jax.random.key(0), policy, scenario.params)
    (loop,) = (equation for equation in program.jaxpr.eqns if equation.primitive.name == "scan")
    inside = str(loop.params["jaxpr"])
    assert "random_bits" not in inside and "shift_left" not in inside and "erf_inv" not in inside


def test_a_run_gives_its_memory_to_its_result_and_keeps_none():
    scenario, protocol = tiny_scenario(), Protocol(seeds=3, evaluation_episodes=10)
    trained = train_seeds(scenario, CONFIG, Hyperparameters(), protocol)
    kept = sum(leaf.nbytes for leaf in jax.tree.leaves(trained.policy.variables))
    del trained
    gc.collect()
    before = sum(array.nbytes for array in jax.live_arrays())
    trained = train_seeds(scenario, CONFIG, Hyperparameters(), protocol)
    gc.collect()
    after = sum(array.nbytes for array in jax.live_arrays())
    assert after - before <= kept + 1024, "only the policies live on; curves are NumPy's"
    del trained


# Blocks


def test_blocks_are_equal_and_small_enough_where_that_is_possible():
    assert [blocks_of(episodes, 512) for episodes in (1, 30, 512, 513, 1024, 12_000)] == [1, 1, 1, 3, 2, 24]
    assert blocks_of(1021, 512) == 1, "a prime number of episodes would make blocks of one"
    for episodes in range(1, 3000, 7):
        assert episodes % blocks_of(episodes, 512) == 0


def test_one_block_takes_the_key_as_it_is():
    key = jax.random.key(3)
    np.testing.assert_array_equal(in_blocks(jax.random.uniform, key, 1)[0], jax.random.uniform(key))
    two = in_blocks(jax.random.uniform, key, 2)
    np.testing.assert_array_equal(two, [jax.random.uniform(jax.random.fold_in(key, i)) for i in range(2)])


@pytest.mark.parametrize("baseline", ["critic", "leave_one_out"])
def test_an_update_in_blocks_is_the_update_on_all_their_episodes(monkeypatch, baseline):
    """The first moments of Adam after one update show the gradient."""
    scenario = tiny_scenario()
    params, config = scenario.params, dataclasses.replace(CONFIG, baseline=baseline)
    state = train.init(jax.random.key(4), params, config=config, steps=3)
    state = state._replace(running=baselines.Running(jnp.array([3.0, 2.0, 1.0]), jnp.float32(2.0), jnp.float32(1.0)))
    hyper = numbers(clip_norm=np.inf)
    monkeypatch.setattr(train, "blocks_of", lambda episodes, most: 4)
    after = jax.jit(functools.partial(train.advance, config=config, steps=3))(state, 0, 1, hyper, params)

    network = train.policy_architecture(config, params)
    sampler, key = Learned(state.variables, network, greedy=False), jax.random.fold_in(state.key, 0)
    keys = [jax.random.fold_in(key, block) for block in range(4)]
    played = [rollout(key, sampler, params, episodes=4, steps=3) for key in keys]
    played = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, -1), *played)
    if baseline == "critic":
        values = gradients.critic_values(state.critic, state.running, played, config)
        advantages = returns.lambda_advantages(returns.step_costs(played, params), values, played.alive, hyper.trace)
    else:
        advantages = baselines.baselined(baseline, returns.costs_to_go(played, params), played.alive, state.running)
    advantages /= jnp.sqrt((advantages**2).sum() / played.alive.sum() + 1e-8)
    gradient, entropy = jax.grad(gradients.surrogate, has_aux=True)(
        state.variables, network, played, advantages, hyper.entropy, params
    )
    found = jax.tree.map(lambda moment: moment / 0.1, after.optimiser.mean)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-6), found, gradient)
    np.testing.assert_allclose(after.curve.entropy[0], entropy, rtol=1e-5)
    np.testing.assert_allclose(after.curve.cost[0], (returns.step_costs(played, params)).sum(0).mean(), rtol=1e-5)
