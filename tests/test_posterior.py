"""Environments drawn from intervals: their laws, episodes each in its own, and training over them."""

import dataclasses
import functools
import statistics

import jax
import numpy as np
import pytest

from aljax import UserError, train
from aljax.chance import draw_chance, uniform
from aljax.checks import check
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Random, heuristics
from aljax.posterior import Posterior, Unaware, Worlds, draw_environments, placed, posterior_of, worlds_of
from aljax.rollout import play
from aljax.scenario import parse_scenario
from aljax.target import here

from counting import compilations
from tiny import TINY, tiny_scenario

UNSURE = """
[intervals]
"actions.weak.failure" = [0.1, 0.4]
"actions.strong.failure" = [0.4, 0.9]
"actions.strong.shift.error" = [-2.0, -1.25]
"actions.strong.latency" = [1.0, 3.0]
"drift.error" = [0.1, 0.5]
"""
CONFIG = TrainConfig(episodes=60, batch=20, hidden=(4,), environments="posterior")


def unsure_scenario(*overrides):
    return parse_scenario(TINY + UNSURE, name="tiny", where="tiny.toml", overrides=overrides)


def laws(doubts, normal):
    """What is drawn, from normal numbers, by the definition of each law, in double precision. [K, E]"""
    found = []
    for doubt, numbers in zip(doubts, normal, strict=True):
        to, back = {
            "logit": (lambda p: np.log(p / (1 - p)), lambda x: 1 / (1 + np.exp(-x))),
            "log": (np.log, np.exp),
            "plain": (lambda x: x, lambda x: x),
        }[doubt.law]
        quantile = statistics.NormalDist().inv_cdf(0.975)
        low, middle, high = to(doubt.low), to(doubt.value), to(doubt.high)
        side = np.where(numbers < 0, (middle - low) / quantile, (high - middle) / quantile)
        found.append(back(middle + side * numbers))
    return found


def test_draws_follow_their_laws_number_by_number():
    scenario, key, count = unsure_scenario(), jax.random.key(3), 500
    drawn = draw_environments(key, posterior_of(scenario), count)
    u = np.asarray(uniform(jax.random.fold_in(key, 6), (5, count), 0.0, 1.0), np.float64)
    normal = np.vectorize(statistics.NormalDist().inv_cdf)(np.clip(u, 1e-12, None))
    weak, strong, shift, latency, drift = laws(scenario.doubts, normal)
    for found, meant in (
        (drawn["failure"][0], weak), (drawn["after_failed"][0], weak), (drawn["failure"][1], strong),
        (drawn["shift"][1, 0], shift), (drawn["latency"][1], latency), (drawn["drift"][0], drift),
    ):  # fmt: skip
        np.testing.assert_allclose(found, meant, rtol=3e-4)
    table = scenario.params.actions
    for name, places in (("failure", [2]), ("after_failed", [1, 2]), ("latency", [0, 2]), ("shift", [0, 2])):
        for place in places:  # what is certain stays as it is
            usual = np.asarray(getattr(table, name))[place]
            np.testing.assert_array_equal(drawn[name][place], np.broadcast_to(usual[..., None], (*usual.shape, count)))


def test_the_quantiles_of_draws_are_the_interval_and_the_number():
    scenario, count = unsure_scenario(), 40_000
    drawn = draw_environments(jax.random.key(0), posterior_of(scenario), count)
    for found, doubt in ((drawn["failure"][1], scenario.doubts[1]), (drawn["drift"][0], scenario.doubts[4])):
        shares = [float((np.asarray(found) < x).mean()) for x in (doubt.low, doubt.value, doubt.high)]
        np.testing.assert_allclose(shares, [0.025, 0.5, 0.975], atol=4 * 0.5 / np.sqrt(count))


def test_wider_and_moved():
    scenario, key = unsure_scenario(), jax.random.key(1)
    usual, wide, moved = (
        np.log(draw_environments(key, posterior_of(scenario, **how), 50)["latency"][1] / 2.0)
        for how in ({}, {"widen": 2.0}, {"moved": 1.0})
    )
    np.testing.assert_allclose(wide, 2 * usual, atol=1e-5)
    np.testing.assert_allclose(moved - usual, np.log(1.5) / 1.959964, atol=1e-5)
    for wrong in (0.0, np.nan, 1e9):
        with pytest.raises(UserError, match="widen: expected a number above 0 and at most 100"):
            posterior_of(scenario, widen=wrong)


def test_what_is_drawn_stays_where_its_field_has_it():
    text = TINY + '[intervals]\n"actions.strong.latency" = [1e-9, 1e5]\n'
    scenario = parse_scenario(text, name="tiny", where="tiny.toml")
    found = np.asarray(draw_environments(jax.random.key(0), posterior_of(scenario, widen=100.0), 1_000)["latency"][1])
    assert found.min() >= 0 and found.max() == np.float32(1e9)


