"""Fitted Q iteration (Ernst et al., 2005; paper, section 3.4 (b)) with pessimism, see the module of that name.

A policy network imitates the row of least pessimistic cost.
"""

import jax
import jax.numpy as jnp

from aljax.offline.algorithms.common import Lesson, Rule, only_least
from aljax.offline.algorithms.pessimism import pessimistic
from aljax.policy import masked


def _loss(lesson: Lesson) -> jax.Array:
    q = lesson.output(lesson.nets["q"])
    log_policy = lesson.log_policy(lesson.nets["policy"])
    about = pessimistic(lesson, lesson.hyper.pessimism)
    greedy = only_least(masked(-(jax.lax.stop_gradient(q) + about.penalty), lesson.legal))
    aim = lesson.bootstrapped((greedy * about.costs).sum(0))
    distilled = -lesson.mean(jnp.where(greedy, log_policy, 0.0).sum(0))
    return lesson.mean((lesson.chosen(q) - aim) ** 2) + about.loss + distilled


RULE = Rule({"policy": None, "q": None, "logger": None}, _loss, targets=("q",))
"""See the module."""
