"""A program of one episode written out number by number: the same numbers as for each episode by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.kernels.elements import Program, elements

FOUR, TABLE = jax.ShapeDtypeStruct((4,), jnp.float32), jax.ShapeDtypeStruct((3, 4), jnp.float32)
ROW = jax.ShapeDtypeStruct((), jnp.int32)


def several(values):
    """An array with a trailing axis of episodes, as elements."""
    flat = [jnp.asarray(part) for part in values.reshape(-1, values.shape[-1])]
    return elements(flat, values.shape[:-1])


def everything(x, table, row):
    """Of one episode: axes joined, cut, turned and folded; what is looked up; what is found first."""
    shared = jnp.take(table.T, row, axis=-1, mode="clip")
    parts = [x[1:3], jnp.where(x > 0.5, x, -x)[::-1], (x * shared)[None, 2], jnp.cumsum(x)]
    joined = jnp.concatenate(parts)
    flags = jnp.arange(4) == row
    return {
        "joined": joined,
        "first": (jnp.argmax(joined), jnp.argmin(table, axis=1), jnp.argmax(jnp.round(x) > 2)),
        "folded": (jnp.sum(table, axis=0), jnp.max(x), jnp.min(x), jnp.any(flags), jnp.all(~flags), jnp.sum(x)),
        "counted": jnp.sum(flags & jnp.isfinite(x / (row - 1)), dtype=jnp.int32),
        "turned": jnp.outer(x, shared).reshape(2, 8).T,
        "chosen": jax.lax.select_n(jnp.clip(row, 0, 2), x, -x, x * x),
        "function": jnp.tanh(jnp.clip(x, 0.2, 0.7)) + jnp.exp(-(x**2)) + jnp.sqrt(jnp.abs(x)) - jnp.expm1(x),
    }


@pytest.fixture(scope="module")
def found():
    """What a program gives for six episodes and a table that they share, and what each episode gives by itself."""
    rng = np.random.default_rng(0)
    x, table, rows = rng.normal(size=(4, 6)), rng.normal(size=(3, 4)), np.arange(6) % 5 - 1
    x, table, rows = (np.asarray(value, kind) for value, kind in ((x, "f4"), (table, "f4"), (rows, "i4")))

    @jax.jit
    def run(x, table, rows):
        program = Program(lambda x, table, row: everything(x, table.at[:].get(), row), FOUR, TABLE, ROW)
        shared = elements([table[place] for place in np.ndindex(table.shape)], table.shape)
        results = program.run(several(x), lambda: shared, several(rows))
        full = [
            jnp.stack([jnp.broadcast_to(value, 6) for value in leaf.reshape(-1)]).reshape(*leaf.shape, 6)
            for leaf in jax.tree.leaves(results)
        ]
        return jax.tree.structure(results).unflatten(full)

    alone = jax.jit(jax.vmap(everything, in_axes=(-1, None, -1), out_axes=-1))
    return run(x, table, rows), alone(x, table, rows)


def test_numbers_are_those_of_each_episode_by_itself(found):
    ours, alone = found
    assert jax.tree.structure(ours) == jax.tree.structure(alone)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(alone), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_what_is_not_needed_is_not_loaded():
    def never():
        raise AssertionError("loaded")

    program = Program(lambda x, table, row: (x + 1, row * (table * 0).shape[0]), FOUR, TABLE, ROW)
    (more, scaled) = program.run(several(np.ones((4, 2), np.float32)), never, several(np.ones(2, np.int32)))
    assert float(more[3][0]) == 2 and int(scaled[()][1]) == 3


def test_its_size_is_that_of_what_is_worked_out():
    program = Program(
        lambda x, table, row: (x + 1)[:2] * jnp.take(table.T, row, axis=-1)[0] + 0 * x[:2], FOUR, TABLE, ROW
    )
    short = Program(lambda x: jnp.concatenate([x, x + 1])[::-1], FOUR)
    assert short.size() == 4 and program.size() > 4 + 12 + 3 * 2


@pytest.mark.parametrize(
    ("function", "refused"),
    [
        (lambda x: jnp.sort(x), {"sort"}),
        (lambda x: x @ x, {"dot_general"}),
        (lambda x: x[jnp.array([1, 2])], {"gather"}),
        (lambda x: jax.lax.fori_loop(0, 3, lambda _, y: y + x, x), {"scan"}),
        (lambda x: (jnp.sort(x), x + 1)[1], set()),
        (lambda x: jnp.where(jnp.isfinite(x), jnp.cumsum(x), 0.0), set()),
    ],
)
def test_what_a_kernel_cannot_do_is_named(function, refused):
    assert Program(function, FOUR).refused() == refused
