"""The exact optimum, by backward induction over how often everything has happened, for each start.

With V_t(x) the least expected cost from state x before step t (`aljax.exact.structure` says what the states are),
and W_t(x) that cost on arriving there,

    V_t(x) = min_a E[c(x, a)] + p_a(x) W_{t+1}(x after a failed) + (1 − p_a(x)) W_{t+1}(x after a succeeded)
    W_t(x) = 0 if g(x) = 0;  λ_violation g(x) if t = H;  V_t(x) else

where a row that ends the episode is charged its violation at once, and W_t(x) = λ_violation g(x) too where a limit is
reached. Where the episode ends by its agent alone (`auto_end` is false), g(x) = 0 makes no difference; where something
is blind, costs are expectations over the points where the episode may have begun, about which nothing is learned on
the way. Under rules, g(x) has one unit more for each hard one that is owed, and ending is charged for soft ones, too,
which are no reason to end. The paper's Theorem 3.1 says that an optimal
policy exists; this finds it. A second pass over the choices gives its five components and its success.

What is a violation is decided by `aljax.env.over`, as in the simulator: its slack is wider than the rounding of sums,
so that the solver, which multiplies, and the simulator, which adds up, agree on bounds that are exactly met.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aljax.env import EnvParams
from aljax.errors import UserError
from aljax.exact import beginning, lattice, layer
from aljax.exact.charge import Charge
from aljax.exact.fitting import fits
from aljax.exact.layer import DIVERGENCE, FAILURE, LATENCY, MONEY, SUCCESS, Reached
from aljax.exact.plan import Plan, Segment


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solution:
    """What the optimal policy comes to from each of B starts; NaN where the environment is not the plan's."""

    value: jax.Array
    """Least expected total cost. ``[B]``"""
    components: jax.Array
    """Its five unweighted components, in the order of `aljax.env.COMPONENTS`. ``[5, B]``"""
    success: jax.Array
    """Probability of success. ``[B]``"""
    units: jax.Array | None
    """What is charged beside, expected; None without a charge. ``[J, B]``"""


def solve(params: EnvParams, start: jax.Array, plan: Plan, charge: Charge | None = None) -> Solution:
    """Solves an environment from each start, `plan.width` of them at once.

    May be traced: jitted with a plan closed over, and vmapped over `params` with a plan made for all of them.

    Args:
      params: the environment.
      start: task vectors; what is blind of them is not looked at. ``[d, B]``
      plan: from `aljax.exact.structure.make_plan`.
      charge: what an episode is charged at its end beside all that; of totals that the plan keeps.

    Returns:
      The solution.
    """
    start, like = beginning.once(params, plan, start)
    value, parts = _in_chunks(_evaluate, params, start, plan, charge)
    if like is not None:
        value, parts = value[like], parts[:, like]
    ok = fits(params, plan)
    value, parts = jnp.where(ok, value, jnp.nan), jnp.where(ok, parts, jnp.nan)
    return Solution(value, parts[:SUCCESS], parts[SUCCESS], None if charge is None else parts[SUCCESS + 1 :])


def least(params: EnvParams, start: jax.Array, plan: Plan, charge: Charge) -> jax.Array:
    """The value that `solve` finds, alone.

    Args:
      params: as for `solve`.
      start: as for `solve`.
      plan: as for `solve`.
      charge: as for `solve`.

    Returns:
      ``[B]``, NaN where the environment is not the plan's.
    """
    start, like = beginning.once(params, plan, start)
    value = _in_chunks(_value, params, start, plan, charge)
    return jnp.where(fits(params, plan), value if like is None else value[like], jnp.nan)


def choices(params: EnvParams, start: jax.Array, plan: Plan) -> jax.Array:
    """The optimal choices in all states, from each start.

    Args:
      params: as for `solve`.
      start: as for `solve`. ``[d, B]``
      plan: as for `solve`.

    Returns:
      Positions in `Plan.rows`, or their number R where the episode is over: the layers of decision times one after
      the other, each padded as `Plan.segments` says. int8 ``[M, L, B]``

    Raises:
      UserError: it does not fit in the plan's memory.
    """
    needed = plan.predicted_bytes(start.shape[1], tables=True)
    if needed > plan.memory_limit:
        raise UserError(
            f"the exact policy's tables for {start.shape[1]:,} starts need {needed / 2**30:.2g} GiB; "
            f"the limit is {plan.memory_limit / 2**30:.2g} GiB"
        )
    return _in_chunks(_tabulate, params, start, plan)


