"""The belief about which rows are up: the filter against Bayes by brute force, and against what comes true."""

import dataclasses
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from aljax import env
from aljax.networks.belief import Belief, begin_belief, update_belief
from aljax.networks.inputs import Inputs
from aljax.state import FAILED, WORKED

from outages import everything
from tiny import tiny_scenario

STEPS, EPISODES = 5, 40


@jax.jit
def played(key, params):
    """Episodes of random rows: states before each step and after the last, rows, failures, beliefs before each step."""
    start, luck, choice = jax.random.split(key, 3)
    actions = jax.random.randint(choice, (STEPS, EPISODES), 0, env.num_actions(params))
    observation, state = env.reset(start, params, (EPISODES,))

    def step(carry, given):
        state, belief = carry
        action, key = given
        moved, costs = env.transition(state, action, env.draw_luck(key, params, (EPISODES,)), params)
        failed = costs[3] > 0
        after = update_belief(params, belief, action, failed, env.observe(moved, params))
        return (moved, after), (state, failed, after.up, env.observe(state, params))

    first = begin_belief(params, observation)
    (last, _), (states, failed, up, seen) = jax.lax.scan(step, (state, first), (actions, jax.random.split(luck, STEPS)))
    states = jax.tree.map(lambda each, end: jnp.concatenate([each, end[None]]), states, last)
    return states, actions, failed, jnp.concatenate([first.up[None], up]), seen


def failing_up(table, row, state, params):
    """P(the call fails before any time-out | up), of the true state. Exact here: nothing is misread."""
    if not table["allowed"][row] or state["calls"][row] >= table["max_calls"][row]:
        return 1.0
    out = np.abs(state["z"]) > np.asarray(params.tolerance) + 1e-5
    if (table["requires"][row] & out).any():
        return 1.0
    if np.isfinite(table["rate_limit"][row]) and state["tokens"][row] < 1 - 1e-5:
        return 1.0
    column = {WORKED: "after_ok", FAILED: "after_failed"}.get(int(state["status"][row]), "failure")
    return table[column][row]


def likelihood(table, row, time, failed, seconds, p, down):
    """Of failing or working in so many seconds: probabilities of atoms, densities between them."""
    sigma, timeout = table["latency_spread"][row], table["timeout"][row]

    def at(mean):
        """(of ending by itself after `seconds`, of being cut) for a call of this mean"""
        mean = mean + table["latency_growth"][row] * time
        if sigma == 0:
            cut = mean > timeout
            return float(not cut and abs(mean - seconds) < 1e-3), float(cut and abs(timeout - seconds) < 1e-3)
        law = stats.lognorm(sigma, scale=mean * np.exp(-(sigma**2) / 2))
        cut = abs(seconds - timeout) < 1e-3
        return (0.0, law.sf(timeout)) if cut else (law.pdf(seconds), 0.0)

    fails = 1.0 if down else p
    bad, good = at(table["failure_latency"][row]), at(table["latency"][row])
    return fails * sum(bad) + (1 - fails) * good[1] if failed else (1 - fails) * good[0]


def by_brute_force(table, row, history):
    """P(up) after a history: the sum over all hidden paths of the row, one after the other."""
    a, b = 1 / table["mean_uptime"][row], 1 / table["mean_downtime"][row]
    q, weights = a / (a + b), np.zeros(2)
    for path in itertools.product((0, 1), repeat=len(history) + 1):
        weight = q if path[0] else 1 - q
        for event, down, after in zip(history, path, path[1:], strict=False):
            if event.row == row:
                weight *= event.likelihoods[down]
            stays = q + (down - q) * np.exp(-(a + b) * event.seconds)
            weight *= stays if after else 1 - stays
        weights[path[-1]] += weight
    return weights[0] / weights.sum()


class Event(NamedTuple):
    """A step."""

    row: int
    seconds: float
    likelihoods: tuple[float, float]
    """Of what came of it, if the row was up and if it was down."""


