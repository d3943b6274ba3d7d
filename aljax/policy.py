"""Policies: learned, heuristic or exact, all one kind of value.

A `Policy` is a pytree whose leaves are traced (a network's weights, which rows are tools), so it passes through
``jax.jit`` and ``jax.vmap`` like any array. It sees observations only. Whatever rolls out, evaluates or plots
takes any of them: log-probabilities of the rows are all that it asks.

As in `aljax.env`, shapes are written for one episode and every function takes trailing batch axes as well.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, dataclass_transform

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from aljax.chance import uniform
from aljax.env import EnvParams, num_actions, num_coordinates, observation_size
from aljax.keys import one_key
from aljax.scenario import Scenario

Variables = Any
"""A Flax tree of weights."""

P = TypeVar("P", bound="Policy")


class Policy:
    """What chooses actions. Subclasses are frozen dataclasses registered as pytrees."""

    name: ClassVar[str]
    """The key under which tables and files show it."""

    def begin(self, params: EnvParams, observation: jax.Array) -> Any:
        """What the policy remembers at the start of an episode, given its first observation; nothing by default."""
        del params, observation
        return ()

    def logits(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """Unnormalised log-probabilities of the rows, −inf where a row is never chosen.

        Args:
          params: the environment.
          observation: what the policy sees, ``[O]``.
          memory: what it remembers.

        Returns:
          ``[A]``.
        """
        raise NotImplementedError

    def remember(self, params: EnvParams, memory: Any, action: jax.Array, observation: jax.Array) -> Any:
        """The memory after playing `action` and seeing the next `observation`."""
        del params, action, observation
        return memory


@dataclass_transform(frozen_default=True)
def _policy(cls: type[P]) -> type[P]:
    """Makes a class a frozen dataclass and a pytree."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


def only(choice: jax.Array, actions: int) -> jax.Array:
    """The logits ``[A]`` of a policy that surely plays `choice`."""
    rows = jnp.arange(actions, dtype=choice.dtype).reshape((actions,) + (1,) * choice.ndim)
    return jnp.where(rows == choice, 0.0, -jnp.inf)


def masked(logits: jax.Array, params: EnvParams) -> jax.Array:
    """Logits ``[A]`` with −inf at the rows that are not allowed."""
    allowed = params.actions.allowed
    return jnp.where(allowed.reshape(allowed.shape + (1,) * (logits.ndim - 1)), logits, -jnp.inf)


def candidates(tools: jax.Array, params: EnvParams) -> jax.Array:
    """The allowed tools, or, where a table has none, all allowed rows. Boolean ``[A]``"""
    allowed = params.actions.allowed & tools
    return jnp.where(jnp.any(allowed), allowed, params.actions.allowed)


