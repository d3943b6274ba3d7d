"""Learning from logged episodes in PyTorch: imitation, fitted Q and CQL as `aljax.offline.learn` has them.

What a careful version looks like. An algorithm's networks are one batch of matrices, so that a layer of all of them is
one kernel; the policies of several seeds, if there are several, lie in the same batch. Minibatches are gathered many
updates at a time, and what does not depend on the weights is computed then; targets record no gradients; Adam is the
fused one, whose step takes less than half the time of the others here; nothing waits for a number until the end.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from aljax.env import EnvParams
from aljax.offline.data import Episodes
from aljax.options import LearnConfig, LearnHyperparameters

from rivals.common import make_network, observation_size

NETS = {"imitation": ("policy",), "fitted_q": ("policy", "q", "logger"), "cql": ("q",)}
"""The algorithms that are here, and their networks in aljax's order."""
_TOGETHER = 100  # updates whose minibatches are gathered at once
_SPREAD_OVER, _MOST_PENALTY = 100.0, 3.0  # as in `aljax.offline.learn`


@dataclasses.dataclass(frozen=True)
class Logged:
    """A data set in tensors, which share the arrays' memory."""

    seen: torch.Tensor
    """``[N, T O]``"""
    action: torch.Tensor
    """``[N, T]``"""
    costs: torch.Tensor
    """``[N, T, 5]``"""
    alive: torch.Tensor
    """``[N, T]``"""

    @staticmethod
    def of(episodes: Episodes) -> "Logged":
        """Takes episodes as NumPy arrays."""
        seen, action, costs, alive = (
            torch.from_numpy(np.ascontiguousarray(array))
            for array in (episodes.observation, episodes.action, episodes.costs, episodes.alive)
        )
        return Logged(seen.flatten(1), action, costs, alive)


class Networks:
    """Networks of one hidden layer and one shape, in four tensors with a leading axis of seeds times networks."""

    def __init__(self, layers: Sequence[torch.Tensor], seeds: int) -> None:
        """Takes hidden and output layers' weights ``[K, I, O]`` and biases ``[K, 1, O]``, and how many seeds K has."""
        self.layers = [layer.clone().requires_grad_() for layer in layers]
        self.seeds, self.each = seeds, len(layers[0]) // seeds

    def slow(self, which: int) -> tuple["Networks", list[torch.Tensor]]:
        """One network of each seed apart, and views of the weights that it was copied from."""
        views = [layer.detach().unflatten(0, (self.seeds, self.each))[:, which] for layer in self.layers]
        return Networks([view.detach() for view in views], self.seeds), views

    def __call__(self, seen: torch.Tensor) -> torch.Tensor:
        """Maps ``[S, M, O]`` to ``[S, networks, M, A]``."""
        W1, b1, W2, b2 = self.layers
        x = seen if self.each == 1 else seen.unsqueeze(1).expand(-1, self.each, -1, -1).flatten(0, 1)
        return torch.baddbmm(b2, torch.tanh(torch.baddbmm(b1, x, W1)), W2).unflatten(0, (self.seeds, self.each))


class Batch(NamedTuple):
    """A minibatch of every seed; M is its episodes times steps."""

    seen: torch.Tensor
    """``[S, M, O]``"""
    action: torch.Tensor
    """Integer ``[S, M, 1]``"""
    weight: torch.Tensor
    """Of each step in means over those alive. ``[S, M]``"""
    fixed: torch.Tensor
    """The part of a step's target that no network says. ``[S, B, T]``"""
    follows: torch.Tensor
    """Whether there is a next step. ``[S, B, T - 1]``"""


class Learned(NamedTuple):
    """What training gave."""

    layers: list[np.ndarray]
    """Of every seed's policy, as aljax has them: weights ``[S, I, O]`` and biases ``[S, O]``, layer by layer."""
    losses: np.ndarray
    """``[S, updates]``"""


