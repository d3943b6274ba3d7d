"""One PRNG key where one is expected, one a seed where several are; typed or raw."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env, train
from aljax.chance import draw_chance
from aljax.errors import UserError
from aljax.evaluate import evaluate
from aljax.exact.bounds import lower_bounds
from aljax.exact.structure import make_plan
from aljax.networks.architecture import MLP
from aljax.offline.data import collect
from aljax.options import TrainConfig
from aljax.policy import Random
from aljax.rollout import rollout

from tiny import start_of, tiny_scenario

SCENARIO = tiny_scenario()
PARAMS = SCENARIO.params
SIZE = {"episodes": 2, "steps": 3}

TAKERS = {
    "reset": lambda key: env.reset(key, PARAMS),
    "step": lambda key: env.step(key, start_of(PARAMS), jnp.int32(0), PARAMS),
    "draw_chance": lambda key: draw_chance(key, PARAMS, **SIZE),
    "rollout": lambda key: rollout(key, Random(), PARAMS, **SIZE),
    "collect": lambda key: collect(key, {"random": Random()}, PARAMS, **SIZE),
    "MLP.init": lambda key: MLP(3, (4,)).init(key, 5),
    "train": lambda key: train.init(key, PARAMS, config=TrainConfig(), steps=3),
    "lower_bounds": lambda key: lower_bounds(key, PARAMS, np.full((1, 2), 2.0), make_plan(PARAMS, relaxed=True)),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_several_keys_are_refused_where_one_is_expected(taker):
    keys = jax.random.split(jax.random.key(0), 3)
    said = r"^key: expected one PRNG key, got keys of shape \[3\]; jax.vmap takes one at a time$"
    for several in (keys, jax.random.key_data(keys)):
        with pytest.raises(UserError, match=said):
            TAKERS[taker](several)


def test_and_when_traced_and_where_several_axes_are_mapped_but_one():
    keys = jax.random.split(jax.random.key(0), (3, 2))
    with pytest.raises(UserError, match=r"shape \[3, 2\]"):
        jax.jit(TAKERS["rollout"])(keys)
    with pytest.raises(UserError, match=r"shape \[2\]"):
        jax.vmap(TAKERS["rollout"])(keys)


@pytest.mark.parametrize(
    ("key", "got"),
    [
        (0, "int"),
        (jnp.zeros(2), r"an array float32 of shape \[2\]"),
        (jnp.zeros(3, jnp.uint32), r"an array uint32 of shape \[3\]"),
        (np.zeros((), np.uint32), r"an array uint32 of shape \[\]"),
    ],
)
def test_what_is_no_key_is_refused(key, got):
    with pytest.raises(UserError, match=f"^key: expected a PRNG key as jax.random.key makes it, got {got}$"):
        TAKERS["rollout"](key)


def test_a_raw_key_draws_what_the_typed_one_draws():
    for taker in ("reset", "rollout"):
        take = jax.jit(TAKERS[taker])
        chex.assert_trees_all_equal(take(jax.random.key(7)), take(jax.random.PRNGKey(7)), take(np.uint32([0, 7])))


def test_an_evaluation_takes_a_key_a_seed():
    def play(keys):
        return evaluate(keys, {"random": Random()}, PARAMS, trained=frozenset(), **SIZE)

    keys = jax.random.split(jax.random.key(0), 3)
    typed, raw = jax.jit(play)(keys), jax.jit(play)(jax.random.key_data(keys))
    chex.assert_trees_all_equal(typed, raw)
    assert typed["random"].outcome.total.shape == (3, 2)
    for keys, shape in ((jax.random.key(0), r"\[\]"), (jax.random.split(jax.random.key(0), (3, 2)), r"\[3, 2\]")):
        with pytest.raises(
            UserError, match=rf"^keys: expected PRNG keys \[S\], one a seed, got keys of shape {shape}$"
        ):
            play(keys)
