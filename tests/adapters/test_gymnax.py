"""gymnax's environment: what it gives, to whom, and that it is the environment."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aljax
from aljax import env
from aljax.options import Protocol

from alike import library

gymnax = library("gymnax", "gymnax")

from gymnax.environments import environment  # noqa: E402

from aljax.adapters import gymnax as adapter  # noqa: E402

SIX = hasattr(environment.Environment, "is_truncated")
needs_six = pytest.mark.skipif(not SIX, reason="gymnax has a registry and six values since 1.0")
COSTS = set(env.COMPONENTS)


@pytest.fixture(scope="module")
def escalation():
    return adapter.make("escalation")


def test_an_episode_is_the_environments(escalation):
    ours, params = escalation
    numbers = params.numbers
    key = jax.random.key(3)
    seen, state = ours.reset(key, params)
    for step in range(4):
        key, step_key = jax.random.split(key)
        seen, *rest = ours.step_env(step_key, state, step % 3, params)
        expected, moved, costs, done = env.step(step_key, state, jnp.int32(step % 3), numbers)
        state, reward, ended, info = rest
        np.testing.assert_array_equal(seen, expected)
        assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), state, moved)) and ended == done
        np.testing.assert_allclose(reward, -(numbers.weights * costs).sum(), rtol=1e-6)
        assert set(info) == COSTS | {"success"} and all(np.shape(value) == () for value in info.values())
        np.testing.assert_array_equal([info[name] for name in env.COMPONENTS], costs)


@needs_six
def test_the_horizon_ends_an_episode_and_only_fewer_steps_cut_it_short(escalation):
    ours, params = escalation
    step = jax.jit(ours.step)

    def last(params, row=0):
        _, state = ours.reset(jax.random.key(0), params)
        for number in range(20):
            _, state, _, terminated, truncated, _ = step(jax.random.key(number), state, row, params)
            if terminated or truncated:
                assert state.time == 0  # the next episode
                return number + 1, bool(terminated), bool(truncated)

    assert last(params) == (10, True, False) and params.max_steps_in_episode == 10
    assert last(params.replace(max_steps_in_episode=3)) == (3, False, True)
    stop = aljax.load_scenario("escalation").action_names.index("terminate")
    assert last(params, stop) == (1, True, False)
    assert last(params.replace(max_steps_in_episode=1), stop) == (1, True, True)  # as gymnax's own environments do


def test_before_gymnax_1_done_is_both(escalation, monkeypatch):
    ours, params = escalation
    params = params.replace(max_steps_in_episode=1)
    _, state = ours.reset(jax.random.key(0), params)
    monkeypatch.setattr(adapter, "_SIX", False)
    *_, done, _ = ours.step_env(jax.random.key(1), state, 0, params)
    assert done and not state.done


def test_five_values_for_those_who_unpack_five():
    ours, params = adapter.make("escalation", five_values=True)
    params = params.replace(max_steps_in_episode=1)
    _, state = ours.reset(jax.random.key(0), params)
    _, state, _, done, info = jax.vmap(ours.step, (0, None, None, None))(
        jax.random.split(jax.random.key(1), 2), state, 0, params
    )
    assert done.all() and (state.time == 0).all() and set(info) == COSTS | {"success"}


@needs_six
def test_scenarios_are_in_the_registry_under_names_that_rejax_takes_too():
    for name in aljax.scenario_names():
        assert {f"{name}-aljax", f"{name}-aljax-5"} <= set(gymnax.registered_envs)
    ours, params = gymnax.make("paper-aljax", overrides={"horizon": 4})
    assert ours.name == "paper" and params.max_steps_in_episode == 4 and type(params.max_steps_in_episode) is int
    five, params = gymnax.make("paper-aljax-5")
    _, state = five.reset(jax.random.key(0), params)
    assert len(five.step(jax.random.key(1), state, 0)) == 5


def test_a_copy_is_the_same_environment_and_other_numbers_are_another(escalation):
    ours, params = escalation
    again = copy.deepcopy(ours)
    assert again == ours and hash(again) == hash(ours)
    assert adapter.make("escalation", {"horizon": 9})[0] != ours
    assert adapter.make("escalation", five_values=True)[0] != ours or not SIX
    dearer = dataclasses.replace(params.numbers, weights=2 * params.numbers.weights)
    _, state = ours.reset(jax.random.key(0), params)
    rewards = [ours.step_env(jax.random.key(1), state, 0, p)[2] for p in (params, params.replace(numbers=dearer))]
    assert rewards[1] == 2 * rewards[0]


@pytest.mark.parametrize("name", aljax.scenario_names())
def test_spaces_are_those_of_what_is_given(name):
    ours, params = adapter.make(name)
    seen, state = ours.reset(jax.random.key(0), params)
    assert ours.observation_space(params).contains(seen) and seen.dtype == jnp.float32
    assert ours.action_space(params).n == ours.num_actions == env.num_actions(params.numbers)
    shapes = {name: space.shape for name, space in ours.state_space(params).spaces.items()}
    assert shapes == {name: leaf.shape for name, leaf in vars(state).items() if leaf is not None}


def test_what_cannot_be_is_said_in_a_line():
    with pytest.raises(aljax.UserError, match="unknown scenario 'papr'"):
        adapter.make("papr")


def test_a_policy_costs_here_what_it_costs_in_the_table(escalation):
    """Over episodes of other luck: the means agree within their errors."""
    ours, params = escalation

    def episode(key):
        def body(carry, key):
            state, paid = carry
            _, state, reward, _, _ = ours.step_env(key, state, 1, params)
            return (state, paid + reward), None

        start, key = jax.random.split(key)
        _, state = ours.reset(start, params)
        return jax.lax.scan(body, (state, 0.0), jax.random.split(key, 10))[0][1]

    here = -np.asarray(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 4_000)))
    protocol = Protocol(seeds=1, evaluation_episodes=4_000)
    table = aljax.adapters.evaluate(lambda seen: np.ones(len(seen), int), "escalation", protocol=protocol)
    there = np.asarray(table.outcome.total)
    error = np.hypot(here.std(), there.std()) / np.sqrt(4_000)
    assert abs(here.mean() - there.mean()) < 4 * error
