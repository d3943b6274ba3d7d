"""One step ahead over every row: q against the oracle, along episodes with memory, and the gradient that it makes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env, train
from aljax.chance import draw_chance
from aljax.learning import lookahead
from aljax.learning.baselines import Running
from aljax.learning.gradients import critic_values
from aljax.learning.returns import residual_costs, step_costs
from aljax.networks.architecture import MLP
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import Learned, learned_of
from aljax.rollout import play
from aljax.scenario import load_scenario

import oracle
import strategies
from paths import CONFIG, averages_to, enumeration

ALL_ROWS = dataclasses.replace(CONFIG, gradient="all_rows", normalise=False)


def value(variables, observation):
    """A critic of one hidden layer, in double precision."""
    layers = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    hidden = np.tanh(observation @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"])
    return float((hidden @ layers["Dense_1"]["kernel"] + layers["Dense_1"]["bias"])[0])


def told(case, variables, offset):
    """q of every row at the play's start by the oracle, and whether no rounding may decide any of it. ``[A]``"""
    params, state, A = case.params, case.state, oracle.rows(case.params)
    found, firm = np.zeros(A), np.ones(A, bool)
    for row in range(A):
        p = oracle.failure_probability(state, row, params)
        for chance, u in ((p, -1.0), (1.0 - p, 1.0)):
            moved, costs = oracle.step(state, row, u, case.eps[0], params, float(case.n[0]), case.v[0])
            after = 0.0 if moved["done"] else offset + value(variables, oracle.observe(moved, params))
            found[row] += chance * (float(params["weights"] @ costs) + after)
            firm[row] &= oracle.margin(state, row, 9.0, moved, **case.at(0)) > 1e-4
    return found, firm


@pytest.mark.parametrize("units", [strategies.EVERYTHING, strategies.NOTHING])
def test_what_every_row_would_cost_equals_the_oracle_in_every_environment(units):
    """Failing or working by its probability; noise, seconds and outages by the episode's own luck."""
    rng, offset, network = np.random.default_rng(5), 0.75, MLP(1, (6,))
    plays = [strategies.random_play(rng, strategies.random_environment(rng, 3, 2, units)) for _ in range(150)]
    plays = [case._replace(state=case.told()[0][t % 3]) if t % 4 else case for t, case in enumerate(plays)]
    lucks = [jax.tree.map(lambda leaf: leaf[0], strategies.env_luck(case)) for case in plays]
    states = [strategies.env_state(case.state, case.params) for case in plays]
    plays = [  # as single precision has it
        case._replace(state=oracle.state_dict(state, case.params)) for case, state in zip(plays, states, strict=True)
    ]
    together = zip(states, lucks, [strategies.env_params(case.params) for case in plays], strict=True)
    state, luck, params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *together)
    variables = network.init(jax.random.key(1), env.observation_size(strategies.env_params(plays[0].params)))
    variables = network.scaled(variables, 300.0)
    critic = Learned(variables, network)

    @jax.jit
    @jax.vmap
    def costs(state, luck, params):
        memory = critic.begin(params, critic.observe(params, state))
        return lookahead.row_costs(state, memory, luck, critic, jnp.float32(offset), params)

    expected, firm = map(np.stack, zip(*(told(case, variables, offset) for case in plays), strict=True))
    np.testing.assert_allclose(costs(state, luck, params)[firm], expected[firm], rtol=2e-4, atol=2e-4)
    assert firm.mean() > 0.9
    assert np.std(expected[firm]) > 1.0


