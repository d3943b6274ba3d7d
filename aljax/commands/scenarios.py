"""The command ``aljax scenarios``."""

from rich.console import Console

from aljax.commands.options.scenarios import Scenarios
from aljax.commands.start import start_jax
from aljax.errors import UserError
from aljax.host.terminal import styled
from aljax.rules.words import warnings
from aljax.scenario import load_scenario, scenario_names
from aljax.scenario_tables import scenario_list, scenario_tables
from aljax.tables import show


def run(options: Scenarios, console: Console) -> None:
    """Prints tables."""
    start_jax(compiles=False)
    if options.name is None:
        if options.overrides:
            raise UserError("--set needs the name of a scenario")
        show(console, [scenario_list(load_scenario(name) for name in scenario_names())])
        hint = "aljax scenarios NAME shows one in full; aljax train --scenario NAME trains on it."
        console.print(hint, style="dim")
        return
    scenario = load_scenario(options.name, options.overrides)
    console.print(styled(scenario.name, "bold"), f": {scenario.title}\n", sep="")
    console.print(scenario.description)
    show(console, scenario_tables(scenario))
    for line in warnings(scenario):
        console.print(f"Warning: {line}.", soft_wrap=True)
