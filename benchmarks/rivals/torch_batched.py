"""REINFORCE in PyTorch, episodes side by side in tensors: what a second, careful version looks like.

All chance of a batch is drawn at once, the episodes play without recording gradients, the table's columns are
gathered in one look-up a step, and the loss is one pass of the network over all steps. With `stacked` the seeds are
a further leading axis of everything, the weights too, so that all of them train in the same kernels. Everything is on
PyTorch's default device.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from aljax.env import EnvParams
from aljax.options import Hyperparameters, TrainConfig

from rivals.bounds import check_plain, limit
from rivals.common import (
    Critic,
    advantages_of,
    check,
    leave_one_out,
    make_network,
    observation_size,
    remaining,
    schedule,
)
from rivals.result import Run


class Environment:
    """Episodes in tensors of leading axes `shape`; the same transition as `aljax.env`."""

    def __init__(self, params: EnvParams, shape: tuple[int, ...]) -> None:
        """Takes parameters whose leaves are NumPy arrays."""
        check_plain(params)
        table = params.actions
        self.shape, self.d, self.actions = shape, params.drift.size, table.latency.size
        self.misreads, self.noisy = bool(params.misread.any()), bool(table.noise.any())
        self.closes = bool(table.ends.any())
        columns = (table.latency, table.money, table.failure, table.noise)
        flags = (table.ends, table.resolves, table.reveals, ~table.allowed)
        numbers = np.concatenate([np.stack((*columns, *flags), 1), table.gain, table.shift], 1)
        self.table = torch.as_tensor(numbers.astype(np.float32))
        self.drift = torch.as_tensor(params.drift)
        self.start_low = torch.as_tensor(params.start_low)
        self.start_span = torch.as_tensor(params.start_high - params.start_low)
        self.misread_scale = torch.as_tensor(params.misread)
        self.tolerance, self.widest = torch.as_tensor(params.tolerance), torch.as_tensor(limit(params.tolerance))
        self.z_scale = torch.as_tensor(params.z_scale)
        self.horizon = int(params.horizon)
        budgets = np.stack([params.latency_budget, params.money_budget])
        self.budgets, self.dearest = torch.as_tensor(budgets), torch.as_tensor(limit(budgets))
        self.budgeted = np.isfinite(budgets).any()
        self.spent_scale = torch.tensor([float(params.latency_scale), float(params.money_scale)])

    def begin(self, uniform: torch.Tensor, normal: torch.Tensor | None) -> torch.Tensor:
        """Starts all episodes; `uniform` and `normal` are ``[*shape, d]``. Returns the observation."""
        self.z = self.start_low + self.start_span * uniform
        self.misread = None if normal is None else self.misread_scale * normal
        self.spent = torch.zeros(*self.shape, 2)
        self.time = torch.zeros(*self.shape)
        self.done = torch.zeros(self.shape, dtype=torch.bool)
        self.success = torch.zeros(self.shape, dtype=torch.bool)
        return self.observe()

    def step(
        self, action: torch.Tensor, u: torch.Tensor, epsilon: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Plays rows ``[*shape]``; returns the observation and the five unweighted costs ``[*shape, 5]``."""
        d, row = self.d, self.table[action]
        spent, (failure, noise) = row[..., :2], row[..., 2:4].unbind(-1)
        ends, resolves, reveals, refused = row[..., 4:8].bool().unbind(-1)
        failed = (u < failure) | refused
        worked = row[..., 8 : 8 + d] * self.z + row[..., 8 + d :]
        succeeded = worked + self.drift
        if epsilon is not None:
            succeeded = succeeded + noise.unsqueeze(-1) * epsilon
        planned = worked
        if self.closes:
            closed = torch.where(resolves.unsqueeze(-1), 0.0, self.z)
            planned = torch.where((ends | resolves).unsqueeze(-1), closed, worked)
            succeeded = torch.where(ends.unsqueeze(-1), closed, succeeded)
        z = torch.where(failed.unsqueeze(-1), self.z + self.drift, succeeded)
        time = self.time + 1
        total = self.spent + spent
        size = z.abs()
        excess = torch.where(size > self.widest, size - self.tolerance, 0.0).sum(-1)
        if self.budgeted:
            overrun = torch.where(total > self.dearest, total - self.budgets, 0.0)
            excess = excess + (overrun / self.budgets).sum(-1)
        solved = excess == 0.0
        done = solved | (ends & ~failed) | (time >= self.horizon)
        divergence = torch.linalg.vector_norm(planned - z, dim=-1)
        rest = torch.stack([torch.where(done, excess, 0.0), failed.float(), divergence], -1)
        costs = torch.cat([spent, rest], -1)

        # A finished episode absorbs.
        was, wide = self.done, self.done.unsqueeze(-1)
        self.success = torch.where(was, self.success, solved)
        self.z = torch.where(wide, self.z, z)
        if self.misread is not None:
            cleared = (reveals & ~failed & ~was).unsqueeze(-1)
            self.misread = self.misread.masked_fill(cleared, 0.0)
        self.spent = torch.where(wide, self.spent, total)
        self.time = torch.where(was, self.time, time)
        self.done = was | done
        return self.observe(), costs.masked_fill(wide, 0.0)

    def observe(self) -> torch.Tensor:
        """What the policy sees, ``[*shape, 2 d + 3]``."""
        seen = self.z if self.misread is None else self.z + self.misread
        beyond = (seen.abs() > self.widest).float()
        time = (self.time / self.horizon).unsqueeze(-1)
        return torch.cat([seen / self.z_scale, self.spent / self.spent_scale, beyond, time], -1)


