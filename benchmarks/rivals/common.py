"""What both PyTorch rivals share: the network, the critic, the learning-rate schedule."""

import math

import torch
from torch import nn

from aljax.env import EnvParams
from aljax.options import Hyperparameters, TrainConfig


def check(config: TrainConfig) -> None:
    """Refuses what the rivals do not implement.

    Raises:
      ValueError: another baseline or schedule, or advantages that are not normalised.
    """
    if config.baseline not in ("leave_one_out", "critic") or config.schedule != "cosine" or not config.normalise:
        raise ValueError(f"the rivals know leave_one_out and critic, cosine, normalised advantages; got {config}")


def make_network(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Tanh layers, the first wide, and an output layer that starts near 0; drawn as aljax draws its own."""
    layers: list[nn.Module] = []
    for depth, units in enumerate(hidden):
        layers += [_dense(inputs, units, 3.0, 2.0) if depth == 0 else _dense(inputs, units, 1.0), nn.Tanh()]
        inputs = units
    return nn.Sequential(*layers, _dense(inputs, outputs, 0.01))


def _dense(inputs: int, outputs: int, scale: float, bias: float = 0.0) -> nn.Linear:
    """A layer with uniform weights of standard deviation scale / √inputs and uniform biases up to `bias`."""
    layer = nn.Linear(inputs, outputs)
    bound = scale * math.sqrt(3.0 / inputs)
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.uniform_(layer.bias, -bias, bias)
    return layer


def schedule(
    config: TrainConfig, hyper: Hyperparameters, optimiser: torch.optim.Optimizer
) -> torch.optim.lr_scheduler.LambdaLR:
    """The cosine fall of the learning rate from its first value to `learning_rate_end` times that."""
    end = float(hyper.learning_rate_end)

    def share(update: int) -> float:
        return end + (1.0 - end) * 0.5 * (1.0 - math.cos(math.pi * remaining(config, update)))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def remaining(config: TrainConfig, update: int) -> float:
    """Share of the run that is left at an update."""
    return 1.0 - update / config.updates


def leave_one_out(togo: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """The mean over the batch's other episodes at the same step. All ``[..., T, B]``, 0 where nobody else is."""
    count = alive.sum(-1, keepdim=True)
    total = togo.sum(-1, keepdim=True)  # nothing is left to pay where an episode is over
    return torch.where(count > 1, (total - togo) / (count - 1).clamp_min(1), 0.0)


def advantages_of(togo: torch.Tensor, baseline: torch.Tensor, alive: torch.Tensor) -> torch.Tensor:
    """Costs to go less the baseline, over their root mean square; 0 where not alive. All ``[..., T, B]``."""
    advantages = torch.where(alive, togo - baseline, 0.0)
    square = (advantages**2).sum((-1, -2), keepdim=True) / alive.sum((-1, -2), keepdim=True)
    return advantages / torch.sqrt(square + 1e-8)


def lambda_returns(togo: torch.Tensor, values: torch.Tensor, alive: torch.Tensor, trace: float) -> torch.Tensor:
    """R_t = c_t + (1 − λ) V_{t+1} + λ R_{t+1}, from plain costs to go. All ``[..., T, B]``"""
    costs = togo - torch.cat([togo[..., 1:, :], torch.zeros_like(togo[..., :1, :])], -2)
    following = torch.where(alive, values, 0.0)
    found, onward, value = [], torch.zeros_like(togo[..., 0, :]), torch.zeros_like(togo[..., 0, :])
    for t in range(togo.shape[-2] - 1, -1, -1):
        onward = costs[..., t, :] + (1.0 - trace) * value + trace * onward
        value = following[..., t, :]
        found.append(onward)
    return torch.stack(found[::-1], -2)


class Critic:
    """A learned baseline in aljax's frame: relative to the running mean of each step, in units of their spread."""

    def __init__(self, network: nn.Module, config: TrainConfig, hyper: Hyperparameters, shape: tuple[int, ...]) -> None:
        """`shape` is ``[..., T, B]``; the network maps observations ``[..., T B, O]`` to ``[..., T B, 1]``."""
        self.network, self.shape, self.decay = network, shape, float(hyper.running_decay)
        self.config, self.trace, self.updates = config, float(hyper.trace), 0
        self.optimiser = torch.optim.Adam(network.parameters(), lr=float(hyper.critic_learning_rate))
        self.scheduler = schedule(config, hyper, self.optimiser)
        self.mean, self.square, self.weight = torch.zeros(*shape[:-1], 1), torch.zeros(*shape[:-2], 1, 1), 0.0

    def learn(self, seen: torch.Tensor, togo: torch.Tensor, alive: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Estimates a batch's costs to go ``[..., T, B]``, then learns from the batch: λ-returns and estimates."""
        weight = max(self.weight, 1e-8)
        offset, scale = self.mean / weight, torch.sqrt(self.square / weight) + 1e-3
        output = self.network(seen).squeeze(-1).unflatten(-1, self.shape[-2:])
        values = offset + scale * output.detach()
        trace = 1.0 - (1.0 - self.trace) * remaining(self.config, self.updates)
        returns = lambda_returns(togo, values, alive, trace)
        error = output - (returns - offset) / scale
        steps = alive.sum((-1, -2))
        loss = (torch.where(alive, error**2, 0.0).sum((-1, -2)) / steps).sum()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.scheduler.step()

        mean = togo.sum(-1, keepdim=True) / alive.sum(-1, keepdim=True).clamp_min(1)
        square = torch.where(alive, (togo - mean) ** 2, 0.0).sum((-1, -2), keepdim=True) / steps[..., None, None]
        self.mean = self.decay * self.mean + (1 - self.decay) * mean
        self.square = self.decay * self.square + (1 - self.decay) * square
        self.weight = self.decay * self.weight + (1 - self.decay)
        self.updates += 1
        return returns, values


def observation_size(params: EnvParams) -> int:
    """2 d + 3, of parameters whose leaves are NumPy arrays."""
    return 2 * params.drift.size + 3
