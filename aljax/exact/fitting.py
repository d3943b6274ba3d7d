"""Whether a plan is right for another environment than that which it was made for."""

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.env import EnvParams
from aljax.exact import facts
from aljax.exact.facts import VALUES_ONLY, there
from aljax.exact.plan import Plan, adds

_CHANCES = ("failure", "after_ok", "after_failed")


def plan_key(params: EnvParams) -> bytes:
    """What `aljax.exact.structure.make_plan` looks at in one environment.

    Where it is equal, so is the plan, or the reason why there is none.
    Of probabilities a plan asks which are 0 and which are equal, of what calls take only what a budget or a limit is
    kept of, of starts and of how episodes end only where something is blind.

    Args:
      params: the environment, its leaves arrays of NumPy's or of values that are known.

    Returns:
      Bytes to compare.
    """
    given = {name: np.asarray(values) for name, _, values in there(params)}
    found = {name: x for name, x in given.items() if name not in VALUES_ONLY and name not in _CHANCES}
    failure = given["failure"]
    after_ok, after_failed = (given.get(name, failure) for name in _CHANCES[1:])
    parts = [x > 0 for x in (failure, after_ok, after_failed)]
    parts += [failure != after_ok, failure != after_failed, after_ok != after_failed]
    if "timeout" in given:
        parts.append(np.isfinite(given["timeout"]))
    for column, others in (("latency", ("latency_spread", "timeout")), ("money", ())):
        if given[f"{column}_budget"] == np.inf and given.get(f"{column}_limit", np.inf) == np.inf:
            for name in (column, f"failure_{column}", f"{column}_growth", *others):
                found.pop(name, None)
    if "blind" in given and given["blind"].any():
        parts += [given["start_low"] == given["start_high"], given["auto_end"]]
        if (points := given.get("start_points")) is not None:
            parts += [np.array(points.shape), np.array(facts.looks(points, given["blind"]))]
    rules = b"" if params.rules is None else repr(params.rules.structure).encode()
    return rules + b"".join(
        [part.tobytes() for part in parts] + [name.encode() + x.tobytes() for name, x in found.items()]
    )


def fits(params: EnvParams, plan: Plan) -> jax.Array:
    """Whether a plan is right for this one environment, which may be traced. Boolean scalar

    Args:
      params: the environment.
      plan: of an environment that may be another.

    Returns:
      Boolean scalar.
    """
    p = facts.filled({name: values for name, _, values in there(params)})
    legal, rows = env.always_legal(params), np.array(plan.rows)
    allowed, horizon = legal[rows], jnp.asarray(p["horizon"])
    others = [jnp.all(x == field.neutral) for name, field, x in there(params) if name not in facts.KNOWN]
    flags = (p["ends"][rows] == np.array(plan.ends)) & (p["resolves"][rows] == np.array(plan.resolves))
    chanced = ~facts.fails(p)[rows] | np.array([kind is not None for kind in plan.failure])
    needed = ~jnp.any(p["requires"], -1)[rows] | np.array(plan.needs)
    counted = (p["max_calls"][rows] >= plan.horizon) | np.array(plan.limited)
    each = flags & chanced & needed & counted & _alike(params, plan) & _level(p, plan) & _grow_alike(p, plan)
    latency, money = (facts.matters(p, column, horizon, legal) for column in ("latency", "money"))
    if not plan.relaxed:
        only_adds = jnp.all(p["gain"][rows] == 1, axis=1) & (p["noise"][rows] == 0)
        late = (p["latency_spread"] > 0) | facts.blurred(p, jnp.asarray(plan.horizon))
        each &= only_adds | np.array(plan.ends)
        each &= ~(facts.unreliable(p) | facts.metered(p) | plan.latency & late)[rows]
    structure = None if params.rules is None else params.rules.structure
    if structure != plan.past.structure or (structure is not None and structure.timed and not plan.relaxed):
        return jnp.bool_(False)
    return (
        jnp.all(each | ~allowed)
        & jnp.all(jnp.array(others, bool))
        & ~jnp.any(jnp.delete(legal, rows))
        & _seen(p, plan, legal)
        & (horizon <= plan.horizon)
        & (plan.latency | ~latency)
        & (plan.money | ~money)
    )


def _alike(params: EnvParams, plan: Plan) -> jax.Array:
    """Events of each row add what their class adds. Boolean ``[R]``"""
    alike = []
    for row, *kinds in zip(plan.rows, plan.success, plan.failure, strict=True):
        pairs = [((row, i == 0), plan.classes[kind]) for i, kind in enumerate(kinds) if kind is not None]
        same = [jnp.array_equal(adds(params, plan, a), adds(params, plan, b)) for a, b in pairs]
        alike.append(jnp.all(jnp.array(same)))
    return jnp.array(alike)


def _level(p: facts.Numbers, plan: Plan) -> jax.Array:
    """Statuses of one level fail equally often. Boolean ``[R]``"""
    levels, found = dict(plan.past.levels), []
    for row, ends, failure, apart in zip(plan.rows, plan.ends, plan.failure, plan.apart, strict=True):
        reached = (True, not ends, failure is not None)
        seen = [chance[row] for chance in facts.chances(p)]
        by_status = levels.get(row, (0, 0, 0))
        pairs = [(i, j) for i in range(3) for j in range(i) if reached[i] and reached[j]]
        same = [seen[i] == seen[j] for i, j in pairs if by_status[i] == by_status[j] and not apart]
        found.append(jnp.all(jnp.array(same, bool)))
    return jnp.array(found)


def _grow_alike(p: facts.Numbers, plan: Plan) -> jax.Array:
    """Calls of a row grow, in what is kept, as those of its group; without groups, not at all. Boolean ``[R]``

    A row that surely ends the episode may grow as it likes.
    """
    kept = [p[f"{column}_growth"] for column, on in (("latency", plan.latency), ("money", plan.money)) if on]
    first = {row: group[0] for group in plan.past.growing for row in group}
    found = []
    for row, *kinds in zip(plan.rows, plan.success, plan.failure, strict=True):
        like = [growth[first[row]] if row in first else 0.0 for growth in kept]
        same = [growth[row] == usual for growth, usual in zip(kept, like, strict=True)]
        found.append(jnp.all(jnp.array(same, bool)) | (kinds == [None, None]))
    return jnp.array(found)


def _seen(p: facts.Numbers, plan: Plan, legal: jax.Array) -> jax.Array:
    """What is hidden is what the plan hides. Boolean scalar"""
    blind = np.array(plan.blind)
    if plan.relaxed:
        return jnp.bool_(True)
    found = jnp.all(p["blind"] == blind) & jnp.all((p["misread"] == 0) | blind)
    if plan.averages:
        telling = jnp.any(p["requires"][:, blind], -1) | p["reveals"] & ~jnp.asarray(p["ends"], bool)
        found &= jnp.all(p["start_low"] == p["start_high"]) & ~jnp.asarray(p["auto_end"], bool)
        found &= ~jnp.any(telling & legal)
        if "start_points" in p:
            found &= facts.looks(p["start_points"], blind) <= plan.looks
    return found