@pytest.mark.parametrize("seed", range(4))
def test_the_filter_is_bayes_over_all_hidden_paths(seed):
    params = everything(seed).params
    states, actions, failed, up, _ = jax.tree.map(np.asarray, played(jax.random.key(seed), params))
    table = {name: np.asarray(getattr(params.actions, name), np.float64) for name in (
        "failure", "after_ok", "after_failed", "latency", "failure_latency", "latency_growth", "latency_spread",
        "timeout", "mean_uptime", "mean_downtime", "rate_limit", "max_calls",
    )}  # fmt: skip
    table |= {name: np.asarray(getattr(params.actions, name)) for name in ("requires", "allowed")}
    assert 0.2 < failed.mean() < 0.8
    for n in range(10):
        history = []
        for t in range(STEPS + 1):
            for row in range(3):
                np.testing.assert_allclose(up[t, row, n], by_brute_force(table, row, history), atol=2e-4)
            if t < STEPS:
                here = {name: getattr(states, name)[t, ..., n] for name in ("z", "status", "calls", "tokens")}
                seconds, row = float(states.latency[t + 1, n]) - float(states.latency[t, n]), actions[t, n]
                p = failing_up(table, row, here, params)
                found = (likelihood(table, row, t, failed[t, n], seconds, p, down) for down in (False, True))
                history.append(Event(row, seconds, tuple(found)))
    np.testing.assert_array_equal(up[:, 3], 1.0)  # never goes down


def test_what_the_belief_says_comes_true():
    """Of all times that it says p, rows are up in p of them: bin by bin, within five standard errors."""
    params = everything().params
    plays = jax.jit(jax.vmap(played, (0, None)))(jax.random.split(jax.random.key(5), 500), params)
    up, said = ~np.asarray(plays[0].down)[:, :, :3], np.asarray(plays[3])[:, :, :3]
    bins = np.minimum((said * 10).astype(int), 9)
    for number in range(10):
        here = bins == number
        assert here.sum() > 1_000
        error = up[here].mean() - said[here].mean()
        assert abs(error) < 5 * up[here].std() / np.sqrt(here.sum() / (STEPS + 1)) and abs(error) < 0.03


def test_beliefs_recomputed_along_a_log_are_those_of_the_play():
    params, inputs = everything().params, Inputs("belief", last=True)
    _, actions, failed, up, seen = played(jax.random.key(1), params)
    found = np.asarray(inputs.along(params, seen, actions, failed))
    size, rows = env.observation_size(params), env.num_actions(params)
    assert found.shape == (STEPS, inputs.size(params), EPISODES)
    np.testing.assert_array_equal(found[:, :size], seen)
    np.testing.assert_allclose(found[:, size : size + rows], up[:STEPS], atol=1e-6)
    np.testing.assert_array_equal(found[1:, size + rows :].argmax(1), actions[:-1])


def test_who_is_told_sees_what_is_up_behind_the_observation():
    params, inputs = everything().params, Inputs("told")
    _, state = env.reset(jax.random.key(0), params, (100,))
    found = inputs.observe(params, state)
    assert found.shape == (inputs.size(params), 100)
    np.testing.assert_array_equal(found[-4:], ~np.asarray(state.down))
    np.testing.assert_array_equal(found[:-4], env.observe(state, params))
    assert 0 < np.asarray(state.down)[:3].mean() < 1


@pytest.mark.parametrize("kind", ["belief", "told"])
def test_where_nothing_goes_down_all_is_up(kind):
    params, inputs = tiny_scenario().params, Inputs(kind)
    _, state = env.reset(jax.random.key(0), params, (5,))
    observation = inputs.observe(params, state)
    memory = inputs.begin(params, observation)
    for _ in range(2):
        shown = np.asarray(inputs.seen(params, observation, memory))
        assert shown.shape == (inputs.size(params), 5)
        np.testing.assert_array_equal(shown[env.observation_size(params) :], 1.0)
        action = jnp.zeros(5, jnp.int32)
        memory = inputs.remember(params, memory, action, action == 0, observation)


def test_what_cannot_happen_leaves_a_belief_that_is_a_belief():
    """A log may say anything, such as that a call failed that never does while its row is surely up."""
    params = everything().params
    params = dataclasses.replace(params, actions=dataclasses.replace(params.actions, failure=jnp.zeros(4)))
    observation, _ = env.reset(jax.random.key(0), params)
    update = jax.jit(update_belief)
    for down in (0.0, 1.0):
        belief = Belief(jnp.full(4, down), observation)
        for row in range(4):
            for failed in (True, False):
                after = update(params, belief, jnp.int32(row), jnp.bool_(failed), observation).up
                # No second has passed.
                certain = (jnp.arange(4) == row) & (not failed)
                np.testing.assert_array_equal(after, jnp.where(certain, 1.0, 1.0 - down))
