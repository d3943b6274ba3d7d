"""The command line: a thin face over the library. Options come from the dataclasses that they fill."""

import contextlib
import dataclasses
import functools
import io
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.text import Text
from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg, subcommand

from aljax import limits, plots, report, runs
from aljax.commands.offline import Collect, Ope
from aljax.commands.sweep import Sweep
from aljax.errors import UserError, one_line, plain, plain_path
from aljax.evaluate import summarise
from aljax.exact.bracket import bracket, exact, find_optimal
from aljax.exact.policy import optimal_path
from aljax.exact.structure import Plan, make_plan
from aljax.experiment import Compared, Trained, abstract_policy, check, compare, prepare, train_seeds
from aljax.host import compiling, files, folders, process, terminal
from aljax.host.numerics import difference, numerics
from aljax.host.terminal import Overrides, bar, complain, deliver, styled
from aljax.offline import regimes
from aljax.offline.regimes import Learnt, Prepared, Regime, default_algorithm
from aljax.offline.report import log_words
from aljax.options import (
    Algorithm,
    Hyperparameters,
    LearnConfig,
    LearnHyperparameters,
    Protocol,
    RegimeName,
    TrainConfig,
)
from aljax.policy import Variables
from aljax.scenario import Scenario, load_scenario, scenario_names
from aljax.train import Curve

Given = Annotated[frozenset[str], tyro.conf.Suppress]
"""Names of the options that the command line has: one that is given its default is given, too."""


def _names(options: type) -> set[str]:
    """The options that fill a dataclass."""
    return {field.name for field in dataclasses.fields(options)}


_TRAINING = _names(TrainConfig) | _names(Hyperparameters)


@dataclasses.dataclass(frozen=True)
class Scenarios:
    """List the scenarios, or show one as tables.

    Try:
      aljax scenarios
      aljax scenarios service_desk
      aljax scenarios my_agent.toml        check a file of your own
    """

    name: Positional[str | None] = None
    """A scenario's name, or the path of a TOML file; none lists what ships with aljax."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3, horizon=20, drift.evidence=0.1."""

    def run(self, console: Console) -> None:
        """Prints tables."""
        if self.name is None:
            if self.overrides:
                raise UserError("--set needs the name of a scenario")
            report.show(console, [report.scenario_list(load_scenario(name) for name in scenario_names())])
            hint = "aljax scenarios NAME shows one in full; aljax train --scenario NAME trains on it."
            console.print(hint, style="dim")
            return
        scenario = load_scenario(self.name, self.overrides)
        console.print(styled(scenario.name, "bold"), f": {scenario.title}\n", sep="")
        console.print(scenario.description)
        report.show(console, report.scenario_tables(scenario))


