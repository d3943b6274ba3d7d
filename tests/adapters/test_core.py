"""What all adapters share: streams of chance a seed, the environment's own law, and one program for every number."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import aljax
from aljax import env
from aljax.adapters import evaluate
from aljax.adapters.core import Simulator
from aljax.chance import numbers, standard_normal
from aljax.options import Protocol

from alike import check_alike
from tiny import tiny_scenario


def played(simulator, steps, seeds):
    """Answers to a start and to steps whose actions are the environments' numbers of the first."""
    rows = np.arange(simulator.size) % simulator.actions
    return [simulator.start(seeds), *(simulator.step((rows + t) % simulator.actions) for t in range(steps))]


@pytest.mark.parametrize("name", ["paper", "outage"])
def test_how_many_environments_stand_beside_one_changes_none_of_its_bits(name):
    """Chance comes from the seed alone; 3 and 33 are not compiled alike."""
    scenario = aljax.load_scenario(name)
    few, many = (played(Simulator(scenario, (), size), 6, range(7, 7 + size)) for size in (3, 33))
    check_alike(few, jax.tree.map(lambda leaf: leaf[:3], many))


def test_a_seed_begins_a_stream_and_none_goes_on_with_it():
    one = Simulator("paper", (), 2)
    first, second = one.start([5, 6]), one.start([None, None])
    again = one.start([5, None])
    assert (first.shown.observation[0] != second.shown.observation[0]).any()
    check_alike(again.shown.observation[0], first.shown.observation[0])
    check_alike(one.start([None, None]).shown.observation[0], second.shown.observation[0])
    unseeded = [Simulator("paper", (), 1).start([None]).shown.observation for _ in range(2)]
    assert (unseeded[0] != unseeded[1]).any()


@pytest.mark.parametrize("seed", [-1, 1.5, True, "7"])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(aljax.UserError, match="seed: expected a whole number from 0, got"):
        Simulator(tiny_scenario(), (), 1).start([seed])


def test_seeds_of_any_size_are_seeds():
    Simulator(tiny_scenario(), (), 1).start([2**200])


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_what_is_no_number_of_environments_is_refused(size):
    with pytest.raises(aljax.UserError, match="environments: expected a whole number from 1, got"):
        Simulator(tiny_scenario(), (), size)


def test_luck_is_independent_over_steps_episodes_and_environments():
    """Failures of a row that fails half the time, in 4 steps of 3 episodes of 2,000 environments."""
    simulator = Simulator(tiny_scenario("actions.weak.failure=0.5", "horizon=4"), (), 2_000)
    failed = np.zeros((3, 4, 2_000))
    for episode in range(3):
        simulator.start(range(2_000) if episode == 0 else [None] * 2_000)
        for step in range(4):
            failed[episode, step] = simulator.step(np.zeros(2_000, int)).costs[:, 3]
    assert abs(failed.mean() - 0.5) < 2 / np.sqrt(failed.size)
    signs = 2 * failed - 1
    for axis in range(3):
        ahead, behind = np.delete(signs, 0, axis), np.delete(signs, -1, axis)
        assert abs((ahead * behind).mean()) < 5 / np.sqrt(ahead.size)


def test_the_luck_of_a_step_has_nothing_of_the_start():
    simulator = Simulator("paper", (), 4_000)
    begun = simulator.start(range(4_000)).shown.observation[:, :3]
    failed = simulator.step(np.zeros(4_000, int)).costs[:, 3]
    assert (np.abs(np.corrcoef(begun.T, failed)[-1, :-1]) < 5 / np.sqrt(4_000)).all()


@pytest.mark.parametrize("name", ["paper", "outage", "service_desk", "timeouts"])
def test_episodes_cost_what_they_cost_in_the_table(name):
    """Rows in turn, which meets all that chance does: starts, noise, spreads, outages."""
    scenario = aljax.load_scenario(name)
    simulator, rows = Simulator(scenario, (), 4_000), len(scenario.action_names)
    answer = simulator.start(range(4_000))
    for step in range(scenario.horizon):
        answer = simulator.step(np.full(4_000, step % rows))
    steps = iter(range(scenario.horizon))
    same = evaluate(
        lambda seen: np.full(len(seen), next(steps) % rows), scenario, protocol=Protocol(2, evaluation_episodes=2_000)
    ).outcome
    for found, wanted in zip(answer.episode_costs.T, same.costs.swapaxes(0, 1).reshape(5, -1), strict=True):
        error = np.sqrt(found.var() / len(found) + wanted.var() / len(wanted))
        assert abs(found.mean() - wanted.mean()) <= 4.5 * error + 1e-5
    assert abs(answer.shown.is_success.mean() - same.success.mean()) < 0.05


