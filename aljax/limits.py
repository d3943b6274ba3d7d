"""Which numbers can work: of scenarios, so that whatever they lead to is finite, and of options, so that it fits.

Every number has a bound of its own. What numbers come to together, over the steps of an episode, is bounded as well:
how far the task vector can get, and what an episode can cost. Costs are squared in training, and the squares summed
over batches, so they stay well below the square root of single precision's largest number.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aljax.errors import UserError, short
from aljax.fields import Check, Numbers
from aljax.logs.fields import DEAREST
from aljax.params import COMPONENTS, start_corners

LARGEST = 1e9
"""Of any number of a scenario, in magnitude: seconds, dollars, weights, what is added and multiplied."""
LEAST = 1e-9
"""Of a budget or a scale, which are divided by."""
BOUNDS: Mapping[Check, tuple[float, float]] = {
    "number": (-LARGEST, LARGEST),
    "not negative": (0.0, LARGEST),
    "probability": (0.0, 1.0),
    "positive": (LEAST, LARGEST),
    "at least 1": (1.0, LARGEST),
}
"""Least and most of a scenario's real numbers, by how their fields are declared."""
FARTHEST = 1e12
"""Of a coordinate of the task, whatever is played."""
MOST_HORIZON = 100_000
"""Steps of an episode."""
MOST_ACTIONS = 10_000
"""Rows of the action table."""
MOST_COORDINATES = 1_000
"""Coordinates of the task."""
MOST_CELLS = 1_000_000
"""Rows times coordinates."""
MOST_SEEN = 10_000_000
"""Steps times numbers of an observation: what an episode shows the agent."""
MOST_NUMBERS = 2**31
"""Of what one compiled program works on at once: 8 GiB in single precision."""
WHOLE: Mapping[str, tuple[int, int]] = {
    "episodes": (1, 1_000_000_000),
    "batch": (1, 10_000_000),
    "seeds": (1, 1_000_000),
    "seed": (0, 2**31 - 1),
    "first_seed": (0, 2**31 - 1),
    "evaluation_episodes": (1, 100_000_000),
    "updates": (1, 10_000_000),
    "replays": (0, 10_000),
    "replay_batches": (1, 10_000),
    "replay_last": (1, 10_000_000),
    "minibatch": (1, 1_000_000),
    "resamples": (10, 1_000_000),
    "folds": (2, 1_000),
    "truth": (0, 100_000_000),
    "draws": (1, 100_000),
}
"""Least and most of options that are whole numbers."""
MOST_UNITS, MOST_LAYERS = 1_000_000, 32
"""Of a network."""
_SINGLE = float(np.finfo(np.float32).max)
_SIGMAS = 6.0  # no normal number in single precision lies farther out


def too_large(actions: int, coordinates: int, horizon: int, seen: int, points: int = 0) -> tuple[str, str] | None:
    """What about a scenario's size is too large for arrays, as key and reason; None: nothing.

    Args:
      actions: A, rows of the table.
      coordinates: d, of the task.
      horizon: H, steps.
      seen: numbers of an observation.
      points: N, of the start.

    Returns:
      The key to blame and the reason.
    """
    seen *= horizon
    for key, count, what, most in (
        ("actions", actions, "actions", MOST_ACTIONS),
        ("coordinates", coordinates, "coordinates", MOST_COORDINATES),
        ("actions", actions * coordinates, f"{actions:,} actions × {coordinates:,} coordinates", MOST_CELLS),
        ("start_points", points * coordinates, f"{points:,} points × {coordinates:,} coordinates", MOST_CELLS),
        ("horizon", seen, f"{horizon:,} steps × {seen // horizon:,} numbers seen at each", MOST_SEEN),
    ):
        if count > most:
            made = f"{count:,} {what}" if what == key else f"{what} = {count:,}"
            return key, f"{made}, expected at most {most:,}"
    return None


def reach(given: Numbers) -> np.ndarray:
    """How far from 0 each coordinate of the task can get within an episode, whatever is played. ``[d, N]``

    Args:
      given: the fields of environments, see `aljax.fields.Numbers`.

    Returns:
      Distances, infinite where they are too large for a number.
    """
    gain, shift, drift = (np.abs(given[name]) for name in ("gain", "shift", "drift"))
    start, horizon = np.abs(start_corners(given)).max(0), given["horizon"]
    factor = np.maximum(gain.max(0), 1.0)
    added = shift.max(0) + _SIGMAS * given["noise"].max(0) + drift
    with np.errstate(all="ignore"):
        growth = factor**horizon
        steps = np.where(factor > 1, (growth - 1) / (factor - 1), horizon)
        return np.where(start > 0, start * growth, 0.0) + np.where(added > 0, added * steps, 0.0)


def most_components(given: Numbers, farthest: np.ndarray) -> np.ndarray:
    """How much of each component of the cost an episode can come to, unweighted. ``[5, N]``

    Args:
      given: the fields of environments.
      farthest: their `reach`. ``[d, N]``

    Returns:
      Seconds, dollars, violation, failures, divergence.
    """
    horizon = given["horizon"]
    with np.errstate(all="ignore"):
        latency, money = (horizon * dearest_call(given, name) for name in ("latency", "money"))
        over = farthest.sum(0) + latency / given["latency_budget"] + money / given["money_budget"]
        over = over + given.get("rules.weight", np.zeros((1, 1))).sum(0)
        each = (latency, money, over, horizon, 2 * horizon * np.sqrt((farthest**2).sum(0)))
        return np.stack(np.broadcast_arrays(*each)).astype(float)


