"""The command ``aljax train``."""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from aljax import runs
from aljax.commands import shared, training
from aljax.commands.options.shared import TRAINING, names, refuse
from aljax.commands.options.train import Train
from aljax.errors import UserError
from aljax.exact.bracket import find_optimal
from aljax.experiment import Trained, abstract_policy, check, prepare
from aljax.host import files, folders
from aljax.host.terminal import deliver
from aljax.offline import regimes
from aljax.offline.regimes import Learnt, Prepared, Regime, default_algorithm
from aljax.offline.report import log_words
from aljax.options import Hyperparameters, LearnConfig, LearnHyperparameters
from aljax.scenario import Scenario, load_scenario
from aljax.sweeps import repeat


def run(options: Train, console: Console) -> None:
    """Trains, evaluates, writes."""
    shared.start_jax(cores=True)
    if options.source is not None or options.row is not None:
        _repeated(options, console)
        return
    scenario = load_scenario(options.scenario, options.overrides)
    check(options.config, options.hyperparameters, options.protocol, scenario)
    if _scratch(options):
        numbers = (options.config, options.hyperparameters, options.protocol)
        _run(options, console, scenario, lambda: training.train(console, scenario, *numbers))
        return
    regime = Regime(
        options.regime,
        options.data,
        options.start,
        LearnConfig(
            options.algorithm or default_algorithm(options.regime),
            options.updates,
            options.minibatch,
            options.config.hidden,
        ),
        options.learning,
        options.other_scenario,
    )
    asked = {name: getattr(options.hyperparameters, name) for name in names(Hyperparameters) & options.given}
    numbers = dataclasses.replace(regimes.REFINEMENT, **asked)
    prepared = regimes.prepare(regime, scenario, options.config, numbers, options.protocol)
    if prepared.log is not None:
        for line in log_words(prepared.log):
            console.print(line, soft_wrap=True)
    options = dataclasses.replace(options, hyperparameters=numbers)
    _run(options, console, scenario, lambda: training.learn(console, scenario, prepared), prepared)


def _scratch(options: Train) -> bool:
    """Online and from nothing: the regime of the paper's experiment."""
    if not options.data:
        learning = {"algorithm", "updates", "minibatch", "other_scenario"} | names(LearnHyperparameters)
        refuse(options.given & learning, "there is nothing to learn from: expected --data LOG")
    if options.regime != "online":
        refuse(options.given & TRAINING - {"hidden"}, f"--regime {options.regime} does not train in the simulator")
    return options.regime == "online" and not options.data and not options.start


def _repeated(options: Train, console: Console) -> None:
    """Trains a row of a sweep."""
    if options.source is None or options.row is None:
        raise UserError("--from and --row go together")
    own = {"from", "row", "out", "overwrite", "json", "plots"}
    refuse(options.given - own, "--from takes scenario, numbers and seed from the sweep: leave out such options")
    row = repeat.read_row(options.source, options.row)
    figures: dict[str, float] = {}

    def train() -> Trained:
        trained, found = repeat.train_row(row)
        figures.update(found)
        training.check_finite(trained)
        return trained

    job = row.job
    options = dataclasses.replace(
        options, config=job.config, hyperparameters=job.hyperparameters, protocol=row.protocol
    )
    _run(options, console, job.scenario, train)
    before = repeat.recorded(row)
    if before is not None:
        same = all(before[name] == value for name, value in figures.items())
        verdict = "the same to the last bit" if same else f"NOT the same: cost {figures['cost']} here"
        console.print(f"Row {row.number} of {row.folder}: cost {before['cost']:.6g}, {verdict}.")


def _run(
    options: Train,
    console: Console,
    scenario: Scenario,
    train: Callable[[], Trained | Learnt],
    regime: Prepared | None = None,
) -> None:
    """See `run`."""
    begun = time.perf_counter()
    if options.json is not None:
        files.check_writable(options.json)
    optimal, reason = find_optimal(scenario, options.protocol)
    policy = abstract_policy(scenario, options.config, options.protocol)
    with contextlib.ExitStack() as reserved:
        place = reserved.enter_context(_place(options, scenario))
        shared.tell(console, place)
        with ThreadPoolExecutor(1) as pool:
            # The comparison compiles while the policies train.
            prepared = pool.submit(prepare, scenario, options.protocol, policy, optimal)
            trained = train()
            waiting = time.perf_counter()
            comparison = prepared.result()
            waiting = time.perf_counter() - waiting
        compared = comparison(trained.policy)
        seconds = {**compared.seconds, **trained.seconds}
        seconds["compile"] += waiting
        played = regime.episodes if regime is not None else options.config.updates * options.config.batch
        figures = runs.metrics(scenario, played, options.protocol, compared, seconds)
        described = None if regime is None else regime.to_json()

        def save() -> None:
            with reserved:
                numbers = (options.config, options.hyperparameters, options.protocol)
                runs.save(place.folder, scenario, *numbers, trained.policy, trained.curves, described)
                shared.write_results(place.folder, scenario, compared, figures)

        def show() -> None:
            shared.show(console, scenario, compared, reason)
            parts = ", ".join(f"{name} {value:.2f} s" for name, value in figures["seconds"].items())
            took = f"{parts}; in all {time.perf_counter() - begun:.2f} s."
            console.print(took, *shared.written(place), soft_wrap=True)

        def draw() -> list[str]:
            return shared.draw(place, scenario, compared, trained.policy, trained, options.config.batch)

        deliver((save, *shared.json(options.json, figures)), show, draw if options.plots else None)


def _place(options: Train, scenario: Scenario) -> contextlib.AbstractContextManager[folders.Place]:
    """The run folder to make."""
    if options.out is None:
        return runs.new_folder(Path("runs") / scenario.name, numbered=True)
    return runs.new_folder(options.out, overwrite=options.overwrite)