@_policy
class Latency(Policy):
    """The allowed tool of least latency; the first of several that are equal (paper, section 4.2).

    After a failure the paper's rule retries the same tool at most once and then applies afresh. Latencies do not
    change in an episode, so the rule applied afresh names that same tool, and no memory is needed.
    """

    tools: jax.Array
    """Which rows are tools. Boolean ``[A]``"""
    name: ClassVar[str] = "latency"

    def logits(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        del memory
        latency = jnp.where(candidates(self.tools, params), params.actions.latency, jnp.inf)
        return only(jnp.broadcast_to(jnp.argmin(latency), observation.shape[1:]), num_actions(params))


@_policy
class CostAware(Policy):
    """The allowed tool of least expected immediate cost Σ λ_k E[C_k], the first of several that are equal.

    Myopic: the violation, which is charged at the end, is left out. The divergence is taken in expectation over
    failure: p ‖ẑ' − z − drift‖ + (1 − p) ‖(drift, noise)‖, where noise enters by its root mean square.
    """

    tools: jax.Array
    """Which rows are tools. Boolean ``[A]``"""
    name: ClassVar[str] = "cost_aware"

    def logits(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        del memory
        cost = expected_immediate_cost(params, observation)
        choosable = candidates(self.tools, params)
        cost = jnp.where(choosable.reshape((-1,) + (1,) * (cost.ndim - 1)), cost, jnp.inf)
        return only(jnp.argmin(cost, axis=0), num_actions(params))


def expected_immediate_cost(params: EnvParams, observation: jax.Array) -> jax.Array:
    """Σ λ_k E[C_k] of playing each row now, the violation left out; see `CostAware`. ``[A]``"""
    table, d, actions = params.actions, num_coordinates(params), num_actions(params)
    ndim = observation.ndim - 1

    def lift(values: jax.Array) -> jax.Array:
        return values.reshape(values.shape + (1,) * ndim)

    z = observation[:d] * lift(params.z_scale)
    last_failed = observation[-actions:] > 0.5
    failure = jnp.where(last_failed, lift(table.retry_failure), lift(table.failure))
    worked = lift(table.gain) * z + lift(table.shift)  # [A, d]
    planned = jnp.where(lift(table.ends)[:, None], z, worked)
    planned = jnp.where(lift(table.resolves)[:, None], 0.0, planned)
    if_failed = jnp.linalg.norm(planned - z - lift(params.drift), axis=1)
    scatter = jnp.sqrt(jnp.sum(params.drift**2) + d * table.noise**2)
    if_worked = lift(jnp.where(table.ends, 0.0, scatter))
    weights = params.weights
    fixed = lift(weights[0] * table.latency + weights[1] * table.money)
    return fixed + weights[3] * failure + weights[4] * (failure * if_failed + (1 - failure) * if_worked)


@_policy
class OneOf(Policy):
    """One of several policies that remember nothing, by its number: all of them then play in one program."""

    policies: tuple[Policy, ...]
    """To choose from."""
    number: jax.Array
    """Which. Integer scalar"""
    name: ClassVar[str] = "one_of"

    def logits(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        found = [policy.logits(params, observation, memory) for policy in self.policies]
        return jax.lax.select_n(jnp.broadcast_to(self.number, found[0].shape), *found)


@_policy
class Random(Policy):
    """Uniform over the allowed rows."""

    name: ClassVar[str] = "random"

    def logits(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        del memory
        return masked(jnp.zeros((num_actions(params), *observation.shape[1:])), params)


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

    def logits(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        pairs = zip(self.policies, memory, strict=True)
        found = [jax.nn.softmax(policy.logits(params, observation, own), axis=0) for policy, own in pairs]
        return jnp.log(jnp.tensordot(self.weights, jnp.stack(found), 1, precision="highest"))

    def remember(self, params: EnvParams, memory: Any, action: jax.Array, observation: jax.Array) -> Any:
        """See `Policy.remember`."""
        pairs = zip(self.policies, memory, strict=True)
        return tuple(policy.remember(params, own, action, observation) for policy, own in pairs)


HEURISTICS = (Latency, CostAware, Random)
"""Policies that need no training, and remember nothing."""


class Dense(nn.Module):
    """`flax.linen.Dense` for inputs whose features are the *first* axis: nothing is transposed on the way."""

    features: int
    """Numbers that it returns."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[I, ...]`` to ``[features, ...]``."""
        kernel = self.param("kernel", nn.initializers.zeros, (x.shape[0], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return jnp.tensordot(kernel, x, (0, 0)) + bias.reshape(bias.shape + (1,) * (x.ndim - 1))


class Network(nn.Module):
    """A feed-forward network: tanh layers and an output layer. `init_network` draws its first weights."""

    hidden: tuple[int, ...]
    """Units a hidden layer."""
    outputs: int
    """Numbers that it returns."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[I, ...]`` to ``[outputs, ...]``."""
        for units in self.hidden:
            x = nn.tanh(Dense(units)(x))
        return Dense(self.outputs)(x)


@_policy
class Learned(Policy):
    """A Flax network from the observation to a categorical distribution over the rows."""

    variables: Variables
    """The network's weights."""
    network: Network = dataclasses.field(metadata={"static": True})
    """Its shape; two that are equal share one compilation."""
    greedy: bool = dataclasses.field(default=True, metadata={"static": True})
    """Play the likeliest row (evaluation) or sample (training)."""
    name: ClassVar[str] = "learned"

    def logits(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        del memory
        logits = masked(apply_network(self.network, self.variables, observation), params)
        return only(jnp.argmax(logits, axis=0), num_actions(params)) if self.greedy else logits


def apply_network(network: Network, variables: Variables, observation: jax.Array) -> jax.Array:
    """Runs a network on observations ``[I, ...]``, giving ``[outputs, ...]``."""
    output: Any = network.apply(variables, observation)
    return output


def init_network(key: jax.Array, params: EnvParams, hidden: tuple[int, ...], outputs: int) -> tuple[Network, Variables]:
    """A network on this environment's observations, and its first weights.

    Weights start uniform with standard deviation scale / √fan-in. The first layer starts wide (scale 3, biases uniform
    on [−2, 2]), its units' bends spread over the observations; the output layer starts near 0 (scale 0.01). Measured
    (studies/gap.py) to come nearer to the optimum than a first layer that starts narrow; presumably because what is
    best to do changes at sharp thresholds: one call fewer is needed, the deadline passes.
    """
    key, network = one_key(key), Network(hidden, outputs)
    shapes = jax.eval_shape(network.init, key, jnp.zeros(observation_size(params)))
    leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
    # All numbers in one draw: Flax's key a weight takes several times as long to compile.
    numbers = uniform(key, (sum(leaf.size for _, leaf in leaves),), -1.0, 1.0)
    weights, used = [], 0
    for path, leaf in leaves:
        layer, kind = path[-2].key, path[-1].key
        first, last = layer == "Dense_0" and hidden, layer == f"Dense_{len(hidden)}"
        bound = 2.0 if first else 0.0
        if kind == "kernel":
            bound = (3.0 if first else 0.01 if last else 1.0) * (3.0 / leaf.shape[0]) ** 0.5
        weights.append(bound * numbers[used : used + leaf.size].reshape(leaf.shape))
        used += leaf.size
    return network, tree.unflatten(weights)


def heuristics(scenario: Scenario) -> Mapping[str, Policy]:
    """The policies that need no training, by name: ``latency``, ``cost_aware``, ``random``."""
    tools = jax.device_put(np.asarray(scenario.tools))
    return {policy.name: policy for policy in (Latency(tools), CostAware(tools), Random())}
