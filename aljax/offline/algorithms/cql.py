"""Conservative Q-learning (Kumar et al., 2020; paper, section 3.4 (b)): fitted Q with a regulariser.

It pushes up the costs of what was not logged, the less the more was logged. There is no policy network: the negative
costs are the policy's logits.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from aljax.networks.architecture import Variables
from aljax.networks.inputs import architecture_of
from aljax.offline.algorithms.common import SPREAD_OVER, Lesson, Rule, only_least
from aljax.options import LearnConfig
from aljax.policy import masked

_SHARPNESS = 10.0
"""Logits a standard deviation of cost: for those who draw the policy's actions."""


def _loss(lesson: Lesson) -> jax.Array:
    q = lesson.output(lesson.nets["q"])
    greedy = only_least(masked(-q, lesson.legal))
    aim = lesson.bootstrapped((greedy * lesson.output(lesson.targets["q"])).sum(0))
    error = lesson.chosen(q) - aim
    push = jax.nn.logsumexp(masked(-q, lesson.legal), axis=0) + lesson.chosen(q)
    weight = lesson.hyper.pessimism * jnp.sqrt(SPREAD_OVER / lesson.steps)
    return lesson.mean(error**2) + weight * lesson.mean(push)


def _policy(nets: Mapping[str, Variables], config: LearnConfig) -> Variables:
    return architecture_of(config, 1).scaled(nets["q"], -_SHARPNESS)


RULE = Rule({"q": None}, _loss, targets=("q",), policy=_policy)
"""See the module."""
