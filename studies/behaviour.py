"""What a trained policy does, in words: trains as `aljax train` does and reads the best seed's choices.

Prints each policy's cost, success and calls of each action; then, for the learned one, its first choice, what it
does right after each action has failed, and how often it hands over or stops by how bad the task looked at the start.

    python studies/behaviour.py --scenario escalation
    python studies/behaviour.py --scenario service_desk --set actions.allowed.clarify=false
"""

import argparse
import functools
import itertools
import sys
from pathlib import Path

import jax
import numpy as np
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts, rivals

from aljax.env import COMPONENTS, over
from aljax.host import terminal
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import heuristics
from aljax.rollout import outcome, rollout
from aljax.scenario import Scenario, load_scenario
from aljax.tables import show
from aljax.training import train_seeds

from receipts import status_of

FAILURE = COMPONENTS.index("failure")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="escalation")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--policy", choices=["mlp", "gru"], default="mlp")
    parser.add_argument("--inputs", choices=["observation", "belief"], default="observation")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=TrainConfig.episodes, help="of training")
    parser.add_argument("--evaluation-episodes", type=int, default=10_000)
    options = parser.parse_args()
    return status_of(lambda: read(options))


def read(options: argparse.Namespace) -> None:
    """Trains, plays, prints."""
    scenario = load_scenario(options.scenario, options.overrides)
    protocol = Protocol(seeds=options.seeds)
    trained = train_seeds(
        scenario,
        TrainConfig(episodes=options.episodes, policy=options.policy, inputs=options.inputs),
        Hyperparameters(),
        protocol,
    )
    policies = dict(heuristics(scenario))
    for seed in range(options.seeds):
        policies[f"learned {seed}"] = jax.tree.map(lambda leaf, seed=seed: leaf[seed], trained.policy)

    params, size = scenario.params, options.evaluation_episodes
    play = jax.jit(functools.partial(rollout, episodes=size, steps=scenario.horizon))
    total = jax.jit(outcome)
    table, best = Table(), (np.inf, None)
    for column in ("policy", "cost", "success", "steps", *(f"{name} an episode" for name in scenario.action_names)):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for name, policy in policies.items():
        played = play(jax.random.key(2**20), policy, params)
        result = total(played, params)
        action, alive = np.asarray(played.action), np.asarray(played.alive)
        cost = float(result.total.mean())
        calls = [((action == row) & alive).sum(0).mean() for row in range(len(scenario.action_names))]
        figures = (cost, float(result.success.mean()), float(result.steps.mean()), *calls)
        table.add_row(name, *(f"{figure:.3f}" for figure in figures))
        if name.startswith("learned") and cost < best[0]:
            best = (
                cost,
                (name, action, alive, np.asarray(played.costs)[:, FAILURE] > 0, np.asarray(played.observation)),
            )
    console = terminal.console()
    title = f"{scenario.name} {' '.join(scenario.overrides)}: {size} episodes on fresh chance"
    table.title = title
    show(console, [table, *_choices(scenario, *best[1])])


def _choices(
    scenario: Scenario, name: str, action: np.ndarray, alive: np.ndarray, failed: np.ndarray, seen: np.ndarray
) -> list[Table]:
    """First choices, choices after each failure, and ends by how the start looked; shares of 1."""
    names, count = scenario.action_names, len(scenario.action_names)
    situations = [("at the first step", alive & (np.arange(len(alive)) == 0)[:, None])]
    for row in range(count):
        before = np.zeros_like(alive)
        before[1:] = (failed & (action == row))[:-1]
        situations.append((f"right after {names[row]} failed", alive & before))
    choice = Table(title=f"{name}: what it plays")
    for column in ("situation", "times", *names):
        choice.add_column(column, justify="left" if column == "situation" else "right")
    for situation, where in situations:
        if where.sum() >= 50:
            shares = [(action[where] == row).mean() for row in range(count)]
            choice.add_row(situation, str(where.sum()), *(f"{share:.2f}" for share in shares))
    ends = [row for row in range(count) if bool(scenario.params.actions.ends[row])]
    if not ends:
        return [choice]
    d, params = len(scenario.coordinate_names), scenario.params
    z = seen[0, :d] * np.asarray(params.z_scale)[:, None]
    excess = np.asarray(over(np.abs(z), params.tolerance[:, None])).sum(0)
    edges = np.quantile(excess, np.linspace(0, 1, 6))
    by_start = Table(title=f"{name}: how it ends, by how much the task seems to exceed tolerance at the start")
    by_start.add_column("excess at the start")
    for row in ends:
        by_start.add_column(f"{names[row]} at once", justify="right")
        by_start.add_column(f"{names[row]} at all", justify="right")
    for low, high in itertools.pairwise(edges):
        inside = (excess >= low) & (excess <= high)
        shares = []
        for row in ends:
            shares += [(action[0] == row)[inside].mean(), ((action == row) & alive).any(0)[inside].mean()]
        by_start.add_row(f"{low:.2f} to {high:.2f}", *(f"{share:.2f}" for share in shares))
    return [choice, by_start]


if __name__ == "__main__":
    sys.exit(main())