@dataclasses.dataclass(frozen=True)
class Baseline:
    """Evaluate the policies that need no training: latency, cost-aware, random.

    Try:
      aljax baseline --scenario escalation --json baseline.json
    """

    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    protocol: OmitArgPrefixes[Protocol] = Protocol()
    json: Path | None = None
    """Write the figures to this file, as metrics.json has them."""

    def run(self, console: Console) -> None:
        """Evaluates and prints."""
        scenario = load_scenario(self.scenario, self.overrides)
        if self.json is not None:
            files.check_writable(self.json)
        optimal, reason = find_optimal(scenario, self.protocol)
        compared = compare(scenario, self.protocol, optimal=optimal)
        figures = runs.metrics(scenario, 0, self.protocol, compared, compared.seconds)
        deliver(_json(self.json, figures), lambda: _show(console, scenario, compared, reason))


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a policy by REINFORCE, evaluate it beside the heuristics, write a run folder.

    All seeds train at once, in one compiled program. The folder appears when everything in it is complete:
    configuration, scenario, metrics.json, tables, learning curves, plots and the policy's checkpoint.

    With --data, policies learn from logged episodes: supervised (imitation, cost-sensitive classification), offline
    (fitted Q, conservative Q, policy gradient), or online from what --algorithm made of the log.

    Try:
      aljax train                                  the paper's experiment
      aljax train --scenario escalation --seeds 20
      aljax train --baseline none --no-normalise --out runs/no-baseline
      aljax train --scenario my_agent.toml --set weights.latency=1.0
      aljax train --from runs/sweep-rates --row 17   a row of a sweep again, bit for bit
      aljax train --regime offline --data log.jsonl.gz --algorithm cql
      aljax train --regime online --start runs/paper-1 --episodes 1200
    """

    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    config: OmitArgPrefixes[TrainConfig] = TrainConfig()
    hyperparameters: OmitArgPrefixes[Hyperparameters] = Hyperparameters()
    protocol: OmitArgPrefixes[Protocol] = Protocol()
    regime: RegimeName = "online"
    """Learn in the simulator, or from logs."""
    data: UseAppendAction[tuple[Path, ...]] = ()
    """A log to learn from, as aljax collect writes it; repeat for several, which are pooled."""
    other_scenario: bool = False
    """Take logs that say that they were logged under another scenario, with a warning."""
    start: Annotated[Path | None, arg(metavar="RUN")] = None
    """Go on from this run's policies, seed by seed (online)."""
    algorithm: Algorithm | None = None
    """What is made of the log; default: cost_sensitive if supervised, else fitted_q."""
    updates: int = LearnConfig.updates
    """Gradient steps on the log."""
    minibatch: int = LearnConfig.minibatch
    """Logged episodes a gradient step."""
    learning: OmitArgPrefixes[LearnHyperparameters] = LearnHyperparameters()
    out: Path | None = None
    """The run folder to make; by default runs/SCENARIO-1, or the next number that is free."""
    overwrite: bool = False
    """Replace the run folder if there is one."""
    json: Path | None = None
    """Write metrics.json to this file as well."""
    plots: bool = True
    """Draw the plots."""
    source: Annotated[Path | None, arg(name="from", metavar="SWEEP")] = None
    """Take everything from a row of this sweep folder."""
    row: int | None = None
    """Which row."""
    given: Given = frozenset()

    def run(self, console: Console) -> None:
        """Trains, evaluates, writes."""
        if self.source is not None or self.row is not None:
            self._repeated(console)
            return
        scenario = load_scenario(self.scenario, self.overrides)
        check(self.config, self.hyperparameters, self.protocol, scenario)
        if self._scratch:
            self._run(
                console, scenario, lambda: _train(console, scenario, self.config, self.hyperparameters, self.protocol)
            )
            return
        regime = Regime(
            self.regime,
            self.data,
            self.start,
            LearnConfig(
                self.algorithm or default_algorithm(self.regime), self.updates, self.minibatch, self.config.hidden
            ),
            self.learning,
            self.other_scenario,
        )
        asked = {name: getattr(self.hyperparameters, name) for name in _names(Hyperparameters) & self.given}
        numbers = dataclasses.replace(regimes.REFINEMENT, **asked)
        prepared = regimes.prepare(regime, scenario, self.config, numbers, self.protocol)
        if prepared.log is not None:
            for line in log_words(prepared.log):
                console.print(line, soft_wrap=True)
        command = dataclasses.replace(self, hyperparameters=numbers)
        command._run(console, scenario, lambda: _learn(console, scenario, prepared), prepared)

    @property
    def _scratch(self) -> bool:
        """Online and from nothing: the regime of the paper's experiment."""
        if not self.data:
            learning = {"algorithm", "updates", "minibatch", "other_scenario"} | _names(LearnHyperparameters)
            _refuse(self.given & learning, "there is nothing to learn from: expected --data LOG")
        if self.regime != "online":
            _refuse(self.given & _TRAINING - {"hidden"}, f"--regime {self.regime} does not train in the simulator")
        return self.regime == "online" and not self.data and not self.start

    def _repeated(self, console: Console) -> None:
        """Trains a row of a sweep."""
        from aljax.sweeps import repeat

        if self.source is None or self.row is None:
            raise UserError("--from and --row go together")
        own = {"from", "row", "out", "overwrite", "json", "plots"}
        _refuse(self.given - own, "--from takes scenario, numbers and seed from the sweep: leave out such options")
        row = repeat.read_row(self.source, self.row)
        figures: dict[str, float] = {}

        def train() -> Trained:
            trained, found = repeat.train_row(row)
            figures.update(found)
            _check_finite(trained)
            return trained

        job = row.job
        command = dataclasses.replace(
            self, config=job.config, hyperparameters=job.hyperparameters, protocol=row.protocol
        )
        command._run(console, job.scenario, train)
        before = repeat.recorded(row)
        if before is not None:
            same = all(before[name] == value for name, value in figures.items())
            verdict = "the same to the last bit" if same else f"NOT the same: cost {figures['cost']} here"
            console.print(f"Row {row.number} of {row.folder}: cost {before['cost']:.6g}, {verdict}.")

    def _run(
        self,
        console: Console,
        scenario: Scenario,
        train: Callable[[], Trained | Learnt],
        regime: Prepared | None = None,
    ) -> None:
        """See `run`."""
        begun = time.perf_counter()
        if self.json is not None:
            files.check_writable(self.json)
        optimal, reason = find_optimal(scenario, self.protocol)
        policy = abstract_policy(scenario, self.config, self.protocol)
        with contextlib.ExitStack() as reserved:
            place = reserved.enter_context(self._place(scenario))
            _tell(console, place)
            with ThreadPoolExecutor(1) as pool:
                # The comparison compiles while the policies train.
                prepared = pool.submit(prepare, scenario, self.protocol, policy, optimal)
                trained = train()
                waiting = time.perf_counter()
                comparison = prepared.result()
                waiting = time.perf_counter() - waiting
            compared = comparison(trained.policy)
            seconds = {**compared.seconds, **trained.seconds}
            seconds["compile"] += waiting
            played = regime.episodes if regime is not None else self.config.updates * self.config.batch
            figures = runs.metrics(scenario, played, self.protocol, compared, seconds)
            described = None if regime is None else regime.to_json()

            def save() -> None:
                with reserved:
                    folder, config = place.folder, self.config
                    policy, curves = trained.policy, trained.curves
                    runs.save(folder, scenario, config, self.hyperparameters, self.protocol, policy, curves, described)
                    _write_results(folder, scenario, compared, figures)

            def show() -> None:
                _show(console, scenario, compared, reason)
                parts = ", ".join(f"{name} {value:.2f} s" for name, value in figures["seconds"].items())
                took = f"{parts}; in all {time.perf_counter() - begun:.2f} s."
                console.print(took, *_written(place), soft_wrap=True)

            def draw() -> list[str]:
                return _draw(place, scenario, compared, trained.policy, trained, self.config.batch)

            deliver((save, *_json(self.json, figures)), show, draw if self.plots else None)

    def _place(self, scenario: Scenario) -> contextlib.AbstractContextManager[folders.Place]:
        """The run folder to make."""
        if self.out is None:
            return runs.new_folder(Path("runs") / scenario.name, numbered=True)
        return runs.new_folder(self.out, overwrite=self.overwrite)


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Reload a run and evaluate its policy, where it trained or on a changed scenario (distribution shift).

    Try:
      aljax evaluate runs/paper-1
      aljax evaluate runs/paper-1 --set actions.failure.retrieve=0.3
      aljax evaluate runs/paper-1 --set horizon=14 --out runs/paper-1-longer
    """

    folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run folder that aljax train wrote."""
    scenario: str | None = None
    """Another scenario to evaluate on, of the same actions and coordinates in any order; default: the run's own."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    seed: int | None = None
    """Seed of the evaluation's chance; default: the run's own, which repeats its evaluation exactly."""
    evaluation_episodes: int | None = None
    """Episodes of evaluation a seed; default: the run's own number."""
    out: Path | None = None
    """Write metrics.json, tables and plots into this new folder."""
    overwrite: bool = False
    """Replace the folder if there is one."""
    json: Path | None = None
    """Write the figures to this file, as metrics.json has them."""
    plots: bool = True
    """Draw the plots, where a folder is written."""

    def run(self, console: Console) -> None:
        """Loads, evaluates, prints, writes what was asked for."""
        if self.json is not None:
            files.check_writable(self.json)
        run = runs.load(self.folder)
        # Path.exists raises where no file could have this name.
        if self.out is not None and os.path.exists(self.out) and self.out.samefile(self.folder):  # noqa: PTH110
            raise UserError(f"--out: {plain_path(self.out)} is the run itself, whose policy would be lost")
        scenario = run.scenario
        if self.scenario is not None:
            scenario = load_scenario(self.scenario, self.overrides)
        elif self.overrides:
            scenario = run.changed(self.overrides)
        scenario = run.as_seen(self.folder, scenario)
        changes = {"seed": self.seed, "evaluation_episodes": self.evaluation_episodes}
        protocol = dataclasses.replace(run.protocol, **{k: v for k, v in changes.items() if v is not None})
        with contextlib.ExitStack() as reserved:
            place = None
            if self.out is not None:
                place = reserved.enter_context(runs.new_folder(self.out, overwrite=self.overwrite))
                _tell(console, place)
            optimal, reason = find_optimal(scenario, protocol)
            compared = compare(scenario, protocol, run.policy, optimal)
            figures = runs.metrics(scenario, run.metrics["episodes"], protocol, compared, compared.seconds)

            def save() -> None:
                if place is not None:
                    with reserved:
                        _write_results(place.folder, scenario, compared, figures)

            def show() -> None:
                _show(console, scenario, compared, reason)
                differs = difference(run.numerics, numerics()) if run.numerics else ""
                if differs and self.scenario is None and not self.overrides and protocol == run.protocol:
                    console.print(f"Not the run's own figures to the last bit: it was {differs}.", soft_wrap=True)
                if place is not None:
                    console.print(*_written(place), soft_wrap=True)

            def draw() -> list[str]:
                return [] if place is None else _draw(place, scenario, compared, run.policy)

            deliver((save, *_json(self.json, figures)), show, draw if self.plots else None)


