"""aljax's own trainer: as it is by default, as plain REINFORCE, and planning with the simulator."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from aljax import train
from aljax.env import EnvParams
from aljax.learning.curriculum import training_chance
from aljax.options import REPLAY, Hyperparameters, Protocol, TrainConfig
from aljax.policy import learned_of
from aljax.rollout import play
from aljax.scenario import load_scenario
from aljax.training import training_programs

from .common import EPISODES, Agent, Contestant, checkpoints, spending

NEAR = 0.02
"""A run whose steps differ by more than this share from those allowed is made once more, on other episodes."""
PILOT = 2_000
"""The number of the seed by which a number of episodes is judged where once more would take long."""


class Default(Contestant):
    """Actor and critic, annealed: what ``aljax train`` does."""

    name = "aljax"
    remark = "its defaults, without a search"
    settings: ClassVar[Sequence[Mapping[str, Any]]] = ({},)

    def train(self, scenario: str, steps: int, seeds: Sequence[int], settings: Mapping[str, Any]) -> list[Agent]:
        """See `Contestant.train`: as many episodes as come to so many steps, on average over the seeds."""
        agents = trained(scenario, seeds, settings | {"episodes": EPISODES})
        taken = float(np.mean([agent.steps for agent in agents]))
        if abs(taken / steps - 1) <= NEAR:
            return agents
        return trained(scenario, seeds, settings | {"episodes": round(EPISODES * steps / taken)})


class Reinforce(Default):
    """REINFORCE with the paper's running baseline: no critic, no entropy bonus, nothing normalised or annealed."""

    name = "aljax, plain REINFORCE"
    remark = "the paper's; the rate is searched for"
    settings = tuple(
        {"baseline": "running", "normalise": False, "schedule": "constant", "entropy": 0.0, "learning_rate": rate}
        for rate in (1e-2, 3e-3)
    )


class AllRows(Default):
    """The gradient over every row, by the simulator and the critic one step ahead."""

    name = "aljax, all rows"
    remark = "plans a step ahead with the simulator, which no other library here does"
    settings = (
        {"gradient": "all_rows", "critic_learning_rate": 5e-2, "batch": 15, "learning_rate": 1.5e-2, "entropy": 1.2},
        {"gradient": "all_rows", "critic_learning_rate": 5e-2, "entropy": 0.6},
    )


class Replay(Default):
    """Batches of the past learned from again, with the simulator's answers for every row, and nearer starts.

    What a step ahead imagines is no environment step: nothing is played for it.
    """

    name = "aljax, replay"
    remark = (
        "plans with the simulator from states of the past and starts nearer, without a search: aljax.options.REPLAY"
    )
    settings = (REPLAY,)

    def train(self, scenario: str, steps: int, seeds: Sequence[int], settings: Mapping[str, Any]) -> list[Agent]:
        """See `Contestant.train`: as many episodes as come to so many steps, judged by a run of one more seed."""
        taken = _pilot(scenario)
        return trained(scenario, seeds, settings | {"episodes": round(EPISODES * steps / taken)})


@functools.cache
def _pilot(scenario: str) -> int:
    """Environment steps that `EPISODES` of `Replay` come to, on a seed that counts nowhere."""
    (agent,) = trained(scenario, [PILOT], REPLAY | {"episodes": EPISODES})
    return agent.steps


def trained(scenario: str, seeds: Sequence[int], settings: Mapping[str, Any]) -> list[Agent]:
    """Trains on so many episodes.

    Args:
      scenario: the name of one that ships with aljax.
      seeds: those of ``aljax train``.
      settings: fields of `TrainConfig` and `Hyperparameters`.

    Returns:
      The agents, in the order of the seeds.
    """
    loaded, shape = load_scenario(scenario), TrainConfig.__dataclass_fields__
    params = loaded.params
    config = TrainConfig(**{key: value for key, value in settings.items() if key in shape})
    hyper = Hyperparameters(**{key: value for key, value in settings.items() if key not in shape})
    numbers, chosen = jax.tree.map(np.float32, hyper), (np.asarray(seeds, np.int32), None)
    start, piece = training_programs(config, loaded.horizon, 1)
    pieces, weights = list(itertools.pairwise([0, *checkpoints(config.updates)])), []
    with spending() as compiling:
        state = piece(start(chosen, np.int32(Protocol().seed), params), np.int32(0), np.int32(0), numbers, params)
    with spending() as spent:
        for low, high in pieces:
            state = piece(state, np.int32(low), np.int32(high), numbers, params)
            weights.append(jax.tree.map(np.array, state.variables))
    count, state = _counter(config, loaded.horizon), start(chosen, np.int32(Protocol().seed), params)
    taken = np.zeros((1, len(seeds)), int)
    for low, high in pieces:
        state, more = count(state, low, high, numbers, params)
        taken = np.concatenate([taken, taken[-1:] + np.asarray(more)])

    def points(seed: int) -> list[tuple[int, Any]]:
        own = (jax.tree.map(lambda leaf: leaf[seed], each) for each in weights)
        return [(int(n), learned_of(config, params, each)) for n, each in zip(taken[1:, seed], own, strict=True)]

    share = 1 / len(seeds)
    return [
        Agent(points(seed), int(taken[-1, seed]), config.updates * config.batch, spent.seconds * share,
              spent.cpu_seconds * share, compiling.seconds)
        for seed in range(len(seeds))
    ]  # fmt: skip


@functools.lru_cache(8)
def _counter(config: TrainConfig, horizon: int) -> Any:
    """Training again, in which each update's episodes are played a second time to count their steps."""

    def of_seed(
        state: train.TrainState, low: int, high: int, hyper: Hyperparameters, params: EnvParams
    ) -> tuple[train.TrainState, jax.Array]:
        def update(number: jax.Array, carry: tuple[train.TrainState, jax.Array]) -> tuple[train.TrainState, jax.Array]:
            state, steps = carry
            sampler = learned_of(config, params, state.variables, greedy=False)
            key, remaining = jax.random.fold_in(state.key, number), 1.0 - number / config.updates
            chance = training_chance(key, remaining, hyper, params, config, config.batch, horizon)
            played = play(chance, sampler, params)
            advanced = train.advance(state, number, number + 1, hyper, params, config=config, steps=horizon)
            return advanced, steps + played.alive.sum()

        return jax.lax.fori_loop(low, high, update, (state, jnp.int32(0)))

    return jax.jit(jax.vmap(of_seed, (0, None, None, None, None)))
