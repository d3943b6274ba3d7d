"""Learning from logs: the same everywhere and in pieces, and it learns what the log can teach."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import UserError
from aljax.networks.architecture import MLP
from aljax.offline import learn
from aljax.offline.algorithms import ALGORITHMS as RULES
from aljax.offline.algorithms.common import Batch, Frame
from aljax.offline.algorithms.gradient import doubly_robust
from aljax.offline.data import collect
from aljax.offline.learning import check, learn_seeds
from aljax.offline.regimes import softened
from aljax.options import OFFLINE, SUPERVISED, LearnConfig, LearnHyperparameters, Protocol
from aljax.policy import Learned, Mixture, heuristics, masked
from aljax.rollout import outcome, rollout

from counting import compilations
from tiny import tiny_scenario

SCENARIO = tiny_scenario()
PARAMS = SCENARIO.params
ALGORITHMS = SUPERVISED + OFFLINE
CONFIG = LearnConfig(updates=400, minibatch=16, hidden=(16,))
NETWORK = MLP(3, (16,))


@functools.cache
def logged(name="random", episodes=800):
    simple = heuristics(SCENARIO)
    policy = simple.get(name) or Mixture((simple["latency"], simple["random"]), jnp.array([0.7, 0.3]))
    log = collect(jax.random.key(1), {name: policy}, PARAMS, episodes=episodes, steps=3)
    return dataclasses.replace(log, episodes=jax.device_put(log.episodes))


@functools.cache
def program(algorithm):
    """The parts of learning, each compiled once: the state before the first step, steps, and the policy's weights."""
    config = dataclasses.replace(CONFIG, algorithm=algorithm)
    parts = learn.init, learn.advance, learn.policy_weights
    return tuple(jax.jit(functools.partial(part, config=config)) for part in parts)


def numbers(**changed):
    return jax.tree.map(np.float32, dataclasses.replace(LearnHyperparameters(), **changed))


def learned(algorithm, name="random", seed=0, **changed):
    init, advance, weights = program(algorithm)
    given = PARAMS, logged(name).episodes, np.int32(800)
    return weights(advance(init(jax.random.key(seed), *given), 0, CONFIG.updates, numbers(**changed), *given))


@jax.jit
def cost(variables):
    played = rollout(jax.random.key(3), Learned(variables, NETWORK), PARAMS, episodes=2_000, steps=3)
    return outcome(played, PARAMS).total.mean()


def choices(variables, name):
    """What the policy plays at logged steps, and what was logged there."""
    episodes = logged(name).episodes
    seen = jnp.moveaxis(episodes.observation, 2, 0).reshape(episodes.observation.shape[2], -1)
    logits = masked(NETWORK.output(variables, seen), PARAMS.actions.allowed[:, None])
    alive = np.asarray(episodes.alive).ravel()
    return np.asarray(jax.nn.softmax(logits, axis=0)).T[alive], np.asarray(episodes.action).ravel()[alive]


def test_every_algorithm_that_can_be_asked_for_is_there():
    assert tuple(RULES) == ALGORITHMS


def test_imitation_learns_with_which_probability_the_logger_chose():
    chances, played = choices(learned("imitation", "mixed"), "mixed")
    np.testing.assert_allclose(chances.mean(0), np.bincount(played, minlength=3) / len(played), atol=0.03)
    np.testing.assert_allclose(chances.mean(0), [0.8, 0.1, 0.1], atol=0.04)


@pytest.mark.parametrize("algorithm", ALGORITHMS[1:])
def test_every_algorithm_but_imitation_learns_from_random_play_what_is_better(algorithm):
    random = np.asarray(logged().episodes.costs) @ np.asarray(PARAMS.weights)
    best = min(float(cost(_always(row))) for row in range(3))
    found = float(cost(learned(algorithm)))
    assert found < 0.85 * random.sum(1).mean()
    assert found < best + 0.05  # at least what the best single action costs


def _always(row):
    """A network that plays one row."""
    variables = jax.tree.map(np.zeros_like, learned("imitation"))
    variables["params"]["Dense_1"]["bias"][row] = 1.0
    return variables


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_from_a_logger_that_tries_one_thing_only_that_is_what_is_learned(algorithm):
    chances, played = choices(learned(algorithm, "latency"), "latency")
    assert (played == 0).all()
    assert (chances.argmax(1) == 0).mean() > 0.99


