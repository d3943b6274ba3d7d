"""Rollouts: the environment's own steps, many at once, on luck that every policy shares."""

import dataclasses
import functools
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env
from aljax.chance import draw_chance
from aljax.errors import UserError
from aljax.exact.structure import make_plan
from aljax.policy import Policy, Random, heuristics
from aljax.rollout import legal_steps, outcome, rollout
from aljax.scenario import load_scenario

from tiny import tiny_scenario


@functools.partial(jax.jit, static_argnames=("episodes", "steps"))
def play(key, policy, params, episodes=64, steps=14):
    played = rollout(key, policy, params, episodes=episodes, steps=steps)
    return played, outcome(played, params)


@pytest.fixture(scope="module")
def desk():
    return load_scenario("service_desk", ["horizon=14"])


def test_a_rollout_is_the_environments_own_steps(desk):
    """Replayed one episode and one step at a time through `transition` and `observe`."""
    params = desk.params
    played, result = play(jax.random.key(0), Random(), params)
    chance = draw_chance(jax.random.key(0), params, episodes=64, steps=14)
    transition, observe = jax.jit(env.transition), jax.jit(env.observe)
    for episode in range(8):
        state = env.begin(jax.tree.map(lambda leaf, i=episode: leaf[..., i], chance.start), params)
        total = np.zeros(5)
        for t in range(14):
            np.testing.assert_allclose(played.observation[t, :, episode], observe(state, params), rtol=1e-5, atol=1e-6)
            assert bool(played.alive[t, episode]) == (not bool(state.done))
            xi = jax.tree.map(lambda leaf, t=t, i=episode: leaf[t, ..., i], chance.luck)
            state, costs = transition(state, played.action[t, episode], xi, params)
            np.testing.assert_allclose(played.costs[t, :, episode], costs, rtol=1e-5, atol=1e-5)
            total += costs
        np.testing.assert_allclose(result.costs[:, episode], total, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(result.total[episode], params.weights @ total, rtol=1e-5)
        excess = env.violation(state.z, state.latency, state.money, params)
        assert bool(result.success[episode]) == (bool(state.done) and float(excess) == 0)
        assert int(result.steps[episode]) == int(state.time)


def test_policies_meet_the_same_starts_and_the_same_luck(desk):
    policies = heuristics(desk)
    played = {name: play(jax.random.key(1), policy, desk.params)[0] for name, policy in policies.items()}
    d = env.num_coordinates(desk.params)
    for name in policies:
        np.testing.assert_array_equal(played[name].observation[0, :d], played["random"].observation[0, :d])
    same = np.asarray(played["latency"].action[0] == played["random"].action[0])
    assert same.any()
    np.testing.assert_array_equal(
        np.asarray(played["latency"].costs)[0, :, same], np.asarray(played["random"].costs)[0, :, same]
    )


def test_every_episode_has_ended_and_later_steps_cost_nothing(desk):
    played, result = play(jax.random.key(2), Random(), desk.params)
    assert played.final.done.all()
    assert played.alive[0].all()
    assert (np.diff(np.asarray(played.alive).astype(int), axis=0) <= 0).all()
    assert (np.asarray(played.costs).transpose(0, 2, 1)[~np.asarray(played.alive)] == 0).all()
    assert (result.steps >= 1).all() and (result.steps <= 14).all()


def test_rows_not_allowed_are_never_played():
    params = load_scenario("service_desk", ["horizon=14", "actions.allowed.reason=false"]).params
    played, _ = play(jax.random.key(3), Random(), params)
    alive = np.asarray(played.alive)
    assert params.actions.allowed[played.action[alive]].all()


def test_the_same_key_gives_the_same_bits(desk):
    chex.assert_trees_all_equal(*(play(jax.random.key(4), Random(), desk.params) for _ in range(2)))


def test_rollouts_vmapped_over_keys_equal_each_alone(desk):
    keys = jax.random.split(jax.random.key(5), 3)
    together = jax.jit(jax.vmap(functools.partial(play, episodes=16), in_axes=(0, None, None)))(
        keys, Random(), desk.params
    )
    for i, key in enumerate(keys):
        alone = play(key, Random(), desk.params, episodes=16)
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, i=i: leaf[i], together), alone, rtol=1e-5, atol=1e-5)


