"""The learning: an unbiased gradient, a run that is one pure program, and what must not recompile."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import train
from aljax.learning import baselines, gradients, returns
from aljax.learning.baselines import Running
from aljax.learning.optimiser import falling
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned
from aljax.rollout import rollout
from aljax.training import train_seeds

from paths import CONFIG, averages_to, enumeration, exact_gradient
from tiny import branches, start_of, tiny_scenario

BASELINES = ("none", "running", "batch", "leave_one_out", "critic")


@pytest.fixture(scope="module")
def enumerated():
    return enumeration(CONFIG)


def estimates(kind, enumerated, batches=6000, batch=4):
    """Gradient estimates from independent batches, ``[batches, weights]``."""
    scenario, network, variables, _ = enumerated
    params, steps = scenario.params, scenario.horizon
    past = Running(jnp.array([9.0, 6.0, 3.0]), jnp.ones(()), jnp.ones(()))

    def one(key):
        played = rollout(key, Learned(variables, network, greedy=False), params, episodes=batch, steps=steps)
        togo = returns.costs_to_go(played, params)
        values = 3.0 + played.observation.sum(1)  # any function of the observation
        advantages = baselines.baselined(kind, togo, played.alive, past, values)
        gradient, _ = jax.grad(gradients.surrogate, has_aux=True)(variables, network, played, advantages, 0.0, params)
        return jax.flatten_util.ravel_pytree(gradient)[0]

    keys = jax.random.split(jax.random.key(7), batches)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=500))(keys), np.float64)


@pytest.mark.parametrize("kind", [kind for kind in BASELINES if kind != "batch"])
def test_the_gradient_estimate_is_unbiased_under_every_baseline(kind, enumerated):
    is_unbiased(kind, enumerated)


def test_the_gradient_estimate_of_a_recurrent_policy_is_unbiased():
    is_unbiased("leave_one_out", enumeration(dataclasses.replace(CONFIG, policy="gru")))


def is_unbiased(kind, enumerated):
    averages_to(estimates(kind, enumerated), enumerated[-1])


def test_the_batch_mean_shortens_the_gradient_by_one_over_the_batch():
    enumerated_ = _enumerated_without_ending()
    exact = np.asarray(enumerated_[-1], np.float64)
    unit = exact / np.linalg.norm(exact)
    along = estimates("batch", enumerated_, batch=4) @ unit / np.linalg.norm(exact)
    assert abs(along.mean() - 0.75) < 4.5 * along.std() / np.sqrt(len(along))
    assert abs(along.mean() - 1) > 4.5 * along.std() / np.sqrt(len(along))


def _enumerated_without_ending():
    """As `enumerated`, where no episode ends early, so that every step has the whole batch."""
    scenario = tiny_scenario("actions.allowed.stop=false", "tolerance=0.0")
    network = train.policy_architecture(CONFIG, scenario.params)
    variables = train.init(jax.random.key(3), scenario.params, config=CONFIG, steps=3).variables
    return scenario, network, variables, exact_gradient(variables, network, scenario)


def test_comparing_with_the_other_episodes_reduces_the_variance(enumerated):
    spread = {kind: estimates(kind, enumerated).var(0).sum() for kind in ("none", "leave_one_out")}
    assert spread["leave_one_out"] < 0.6 * spread["none"]


def test_leave_one_out_is_the_mean_over_the_others_alive():
    togo = jnp.array([[1.0, 2.0, 6.0], [5.0, 7.0, 0.0], [3.0, 0.0, 0.0]])
    alive = jnp.array([[True, True, True], [True, True, False], [True, False, False]])
    running = Running(jnp.zeros(3), jnp.zeros(()), jnp.zeros(()))
    found = baselines.baselined("leave_one_out", togo, alive, running)
    np.testing.assert_allclose(found, [[-3.0, -1.5, 4.5], [-2.0, 2.0, 0.0], [3.0, 0.0, 0.0]])


def test_lambda_advantages_lean_on_the_values_of_what_follows():
    costs = jnp.array([[1.0, 2.0], [4.0, 8.0], [16.0, 0.0]])
    values = jnp.array([[100.0, 100.0], [10.0, 20.0], [30.0, 40.0]])  # the last is of a step never played
    alive = jnp.array([[True, True], [True, True], [True, False]])
    advantages = (returns.lambda_advantages(costs, values, alive, trace) for trace in (1.0, 0.5, 0.0))
    plain, half, one_step = (jnp.where(alive, values, 0.0) + advantage for advantage in advantages)  # λ-returns
    np.testing.assert_allclose(plain, [[21.0, 10.0], [20.0, 8.0], [16.0, 0.0]])
    np.testing.assert_allclose(one_step, [[11.0, 22.0], [34.0, 8.0], [16.0, 0.0]])
    np.testing.assert_allclose(half, [[19.5, 16.0], [27.0, 8.0], [16.0, 0.0]])


def test_the_running_baseline_is_the_average_of_past_batches_alone():
    scenario = tiny_scenario()
    state = train.init(jax.random.key(0), scenario.params, config=CONFIG, steps=3)
    np.testing.assert_array_equal(state.running.weight, 0)
    togo = jnp.array([[4.0, 6.0], [2.0, 0.0], [0.0, 0.0]])
    alive = jnp.array([[True, True], [True, False], [False, False]])
    after = baselines.run_on(state.running, togo, alive, 0.9)
    found = baselines.baselined("running", togo, alive, after)
    np.testing.assert_allclose(found, [[-1, 1], [0, 0], [0, 0]], atol=1e-5)


@functools.cache
def runner(config=CONFIG):
    steps = tiny_scenario().horizon
    return jax.jit(functools.partial(train.train, config=config, steps=steps))


@pytest.mark.parametrize("kind", BASELINES)
def test_every_baseline_learns_the_tiny_scenario(kind):
    scenario = tiny_scenario()
    config = dataclasses.replace(CONFIG, episodes=4000, batch=20, baseline=kind)
    variables, curve = runner(config)(jax.random.key(0), Hyperparameters(learning_rate=2e-2), scenario.params)
    greedy = Learned(variables, train.policy_architecture(config, scenario.params))
    best = _best_cost(scenario)
    played = rollout(jax.random.key(1), greedy, scenario.params, episodes=4000, steps=3)
    cost = float(returns.costs_to_go(played, scenario.params)[0].mean())
    assert curve.cost.shape == (200,)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((variables, curve)))
    assert cost < 1.1 * best
    assert curve.cost[-20:].mean() < curve.cost[:5].mean()


def _best_cost(scenario):
    """The optimum by expectimax over every policy."""

    def value(state):
        if bool(state.done):
            return 0.0
        return min(
            sum(chance * (paid + value(moved)) for chance, moved, paid in branches(state, action, scenario.params))
            for action in range(3)
        )

    return value(start_of(scenario.params))


def test_the_same_key_gives_the_same_bits_and_another_key_others():
    params = tiny_scenario().params
    runs = [runner()(jax.random.key(key), Hyperparameters(), params) for key in (5, 5, 6)]
    chex.assert_trees_all_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0][1].cost, runs[2][1].cost)


def test_a_run_in_pieces_is_the_run_in_one_bit_for_bit():
    scenario = tiny_scenario()
    static = {"config": CONFIG, "steps": scenario.horizon}
    piece = jax.jit(functools.partial(train.advance, **static))
    start = jax.jit(functools.partial(train.init, **static))(jax.random.key(5), scenario.params)
    whole = piece(start, 0, CONFIG.updates, Hyperparameters(), scenario.params)
    parts = start
    for low, high in ((0, 1), (1, 7), (7, CONFIG.updates)):
        parts = piece(parts, low, high, Hyperparameters(), scenario.params)
    chex.assert_trees_all_equal(parts.variables, whole.variables)
    chex.assert_trees_all_equal(parts.curve, whole.curve)
    assert piece._cache_size() == 1


def test_seeds_vmapped_equal_seeds_alone():
    """To 1e-4: XLA orders the sums of a batched product differently, and learning amplifies it."""
    params = tiny_scenario().params
    keys = jax.random.split(jax.random.key(2), 3)
    together = jax.jit(jax.vmap(functools.partial(train.train, config=CONFIG, steps=3), in_axes=(0, None, None)))(
        keys, Hyperparameters(), params
    )
    alone = [runner()(key, Hyperparameters(), params) for key in keys]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    chex.assert_trees_all_close(together[1].cost, stacked[1].cost, rtol=1e-4)
    chex.assert_trees_all_close(together[0], stacked[0], rtol=1e-3, atol=1e-4)


def test_no_number_recompiles_a_run_and_an_equal_configuration_neither():
    params = tiny_scenario().params
    chex.clear_trace_counter()
    config = dataclasses.replace(CONFIG, hidden=(4,))

    @functools.partial(jax.jit, static_argnames="config")
    @chex.assert_max_traces(n=1)
    def run(key, hyperparameters, params, config):
        return train.train(key, hyperparameters, params, config=config, steps=3)

    run(jax.random.key(0), Hyperparameters(), params, config)
    for field in dataclasses.fields(Hyperparameters):
        run(jax.random.key(1), dataclasses.replace(Hyperparameters(), **{field.name: 0.125}), params, config)
    run(jax.random.key(1), Hyperparameters(), dataclasses.replace(params, drift=params.drift + 1), config)
    run(jax.random.key(1), Hyperparameters(), params, TrainConfig(**dataclasses.asdict(config)))


def test_hyperparameters_and_environments_can_be_vmapped():
    params = tiny_scenario().params
    rates = jnp.array([0.0, 1e-2])
    drifts = dataclasses.replace(params, drift=jnp.array([[0.0], [0.5]]))
    hyper_axes = dataclasses.replace(Hyperparameters(), **{f.name: None for f in dataclasses.fields(Hyperparameters)})
    hyper_axes = dataclasses.replace(hyper_axes, learning_rate=0)
    axes = dataclasses.replace(jax.tree.map(lambda _: None, params), drift=0)
    run = jax.vmap(functools.partial(train.train, config=CONFIG, steps=3), in_axes=(None, hyper_axes, axes))
    variables, curve = jax.jit(run)(
        jax.random.key(0), dataclasses.replace(Hyperparameters(), learning_rate=rates), drifts
    )
    start = train.init(jax.random.key(0), params, config=CONFIG, steps=3).variables
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[0], variables), start)
    assert not np.allclose(curve.cost[0], curve.cost[1])


def test_the_compiled_run_calls_nothing_back():
    text = str(jax.make_jaxpr(functools.partial(train.train, config=CONFIG, steps=3))(
        jax.random.key(0), Hyperparameters(), tiny_scenario().params
    ))  # fmt: skip
    assert "callback" not in text
    assert "while" in text or "scan" in text


def test_memory_grows_with_updates_by_the_curve_alone():
    params = tiny_scenario().params
    sizes = {}
    for updates in (10, 1000):
        config = dataclasses.replace(CONFIG, episodes=updates * CONFIG.batch)
        run = jax.jit(functools.partial(train.train, config=config, steps=3))
        analysis = run.lower(jax.random.key(0), Hyperparameters(), params).compile().memory_analysis()
        sizes[updates] = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    floats = 9  # cost, success, five components, entropy, gradient norm
    assert sizes[1000] - sizes[10] <= 990 * floats * 4 * 3  # the curve, and at most two copies of it


def test_the_learning_rate_follows_its_schedule():
    hyper = Hyperparameters(learning_rate_end=0.1)
    for kind, middle in (("constant", 1.0), ("linear", 0.55), ("cosine", 0.55)):
        ends = 1.0 if kind == "constant" else 0.1
        found = [float(falling(kind, jnp.float32(left), hyper)) for left in (1.0, 0.5, 0.0)]
        np.testing.assert_allclose(found, [1.0, middle, ends], rtol=1e-6)


def test_the_entropy_bonus_keeps_the_policy_undecided():
    params = tiny_scenario().params
    config = dataclasses.replace(CONFIG, episodes=800)
    entropies = [
        float(runner(config)(jax.random.key(0), Hyperparameters(entropy=weight), params)[1].entropy[-20:].mean())
        for weight in (0.0, 3.0)
    ]
    assert entropies[1] > entropies[0] + 0.1


def test_the_entropy_bonus_falls_linearly_to_0_over_the_run():
    """Adam's first moments after one update show the gradient; what the bonus alone adds to it is compared."""
    params, network = tiny_scenario().params, train.policy_architecture(CONFIG, tiny_scenario().params)
    state = train.init(jax.random.key(3), params, config=CONFIG, steps=3)
    advance = jax.jit(functools.partial(train.advance, config=CONFIG, steps=3))

    @jax.jit
    def of_the_bonus(update):
        key, sampler = jax.random.fold_in(state.key, update), Learned(state.variables, network, greedy=False)
        played = rollout(key, sampler, params, episodes=CONFIG.batch, steps=3)
        nothing = jnp.zeros(played.action.shape)
        return jax.grad(gradients.surrogate, has_aux=True)(state.variables, network, played, nothing, 1.0, params)[0]

    def gradient(update, entropy):
        hyper = Hyperparameters(entropy=entropy, clip_norm=float("inf"))
        moments = advance(state, update, update + 1, hyper, params).optimiser.mean
        return np.asarray(jax.flatten_util.ravel_pytree(moments)[0], np.float64) / 0.1

    for update, weight in ((0, 4.0), (CONFIG.updates // 2, 2.0), (CONFIG.updates - 1, 4.0 / CONFIG.updates)):
        bonus = jax.flatten_util.ravel_pytree(of_the_bonus(update))[0]
        np.testing.assert_allclose(gradient(update, 4.0) - gradient(update, 0.0), weight * bonus, atol=2e-5)
        assert np.abs(weight * bonus).max() > 1e-3  # there is something to compare


def test_gradient_clipping_bounds_the_step_direction():
    params = tiny_scenario().params
    _, free = runner()(jax.random.key(0), Hyperparameters(clip_norm=float("inf")), params)
    _, tight = runner()(jax.random.key(0), Hyperparameters(clip_norm=1e-9), params)
    assert np.isfinite(free.cost).all()
    np.testing.assert_allclose(free.gradient_norm[0], tight.gradient_norm[0], rtol=1e-5)  # reported before clipping
    assert not np.allclose(free.cost, tight.cost)


def test_a_seed_is_the_same_bits_alone_and_among_others_on_other_devices():
    """On a CPU: seeds on a device train one after the other."""
    scenario, protocol = tiny_scenario(), Protocol(seeds=11, evaluation_episodes=10)  # more than there are devices
    together = train_seeds(scenario, CONFIG, Hyperparameters(), protocol)
    for seed in (0, 7, 10):
        alone = train_seeds(
            scenario, CONFIG, Hyperparameters(), dataclasses.replace(protocol, seeds=1, first_seed=seed)
        )
        for found, expected in zip(
            jax.tree.leaves((alone.policy.variables, alone.curve)),
            jax.tree.leaves((together.policy.variables, together.curve)),
            strict=True,
        ):
            np.testing.assert_array_equal(found[0], expected[seed])
