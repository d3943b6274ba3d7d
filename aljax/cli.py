"""The command line: a thin face over the library. Options come from the dataclasses that they fill."""

import contextlib
import dataclasses
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg, subcommand

from aljax import report, runs
from aljax.errors import UserError, one_line
from aljax.experiment import Compared, Protocol, check, compare, train_seeds
from aljax.scenario import Scenario, load_scenario, scenario_names
from aljax.train import Curve, Hyperparameters, TrainConfig

Overrides = Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="KEY=VALUE")]


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
            console.print("[dim]aljax scenarios NAME shows one in full; aljax train --scenario NAME trains on it.[/]")
            return
        scenario = load_scenario(self.name, self.overrides)
        console.print(f"[bold]{scenario.name}[/]: {scenario.title}\n", highlight=False)
        console.print(scenario.description, highlight=False, markup=False)
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
            runs.check_writable(self.json)
        compared = compare(scenario, self.protocol)
        _show(console, scenario, compared)
        if self.json is not None:
            runs.write_json(self.json, runs.metrics(scenario, 0, self.protocol, compared, compared.seconds))


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a policy by REINFORCE, evaluate it beside the heuristics, write a run folder.

    All seeds train at once, in one compiled program. The folder appears when everything in it is complete:
    configuration, scenario, metrics.json, tables, learning curves, plots and the policy's checkpoint.

    Try:
      aljax train                                  the paper's experiment
      aljax train --scenario escalation --seeds 20
      aljax train --baseline none --normalise False --out runs/no-baseline
      aljax train --scenario my_agent.toml --set weights.latency=1.0
    """

    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    config: OmitArgPrefixes[TrainConfig] = TrainConfig()
    hyperparameters: OmitArgPrefixes[Hyperparameters] = Hyperparameters()
    protocol: OmitArgPrefixes[Protocol] = Protocol()
    out: Path | None = None
    """The run folder to make; by default runs/SCENARIO-1, or the next number that is free."""
    overwrite: bool = False
    """Replace the run folder if there is one."""
    json: Path | None = None
    """Write metrics.json to this file as well."""
    plots: bool = True
    """Draw the plots."""

    def run(self, console: Console) -> None:
        """Trains, evaluates, writes."""
        begun = time.perf_counter()
        scenario = load_scenario(self.scenario, self.overrides)
        check(self.config, self.hyperparameters, self.protocol)
        if self.json is not None:
            runs.check_writable(self.json)
        out = self.out or runs.fresh_folder("runs", scenario.name)
        with runs.new_folder(out, overwrite=self.overwrite) as folder:
            with _progress(console, self.config) as on_progress:
                trained = train_seeds(scenario, self.config, self.hyperparameters, self.protocol, on_progress)
            if trained.diverged:
                seeds = ", ".join(map(str, trained.diverged))
                raise UserError(
                    f"training diverged (weights are not finite) on seeds {seeds}: try a smaller --learning-rate"
                )
            compared = compare(scenario, self.protocol, trained.policy)
            seconds = {**trained.seconds, **compared.seconds}
            seconds["compile"] = trained.seconds["compile"] + compared.seconds["compile"]
            figures = runs.metrics(scenario, self.config.updates * self.config.batch, self.protocol, compared, seconds)
            runs.save(folder, scenario, self.config, self.hyperparameters, self.protocol, trained)
            _write_results(folder, scenario, compared, figures)
            if self.plots:
                _draw(folder, scenario, compared, trained.policy, trained.curve, self.config.batch)
        if self.json is not None:
            runs.write_json(self.json, figures)
        _show(console, scenario, compared)
        parts = ", ".join(f"{name} {value:.2f} s" for name, value in figures["seconds"].items())
        console.print(
            f"{parts}; in all {time.perf_counter() - begun:.2f} s. Written to [bold]{out}[/]", highlight=False
        )


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
    """Another scenario to evaluate on, of as many actions and coordinates; default: the run's own."""
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
            runs.check_writable(self.json)
        run = runs.load(self.folder)
        scenario = run.scenario
        if self.scenario is not None:
            scenario = load_scenario(self.scenario, self.overrides)
        elif self.overrides:
            scenario = run.changed(self.overrides)
        trained_on, asked = ((len(s.action_names), len(s.coordinate_names)) for s in (run.scenario, scenario))
        if trained_on != asked:
            raise UserError(
                f"{scenario.name}: {asked[0]} actions and {asked[1]} coordinates, but {self.folder} was trained on "
                f"{run.scenario.name} with {trained_on[0]} and {trained_on[1]}"
            )
        scenario = run.as_seen(scenario, self.overrides)
        changes = {"seed": self.seed, "evaluation_episodes": self.evaluation_episodes}
        protocol = dataclasses.replace(run.protocol, **{k: v for k, v in changes.items() if v is not None})
        place = runs.new_folder(self.out, overwrite=self.overwrite) if self.out else contextlib.nullcontext(None)
        with place as folder:
            compared = compare(scenario, protocol, run.policy)
            figures = runs.metrics(scenario, run.metrics["episodes"], protocol, compared, compared.seconds)
            if folder is not None:
                _write_results(folder, scenario, compared, figures)
                if self.plots:
                    _draw(folder, scenario, compared, run.policy)
        if self.json is not None:
            runs.write_json(self.json, figures)
        _show(console, scenario, compared)


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      args: as from the shell, without the program's name; none reads ``sys.argv``.

    Returns:
      The exit status: 0, or 2 for bad input, told in one line on standard error.
    """
    try:
        command = _parse(sys.argv[1:] if args is None else list(args))
        command.run(Console(width=None if sys.stdout.isatty() else 160))
    except UserError as error:
        print(f"aljax: {one_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("aljax: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


def entry() -> None:
    """The installed command."""
    sys.exit(main())


def _parse(args: list[str]) -> Any:
    """The command with its options filled in; complaints come as one line."""
    named: Any = Annotated[
        Annotated[Scenarios, subcommand("scenarios")]
        | Annotated[Baseline, subcommand("baseline")]
        | Annotated[Train, subcommand("train")]
        | Annotated[Evaluate, subcommand("evaluate")],
        arg(name=""),
    ]
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                named, prog="aljax", description=_ABOUT, args=args, config=(tyro.conf.OmitSubcommandPrefixes,)
            )
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        raise UserError(_folded(complaint.getvalue())) from None


_ABOUT = (
    "aljax: which tool next? Simulate an LLM agent's tool calls, train an orchestration policy, and compare it with "
    "what it should beat. Start with: aljax train"
)


def _folded(boxed: str) -> str:
    """The parser's framed message as one line: its first section, then where to look."""
    lines = [line.strip(" │╭╮╰╯|+") for line in boxed.splitlines()]
    lines = [line for line in lines if line]
    body: list[str] = []
    for line in lines[1:]:
        if set(line) <= set("─-"):
            break
        body.append(line)
    return f"{one_line(' '.join(body) or boxed)} (aljax COMMAND --help lists the options)"


