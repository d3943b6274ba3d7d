"""Paired evaluation: every policy meets the same starts and the same luck (spec of the tables, section 5)."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from aljax import env
from aljax.chance import Chance, draw_chance
from aljax.env import COMPONENTS, EnvParams
from aljax.errors import UserError
from aljax.host.modules import make_callable
from aljax.keys import key_a_seed
from aljax.policy import HEURISTICS, OneOf, Policy
from aljax.rollout import Outcome, outcome, play
from aljax.statistics import Interval, bootstrap, paired_gap
from aljax.target import Target, here

make_callable(__name__)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What one policy's episodes came to, S seeds of B episodes each."""

    outcome: Outcome
    """Episode by episode; arrays with axes ``[S, ..., B]``, in the same order for every policy."""
    plays: jax.Array
    """Share of all B episodes that played each row at each step; what is missing to 1 had ended. ``[S, T, A]``"""


def evaluate(
    keys: jax.Array,
    policies: Mapping[str, Policy],
    params: EnvParams,
    *,
    trained: frozenset[str],
    episodes: int,
    steps: int,
    target: Target | None = None,
) -> dict[str, Evaluation]:
    """Evaluates policies side by side. Jit it with the last four arguments static.

    Args:
      keys: one PRNG key a seed, ``[S]``; all the chance of that seed's episodes.
      policies: by name. Those named in `trained` have a leading seed axis on every array and meet seed by seed.
      params: the environment.
      trained: which policies are a stack of S.
      episodes: B, episodes a seed.
      steps: length of an episode's scan, at least the largest horizon.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      An evaluation a policy, under its name.
    """
    target = target or here()
    draw = functools.partial(draw_chance, episodes=episodes, steps=steps, target=target)
    play_all = functools.partial(_play, target=target)
    chance = jax.vmap(draw, in_axes=(0, None))(key_a_seed(keys), params)
    found = {
        name: jax.vmap(play_all, in_axes=(0, 0 if name in trained else None, None))(chance, policy, params)
        for name, policy in policies.items()
        if not isinstance(policy, HEURISTICS)
    }
    # The heuristics are cheap to run and slow to compile: one rollout, in which a number says which of them plays.
    simple = {name: policy for name, policy in policies.items() if isinstance(policy, HEURISTICS)}
    if simple:

        def play_number(number: jax.Array) -> Evaluation:
            policy = OneOf(tuple(simple.values()), number)
            return jax.vmap(play_all, in_axes=(0, None, None))(chance, policy, params)

        results = jax.vmap(play_number)(jax.numpy.arange(len(simple), dtype=jax.numpy.int32))
        found |= {name: jax.tree.map(lambda leaf, i=i: leaf[i], results) for i, name in enumerate(simple)}
    return {name: found[name] for name in policies}


def check_finite(evaluation: Evaluation, what: str) -> None:
    """Refuses results that overflowed.

    Args:
      evaluation: of one policy.
      what: they are, for the message.

    Raises:
      UserError: one line naming which costs are not finite.
    """
    total = np.isfinite(np.asarray(evaluation.outcome.total))
    costs = np.moveaxis(np.isfinite(np.asarray(evaluation.outcome.costs)), 1, 0)
    if total.all() and costs.all():
        return
    names = [name for name, each in zip(COMPONENTS, costs, strict=True) if not each.all()] or ["their weighted sum"]
    raise UserError(
        f"{what}: {', '.join(names)} not finite in {(~total).sum():,} of {total.size:,} episodes: "
        "the environment's numbers are too large for single precision"
    )


def _play(chance: Chance, policy: Policy, params: EnvParams, target: Target) -> Evaluation:
    played = play(chance, policy, params, target=target)
    rows = jax.numpy.arange(env.num_actions(params)).reshape(-1, 1)
    chosen = (played.action[:, None] == rows) & played.alive[:, None]
    return Evaluation(outcome(played, params), chosen.mean(-1))


@dataclasses.dataclass(frozen=True)
class Spread:
    """A figure over seeds."""

    mean: float
    std: float
    """Over seeds, ddof 0."""

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.std:.4f}"


@dataclasses.dataclass(frozen=True)
class Summary:
    """One policy's row of the tables."""

    cost: Spread
    success: Spread
    components: Mapping[str, Spread]
    """By name, unweighted."""
    cost_iqm: Interval
    """Interquartile mean of the cost over seeds, with its bootstrap interval."""
    gap: Interval | None = None
    """By how many percent the cost exceeds the reference's, paired; None without a reference."""

    @property
    def single(self) -> bool:
        """There is but one seed, which has no spread: its interval is not known either."""
        return bool(np.isnan(self.cost_iqm.low))

    def to_json(self) -> dict[str, Any]:
        """As in ``metrics.json``."""
        found: dict[str, Any] = {
            "cost": dataclasses.asdict(self.cost),
            "success": dataclasses.asdict(self.success),
            "components": {name: dataclasses.asdict(spread) for name, spread in self.components.items()},
            "cost_iqm": self.cost_iqm.to_json(),
        }
        if self.gap is not None:
            found["gap_percent"] = self.gap.to_json()
        return found


def summarise(evaluation: Evaluation, reference: Evaluation | None = None, *, trained: bool = False) -> Summary:
    """Means over episodes, then mean and standard deviation over seeds, in float64.

    Args:
      evaluation: of one policy.
      reference: of the policy that the gap is measured from, on the same keys.
      trained: the policy differs from seed to seed: seeds, not episodes, are what repeats itself.

    Returns:
      The policy's row.
    """
    result = evaluation.outcome
    components = np.asarray(result.costs, np.float64).mean(-1)
    cost = np.asarray(result.total, np.float64).mean(-1)
    return Summary(
        cost=_spread(cost),
        success=_spread(np.asarray(result.success, np.float64).mean(-1)),
        components={name: _spread(components[:, k]) for k, name in enumerate(COMPONENTS)},
        cost_iqm=bootstrap([cost]),
        gap=None if reference is None else paired_gap(result.total, reference.outcome.total, by_seed=trained),
    )


def _spread(by_seed: np.ndarray) -> Spread:
    return Spread(float(by_seed.mean()), float(by_seed.std()))
