"""What of an environment a plan of its exact solution depends on."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax import UserError
from aljax.env import ActionTable, EnvParams
from aljax.exact import structure
from aljax.exact.structure import KNOWN, VALUES_ONLY, fits, make_plan, plan_key
from aljax.fields import fields_of

from strategies import env_params, simple_environment


def numpy_params(**changes):
    return jax.tree.map(np.asarray, env_params(simple_environment(3, 2, **changes)))


def plan_or_reason(params):
    try:
        return make_plan(params)
    except UserError as refused:
        return str(refused)


CHANGES = {
    "failure": ([0.0, 0.25, 0.5], [0.5, 0.25, 0.5], 0.0),
    "retry_failure": ([0.0, 0.25, 0.5], [0.5, 0.5, 0.5], 0.0),
    "latency": ([1.0, 2.0, 3.0], 1.0),
    "money": ([1.0, 2.0, 3.0], 1.0),
    "shift": (0.0, np.arange(6.0).reshape(3, 2), 1.0),
    "gain": (1.0, [[1.0, 1.0], [0.5, 1.0], [1.0, 1.0]]),
    "noise": (0.0, [0.0, 0.5, 0.0]),
    "ends": (False, [False, False, True]),
    "allowed": (True, [True, False, True]),
    "misread": (0.0, [0.0, 0.5]),
    "latency_budget": (np.inf, 2.0, 50.0),
    "money_budget": (np.inf, 2.0),
    "horizon": (2, 4),
    "tolerance": (0.5, 1.0),
    "drift": (0.0, 0.25),
    "weights": (1.0, 2.0),
}


def environments():
    """Environments of a few values a field, so that equal keys are met often."""
    kept = st.fixed_dictionaries({name: st.sampled_from(range(len(values))) for name, values in CHANGES.items()})

    def made(chosen):
        params = numpy_params()
        for name, i in chosen.items():
            part = params.actions if name in fields_of(ActionTable) else params
            leaf = np.asarray(getattr(part, name))
            new = dataclasses.replace(
                part, **{name: np.broadcast_to(np.asarray(CHANGES[name][i], leaf.dtype), leaf.shape)}
            )
            params = dataclasses.replace(params, actions=new) if part is params.actions else new
        return params

    return kept.map(made)


@settings(max_examples=40, deadline=None)
@given(environments(), st.data())
def test_environments_of_one_key_have_one_plan_or_one_reason_against_it(params, data):
    # Another one, equal but in what no plan depends on, or in one field at random.
    other = data.draw(environments())
    fields = [name for name in CHANGES if name in fields_of(EnvParams)]
    kept = data.draw(
        st.sampled_from([fields, sorted(VALUES_ONLY & set(fields)), data.draw(st.lists(st.sampled_from(fields)))])
    )
    mixed = dataclasses.replace(params, **{name: getattr(other, name) for name in kept})
    table = data.draw(st.sampled_from(["failure", "retry_failure", "latency", "money", "noise"]))
    mixed = dataclasses.replace(
        mixed, actions=dataclasses.replace(params.actions, **{table: getattr(other.actions, table)})
    )
    if plan_key(params) == plan_key(mixed):
        assert plan_or_reason(params) == plan_or_reason(mixed)


def test_a_key_ignores_what_no_plan_depends_on_and_nothing_else():
    params = numpy_params(failure=0.25, retry_failure=0.5)
    key = plan_key(params)

    def changed(**values):
        columns = {name: np.asarray(x, np.float32) for name, x in values.items() if name in fields_of(ActionTable)}
        rest = {name: np.asarray(x, np.float32) for name, x in values.items() if name not in columns}
        return plan_key(dataclasses.replace(params, actions=dataclasses.replace(params.actions, **columns), **rest))

    assert changed(weights=[9, 9, 9, 9, 9], drift=[7, 7], tolerance=[3, 3]) == key
    assert changed(failure=[0.125, 0.25, 0.75], latency=[9, 9, 9]) == key  # there is no budget
    assert changed(failure=[0.5, 0.25, 0.75]) != key  # no longer sticky
    assert changed(latency_budget=5.0) != key
    assert changed(latency_budget=5.0, latency=[9, 9, 9]) != changed(latency_budget=5.0)
    assert changed(misread=[0, 1]) != key


def test_the_solver_knows_fields_that_there_are():
    assert {*fields_of(ActionTable), *fields_of(EnvParams)} >= KNOWN


@pytest.mark.parametrize(("name", "value"), [("drift", 0.25), ("noise", 0.5), ("z_scale", 2.0)])
def test_a_field_that_the_solver_does_not_know_is_refused_unless_it_is_at_its_default(name, value, monkeypatch):
    usual, changed = numpy_params(ends=[False, True, True]), numpy_params(ends=[False, True, True], **{name: value})
    plan = make_plan(usual)
    monkeypatch.setattr(structure, "KNOWN", KNOWN - {name})
    with pytest.raises(UserError, match=f"this environment: the exact solver does not reckon with {name}"):
        make_plan(changed)
    if name != "z_scale":  # which has no value by default
        assert make_plan(usual) == plan
        assert bool(fits(usual, plan)) and not bool(fits(changed, plan))
