"""What an agent sees of an episode: one vector, made of blocks that are there where the environment uses them.

The first five are the paper's section 4.3 (a) to (e): the task as read over its scale, latency and money over theirs,
which coordinates read as out of tolerance, and time over the horizon. The others make the state Markov up to what is
hidden: whether a row's latest call failed, whether it worked, how many of its calls are used up, what waits in its
bucket, and where rules stand.
"""

from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp

from aljax.constraint import out_of_tolerance
from aljax.layout import lift
from aljax.params import EnvParams, num_actions, num_coordinates, present
from aljax.rules import playing
from aljax.state import FAILED, WORKED, EnvState, keeps_status


def blocks(names: Collection[str]) -> Mapping[str, str]:
    """The parts of an observation, in their order.

    Args:
      names: the optional fields that the environment has (`aljax.params.present`).

    Returns:
      By name what there is one number for: ``d`` a coordinate, ``A`` a row, ``h`` a state of a rule, ``K`` a cooldown
      in seconds; none: it is one number.
    """
    status = keeps_status(names)
    optional = {
        "failed": status,
        "worked": status and "after_ok" in names,
        "calls": "max_calls" in names,
        "tokens": "rate_limit" in names,
    }
    always = {"task": "d", "latency": "", "money": "", "out": "d", "time": ""}
    ruled = {name: axis for name, axis in (("rules", "h"), ("cooldowns", "K")) if name in names}
    return always | {name: "A" for name, there in optional.items() if there} | ruled


def places(params: EnvParams) -> Mapping[str, slice]:
    """Where each part of an observation stands.

    Args:
      params: the environment.

    Returns:
      By the names of `blocks`, in their order.
    """
    sizes = {"d": num_coordinates(params), "A": num_actions(params), "": 1}
    if params.rules is not None:
        sizes |= {"h": params.rules.structure.shown, "K": len(params.rules.structure.timed)}
    found, at = {}, 0
    for name, axis in blocks(present(params)).items():
        found[name] = slice(at, at + sizes[axis])
        at += sizes[axis]
    return found


def observation_size(params: EnvParams) -> int:
    """Length of `observe`'s vector.

    Args:
      params: the environment.

    Returns:
      2 d + 3, A for each of what else rows have there, and what rules show.
    """
    return list(places(params).values())[-1].stop


def observe(state: EnvState, params: EnvParams) -> jax.Array:
    """What the policy sees.

    Args:
      state: where the episode stands.
      params: the environment.

    Returns:
      The parts of `blocks`, one after the other. ``[O]``
    """
    ndim = state.time.ndim
    seen = state.z + state.misread
    parts = [
        seen / lift(params.z_scale, ndim),
        (state.latency / params.latency_scale)[None],
        (state.money / params.money_scale)[None],
        out_of_tolerance(seen, params).astype(seen.dtype),
        (state.time / params.horizon).astype(seen.dtype)[None],
    ]
    table = params.actions
    if state.status is not None:
        parts.append((state.status == FAILED).astype(seen.dtype))
        if table.after_ok is not None:
            parts.append((state.status == WORKED).astype(seen.dtype))
    if state.calls is not None and table.max_calls is not None:
        parts.append(state.calls / lift(table.max_calls, ndim))
    if state.tokens is not None and table.rate_limit is not None and table.rate_burst is not None:
        limited = jnp.isfinite(table.rate_limit)
        parts.append(jnp.where(lift(limited, ndim), state.tokens / lift(table.rate_burst, ndim), 0.0))
    if params.rules is not None:
        parts += playing.observed(params.rules, state.kept, seen.dtype)
    return jnp.concatenate(parts)
