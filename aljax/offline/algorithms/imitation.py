"""Imitation: cross-entropy on what was logged (paper, section 3.4 (a)). It needs no costs."""

import jax

from aljax.offline.algorithms.common import Lesson, Rule


def _loss(lesson: Lesson) -> jax.Array:
    return -lesson.mean(lesson.chosen(lesson.log_policy(lesson.nets["policy"])))


RULE = Rule({"policy": None}, _loss)
"""See the module."""
