"""Options out of range, and what fits into no memory, are refused by name before the work."""

import dataclasses

import pytest

from aljax import UserError
from aljax.checks import check
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.scenario import load_scenario
from aljax.training import train_seeds


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        (TrainConfig(), "episodes", 0),
        (TrainConfig(), "batch", 0),
        (TrainConfig(), "batch", 12_001),
        (TrainConfig(), "batch", 2.5),
        (TrainConfig(episodes=10**9), "batch", 10**8),
        (TrainConfig(), "batch", True),
        (TrainConfig(batch=1), "episodes", 10**8),
        (TrainConfig(), "episodes", 10**400),
        (TrainConfig(), "hidden", (8, 0)),
        (TrainConfig(), "hidden", (10**12,)),
        (TrainConfig(), "hidden", (1,) * 100),
        (TrainConfig(), "hidden", (8.0,)),
        (Hyperparameters(), "learning_rate", -1.0),
        (Hyperparameters(), "learning_rate", float("nan")),
        (Hyperparameters(), "learning_rate", float("inf")),
        (Hyperparameters(), "learning_rate", 4e38),
        (Hyperparameters(), "entropy", 10**400),
        (Hyperparameters(), "running_decay", 1.0),
        (Hyperparameters(), "trace", 1.5),
        (Hyperparameters(), "residual", 1.01),
        (Hyperparameters(), "nearer", 2.0),
        (TrainConfig(baseline="running"), "gradient", "all_rows"),
        (TrainConfig(objective="cvar"), "curriculum", "nearer"),
        (TrainConfig(), "replays", 4),
        (TrainConfig(gradient="all_rows"), "replays", -1),
        (TrainConfig(gradient="all_rows", environments="posterior"), "replays", 4),
        (TrainConfig(gradient="all_rows"), "replay_batches", 0),
        (TrainConfig(gradient="all_rows"), "replay_last", 2.5),
        (Protocol(), "seeds", 0),
        (Protocol(), "seed", -1),
        (Protocol(), "seeds", 10**12),
        (Protocol(), "seed", 2**31),
        (Protocol(), "first_seed", 2**31 - 4),
        (Protocol(), "evaluation_episodes", 0),
        (Protocol(), "evaluation_episodes", 2**31),
    ],
)
def test_options_out_of_range_are_refused_by_name(part, field, value):
    options = {type(x): x for x in (TrainConfig(), Hyperparameters(), Protocol())}
    options[type(part)] = dataclasses.replace(part, **{field: value})
    with pytest.raises(UserError, match=f"^{field}: ") as refused:
        check(*options.values())
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("options", "key", "factors"),
    [
        ({"config": TrainConfig(episodes=10**8, batch=10**7)}, "batch", "10,000,000 episodes × 30 steps × 9 numbers"),
        (
            {"config": TrainConfig(episodes=10**8, batch=1_000, gradient="all_rows", replays=1, replay_last=10**5)},
            "replay_last",
            "5 seeds × 100,000 batches × 30 steps × 1,000 episodes",
        ),
        ({"config": TrainConfig(hidden=(10**6, 10**6))}, "hidden", "5 seeds × 1,000,013,000,000 weights"),
        ({"protocol": Protocol(seeds=1_000, evaluation_episodes=10**6)}, "evaluation_episodes", "1,000 seeds × 1,000,"),
    ],
)
def test_what_no_memory_holds_is_refused_before_any_of_it_is_made(options, key, factors):
    given = {"config": TrainConfig(), "hyperparameters": Hyperparameters(), "protocol": Protocol()} | options
    with pytest.raises(UserError, match=f"^{key}: .* would have {factors}"):
        check(**given, scenario=load_scenario("paper", ["horizon=30"]))
    if key == "hidden":  # training asks, too
        with pytest.raises(UserError, match=f"^{key}: "):
            train_seeds(load_scenario("paper"), **given)
