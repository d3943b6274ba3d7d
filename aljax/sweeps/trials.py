"""What a study's trials say: the point of one, and of a configuration's attempts the result, the deaths, the rest.

A *configuration* of the table is one of the study's trials together with its retries: a chain, first attempt first.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from aljax.errors import UserError
from aljax.sweeps.database import DAMAGED
from aljax.sweeps.space import Axis, Spec, Value

FIGURES_KEY, RELEASED = "figures", "released"
"""Attributes of a trial: what it came to, and that its worker gave it back."""
RETRY_OF = "failed_trial"
"""Where Optuna keeps, of a retried trial, the number of the first."""

Point = tuple[Value, ...]
"""A value for each axis."""


def point_of(spec: Spec, trial: Any) -> Point:
    """A trial's point; numbers are short to read, as in other sweeps.

    Args:
      spec: the search.
      trial: Optuna's.

    Returns:
      A value an axis.
    """

    def value(axis: Axis) -> Value:
        found = trial.params[axis.key]
        if axis.choices:
            return json.loads(found)
        return axis.clipped(found)

    return tuple(value(axis) for axis in spec.axes)


def result(chain: Sequence[Any]) -> Any:
    """The trial of a configuration that holds its figures; None: it is not done.

    Args:
      chain: all attempts at it, the first one first.

    Returns:
      Optuna's trial.
    """
    return next((trial for trial in chain if trial.state.is_finished() and FIGURES_KEY in trial.user_attrs), None)


def deaths(chain: Sequence[Any]) -> int:
    """Attempts at a configuration that ended with their worker.

    Args:
      chain: all attempts at it.

    Returns:
      How many.
    """
    return sum(
        trial.state.is_finished() and FIGURES_KEY not in trial.user_attrs and RELEASED not in trial.user_attrs
        for trial in chain
    )


def taken(chain: Sequence[Any], number: int) -> bool:
    """A configuration is done, or an earlier attempt than this one is at work on it.

    Args:
      chain: all attempts at it.
      number: of this attempt.

    Returns:
      Whether it is.
    """
    return result(chain) is not None or any(t.number < number and not t.state.is_finished() for t in chain)


def sealed(point: Point, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration came to, a list over seeds for each figure, with the hash of point and figures.

    Args:
      point: a value an axis.
      figures: by name, arrays over seeds.

    Returns:
      What JSON can say, for the trial's attributes.
    """
    digest = hashlib.sha256(json.dumps([point, figures], sort_keys=True).encode()).hexdigest()
    return {"sha256": digest, FIGURES_KEY: figures}


def figures_of(spec: Spec, trial: Any) -> dict[str, list[Any]]:
    """What a finished configuration came to.

    Args:
      spec: an adaptive sweep.
      trial: the one that holds the figures.

    Returns:
      A list over seeds for each figure.

    Raises:
      UserError: it is not what was written.
    """
    kept = trial.user_attrs[FIGURES_KEY]
    found = kept.get(FIGURES_KEY) if isinstance(kept, dict) else None
    if not isinstance(found, dict) or kept.get("sha256") != sealed(point_of(spec, trial), found)["sha256"]:
        raise UserError(f"study: trial {trial.number} is {DAMAGED}")
    return found