def chance_of(seeds, episode, moment, starts, lucks):
    """The parts of an episode's numbers at a moment, 0 its start: Threefry's of the seed's key, two a block."""
    key = np.stack([np.random.SeedSequence(seed).generate_state(2) for seed in seeds], axis=1)
    blocks = -(-max(sum(starts), sum(lucks)) // 2)
    counters = np.arange(moment * blocks, (moment + 1) * blocks, dtype=np.uint32)[:, None]
    drawn = np.stack(numbers(key[:, None], np.uint32(episode), counters), axis=1).reshape(-1, len(seeds))
    return np.split(drawn, np.cumsum(lucks if moment else starts))[:-1]


@pytest.mark.parametrize("name", ["outage", "timeouts", "service_desk", "refunds"])
def test_an_episode_is_the_environments_on_the_numbers_of_its_seed(name):
    """Each part of chance has numbers of its own, in the order of `env.Start` and `env.Luck`: no other ones will do."""
    scenario, seeds, episodes = aljax.load_scenario(name), range(64), 2
    params, rows, d = scenario.params, len(scenario.action_names), len(scenario.coordinate_names)
    misread, noise = bool((params.misread > 0).any()), bool((params.actions.noise > 0).any())
    points, spread = params.start_points is not None, params.actions.latency_spread is not None
    outages = params.actions.mean_uptime is not None
    starts = [d, d * misread, points, rows * outages]
    lucks = [1, d * noise, spread, rows * outages]
    begin, move, observe = (jax.jit(function) for function in (env.begin, env.transition, env.observe))
    simulator = Simulator(scenario, (), len(seeds))
    for episode in range(episodes):
        shown = simulator.start(seeds if episode == 0 else [None] * len(seeds)).shown
        task, seen, point, down = chance_of(seeds, episode, 0, starts, lucks)
        normal = standard_normal(seen) if misread else np.zeros_like(task)
        state = begin(env.Start(task, normal, point[0] if points else None, down if outages else None), params)
        np.testing.assert_allclose(shown.observation.T, observe(state, params), rtol=1e-5, atol=1e-6)
        for step in range(scenario.horizon):
            action = (np.arange(len(seeds)) + step) % 2  # rows that go on
            u, epsilon, n, v = chance_of(seeds, episode, step + 1, starts, lucks)
            luck = env.Luck(
                u[0], standard_normal(epsilon) if noise else np.zeros_like(task),
                n=standard_normal(n[0]) if spread else None, v=v if outages else None,
            )  # fmt: skip
            state, costs = move(state, action, luck, params)
            answer = simulator.step(action)
            np.testing.assert_allclose(answer.costs.T, costs, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(answer.shown.observation.T, observe(state, params), rtol=1e-4, atol=1e-5)


def test_rows_that_may_not_be_called_again_leave_the_mask():
    simulator = Simulator(tiny_scenario("actions.weak.max_calls=1", "horizon=4"), (), 2)
    assert simulator.start([0, 1]).shown.action_mask.tolist() == [[1, 1, 1]] * 2
    assert simulator.step([0, 1]).shown.action_mask.tolist() == [[0, 1, 1], [1, 1, 1]]
    assert simulator.step([0, 1]).costs[0, 3] == 1.0
    assert simulator.start([None, None]).shown.action_mask.tolist() == [[1, 1, 1]] * 2


def test_other_numbers_compile_nothing():
    other = {"horizon": 7, "actions.failure.repair": 0.2, "weights.money": 2.0}
    one, two = (Simulator("escalation", overrides, 3) for overrides in ((), other))
    played(one, 2, range(3))
    compiled = one._programs.step._cache_size()
    answers = played(two, 7, range(3))
    assert one._programs is two._programs and two._programs.step._cache_size() == compiled
    assert answers[-1].shown.terminated.all()


def test_what_is_answered_is_held_by_nothing_else():
    simulator = Simulator(tiny_scenario(), (), 4)
    answers = [simulator.start(range(4)), *(simulator.step(np.zeros(4, int)) for _ in range(2))]
    answers += simulator.step_and_start(np.zeros(4, int))  # the horizon: the next episodes begin
    leaves = jax.tree.leaves(answers)
    assert all(leaf.flags.writeable for leaf in leaves)
    assert not any(np.shares_memory(one, other) for i, one in enumerate(leaves) for other in leaves[:i])


FORKED = """
import os, sys, warnings
warnings.simplefilter("ignore")
when = sys.argv[1]
import jax, aljax
if when != "unused":
    jax.numpy.ones(3).sum().block_until_ready()
if when != "late":
    from aljax.adapters.core import Simulator
if when == "made":
    made = Simulator("paper", (), 2)
    made.start([0, 1])
child = os.fork()
if child == 0:
    try:
        from aljax.adapters.core import Simulator
        made.step([0, 0]) if when == "made" else Simulator("paper", (), 1).start([0])
        print("works", flush=True)
    except aljax.UserError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("when", ["before", "made", "late", "unused"])
def test_a_fork_of_a_process_that_used_jax_is_told_so_in_a_line(when):
    """The adapters are loaded before the fork or only after it, or an environment is made before it."""
    call = [sys.executable, "-c", FORKED, when]
    said = subprocess.run(call, capture_output=True, text=True, timeout=120, check=True).stdout
    if when == "unused":
        assert said == "works\n"
    else:
        assert said.count("\n") == 1 and said.startswith("this process was forked from one that had used JAX")
