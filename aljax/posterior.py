"""Environments drawn from what is known of a scenario's numbers: a new one for every episode, or several to judge by.

The law of each number is that of its interval (`aljax.intervals`), and numbers are drawn independently of each other.
Nobody is told what was drawn: a policy that reckons with the environment's numbers (the heuristics, the belief about
what is up) reckons with those that the file gives, and so does what observations are divided by.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from aljax.chance import standard_normal, uniform
from aljax.env import EnvParams, EnvState
from aljax.errors import UserError
from aljax.intervals import Doubt, Law
from aljax.options import TrainConfig
from aljax.overrides import COLUMNS
from aljax.policy import Policy
from aljax.scenario import Scenario
from aljax.target import Target

_STREAM = 6
"""What the key of a batch is folded with: its chance needs none of that."""

Found = TypeVar("Found")


@dataclasses.dataclass(frozen=True)
class Structure:
    """What is fixed of K numbers that are not known."""

    laws: tuple[Law, ...]
    """Of each."""
    bounds: tuple[tuple[float, float], ...]
    """The least and the most that each may be."""
    places: tuple[tuple[str, tuple[int, ...], int], ...]
    """Of each entry of the environment's arrays that is drawn: the field, where in it, and which number it is."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Posterior(EnvParams):
    """An environment, K of whose numbers are not known for certain; as an environment it is the one that is given."""

    middles: jax.Array = dataclasses.field(kw_only=True)
    """Medians, where the laws are normal. ``[K]``"""
    below: jax.Array = dataclasses.field(kw_only=True)
    """Standard deviations on the left of them. ``[K]``"""
    above: jax.Array = dataclasses.field(kw_only=True)
    """And on the right. ``[K]``"""
    structure: Structure = dataclasses.field(kw_only=True, metadata={"static": True})
    """What is fixed while programs run."""


def posterior_of(scenario: Scenario, *, widen: float = 1.0, moved: float = 0.0) -> Posterior:
    """What is known of a scenario's environment.

    Args:
      scenario: whose file has intervals.
      widen: how many times as unsure each number is, on its law's normal scale.
      moved: by how many standard deviations all numbers are larger than the file says.

    Returns:
      The environment with the laws of its numbers.

    Raises:
      UserError: the scenario has no intervals, or cannot be as unsure as that.
    """
    if not scenario.doubts:
        raise UserError(f"environments: {scenario.name} has no [intervals] from which they could be drawn")
    if not (np.isfinite(widen) and 0 < widen <= 100):
        raise UserError(f"widen: expected a number above 0 and at most 100, got {widen:g}")
    middles, below, above = np.array([doubt.normal for doubt in scenario.doubts], np.float32).T
    structure = Structure(
        tuple(doubt.law for doubt in scenario.doubts),
        tuple(doubt.bounds for doubt in scenario.doubts),
        tuple(place for k, doubt in enumerate(scenario.doubts) for place in _places(scenario, doubt, k)),
    )
    shift = moved * (above if moved > 0 else below)
    fields: dict[str, Any] = {f.name: getattr(scenario.params, f.name) for f in dataclasses.fields(EnvParams)}
    return Posterior(**fields, middles=middles + shift, below=widen * below, above=widen * above, structure=structure)


def _places(scenario: Scenario, doubt: Doubt, number: int) -> list[tuple[str, tuple[int, ...], int]]:
    """Where a number stands in arrays."""
    found = []
    for place in doubt.places:
        row = () if place.row is None else (scenario.action_names.index(place.row),)
        entry = () if place.coordinate is None else (scenario.coordinate_names.index(place.coordinate),)
        found.append((place.field, row + entry, number))
    return found


def draw_environments(key: jax.Array, params: Posterior, count: int) -> Mapping[str, jax.Array]:
    """Draws environments.

    Args:
      key: a PRNG key.
      params: what is known.
      count: E, how many.

    Returns:
      The arrays that differ between them, by field; a last axis E.
    """
    normal = standard_normal(uniform(jax.random.fold_in(key, _STREAM), (len(params.middles), count), 0.0, 1.0))
    side = jnp.where(normal < 0, params.below[:, None], params.above[:, None])
    drawn = params.middles[:, None] + side * normal
    laws = np.array(params.structure.laws)[:, None]
    drawn = jnp.where(laws == "logit", jax.nn.sigmoid(drawn), jnp.where(laws == "log", jnp.exp(drawn), drawn))
    drawn = jnp.clip(drawn, *np.array(params.structure.bounds, np.float32).T[..., None])
    found: dict[str, jax.Array] = {}
    for name in dict.fromkeys(name for name, _, _ in params.structure.places):
        entries = [(where, number) for field, where, number in params.structure.places if field == name]
        usual = getattr(params.actions if name in COLUMNS else params, name)
        where = tuple(np.array([where for where, _ in entries]).T)
        numbers = drawn[np.array([number for _, number in entries])]
        whole = jnp.broadcast_to(usual[..., None], (*usual.shape, count))
        found[name] = whole.at[where].set(numbers) if where else numbers[0]
    return found