_LONG = TrainConfig(episodes=120_000)


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The best that any policy could do: the exact optimum, or bounds on it.

    Where every action only adds to the task (no gain, noise or misreading), backward induction gives the exact
    optimum, and the optimal actions from a start. Elsewhere an information relaxation bounds the cost of every policy
    from below, and the best of the policies at hand, trained here or in a run, bounds the optimum from above.

    Try:
      aljax optimal
      aljax optimal --scenario escalation --start 3,2.5
      aljax optimal --scenario service_desk
      aljax optimal --scenario service_desk --from-run runs/service_desk-1
    """

    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    start: str | None = None
    """Show the optimal actions from this task vector, e.g. 0.9,6.4,6.9; default: the middle of the starts."""
    protocol: OmitArgPrefixes[Protocol] = Protocol()
    from_run: Path | None = None
    """For bounds: take the policies of this run folder instead of training some."""
    config: OmitArgPrefixes[TrainConfig] = _LONG
    hyperparameters: OmitArgPrefixes[Hyperparameters] = Hyperparameters()
    figure: Path | None = None
    """Draw the optimal first action and the least expected cost over the starts to this PNG file."""
    json: Path | None = None
    """Write the figures to this file, as metrics.json has them."""
    given: Given = frozenset()

    def run(self, console: Console) -> None:
        """Solves or bounds, prints, writes what was asked for."""
        begun = time.perf_counter()
        scenario = load_scenario(self.scenario, self.overrides)
        check(self.config, self.hyperparameters, self.protocol, scenario)
        if self.from_run is not None:
            _refuse(self.given & _TRAINING, "--from-run takes policies that are trained")
        start = self._start(scenario)
        for place in (self.json, self.figure):
            if place is not None:
                files.check_writable(place)
        if self.figure is not None:
            plots.check_figure(self.figure)
        drawings: dict[Path, Callable[[Path], None]] = {}
        try:
            plan = make_plan(scenario.params, scenario=scenario)
        except UserError as refusal:
            for option, value in (("--start", self.start), ("--figure", self.figure)):
                if value is not None:
                    raise UserError(f"{option} needs the exact optimum, but {refusal}") from None
            figures, show = self._bound(console, scenario, str(refusal))
        else:
            _refuse(
                self.given & (_TRAINING | {"from_run"}), f"{scenario.name} has an exact optimum, which needs no policy"
            )
            if self.figure is not None:
                plots.check_optimum(scenario, plan)
                drawings[self.figure] = functools.partial(plots.optimum, scenario=scenario, plan=plan, start=start)
            figures, show = self._solve(console, scenario, plan, start)
        figures["seconds"]["in_all"] = round(time.perf_counter() - begun, 4)
        deliver(_json(self.json, figures), show)
        complaints = plots.draw_all(drawings) if drawings else []
        if complaints:
            raise UserError(complaints[0])

    def _start(self, scenario: Scenario) -> list[float]:
        """The task vector to start from."""
        names = scenario.coordinate_names
        if self.start is None:
            low, high = scenario.params.start_low, scenario.params.start_high
            return [float(x) for x in (low + high) / 2]
        try:
            values = [float(x) for x in self.start.split(",")]
        except ValueError:
            values = []
        if len(values) != len(names) or not all(abs(x) <= limits.LARGEST for x in values):
            wanted = plain(",".join(names), 160)
            raise UserError(f"--start: expected {len(names)} numbers with commas, {wanted}; got {plain(self.start)}")
        return values

    def _solve(
        self, console: Console, scenario: Scenario, plan: Plan, start: list[float]
    ) -> tuple[dict[str, Any], Callable[[], None]]:
        """Exact value, its rollouts, and the actions from one start: the figures, and what shows them."""
        optimal, reason = find_optimal(scenario, self.protocol)
        with (
            bar(console, "solving", self.protocol.seeds, "seeds") as (shown, task),
            ThreadPoolExecutor() as pool,  # most of the time is spent compiling, which they do side by side
        ):
            on_progress = functools.partial(shown.advance, task)
            expectations = pool.submit(exact, scenario, self.protocol, plan, on_progress)
            comparison = pool.submit(compare, scenario, self.protocol, optimal=optimal)
            shortest = pool.submit(optimal_path, scenario.params, start, plan)
        expected, compared, path = summarise(expectations.result()), comparison.result(), shortest.result()

        def show() -> None:
            report.show(console, [report.optimal_table(scenario, expected, compared.summaries.get("optimal"))])
            if reason:
                console.print(reason)
            report.show(console, [report.path_table(scenario, path)])

        figures = runs.metrics(scenario, 0, self.protocol, compared, compared.seconds)
        return figures | {"exact": expected.to_json()}, show

    def _bound(self, console: Console, scenario: Scenario, refusal: str) -> tuple[dict[str, Any], Callable[[], None]]:
        """A bracket, the upper bound from a run's policies or from some trained here; and what shows it."""
        plan = make_plan(scenario.params, scenario=scenario, relaxed=True)
        announcement = f"No exact optimum: {refusal}. Bounds instead."
        if self.from_run is not None:
            run = runs.load(self.from_run)
            scenario = run.as_seen(self.from_run, scenario)
            console.print(announcement)
            policy, trained_on = run.policy, run.metrics["episodes"]
        else:
            console.print(announcement)
            policy = _train(console, scenario, self.config, self.hyperparameters, self.protocol).policy
            trained_on = self.config.updates * self.config.batch
        total = self.protocol.seeds * self.protocol.evaluation_episodes
        with bar(console, "bounding", total, "starts") as (shown, task):
            found = bracket(scenario, self.protocol, plan, policy, lambda done: shown.update(task, completed=done))
        policies = {found.policy.partition(",")[0]: found.summary.to_json()}
        figures = runs.header(scenario, trained_on, self.protocol) | {"policies": policies, "seconds": {}}
        show = functools.partial(report.show, console, [report.bracket_table(scenario, found)])
        return figures | {"bounds": found.to_json()}, show


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure everything side by side on this machine: stepping, rollouts, training, floors, growth, start-up.

    Needs the source tree, where the benchmarks are, and the extra `bench` for the rivals; some half an hour on 2 cores.

    Try:
      aljax bench --quick
      aljax bench --json bench.json --page bench.md --figures .
      aljax bench --parts stepping floors
    """

    quick: bool = False
    """Everything small: proves that it runs, measures nothing worth quoting."""
    parts: tuple[str, ...] = ()
    """Only these: stepping, rollouts, training, floors, growth, startup."""
    repeats: int = 10
    """Times that a row is timed."""
    json: Path | None = None
    """Write the receipt to this file; a run that was stopped goes on from there."""
    page: Path | None = None
    """Write the tables to this file, Markdown."""
    figures: Path | None = None
    """Write the plots into this folder."""

    def run(self, console: Console) -> int:
        """Runs the suite in a process of its own, and returns its exit status."""
        del console
        script = Path(__file__).parents[2] / "benchmarks" / "bench.py"
        if not script.is_file():
            raise UserError(f"bench: the benchmarks are in the source tree, not in what is installed: no {script}")
        options = ["--repeats", str(self.repeats), *(["--quick"] if self.quick else [])]
        options += ["--parts", *self.parts] if self.parts else []
        for name in ("json", "page", "figures"):
            if getattr(self, name) is not None:
                options += [f"--{name}", str(getattr(self, name))]
        return subprocess.call([sys.executable, str(script), *options])


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      args: as from the shell, without the program's name; none reads ``sys.argv``.

    Returns:
      The exit status: 0; 2 for bad input, told in one line on standard error; if a signal ended it, 128 and its number.
    """
    command = None
    try:
        with process.ended_by_signals(), process.limits_in_one_line():
            console = terminal.console()  # first of all: help, too, is shown on what may not have all characters
            command = _parse(sys.argv[1:] if args is None else list(args))
            compiling.use_cache()
            if isinstance(command, Train):
                compiling.use_cores()
            if not isinstance(command, Sweep | Bench):  # the one starts JAX itself, the other in a process of its own
                process.check_jax()
            status = command.run(console) or 0
            terminal.flush()
            return status
    except UserError as error:
        complain(error)
        return 2
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        complain(f"interrupted; {_outcome(command)}")
        return 130
    except process.Terminated as ended:
        complain(f"terminated; {_outcome(command)}")
        return ended.status


