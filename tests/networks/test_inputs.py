"""What networks are shown goes with a policy wherever it goes: training, run folders, logs, learning from logs."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import UserError, env, runs, train, transfer
from aljax.checks import check
from aljax.comparison import compare
from aljax.host import files
from aljax.networks.inputs import Inputs, inputs_of
from aljax.offline import learn, learning
from aljax.offline.data import collect
from aljax.offline.policies import policies_of
from aljax.options import Hyperparameters, LearnConfig, LearnHyperparameters, Protocol, TrainConfig
from aljax.policy import Mixture, Random, learned_of
from aljax.rollout import rollout
from aljax.scenario import parse_scenario
from aljax.sweeps.reader import make_spec
from aljax.sweeps.resolve import Resolver
from aljax.training import train_seeds

from outages import EVERYTHING, everything
from tiny import tiny_scenario

SCENARIO = everything()
CONFIG = TrainConfig(episodes=60, batch=20, hidden=(6,), policy="gru", inputs="belief")
PROTOCOL = Protocol(seeds=2, evaluation_episodes=20)


@pytest.fixture(scope="module")
def trained():
    return train_seeds(SCENARIO, CONFIG, Hyperparameters(), PROTOCOL)


@pytest.fixture(scope="module")
def sampler(trained):
    """The first seed's policy, drawing, with weights away from uniform."""
    variables = jax.tree.map(lambda leaf: leaf[0] + 0.3 * np.sin(np.arange(leaf[0].size)).reshape(leaf[0].shape),
                             trained.policy.variables)  # fmt: skip
    return learned_of(CONFIG, SCENARIO.params, jax.tree.map(np.float32, variables), greedy=False)


def test_training_is_given_what_the_policy_chose_by(sampler):
    """Unrolled over a trajectory, the network gives the probabilities with which the rollout drew."""
    params = SCENARIO.params
    played = jax.jit(lambda: rollout(jax.random.key(2), sampler, params, episodes=30, steps=6))()
    size, shown = env.observation_size(params), inputs_of(CONFIG)
    failed = played.costs[:, env.COMPONENTS.index("failure")] > 0
    again = np.asarray(shown.along(params, played.observation[:, :size], played.action, failed))
    alive = np.asarray(played.alive)[:, None]
    np.testing.assert_allclose(np.where(alive, again, 0), np.where(alive, played.observation, 0), atol=1e-6)
    unrolled = sampler.architecture.unroll(sampler.variables, jnp.moveaxis(played.observation, 1, 0))
    memory = sampler.begin(params, played.observation[0, :size])
    for t in range(6):
        seen = played.observation[t, :size]
        found = sampler.logits(params, seen, jnp.ones((4, 1), bool), memory)
        np.testing.assert_allclose(found, unrolled[:, t], rtol=1e-4, atol=1e-5)
        if t < 5:
            following = played.observation[t + 1, :size]
            memory = sampler.remember(params, memory, played.action[t], failed[t], following)


def test_a_policy_with_memory_comes_back_from_its_run_folder_the_same(trained, tmp_path):
    compared = compare(SCENARIO, PROTOCOL, trained.policy)
    with runs.new_folder(tmp_path / "run") as place:
        runs.save(place.folder, SCENARIO, CONFIG, Hyperparameters(), PROTOCOL, trained.policy, trained.curves)
        files.write_json(place.folder / "metrics.json", runs.metrics(SCENARIO, 60, PROTOCOL, compared, {}))
    run = runs.load(tmp_path / "run")
    assert run.config == CONFIG and run.policy.inputs == Inputs("belief", last=True)
    assert run.metrics["breaker"] == compared.breaker.to_json()
    chex.assert_trees_all_equal(run.policy, trained.policy)
    again = compare(run.scenario, PROTOCOL, run.policy).evaluations["learned"]
    np.testing.assert_array_equal(again.outcome.total, compared.evaluations["learned"].outcome.total)


def test_rows_in_another_order_change_nothing_for_a_policy_with_memory(trained, tmp_path):
    first, *bodies = EVERYTHING.split("[actions.")
    turned = first + "".join(f"[actions.{body.rstrip()}\n\n" for body in reversed(bodies))
    other = parse_scenario(turned, name="other", where="other.toml")
    assert other.action_names == SCENARIO.action_names[::-1]
    moved = transfer.policy_in(trained.policy, SCENARIO, "run", other)
    own, moved = (jax.tree.map(lambda leaf: leaf[0], policy) for policy in (trained.policy, moved))
    played = jax.jit(lambda: rollout(jax.random.key(2), own, SCENARIO.params, episodes=40, steps=6))()
    seen = np.asarray(played.observation)
    at, size = env.places(SCENARIO.params), env.observation_size(SCENARIO.params)
    blocks = [at[name] for name in ("failed", "worked", "calls", "tokens")]
    order = np.arange(seen.shape[1])
    for block in [*blocks, slice(size, size + 4), slice(size + 4, size + 8)]:
        order[block] = order[block][::-1]
    before = own.architecture.unroll(own.variables, jnp.moveaxis(seen, 1, 0))
    after = moved.architecture.unroll(moved.variables, jnp.moveaxis(seen[:, order], 1, 0))
    np.testing.assert_allclose(after[::-1], before, rtol=1e-4, atol=1e-5)