def test_a_longer_scan_than_the_horizon_changes_nothing():
    params = tiny_scenario().params
    policy = heuristics(tiny_scenario())["latency"]
    short, longer = (play(jax.random.key(6), policy, params, 32, steps)[0] for steps in (3, 5))
    assert (np.asarray(longer.alive).sum(0) <= 3).all()
    np.testing.assert_array_equal(longer.observation[0], short.observation[0])  # the starts do not move


def test_chance_has_the_distributions_that_the_environment_names(desk):
    chance = draw_chance(jax.random.key(7), desk.params, episodes=4000, steps=10)
    for uniform in (chance.start.task, chance.luck.u, chance.choice):
        assert uniform.min() >= 0 and uniform.max() < 1
        np.testing.assert_allclose(uniform.mean(), 0.5, atol=0.01)
        np.testing.assert_allclose(uniform.var(), 1 / 12, atol=0.002)
    for normal in (chance.start.misread, chance.luck.epsilon):
        assert np.isfinite(normal).all()
        np.testing.assert_allclose([normal.mean(), normal.var()], [0, 1], atol=0.03)
        np.testing.assert_allclose((np.abs(normal) < 1.96).mean(), 0.95, atol=0.005)


def test_a_policy_remembers_what_it_played_and_saw():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Alternate(Policy):
        """Plays rows in turn, from memory alone, and counts failures that it saw."""

        name: ClassVar[str] = "alternate"

        def begin(self, params, observation):
            return jnp.zeros(observation.shape[1:], jnp.int32), jnp.zeros(observation.shape[1:], jnp.int32)

        def logits(self, params, observation, legal, memory):
            rows = jnp.arange(env.num_actions(params))[:, None]
            return jnp.where(rows == memory[0] % 2, 0.0, -jnp.inf)

        def remember(self, params, memory, action, failed, observation):
            return action.astype(jnp.int32) + 1, memory[1] + failed

    params = tiny_scenario("tolerance=0.0").params
    played, _ = play(jax.random.key(8), Alternate(), params, 16, 3)
    np.testing.assert_array_equal(np.asarray(played.action)[:, 0], [0, 1, 0])


def test_rows_whose_legality_depends_on_the_state_are_masked_kept_and_refused_by_the_solver(monkeypatch):
    """Row 0 once a task at most, as a rule would say it: what a later rule needs is `legal` and `legal_varies`."""
    scenario = tiny_scenario("tolerance=0.0", "actions.failure.weak=0.0")

    def legal(state, params):
        once = (jnp.arange(3).reshape((3,) + (1,) * state.time.ndim) > 0) | (state.time == 0)
        return once & env.always_legal(params).reshape((3,) + (1,) * state.time.ndim)

    monkeypatch.setattr(env, "legal", legal)
    monkeypatch.setattr(env, "legal_varies", lambda params: True)
    played = rollout(jax.random.key(0), Random(), scenario.params, episodes=64, steps=3)
    assert played.legal.shape == (3, 3, 64)
    alive, action = np.asarray(played.alive), np.asarray(played.action)
    assert (action[0] == 0).any() and not (action[1:] == 0)[alive[1:]].any()
    assert legal_steps(played, scenario.params).shape == (3, 3, 64)
    tools = heuristics(scenario)["latency"]
    again = rollout(jax.random.key(0), tools, scenario.params, episodes=8, steps=3)
    np.testing.assert_array_equal(again.action[:, 0], [0, 1, 1])

    state = rollout(jax.random.key(0), tools, scenario.params, episodes=1, steps=1).final
    state = jax.tree.map(lambda leaf: leaf[..., 0], state)
    _, costs = env.transition(state, jnp.int32(0), (jnp.float32(0.99), jnp.zeros(1)), scenario.params)
    assert costs[3] == 1  # played all the same: fails for certain

    with pytest.raises(UserError, match=r"needs rows that are legal by what max_calls and rules say of the past$"):
        make_plan(scenario.params, scenario=scenario)
