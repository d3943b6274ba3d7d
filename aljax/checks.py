"""Refuses options out of range, and what would not fit into any memory, before the work."""

import dataclasses

from aljax import env, limits
from aljax.errors import UserError, short
from aljax.networks.inputs import inputs_of
from aljax.options import Hyperparameters, InputsName, Protocol, TrainConfig
from aljax.posterior import posterior_of
from aljax.promises import check_constraints
from aljax.scenario import Scenario
from aljax.train import policy_architecture


def check(
    config: TrainConfig, hyperparameters: Hyperparameters, protocol: Protocol, scenario: Scenario | None = None
) -> None:
    """Refuses options out of range, and what would not fit into any memory.

    Args:
      config: shape of the runs.
      hyperparameters: their numbers.
      protocol: their seeds.
      scenario: where, if it is known already: it says how large arrays become.

    Raises:
      UserError: one line naming the option.
    """
    limits.check_whole("episodes", config.episodes)
    limits.check_whole("batch", config.batch)
    if config.batch > config.episodes:
        raise UserError(f"batch: {config.batch} episodes an update, but only {config.episodes} episodes in all")
    most = limits.WHOLE["updates"][1]
    if config.updates > most:
        made = f"{config.episodes:,} in batches of {config.batch:,} make {config.updates:,} updates"
        raise UserError(f"episodes: {made}, expected at most {most:,}")
    if not isinstance(config.hidden, tuple):  # a list cannot say what has been compiled
        raise UserError(f"hidden: expected a tuple of units a layer, such as (64,), got {short(config.hidden)}")
    limits.check_hidden(config.hidden)
    if config.policy == "gru" and not config.hidden:
        raise UserError("hidden: a gru has at least one layer, got none")
    if config.gradient == "all_rows" and config.baseline != "critic":
        raise UserError(
            f"gradient: all_rows asks a critic what follows: expected baseline critic, got {config.baseline}"
        )
    for name in ("replays", "replay_batches", "replay_last"):
        limits.check_whole(name, getattr(config, name))
    if config.replays and config.gradient != "all_rows":
        what = "asks the simulator what rows cost that others chose"
        raise UserError(f"replays: replay {what}: expected gradient all_rows, got {config.gradient}")
    if config.replays and config.environments != "point":
        raise UserError("replays: what was played is met again in one environment: expected environments point")
    check_constraints(config.constraints)
    if config.gradient == "all_rows" and (config.objective != "mean" or config.constraints):
        raise UserError("gradient: all_rows knows what rows cost on average: expected objective mean, no constraint")
    if config.curriculum != "none" and (config.objective != "mean" or config.constraints):
        raise UserError("curriculum: risks are not those of nearer starts: expected objective mean, no constraint")
    if config.environments != "point" and config.gradient == "all_rows" and config.inputs == "belief":
        raise UserError("gradient: all_rows would know what the belief does not: expected sampled over a posterior")
    for field in dataclasses.fields(hyperparameters):
        limits.check_number(field.name, getattr(hyperparameters, field.name))
    check_protocol(protocol, scenario)
    if scenario is None:
        return
    check_inputs(config.inputs, scenario)
    if config.environments != "point":
        posterior_of(scenario)
    shown = inputs_of(config).size(scenario.params)
    played = ((config.batch, "episodes"), (scenario.horizon, "steps"), (shown, "numbers seen"))
    limits.check_size("batch", "an update", *played)
    if config.replays:
        kept = ((min(config.replay_last, config.updates), "batches"), (scenario.horizon, "steps"))
        each = (config.batch, "episodes")
        limits.check_size("replay_last", "what is replayed", (protocol.seeds, "seeds"), *kept, each)
    weights = policy_architecture(config, scenario.params).products(shown)
    limits.check_size("hidden", "training", (protocol.seeds, "seeds"), (weights, "weights"), (6, "numbers for each"))


def check_inputs(inputs: InputsName, scenario: Scenario) -> None:
    """Refuses to show networks what a scenario does not have.

    Args:
      inputs: what they are to be shown.
      scenario: where.

    Raises:
      UserError: nothing there is ever down.
    """
    if inputs != "observation" and scenario.params.actions.mean_uptime is None:
        what = f"{inputs} says which rows are up, but nothing in scenario {scenario.name} has a mean_uptime"
        raise UserError(f"inputs: {what}: expected observation")


def check_protocol(protocol: Protocol, scenario: Scenario | None = None) -> None:
    """Refuses seeds and episodes out of range, and more of them than fit. See `check`.

    Args:
      protocol: seeds and episodes.
      scenario: where, if it is known already.
    """
    for field in dataclasses.fields(protocol):
        limits.check_whole(field.name, getattr(protocol, field.name))
    if protocol.first_seed + protocol.seeds > 2**31:
        raise UserError(f"first_seed: {protocol.first_seed:,} and {protocol.seeds:,} more reach past seed 2^31 - 1")
    if scenario is not None:
        played = ((protocol.seeds, "seeds"), (protocol.evaluation_episodes, "episodes"), (scenario.horizon, "steps"))
        each = (len(env.COMPONENTS) + env.num_coordinates(scenario.params), "numbers")
        limits.check_size("evaluation_episodes", "the evaluation", *played, each)
