"""The study of a known world plays one scenario's optimum in another one, and knows the truth."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from aljax.scenario import load_scenario

sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))

import known_world

WORLD = load_scenario(known_world.WORLD, ("horizon=5",))


def test_an_optimum_costs_in_its_own_world_what_it_promises_and_more_in_any_other():
    policy, promised = known_world.optimum(known_world.padded(WORLD, 5), WORLD)
    least = known_world.cost(policy, WORLD)
    assert least == pytest.approx(promised, rel=0.02)
    dear = load_scenario(known_world.WORLD, ("horizon=5", "actions.latency.look=60.0"))
    timid, _ = known_world.optimum(known_world.padded(dear, 5), WORLD)
    assert known_world.cost(timid, WORLD) > 1.05 * least


def test_rows_are_matched_by_name():
    """The same scenario with its rows the other way round."""
    table = WORLD.params.actions
    turned = dataclasses.replace(
        WORLD,
        action_names=WORLD.action_names[::-1],
        kinds=WORLD.kinds[::-1],
        params=dataclasses.replace(
            WORLD.params,
            actions=dataclasses.replace(
                table,
                **{
                    field.name: getattr(table, field.name)[::-1]
                    for field in dataclasses.fields(table)
                    if getattr(table, field.name) is not None
                },
            ),
        ),
    )
    costs = [
        known_world.cost(known_world.optimum(known_world.padded(scenario, 5), WORLD)[0], WORLD)
        for scenario in (WORLD, turned)
    ]
    assert costs[0] == pytest.approx(costs[1], rel=1e-3)


def test_the_world_has_the_coordinate_of_calibrated_ones_where_it_is_asked_for():
    wider = known_world._with_all_coordinates(WORLD)
    assert wider.coordinate_names == (*WORLD.coordinate_names, "unexplained")
    np.testing.assert_array_equal(wider.params.start_points[:, :-1], WORLD.params.start_points)
    np.testing.assert_array_equal(wider.params.start_points[:, -1], 0)
    assert wider.action_names == WORLD.action_names


def test_hard_tasks_change_what_is_true_on_average():
    alike, apart = known_world.truth_of(WORLD, 0.0), known_world.truth_of(WORLD, 1.0)
    assert alike["failure"]["look"] == pytest.approx(0.1)
    assert apart["failure"]["look"] > 0.11 and apart["latency"] == alike["latency"]
    assert alike["after_failed_naive"] == alike["after_failed"]
