"""REINFORCE in PyTorch, one episode after the other: the environment in Python numbers, as most people start.

The loop is that of PyTorch's own REINFORCE example: a small network, a `Categorical`, the log-probabilities of the
chosen actions kept until the update. What need not be slow is not: the environment works on Python floats, which
beat NumPy on four coordinates, and checks of the distribution's arguments are off.
"""

import math
import random

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

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
    """One episode in Python numbers; the same transition as `aljax.env`."""

    def __init__(self, params: EnvParams, rng: random.Random) -> None:
        """Takes parameters whose leaves are NumPy arrays."""
        table = params.actions
        self.rng = rng
        check_plain(params)
        self.rows = list(
            zip(
                table.latency.tolist(),
                table.money.tolist(),
                table.failure.tolist(),
                table.gain.tolist(),
                table.shift.tolist(),
                table.noise.tolist(),
                table.ends.tolist(),
                table.resolves.tolist(),
                table.reveals.tolist(),
                table.allowed.tolist(),
                strict=True,
            )
        )
        self.drift: list[float] = params.drift.tolist()
        self.start = list(zip(params.start_low.tolist(), params.start_high.tolist(), strict=True))
        self.misread_scale: list[float] = params.misread.tolist()
        self.misreads = any(self.misread_scale)
        self.tolerance: list[tuple[float, float]] = [(x, float(limit(x))) for x in params.tolerance.tolist()]
        self.z_scale: list[float] = params.z_scale.tolist()
        self.horizon = int(params.horizon)
        self.latency_budget, self.money_budget = (
            (float(budget), float(limit(budget))) for budget in (params.latency_budget, params.money_budget)
        )
        self.latency_scale, self.money_scale = float(params.latency_scale), float(params.money_scale)
        self.zeros = [0.0] * len(self.drift)

    def reset(self) -> list[float]:
        """Starts an episode and returns the first observation."""
        uniform = [self.rng.random() for _ in self.start]
        normal = [self.rng.gauss(0.0, 1.0) for _ in self.start] if self.misreads else self.zeros
        return self.begin(uniform, normal)

    def begin(self, uniform: list[float], normal: list[float]) -> list[float]:
        """`reset`, once its chance is drawn."""
        self.z = [low + (high - low) * u for (low, high), u in zip(self.start, uniform, strict=True)]
        self.misread = [scale * n for scale, n in zip(self.misread_scale, normal, strict=True)]
        self.latency = self.money = 0.0
        self.time = 0
        return self.observe()

    def step(self, action: int) -> tuple[list[float], tuple[float, ...], bool, bool]:
        """Plays a row: the observation, the five unweighted costs, whether it is over, and with success."""
        noisy = self.rows[action][5] > 0.0
        epsilon = [self.rng.gauss(0.0, 1.0) for _ in self.z] if noisy else self.zeros
        return self.play(action, self.rng.random(), epsilon)

    def play(self, action: int, u: float, epsilon: list[float]) -> tuple[list[float], tuple[float, ...], bool, bool]:
        """`step`, once its luck is drawn."""
        latency, money, failure, gain, shift, noise, ends, resolves, reveals, allowed = self.rows[action]
        failed = u < failure or not allowed
        z = self.z
        worked = [g * x + s for g, x, s in zip(gain, z, shift, strict=True)]
        planned = self.zeros if resolves else z if ends else worked
        if failed:
            moved = [x + drift for x, drift in zip(z, self.drift, strict=True)]
        elif ends:
            moved = self.zeros if resolves else z
        else:
            moved = [x + noise * e + drift for x, e, drift in zip(worked, epsilon, self.drift, strict=True)]
        if reveals and not failed:
            self.misread = self.zeros
        self.z = moved
        self.latency += latency
        self.money += money
        self.time += 1
        excess = sum(abs(x) - bound for x, (bound, most) in zip(moved, self.tolerance, strict=True) if abs(x) > most)
        for spent, (budget, most) in ((self.latency, self.latency_budget), (self.money, self.money_budget)):
            if spent > most:
                excess += (spent - budget) / budget
        done = excess == 0.0 or (ends and not failed) or self.time >= self.horizon
        costs = (latency, money, excess if done else 0.0, float(failed), math.dist(planned, moved))
        return self.observe(), costs, done, done and excess == 0.0

    def observe(self) -> list[float]:
        """What the policy sees."""
        seen = [x + m for x, m in zip(self.z, self.misread, strict=True)]
        return [
            *(x / scale for x, scale in zip(seen, self.z_scale, strict=True)),
            self.latency / self.latency_scale,
            self.money / self.money_scale,
            *(float(abs(x) > most) for x, (_, most) in zip(seen, self.tolerance, strict=True)),
            self.time / self.horizon,
        ]


