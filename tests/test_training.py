"""Training over seeds: told while it goes on, and seeds that diverged are named."""

import dataclasses

import jax
import numpy as np
import pytest

from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.training import train_seeds

from tiny import tiny_scenario


@pytest.fixture(scope="module")
def training():
    """What training gave, and what it told meanwhile."""
    config, told = TrainConfig(episodes=400, batch=20, hidden=(8,)), []
    protocol = Protocol(seeds=3, evaluation_episodes=200)
    found = train_seeds(
        tiny_scenario(), config, Hyperparameters(), protocol, lambda done, curve: told.append((done, curve))
    )
    return found, told


def test_progress_is_told_from_the_host_and_ends_at_the_last_update(training):
    trained, told = training
    assert [done for done, _ in told] == list(range(1, 21))
    np.testing.assert_array_equal(told[-1][1].cost, trained.curve.cost)
    assert (told[9][1].cost[:, :10] > 0).all() and (told[9][1].cost[:, 10:] == 0).all()


def test_seeds_that_diverge_are_named(training):
    trained, _ = training
    broken = jax.tree.map(lambda leaf: np.array(leaf), trained.policy.variables)
    broken["params"]["Dense_0"]["kernel"][1] = np.nan
    policy = dataclasses.replace(trained.policy, variables=broken)
    assert dataclasses.replace(trained, policy=policy).diverged == [1]
    assert trained.diverged == []
