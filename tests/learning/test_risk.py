"""CVaR against brute force in float64, its gradient against enumeration, and multipliers that keep promises."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env, train
from aljax.checks import check
from aljax.errors import UserError
from aljax.learning import risk
from aljax.learning.baselines import Running, baselined
from aljax.learning.gradients import surrogate
from aljax.learning.returns import togo_of
from aljax.learning.risk import Risk, apart, charges, cvar
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned
from aljax.promises import Constraint, constraints_of, parse_constraint
from aljax.rollout import Outcome, rollout
from aljax.training import train_seeds

import expectimax
import oracle
from expectimax import laws, tail_mean
from paths import averages_to
from tiny import branches, start_of, tiny_scenario

ALPHA = 0.25
CHANGES = (
    "actions.failure.strong=0.2", "actions.after_failed.strong=0.5", "actions.shift.strong=[-2.2]",
    "actions.failure.weak=0.05", "actions.shift.weak=[-1.0]", "weights.violation=4.0",
)  # fmt: skip
SCENARIO = tiny_scenario(*CHANGES)
CONFIG = TrainConfig(episodes=160, batch=8, hidden=(8,), objective="cvar", constraints=("P(latency>4)<=0.1",))
NUMBERS = Hyperparameters(alpha=ALPHA)


def plain_params(scenario=SCENARIO):
    return oracle.params_dict(scenario.params)


@functools.cache
def every_law():
    ((_, start),) = expectimax.begin(plain_params(), [2.0])
    weights = np.asarray(plain_params()["weights"], float)
    return [[(chance, float(weights @ costs)) for chance, costs in law] for law in laws(plain_params(), start)]


def episodes(choose):
    """All that may come of a policy: each outcome's probability by luck alone, its components, observations, rows.

    Chance and costs are the independent environment's, what is seen the library's.
    """
    params, plain, found = SCENARIO.params, plain_params(), []

    def walk(state, simulated, chance, costs, seen, rows):
        if state is None:
            found.append((chance, costs, seen, rows))
            return
        here = np.asarray(env.observe(simulated, params))
        for action in choose(here):
            moved = {int(after.status[action]): after for _, after, _ in branches(simulated, action, params)}
            for outcome in expectimax.outcomes(plain, state, action):
                after = None if outcome.done else outcome.state
                then = moved[env.FAILED if outcome.failed else env.WORKED]
                walk(after, then, chance * outcome.chance, costs + outcome.costs, [*seen, here], [*rows, action])

    ((_, start),) = expectimax.begin(plain, [2.0])
    walk(start, start_of(params), 1.0, np.zeros(5), [], [])
    return found


def law_of(variables, network):
    """Outcomes of a greedy policy."""
    policy = jax.jit(lambda seen: jnp.argmax(network.unroll(variables, seen[:, None, None])[:, 0, 0]))
    weights = np.asarray(plain_params()["weights"], float)
    return [(chance, float(weights @ costs)) for chance, costs, _, _ in episodes(lambda seen: [int(policy(seen))])]


@functools.cache
def trained(objective):
    config = TrainConfig(episodes=6000, batch=20, hidden=(16,), objective=objective)
    run = jax.jit(functools.partial(train.train, config=config, steps=3))
    variables, _ = run(jax.random.key(0), NUMBERS, SCENARIO.params)
    return law_of(variables, train.policy_architecture(config, SCENARIO.params))


def test_training_finds_the_least_cvar_of_all_policies_there_are():
    least, cheapest = (min(tail_mean(law, alpha) for law in every_law()) for alpha in (ALPHA, 1.0))
    assert len(every_law()) > 100
    assert tail_mean(trained("cvar"), ALPHA) < 1.02 * least
    assert tail_mean(trained("mean"), 1.0) < 1.02 * cheapest
    assert tail_mean(trained("mean"), ALPHA) > 1.1 * least  # what is best on average is not best at worst


def test_the_gradient_is_that_of_an_enumeration():
    """∇ E[(C − ν)₊ / α + μ 1{latency > 4}], a threshold and a multiplier given, by every path there is."""
    params, threshold, multiplier = SCENARIO.params, 3.0, 2.0
    config, hyper = apart(CONFIG, NUMBERS)
    network = train.policy_architecture(config, params)
    start = train.init(jax.random.key(3), params, config=config, steps=3).variables
    variables = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), start)
    paths = episodes(lambda seen: range(3))
    chances = np.array([path[0] for path in paths])
    costs = np.array([path[1] for path in paths])
    totals = costs @ np.asarray(params.weights, float)
    worth = np.maximum(totals - threshold, 0.0) / ALPHA + multiplier * (costs[:, 0] > 4.0 + 1e-5)
    seen = np.zeros((len(paths), 3, len(paths[0][2][0])), np.float32)
    rows = np.full((len(paths), 3), -1)
    for i, (_, _, observations, actions) in enumerate(paths):
        seen[i, : len(actions)], rows[i, : len(actions)] = observations, actions

    @jax.jit
    def expected(variables):
        log = jax.nn.log_softmax(network.unroll(variables, jnp.asarray(seen).transpose(2, 1, 0)), axis=0)
        chosen = jnp.take_along_axis(log, jnp.maximum(rows.T, 0)[None], 0)[0]
        return (chances * worth * jnp.exp(jnp.where(rows.T >= 0, chosen, 0.0).sum(0))).sum()

    exact = jax.flatten_util.ravel_pytree(jax.grad(expected)(variables))[0]
    told = Risk(jnp.float32(threshold), *jnp.array([[0.0], [multiplier]]), jnp.ones(2), jnp.ones(2))

    @jax.jit
    def estimates(keys):
        def one(key):
            played = rollout(key, Learned(variables, network, greedy=False), params, episodes=8, steps=3)
            togo = togo_of(charges(played, params, told, jnp.float32(0), config, hyper))
            none = Running(jnp.zeros(3), jnp.zeros(()), jnp.zeros(()))
            advantages = baselined("leave_one_out", togo, played.alive, none)
            gradient, _ = jax.grad(surrogate, has_aux=True)(variables, network, played, advantages, 0.0, params)
            return jax.flatten_util.ravel_pytree(gradient)[0]

        return jax.lax.map(one, keys, batch_size=500)

    found = np.asarray(estimates(jax.random.split(jax.random.key(7), 6000)), np.float64)
    averages_to(found, exact)


def test_charges_of_a_tail_sum_to_what_is_above_the_threshold():
    config, hyper = apart(dataclasses.replace(CONFIG, constraints=()), NUMBERS)
    policy = Learned(train.init(jax.random.key(0), SCENARIO.params, config=config, steps=3).variables,
                     train.policy_architecture(config, SCENARIO.params), greedy=False)  # fmt: skip
    played = rollout(jax.random.key(1), policy, SCENARIO.params, episodes=200, steps=3)
    total = np.einsum("k,tkb->b", np.asarray(SCENARIO.params.weights, float), np.asarray(played.costs, float))
    told = Risk(jnp.float32(3.0), None, None, jnp.ones(1), jnp.ones(1))
    for remaining, share in ((1.0, 1.0), (0.75, 0.625), (0.5, ALPHA), (0.0, ALPHA)):
        charged = charges(played, SCENARIO.params, told, jnp.float32(remaining), config, hyper)
        np.testing.assert_allclose(charged.sum(0), np.maximum(total - 3.0, 0.0) / share, rtol=1e-4, atol=1e-5)
    assert not np.asarray(charged)[~np.asarray(played.alive)].any()


def test_cvar_is_the_least_of_rockafellar_and_uryasev():
    rng = np.random.default_rng(0)
    for count, alpha in ((7, 0.1), (40, 0.25), (100, 0.07), (50, 1.0)):
        values = rng.exponential(size=count)
        least = min(nu + np.maximum(values - nu, 0).mean() / alpha for nu in values)
        np.testing.assert_allclose(cvar(values, alpha), least)
    np.testing.assert_allclose(cvar([[1.0, 2.0, 9.0, 4.0], [0.0, 0.0, 0.0, 8.0]], 0.375), [(9 + 2) / 1.5, 8 / 1.5])


def test_a_threshold_comes_to_the_quantile_and_a_multiplier_rises_while_its_bound_is_broken():
    config, hyper = apart(dataclasses.replace(CONFIG, schedule="constant"), NUMBERS)
    told, rng = risk.begin_risk(config), np.random.default_rng(0)
    step = jax.jit(functools.partial(risk.take_in, config=config, hyper=hyper))
    found = []
    for late in (0.3, 0.001):
        for _ in range(400):
            costs = jnp.zeros((5, 200)).at[0].set(jnp.where(rng.random(200) < late, 5.0, 4.0))
            total = jnp.asarray(rng.normal(10.0, 2.0, 200), jnp.float32)
            told = step(told, Outcome(costs, total, total > 0, total), jnp.float32(0.0))
        found.append(float(told.multipliers[0]))
    np.testing.assert_allclose(told.threshold, 10.0 + 2.0 * 0.6745, rtol=0.03)
    assert found[0] > 50 and 0 <= found[1] < 0.1 * found[0]  # and falls while it is kept


def test_multipliers_bring_a_mean_to_its_bound():
    wide = dataclasses.replace(SCENARIO, params=tiny_scenario(*CHANGES, "start_low=0.5", "start_high=2.5").params)
    config = TrainConfig(episodes=8000, batch=20, hidden=(16,), constraints=("latency<=1.7",))
    found = []
    for each in (config, dataclasses.replace(config, constraints=())):
        made = train_seeds(wide, each, Hyperparameters(), Protocol(seeds=4))
        found.append((np.asarray(made.curve.components)[:, -50:, 0].mean(1), made.risk))
    (kept, told), (without, nothing) = found
    assert (without > 2.1).all() and (kept < 2.0).all() and kept.mean() < 1.7 * 1.1
    assert told is not None and (np.asarray(told.multipliers) > 0).all() and nothing is None


def test_other_bounds_and_another_share_compile_nothing_and_pieces_are_the_whole():
    chex.clear_trace_counter()

    @functools.partial(jax.jit, static_argnames="config")
    @chex.assert_max_traces(n=1)
    def piece(state, low, high, hyper, config):
        return train.advance(state, low, high, hyper, SCENARIO.params, config=config, steps=3)

    ends = []
    for text, alpha in (("P(latency>2)<=0.05", 0.25), ("P( latency > 1.5 ) <= 0.1", 0.5)):
        config, hyper = apart(dataclasses.replace(CONFIG, constraints=(text,)), Hyperparameters(alpha=alpha))
        start = train.init(jax.random.key(5), SCENARIO.params, config=config, steps=3)
        whole = parts = piece(start, 0, config.updates, hyper, config)
        for low, high in ((0, 3), (3, 11), (11, config.updates)):
            parts = piece(start if low == 0 else parts, low, high, hyper, config)
        chex.assert_trees_all_equal(parts._replace(key=0), whole._replace(key=0))
        ends.append(whole)
    assert ends[0].risk.threshold != ends[1].risk.threshold
    assert ends[0].risk.multipliers != ends[1].risk.multipliers


def test_numbers_in_the_configuration_are_those_that_are_traced():
    """A configuration whose constraints have their numbers gives what `apart` gives, and is compiled with them."""
    config, hyper = apart(CONFIG, NUMBERS)
    run = functools.partial(train.train, jax.random.key(2), params=SCENARIO.params, steps=3)
    traced, compiled = run(hyperparameters=hyper, config=config), run(hyperparameters=NUMBERS, config=CONFIG)
    chex.assert_trees_all_close(traced[1], compiled[1], rtol=1e-4)


def test_what_is_not_asked_for_is_not_there():
    config, hyper = apart(TrainConfig(), Hyperparameters())
    assert config == TrainConfig() and risk.begin_risk(config) is None
    assert len(jax.tree.leaves(hyper)) == len(dataclasses.fields(Hyperparameters)) - 2  # neither α nor a rate


def test_a_promise_is_read_from_its_text():
    config = TrainConfig(constraints=(" money <= 0.02", "P(latency>12)<=5e-2"))
    assert constraints_of(config) == (Constraint("money", 0.02), Constraint("latency", 0.05, 12.0))
    assert [each.name for each in constraints_of(config)] == ["E[money]", "P(latency > 12)"]
    static, _ = apart(config, Hyperparameters())
    assert static.constraints == ("money", "P(latency>)")
    costs = np.array([[[1.0, 12.0, 12.5]], [[2.0, 3.0, 4.0]]]).transpose(1, 0, 2).repeat(3, 1)[:, :5]
    assert parse_constraint("P(latency>12)<=0.1").values(costs).tolist() == [[0.0, 0.0, 1.0]]
    assert parse_constraint("money<=1").values(costs)[0].tolist() == costs[0, 1].tolist()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (("dollars<=1",), "constraint: expected such as money<=0.02"),
        (("money<0.02",), "got 'money<0.02'"),
        (("money",), "got 'money'"),
        (("P(latency>12)<=1.5",), "expected a probability between 0 and 1, got 1.5"),
        (("money<=-1",), "expected numbers from 0"),
        (("money<=1", "money<=2"), r"E\[money\] is bounded twice"),
        (["money<=1"], "constraints: expected a tuple"),
    ],
)
def test_what_is_no_promise_is_refused(texts, said):
    with pytest.raises(UserError, match=said):
        check(TrainConfig(constraints=texts), Hyperparameters(), Protocol())


def test_a_share_of_nothing_is_refused():
    with pytest.raises(UserError, match=r"alpha: expected a number above 0 and at most 1, got 0\.0"):
        check(TrainConfig(), Hyperparameters(alpha=0.0), Protocol())


def test_an_objective_beside_the_mean_needs_rows_that_are_played():
    with pytest.raises(UserError, match="gradient: all_rows knows what rows cost on average"):
        check(TrainConfig(gradient="all_rows", objective="cvar"), Hyperparameters(), Protocol())
