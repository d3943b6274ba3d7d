"""Gymnasium's environments: its own checks, and what an episode shows."""

import numpy as np
import pytest

import aljax

from alike import arrays, check_alike, library

gymnasium = library("gymnasium", "gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402
from gymnasium.vector import AutoresetMode, SyncVectorEnv  # noqa: E402

from aljax.adapters.gymnasium import Env, VectorEnv  # noqa: E402

from ruled import ruled  # noqa: E402
from tiny import tiny_scenario  # noqa: E402

MODES = list(AutoresetMode)
RULED = ruled([{"template": "precedence", "a": "a", "b": "b"}, {"template": "absence", "a": "c", "n": 2}])


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


def test_the_horizon_ends_an_episode_and_truncates_nothing():
    env = Env(tiny_scenario("tolerance=0.0"))
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (True, False)]
    observation, reward, ended, _, info = env.step(0)  # it stays as it is
    assert (reward, ended) == (0.0, True) and not info["costs"].any() and env.observation_space.contains(observation)


def test_a_shorter_limit_of_the_users_own_truncates():
    env = gymnasium.make("aljax.adapters.gymnasium:aljax/paper-v0", max_episode_steps=2)
    env.reset(seed=0)
    assert env.step(0)[2:4] == (False, False) and env.step(0)[2:4] == (False, True)


def test_a_step_needs_an_episode():
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset before step"):
        Env("paper").step(0)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset before step"):
        VectorEnv("paper", num_envs=2).step([0, 0])


@pytest.mark.parametrize("scenario", [*aljax.scenario_names(), RULED], ids=lambda each: getattr(each, "name", each))
def test_many_environments_are_as_many_single_ones_to_the_last_bit(scenario):
    """In every mode: observations, rewards, ends, infos and their masks; 17 are not compiled as one is."""
    size, steps = 17, 40
    for mode in MODES:
        many = VectorEnv(scenario, num_envs=size, autoreset_mode=mode)
        single = SyncVectorEnv([lambda: Env(scenario)] * size, autoreset_mode=mode)
        assert many.observation_space == single.observation_space and many.action_space == single.action_space
        assert many.metadata["autoreset_mode"] == single.metadata["autoreset_mode"]
        check_alike(many.reset(seed=5), single.reset(seed=5), "reset")
        rng, ends = np.random.default_rng(0), 0
        for step in range(steps):
            actions = rng.integers(0, many.single_action_space.n, size)
            found = many.step(actions)
            check_alike(found, single.step(actions), f"{mode} {step}")
            ends += int(found[2].sum())
            if mode == AutoresetMode.DISABLED and found[2].any():
                found, wanted = (env.reset(options={"reset_mask": found[2].copy()}) for env in (many, single))
                check_alike(found, wanted, f"{mode} reset {step}")
        assert ends > 10


@pytest.mark.parametrize("mode", MODES)
def test_no_array_is_given_twice(mode):
    """Neither within a step, masks beside infos included, nor from one step to the next."""
    env = VectorEnv(tiny_scenario(), num_envs=5, autoreset_mode=mode)
    given = [*arrays(env.reset(seed=0))]
    for _ in range(3):
        given += arrays(env.step(np.zeros(5, int)))
    assert not any(np.shares_memory(one, other) for i, one in enumerate(given) for other in given[:i])


def test_environments_may_have_seeds_of_their_own():
    many, one = VectorEnv("paper", num_envs=3), Env("paper")
    observations, _ = many.reset(seed=[4, 9, 4])
    check_alike(observations[1], one.reset(seed=9)[0])
    assert (observations[0] == observations[2]).all() and (observations[0] != observations[1]).any()
    with pytest.raises(aljax.UserError, match="seed: expected one number, or one for each of 3 environments, got 2"):
        many.reset(seed=[1, 2])


@pytest.mark.parametrize("mask", [[True, False], np.zeros(3, bool), np.ones(3, int), np.ones(4, bool)])
def test_what_is_no_mask_is_refused(mask):
    env = VectorEnv(tiny_scenario(), num_envs=3, autoreset_mode="Disabled")
    env.reset(seed=0)
    with pytest.raises(aljax.UserError, match=r"reset_mask: expected Booleans of shape \(3,\), one of them true"):
        env.reset(options={"reset_mask": mask})


def test_disabled_waits_for_the_reset_of_what_has_ended():
    env = VectorEnv(tiny_scenario(), num_envs=2, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    env.step([2, 0])
    with pytest.raises(gymnasium.error.ResetNeeded, match="environment 0 has ended"):
        env.step([0, 0])


def test_actions_out_of_range_and_of_other_shapes_are_refused():
    env = VectorEnv("paper", num_envs=2)
    env.reset(seed=0)
    with pytest.raises(aljax.UserError, match="action 4: expected a row of the action table, 0 to 3"):
        env.step([0, 4])
    with pytest.raises(aljax.UserError, match=r"actions: expected integers of shape \(2,\), got float64"):
        env.step([0.0, 1.0])
    with pytest.raises(aljax.UserError, match=r"expected integers of shape \(2,\), got int64 of shape \(3,\)"):
        env.step([0, 1, 2])


def test_make_vec_makes_them_by_name():
    env = gymnasium.make_vec("aljax.adapters.gymnasium:aljax/escalation-v0", num_envs=3, overrides={"horizon": 4})
    assert isinstance(env, VectorEnv) and env.scenario.horizon == 4 and env.num_envs == 3
    normalised = gymnasium.wrappers.vector.NormalizeObservation(env)
    assert normalised.reset(seed=1)[0].shape == (3, 12)


def test_masks_are_those_of_info():
    env = Env(tiny_scenario("actions.weak.max_calls=1"))
    env.reset(seed=0)
    info = env.step(0)[4]
    assert env.action_masks().dtype == bool and (env.action_masks() == info["action_mask"]).all()
    env.action_masks()[:] = False
    assert env.action_masks().tolist() == [False, True, True]
