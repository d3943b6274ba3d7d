"""`aljax.env.over` for those that do without JAX: they share the limit, and each subtracts in its own way."""

from typing import Any

import numpy as np

from aljax.env import SLACK, EnvParams, present


def check_plain(params: EnvParams) -> None:
    """Refuses an environment with statuses, outages and the like, which the rivals do not play.

    Raises:
      ValueError: it has such fields.
    """
    if present(params) or not params.auto_end:
        raise ValueError(f"the rivals play environments without optional fields, got {', '.join(present(params))}")


def limit(bound: Any) -> Any:
    """How large something may be until it is over a bound; inf: any size. NumPy arrays or scalars"""
    return bound + SLACK * np.maximum(1, np.abs(bound))


def over(x: np.ndarray, bound: Any, most: Any) -> np.ndarray:
    """The excess over a bound, `most` its `limit`."""
    return np.where(x > most, x - bound, np.float32(0))
