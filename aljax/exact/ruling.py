"""What rules do in the states of a layer: where they stand on the axis L, which rows they leave, what is unkept."""

import itertools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from aljax.env import EnvParams
from aljax.exact.plan import Plan
from aljax.rules import playing
from aljax.rules.playing import Kept


def standing(params: EnvParams, plan: Plan) -> Kept | None:
    """Where the rules stand by what else matters of the past.

    Args:
      params: the environment.
      plan: the solution's structure.

    Returns:
      States ``[R, 1, L]``, and no seconds left of cooldowns; None: there are no rules.
    """
    if params.rules is None:
        return None
    states = plan.past.rule_states()
    return playing.begin(params.rules, (1, 1))._replace(state=jnp.asarray(states, jnp.int32)[:, None])


def unkept(params: EnvParams, kept: Kept) -> tuple[jax.Array, jax.Array]:
    """What is unkept if the episode ends.

    Soft rules are charged here alone, for what is broken stays unkept to the end.

    Args:
      params: the environment, which has rules.
      kept: where they stand.

    Returns:
      How many hard rules are owed, and units of violation of soft ones. ``[1, L, 1]`` each
    """
    assert params.rules is not None
    done = jnp.ones(kept.state.shape[1:], bool)
    begun = Kept(jnp.zeros_like(kept.state), kept.left)
    owed, units = playing.owed(params.rules, kept), playing.charged(params.rules, begun, kept, done)
    return owed[:, :, None], units[:, :, None]


def worked(params: EnvParams, kept: Kept, row: int) -> Kept:
    """Where the rules stand once a row has worked.

    Args:
      params: the environment, which has rules.
      kept: where they stood.
      row: of the table.

    Returns:
      Where they stand.
    """
    assert params.rules is not None
    return playing.move(params.rules, kept, jnp.int32(row), jnp.bool_(False), jnp.float32(0))


def allowed(
    params: EnvParams,
    plan: Plan,
    kept: Kept,
    free: Mapping[int, jax.Array],
    calls: Mapping[int, jax.Array],
    time: jax.Array,
) -> jax.Array:
    """The rows that may be chosen.

    For a bound, whoever decides may say which cooldowns in seconds are running, and, where one could be broken, whether
    it is.

    Args:
      params: the environment, which has rules.
      plan: the solution's structure.
      kept: where they stand.
      free: by row of the table, may it be chosen but for the rules? No other may. Boolean scalars or ``[N, 1, 1]``
      calls: how often rows were called, of which that is counted. Integer ``[N]``
      time: steps played. Integer scalar

    Returns:
      Boolean ``[A, N, L]``, or 1 for N.
    """
    rules = params.rules
    assert rules is not None
    structure, remaining = rules.structure, (params.horizon - time).reshape(1, 1)
    rows = range(len(structure.allowed))
    called = _stacked([calls.get(row, jnp.int32(0)) for row in rows])
    chosen = _stacked([free.get(row, jnp.bool_(False)) for row in rows])
    timed = [(k, i) for k, i in enumerate(structure.timed) if structure.each[i].hard]
    if not timed:
        return playing.legal(rules, kept, chosen, remaining, called)
    assert rules.seconds is not None and kept.left is not None
    states = [kept.state]
    if plan.past.overrun:
        states.append(kept.state.at[jnp.array([i for _, i in timed])].set(1))
    found = jnp.zeros((), bool)
    for state, running in itertools.product(states, itertools.product((0.0, 1.0), repeat=len(timed))):
        left = kept.left
        for (k, _), share in zip(timed, running, strict=True):
            left = left.at[k].set(share * rules.seconds[k])
        found = found | playing.legal(rules, Kept(state, left), chosen, remaining, called)
    return found


def _stacked(rows: Sequence[jax.Array]) -> jax.Array:
    """``[A, N, 1]``, or 1 for N."""
    return jnp.stack(jnp.broadcast_arrays(*(row.reshape(-1, 1) for row in rows)))