def test_logs_hold_what_was_observed_and_nothing_that_a_network_makes_of_it(sampler):
    params = SCENARIO.params
    loggers = {"it": Mixture((sampler, Random()), jnp.array([0.7, 0.3])), "random": Random()}
    log = collect(jax.random.key(0), loggers, params, episodes=2_000, steps=6)
    assert log.episodes.observation.shape[2] == env.observation_size(params)
    shown = np.asarray(learn.as_shown(log.episodes, params, LearnConfig(policy="gru", inputs="belief")).observation)
    assert shown.shape == (4_000, 6, inputs_of(CONFIG).size(params)) and np.isfinite(shown).all()
    # Importance weights have mean 1 only if the probabilities, which are worked out from the log, are those played by.
    weights = np.prod(log.episodes.probability[:2_000, :, 1] / log.episodes.probability[:2_000, :, 0], axis=1)
    assert weights.std() > 0.3 and abs(weights.mean() - 1) < 4 * weights.std() / np.sqrt(2_000)


@pytest.mark.parametrize("algorithm", ["imitation", "gradient"])
def test_policies_with_memory_are_learned_from_logs(sampler, algorithm):
    log = collect(jax.random.key(0), {"it": sampler}, SCENARIO.params, episodes=40, steps=6)
    config = LearnConfig(algorithm, updates=20, minibatch=8, hidden=(6,), policy="gru", inputs="belief")
    learnt = learning.learn_seeds(SCENARIO, log, config, LearnHyperparameters(), PROTOCOL)
    assert learnt.diverged == [] and np.isfinite(learnt.losses).all()
    assert learnt.policy.inputs == Inputs("belief", last=True)
    found = compare(SCENARIO, PROTOCOL, learnt.policy).summaries["learned"]
    assert np.isfinite(found.cost.mean)


def test_what_is_up_is_refused_where_nothing_goes_down_and_in_logs():
    with pytest.raises(
        UserError, match="inputs: belief says which rows are up, but nothing in scenario tiny has a mean_"
    ):
        check(dataclasses.replace(CONFIG, inputs="belief"), Hyperparameters(), PROTOCOL, tiny_scenario())
    log = collect(jax.random.key(0), {"it": Random()}, SCENARIO.params, episodes=4, steps=6)
    with pytest.raises(UserError, match="no log tells which rows are up"):
        learning.check(SCENARIO, log, LearnConfig(inputs="told"), LearnHyperparameters())
    with pytest.raises(UserError, match="hidden: a gru has at least one layer"):
        check(dataclasses.replace(CONFIG, hidden=()), Hyperparameters(), PROTOCOL, SCENARIO)


def test_a_policy_that_is_told_logs_nothing(trained, tmp_path):
    config = dataclasses.replace(CONFIG, inputs="told")
    state = train.init(jax.random.key(0), SCENARIO.params, config=config, steps=6)
    policy = learned_of(config, SCENARIO.params, jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), state.variables))
    assert policy.name == "told"
    compared = compare(SCENARIO, PROTOCOL, policy)
    assert list(compared.summaries) == ["told", "latency", "cost_aware", "random", "breaker"]
    with runs.new_folder(tmp_path / "run") as place:
        runs.save(place.folder, SCENARIO, config, Hyperparameters(), PROTOCOL, policy, trained.curves)
        files.write_json(place.folder / "metrics.json", runs.metrics(SCENARIO, 60, PROTOCOL, compared, {}))
    with pytest.raises(UserError, match="is told which rows are up, which no agent sees"):
        policies_of((str(tmp_path / "run"),), SCENARIO, PROTOCOL, 0.0, True)


def test_sweeps_vary_what_networks_are_and_are_shown():
    axes = {"policy": ["mlp", "gru"], "inputs": ["observation", "belief", "told"]}
    spec = make_spec({"scenario": "outage", "axes": axes, "set": {"hidden": [4]}})
    jobs = Resolver(spec).jobs(spec.points())
    assert [(job.config.policy, job.config.inputs) for job in jobs] == [
        (policy, inputs) for policy in axes["policy"] for inputs in axes["inputs"]
    ]
    with pytest.raises(UserError, match="policy: expected one of mlp, gru, got 'lstm'"):
        make_spec({"axes": {"policy": ["lstm"]}})
