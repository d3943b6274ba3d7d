"""Agents in a known world leave logs that say of it what a tracer would, and nothing of what tasks need."""

import itertools
from pathlib import Path

import jax
import numpy as np
import pytest

from aljax.calibration.known import Agent, needs_of, simulate
from aljax.logs.moves import moves_of
from aljax.scenario import load_scenario

WORLD = load_scenario(Path(__file__).parents[2] / "studies" / "known_world.toml")
TASKS, RUNS = 60, 5
KEY = jax.random.key(3)


def played(**how):
    return simulate(KEY, WORLD, Agent(**how), tasks=TASKS, runs=RUNS)


@pytest.fixture(scope="module")
def persistent():
    """Runs of an agent that always retries what is needed, and does nothing else that is not needed."""
    return played(misjudges=0.0, extra=0.0, retry=1.0, gives_up=0.0, hands_over=0.0)


def worked(episode):
    """Successful calls by tool."""
    return [sum(move.ok for move in moves_of(episode) if move.name == name) for name in WORLD.coordinate_names]


def test_who_judges_right_and_never_gives_up_calls_what_the_task_needs(persistent):
    needs = needs_of(KEY, WORLD, TASKS)
    assert {tuple(need) for need in needs.tolist()} <= {
        tuple(p) for p in np.asarray(WORLD.params.start_points).tolist()
    }
    for episode in persistent:
        assert worked(episode) == needs[int(episode.task.removeprefix("task "))].tolist()
        assert episode.end["success"] is True


def test_runs_of_a_task_share_its_need_and_not_its_luck(persistent):
    assert len(persistent) == TASKS * RUNS and len({episode.task for episode in persistent}) == TASKS
    assert len({str(episode.steps) for episode in persistent}) == TASKS * RUNS


def test_the_log_adds_up_to_what_the_world_charges(persistent):
    """Dollars are the table's, and failed calls take longer on average."""
    table, names = WORLD.params.actions, WORLD.action_names
    seconds = {True: [], False: []}
    for move in (move for episode in persistent for move in moves_of(episode)):
        assert move.before.dollars + (move.own.dollars or 0.0) == pytest.approx(table.money[names.index(move.name)])
        if move.name == "update":
            seconds[move.ok].append(move.before.seconds + move.own.seconds)
    assert np.mean(seconds[True]) == pytest.approx(3.0, rel=0.1)
    assert np.mean(seconds[False]) == pytest.approx(5.0, rel=0.1)


def test_calls_fail_again_as_often_as_the_world_says(persistent):
    again = []
    for episode in persistent:
        calls = [move for move in moves_of(episode) if move.name == "update"]
        again += [not later.ok for earlier, later in itertools.pairwise(calls) if not earlier.ok]
    assert np.mean(again) == pytest.approx(0.6, abs=4 * np.sqrt(0.24 / len(again)))


def test_a_retry_may_look_at_the_need_or_not():
    """Where many calls are for nothing, only who does not look retries all that fails, as long as there is time."""

    def retried(looks):
        found = []
        for episode in played(
            misjudges=0.0, extra=0.5, retry=1.0, retries_what_is_needed=looks, gives_up=0.0, hands_over=0.0
        ):
            moves = moves_of(episode)
            found += [
                next_.name == move.name
                for move, next_ in itertools.pairwise(moves)
                if move.ok is False and next_.step < len(episode.steps)
            ]
        return np.mean(found)

    assert retried(False) == 1.0
    assert retried(True) < 0.95


def test_hard_tasks_fail_again_and_again():
    """Rates of a task's first calls scatter more than chance makes them, as they do not where all tasks are alike."""

    def scatter(hardness):
        log = simulate(KEY, WORLD, Agent(), tasks=TASKS, runs=RUNS, hardness=hardness)
        first = np.array(
            [next(move.ok is False for move in moves_of(episode) if move.kind != "clarify") for episode in log]
        )
        return first.reshape(TASKS, RUNS).mean(1).var() / (first.mean() * (1 - first.mean()) / RUNS)

    assert scatter(3.0) > 1.8 > scatter(0.0)
