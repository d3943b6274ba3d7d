"""The paper's learning regimes over seeds: supervised and offline from a log, online from the result of either."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import runs
from aljax.errors import UserError
from aljax.learner import Watch, refuse_diverged, train_watched
from aljax.networks.architecture import Variables
from aljax.offline.data import Log
from aljax.offline.learning import Learnt, check, learn_seeds
from aljax.offline.reading import read_logs
from aljax.options import (
    OFFLINE,
    SHAPE,
    SUPERVISED,
    Algorithm,
    Hyperparameters,
    LearnConfig,
    LearnHyperparameters,
    Protocol,
    RegimeName,
    TrainConfig,
)
from aljax.policy import Learned, masked
from aljax.rollout import legal_steps, rollout
from aljax.scenario import Scenario
from aljax.training import Trained

REFINEMENT = Hyperparameters(learning_rate=2e-3, entropy=0.05)
"""For going on online from a policy that there is, which the steps and exploration of a run from scratch would undo."""


@dataclasses.dataclass(frozen=True)
class Regime:
    """How policies are to be learned, as a user says it."""

    name: RegimeName
    data: tuple[Path, ...]
    """Logs."""
    start: Path | None
    """A run whose policies to go on from."""
    learn: LearnConfig
    learning: LearnHyperparameters
    other_scenario: bool = False
    """Take logs that say that they are of another scenario."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A regime with everything read and checked: an `aljax.learner.Learner`."""

    regime: Regime
    scenario: Scenario
    log: Log | None
    """To learn from first."""
    begin: Variables | None
    """Weights to go on from, a leading axis of seeds."""
    config: TrainConfig
    hyperparameters: Hyperparameters
    """Of the online part."""
    protocol: Protocol

    @property
    def episodes(self) -> int:
        """Played in the simulator by each seed."""
        return self.config.updates * self.config.batch if self.regime.name == "online" else 0

    def learn(self, watch: Watch) -> Learnt | Trained:
        """Learns from the log, and goes on online where the regime says so. See `aljax.learner.Learner`.

        Args:
          watch: told what goes on.

        Returns:
          The policies, and what they minimised or their curves.

        Raises:
          UserError: what was learned diverged.
        """
        learnt, begin = None, self.begin
        if self.log is not None:
            learnt = self._from_log(self.log, watch)
            if self.regime.name != "online":
                return learnt
            begin = softened(self.scenario, learnt.policy)
        trained = train_watched(self.scenario, self.config, self.hyperparameters, self.protocol, watch, begin)
        return trained if learnt is None else both(learnt, trained)

    def _from_log(self, log: Log, watch: Watch) -> Learnt:
        """The first part, refused where it diverged."""
        config = self.regime.learn
        doing = f"learning ({config.algorithm})"
        watch.advanced(doing, 0, config.updates, "")

        def on_progress(done: int, losses: np.ndarray) -> None:
            watch.advanced(doing, done, config.updates, f"loss {losses[:, done - 1].mean():.3f}")

        learnt = learn_seeds(self.scenario, log, config, self.regime.learning, self.protocol, on_progress)
        refuse_diverged(learnt.diverged, "step_size")
        return learnt

    def to_json(self) -> dict[str, Any]:
        """What reproduces it, for a run's configuration.

        Returns:
          A table of plain values.
        """
        found: dict[str, Any] = {"name": self.regime.name}
        if self.regime.start is not None:
            found["start"] = str(self.regime.start)
        if self.log is not None:
            found["data"] = [dataclasses.asdict(source) for source in self.log.sources]
            found["logged_episodes"] = len(self.log)
            found["warnings"] = list(self.log.warnings)
            found["notes"] = list(self.log.notes)
            found["learn"] = dataclasses.asdict(self.regime.learn)
            found["learning"] = {key: str(value) for key, value in dataclasses.asdict(self.regime.learning).items()}
        return found


