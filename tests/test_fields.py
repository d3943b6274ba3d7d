"""Fields of the environment are declared once, and everything loops over the declarations."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from aljax import load_scenario, reading, scenario_names
from aljax.env import COMPONENTS, ActionTable, EnvParams
from aljax.fields import Declared, Same, declared, fields_of
from aljax.host import toml
from aljax.limits import BOUNDS, MOST_HORIZON

from tiny import TINY


def test_every_field_but_the_table_itself_is_declared():
    assert list(fields_of(ActionTable)) == [field.name for field in dataclasses.fields(ActionTable)]
    assert ["actions", *fields_of(EnvParams), "rules"] == [field.name for field in dataclasses.fields(EnvParams)]


@pytest.mark.parametrize("name", scenario_names())
def test_arrays_are_as_they_are_declared(name):
    scenario = load_scenario(name)
    sizes = {"A": len(scenario.action_names), "d": len(scenario.coordinate_names), "k": len(COMPONENTS)}
    parts = [scenario.params, scenario.params.actions]
    if scenario.params.rules is not None:
        parts.append(scenario.params.rules)
        sizes |= {"R": len(scenario.rule_names), "K": len(scenario.params.rules.structure.timed)}
    if scenario.params.start_points is not None:
        sizes["N"] = len(scenario.params.start_points)
    for part in parts:
        for key, field in fields_of(type(part)).items():
            if field.optional and getattr(part, key) is None:
                continue
            leaf = np.asarray(getattr(part, key))
            assert leaf.shape == tuple(sizes[axis] for axis in field.axes) and leaf.dtype == field.dtype
            if field.check in BOUNDS:
                least, most = BOUNDS[field.check]
                assert ((least <= leaf) & (leaf <= most) | (field.endless & np.isinf(leaf))).all()


def test_a_default_is_a_value_of_the_field_s_own_kind_another_field_or_follows_from_all():
    for field in (*fields_of(ActionTable).values(), *fields_of(EnvParams).values()):
        if isinstance(field.default, Same):
            assert any(field.default.as_field in fields_of(part) for part in (ActionTable, EnvParams))
        elif isinstance(field.default, bool):
            assert field.check == "flag"
        elif isinstance(field.default, float):
            least, most = BOUNDS.get(field.check, (1, MOST_HORIZON))
            assert field.endless or least <= field.default <= most


AXES = {
    (): "a number", ("d",): "one a coordinate", ("k",): "one a component of the cost", ("A",): "one an action",
    ("A", "d"): "one a coordinate of an action", ("N",): "one a point", ("N", "d"): "one a coordinate of a point",
}  # fmt: skip
TAKES = {
    "number": "any number", "not negative": "not below 0", "probability": "0 to 1", "positive": "at least 10⁻⁹",
    "at least 1": "at least 1", "count": "whole, from 1", "calls": "whole, from 1", "flag": "true, false",
}  # fmt: skip


def told(name, field):
    """A field's row in the reference."""
    default = field.default
    if default is None:
        usual = "none" if field.optional else "must be given"
    elif isinstance(default, Same):
        usual = f"`{default.as_field}`"
    elif field.kinds:
        usual = f"true of {' and '.join(field.kinds)}"
    else:
        usual = "follows from others" if callable(default) else f"`{toml.dump(default)}`"
    takes = TAKES[field.check] + (", or `inf`" if field.endless else "")
    return f"| `{name}` | {AXES[field.axes]} | {takes} | {field.unit} | {usual} |".replace("  ", " ")


def test_the_reference_has_a_row_of_every_field_as_it_is_declared():
    page = (Path(__file__).parent.parent / "docs" / "reference" / "scenario_files.md").read_text()
    # Rows of five columns; the table of rules' templates has three.
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 6]
    assert rows == [told(*each) for kind in (EnvParams, ActionTable) for each in fields_of(kind).items()]


FATIGUE = Declared(("A",), "not negative", 0.5, optional=True)


@pytest.fixture
def tired(monkeypatch):
    """Rows may have one column more, which is not there where no row has it."""
    monkeypatch.setattr(reading, "COLUMNS", {**reading.COLUMNS, "fatigue": FATIGUE})
    return lambda text: reading.read(toml.parse(text, "tiny.toml"), "tiny.toml").numbers


def test_an_optional_column_that_no_row_gives_is_not_there(tired):
    assert "fatigue" not in tired(TINY)


def test_an_optional_column_that_a_row_gives_is_there_in_all_rows(tired):
    found = tired(TINY.replace("[actions.weak]", "[actions.weak]\nfatigue = 2.0"))
    assert found["fatigue"].tolist() == [[2.0], [0.5], [0.5]]


def test_an_optional_field_that_is_absent_is_no_leaf():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass(frozen=True)
    class Table:
        extra: jax.Array | None = declared("A", "number", 0.0, optional=True)
        latency: jax.Array = declared("A", "number")

    assert len(jax.tree.leaves(Table(latency=np.ones(2)))) == 1
    assert len(jax.tree.leaves(Table(latency=np.ones(2), extra=np.zeros(2)))) == 2
    assert fields_of(Table)["extra"].optional and list(fields_of(Table)) == ["extra", "latency"]
