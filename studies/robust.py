"""Does training over a posterior of environments pay where the environment is not the one that was calibrated?

An agent log is divided by tasks: every third task is calibrated on, so that much is left open, and the rest is held
out. Policies are trained in the environment of the calibrated numbers, or in a new one every episode, drawn from their
intervals, and then all meet the same environments on the same starts and luck: those that the calibration allows; twice
as unsure; all numbers (failures, seconds, dollars) one standard deviation larger; and those that the held-out runs,
calibrated by themselves, allow. Nothing is tuned: all options but those named are the defaults. Intervals are over
seeds, each of which has environments of its own. Prints tables; writes a JSON receipt and a figure if asked; finished
domains are kept in the receipt, and the same command goes on from there.

    python studies/robust.py --log tau2.jsonl.gz --json studies/results/robust.json --figure docs/figures/robust.png
"""

import argparse
import datetime
import hashlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

from aljax.calibration.fitting import fit_runs
from aljax.calibration.rows import arrange
from aljax.calibration.runs import runs_of
from aljax.drawing import check_figure, pyplot, save
from aljax.errors import UserError
from aljax.host import terminal
from aljax.host.files import check_writable, read_json, write_json
from aljax.options import CalibrationSettings, Hyperparameters, Protocol, TrainConfig
from aljax.policy import Policy
from aljax.robust import evaluate_environments
from aljax.scenario import Scenario, parse_scenario
from aljax.statistics import Interval
from aljax.training import train_seeds
from aljax.transfer import as_seen

from receipts import machine, status_of, versions

CONTESTANTS: Mapping[str, Mapping[str, Any]] = {
    "mean": {},
    "posterior": {"environments": "posterior"},
    "posterior, cvar": {"environments": "posterior", "objective": "cvar"},
    "mean, gru": {"policy": "gru"},
    "posterior, gru": {"environments": "posterior", "policy": "gru"},
}
"""Options of training; the others are measured against the first."""
SHIFTS: Mapping[str, Mapping[str, float]] = {
    "as calibrated": {},
    "twice as unsure": {"widen": 2.0},
    "all numbers larger": {"moved": 1.0},
    "held-out runs": {},
}
FEE = 25.0
"""Dollars of a hand-over, where there is one: so dear that it is not what to do first, as it is at the log's own, which
has no price of the person who takes over."""
EVERY = 3
CHOSEN = ("trained", "episodes", "seeds", "seed", "draws", "evaluation_episodes")
"""Options that results depend on."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, required=True, help="an agent log with tasks named domain/number")
    parser.add_argument("--domains", nargs="+", default=["airline", "retail"])
    parser.add_argument("--trained", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS), metavar="HOW")
    parser.add_argument("--episodes", type=int, default=18_000, help="that each policy is trained on")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=777, help="from which all seeds are drawn")
    parser.add_argument("--draws", type=int, default=100, help="environments a seed")
    parser.add_argument("--evaluation-episodes", type=int, default=100, help="in each environment")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 600 episodes, 10 environments")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    return status_of(lambda: study(options))


def study(options: argparse.Namespace) -> None:
    """Trains, measures, prints, writes."""
    if options.quick:
        options.seeds, options.episodes, options.draws, options.evaluation_episodes = 2, 600, 10, 20
    if options.figure:
        check_figure(options.figure)
    chosen = {key: getattr(options, key) for key in CHOSEN}
    chosen["log"] = hashlib.sha256(options.log.read_bytes()).hexdigest()
    results: dict[str, Any] = {}
    if options.json:
        check_writable(options.json)
        before = read_json(options.json) if options.json.is_file() else {}
        results = before["results"] if before.get("options") == chosen else {}
    console = terminal.console()
    for domain in options.domains:
        if domain not in results:
            begun = time.perf_counter()
            results[domain] = measure(domain, options)
            results[domain]["seconds"] = time.perf_counter() - begun
            if options.json:
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                receipt = {"when": now, "options": chosen, "results": results, "machine": machine(),
                           "versions": versions()}  # fmt: skip
                write_json(options.json, receipt)
        _show(console, domain, results[domain])
    if options.figure:
        draw(options.figure, {domain: results[domain] for domain in options.domains})


def calibrated(log: Path, domain: str) -> tuple[Scenario, Scenario, dict[str, int]]:
    """Scenarios of every third task's runs and of the other tasks' runs, on the first one's scales, and their sizes."""
    settings = CalibrationSettings()
    runs = arrange(list(runs_of([log], tasks=(f"{domain}/*",))), settings.least)
    tasks = sorted({run.task for run in runs})
    if not tasks:
        raise UserError(f"{log}: no task of domain {domain}")
    few = set(tasks[::EVERY])
    parts = [run for run in runs if run.task in few], [run for run in runs if run.task not in few]
    first = fit_runs(parts[0], settings, name=domain)
    fits = first, fit_runs(parts[1], settings, like=first, name=f"{domain}_rest")
    fee = {"actions.escalate.money": FEE} if "escalate" in first.rows else {}
    own, rest = (
        parse_scenario(fit.text, name=fit.scenario.name, where=fit.scenario.name, overrides=fee) for fit in fits
    )
    sizes = {"tasks": len(few), "runs": len(parts[0]), "held_out_tasks": len(tasks) - len(few),
             "held_out_runs": len(parts[1]), "intervals": len(own.doubts)}  # fmt: skip
    return own, as_seen(own, domain, rest), sizes


