"""The command ``aljax collect``."""

from pathlib import Path

from rich.console import Console

from aljax import env, limits, tables
from aljax.commands.options.collect import Collect
from aljax.commands.start import start_jax
from aljax.errors import UserError, plain_path
from aljax.host import files
from aljax.host.terminal import styled
from aljax.offline.data import Log, collect
from aljax.offline.policies import policies_of
from aljax.offline.report import log_table
from aljax.offline.writing import TakenError, write_log
from aljax.options import Protocol
from aljax.scenario import Scenario, load_scenario
from aljax.seeds import COLLECTION, seed_keys


def run(options: Collect, console: Console) -> None:
    """Plays and writes."""
    start_jax()
    scenario = load_scenario(options.scenario, options.overrides)
    limits.check_whole("episodes", options.episodes)
    limits.check_whole("seed", options.seed)
    shown = env.observation_size(scenario.params) + env.num_actions(scenario.params)
    limits.check_size(
        "episodes", "the log", (options.episodes, "episodes"), (scenario.horizon, "steps"), (shown, "numbers")
    )
    files.check_writable(options.file)
    if options.file.is_file() and not options.overwrite:
        raise UserError(f"{plain_path(options.file)}: already exists (use --overwrite to replace it)")
    protocol = Protocol(seeds=1, seed=options.seed, evaluation_episodes=options.episodes)
    loggers = policies_of(options.policy or ("latency",), scenario, protocol, options.epsilon, options.greedy)
    key = seed_keys(protocol, COLLECTION)[0]
    log = collect(
        key, loggers, scenario.params, episodes=options.episodes, steps=scenario.horizon, tasks=f"seed{options.seed}"
    )
    place = _write(options, log, scenario)
    tables.show(console, [log_table(log, scenario)])
    console.print("Written to", styled(place, "bold"), soft_wrap=True)


def _write(options: Collect, log: Log, scenario: Scenario) -> Path:
    """Where it was written: beside the file's place, if another process took that in the meantime."""
    place, number = options.file, 0
    while True:
        try:
            write_log(place, log, scenario, overwrite=options.overwrite)
            return place
        except TakenError:
            number += 1
            name, dot, ending = options.file.name.partition(".")
            place = options.file.with_name(f"{name}-{number}{dot}{ending}")
