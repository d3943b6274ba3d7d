"""What a contestant of `trainers.py` is: somebody's trainer, on one scenario, for so many environment steps."""

import contextlib
import dataclasses
import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aljax.policy import Policy

EPISODES = 12_000
"""aljax trains on so many by default; everybody may take as many steps as these come to."""

Acts = Policy | Callable[[np.ndarray], Any]
"""How an agent acts, as `aljax.adapters.evaluate` takes it: a policy, or observations ``[N, O]`` to rows ``[N]``."""


@dataclasses.dataclass(frozen=True)
class Agent:
    """What one seed's training gave."""

    points: Sequence[tuple[int, Acts]]
    """How it acted after so many environment steps; the last one is the result."""
    steps: int
    """Environment steps that it was trained on."""
    episodes: int
    """Episodes that ended in these steps."""
    seconds: float
    """That its training took, its share where seeds train side by side."""
    cpu_seconds: float
    """Of this process's time, all threads together, likewise."""
    compile_seconds: float = 0.0
    """That compiling took, once for all seeds."""


class Contestant:
    """A trainer. A new one is a subclass in a file of this folder, listed in `contestants.CONTESTANTS`."""

    name: ClassVar[str]
    """In tables and files: the library, and its algorithm."""
    modules: ClassVar[tuple[str, ...]] = ()
    """What must be importable."""
    settings: ClassVar[Sequence[Mapping[str, Any]]]
    """What its search tries, one after the other; all contestants may try as many."""
    scenarios: ClassVar[tuple[str, ...] | None] = None
    """Those that it is meant for; None: all."""
    together: ClassVar[bool] = True
    """Seeds train side by side; else one after the other, and each is kept as soon as it is done."""
    remark: ClassVar[str] = ""
    """What a reader must know beside its figures."""

    scripts: ClassVar[tuple[str, ...]] = ()
    """Of a trainer that is no package: the environment variable that names the folder of its scripts, and these."""

    @property
    def folder(self) -> Path:
        """Where its scripts are."""
        return Path(os.environ[self.scripts[0]]).resolve()

    def missing(self) -> str:
        """Why it cannot run here, in a line; empty where it can."""
        if self.scripts:
            variable, *files = self.scripts
            told = os.environ.get(variable)
            if not told or not all((self.folder / file).is_file() for file in files):
                return f"{variable}: expected the folder of its scripts ({', '.join(files)}), got {told or 'none'}"
        for module in self.modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                return f"{module}: {error}"
        return ""

    def train(self, scenario: str, steps: int, seeds: Sequence[int], settings: Mapping[str, Any]) -> list[Agent]:
        """Trains an agent a seed.

        Args:
          scenario: the name of one that ships with aljax.
          steps: that each seed may take in the environment, or near as many in whole iterations.
          seeds: numbers, from which all randomness comes.
          settings: one of `settings`.

        Returns:
          The agents, in the order of the seeds.
        """
        raise NotImplementedError


class OneByOne(Contestant):
    """A trainer of a process and a thread that trains a seed after the other."""

    together = False
    fixed: ClassVar[Mapping[str, Any]] = {}
    """Options that no search changes."""

    def train(self, scenario: str, steps: int, seeds: Sequence[int], settings: Mapping[str, Any]) -> list[Agent]:
        """See `Contestant.train`."""
        return [self.one(scenario, steps, seed, {**self.fixed, **settings}) for seed in seeds]

    def one(self, scenario: str, steps: int, seed: int, options: dict[str, Any]) -> Agent:
        """Trains one agent.

        Args:
          scenario: as for `train`.
          steps: as for `train`.
          seed: its number.
          options: `fixed` and one of `settings`.

        Returns:
          The agent.
        """
        raise NotImplementedError


class TorchPPO(OneByOne):
    """What tianshou and TorchRL are asked for alike: the usual PPO, of their parts."""

    fixed: ClassVar[Mapping[str, Any]] = {"num_envs": 16, "num_steps": 64}
    settings: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"learning_rate": 1e-3, "epochs": 8, "batch_size": 256, "ent_coef": 0.01},
        {"learning_rate": 3e-3, "epochs": 4, "batch_size": 256, "ent_coef": 0.01},
        {"learning_rate": 3e-3, "epochs": 8, "batch_size": 256, "ent_coef": 0.01},
        {"learning_rate": 3e-3, "epochs": 4, "batch_size": 256, "ent_coef": 0.05},
    )


@dataclasses.dataclass(frozen=True)
class Network:
    """An agent of JAX's: its weights, and a compiled function of these and of observations that all agents share."""

    act: Callable[[Any, np.ndarray], Any]
    """Weights and observations ``[N, O]`` to rows ``[N]``."""
    weights: Any

    def __call__(self, seen: np.ndarray) -> Any:
        """Observations ``[N, O]`` to rows ``[N]``."""
        return self.act(self.weights, seen)


@dataclasses.dataclass
class Spent:
    """What a block of code took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextlib.contextmanager
def spending() -> Iterator[Spent]:
    """Measures a block of code; what it took is there once it has ended."""
    spent, wall, cpu = Spent(), time.perf_counter(), time.process_time()
    yield spent
    spent.seconds, spent.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu


LOOKS = 8


def checkpoints(total: int, count: int = LOOKS) -> list[int]:
    """After how many of `total` iterations an agent is looked at: evenly, the last one among them."""
    return sorted({round(total * (i + 1) / count) for i in range(count)} - {0})


def rounds(steps: int, iteration: int) -> tuple[int, int]:
    """How often a trainer is looked at that takes whole iterations and can be looked at evenly only.

    Args:
      steps: that it may take.
      iteration: steps that it takes at once.

    Returns:
      How many looks, and how many iterations lie between two: all together come near `steps`.
    """
    wanted = max(1, round(steps / iteration))
    choices = [(looks, max(1, round(wanted / looks))) for looks in range(LOOKS, LOOKS // 2 - 1, -1)]
    return min(choices, key=lambda choice: abs(choice[0] * choice[1] - wanted))