def measure(domain: str, options: argparse.Namespace) -> dict[str, Any]:
    """Each policy's mean cost and worst tenth under every shift, and how much less it is than that of the first."""
    own, rest, sizes = calibrated(options.log, domain)
    protocol = Protocol(options.seeds, options.seed, options.evaluation_episodes)
    policies: dict[str, Policy] = {}
    for name in options.trained:
        config = TrainConfig(episodes=options.episodes, **CONTESTANTS[name])
        policies[name] = train_seeds(own, config, Hyperparameters(), protocol).policy
    found: dict[str, Any] = {"sizes": sizes, "shifts": {}}
    for shift, how in SHIFTS.items():
        scenario = rest if shift == "held-out runs" else own
        trained = frozenset(policies)
        played = evaluate_environments(
            scenario, policies, protocol, trained=trained, draws=options.draws, widen=how.get("widen", 1.0),
            moved=how.get("moved", 0.0),
        )  # fmt: skip
        found["shifts"][shift] = {
            name: {
                "mean": played.mean(name).to_json(),
                "worst_tenth": played.worst(name).to_json(),
                "worst_tenth_less": played.less(name, options.trained[0]).to_json(),
                "success": float(np.mean(played.played[name].success)),
            }
            for name in policies
        }
    return found


def _show(console: Console, domain: str, found: Mapping[str, Any]) -> None:
    sizes = found["sizes"]
    console.print(
        f"{domain}: calibrated on {sizes['runs']} runs of {sizes['tasks']} tasks, {sizes['intervals']} intervals; held "
        f"out {sizes['held_out_runs']} runs of {sizes['held_out_tasks']} tasks"
    )
    for shift, rows in found["shifts"].items():
        table = Table(title=f"{domain}, {shift}: 95 % intervals over seeds", box=box.SIMPLE)
        for column in ("trained", "mean", "worst tenth", "worst tenth less than mean's", "success"):
            table.add_column(column, justify="left" if column == "trained" else "right")
        for name, row in rows.items():
            cells = (_interval(row[key]) for key in ("mean", "worst_tenth", "worst_tenth_less"))
            table.add_row(name, *map(str, cells), f"{row['success']:.3f}")
        console.print(table)


def _interval(found: Mapping[str, float | None]) -> Interval:
    return Interval(**{key: np.nan if value is None else value for key, value in found.items()})


def draw(file: Path, results: Mapping[str, Any]) -> None:
    """The worst tenth under every shift, a panel a domain."""
    plt = pyplot()
    figure, axes = plt.subplots(1, len(results), figsize=(5.2 * len(results), 3.8), squeeze=False, layout="constrained")
    for axis, (domain, found) in zip(axes[0], results.items(), strict=True):
        names = list(next(iter(found["shifts"].values())))
        for number, name in enumerate(names):
            rows = [_interval(shift[name]["worst_tenth"]) for shift in found["shifts"].values()]
            place = np.arange(len(rows)) + 0.14 * (number - (len(names) - 1) / 2)
            middle = np.array([row.estimate for row in rows])
            ends = np.array([[row.estimate - row.low, row.high - row.estimate] for row in rows]).T
            axis.errorbar(place, middle, ends, fmt="o", markersize=4, capsize=2, label=name)
        axis.set_xticks(range(len(found["shifts"])), [shift.replace(" ", "\n", 1) for shift in found["shifts"]])
        axis.set(title=domain, ylabel="cost in the worst tenth of environments", yscale="log")
    axes[0][0].legend(title="trained", fontsize=8)
    save(figure, file, plt)


if __name__ == "__main__":
    sys.exit(main())
