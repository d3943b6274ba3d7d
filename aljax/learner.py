"""How an experiment's policies come about, and what is told meanwhile."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aljax.errors import UserError
from aljax.networks.architecture import Variables
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned
from aljax.scenario import Scenario
from aljax.train import Curve
from aljax.training import Trained, train_seeds


class Watch:
    """What an experiment tells while it goes on. Subclass what you care about; nothing else is ever printed."""

    def told(self, line: str) -> None:
        """Something to know at once, such as that a folder will not be where it was asked for."""

    def advanced(self, doing: str, done: int, total: int, note: str) -> None:
        """Of `total` updates so many are done, 0 at the start; `note` says how it goes, such as ``cost 3.412``."""


class Made(typing.Protocol):
    """What a `Learner` made."""

    @property
    def policy(self) -> Learned:
        """Greedy; every array has a leading seed axis."""
        ...

    @property
    def curves(self) -> Mapping[str, np.ndarray]:
        """How it went, by name, as a run folder keeps it; a leading seed axis."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """``compile`` and ``train``."""
        ...


class Learner(typing.Protocol):
    """How an experiment's policies come about: `Scratch`, `aljax.offline.regimes.Prepared`, or a user's own."""

    @property
    def scenario(self) -> Scenario:
        """Where they are to play."""
        ...

    @property
    def config(self) -> TrainConfig:
        """The shape of training, at least of the policy's network."""
        ...

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The numbers of training in the simulator."""
        ...

    @property
    def protocol(self) -> Protocol:
        """Seeds, and the evaluation's episodes."""
        ...

    @property
    def episodes(self) -> int:
        """Played in the simulator by each seed."""
        ...

    def learn(self, watch: Watch) -> Made:
        """Makes the policies of all seeds."""
        ...

    def to_json(self) -> dict[str, Any] | None:
        """What reproduces it, for the run's configuration; None: online from scratch."""
        ...


@dataclasses.dataclass(frozen=True)
class Scratch:
    """Training in the simulator, online and from nothing: the regime of the paper's experiment. See `Learner`."""

    scenario: Scenario
    config: TrainConfig
    hyperparameters: Hyperparameters
    protocol: Protocol

    @property
    def episodes(self) -> int:
        """See `Learner`."""
        return self.config.updates * self.config.batch

    def learn(self, watch: Watch) -> Trained:
        """See `Learner`."""
        return train_watched(self.scenario, self.config, self.hyperparameters, self.protocol, watch)

    def to_json(self) -> None:
        """See `Learner`."""


def train_watched(
    scenario: Scenario,
    config: TrainConfig,
    hyperparameters: Hyperparameters,
    protocol: Protocol,
    watch: Watch,
    begin: Variables | None = None,
) -> Trained:
    """Trains all seeds, telling the mean cost so far.

    Args:
      scenario: where.
      config: shape of the runs.
      hyperparameters: their numbers.
      protocol: how many, and from which seed.
      watch: is told.
      begin: weights to refine, with a leading axis of seeds; None: from scratch.

    Returns:
      The policies and their curves, all of them finite.

    Raises:
      UserError: an option out of range, or training that diverged.
    """
    played = config.updates * config.batch
    if played != config.episodes:
        made = f"whole batches of {config.batch:,}"
        watch.told(f"Trains on {played:,} episodes a seed, not {config.episodes:,}: {made}.")
    watch.advanced("training", 0, config.updates, "")

    def on_progress(done: int, curve: Curve) -> None:
        watch.advanced("training", done, config.updates, f"cost {curve.cost[:, done - 1].mean():.3f}")

    trained = train_seeds(scenario, config, hyperparameters, protocol, on_progress, begin)
    refuse_failed(trained)
    return trained


def refuse_failed(trained: Trained) -> None:
    """Refuses policies that are none, and says whether the learning rate is to blame.

    Args:
      trained: of all seeds.

    Raises:
      UserError: weights of some seed are not finite.
    """
    finite = np.isfinite(trained.curve.cost)
    if trained.diverged and not finite.all():
        raise UserError(
            f"training failed on seeds {_listed(trained.diverged)}: costs of episodes are not finite from update "
            f"{int(np.argmin(finite.all(0)))} on, so the scenario's numbers are too large for single precision"
        )
    refuse_diverged(trained.diverged, "learning_rate")


def refuse_diverged(seeds: Sequence[int], option: str) -> None:
    """Refuses policies that are none.

    Args:
      seeds: whose weights are not finite.
      option: to make smaller.

    Raises:
      UserError: there are such seeds.
    """
    if seeds:
        raise UserError(f"training diverged (weights are not finite) on seeds {_listed(seeds)}: try a smaller {option}")


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
