"""What a call comes to in expectation, against the law that it is drawn by."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.calls import expected_call
from aljax.env import ActionTable

A = 6
NONE, NO = jnp.zeros(A), jnp.zeros(A, bool)
TABLE = ActionTable(
    latency=jnp.array([1.0, 2.0, 0.0, 3.0, 1.0, 4.0]), money=jnp.array([1.0, 2.0, 3.0, 0.0, 1.0, 2.0]), failure=NONE,
    gain=jnp.ones((A, 1)), shift=jnp.zeros((A, 1)), noise=NONE, ends=NO, resolves=NO, reveals=NO, allowed=~NO,
)  # fmt: skip
NODES, WEIGHTS = np.polynomial.legendre.leggauss(2000)


def table(**columns):
    return dataclasses.replace(TABLE, **{name: jnp.array(x, jnp.float32) for name, x in columns.items()})


def by_quadrature(row, time, p):
    """One call as the specification has it, over the normal draw n, NumPy float64."""
    growth, spread = row.get("latency_growth", 0.0), row.get("latency_spread", 0.0)
    timeout = row.get("timeout", np.inf)
    n, density = 9 * NODES, 9 * WEIGHTS * np.exp(-((9 * NODES) ** 2) / 2) / np.sqrt(2 * np.pi)
    fails = latency = 0.0
    for failed, chance in ((True, p), (False, 1 - p)):
        mean = (row.get("failure_latency", row["latency"]) if failed else row["latency"]) + growth * time
        seconds = mean * np.exp(spread * n - spread**2 / 2)
        late = seconds > timeout
        latency += chance * (density * np.minimum(seconds, timeout)).sum()
        fails += chance * (density * (late | failed)).sum()
    money = fails * row.get("failure_money", row["money"]) + (1 - fails) * row["money"]
    return fails, latency, money + row.get("money_growth", 0.0) * time


COLUMNS = {
    "failure_latency": [30.0, 0.0, 1.0, 3.0, 9.0, 0.5],
    "failure_money": [0.0, 5.0, 1.0, 1.0, 0.5, 2.0],
    "latency_growth": [0.0, 0.5, 0.25, 1.0, 0.0, 2.0],
    "money_growth": [0.125, 0.0, 0.0, 1.0, 2.0, 0.5],
    "latency_spread": [0.0, 0.5, 1.0, 1.5, 0.25, 0.75],
    "timeout": [np.inf, 2.5, 1.0, 20.0, 1.25, 3.0],
}


@pytest.mark.parametrize(
    "given",
    [(), ("failure_money", "money_growth"), ("failure_latency", "latency_growth"), ("timeout", "failure_latency"),
     ("timeout", "latency_spread"), ("latency_spread",), tuple(COLUMNS)],
    ids=lambda given: "+".join(given) or "none",
)  # fmt: skip
def test_expectations_are_those_of_the_law(given):
    """Every column alone or with what it meets, over rows with and without a spread, a time-out, seconds at all."""
    p, time = np.array([0.0, 0.25, 0.5, 1.0, 0.125, 0.75]), 3
    found = expected_call(table(**{name: COLUMNS[name] for name in given}), time, jnp.array(p, jnp.float32))
    for row in range(A):
        numbers = {name: COLUMNS[name][row] for name in given}
        numbers |= {"latency": float(TABLE.latency[row]), "money": float(TABLE.money[row])}
        expected = by_quadrature(numbers, time, p[row])
        # The indicator of a time-out keeps the quadrature itself to some three digits.
        np.testing.assert_allclose([jnp.broadcast_to(x, A)[row] for x in found], expected, atol=6e-3)


def test_batches_times_and_single_rows_are_the_same_numbers():
    whole = table(**COLUMNS)
    p, time = jax.random.uniform(jax.random.key(0), (A, 7)), jnp.arange(7)
    batch = expected_call(whole, time, p)
    for b in range(7):
        alone = expected_call(whole, b, p[:, b])
        jax.tree.map(lambda x, y, b=b: np.testing.assert_allclose(x[:, b], y, rtol=1e-6), batch, alone)
    for row in range(A):
        one = expected_call(jax.tree.map(lambda column, row=row: column[row], whole), time, p[row])
        jax.tree.map(lambda x, y, row=row: np.testing.assert_allclose(x[row], y, rtol=1e-6), batch, one)


def test_edges_are_exact():
    """No spread, no time-out, no seconds: what there is, to the last bit, and never NaN."""
    columns = {"latency_spread": [0.0, 1.0, 1.0, 0.0, 0.0, 50.0], "timeout": [2.0, np.inf, 1.0, 3.0, 0.5, 1e-9]}
    found = expected_call(table(**columns), 0, jnp.zeros(A))
    np.testing.assert_array_equal(np.asarray(found.latency)[:5], [1, 2, 0, 3, 0.5])
    np.testing.assert_array_equal(np.asarray(found.failure)[:5], [0, 0, 0, 0, 1])
    assert np.isfinite(found.latency).all() and np.isfinite(found.failure).all()
