"""What of an environment's numbers the structure of its exact solution depends on.

Arrays may have leading axes, for environments that are solved together, and may be traced: `aljax.exact.structure` asks
all this of known environments, and `aljax.exact.fitting` whether another one, maybe traced, is of the same structure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax.constraint import exceeds, reaches
from aljax.env import ActionTable, EnvParams
from aljax.fields import Declared, Same, fields_of

VALUES_ONLY = frozenset({
    "drift", "start_low", "start_high", "start_points", "start_weights", "tolerance", "tolerance_low", "auto_end",
    "weights", "z_scale", "latency_scale", "money_scale",
})  # fmt: skip
"""Fields that the solution takes as they come: no plan depends on them, unless a coordinate is blind."""
KNOWN = VALUES_ONLY | {
    "latency", "money", "failure", "after_ok", "after_failed", "failure_latency", "failure_money", "latency_growth",
    "money_growth", "latency_spread", "timeout", "mean_uptime", "mean_downtime", "rate_limit", "rate_burst",
    "max_calls", "requires", "gain", "shift", "noise", "ends", "resolves", "reveals", "allowed", "misread", "blind",
    "latency_budget", "money_budget", "latency_limit", "money_limit", "horizon",
}  # fmt: skip
"""Fields that the solver reckons with. An environment with others is refused, unless they are at their defaults."""

Numbers = Mapping[str, Any]
"""All fields by name, those that are absent at their defaults."""
_QUIET = np.errstate(over="ignore", invalid="ignore")
"""What single precision does not hold is infinite, without a word, as JAX has it."""
_LIKE = {("A",): "latency", ("A", "d"): "shift", ("d",): "drift", (): "latency_budget"}


def _library(*values: Any) -> Any:
    """NumPy for values of its own, of which each operation would be a program of JAX's, or else JAX's."""
    return np if all(isinstance(x, np.ndarray) for x in values) else jnp


def there(params: EnvParams) -> Iterator[tuple[str, Declared, Any]]:
    """Every field that an environment has.

    Args:
      params: the environment.

    Yields:
      Its name, its declaration, its array.
    """
    for part in (params.actions, params):
        for name, field in fields_of(type(part)).items():
            if getattr(part, name) is not None:
                yield name, field, getattr(part, name)


def filled(given: Numbers) -> dict[str, Any]:
    """All fields that have a default, given or not.

    Args:
      given: the fields that there are, of one environment or with the same leading axis each.

    Returns:
      The same, and the others at their defaults.
    """
    found = dict(given)
    for kind in (ActionTable, EnvParams):
        for name, field in fields_of(kind).items():
            if name in found:
                continue
            if isinstance(field.default, Same):
                found[name] = found[field.default.as_field]
            elif field.axes in _LIKE and field.neutral is not None:
                like = found[_LIKE[field.axes]]
                found[name] = _library(like).full_like(like, field.neutral, field.dtype)
    return found


def chances(p: Numbers) -> tuple[Any, Any, Any]:
    """The probability of failing by status, before any time-out. Three times ``[..., A]``

    Args:
      p: all fields.

    Returns:
      Of rows not called yet, of those whose latest call worked, of those whose latest call failed.
    """
    return p["failure"], p["after_ok"], p["after_failed"]


def unreliable(p: Numbers) -> jax.Array:
    """Which rows can be down.

    Args:
      p: all fields.

    Returns:
      Boolean ``[..., A]``.
    """
    return _library(p["mean_uptime"]).isfinite(p["mean_uptime"]) & (p["mean_downtime"] > 0)


def metered(p: Numbers) -> jax.Array:
    """Which rows have a token bucket.

    Args:
      p: all fields.

    Returns:
      Boolean ``[..., A]``.
    """
    return _library(p["rate_limit"]).isfinite(p["rate_limit"])


def fails(p: Numbers) -> jax.Array:
    """Which rows may fail, for whatever reason.

    Args:
      p: all fields.

    Returns:
      Boolean ``[..., A]``.
    """
    by = _library(p["timeout"])
    by_chance = (p["failure"] > 0) | (p["after_ok"] > 0) & ~by.asarray(p["ends"], bool)
    forced = by.any(p["requires"], -1) | unreliable(p) | metered(p)
    return by.asarray(by_chance) | forced | by.isfinite(p["timeout"])


def looks(points: Any, blind: np.ndarray) -> Any:
    """How many points can be told apart by what is seen of them.

    Args:
      points: where episodes may begin. ``[K, d]``
      blind: coordinates that are not seen. Boolean ``[d]``

    Returns:
      Integer scalar.
    """
    by, seen = _library(points), points[:, ~blind]
    same = by.all(seen[:, None] == seen[None], axis=-1)
    return by.sum(~by.any(by.tril(same, -1), axis=1))


@_QUIET
def spends(p: Numbers, column: str, steps: Any, legal: Any) -> jax.Array:
    """The most that so many steps can come to.

    Args:
      p: all fields.
      column: ``latency`` or ``money``.
      steps: how many. ``[...]``
      legal: rows that may be chosen. Boolean ``[..., A]``

    Returns:
      Seconds or dollars, with room for the rounding of a float32 sum of as many numbers. ``[...]``
    """
    by = _library(p[column], steps)

    def most(values: Any) -> jax.Array:
        return by.max(by.where(legal, values, 0), axis=-1)

    each, growth = by.maximum(p[column], p[f"failure_{column}"]), p[f"{column}_growth"]
    last = by.maximum(steps - 1, 0)
    total = steps * most(each) + most(growth) * steps * last / 2
    if column == "latency":
        each = by.where(p["latency_spread"] > 0, by.where(each > 0, by.inf, 0), each)
        at_once = most(by.minimum(each + growth * last[..., None], p["timeout"]))
        at_most = by.where(steps > 0, by.maximum(steps, 1) * at_once, 0.0)
        total = by.minimum(by.where(by.isfinite(most(each)), total, by.inf), at_most)
    return total * (1.0 + steps * 2.0**-24)


def matters(p: Numbers, column: str, horizon: Any, legal: Any) -> jax.Array:
    """Whether latency or money can exceed its budget, or reach its limit before the horizon.

    Args:
      p: all fields.
      column: ``latency`` or ``money``.
      horizon: H. ``[...]``
      legal: rows that may be chosen. Boolean ``[..., A]``

    Returns:
      Boolean ``[...]``.
    """
    limit = p[f"{column}_limit"]
    over = exceeds(spends(p, column, horizon, legal), p[f"{column}_budget"])
    return over | _library(limit).isfinite(limit) & reaches(spends(p, column, horizon - 1, legal), limit)


@_QUIET
def blurred(p: Numbers, horizon: Any) -> jax.Array:
    """Rows of which it does not follow from counts and time sums what their calls took, though nothing is spread.

    A time-out that comes only late in an episode, or one after which a call has taken longer than if it had failed.

    Args:
      p: all fields.
      horizon: H. ``[...]``

    Returns:
      Boolean ``[..., A]``.
    """
    timeout, growth = p["timeout"], p["latency_growth"]
    by = _library(timeout, horizon)
    last = growth * by.maximum(by.asarray(horizon)[..., None] - 1, 0)
    slowest = by.maximum(p["latency"], p["failure_latency"]) + last
    two = (p["latency"] > timeout) & (p["failure_latency"] < timeout)
    return (slowest > timeout) & ((growth > 0) | two)
