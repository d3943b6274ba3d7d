"""Imitation that weighs every logged action by how cheap the episode was from there on (paper, section 3.4 (a)).

The weight is exp(−advantage / temperature), as in advantage-weighted regression (Peng et al., 2019): the cost to go
less what a second network learns to expect there. Pessimism sets the temperature: the larger, the nearer to plain
imitation.
"""

import jax
import jax.numpy as jnp

from aljax.offline.algorithms.common import GENTLE, Lesson, Rule


def _loss(lesson: Lesson) -> jax.Array:
    togo = lesson.batch.togo
    value = lesson.output(lesson.nets["value"], 1)[0]
    advantage = jax.lax.stop_gradient(togo - value)
    temperature = jnp.maximum(GENTLE * lesson.hyper.pessimism, 1e-6)
    weight = jnp.exp(jnp.clip(-advantage / temperature, -20.0, 3.0))
    imitation = lesson.mean(weight * lesson.chosen(lesson.log_policy(lesson.nets["policy"])))
    return lesson.mean((togo - value) ** 2) - imitation


RULE = Rule({"policy": None, "value": 1}, _loss)
"""See the module."""
