"""Stable-Baselines3's environments: its own checks, and the same bits as its loop over single ones."""

import numpy as np
import pytest

import aljax

from alike import arrays, check_alike, library

library("stable_baselines3", "sb3")

from stable_baselines3.common.env_checker import check_env  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor  # noqa: E402

from aljax.adapters.gymnasium import Env  # noqa: E402
from aljax.adapters.sb3 import VecEnv  # noqa: E402

from tiny import tiny_scenario  # noqa: E402


def test_it_finds_nothing_to_say_of_one_environment():
    """Warnings are errors here."""
    check_env(Env("escalation"))


@pytest.mark.parametrize("name", ["escalation", "outage"])
def test_many_environments_are_as_many_single_ones_to_the_last_bit(name):
    many, single = VecEnv(name, 17), DummyVecEnv([lambda: Env(name)] * 17)
    many.seed(7), single.seed(7)
    check_alike(many.reset(), single.reset())
    rng = np.random.default_rng(0)
    for _ in range(40):
        check_alike(many.reset_infos, single.reset_infos)
        check_alike(many.env_method("action_masks"), single.env_method("action_masks"))
        actions = rng.integers(0, many.action_space.n, 17)
        found = many.step(actions)
        check_alike(found, single.step(actions))
        assert not any(info["TimeLimit.truncated"] for info in found[3])


def test_no_array_is_given_twice():
    env = VecEnv(tiny_scenario(), 5)
    given = arrays(env.reset())
    for _ in range(4):
        given += arrays(env.step(np.zeros(5, int)))
    assert not any(np.shares_memory(one, other) for i, one in enumerate(given) for other in given[:i])


def test_it_has_what_is_asked_for_by_name():
    env = VecMonitor(VecEnv("paper", 3))
    assert env.get_attr("scenario", [0])[0].name == "paper" and env.get_attr("render_mode") == [None] * 3
    assert len(env.env_method("action_masks", indices=[1, 2])) == 2
    assert env.env_is_wrapped(VecMonitor) == [False] * 3
    with pytest.raises(AttributeError, match="no attribute 'speed'"):
        env.get_attr("speed")
    with pytest.raises(AttributeError, match="no attribute 'params' to set"):
        env.set_attr("params", 1)
    env.close()


def test_an_action_that_is_not_there_is_refused():
    env = VecEnv("paper", 2)
    env.reset()
    with pytest.raises(aljax.UserError, match="action 9: expected a row of the action table"):
        env.step(np.array([0, 9]))