@contextlib.contextmanager
def _progress(console: Console, config: TrainConfig) -> Iterator[Callable[[int, Curve], None]]:
    """A bar with the mean cost so far; silent where the output is no terminal."""
    columns = (
        TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("updates, cost {task.fields[cost]}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("training", total=config.updates, cost="…")

        def on_progress(done: int, curve: Curve) -> None:
            bar.update(task, completed=done, cost=f"{curve.cost[:, done - 1].mean():.3f}")

        yield on_progress


def _show(console: Console, scenario: Scenario, compared: Compared) -> None:
    report.show(console, report.metric_tables(scenario, compared.summaries))


def _write_results(folder: Path, scenario: Scenario, compared: Compared, figures: dict[str, Any]) -> None:
    tables = report.metric_tables(scenario, compared.summaries, plain=True)
    (folder / "tables.md").write_text(report.markdown(tables), encoding="utf-8")
    runs.write_json(folder / "metrics.json", figures)


def _draw(
    folder: Path, scenario: Scenario, compared: Compared, policy: Any, curve: Curve | None = None, batch: int = 1
) -> None:
    """The run's pictures; the map of choices is the first seed's."""
    import jax

    from aljax import plots

    if curve is not None:
        plots.learning_curves(folder / "learning_curves.png", curve, batch, compared.summaries, scenario.name)
    plots.components(folder / "components.png", scenario, compared.summaries)
    first = jax.tree.map(lambda leaf: leaf[0], policy)
    plots.choices(folder / "choices.png", scenario, compared.evaluations, first)