@functools.partial(jax.jit, static_argnames=("task", "plan"))
def _in_chunks(
    task: Callable[..., Any], params: EnvParams, start: jax.Array, plan: Plan, charge: Charge | None = None
) -> Any:
    """Does something for `plan.width` starts at a time; its results have the starts last."""
    d, starts = start.shape
    width = min(plan.width, starts)
    chunks = -(-starts // width)
    padded = jnp.pad(start, ((0, 0), (0, chunks * width - starts)), mode="edge")
    tails = lattice.points(plan.counts, plan.horizon)
    here = tails[:, : plan.points(plan.horizon - 1)]
    kinds = range(plan.counts + 1)
    after = jnp.stack([lattice.number(lattice.advance(here, kind), plan.horizon) for kind in kinds], 1)

    def each(start: jax.Array) -> Any:
        return task(_Given(params, plan, tails, after, beginning.begin(params, plan, start), charge))

    def joined(values: jax.Array) -> jax.Array:
        """``[chunks, ..., width]`` to ``[..., B]``."""
        values = jnp.moveaxis(values, 0, -2)
        return values.reshape(*values.shape[:-2], -1)[..., :starts]

    return jax.tree.map(joined, jax.lax.map(each, jnp.moveaxis(padded.reshape(d, chunks, width), 1, 0)))


class _Given(NamedTuple):
    """What all layers share."""

    params: EnvParams
    plan: Plan
    tails: jax.Array
    """All points. Integer ``[n, N_H]``"""
    after: jax.Array
    """The number of each point after one more event of each class. Integer ``[N_{H−1}, n + 1]``"""
    start: beginning.Start
    charge: Charge | None

    def reach(self, size: int, time: jax.Array | int) -> Reached:
        """Where the states of a layer stand, of the first so many points."""
        return layer.reach(self.params, self.plan, self.tails[:, :size], self.start, jnp.int32(time), self.charge)


def _evaluate(given: _Given) -> tuple[jax.Array, jax.Array]:
    """Value ``[W]``, components, success and units ``[6 + J, W]`` of the starts."""
    value, decided = _decide(given)
    return value, _follow(given, decided)


def _value(given: _Given) -> jax.Array:
    """Value ``[W]`` of the starts."""
    return _decide(given)[0]


def _tabulate(given: _Given) -> jax.Array:
    """The policy table ``[M, L, W]`` of the starts."""
    return jnp.concatenate([choice.reshape(-1, *choice.shape[2:]) for choice in _decide(given)[1]])


def _decide(given: _Given) -> tuple[jax.Array, list[jax.Array]]:
    """The recursion: value ``[W]`` and, for each segment, the choices ``[times, N, L, W]`` of its layers."""
    params, plan = given.params, given.plan

    def step_back(size: int, value: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array]:
        reached = given.reach(size, time)
        best, choice = _best(params, plan, reached, given.after[:size], value)
        ending = layer.ending(params, reached)
        over = layer.is_over(params, plan, reached, ending.excess)
        best = jnp.where(over, ending.cost, best)
        # Padding points may lead beyond this layer; what is left there never reaches a point that counts.
        return value.at[:size].set(best), jnp.where(over, len(plan.rows), choice).astype(jnp.int8)

    last = layer.ending(params, given.reach(plan.points(plan.horizon), plan.horizon))
    value = jnp.broadcast_to(last.cost, _states(given))
    decided = []
    for segment in reversed(plan.segments()):
        value, choice = jax.lax.scan(functools.partial(step_back, segment.size), value, _times(segment), reverse=True)
        value = value[: plan.points(segment.first)]
        decided.insert(0, choice)
    return value[0, 0], decided


def _follow(given: _Given, decided: list[jax.Array]) -> jax.Array:
    """The five components, the success and the units ``[6 + J, W]`` of choices that have been made."""
    params, plan = given.params, given.plan

    def step_back(size: int, parts: list[jax.Array], played: Any) -> tuple[list[jax.Array], None]:
        time, choice = played
        reached = given.reach(size, time)
        onward = _parts(params, plan, reached, given.after[:size], choice, parts)
        over = choice == len(plan.rows)
        closing = _closing_parts(layer.ending(params, reached))
        settled = [jnp.where(over, *pair) for pair in zip(closing, onward, strict=True)]
        return [old.at[:size].set(new) for old, new in zip(parts, settled, strict=True)], None

    last = layer.ending(params, given.reach(plan.points(plan.horizon), plan.horizon))
    parts = [jnp.broadcast_to(part, _states(given)) for part in _closing_parts(last)]
    for segment, choice in reversed(list(zip(plan.segments(), decided, strict=True))):
        back = functools.partial(step_back, segment.size)
        parts, _ = jax.lax.scan(back, parts, (_times(segment), choice), reverse=True)
        parts = [part[: plan.points(segment.first)] for part in parts]
    return jnp.stack([part[0, 0] for part in parts])


def _states(given: _Given) -> tuple[int, int, int]:
    """The axes N, L, W of the last layer."""
    return given.plan.points(given.plan.horizon), given.plan.past.size, given.start.seen.shape[1]


def _times(segment: Segment) -> jax.Array:
    return jnp.arange(segment.first, segment.first + segment.times, dtype=jnp.int32)


def _closing_parts(ending: layer.Ending) -> list[jax.Array]:
    """Components, success and units ``[N, L, W]`` of ending with violations, which are charged here."""
    none = jnp.zeros_like(ending.violation)
    return [none, none, ending.violation, none, none, ending.success, *ending.units]


def _best(
    params: EnvParams, plan: Plan, reached: Reached, after: jax.Array, value: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """V of a layer and its optimal choices ``[N, L, W]`` from the W of the next."""
    weights, flat = params.weights, value.reshape(-1, value.shape[-1])

    def lead(i: int, failed: bool) -> jax.Array:
        """W after an event. ``[N, L, W]``"""
        if plan.past.size == 1 and (plan.failure if failed else plan.success)[i] == plan.counts:
            return value[: len(after)]  # not counted: it leads to the point itself
        return flat.at[layer.onward(plan, i, failed, after, reached.time)].get(mode="promise_in_bounds")

    best = jnp.full((len(after), plan.past.size, value.shape[-1]), jnp.inf)
    choice = jnp.zeros(best.shape, jnp.int32)
    legal = layer.legal(params, plan, reached.often, reached.time)
    for i in range(len(plan.rows)):
        p, latency, money = layer.call(params, plan, i, reached)
        later = layer.closing(params, plan, i, reached).cost if plan.success[i] is None else lead(i, False)
        if plan.failure[i] is not None:
            later = p * lead(i, True) + (1 - p) * later
        now = weights[LATENCY] * latency + weights[MONEY] * money + weights[FAILURE] * p
        now = now + weights[DIVERGENCE] * layer.divergence(params, plan, i, p, reached)
        total = jnp.where(legal[i], now + later, jnp.inf)
        choice = jnp.where(total < best, i, choice)
        best = jnp.minimum(best, total)
    return best, choice


def _parts(
    params: EnvParams, plan: Plan, reached: Reached, after: jax.Array, choice: jax.Array, parts: list[jax.Array]
) -> list[jax.Array]:
    """Components, success and units of a layer, 6 + J times ``[N, L, W]``, from those on arriving in the next."""
    rows = range(len(plan.rows))
    calls = [layer.call(params, plan, i, reached) for i in rows]

    def chosen(values: Sequence[jax.Array]) -> jax.Array:
        """Of one value a row the chosen row's. (Looking it up by index takes longer than these few selections.)"""
        picked = jnp.broadcast_to(values[0], choice.shape)
        for i in rows[1:]:
            picked = jnp.where(choice == i, values[i], picked)
        return picked

    def look_up(part: jax.Array, failed: bool) -> jax.Array:
        """What the chosen row's event leads to in the next layer."""
        if plan.past.size == 1 and {*(plan.failure if failed else plan.success)} <= {plan.counts, None}:
            return part[: len(after)]
        index = chosen([layer.onward(plan, i, failed, after, reached.time)[:, :, None] for i in rows])
        flat, at = part.reshape(-1, part.shape[-1]), index.reshape(-1, index.shape[-1])
        return jnp.take_along_axis(flat, at, 0, mode="promise_in_bounds").reshape(choice.shape)

    p = chosen([call.failure for call in calls])
    off = [layer.divergence(params, plan, i, call.failure, reached) for i, call in enumerate(calls)]
    now = {
        LATENCY: chosen([call.latency for call in calls]),
        MONEY: chosen([call.money for call in calls]),
        FAILURE: p,
        DIVERGENCE: chosen(off),
    }
    closing = {i: _closing_parts(layer.closing(params, plan, i, reached)) for i in rows if plan.ends[i]}
    found = []
    for k, part in enumerate(parts):
        worked, failed = look_up(part, False), look_up(part, True)
        for i, ended in closing.items():
            worked = jnp.where(choice == i, ended[k], worked)
        found.append(now.get(k, 0.0) + p * failed + (1 - p) * worked)
    return found