def _outcome(command: Any) -> str:
    """What is left of a command that was ended early."""
    if isinstance(command, Sweep):
        return "finished runs are kept, the same command goes on from there"
    return "nothing is half-written"


def entry() -> None:
    """The installed command."""
    sys.exit(main())


def _parse(args: list[str]) -> Any:
    """The command with its options filled in; complaints come as one line."""
    named: Any = Annotated[
        Annotated[Scenarios, subcommand("scenarios")]
        | Annotated[Baseline, subcommand("baseline")]
        | Annotated[Train, subcommand("train")]
        | Annotated[Evaluate, subcommand("evaluate")]
        | Annotated[Optimum, subcommand("optimal")]
        | Annotated[Sweep, subcommand("sweep")]
        | Annotated[Collect, subcommand("collect")]
        | Annotated[Ope, subcommand("ope")]
        | Annotated[Bench, subcommand("bench")],
        arg(name=""),
    ]
    for before, value in itertools.pairwise(["", *args]):
        if not value or (value.startswith("--") and value.endswith("=")):  # a path of nothing would be the folder here
            option = value[:-1] or (before if before.startswith("--") else "an argument")
            raise UserError(f"{plain(option)}: expected a value, got none")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            command = tyro.cli(
                named, prog="aljax", description=_ABOUT, args=args, config=(tyro.conf.OmitSubcommandPrefixes,)
            )
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        raise UserError(_folded(complaint.getvalue())) from None
    return dataclasses.replace(command, given=_given(args)) if hasattr(command, "given") else command


