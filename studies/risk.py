"""What does training for the tail buy, and at what price? And is a promise kept that may be broken in 5 % of cases?

Policies trained for the mean, for CVaR, and with a promise P(latency > s) <= δ meet the same starts and the same luck,
seed by seed; nothing is tuned: all options but objective, constraint and episodes are the defaults. Intervals are over
seeds. Prints tables; writes a JSON receipt if asked.

    python studies/risk.py --json studies/results/risk.json
"""

import argparse
import dataclasses
import datetime
import functools
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

from aljax.evaluate import evaluate
from aljax.host import terminal
from aljax.host.files import check_writable, write_json
from aljax.learning.risk import cvar
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.promises import parse_constraint
from aljax.scenario import load_scenario
from aljax.seeds import EVALUATION, seed_keys
from aljax.statistics import Interval, mean_interval
from aljax.training import train_seeds

from receipts import machine, status_of, versions

SCENARIOS = ("timeouts", "outage", "escalation")
PROMISES: Mapping[str, str] = {"timeouts": "P(latency>20)<=0.05", "outage": "P(latency>12)<=0.05"}
"""A promise for each scenario that policies trained for the mean do not keep."""
KEPT = (0.03, 0.055)
"""Between which the realised share of a promise of 5 % is asked to lie."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--episodes", type=int, default=36_000, help="that each policy is trained on")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=777, help="from which all seeds are drawn")
    parser.add_argument("--evaluation-episodes", type=int, default=20_000)
    parser.add_argument("--quick", action="store_true", help="2 seeds, 600 episodes")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    return status_of(lambda: study(options))


def study(options: argparse.Namespace) -> None:
    """Trains, measures, prints, writes."""
    if options.quick:
        options.seeds, options.episodes, options.evaluation_episodes = 2, 600, 200
    if options.json:
        check_writable(options.json)
    protocol = Protocol(options.seeds, options.seed, options.evaluation_episodes)
    console, begun, here = terminal.console(), time.perf_counter(), machine()
    results = {}
    for name in SCENARIOS:
        results[name] = measure(name, options.episodes, options.alpha, protocol)
        _show(console, name, options.alpha, results[name])
    if options.json:
        chosen = {key: value for key, value in vars(options).items() if key != "json"}
        receipt = {"when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "options": chosen,
                   "results": results, "seconds": time.perf_counter() - begun, "machine": here,
                   "versions": versions()}  # fmt: skip
        write_json(options.json, receipt)


def measure(name: str, episodes: int, alpha: float, protocol: Protocol) -> dict[str, Any]:
    """Each policy's mean, CVaR and 95th percentile, differences from the one trained for the mean, and promises."""
    scenario, numbers = load_scenario(name), Hyperparameters(alpha=alpha)
    usual = TrainConfig(episodes=episodes)
    configs = {"mean": usual, "cvar": dataclasses.replace(usual, objective="cvar")}
    if name in PROMISES:
        configs["promise"] = dataclasses.replace(usual, constraints=(PROMISES[name],))
    made = {each: train_seeds(scenario, config, numbers, protocol) for each, config in configs.items()}
    play = jax.jit(
        functools.partial(
            evaluate, trained=frozenset(made), episodes=protocol.evaluation_episodes, steps=scenario.horizon
        )
    )
    played = play(seed_keys(protocol, EVALUATION), {each: one.policy for each, one in made.items()}, scenario.params)
    figures = {each: _figures(np.asarray(found.outcome.total), alpha) for each, found in played.items()}
    found: dict[str, Any] = {}
    for each, by_seed in figures.items():
        found[each] = {key: _over_seeds(values).to_json() for key, values in by_seed.items()}
        found[each]["less_than_mean_trained"] = {
            key: _over_seeds(values - figures["mean"][key]).to_json() for key, values in by_seed.items()
        }
        if name in PROMISES:
            constraint = parse_constraint(PROMISES[name])
            shares = constraint.values(played[each].outcome.costs).mean(-1)
            found[each]["promise"] = {
                "constraint": PROMISES[name],
                "share": _over_seeds(shares).to_json(),
                "shares": shares.tolist(),
                "within": float(np.mean((shares >= KEPT[0]) & (shares <= KEPT[1]))),
            }
        told = made[each].risk
        if told is not None and told.multipliers is not None:
            found[each]["multipliers"] = np.asarray(told.multipliers)[:, 0].tolist()
    return found


def _figures(total: np.ndarray, alpha: float) -> dict[str, np.ndarray]:
    """Of each seed's episodes. ``[S]`` each"""
    return {
        "mean": total.astype(np.float64).mean(-1),
        "cvar": cvar(total, alpha),
        "p95": np.quantile(total.astype(np.float64), 0.95, axis=-1),
    }


def _over_seeds(values: np.ndarray) -> Interval:
    return mean_interval(values[:, None], by_seed=True)


def _show(console: Console, name: str, alpha: float, found: Mapping[str, Any]) -> None:
    table = Table(title=f"{name}: CVaR at α = {alpha:g}, difference from training for the mean", box=box.SIMPLE)
    for column in ("trained for", "mean", "CVaR", "p95", "CVaR less", "mean more", "share late", "within"):
        table.add_column(column, justify="left" if column == "trained for" else "right")
    for each, row in found.items():
        less, promise = row["less_than_mean_trained"], row.get("promise")
        late = ("", "")
        if promise:
            shares = promise["shares"]
            late = (f"{min(shares):.4f} to {max(shares):.4f}", f"{promise['within']:.2f}")
        cells = (row["mean"], row["cvar"], row["p95"], less["cvar"], less["mean"])
        table.add_row(each, *(str(Interval(**_known(cell))) for cell in cells), *late)
    console.print(table)


def _known(interval: Mapping[str, float | None]) -> dict[str, float]:
    return {key: np.nan if value is None else value for key, value in interval.items()}


if __name__ == "__main__":
    sys.exit(main())
