"""What any policy that keeps promises costs at least: the Lagrangian's optimum, at its best multipliers.

For multipliers μ ≥ 0 the Lagrangian E[Σ_k λ_k C_k + Σ_j μ_j (C_j − c_j)] is the total cost under other weights, less a
constant, so its least value over policies is an exact optimum. For a promise P(C_j > s_j) ≤ δ_j an episode is charged
μ_j when it is over and C_j is beyond s_j; every state then knows C_j so far (`aljax.exact.charge`).

By weak duality that is a lower bound on the cost of every policy that keeps the promises, mixtures of policies
included, whichever μ is taken; over mixtures its largest value is the constrained optimum itself (Altman, 1999). The
dual function is concave, and its slope by μ_j is E[C_j] − c_j, or P(C_j > s_j) − δ_j, of the optimum found, so
Kelley's cutting planes (1960) find the largest.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax.errors import UserError
from aljax.exact.bracket import starts
from aljax.exact.charge import Charge
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan
from aljax.options import Protocol
from aljax.params import COMPONENTS
from aljax.promises import Constraint
from aljax.scenario import Scenario
from aljax.statistics import Interval, mean_interval

MOST_CUTS = 60
"""Optima that are computed at most."""
_CLOSE = 1e-4
"""Of the bound: what the planes may still promise beyond it."""
_STEEP = 100.0
"""Of a multiplier, in units of the optimum's cost over the bound: beyond, a promise counts as one that nobody keeps."""


@dataclasses.dataclass(frozen=True)
class ConstrainedBound:
    """A lower bound on the cost of every policy that keeps promises; intervals at the 95 % level, over starts."""

    constraints: tuple[Constraint, ...]
    bound: Interval
    """No policy that keeps them costs less on average."""
    free: Interval
    """What the optimum costs that keeps none."""
    multipliers: tuple[float, ...]
    """At which the bound was found: what a unit of each bound is worth."""
    reached: tuple[float, ...]
    """What is bounded, of the optimum at those multipliers: one of the policies that the best mixture is made of."""
    solved: int
    """How many optima were computed."""

    def to_json(self) -> dict[str, Any]:
        """For files."""
        rows = zip(self.constraints, self.multipliers, self.reached, strict=True)
        return {
            "bound": self.bound.to_json(),
            "without": self.free.to_json(),
            "constraints": {
                each.name: {"bound": each.bound, "multiplier": price, "reached": value} for each, price, value in rows
            },
            "solved": self.solved,
        }


def constrained_bound(
    scenario: Scenario,
    protocol: Protocol,
    constraints: Sequence[Constraint],
    on_progress: Callable[[], object] = lambda: None,
) -> ConstrainedBound:
    """Finds the multipliers at which the Lagrangian's optimum is largest.

    Args:
      scenario: where.
      protocol: seeds and episodes, from whose starts the optima are computed.
      constraints: on means and chances.
      on_progress: called from the host after each optimum.

    Returns:
      The bound.

    Raises:
      UserError: one that no policy can keep, or of whose total the solver cannot know enough; one line that says why.
    """
    places = np.array([COMPONENTS.index(each.component) for each in constraints])
    bounds = np.array([each.bound for each in constraints])
    chance = np.array([each.threshold is not None for each in constraints])
    late = [each for each in constraints if each.threshold is not None]
    try:
        plan = make_plan(scenario.params, scenario=scenario, keeps=[each.component for each in late])
    except UserError as refusal:
        raise UserError(f"constraint: {refusal}") from None
    begin, weights = starts(scenario, protocol), np.asarray(scenario.params.weights, np.float32)
    program = jax.jit(functools.partial(solve, plan=plan))

    def lagrangian(prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least Lagrangian of each start, at the prices that single precision holds, and what is bounded."""
        changed = weights.copy()
        np.add.at(changed, places[~chance], prices[~chance].astype(np.float32))
        params = dataclasses.replace(scenario.params, weights=jnp.asarray(changed))
        charge = None
        if late:
            totals = jax.nn.one_hot(places[chance], len(COMPONENTS))
            thresholds = jnp.asarray([each.threshold for each in late], jnp.float32)
            charge = Charge((True,) * len(late), totals, thresholds, jnp.asarray(prices[chance], jnp.float32))
        found = [jax.device_get(program(params, start, charge=charge)) for start in begin]
        value = np.stack([np.asarray(each.value, np.float64) for each in found])
        reached = np.stack([np.asarray(each.components, np.float64).mean(1) for each in found]).mean(0)[places]
        if late:
            reached[chance] = np.stack([np.asarray(each.units, np.float64).mean(1) for each in found]).mean(0)
        on_progress()
        return value - float(prices @ bounds), reached

    prices, planes, best = np.zeros(len(bounds)), [], None
    steepest, free = np.zeros(len(bounds)), None
    while len(planes) < MOST_CUTS:
        values, reached = lagrangian(prices)
        mean = float(values.mean())
        if free is None:
            free = values
            steepest = _STEEP * np.abs(mean) / np.maximum(bounds, 1e-6)
        if best is None or mean > best[0].mean():
            best = values, prices, reached
        planes.append((mean, reached - bounds, prices))
        prices, promised = _highest(planes, steepest)
        if promised - best[0].mean() <= _CLOSE * abs(best[0].mean()):
            break
    assert best is not None and free is not None
    broken = (best[1] >= 0.99 * steepest) & (best[2] > bounds)
    if broken.any():
        name = constraints[int(np.argmax(broken))].name
        raise UserError(f"constraint: {name}: no policy in {scenario.name} keeps it, whatever it costs otherwise")
    found = (tuple(map(float, numbers)) for numbers in best[1:])
    return ConstrainedBound(tuple(constraints), mean_interval(best[0]), mean_interval(free), *found, solved=len(planes))


def _highest(planes: Sequence[tuple[float, np.ndarray, np.ndarray]], most: np.ndarray) -> tuple[np.ndarray, float]:
    """The multipliers at which the lowest of some planes is highest, and how high.

    Args:
      planes: value, slope and place of each.
      most: of each multiplier.
    """
    from scipy.optimize import linprog  # where it is used: it takes long to load

    slopes = np.array([slope for _, slope, _ in planes])
    heights = np.array([value - slope @ place for value, slope, place in planes])
    found = linprog(
        np.append(np.zeros(len(most)), -1.0),
        A_ub=np.column_stack([-slopes, np.ones(len(planes))]),
        b_ub=heights,
        bounds=[*((0.0, float(each)) for each in most), (None, None)],
    )
    return np.asarray(found.x[:-1], np.float32).astype(np.float64), float(found.x[-1])