def _given(args: Sequence[str]) -> frozenset[str]:
    """Names of the options among arguments that the parser has accepted.

    It takes no option of its own for another's value, no abbreviation and no single letter: what begins with two
    dashes, up to where options end, is an option.
    """
    found = set()
    for argument in itertools.takewhile(lambda argument: argument != "--", args):
        if argument.startswith("--"):
            found.add(argument[2:].partition("=")[0].replace("-", "_").removeprefix("no_"))
    return frozenset(found)


def _refuse(options: AbstractSet[str], reason: str) -> None:
    """Refuses options that would be without effect."""
    if options:
        raise UserError(f"{', '.join(f'--{name}'.replace('_', '-') for name in sorted(options))}: {reason}")


_ABOUT = (
    "aljax: which tool next? Simulate an LLM agent's tool calls, train an orchestration policy, and compare it with "
    "what it should beat. Start with: aljax train"
)


def _folded(boxed: str) -> str:
    """The parser's framed message as one line: what is under its heading, then where to look."""
    lines = [line.strip(" │╭╮╰╯|+") for line in boxed.splitlines()]
    sections = [list(group) for rule, group in itertools.groupby(filter(None, lines), _is_rule) if not rule]
    body = " ".join((sections[0][1:] or sections[1]) if len(sections) > 1 else [boxed])
    return f"{plain(one_line(body), 400)} (aljax COMMAND --help lists the options)"