def placed(params: EnvParams, drawn: Mapping[str, jax.Array]) -> EnvParams:
    """An environment with some arrays changed.

    Args:
      params: the environment.
      drawn: arrays by field.

    Returns:
      The environment.
    """
    fields: dict[str, Any] = {field.name: getattr(params, field.name) for field in dataclasses.fields(EnvParams)}
    columns = {name: leaf for name, leaf in drawn.items() if name in COLUMNS}
    fields["actions"] = dataclasses.replace(params.actions, **columns)
    fields |= {name: leaf for name, leaf in drawn.items() if name not in COLUMNS}
    return EnvParams(**fields)


class Worlds(NamedTuple):
    """The environments of B episodes: one, or one each."""

    params: EnvParams
    """That which is given."""
    drawn: Mapping[str, jax.Array] | None
    """What is each episode's own, by field; None: nothing. A last axis B"""

    def each(self, function: Callable[[Any, EnvParams, Target], Found], given: Any, target: Target) -> Found:
        """A function of episodes, each in its own environment.

        Args:
          function: of a tree of arrays with a last axis of episodes, an environment, and the target; gives another.
          given: that tree; a last axis B.
          target: what it is compiled for. Where environments differ, there is no kernel.

        Returns:
          What the function gives; a last axis B.
        """
        if self.drawn is None:
            return function(given, self.params, target)
        general = dataclasses.replace(target, kernels="none")

        def alone(given: Any, drawn: Mapping[str, jax.Array]) -> Any:
            given = jax.tree.map(lambda leaf: leaf[..., None], given)
            found = function(given, placed(self.params, drawn), general)
            return jax.tree.map(lambda leaf: leaf[..., 0], found)

        return jax.vmap(alone, in_axes=-1, out_axes=-1)(given, dict(self.drawn))

    def policy(self, policy: Policy) -> Policy:
        """A policy that is not told in which of them it is.

        Args:
          policy: what chooses.

        Returns:
          The policy, or the same one if there is but one environment.
        """
        return policy if self.drawn is None else Unaware(policy, self.params)


def worlds_of(key: jax.Array, params: EnvParams, config: TrainConfig, episodes: int) -> Worlds:
    """The environments of a batch of episodes in training.

    Args:
      key: a PRNG key, of the batch.
      params: the environment; a `Posterior` where environments are to be drawn.
      config: shape of the run, which says whether they are.
      episodes: B.

    Returns:
      The environments.

    Raises:
      UserError: nothing says from what they could be drawn.
    """
    if config.environments == "point":
        return Worlds(params, None)
    if not isinstance(params, Posterior):
        raise UserError("environments: expected what is known of them, see aljax.posterior.posterior_of")
    return Worlds(placed(params, {}), draw_environments(key, params, episodes))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Unaware(Policy):
    """A policy that reckons with other numbers than those of the environment in which it plays."""

    policy: Policy
    """Which."""
    params: EnvParams
    """With whose numbers."""

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the policy."""
        return self.policy.name

    def observe(self, params: EnvParams, state: EnvState) -> jax.Array:
        """What the environment shows. See `Policy.observe`."""
        return self.policy.observe(params, state)

    def begin(self, params: EnvParams, observation: jax.Array) -> Any:
        """See `Policy.begin`."""
        del params
        return self.policy.begin(self.params, observation)

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        del params
        return self.policy.logits(self.params, observation, legal, memory)

    def remember(
        self, params: EnvParams, memory: Any, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Any:
        """See `Policy.remember`."""
        del params
        return self.policy.remember(self.params, memory, action, failed, observation)

    def sees(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.sees`."""
        del params
        return self.policy.sees(self.params, observation, memory)
