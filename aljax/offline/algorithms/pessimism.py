"""Costs to go that are taken to be higher where an action was seldom logged: a lower confidence bound of its worth.

Jin et al. (2021): an action's costs are raised by so many standard deviations over the root of how often it was logged
in such a place. How often that was, a network says that imitates the loggers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from aljax.offline.algorithms.common import SPREAD_OVER, Lesson

_MOST_PENALTY = 3.0
"""Standard deviations that pessimism adds to a target at most: further along, it would add up without end."""


class Pessimism(NamedTuple):
    """What loggers choose, and what that makes of the targets' costs. ``[A, T, B]`` each but the loss."""

    loss: jax.Array
    """Of the network that imitates the loggers. Scalar"""
    log_logger: jax.Array
    """Log-probabilities of the rows under all loggers together."""
    share: jax.Array
    """The same as probabilities, held constant."""
    penalty: jax.Array
    """On each row, in the frame."""
    slow: jax.Array
    """Costs to go by the weights that follow slowly, in the frame."""
    costs: jax.Array
    """Those with the penalty on them."""


def pessimistic(lesson: Lesson, scale: jax.Array | float) -> Pessimism:
    """Costs to go with a penalty on what was seldom logged, from the networks ``logger`` and ``q``.

    Args:
      lesson: the step's.
      scale: standard deviations that an action costs more for every root of a logged step less.

    Returns:
      The costs, and what they are made of.
    """
    log_logger, slow = lesson.log_policy(lesson.nets["logger"]), lesson.output(lesson.targets["q"])
    loss = -lesson.mean(lesson.chosen(log_logger))
    # How many logged steps speak for an action here: its share of them, over what the network must tell apart.
    share = jax.lax.stop_gradient(jnp.exp(log_logger))
    penalty = scale / jnp.sqrt(lesson.steps / SPREAD_OVER * share + 1e-6)
    return Pessimism(loss, log_logger, share, penalty, slow, slow + jnp.minimum(penalty, _MOST_PENALTY))
