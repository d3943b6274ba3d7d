"""A run's state in few arrays is the state."""

import chex
import jax
import numpy as np
import pytest

from aljax import train
from aljax.learning import run_state
from aljax.options import TrainConfig

from tiny import tiny_scenario


@pytest.mark.parametrize(
    ("baseline", "critic_steps", "promises"), [("critic", 7, ()), ("running", 0, ()), ("critic", 7, ("money<=1",))]
)
def test_packed_and_apart_again_it_is_the_same(baseline, critic_steps, promises):
    params = tiny_scenario().params
    config = TrainConfig(episodes=40, batch=20, hidden=(4,), baseline=baseline, constraints=promises)
    state = train.init(jax.random.key(0), params, config=config, steps=3)
    rng = np.random.default_rng(0)
    _, *rest = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), state._replace(key=np.zeros(2)))
    state = train.TrainState(state.key, *rest)
    state = state._replace(
        optimiser=state.optimiser._replace(steps=np.int32(7)),
        critic_optimiser=state.critic_optimiser._replace(steps=np.int32(critic_steps)),
    )
    packed, apart = run_state.packed(state)
    weights = sum(leaf.size for leaf in jax.tree.leaves((state.variables, state.critic)))
    assert packed.numbers.shape == packed.mean.shape == packed.square.shape == (weights + 3 + 3 + 6 * len(promises),)
    assert packed.curve.shape == (2, 9 + 2 * len(promises))
    found = apart(packed)
    assert found.key == state.key
    chex.assert_trees_all_equal(found._replace(key=0), state._replace(key=0))