def test_episodes_side_by_side_are_those_played_alone_in_their_environments():
    scenario, key, count = unsure_scenario(), jax.random.key(5), 12
    worlds = worlds_of(key, posterior_of(scenario), CONFIG, count)
    chance = draw_chance(key, scenario.params, episodes=count, steps=3)
    together = jax.jit(
        lambda chance: worlds.each(lambda drawn, own, on: play(drawn, Random(), own, target=on), chance, here())
    )(chance)
    alone = jax.jit(lambda chance, params: play(chance, Random(), params))
    assert worlds.drawn is not None and len(np.unique(worlds.drawn["failure"][0])) == count
    for i in range(count):
        own = placed(scenario.params, {name: leaf[..., i] for name, leaf in worlds.drawn.items()})
        one = alone(jax.tree.map(lambda leaf, i=i: leaf[..., i : i + 1], chance), own)
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[..., i], b[..., 0], rtol=1e-6, atol=1e-6), together, one
        )


def test_policies_reckon_with_the_numbers_of_the_file():
    """cost_aware by the file's numbers prefers weak at first; told that weak is dear, it would not."""
    scenario = unsure_scenario()
    policy = heuristics(scenario)["latency"]
    dear = placed(scenario.params, {"latency": np.array([9.0, 2.0, 0.5], np.float32)})
    chance = draw_chance(jax.random.key(0), scenario.params, episodes=4, steps=3)
    told = play(chance, policy, dear).action
    unaware = play(chance, Unaware(policy, scenario.params), dear).action
    assert np.asarray(told[0]).tolist() == [1] * 4 and np.asarray(unaware[0]).tolist() == [0] * 4
    assert Worlds(scenario.params, None).policy(policy) is policy


@functools.cache
def advanced(config):
    return jax.jit(functools.partial(train.advance, config=config, steps=3))


def run(params, config, *pieces):
    state = train.init(jax.random.key(0), params, config=config, steps=3)
    for start, stop in pieces or ((0, config.updates),):
        state = advanced(config)(state, start, stop, Hyperparameters(), params)
    return jax.device_get(state._replace(key=jax.random.key_data(state.key)))


def test_training_at_the_point_takes_no_notice_of_intervals():
    config = dataclasses.replace(CONFIG, environments="point")
    plain, unsure = run(tiny_scenario().params, config), run(unsure_scenario().params, config)
    jax.tree.map(np.testing.assert_array_equal, plain, unsure)


def test_training_in_pieces_is_training_in_one_and_new_numbers_compile_nothing():
    known = posterior_of(unsure_scenario())
    whole = run(known, CONFIG)
    jax.tree.map(np.testing.assert_array_equal, whole, run(known, CONFIG, (0, 1), (1, 3)))
    with compilations() as compiled:
        text = (TINY + UNSURE).replace("[0.4, 0.9]", "[0.2, 0.6]")
        other = run(posterior_of(parse_scenario(text, name="tiny", where="tiny.toml")), CONFIG)
    assert "advance" not in " ".join(map(str, compiled))
    assert not np.array_equal(whole.curve.cost, other.curve.cost)


def test_every_episode_of_a_batch_is_charged_in_its_own_environment():
    """Where intervals have no width, the first batch costs what it does at the point."""
    text = TINY + '[intervals]\n"actions.strong.latency" = [2.0, 2.0]\n"drift.error" = [0.25, 0.25]\n'
    certain = posterior_of(parse_scenario(text, name="tiny", where="tiny.toml"))
    point = run(tiny_scenario().params, dataclasses.replace(CONFIG, environments="point"))
    np.testing.assert_allclose(run(certain, CONFIG).curve.cost[0], point.curve.cost[0], rtol=1e-5)


def test_the_gradient_over_all_rows_knows_each_environment():
    config = dataclasses.replace(CONFIG, gradient="all_rows")
    found = run(posterior_of(unsure_scenario()), config)
    assert np.isfinite(found.curve.cost).all()


def test_nothing_to_draw_from_is_refused():
    with pytest.raises(UserError, match=r"environments: tiny has no \[intervals\] from which they could be drawn"):
        check(CONFIG, Hyperparameters(), Protocol(1), tiny_scenario())
    with pytest.raises(UserError, match="environments: expected what is known of them"):
        worlds_of(jax.random.key(0), tiny_scenario().params, CONFIG, 4)
    assert isinstance(posterior_of(unsure_scenario()), Posterior)


def test_all_rows_and_beliefs_do_not_go_together_over_a_posterior():
    config = dataclasses.replace(CONFIG, gradient="all_rows", inputs="belief")
    with pytest.raises(UserError, match="gradient: all_rows would know what the belief does not"):
        check(config, Hyperparameters(), Protocol(1))
