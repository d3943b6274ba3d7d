"""The command ``aljax baseline``."""

from rich.console import Console

from aljax import runs
from aljax.commands import shared
from aljax.commands.options.baseline import Baseline
from aljax.commands.start import start_jax
from aljax.comparison import compare
from aljax.exact.bracket import find_optimal
from aljax.host import files
from aljax.host.terminal import deliver
from aljax.scenario import load_scenario


def run(options: Baseline, console: Console) -> None:
    """Evaluates and prints."""
    start_jax()
    scenario = load_scenario(options.scenario, options.overrides)
    if options.json is not None:
        files.check_writable(options.json)
    optimal, reason = find_optimal(scenario, options.protocol)
    compared = compare(scenario, options.protocol, optimal=optimal)
    figures = runs.metrics(scenario, 0, options.protocol, compared, compared.seconds)
    deliver(shared.json(options.json, figures), lambda: shared.show(console, scenario, compared, reason))