def train(
    params: EnvParams,
    config: TrainConfig,
    hyper: Hyperparameters,
    *,
    seed: int,
    episodes: int,
    replay: bool = False,
) -> Run:
    """Trains one policy.

    Args:
      params: the environment, leaves as NumPy arrays.
      config: shape of the run.
      hyper: its numbers.
      seed: of all that is random.
      episodes: stop after the batches that this many make; the schedule stays that of `config.episodes`.
      replay: play without recording gradients and run the network once more, on the whole batch, for the loss.
        Not how the example does it, but several times faster.

    Returns:
      The learning curve.
    """
    check(config)
    torch.manual_seed(seed)
    env = Environment(params, random.Random(seed))
    inputs, actions = observation_size(params), len(env.rows)
    grid = env.horizon, config.batch
    mask = None if params.actions.allowed.all() else torch.from_numpy(~params.actions.allowed)
    network = make_network(inputs, config.hidden, actions)
    optimiser = torch.optim.Adam(network.parameters(), lr=float(hyper.learning_rate))
    scheduler = schedule(config, hyper, optimiser)
    critic = None
    if config.baseline == "critic":
        critic = Critic(make_network(inputs, config.hidden, 1), config, hyper, grid)
    weights = params.weights.tolist()
    curve: list[tuple[float, float]] = []
    steps = 0

    def distribution(observation: torch.Tensor) -> Categorical:
        logits = network(observation)
        if mask is not None:
            logits = logits.masked_fill(mask, -torch.inf)
        return Categorical(logits=logits, validate_args=False)

    for update in range(max(1, episodes // config.batch)):
        bonus = float(hyper.entropy) * remaining(config, update)
        seen: list[torch.Tensor] = []
        chosen: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        entropies: list[torch.Tensor] = []
        togo, alive = np.zeros(grid, np.float32), np.zeros(grid, bool)
        successes = 0
        with torch.set_grad_enabled(not replay):
            for episode in range(config.batch):
                observation, done, success, costs = env.reset(), False, False, []
                while not done:
                    tensor = torch.tensor(observation)
                    policy = distribution(tensor)
                    action = policy.sample()
                    seen.append(tensor)
                    if replay:
                        chosen.append(action)
                    else:
                        scores.append(policy.log_prob(action))
                        if bonus > 0:
                            entropies.append(policy.entropy())
                    observation, components, done, success = env.step(int(action))
                    costs.append(sum(w * c for w, c in zip(weights, components, strict=True)))
                successes += success
                togo[: len(costs), episode] = np.cumsum(costs[::-1])[::-1]
                alive[: len(costs), episode] = True

        togo, alive = torch.from_numpy(togo), torch.from_numpy(alive)
        if critic is None:
            returns, baseline = togo, leave_one_out(togo, alive)
        else:
            padded = torch.zeros(config.batch, env.horizon, inputs)
            padded[alive.T] = torch.stack(seen)  # they come episode by episode
            returns, baseline = critic.learn(padded.transpose(0, 1).flatten(0, 1), togo, alive)
        advantages = advantages_of(returns, baseline, alive).T[alive.T]

        if replay:
            policy = distribution(torch.stack(seen))
            loss = (policy.log_prob(torch.stack(chosen)) * advantages).sum()
            if bonus > 0:
                loss = loss - bonus * policy.entropy().sum()
        else:
            loss = (torch.stack(scores) * advantages).sum()
            if bonus > 0:
                loss = loss - bonus * torch.stack(entropies).sum()
        optimiser.zero_grad()
        (loss / config.batch).backward()
        nn.utils.clip_grad_norm_(network.parameters(), float(hyper.clip_norm))
        optimiser.step()
        scheduler.step()
        curve.append((float(togo[0].mean()), successes / config.batch))
        steps += len(seen)

    cost, success = np.array(curve).T
    return Run(cost, success, steps)