class Stacked(nn.Module):
    """Several networks of one shape as one: every weight has a leading seed axis."""

    def __init__(self, networks: Sequence[nn.Sequential]) -> None:
        """Copies the networks' weights."""
        super().__init__()
        layers = [[layer for layer in network if isinstance(layer, nn.Linear)] for network in networks]
        same = list(zip(*layers, strict=True))
        self.weights = nn.ParameterList(torch.stack([layer.weight.data.T for layer in each]) for each in same)
        self.biases = nn.ParameterList(torch.stack([layer.bias.data for layer in each]).unsqueeze(1) for each in same)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[S, N, I]`` to ``[S, N, outputs]``."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer < last:
                x = torch.tanh(x)
        return x


def train(
    params: EnvParams, config: TrainConfig, hyper: Hyperparameters, *, seeds: Sequence[int], stacked: bool = False
) -> list[Run]:
    """Trains one policy a seed.

    Args:
      params: the environment, leaves as NumPy arrays.
      config: shape of the runs.
      hyper: their numbers.
      seeds: of all that is random.
      stacked: train the seeds side by side rather than one after the other.

    Returns:
      A learning curve a seed.
    """
    check(config)
    if stacked:
        return _train(params, config, hyper, seeds[0], len(seeds))
    return [_train(params, config, hyper, seed, None)[0] for seed in seeds]


def _train(params: EnvParams, config: TrainConfig, hyper: Hyperparameters, seed: int, stack: int | None) -> list[Run]:
    """Trains one policy, or a `stack` of them on a leading axis; axes below are ``[S]`` of 1 and then B, or of S."""
    torch.manual_seed(seed)
    lead = () if stack is None else (stack,)
    shape = (*lead, config.batch)
    env = Environment(params, shape)

    def fresh(outputs: int) -> nn.Module:
        sizes = observation_size(params), config.hidden, outputs
        return make_network(*sizes) if stack is None else Stacked([make_network(*sizes) for _ in range(stack)])

    network = fresh(env.actions)
    parameters = list(network.parameters())
    optimiser = torch.optim.Adam(parameters, lr=float(hyper.learning_rate), fused=True)
    scheduler = schedule(config, hyper, optimiser)
    weights = torch.as_tensor(params.weights)
    mask = None if params.actions.allowed.all() else torch.as_tensor(~params.actions.allowed)
    critic = (
        Critic(fresh(1), config, hyper, (*lead, env.horizon, config.batch)) if config.baseline == "critic" else None
    )
    T, clip = env.horizon, float(hyper.clip_norm)
    costs_curve, success_curve, played = [], [], torch.zeros(lead)

    def logits_of(observation: torch.Tensor) -> torch.Tensor:
        logits = network(observation)
        return logits if mask is None else logits.masked_fill(mask, -torch.inf)

    for update in range(config.updates):
        with torch.no_grad():
            normal = torch.randn(*shape, env.d) if env.misreads else None
            observation = env.begin(torch.rand(*shape, env.d), normal)
            luck = torch.rand(T, *shape)
            noise = torch.randn(T, *shape, env.d) if env.noisy else [None] * T
            gumbel = -torch.empty(T, *shape, env.actions).exponential_().log()
            steps = []
            for t in range(T):
                action = (logits_of(observation) + gumbel[t]).argmax(-1)
                alive = ~env.done
                after, costs = env.step(action, luck[t], noise[t])
                steps.append((observation, action, costs, alive))
                observation = after
            seen, chosen, costs, alive = (torch.stack(each, len(lead)) for each in zip(*steps, strict=True))
            step_costs = costs @ weights  # [*lead, T, B]
            togo = step_costs.flip(-2).cumsum(-2).flip(-2)

        seen = seen.flatten(-3, -2)
        returns, baseline = (togo, leave_one_out(togo, alive)) if critic is None else critic.learn(seen, togo, alive)
        advantages = advantages_of(returns, baseline, alive)
        log_probabilities = torch.log_softmax(logits_of(seen), -1)
        scores = log_probabilities.gather(-1, chosen.flatten(-2).unsqueeze(-1)).squeeze(-1)
        loss = (scores * advantages.flatten(-2)).sum()
        bonus = float(hyper.entropy) * remaining(config, update)
        if bonus > 0:
            finite = log_probabilities if mask is None else log_probabilities.masked_fill(mask, 0.0)
            entropies = -(log_probabilities.exp() * finite).sum(-1)
            loss = loss - bonus * torch.where(alive.flatten(-2), entropies, 0.0).sum()
        loss = loss / config.batch
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if stack is None:
            nn.utils.clip_grad_norm_(parameters, clip)
        else:
            with torch.no_grad():
                gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
                norm = torch.stack([(gradient**2).sum((1, 2)) for gradient in gradients]).sum(0).sqrt()
                shrink = (clip / norm.clamp_min(1e-12)).clamp_max(1.0).reshape(-1, 1, 1)
                for gradient in gradients:
                    gradient.mul_(shrink)
        optimiser.step()
        scheduler.step()
        costs_curve.append(togo[..., 0, :].mean(-1))
        success_curve.append(env.success.float().mean(-1))
        played += alive.sum((-1, -2))

    cost, success = (
        torch.stack(curve, -1).reshape(-1, config.updates).cpu().numpy() for curve in (costs_curve, success_curve)
    )
    return [Run(*each) for each in zip(cost, success, played.reshape(-1).int().tolist(), strict=True)]
