"""Objectives beside the mean, and promises: CVaR of the total cost, constraints by Lagrange multipliers.

Both come down to what a step is charged. With F_t the cost of an episode's first t steps, the objective

    CVaR_α(C) = min_ν ν + E[(C − ν)₊] / α                       (Rockafellar and Uryasev, 2000, theorem 1)

is for a given threshold ν the mean of a sum over steps, ν + Σ_t φ(F_t) − φ(F_{t−1}) with φ(x) = (x − ν)₊ / α: the form
of Bäuerle and Ott (2011) and of Chow et al. (2017, section 4). Its policy gradient is that of `aljax.train` on these
charges, so what is still to come at step t is φ(C) − φ(F_{t−1}). Summed over an episode that is the estimator of
Tamar, Glassner and Mannor (2015), E[Σ_t ∇ log π · (C − ν)₊] / α, less φ(F_{t−1}) at each step, which the step's action
does not change and which is thus a baseline; whatever baseline was asked for is subtracted besides. ν is learned in
the same program, by stochastic gradient on the same objective, whose derivative by ν is 1 − P(C > ν) / α.

A constraint E[C_k] ≤ c adds μ C_k to what each step is charged, P(C_k > s) ≤ δ adds μ at the step at which C_k passes
s: the Lagrangian of a constrained decision process (Altman, 1999). Each μ ≥ 0 is learned in the same program, by how
much a batch breaks its bound.

An observation has the seconds and dollars spent so far, but neither the failures nor the divergence so far, so policies
see most of F_{t−1} and not all of it: see docs/explanation/risk.md for what that means.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax.constraint import exceeds
from aljax.env import EnvParams
from aljax.episodes import Trajectory
from aljax.learning.optimiser import falling
from aljax.learning.returns import step_costs
from aljax.options import Hyperparameters, TrainConfig
from aljax.params import COMPONENTS
from aljax.promises import constraints_of
from aljax.rollout import Outcome

_STAYS = 0.9
"""Of the averages of spreads, at each update."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bounded(Hyperparameters):
    """Hyperparameters, and the numbers of K constraints, so that a new number compiles nothing."""

    bounds: Any = ()
    """c or δ of each. ``[K]``"""
    thresholds: Any = ()
    """s of each; 0 where a mean is bounded. ``[K]``"""


def apart(config: TrainConfig, hyperparameters: Hyperparameters) -> tuple[TrainConfig, Hyperparameters]:
    """What of a run is static and what is traced: the numbers of constraints move from the first to the second.

    Args:
      config: shape of the run.
      hyperparameters: its numbers.

    Returns:
      Both as compiled programs take them, numbers in single precision. Numbers that a run has no use for are None,
      which is no argument of a program.
    """
    unused: dict[str, Any] = {} if config.objective == "cvar" else {"alpha": None}
    unused |= {} if config.constraints else {"multiplier_rate": None}
    numbers = dataclasses.replace(hyperparameters, **unused)
    if config.constraints:
        found = constraints_of(config)
        fields = {field.name: getattr(numbers, field.name) for field in dataclasses.fields(Hyperparameters)}
        bounds = np.array([each.bound for each in found], np.float32)
        numbers = Bounded(
            **fields, bounds=bounds, thresholds=np.array([each.threshold or 0.0 for each in found], np.float32)
        )
        config = dataclasses.replace(config, constraints=tuple(each.form for each in found))
    return config, jax.tree.map(np.float32, numbers)


class Risk(NamedTuple):
    """What a run carries on beside its weights: what its objective and its promises are charged by."""

    threshold: jax.Array | None
    """ν, on the way to the α-quantile of the total cost from above; None where the objective is the mean. Scalar"""
    multipliers: jax.Array | None
    """μ, in units of cost for a unit of what is bounded; None without constraints. ``[K]``"""
    prices: jax.Array | None
    """What is charged for a unit of what is bounded: μ, and at once a part of what its bound is broken by. ``[K]``"""
    means: jax.Array
    """Of the total cost, and of what each constraint bounds: exponential averages over updates. ``[1 + K]``"""
    spreads: jax.Array
    """Likewise, standard deviations between episodes. ``[1 + K]``"""


def begin_risk(config: TrainConfig) -> Risk | None:
    """The state before the first update: ν = 0, at which CVaR charges what the mean does, and μ = 0.

    Args:
      config: shape of the run.

    Returns:
      The state; None where the objective is the mean and nothing is promised.
    """
    count = len(config.constraints)
    if config.objective == "mean" and not count:
        return None
    threshold = jnp.zeros(()) if config.objective == "cvar" else None
    none = jnp.zeros(count) if count else None
    return Risk(threshold, none, none, *jnp.zeros((2, 1 + count)))


def charges(
    played: Trajectory,
    params: EnvParams,
    risk: Risk | None,
    remaining: jax.Array,
    config: TrainConfig,
    hyper: Hyperparameters,
) -> jax.Array:
    """What each step is charged under an objective and constraints; the module's text has the formulas. ``[T, B]``

    Args:
      played: B episodes of T steps.
      params: the environment.
      risk: thresholds and multipliers; None: `aljax.learning.returns.step_costs`.
      remaining: of the run, from 1 to 0. Scalar
      config: shape of the run.
      hyper: its numbers.

    Returns:
      In units of cost; 0 after an episode's end. ``[T, B]``
    """
    found = step_costs(played, params)
    if risk is None:
        return found
    if risk.threshold is not None:
        found = _by_step(jnp.maximum(jnp.cumsum(found, axis=0) - risk.threshold, 0.0)) / level(remaining, hyper)
    if risk.prices is not None:
        _, thresholds = _bounds(config, hyper)
        for k, constraint in enumerate(constraints_of(config)):
            costs = played.costs[:, COMPONENTS.index(constraint.component)]
            if constraint.threshold is not None:
                late = exceeds(jnp.cumsum(costs, axis=0), thresholds[k])
                costs = _by_step(late.astype(costs.dtype))
            found = found + risk.prices[k] * costs
    return found