def _is_rule(line: str) -> bool:
    return set(line) <= set("─-")


def _train(
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
    _check_finite(trained)
    return trained


def _learn(console: Console, scenario: Scenario, regime: Prepared) -> Trained | Learnt:
    """Learns from a log, and goes on online where the regime says so."""
    learned = None
    if regime.log is not None:
        config = regime.regime.learn
        with bar(console, f"learning ({config.algorithm})", config.updates, "updates") as (shown, task):

            def on_progress(done: int, losses: Any) -> None:
                shown.update(task, completed=done, note=f", loss {losses[:, done - 1].mean():.3f}")

            learned = regime.learn(on_progress)
        _check_finite(learned, "--step-size")
    if regime.regime.name != "online":
        assert learned is not None
        return learned
    begin = regime.begin
    if learned is not None:
        begin = regimes.softened(scenario, learned.policy.variables, learned.policy.network)
    trained = _train(console, scenario, regime.config, regime.hyperparameters, regime.protocol, begin)
    return trained if learned is None else regimes.both(learned, trained)


def _check_finite(trained: Trained | Learnt, option: str = "--learning-rate") -> None:
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


def _show(console: Console, scenario: Scenario, compared: Compared, no_optimum: str = "") -> None:
    """The tables, and why there is no optimum to compare with if there is none."""
    report.show(console, report.metric_tables(scenario, compared.summaries))
    if no_optimum:
        console.print(f"No gap to the optimum: {no_optimum}.")


def _json(path: Path | None, figures: dict[str, Any]) -> tuple[Callable[[], None], ...]:
    """What writes the figures where they were asked for, if they were."""
    return () if path is None else (lambda: files.write_json(path, figures),)


def _tell(console: Console, place: folders.Place) -> None:
    """Says at once if a folder will not be where it was asked for."""
    if place.notice:
        console.print(place.notice, soft_wrap=True)


def _written(place: folders.Place) -> tuple[str | Text, ...]:
    """Where a folder was written, and why not where it was asked for."""
    if not place.complete:
        return ("Nothing was written.",)
    why = (f"({place.notice})",) if place.notice else ()
    return ("Written to", styled(place.path, "bold"), *why)


def _write_results(folder: Path, scenario: Scenario, compared: Compared, figures: dict[str, Any]) -> None:
    tables = report.metric_tables(scenario, compared.summaries, plain=True)
    (folder / "tables.md").write_text(report.markdown(tables), encoding="utf-8")
    files.write_json(folder / "metrics.json", figures)


def _draw(
    place: folders.Place,
    scenario: Scenario,
    compared: Compared,
    policy: Any,
    trained: Trained | Learnt | None = None,
    batch: int = 1,
) -> list[str]:
    """Draws the run's pictures into its folder, and returns complaints; the map of choices is the first seed's."""
    if not place.complete:
        return []
    import jax

    name, first = scenario.name, jax.tree.map(lambda leaf: np.asarray(leaf)[0], policy)
    drawings: dict[str, Callable[[Path], None]] = {
        "components.png": lambda file: plots.components(file, scenario, compared.summaries),
        "choices.png": lambda file: plots.choices(file, scenario, compared.evaluations, first),
    }
    if isinstance(trained, Learnt):
        drawings["learning_curves.png"] = lambda file: plots.losses(file, trained.losses, name)
    elif trained is not None:
        drawings["learning_curves.png"] = lambda file: plots.learning_curves(
            file, trained.curve, batch, compared.summaries, name
        )
    return plots.draw_all({place.path / name: drawing for name, drawing in drawings.items()})
