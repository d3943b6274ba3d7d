"""The command ``aljax train``."""

import dataclasses
import time
from pathlib import Path

from rich.console import Console

from aljax import drawing
from aljax.checks import check
from aljax.commands import shared
from aljax.commands.bars import Bars
from aljax.commands.options.shared import TRAINING, names, refuse
from aljax.commands.options.train import Train
from aljax.commands.start import start_jax
from aljax.errors import UserError
from aljax.experiment import pursue
from aljax.host import files, process
from aljax.host.terminal import deliver
from aljax.learner import Learner, Scratch
from aljax.offline import regimes
from aljax.offline.regimes import Regime, default_algorithm
from aljax.offline.report import log_words
from aljax.options import SHAPE, Hyperparameters, LearnConfig, LearnHyperparameters
from aljax.scenario import load_scenario


def run(options: Train, console: Console) -> None:
    """Trains, evaluates, writes."""
    start_jax(cores=True)
    if options.source is not None or options.row is not None:
        _repeated(options, console)
        return
    scenario = load_scenario(options.scenario, options.overrides)
    config = options.config.plain()
    check(config, options.hyperparameters, options.protocol, scenario)
    if _scratch(options):
        _pursue(options, console, Scratch(scenario, config, options.hyperparameters, options.protocol))
        return
    regime = Regime(
        options.regime,
        options.data,
        options.start,
        LearnConfig(
            options.algorithm or default_algorithm(options.regime),
            options.updates,
            options.minibatch,
            **{name: getattr(config, name) for name in SHAPE},
        ),
        options.learning,
        options.other_scenario,
    )
    asked = {name: getattr(options.hyperparameters, name) for name in names(Hyperparameters) & options.given}
    numbers = dataclasses.replace(regimes.REFINEMENT, **asked)
    prepared = regimes.prepare(regime, scenario, config, numbers, options.protocol)
    if prepared.log is not None:
        for line in log_words(prepared.log):
            console.print(line, soft_wrap=True)
    _pursue(options, console, prepared)


def _scratch(options: Train) -> bool:
    """Online and from nothing: the regime of the paper's experiment."""
    if not options.data:
        learning = {"algorithm", "updates", "minibatch", "other_scenario"} | names(LearnHyperparameters)
        refuse(options.given & learning, "there is nothing to learn from: expected --data LOG")
    if options.regime != "online":
        refuse(options.given & TRAINING - set(SHAPE), f"--regime {options.regime} does not train in the simulator")
    return options.regime == "online" and not options.data and not options.start


def _repeated(options: Train, console: Console) -> None:
    """Trains a row of a sweep."""
    from aljax.sweeps import repeat  # where it is used: nothing else of training needs sweeps

    if options.source is None or options.row is None:
        raise UserError("--from and --row go together")
    own = {"from", "row", "out", "overwrite", "json", "plots"}
    refuse(options.given - own, "--from takes scenario, numbers and seed from the sweep: leave out such options")
    row = repeat.read_row(options.source, options.row)
    learner = repeat.RowLearner(row)
    _pursue(options, console, learner)
    before = repeat.recorded(row)
    if before is not None:
        figures = learner.figures
        same = all(before[name] == value for name, value in figures.items())
        verdict = "the same to the last bit" if same else f"NOT the same: cost {figures['cost']} here"
        console.print(f"Row {row.number} of {row.folder}: cost {before['cost']:.6g}, {verdict}.")


def _pursue(options: Train, console: Console, learner: Learner) -> None:
    """The experiment itself, and what is shown of it."""
    begun = time.perf_counter()
    if options.json is not None:
        files.check_writable(options.json)
    out = options.out or Path("runs") / learner.scenario.name
    with Bars(console) as watch:
        result, unsaved = shared.finished(
            lambda: pursue(
                learner,
                out=out,
                numbered=options.out is None,
                overwrite=options.overwrite,
                plots=False,
                watch=watch,
                ahead=drawing.load_ahead if options.plots else None,
            )
        )

    def show() -> None:
        shared.show(console, learner.scenario, result, result.no_optimum)
        parts = ", ".join(f"{name} {value:.2f} s" for name, value in result.figures["seconds"].items())
        took = f"{parts}; in all {time.perf_counter() - begun:.2f} s."
        console.print(took, *shared.written(result), soft_wrap=True)
        console.print(f"Ran on {process.devices_in_words()}.", soft_wrap=True)

    deliver((*unsaved, *shared.json(options.json, result.figures)), show, result.draw if options.plots else None)