@pytest.mark.parametrize(
    ("policy", "inputs"), [("mlp", "observation"), ("mlp", "belief"), ("mlp", "told"), ("gru", "belief")]
)
def test_where_nothing_is_left_to_chance_the_row_played_costs_what_came_and_what_followed(policy, inputs):
    """Calls fail only because of outages, which are hidden but drawn: whatever the critic remembers must go on."""
    certain = [f"actions.failure.{name}=0" for name in ("primary", "fallback", "local")]
    params = load_scenario("outage", certain).params
    config = TrainConfig(hidden=(5,), policy=policy, inputs=inputs)
    state = train.init(jax.random.key(2), params, config=config, steps=6)
    state = state._replace(running=Running(jnp.arange(6.0), jnp.float32(4.0), jnp.float32(1.0)))

    @jax.jit
    def both(key):
        chance = draw_chance(key, params, episodes=64, steps=6)
        played = play(chance, learned_of(config, params, state.variables, greedy=False), params)
        ahead = lookahead.look_ahead(chance, played, state, config, params)
        values = critic_values(state.critic, state.running, played, config)
        after = jnp.where(played.alive[1:], values[1:], 0.0)
        return ahead, step_costs(played, params)[:-1] + after, played

    ahead, came, played = both(jax.random.key(3))
    np.testing.assert_allclose(ahead.played[:-1], came, rtol=1e-4, atol=1e-4)
    assert not np.asarray(played.alive).all() and (np.asarray(played.costs)[:, 3] > 0).any()
    for found in (ahead.expected, ahead.played, ahead.spread, ahead.rows[0]):
        assert not np.asarray(found)[~np.asarray(played.alive)].any()


def test_the_gradient_over_all_rows_is_unbiased_whatever_the_critic_says():
    """With all of the residual and λ = 1; Adam's first moments after one update show the gradient."""
    scenario, _, variables, exact = enumeration(ALL_ROWS)
    hyper = Hyperparameters(entropy=0.0, clip_norm=np.inf, trace=1.0, residual=1.0)
    state = train.init(jax.random.key(6), scenario.params, config=ALL_ROWS, steps=scenario.horizon)
    state = state._replace(
        variables=variables, running=Running(jnp.array([9.0, 6.0, 3.0]), jnp.float32(30.0), jnp.float32(1.0))
    )
    advance = functools.partial(train.advance, config=ALL_ROWS, steps=scenario.horizon)

    @functools.partial(jax.jit, static_argnames="hyper")
    def gradients(keys, hyper):
        def one(key):
            after = advance(state._replace(key=key), 0, 1, hyper, scenario.params)
            return jax.flatten_util.ravel_pytree(after.optimiser.mean)[0] / 0.1

        return jax.lax.map(one, keys, batch_size=500)

    averages_to(np.asarray(gradients(jax.random.split(jax.random.key(7), 3000), hyper), np.float64), exact)


def test_residuals_vanish_where_every_expectation_comes_true():
    costs = jnp.array([[1.0, 4.0], [2.0, 0.0], [3.0, 0.0]])
    togo = jnp.array([[6.0, 4.0], [5.0, 0.0], [3.0, 0.0]])
    np.testing.assert_allclose(residual_costs(costs, togo, togo, 0.7), 0.0, atol=1e-6)
    wrong = togo.at[1, 0].add(2.0)
    np.testing.assert_allclose(residual_costs(costs, wrong, wrong, 0.5)[:, 0], [2.0 - 0.5 * 2.0, -2.0, 0.0], atol=1e-6)


def test_looking_ahead_learns_where_sampling_does():
    """And a run in pieces is the run in one."""
    scenario, _, _, _ = enumeration(ALL_ROWS)
    config = dataclasses.replace(ALL_ROWS, episodes=800, normalise=True)
    advance = jax.jit(functools.partial(train.advance, config=config, steps=3))
    state, hyper = train.init(jax.random.key(0), scenario.params, config=config, steps=3), Hyperparameters()
    whole = advance(state, 0, config.updates, hyper, scenario.params)
    parts = advance(advance(state, 0, 37, hyper, scenario.params), 37, config.updates, hyper, scenario.params)
    jax.tree.map(np.testing.assert_array_equal, whole.variables, parts.variables)
    cost = np.asarray(whole.curve.cost)
    assert cost[-20:].mean() < 0.8 * cost[:5].mean()
