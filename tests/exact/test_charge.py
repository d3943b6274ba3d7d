"""What is charged on totals when an episode is over, against brute force over policies that remember all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.exact.charge import Charge
from aljax.exact.recursion import least, solve
from aljax.exact.structure import make_plan

import expectimax
from enumeration import belief_of, blind_points, family, stacked, starts
from strategies import env_params

OF_THREE = ("latency", "money", "failure")
WEIGHTS = np.array([[0.5, 1.0, 2.0, 0.75, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0]])
THRESHOLDS, PRICES, CHANCES = np.array([2.5, 3.0, 0.25]), np.array([1.5, 2.0, 4.0]), (False, True, True)


def charged(plain, weights):
    """The least of everything together, by enumeration."""

    def charge(costs):
        totals = weights @ costs
        beyond = totals > THRESHOLDS + 1e-5 * np.maximum(1.0, THRESHOLDS)
        units = np.where(CHANCES, beyond, np.maximum(totals - THRESHOLDS, 0.0))
        return float(np.asarray(plain["weights"], float) @ costs + PRICES @ units)

    return lambda belief: expectimax.charged(plain, belief, charge)


@pytest.mark.parametrize("name", ["statuses", "growing", "limited"])
def test_values_are_those_of_an_enumeration(name):
    plains, z = family(name), starts(7, 2)
    keeps, weights = OF_THREE, WEIGHTS.copy()
    if name == "growing":  # no row resolves
        keeps, weights[0, 4] = (*OF_THREE, "divergence"), 0.5
    plan, params = make_plan(stacked(plains), keeps=keeps), stacked(plains)
    charge = Charge(CHANCES, *(jnp.asarray(x, jnp.float32) for x in (weights, THRESHOLDS, PRICES)))
    program = jax.vmap(lambda params: solve(params, jnp.asarray(z, jnp.float32), plan, charge))
    found = jax.jit(program)(params)
    expected = [[charged(plain, weights)(expectimax.begin(plain, each)) for each in z.T] for plain in plains]
    np.testing.assert_allclose(found.value, expected, rtol=1e-4, atol=1e-5)
    parts = jnp.einsum("mk,mkb->mb", params.weights, found.components) + jnp.einsum("j,mjb->mb", PRICES, found.units)
    np.testing.assert_allclose(parts, found.value, rtol=1e-4, atol=1e-5)


def test_what_is_not_seen_is_charged_point_by_point():
    plain = blind_points()
    params, points = env_params(plain), plain["start_low"] + plain["start_points"]
    charge = Charge(CHANCES, *(jnp.asarray(x, jnp.float32) for x in (WEIGHTS, THRESHOLDS, PRICES)))
    found = least(params, jnp.asarray(points[2:].T, jnp.float32), make_plan(params, keeps=OF_THREE), charge)
    expected = [charged(plain, WEIGHTS)(belief_of(plain, point)) for point in points[2:]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