def first_layers(params: EnvParams, config: LearnConfig, seeds: Sequence[int]) -> list[torch.Tensor]:
    """First weights of all networks of all seeds, drawn as aljax draws its own."""
    found = []
    for seed in seeds:
        torch.manual_seed(seed)
        for _ in NETS[config.algorithm]:
            network = make_network(observation_size(params), config.hidden, params.actions.latency.size)
            hidden, last = network[0], network[2]
            found.append([hidden.weight.T, hidden.bias[None], last.weight.T, last.bias[None]])
    return [torch.stack(each).detach() for each in zip(*found, strict=True)]


def train(
    params: EnvParams,
    logged: Logged,
    config: LearnConfig,
    hyper: LearnHyperparameters,
    *,
    seeds: Sequence[int],
    layers: Sequence[torch.Tensor] | None = None,
    rows: torch.Tensor | None = None,
) -> Learned:
    """Learns one policy a seed, all in the same kernels.

    Args:
      params: the environment, leaves as NumPy arrays.
      logged: the data set.
      config: shape of learning; one hidden layer.
      hyper: its numbers.
      seeds: of first weights and draws.
      layers: first weights, in place of those of `first_layers`.
      rows: the episodes of each minibatch, integer ``[updates, S, B]``, in place of drawn ones.

    Returns:
      The policies and what they minimised.

    Raises:
      ValueError: an algorithm or a shape that is not here.
    """
    if config.algorithm not in NETS or len(config.hidden) != 1:
        raise ValueError(f"here are {', '.join(NETS)}, with one hidden layer; got {config}")
    names, S = NETS[config.algorithm], len(seeds)
    if layers is None:
        layers = first_layers(params, config, seeds)
    if rows is None:
        torch.manual_seed(seeds[0])
        rows = torch.randint(len(logged.action), (config.updates, S, config.minibatch))
    networks = Networks(layers, S)
    slow, fast = networks.slow(names.index("q")) if "q" in names else (None, [])
    mask = None if params.actions.allowed.all() else torch.from_numpy(~params.actions.allowed)
    costs = logged.costs @ torch.from_numpy(params.weights)
    offset, scale = frame(costs, logged.alive)
    steps = float(logged.alive.sum())
    loss_of = _Loss(config.algorithm, hyper, mask, steps)
    optimiser = torch.optim.Adam(networks.layers, lr=float(hyper.step_size), fused=True)
    rates = [float(hyper.step_size) * falling(update / config.updates) for update in range(config.updates)]
    target_rate, losses = float(hyper.target_rate), []
    for rate, batch in zip(rates, _batches(logged, costs, offset, scale, rows), strict=True):
        loss = loss_of(networks, slow, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.sum().backward()  # seeds have no weights in common
        optimiser.param_groups[0]["lr"] = rate
        optimiser.step()
        if slow is not None:
            with torch.no_grad():
                torch._foreach_lerp_(slow.layers, fast, target_rate)
        losses.append(loss.detach())

    which = names.index("policy") if "policy" in names else 0
    found = [layer.detach().unflatten(0, (S, len(names)))[:, which].clone() for layer in networks.layers]
    if "policy" not in names:
        found[2:] = [-layer for layer in found[2:]]  # logits: the negative costs
    kernels_and_biases = [layer.squeeze(1) if odd else layer for odd, layer in zip((0, 1, 0, 1), found, strict=True)]
    return Learned([layer.numpy() for layer in kernels_and_biases], torch.stack(losses, 1).numpy())


def falling(done: float) -> float:
    """The cosine fall of the step size to a fiftieth."""
    return 0.02 + 0.98 * 0.5 * (1.0 - math.cos(math.pi * (1.0 - done)))


def frame(costs: torch.Tensor, alive: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean costs to go at each step ``[T]`` and their standard deviation around it."""
    togo = torch.where(alive, costs.flip(1).cumsum(1).flip(1), 0.0)
    offset = togo.sum(0) / alive.sum(0).clamp_min(1)
    spread = torch.where(alive, (togo - offset) ** 2, 0.0).sum() / alive.sum().clamp_min(1)
    return offset, spread.sqrt() + 1e-3


def _batches(
    logged: Logged, costs: torch.Tensor, offset: torch.Tensor, scale: torch.Tensor, rows: torch.Tensor
) -> Iterator[Batch]:
    """Minibatch after minibatch, gathered many at a time."""
    T = logged.action.shape[1]
    for some in rows.split(_TOGETHER):
        flat, shape = some.flatten(), some.shape
        seen = logged.seen[flat].unflatten(1, (T, -1)).unflatten(0, shape).flatten(2, 3)
        action = logged.action[flat].long().unflatten(0, shape).flatten(2).unsqueeze(-1)
        alive = logged.alive[flat].unflatten(0, shape).float()
        weight = (alive / alive.sum((2, 3), keepdim=True).clamp_min(1.0)).flatten(2)
        follows = alive[..., 1:]
        fixed = (costs[flat].unflatten(0, shape) - offset) / scale
        fixed[..., :-1] += follows * (offset[1:] / scale)
        yield from map(Batch, *(tensor.unbind(0) for tensor in (seen, action, weight, fixed, follows)))


@dataclasses.dataclass(frozen=True)
class _Loss:
    """An algorithm's loss, one number a seed."""

    algorithm: str
    hyper: LearnHyperparameters
    mask: torch.Tensor | None
    """Rows that are not allowed; None: all are."""
    steps: float
    """Logged steps in all."""

    def __call__(self, networks: Networks, slow: Networks | None, batch: Batch) -> torch.Tensor:
        """Of a minibatch ``[S]``."""
        out = networks(batch.seen)
        if self.algorithm == "imitation":
            log_policy = torch.log_softmax(self._masked(out[:, 0]), -1)
            return -(batch.weight * chosen(log_policy, batch.action)).sum(1)
        assert slow is not None
        if self.algorithm == "cql":
            return self._cql(out[:, 0], slow, batch)
        return self._fitted_q(out, slow, batch)

    def _cql(self, q: torch.Tensor, slow: Networks, batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            greedy = self._masked(-q).argmax(-1, keepdim=True)
            aim = bootstrapped(chosen(slow(batch.seen)[:, 0], greedy), batch)
        logged = chosen(q, batch.action)
        push = torch.logsumexp(self._masked(-q), -1) + logged
        much = float(self.hyper.pessimism) * math.sqrt(_SPREAD_OVER / self.steps)
        return (batch.weight * ((logged - aim) ** 2 + much * push)).sum(1)

    def _fitted_q(self, out: torch.Tensor, slow: Networks, batch: Batch) -> torch.Tensor:
        q, logs = out[:, 1], torch.log_softmax(self._masked(out[:, ::2]), -1)  # of policy and logger
        with torch.no_grad():
            share = logs[:, 1].exp()
            penalty = float(self.hyper.pessimism) * torch.rsqrt(share * (self.steps / _SPREAD_OVER) + 1e-6)
            greedy = self._masked(-(q + penalty)).argmax(-1, keepdim=True)
            following = chosen(slow(batch.seen)[:, 0], greedy) + chosen(penalty, greedy).clamp_max(_MOST_PENALTY)
            aim = bootstrapped(following, batch)
        likely = chosen(logs, torch.stack([greedy, batch.action], 1)).sum(1)
        return (batch.weight * ((chosen(q, batch.action) - aim) ** 2 - likely)).sum(1)

    def _masked(self, logits: torch.Tensor) -> torch.Tensor:
        return logits if self.mask is None else logits.masked_fill(self.mask, -torch.inf)


def chosen(values: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """Of values ``[..., A]``, those of actions ``[..., 1]``."""
    return values.gather(-1, action).squeeze(-1)


def bootstrapped(following: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Targets in the frame, from estimates at each step in the frame ``[S, M]``."""
    aim = batch.fixed.clone()
    aim[..., :-1] += batch.follows * following.unflatten(1, aim.shape[1:])[..., 1:]
    return aim.flatten(1)
