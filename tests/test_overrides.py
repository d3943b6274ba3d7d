"""Changes to a scenario: as values or as texts, they are the same."""

import json
import math

import jax
import numpy as np
import pytest

from aljax import UserError, load_scenario
from aljax.overrides import SETTABLE, Override, overridden, overrides_of
from aljax.scenario import parse_scenario, scenario_names

from tiny import TINY


def parse(overrides):
    return parse_scenario(TINY, name="tiny", where="tiny.toml", overrides=overrides)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ({"actions.failure.weak": 0.5, "horizon": 9}, ["actions.failure.weak=0.5", "horizon=9"]),
        ({"actions.weak.shift.error": -2}, ["actions.weak.shift.error=-2"]),
        ({"actions.allowed.stop": False, "actions.kind.weak": "reason"},
         ["actions.allowed.stop=false", 'actions.kind.weak="reason"']),
        ({"drift": [1.5], "money_budget": math.inf}, ["drift=[1.5]", "money_budget=inf"]),
        ({"drift": {"error": 1.5}}, ['drift={ "error" = 1.5 }']),
        ({"weights": [1.0, 2.0, 3.0, 4.0, 5.0]}, ["weights=[1.0, 2.0, 3.0, 4.0, 5.0]"]),
        ({"horizon": np.int32(4), "drift": np.array([0.5]), "tolerance": jax.numpy.ones(1), "start_low": (1.0,)},
         ["horizon=4", "drift=[0.5]", "tolerance=[1.0]", "start_low=[1.0]"]),
    ],
)  # fmt: skip
def test_values_by_key_are_what_texts_are(values, texts):
    by_value, by_text = parse(values), parse(texts)
    assert jax.tree.all(jax.tree.map(np.array_equal, by_value.params, by_text.params))
    assert by_value.kinds == by_text.kinds
    assert json.loads(json.dumps(by_value.overrides)) == texts  # as files say them
    assert parse(by_value.changes).overrides == by_value.overrides == parse(by_value.overrides).overrides


def test_a_text_is_kept_as_it_was_written():
    scenario = parse([" drift = 5e-1 ", "horizon=1_0"])
    assert scenario.overrides == (" drift = 5e-1 ", "horizon=1_0")
    assert [(change.key.strip(), change.first, change.value) for change in scenario.changes] == [
        ("drift", "drift", 0.5), ("horizon", "horizon", 10)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"actions.failure.serch": 0.3}, "tiny.toml with actions.failure.serch=0.3: no action 'serch'"),
        ({"actions.failure.weak": 1.2}, "tiny.toml with actions.failure.weak=1.2: actions.weak.failure: a probability"),
        ({"horizont": 3}, "tiny.toml with horizont=3: unknown key 'horizont': expected one of horizon, weights, act"),
        ({"": 3}, "tiny.toml with =3: unknown key ''"),
        ({"horizon": None}, "tiny.toml with horizon: expected a number, text, true or false, a list or a table, got N"),
        ({"drift": [0.5, {1, 2}]}, "tiny.toml with drift: 1: expected a number"),
        ({"horizon": 2**70}, "tiny.toml with horizon: a whole number must lie within ±2^63"),
        ({"weights": [1.0]}, "tiny.toml with weights=[1.0]: weights: expected 5 numbers, one a component, got 1"),
        ({"weights": 1.0}, "tiny.toml with weights=1.0: weights: expected a table, got 1.0"),
        ({"drift": math.nan}, "tiny.toml with drift=nan: drift.error: expected a finite number, got nan"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_line(values, message):
    with pytest.raises(UserError) as refused:
        parse(values)
    assert str(refused.value).startswith(message) and str(refused.value).isprintable()


def test_a_change_leaves_the_contents_that_it_is_made_in_as_they_are():
    raw = {"coordinates": ["a", "b"], "drift": 0.5, "misread": [1, 2], "actions": {"x": {"gain": 1.0}}}
    before = json.dumps(raw)
    for key, value in {"drift.a": 2.0, "misread.b": 3, "actions.gain.x.a": 0.0, "weights.money": 1.0}.items():
        assert overridden(raw, Override(key, value), "here") != raw
    assert json.dumps(raw) == before


def test_later_changes_come_on_top_of_earlier_ones():
    found = list(overrides_of(["drift=1", "drift.error=2"], "here"))
    assert parse(found).params.drift[0] == 2
    assert parse(["drift.error=2", "drift=1"]).params.drift[0] == 1
    assert parse({"weights": [1, 2, 3, 4, 5], "weights.money": 9}).params.weights.tolist() == [1, 9, 3, 4, 5]


def test_every_field_can_be_changed_by_value_in_every_scenario():
    for name in scenario_names():
        params = load_scenario(name).params
        there = (key for key in SETTABLE if key not in ("actions", "rules") and getattr(params, key) is not None)
        whole = {key: np.asarray(getattr(params, key)) for key in there}
        again = load_scenario(name, whole)
        assert jax.tree.all(jax.tree.map(np.array_equal, again.params, params))