def default_algorithm(name: RegimeName) -> Algorithm:
    """What a regime makes of a log unless told otherwise.

    Args:
      name: the regime.

    Returns:
      The algorithm's name.
    """
    return "cost_sensitive" if name == "supervised" else "fitted_q"


def prepare(
    regime: Regime, scenario: Scenario, config: TrainConfig, hyperparameters: Hyperparameters, protocol: Protocol
) -> Prepared:
    """Reads a regime's files, and refuses what does not go together.

    Args:
      regime: how to learn.
      scenario: where.
      config: of the online part.
      hyperparameters: of the online part; see `REFINEMENT`.
      protocol: seeds.

    Returns:
      What can be run.

    Raises:
      UserError: one line.
    """
    allowed = {"supervised": SUPERVISED, "offline": OFFLINE, "online": SUPERVISED + OFFLINE}[regime.name]
    if regime.learn.algorithm not in allowed:
        raise UserError(f"algorithm {regime.learn.algorithm}: regime {regime.name} has {', '.join(allowed)}")
    if regime.start is not None and (regime.data or regime.name != "online"):
        raise UserError("--start goes on online from a run's policies: it takes no --data and no other --regime")
    if regime.name != "online" and not regime.data:
        raise UserError(f"regime {regime.name} learns from logs: expected --data LOG (aljax collect writes one)")
    log, begin = None, None
    if regime.data:
        log = read_logs(regime.data, scenario, other_scenario=regime.other_scenario)
        check(scenario, log, regime.learn, regime.learning)
    if regime.start is not None:
        run = runs.load(regime.start)
        policy = run.policy_in(regime.start, scenario)
        found = jax.tree.leaves(policy.variables)[0].shape[0]
        for option in SHAPE:
            asked, has = getattr(config, option), getattr(run.config, option)
            if asked != has:
                raise UserError(f"{option}: {asked}, but {regime.start} has {has}")
        if found < protocol.seeds:
            raise UserError(f"seeds: {protocol.seeds}, but {regime.start} has {found}")
        begin = softened(scenario, jax.tree.map(lambda leaf: leaf[: protocol.seeds], policy))
    return Prepared(regime, scenario, log, begin, config, hyperparameters, protocol)


def both(learned: Learnt, trained: Trained) -> Trained:
    """What learning from a log and refining online came to: the second's policies, the time of both.

    Args:
      learned: from the log.
      trained: online, from there on.

    Returns:
      The second's policies and curves, with the seconds of both.
    """
    seconds = {name: learned.seconds[name] + value for name, value in trained.seconds.items()}
    return dataclasses.replace(trained, seconds=seconds)


_GAP = 3.0


def softened(scenario: Scenario, policy: Learned) -> Variables:
    """Policies that choose the same but are less sure of it, to go on from online.

    What was learned from a log may be so sure that it never tries anything else, and then has nothing to learn from.
    The output layer is scaled down until, in a few episodes of its own, the likeliest row leads the second by 3 nats on
    average: it is played nineteen times out of twenty.

    Args:
      scenario: where they are to play.
      policy: a leading axis of seeds.

    Returns:
      The weights.
    """
    architecture = policy.architecture

    def one(policy: Learned) -> Variables:
        played = rollout(jax.random.key(0), policy, scenario.params, episodes=256, steps=scenario.horizon)
        seen = jnp.moveaxis(played.observation, 1, 0)
        logits = masked(architecture.unroll(policy.variables, seen), legal_steps(played, scenario.params))
        first, second = jax.lax.top_k(logits.reshape(len(logits), -1).T, 2)[0].T
        lead = jnp.where(played.alive.ravel(), jnp.minimum(first - second, 1e3), 0.0).sum() / played.alive.sum()
        return architecture.scaled(policy.variables, jnp.minimum(1.0, _GAP / jnp.maximum(lead, 1e-6)))

    return jax.jit(jax.vmap(one))(policy)
