"""Training and learning with a bar at the terminal."""

from typing import Any

import numpy as np
from rich.console import Console

from aljax.errors import UserError
from aljax.experiment import Trained, train_seeds
from aljax.host.terminal import bar
from aljax.offline import regimes
from aljax.offline.regimes import Learnt, Prepared
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Variables
from aljax.scenario import Scenario
from aljax.train import Curve


def train(
    console: Console,
    scenario: Scenario,
    config: TrainConfig,
    hyperparameters: Hyperparameters,
    protocol: Protocol,
    begin: Variables | None = None,
) -> Trained:
    """Trains all seeds, with the mean cost so far beside the bar."""
    played = config.updates * config.batch
    if played != config.episodes:
        console.print(
            f"Trains on {played:,} episodes a seed, not {config.episodes:,}: whole batches of {config.batch:,}."
        )
    with bar(console, "training", config.updates, "updates") as (shown, task):

        def on_progress(done: int, curve: Curve) -> None:
            shown.update(task, completed=done, note=f", cost {curve.cost[:, done - 1].mean():.3f}")

        trained = train_seeds(scenario, config, hyperparameters, protocol, on_progress, begin)
    check_finite(trained)
    return trained


def learn(console: Console, scenario: Scenario, regime: Prepared) -> Trained | Learnt:
    """Learns from a log, and goes on online where the regime says so."""
    learned = None
    if regime.log is not None:
        config = regime.regime.learn
        with bar(console, f"learning ({config.algorithm})", config.updates, "updates") as (shown, task):

            def on_progress(done: int, losses: Any) -> None:
                shown.update(task, completed=done, note=f", loss {losses[:, done - 1].mean():.3f}")

            learned = regime.learn(on_progress)
        check_finite(learned, "--step-size")
    if regime.regime.name != "online":
        assert learned is not None
        return learned
    begin = regime.begin
    if learned is not None:
        begin = regimes.softened(scenario, learned.policy.variables, learned.policy.architecture)
    trained = train(console, scenario, regime.config, regime.hyperparameters, regime.protocol, begin)
    return trained if learned is None else regimes.both(learned, trained)


def check_finite(trained: Trained | Learnt, option: str = "--learning-rate") -> None:
    """Refuses to go on with policies that are none."""
    if not trained.diverged:
        return
    seeds = ", ".join(map(str, trained.diverged))
    if isinstance(trained, Trained) and not np.isfinite(trained.curve.cost).all():
        update = int(np.argmin(np.isfinite(trained.curve.cost).all(0)))
        raise UserError(
            f"training failed on seeds {seeds}: costs of episodes are not finite from update {update} on, so the "
            "scenario's numbers are too large for single precision"
        )
    raise UserError(f"training diverged (weights are not finite) on seeds {seeds}: try a smaller {option}")
