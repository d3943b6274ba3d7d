"""Policies: learned, heuristic or exact, all one kind of value.

A `Policy` is a pytree whose leaves are traced (a network's weights, which rows are tools), so it passes through
``jax.jit`` and ``jax.vmap`` like any array. It sees observations only. Whatever rolls out, evaluates or plots
takes any of them: log-probabilities of the rows are all that it asks.

As in `aljax.env`, shapes are written for one episode and every function takes trailing batch axes as well.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.calls import expected_call
from aljax.env import EnvParams, EnvState, downtime_share, num_actions, num_coordinates
from aljax.layout import lift
from aljax.networks.architecture import Architecture, Variables
from aljax.networks.inputs import Inputs, Shaped, architecture_of
from aljax.networks.seen import failure_seen, task_seen, time_seen
from aljax.options import InputsName
from aljax.scenario import Scenario

P = TypeVar("P", bound="Policy")


class Policy:
    """What chooses actions. Subclasses are frozen dataclasses registered as pytrees."""

    name: ClassVar[str]
    """The key under which tables and files show it."""

    def observe(self, params: EnvParams, state: EnvState) -> jax.Array:
        """What the policy is shown of a state; the environment's observation ``[O]`` by default."""
        return env.observe(state, params)

    def begin(self, params: EnvParams, observation: jax.Array) -> Any:
        """What the policy remembers at the start of an episode, given its first observation; nothing by default."""
        del params, observation
        return ()

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """Unnormalised log-probabilities of the rows, −inf where a row is never chosen.

        Args:
          params: the environment.
          observation: what the policy sees, ``[O]``.
          legal: which rows may be chosen (`aljax.env.legal`). Boolean ``[A]``
          memory: what it remembers.

        Returns:
          ``[A]``.
        """
        raise NotImplementedError

    def remember(
        self, params: EnvParams, memory: Any, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Any:
        """What it remembers after a step.

        Args:
          params: the environment.
          memory: what it remembered before.
          action: the row that it played.
          failed: whether that call failed, which every agent sees of its own call. Boolean scalar
          observation: what it sees next, ``[O]``.

        Returns:
          A memory of the same structure.
        """
        del params, action, failed, observation
        return memory

    def sees(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """What it chooses by, made of an observation and its memory: what learning from its episodes is given.

        The observation itself by default.
        """
        del params, memory
        return observation


@dataclass_transform(frozen_default=True)
def _policy(cls: type[P]) -> type[P]:
    """Makes a class a frozen dataclass and a pytree."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


def only(choice: jax.Array, actions: int) -> jax.Array:
    """The logits ``[A]`` of a policy that surely plays `choice`.

    Args:
      choice: the row. Integer, of any shape
      actions: A, rows of the table.

    Returns:
      0 at the row and −inf elsewhere; a leading axis A.
    """
    rows = lift(jnp.arange(actions, dtype=choice.dtype), choice.ndim)
    return jnp.where(rows == choice, 0.0, -jnp.inf)


def masked(logits: jax.Array, legal: jax.Array) -> jax.Array:
    """Logits ``[A]`` with −inf at the rows that are not legal, Boolean ``[A]``.

    Args:
      logits: unnormalised log-probabilities, a leading axis A.
      legal: Boolean, as `aljax.env.legal` gives it.

    Returns:
      Logits of the same shape.
    """
    return jnp.where(legal, logits, -jnp.inf)


def candidates(tools: jax.Array, legal: jax.Array) -> jax.Array:
    """The legal tools, or, where there are none, all legal rows.

    Args:
      tools: which rows are tools. Boolean ``[A]``
      legal: which rows may be chosen. Boolean ``[A]``

    Returns:
      Boolean ``[A]``.
    """
    found = legal & lift(tools, legal.ndim - 1)
    return jnp.where(jnp.any(found, axis=0), found, legal)


@_policy
class Latency(Policy):
    """The allowed tool of least latency; the first of several that are equal (paper, section 4.2).

    After a failure the paper's rule retries the same tool at most once and then applies afresh. Latencies do not
    change in an episode, so the rule applied afresh names that same tool, and no memory is needed.
    """

    tools: jax.Array
    """Which rows are tools. Boolean ``[A]``"""
    name: ClassVar[str] = "latency"

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        del memory
        latency = lift(params.actions.latency, legal.ndim - 1)
        fastest = jnp.argmin(jnp.where(candidates(self.tools, legal), latency, jnp.inf), axis=0)
        return only(jnp.broadcast_to(fastest, observation.shape[1:]), num_actions(params))


@_policy
class CostAware(Policy):
    """The allowed tool of least expected immediate cost Σ λ_k E[C_k], the first of several that are equal.

    Myopic: the violation, which is charged at the end, is left out. What a call takes and costs, and how likely it
    fails, are expectations given what is seen (`aljax.calls`, `aljax.networks.seen`); of outages it knows how often
    they are, and remembers nothing. The divergence is taken in expectation over failure: p ‖ẑ' − z − drift‖ +
    (1 − p) ‖(drift, noise)‖, where noise enters by its root mean square.
    """

    tools: jax.Array
    """Which rows are tools. Boolean ``[A]``"""
    name: ClassVar[str] = "cost_aware"

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        del memory
        cost = expected_immediate_cost(params, observation)
        cost = jnp.where(candidates(self.tools, legal), cost, jnp.inf)
        return only(jnp.argmin(cost, axis=0), num_actions(params))


def expected_immediate_cost(params: EnvParams, observation: jax.Array) -> jax.Array:
    """Σ λ_k E[C_k] of playing each row now, the violation left out; see `CostAware`. ``[A]``

    Args:
      params: the environment.
      observation: what the policy sees, a leading axis O.

    Returns:
      Weighted costs, a leading axis A.
    """
    table, d = params.actions, num_coordinates(params)
    over_episodes = functools.partial(lift, ndim=observation.ndim - 1)
    z = task_seen(observation, params)
    failure = failure_seen(observation, params)
    if table.mean_uptime is not None:
        down = over_episodes(downtime_share(table))
        failure = failure + (1.0 - failure) * down
    call = expected_call(table, time_seen(observation, params), failure)
    worked = over_episodes(table.gain) * z + over_episodes(table.shift)  # [A, d]
    planned = jnp.where(over_episodes(table.ends)[:, None], z, worked)
    planned = jnp.where(over_episodes(table.resolves)[:, None], 0.0, planned)
    if_failed = jnp.linalg.norm(planned - z - over_episodes(params.drift), axis=1)
    scatter = jnp.sqrt(jnp.sum(params.drift**2) + d * table.noise**2)
    if_worked = over_episodes(jnp.where(table.ends, 0.0, scatter))
    weights = params.weights
    surprise = call.failure * if_failed + (1 - call.failure) * if_worked
    spent = weights[0] * call.latency + weights[1] * call.money
    return spent + weights[3] * call.failure + weights[4] * surprise


@_policy
class OneOf(Policy):
    """One of several policies that remember nothing, by its number: all of them then play in one program."""

    policies: tuple[Policy, ...]
    """To choose from."""
    number: jax.Array
    """Which. Integer scalar"""
    name: ClassVar[str] = "one_of"

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        found = [policy.logits(params, observation, legal, memory) for policy in self.policies]
        return jax.lax.select_n(jnp.broadcast_to(self.number, found[0].shape), *found)


@_policy
class Random(Policy):
    """Uniform over the allowed rows."""

    name: ClassVar[str] = "random"

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        del memory
        return masked(jnp.zeros((num_actions(params), *observation.shape[1:])), legal)


@_policy
class Mixture(Policy):
    """Plays one of several policies, drawn anew at every step; with `Random` among them, no row is left untried."""

    policies: tuple[Policy, ...]
    """Among which it draws."""
    weights: jax.Array
    """With which probabilities; they sum to 1. ``[P]``"""
    name: ClassVar[str] = "mixture"

    def begin(self, params: EnvParams, observation: jax.Array) -> Any:
        """See `Policy.begin`."""
        return tuple(policy.begin(params, observation) for policy in self.policies)

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        pairs = zip(self.policies, memory, strict=True)
        found = [jax.nn.softmax(policy.logits(params, observation, legal, own), axis=0) for policy, own in pairs]
        return jnp.log(jnp.tensordot(self.weights, jnp.stack(found), 1, precision="highest"))

    def remember(
        self, params: EnvParams, memory: Any, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Any:
        """See `Policy.remember`."""
        pairs = zip(self.policies, memory, strict=True)
        return tuple(policy.remember(params, own, action, failed, observation) for policy, own in pairs)


HEURISTICS = (Latency, CostAware, Random)
"""Policies that need no training, and remember nothing."""


@_policy
class Learned(Policy):
    """A network from the observation to a categorical distribution over the rows."""

    variables: Variables
    """The network's weights."""
    architecture: Architecture = dataclasses.field(metadata={"static": True})
    """Its shape; two that are equal share one compilation."""
    greedy: bool = dataclasses.field(default=True, metadata={"static": True})
    """Play the likeliest row (evaluation) or sample (training)."""
    shown: InputsName = dataclasses.field(default="observation", metadata={"static": True})
    """What its network is shown beside what its architecture asks for; see `aljax.networks.inputs.Inputs`."""
    name: ClassVar[str] = "learned"

    @property
    def inputs(self) -> Inputs:
        """What the network is shown."""
        return Inputs(self.shown, self.architecture.recurrent)

    def observe(self, params: EnvParams, state: EnvState) -> jax.Array:
        """See `Policy.observe`."""
        return self.inputs.observe(params, state)

    def begin(self, params: EnvParams, observation: jax.Array) -> tuple[Any, Any]:
        """What its inputs must remember, and what its architecture carries. See `Policy.begin`."""
        remembered = self.inputs.begin(params, observation)
        seen = self.inputs.seen(params, observation, remembered)
        return remembered, self.architecture.begin(self.variables, seen)

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: tuple[Any, Any]) -> jax.Array:
        """See `Policy.logits`."""
        seen = self.sees(params, observation, memory)
        logits = masked(self.architecture.output(self.variables, seen, memory[1]), legal)
        return only(jnp.argmax(logits, axis=0), num_actions(params)) if self.greedy else logits

    def remember(
        self, params: EnvParams, memory: tuple[Any, Any], action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> tuple[Any, Any]:
        """See `Policy.remember`."""
        remembered = self.inputs.remember(params, memory[0], action, failed, observation)
        seen = self.inputs.seen(params, observation, remembered)
        return remembered, self.architecture.carry(self.variables, memory[1], seen)

    def sees(self, params: EnvParams, observation: jax.Array, memory: tuple[Any, Any]) -> jax.Array:
        """What the network is shown. ``[I]`` See `Policy.sees`."""
        return self.inputs.seen(params, observation, memory[0])


@_policy
class Told(Learned):
    """A learned policy that is told which rows are up: what memory could gain at most.

    No agent can play it, so it is never exported and logs nothing.
    """

    name: ClassVar[str] = "told"


def learned_of(options: Shaped, params: EnvParams, variables: Variables, *, greedy: bool = True) -> Learned:
    """The policy of a network's weights.

    Args:
      options: of training, or of learning from logs, which say what the network is like.
      params: the environment.
      variables: the weights, with any leading axes, or what stands for them.
      greedy: play the likeliest row, or sample.

    Returns:
      The policy.
    """
    kind = Told if options.inputs == "told" else Learned
    return kind(variables, architecture_of(options, num_actions(params)), greedy, options.inputs)


def heuristics(scenario: Scenario) -> Mapping[str, Policy]:
    """The policies that need no training, by name: ``latency``, ``cost_aware``, ``random``.

    Args:
      scenario: whose tools they choose among.

    Returns:
      Policies by name, in this order.
    """
    tools = jax.device_put(np.asarray(scenario.tools))
    return {policy.name: policy for policy in (Latency(tools), CostAware(tools), Random())}
