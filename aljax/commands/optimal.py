"""The command ``aljax optimal``."""

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from aljax import limits, runs, tables
from aljax.checks import check
from aljax.commands import shared
from aljax.commands.bars import Bars
from aljax.commands.options.optimal import Optimum
from aljax.commands.options.shared import TRAINING, refuse
from aljax.commands.start import start_jax
from aljax.comparison import compare
from aljax.drawing import check_figure, draw_all
from aljax.env import expected_start
from aljax.errors import UserError, plain
from aljax.evaluate import summarise
from aljax.exact import plots
from aljax.exact.bracket import bracket, exact, find_optimal
from aljax.exact.constrained import MOST_CUTS, constrained_bound
from aljax.exact.cvar import MOST_THRESHOLDS, cvar_bound
from aljax.exact.plan import Plan
from aljax.exact.policy import optimal_path
from aljax.exact.report import bracket_table, constrained_table, cvar_table, optimal_table, path_table
from aljax.exact.structure import make_plan
from aljax.host import files
from aljax.host.terminal import bar, deliver
from aljax.learner import train_watched
from aljax.promises import constraints_of
from aljax.scenario import Scenario, load_scenario


def run(options: Optimum, console: Console) -> None:
    """Solves or bounds, prints, writes what was asked for."""
    start_jax()
    begun = time.perf_counter()
    scenario = load_scenario(options.scenario, options.overrides)
    config = options.config.plain()
    check(config, options.hyperparameters, options.protocol, scenario)
    if options.from_run is not None:
        refuse(options.given & TRAINING, "--from-run takes policies that are trained")
    start = _start(options, scenario)
    for place in (options.json, options.figure):
        if place is not None:
            files.check_writable(place)
    if options.figure is not None:
        check_figure(options.figure)
    drawings: dict[Path, Callable[[Path], None]] = {}
    try:
        plan = make_plan(scenario.params, scenario=scenario)
    except UserError as refusal:
        for option, value in (
            ("--start", options.start), ("--figure", options.figure), ("--constraint", config.constraints or None),
            ("--objective cvar", config.objective == "cvar" or None),
        ):  # fmt: skip
            if value is not None:
                raise UserError(f"{option} needs the exact optimum, but {refusal}") from None
        figures, show = _bound(options, console, scenario, str(refusal))
    else:
        tail = {"alpha"} if config.objective == "cvar" else set()
        refuse(
            options.given & (TRAINING | {"from_run"}) - {"constraint", "objective"} - tail,
            f"{scenario.name} has an exact optimum, which needs no policy",
        )
        if options.figure is not None:
            plots.check_optimum(scenario, plan)
            drawings[options.figure] = functools.partial(plots.optimum, scenario=scenario, plan=plan, start=start)
        figures, show = _solve(options, console, scenario, plan, start)
        if config.objective == "cvar":
            figures, show = _worst(options, console, scenario, figures, show)
        if config.constraints:
            figures, show = _promised(options, console, scenario, figures, show)
    figures["seconds"]["in_all"] = round(time.perf_counter() - begun, 4)
    deliver(shared.json(options.json, figures), show)
    complaints = draw_all(drawings) if drawings else []
    if complaints:
        raise UserError(complaints[0])


def _start(options: Optimum, scenario: Scenario) -> list[float]:
    """The task vector to start from."""
    names = scenario.coordinate_names
    if options.start is None:
        return [float(x) for x in expected_start(scenario.params)]
    try:
        values = [float(x) for x in options.start.split(",")]
    except ValueError:
        values = []
    if len(values) != len(names) or not all(abs(x) <= limits.LARGEST for x in values):
        wanted = plain(",".join(names), 160)
        raise UserError(f"--start: expected {len(names)} numbers with commas, {wanted}; got {plain(options.start)}")
    return values


def _solve(
    options: Optimum, console: Console, scenario: Scenario, plan: Plan, start: list[float]
) -> tuple[dict[str, Any], Callable[[], None]]:
    """Exact value, its rollouts, and the actions from one start: the figures, and what shows them."""
    optimal, reason = find_optimal(scenario, options.protocol)
    with (
        bar(console, "solving", options.protocol.seeds, "seeds") as (shown, task),
        ThreadPoolExecutor() as pool,  # most of the time is spent compiling, which they do side by side
    ):
        on_progress = functools.partial(shown.advance, task)
        expectations = pool.submit(exact, scenario, options.protocol, plan, on_progress)
        comparison = pool.submit(compare, scenario, options.protocol, optimal=optimal)
        shortest = pool.submit(optimal_path, scenario.params, start, plan)
    expected, compared, path = summarise(expectations.result()), comparison.result(), shortest.result()

    def show() -> None:
        tables.show(console, [optimal_table(scenario, expected, compared.summaries.get("optimal"))])
        if reason:
            console.print(reason)
        tables.show(console, [path_table(scenario, path)])

    figures = runs.metrics(scenario, 0, options.protocol, compared, compared.seconds)
    return figures | {"exact": expected.to_json()}, show


def _promised(
    options: Optimum,
    console: Console,
    scenario: Scenario,
    figures: dict[str, Any],
    before: Callable[[], None],
) -> tuple[dict[str, Any], Callable[[], None]]:
    """The same, and what keeping promises costs at least."""
    with bar(console, "bounding", MOST_CUTS, "optima") as (shown, task):
        found = constrained_bound(
            scenario, options.protocol, constraints_of(options.config), functools.partial(shown.advance, task)
        )

    def show() -> None:
        before()
        tables.show(console, [constrained_table(scenario, found)])

    return figures | {"constrained": found.to_json()}, show


def _worst(
    options: Optimum,
    console: Console,
    scenario: Scenario,
    figures: dict[str, Any],
    before: Callable[[], None],
) -> tuple[dict[str, Any], Callable[[], None]]:
    """The same, and how low the mean of the worst share can be."""
    with bar(console, "bounding", MOST_THRESHOLDS, "optima") as (shown, task):
        alpha = options.hyperparameters.alpha
        found = cvar_bound(scenario, options.protocol, alpha, functools.partial(shown.advance, task))

    def show() -> None:
        before()
        tables.show(console, [cvar_table(scenario, found)])

    return figures | {"cvar": found.to_json()}, show


def _bound(
    options: Optimum, console: Console, scenario: Scenario, refusal: str
) -> tuple[dict[str, Any], Callable[[], None]]:
    """A bracket, the upper bound from a run's policies or from some trained here; and what shows it."""
    plan = make_plan(scenario.params, scenario=scenario, relaxed=True)
    announcement = f"No exact optimum: {refusal}. Bounds instead."
    if options.from_run is not None:
        run = runs.load(options.from_run)
        scenario = run.as_seen(options.from_run, scenario)
        console.print(announcement)
        policy, trained_on = run.policy, run.metrics["episodes"]
    else:
        console.print(announcement)
        numbers = (options.config.plain(), options.hyperparameters, options.protocol)
        with Bars(console) as watch:
            policy = train_watched(scenario, *numbers, watch).policy
        trained_on = options.config.updates * options.config.batch
    total = options.protocol.seeds * options.protocol.evaluation_episodes
    with bar(console, "bounding", total, "starts") as (shown, task):
        found = bracket(scenario, options.protocol, plan, policy, lambda done: shown.update(task, completed=done))
    policies = {found.policy.partition(",")[0]: found.summary.to_json()}
    figures = runs.header(scenario, trained_on, options.protocol) | {"policies": policies, "seconds": {}}
    show = functools.partial(tables.show, console, [bracket_table(scenario, found)])
    return figures | {"bounds": found.to_json()}, show
