"""The command ``aljax evaluate``."""

import dataclasses
import functools
import os

from rich.console import Console

from aljax import drawing, runs
from aljax.commands import shared
from aljax.commands.bars import Bars
from aljax.commands.options.evaluate import Evaluate
from aljax.commands.start import start_jax
from aljax.errors import UserError, plain_path
from aljax.experiment import evaluate_again
from aljax.host import files
from aljax.host.numerics import difference, numerics
from aljax.host.terminal import deliver
from aljax.scenario import load_scenario


def run(options: Evaluate, console: Console) -> None:
    """Loads, evaluates, prints, writes what was asked for."""
    if options.widen != 1 and not options.draws:
        raise UserError("--widen: without --draws N there is nothing that it would widen")
    start_jax()
    if options.json is not None:
        files.check_writable(options.json)
    if options.plots and options.out is not None:
        drawing.load_ahead()
    run = runs.load(options.folder)
    # Path.exists raises where no file could have this name.
    if options.out is not None and os.path.exists(options.out) and options.out.samefile(options.folder):  # noqa: PTH110
        raise UserError(f"--out: {plain_path(options.out)} is the run itself, whose policy would be lost")
    scenario = run.scenario
    if options.scenario is not None:
        scenario = load_scenario(options.scenario, options.overrides)
    elif options.overrides:
        scenario = run.changed(options.overrides)
    scenario = run.as_seen(options.folder, scenario)
    # A change may add to what is observed, or take from it.
    run = dataclasses.replace(run, policy=run.policy_in(options.folder, scenario))
    changes = {"seed": options.seed, "evaluation_episodes": options.evaluation_episodes}
    protocol = dataclasses.replace(run.protocol, **{k: v for k, v in changes.items() if v is not None})
    watch = Bars(console)
    drawn = {"draws": options.draws, "widen": options.widen}
    again = functools.partial(evaluate_again, run, scenario, protocol, **drawn, overwrite=options.overwrite)
    result, unsaved = shared.finished(lambda: again(out=options.out, plots=False, watch=watch))

    def show() -> None:
        shared.show(console, scenario, result, result.no_optimum)
        differs = difference(run.numerics, numerics()) if run.numerics else ""
        if differs and options.scenario is None and not options.overrides and protocol == run.protocol:
            console.print(f"Not the run's own figures to the last bit: it was {differs}.", soft_wrap=True)
        if options.out is not None:
            console.print(*shared.written(result), soft_wrap=True)

    deliver((*unsaved, *shared.json(options.json, result.figures)), show, result.draw if options.plots else None)