def dearest_call(given: Numbers, column: str) -> np.ndarray:
    """The most seconds or dollars that one call can come to, whatever is played and however it goes. ``[N]``

    Args:
      given: the fields of environments.
      column: ``latency`` or ``money``.

    Returns:
      Seconds or dollars, infinite where they are too large for a number.
    """
    with np.errstate(all="ignore"):
        most = np.maximum(given[column], given.get(f"failure_{column}", 0.0))
        most = most + given.get(f"{column}_growth", 0.0) * given["horizon"]
        if column == "latency":
            spread = given.get("latency_spread", np.zeros(1))
            most = most * np.exp(_SIGMAS * spread - spread**2 / 2)
            most = np.minimum(most, given.get("timeout", math.inf))
        return most.max(0)


def too_far(given: Numbers) -> np.ndarray:
    """In which environments the task or the cost of an episode can grow out of bounds.

    Args:
      given: the fields of environments.

    Returns:
      Boolean ``[N]``.
    """
    farthest = reach(given)
    with np.errstate(all="ignore"):
        cost = (given["weights"] * most_components(given, farthest)).sum(0)
    return ~(farthest <= FARTHEST).all(0) | (cost > DEAREST)


def why_too_far(given: Numbers, rows: Sequence[str], names: Sequence[str]) -> tuple[str, str]:
    """Which number of an environment that is `too_far` contributes most, as a key, and what it leads to.

    Args:
      given: its fields; N is 1.
      rows: the actions' names.
      names: the coordinates'.

    Returns:
      Key and reason, for a message.
    """
    farthest, one = reach(given)[:, 0], {name: values[..., 0] for name, values in given.items()}
    i, horizon = int(np.argmax(farthest)), int(one["horizon"])
    if not farthest[i] <= FARTHEST:
        gain, shift, drift = (np.abs(one[name]) for name in ("gain", "shift", "drift"))
        noise = _SIGMAS * one["noise"]
        parts = {f"actions.{rows[int(shift[:, i].argmax())]}.shift.{names[i]}": shift[:, i].max(),
                 f"actions.{rows[int(noise.argmax())]}.noise": noise.max(), f"drift.{names[i]}": drift[i]}  # fmt: skip
        key = max(parts, key=lambda part: parts[part])
        if gain[:, i].max() > 1:
            key = f"actions.{rows[int(gain[:, i].argmax())]}.gain.{names[i]}"
        return (
            key,
            f"within {horizon:,} steps the coordinate could get to {_g(farthest[i])}, expected at most {_g(FARTHEST)}",
        )
    most, weights = most_components(given, farthest[:, None])[:, 0], one["weights"]
    costs = weights * most
    k = int(np.argmax(costs))
    return f"weights.{COMPONENTS[k]}", (
        f"an episode could cost {_g(costs.sum())} ({_g(weights[k])} × {COMPONENTS[k]} of up to {_g(most[k])}), "
        f"expected at most {_g(DEAREST)}"
    )


def check_whole(name: str, value: Any) -> None:
    """Refuses an option that is no whole number, or one out of its range.

    Args:
      name: of the option, which says its range.
      value: given for it.

    Raises:
      UserError: one line naming the option.
    """
    least, most = WHOLE[name]
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise UserError(f"{name}: expected a whole number, got {short(value)}")
    if not least <= value <= most:
        end = f"of at least {least}" if value < least else f"of at most {most:,}"
        raise UserError(f"{name}: expected a whole number {end}, got {short(int(value))}")


def check_hidden(units: Any) -> None:
    """Refuses hidden layers that make no network. See `check_whole`.

    Args:
      units: of each layer.
    """
    if len(units) > MOST_LAYERS:
        raise UserError(f"hidden: at most {MOST_LAYERS} layers, got {len(units):,}")
    for count in units:
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise UserError(f"hidden: every layer needs at least one unit, got {short(units)}")
        if count > MOST_UNITS:
            raise UserError(f"hidden: at most {MOST_UNITS:,} units a layer, got {short(int(count))}")


def check_number(name: str, value: Any) -> None:
    """Refuses a hyperparameter out of range. See `check_whole`.

    Args:
      name: of the hyperparameter, which says its range.
      value: given for it.
    """
    if name == "clip_norm" and value == math.inf:
        return
    if not value >= 0:  # also where it is none
        raise UserError(f"{name}: expected a number not below 0, got {short(value)}")
    if not value <= _SINGLE:
        raise UserError(f"{name}: expected a number that single precision holds, got {short(value)}")
    if name == "running_decay" and not value < 1:
        raise UserError(f"{name}: expected a number in [0, 1), got {short(value)}")
    if name == "alpha" and not 0 < value <= 1:
        raise UserError(f"{name}: expected a number above 0 and at most 1, got {short(value)}")
    if name in ("trace", "residual", "nearer") and not value <= 1:
        raise UserError(f"{name}: expected a number in [0, 1], got {short(value)}")


def check_size(key: str, what: str, *factors: tuple[int, str]) -> None:
    """Refuses arrays that no device holds, before any is made.

    Args:
      key: the option that it is for.
      what: is so large.
      factors: how many numbers it has, each with the name of what it counts.

    Raises:
      UserError: one line with the factors.
    """
    total = math.prod(factor for factor, _ in factors)
    if total > MOST_NUMBERS:
        made = " × ".join(f"{factor:,} {name}" for factor, name in factors)
        raise UserError(f"{key}: {what} would have {made} = {total:,} numbers, expected at most {MOST_NUMBERS:,}")


def _g(value: float) -> str:
    return f"{value:.3g}"
