"""How low the CVaR of any policy's total cost can be: exact optima for given thresholds, and nothing left between them.

CVaR_α(C) = min_η η + E[(C − η)₊] / α (Rockafellar and Uryasev, 2000), so the least over policies is the least over η of

    v(η) = η + min_π E_π[(C − η)₊] / α,

and for a given η the second term is an exact optimum: of an episode that is charged, when it is over, what its total
is above η (Bäuerle and Ott, 2011), where every state knows its cost so far. v need not be convex, but E[(C − η)₊] falls
by 1 at most and never rises as η rises by 1; so between two thresholds that were solved v is above two lines, one that
falls with slope 1 − 1 / α from the left and one that rises with slope 1 to the right. The lowest point of these lines
is solved next (Piyavskii, 1972), until it is hardly below the best that was found. Costs are not negative, so neither
is the best η; and v(η) ≥ η.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax.errors import UserError
from aljax.exact.bracket import starts
from aljax.exact.charge import Charge
from aljax.exact.recursion import least
from aljax.exact.structure import make_plan
from aljax.options import Protocol
from aljax.params import COMPONENTS
from aljax.scenario import Scenario
from aljax.statistics import Interval, mean_interval

MOST_THRESHOLDS = 80
"""Optima that are computed at most."""
_CLOSE = 1e-3
"""Of the best that was found: how far below it another threshold may still lead."""


@dataclasses.dataclass(frozen=True)
class TailBound:
    """A lower bound on the CVaR of every policy, and what the best one comes to; at the 95 % level, over starts."""

    alpha: float
    """Of CVaR."""
    bound: Interval
    """No policy's is lower."""
    attained: Interval
    """That of the policy which is best at `threshold`, and remembers what the episode has cost so far."""
    threshold: float
    """The best η that was found: its α-quantile."""
    solved: int
    """How many optima were computed."""

    def to_json(self) -> dict[str, Any]:
        """For files."""
        figures = {"alpha": self.alpha, "threshold": self.threshold, "solved": self.solved}
        return {"bound": self.bound.to_json(), "attained": self.attained.to_json()} | figures


def cvar_bound(
    scenario: Scenario, protocol: Protocol, alpha: float, on_progress: Callable[[], object] = lambda: None
) -> TailBound:
    """Finds the least CVaR of the total cost that any policy can have.

    Args:
      scenario: where.
      protocol: seeds and episodes, from whose starts the optima are computed.
      alpha: the share of episodes that counts.
      on_progress: called from the host after each optimum.

    Returns:
      The bound, at most a thousandth below what is attained unless `MOST_THRESHOLDS` did not suffice.

    Raises:
      UserError: the solver cannot know in its states what episodes have cost; one line that says why.
    """
    weights = scenario.params.weights
    keeps = [name for name, weight in zip(COMPONENTS, np.asarray(weights), strict=True) if weight]
    try:
        plan = make_plan(scenario.params, scenario=scenario, keeps=keeps)
    except UserError as refusal:
        raise UserError(f"CVaR: {refusal}") from None
    params = dataclasses.replace(scenario.params, weights=jnp.zeros_like(weights))
    begin, program = starts(scenario, protocol), jax.jit(functools.partial(least, plan=plan))
    values: dict[float, np.ndarray] = {}
    means: dict[float, float] = {}

    def solve_at(eta: float) -> None:
        """Takes in v(η) of every start, at a threshold that single precision holds."""
        eta = float(np.float32(eta))
        charge = Charge((False,), weights[None], jnp.asarray([eta], jnp.float32), jnp.ones(1))
        excess = np.stack([np.asarray(program(params, start, charge=charge), np.float64) for start in begin])
        values[eta] = eta + excess / alpha
        means[eta] = float(values[eta].mean())
        on_progress()

    solve_at(0.0)
    solve_at(means[0.0])
    while True:
        best = min(means, key=means.__getitem__)
        lowest, eta = min(
            (_between(*pair, alpha) for pair in itertools.pairwise(sorted(means.items()))), default=(0, 0)
        )
        if means[best] - lowest <= _CLOSE * means[best] or len(means) >= MOST_THRESHOLDS:
            break
        solve_at(eta)
    attained, below = mean_interval(values[best]), means[best] - lowest
    bound = Interval(*(x - below for x in (attained.estimate, attained.low, attained.high)))
    return TailBound(alpha, bound, attained, best, len(means))


def _between(left: tuple[float, float], right: tuple[float, float], alpha: float) -> tuple[float, float]:
    """Of two thresholds and their v: how low v may be between them, and a threshold there to solve next."""
    (a, at_a), (b, at_b) = left, right
    width = b - a
    across = min(max(alpha * (at_a - at_b + width), 0.0), width)
    return at_a - (1.0 / alpha - 1.0) * across, a + min(max(across, 0.1 * width), 0.9 * width)