def level(remaining: jax.Array, hyper: Hyperparameters) -> jax.Array:
    """The share of episodes that counts now: all at first, falling linearly to α at half of the run.

    At α from the start, what a policy does well by luck would go unnoticed and it would settle for the first safe thing
    that it finds: the "blindness to success" of Greenberg et al. (2022), whose remedy this is.

    Args:
      remaining: of the run, from 1 to 0. Scalar
      hyper: its numbers.

    Returns:
      A share. Scalar
    """
    return hyper.alpha + (1.0 - hyper.alpha) * jnp.maximum(2.0 * remaining - 1.0, 0.0)


def take_in(
    risk: Risk | None, result: Outcome, remaining: jax.Array, config: TrainConfig, hyper: Hyperparameters
) -> Risk | None:
    """Takes a batch in.

    A multiplier goes by how far the average of past batches is from its bound, in units of δ, or of what the component
    spreads by between episodes, and at most by one such unit: what breaks a bound many times over, as untrained
    policies do, would otherwise wind up a multiplier that takes long to come down again. What is charged is μ and once
    more that distance, without which the two run in circles where only a mixture of policies keeps the bound (the
    proportional term of Stooke, Achiam and Abbeel, 2020).

    Args:
      risk: before.
      result: what its episodes came to, arrays ``[..., B]`` and ``[..., 5, B]``.
      remaining: as for `charges`.
      config: shape of the run, whose schedule steps are on.
      hyper: its numbers.

    Returns:
      The state after.
    """
    if risk is None:
        return None
    shrink, values = falling(config.schedule, remaining, hyper), [result.total]
    bounds, thresholds = _bounds(config, hyper)
    for k, constraint in enumerate(constraints_of(config)):
        costs = result.costs[..., COMPONENTS.index(constraint.component), :]
        passed = exceeds(costs, thresholds[k]).astype(costs.dtype)
        values.append(costs if constraint.threshold is None else passed)
    means, spreads = (
        _STAYS * before + (1.0 - _STAYS) * jnp.stack([getattr(each, name)() for each in values])
        for before, name in ((risk.means, "mean"), (risk.spreads, "std"))
    )
    threshold, multipliers, prices = risk.threshold, risk.multipliers, risk.prices
    if threshold is not None:
        above = (result.total > threshold).mean()
        threshold = threshold + shrink * spreads[0] * (above - level(remaining, hyper))
    if multipliers is not None:
        chance = np.array([each.threshold is not None for each in constraints_of(config)])
        far = jnp.where(chance, bounds, jnp.maximum(spreads[1:], 1e-6))
        unit = spreads[0] / jnp.where(chance, 1.0, far)
        broken = unit * jnp.clip((means[1:] - bounds) / far, -1.0, 1.0)
        multipliers = jnp.maximum(multipliers + hyper.multiplier_rate * shrink * broken, 0.0)
        prices = jnp.maximum(multipliers + broken, 0.0)
    return Risk(threshold, multipliers, prices, means, spreads)


def promised(risk: Risk | None) -> dict[str, jax.Array]:
    """What a learning curve shows of promises, by its names.

    Args:
      risk: after an update.

    Returns:
      Multipliers, and the averages that they go by, ``[K]`` each; nothing where nothing is promised.
    """
    if risk is None or risk.multipliers is None:
        return {}
    return {"multipliers": risk.multipliers, "promised": risk.means[1:]}


def tail_mean(total: jax.Array, alpha: jax.Array) -> jax.Array:
    """`cvar` in a compiled program, in single precision. Scalar

    Args:
      total: costs of episodes. ``[B]``
      alpha: the share. Scalar

    Returns:
      The mean of the worst share.
    """
    worst = alpha * total.size
    return (jnp.sort(total)[::-1] * jnp.clip(worst - jnp.arange(total.size), 0.0, 1.0)).sum() / worst


def cvar(values: Any, alpha: float) -> np.ndarray:
    """The mean of the worst share of values, the one at its border counted in part: CVaR of the empirical law.

    Args:
      values: costs of episodes. ``[..., B]``
      alpha: the share, above 0 and at most 1.

    Returns:
      Rockafellar and Uryasev's minimum, exactly, in float64. ``[...]``
    """
    ordered = np.sort(np.asarray(values, np.float64), -1)[..., ::-1]
    worst = alpha * ordered.shape[-1]
    weights = np.clip(worst - np.arange(ordered.shape[-1]), 0.0, 1.0)
    return (ordered * weights).sum(-1) / worst


def _by_step(sums: jax.Array) -> jax.Array:
    """What each step adds to sums that start at 0. ``[T, B]``"""
    return jnp.diff(sums, axis=0, prepend=jnp.zeros_like(sums[:1]))


def _bounds(config: TrainConfig, hyper: Hyperparameters) -> tuple[jax.Array, jax.Array]:
    """Bounds and thresholds ``[K]`` of the constraints."""
    if isinstance(hyper, Bounded):
        return hyper.bounds, hyper.thresholds
    found = constraints_of(config)
    return jnp.array([each.bound for each in found]), jnp.array([each.threshold or 0.0 for each in found])