def test_pessimism_keeps_to_what_was_logged():
    """Without it, an action that nobody tried may look better than it is, or not; with more, nothing else is played."""
    for algorithm in ("fitted_q", "cql", "gradient"):
        cautious = choices(learned(algorithm, "mixed", pessimism=100.0), "mixed")[0]
        assert (cautious.argmax(1) == 0).mean() > 0.95, algorithm
        bold = choices(learned(algorithm, "mixed", pessimism=0.0), "mixed")[0]
        assert (bold.argmax(1) == 0).mean() < 0.9, algorithm


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_learning_in_pieces_is_learning_in_one_and_the_same_key_gives_the_same_policy(algorithm):
    given = (numbers(), PARAMS, logged().episodes, np.int32(800))
    init, advance, _ = program(algorithm)
    begin = init(jax.random.key(0), *given[1:])
    whole = advance(begin, 0, 20, *given)
    pieces = advance(advance(begin, 0, 7, *given), 7, 20, *given)
    jax.tree.map(np.testing.assert_array_equal, whole.nets, pieces.nets)
    np.testing.assert_array_equal(whole.losses, pieces.losses)
    other = advance(begin._replace(key=jax.random.key(1)), 0, 20, *given)
    assert not np.array_equal(other.losses, whole.losses)


def test_a_padded_data_set_is_the_data_set():
    episodes = logged().episodes
    run = jax.jit(functools.partial(learn.learn, config=dataclasses.replace(CONFIG, updates=30)))
    short = jax.tree.map(lambda leaf: leaf[:300], episodes)
    alone = run(jax.random.key(0), numbers(), PARAMS, short, None)[0]
    padded = run(jax.random.key(0), numbers(), PARAMS, episodes, np.int32(300))[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), alone, padded)


@pytest.mark.parametrize("algorithm", ["fitted_q", "cql", "gradient"])
def test_episodes_and_steps_that_only_fill_up_count_for_nothing(algorithm):
    """Pessimism goes by how many steps were logged: with padding counted, it would be another one."""
    run = jax.jit(functools.partial(learn.learn, config=dataclasses.replace(CONFIG, updates=30, algorithm=algorithm)))
    alone = jax.tree.map(lambda leaf: leaf[:100], logged().episodes)

    def filled(leaf):
        pads = [(0, 700)] + ([(0, 2)] if leaf.ndim > 1 else []) + [(0, 0)] * (leaf.ndim - 2)
        return jnp.pad(leaf, pads)

    padded = jax.tree.map(filled, alone)
    assert padded.alive.shape == (800, 5) and padded.alive.sum() == alone.alive.sum()
    given = jax.random.key(0), numbers(pessimism=1.0), PARAMS
    losses = run(*given, alone, None)[1], run(*given, padded, np.int32(100))[1]
    np.testing.assert_allclose(*losses, rtol=1e-3)


def test_seeds_and_numbers_vmap_and_a_new_number_compiles_nothing():
    config = dataclasses.replace(CONFIG, updates=30, algorithm="gradient")
    run = functools.partial(learn.learn, config=config)
    keys = jax.random.split(jax.random.key(0), 3)
    pessimism = jnp.array([0.0, 1.0, 5.0])
    episodes = logged().episodes

    def one(key, pessimism):
        return run(key, dataclasses.replace(numbers(), pessimism=pessimism), PARAMS, episodes)[0]

    together = jax.jit(jax.vmap(one))(keys, pessimism)
    alone = jax.jit(one)
    for seed in range(3):
        jax.tree.map(
            lambda many, single, seed=seed: np.testing.assert_allclose(many[seed], single, rtol=5e-3, atol=5e-4),
            together, alone(keys[seed], pessimism[seed]),
        )  # fmt: skip
    learned("gradient")
    (init, advance, weights), fewer = program("gradient"), (PARAMS, episodes, np.int32(500))
    with compilations() as found:
        begin = init(jax.random.key(5), *fewer)
        weights(advance(begin, 0, CONFIG.updates, numbers(step_size=1e-3, pessimism=2.0), *fewer))
    assert found == []
    assert "callback" not in str(jax.make_jaxpr(one)(keys[0], 1.0))


