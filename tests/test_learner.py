"""How policies come about: what is told meanwhile, and which are refused."""

import numpy as np
import pytest

from aljax import UserError, learner
from aljax.learner import Scratch, Watch, refuse_failed, train_watched
from aljax.learning.run_state import CURVES, Curve
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned
from aljax.training import Trained

from tiny import tiny_scenario


class Told(Watch):
    """Keeps everything that it is told."""

    def __init__(self):
        self.lines, self.steps = [], []

    def told(self, line):
        self.lines.append(line)

    def advanced(self, doing, done, total, note):
        self.steps.append((doing, done, total, note))


@pytest.mark.parametrize(
    ("episodes", "said"), [(100, ["Trains on 90 episodes a seed, not 100: whole batches of 30."]), (90, [])]
)
def test_episodes_that_are_no_whole_batches_are_told(episodes, said, monkeypatch):
    done = Trained(policy=None, curve=Curve(*(np.ones((2, 3)) for _ in CURVES)), seconds={})  # pyright: ignore
    monkeypatch.setattr(Trained, "diverged", [])
    monkeypatch.setattr(learner, "train_seeds", lambda *_: done)
    watch, config = Told(), TrainConfig(episodes=episodes)
    assert train_watched(None, config, Hyperparameters(), Protocol(), watch) is done  # pyright: ignore
    assert watch.lines == said and watch.steps == [("training", 0, 3, "")]


def test_progress_is_told_from_the_start_to_the_last_update_with_the_mean_cost():
    watch, config = Told(), TrainConfig(episodes=60, batch=20, hidden=(4,))
    found = Scratch(tiny_scenario(), config, Hyperparameters(), Protocol(seeds=2)).learn(watch)
    costs = [f"cost {cost:.3f}" for cost in found.curve.cost.mean(0)]
    assert watch.steps == [("training", done, 3, note) for done, note in enumerate(["", *costs])]


def test_training_that_failed_blames_the_learning_rate_only_where_costs_are_finite():
    policy = Learned({"w": np.array([[1.0], [np.nan]])}, architecture=None)  # pyright: ignore
    curve = Curve(*(np.ones((2, 4)) for _ in CURVES))
    with pytest.raises(UserError, match=r"diverged .* on seeds 1: try a smaller learning_rate$"):
        refuse_failed(Trained(policy, curve, {}))
    cost = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, np.inf, np.nan]])
    with pytest.raises(UserError, match=r"on seeds 1: costs of episodes are not finite from update 2 on, so the "):
        refuse_failed(Trained(policy, curve._replace(cost=cost), {}))
