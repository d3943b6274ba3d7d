"""Gymnasium's environments: its own checks, and what an episode shows."""

import numpy as np
import pytest

import aljax

gymnasium = pytest.importorskip("gymnasium", reason="needs the extra gymnasium, as make adapters has it")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from aljax.adapters.gymnasium import Env  # noqa: E402


@pytest.mark.parametrize("name", aljax.scenario_names())
def test_gymnasium_finds_nothing_to_say(name):
    """Warnings are errors here."""
    check_env(gymnasium.make(f"aljax.adapters.gymnasium:aljax/{name}-v0").unwrapped)


def test_a_row_that_is_not_there_is_refused():
    env = Env("paper")
    env.reset(seed=0)
    for action in (-1, 4):
        with pytest.raises(aljax.UserError, match=f"action {action}: expected a row of the action table, 0 to 3"):
            env.step(action)


def test_info_has_the_same_keys_always_and_sums_up():
    env = Env("escalation")
    _, info = env.reset(seed=1)
    sums, rewards, ended = np.zeros(5, np.float32), 0.0, False
    assert not info["costs"].any() and not info["episode_costs"].any()
    while not ended:
        kept = {key: value.copy() for key, value in info.items()}
        _, reward, ended, truncated, after = env.step(1)
        assert all((info[key] == kept[key]).all() for key in kept) and not truncated
        info, sums, rewards = after, sums + after["costs"], rewards + reward
        assert type(reward) is float and type(ended) is bool
        assert {key: (value.dtype, value.shape) for key, value in info.items()} == {
            "action_mask": (np.int8, (5,)), "costs": (np.float32, (5,)),
            "episode_costs": (np.float32, (5,)), "is_success": (np.bool_, ()),
        }  # fmt: skip
        np.testing.assert_array_equal(info["episode_costs"], sums)
    assert rewards == pytest.approx(-float(env.params.weights @ sums), rel=1e-5)