def test_doubly_robust_advantages_follow_their_recursion():
    rng = np.random.default_rng(0)
    steps, count, actions, limit = 4, 5, 3, 1.5
    length = np.array([4, 2, 3, 1, 4])
    alive = np.arange(steps)[:, None] < length
    action = rng.integers(0, actions, (steps, count))
    policy = rng.dirichlet(np.ones(actions), (steps, count)).transpose(2, 0, 1)
    q, logged = rng.normal(size=(actions, steps, count)), rng.uniform(0.2, 1, (steps, count))
    frame = Frame(jnp.array([3.0, 2.0, 1.5, 0.5]), jnp.float32(2.0))
    costs = np.where(alive, rng.uniform(0, 3, (steps, count)), 0.0)
    one_hot = np.arange(actions)[:, None, None] == action
    batch = Batch(None, action, jnp.array(costs), None, jnp.array(alive), None)
    ours = doubly_robust(batch, frame, jnp.array(q), jnp.array(policy), jnp.array(logged), limit, one_hot)

    offset, scale = np.asarray(frame.offset), float(frame.scale)
    real = offset[:, None] + scale * q  # [A, T, B], out of the frame
    for n in range(count):
        onward = 0.0
        for t in reversed(range(length[n])):
            value = policy[:, t, n] @ real[:, t, n]
            error = costs[t, n] + onward - real[action[t, n], t, n]
            expected = real[:, t, n].copy()
            expected[action[t, n]] += min(1 / logged[t, n], limit) * error
            np.testing.assert_allclose(ours[:, t, n] * scale, expected - value, rtol=1e-4, atol=1e-4)
            onward = value + min(policy[action[t, n], t, n] / logged[t, n], limit) * error


def test_seeds_learn_together_as_alone_and_report_what_they_minimise():
    shown = []
    config = dataclasses.replace(CONFIG, updates=40, algorithm="fitted_q")
    on_progress = lambda done, losses: shown.append((done, losses.shape))  # noqa: E731
    trained = learn_seeds(SCENARIO, logged(), config, LearnHyperparameters(), Protocol(seeds=3), on_progress)
    assert shown[-1] == (40, (3, 40)) and not trained.diverged
    second = learn_seeds(SCENARIO, logged(), config, LearnHyperparameters(), Protocol(seeds=1, first_seed=1))
    jax.tree.map(
        lambda many, one: np.testing.assert_array_equal(many[1], one[0]),
        trained.policy.variables, second.policy.variables,
    )  # fmt: skip
    loss = trained.losses
    assert loss[:, -10:].mean() < loss[:, :10].mean()


def test_softened_policies_choose_the_same_and_are_less_sure():
    variables = jax.tree.map(lambda leaf: leaf[None], learned("imitation", "latency"))
    soft = softened(SCENARIO, Learned(variables, NETWORK))
    first = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)  # noqa: E731
    before, after = (choices(first(tree), "random")[0] for tree in (variables, soft))
    np.testing.assert_array_equal(before.argmax(1), after.argmax(1))
    on_its_way = choices(first(soft), "latency")[0].max(1)
    assert before.max(1).mean() > after.max(1).mean() and 0.8 < on_its_way.mean() < 0.98
    again = softened(SCENARIO, Learned(soft, NETWORK))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3), soft, again)
    with jax.enable_x64(True):  # what goes on from weights takes them as they were
        kept = jax.eval_shape(lambda given: softened(SCENARIO, Learned(given, NETWORK)), variables)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(kept)} == {"float32"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"updates": 0}, "updates: expected a whole number of at least 1, got 0"),
        ({"hidden": (4, 0)}, "hidden: every layer"),
        ({"pessimism": -1.0}, "pessimism: expected a number not below 0"),
        ({"target_rate": 2.0}, r"target_rate: expected a number in \[0, 1\]"),
    ],
)
def test_options_out_of_range_are_refused(changed, message):
    config = LearnConfig(**{k: v for k, v in changed.items() if k in ("updates", "hidden")})
    numbers = LearnHyperparameters(**{k: v for k, v in changed.items() if k not in ("updates", "hidden")})
    with pytest.raises(UserError, match=message):
        check(SCENARIO, logged(), config, numbers)


def test_another_scenarios_log_is_refused():
    wide = dataclasses.replace(logged().episodes, observation=jnp.zeros((800, 3, 99)))
    with pytest.raises(UserError, match="observations of 99 numbers, but scenario tiny has 8"):
        check(SCENARIO, dataclasses.replace(logged(), episodes=wide), CONFIG, LearnHyperparameters())
