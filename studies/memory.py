"""How good are policies with memory, and does the belief about what is up come true?

`small` is a scenario of two tools and six steps whose every history can be enumerated: the optimum for who sees what
an agent sees, by dynamic programming over histories, and the exact cost of what each seed learned. `calibration` plays
`outage` at random and holds what the belief says against what was up.

    python studies/memory.py --json studies/results/memory.json
"""

import argparse
import dataclasses
import datetime
import functools
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

from aljax import env
from aljax.env import EnvParams, EnvState
from aljax.host import terminal
from aljax.host.files import check_writable, write_json
from aljax.networks.belief import Belief, begin_belief, update_belief
from aljax.networks.inputs import Inputs
from aljax.networks.seen import failure_seen
from aljax.options import Hyperparameters, InputsName, PolicyName, Protocol, TrainConfig
from aljax.policy import Policy, Random
from aljax.rollout import rollout
from aljax.scenario import Scenario, load_scenario, parse_scenario
from aljax.statistics import mean_interval
from aljax.training import train_seeds

from receipts import machine, status_of, versions

SMALL = """
title = "The two hosted tools of `outage`, with two pieces of work and six steps"
coordinates = ["work"]
horizon = 6
start_low = 2.0
start_high = 2.0
tolerance = 0.5
latency_budget = 20.0
latency_scale = 20.0
money_scale = 2.0

[weights]
latency = 0.04
money = 1.0
violation = 2.0
failure = 0.3
divergence = 0.1

[actions.primary]
latency = 1.0
failure_latency = 5.0
money = 0.02
failure = 0.05
mean_uptime = 60.0
mean_downtime = 45.0
shift = { work = -1.0 }

[actions.fallback]
latency = 1.5
failure_latency = 2.0
money = 0.35
failure = 0.2
mean_uptime = 30.0
mean_downtime = 4.0
shift = { work = -1.0 }

[actions.wait]
kind = "reason"
latency = 3.0
money = 0.0
"""
LEARNED: Mapping[str, tuple[PolicyName, InputsName]] = {
    "mlp, observation": ("mlp", "observation"),
    "mlp, belief": ("mlp", "belief"),
    "gru, observation": ("gru", "observation"),
    "gru, belief": ("gru", "belief"),
}
"""What is trained: its network, and what that is shown."""
BINS = 20
"""Of the reliability curve."""
BATCH = 20_000
"""Episodes that are played at once to hold the belief against."""
SURE = 0.0025
"""A bin whose share of times is known that well counts for the largest error."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=["small", "calibration"], default=["small", "calibration"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=777, help="from which all seeds are drawn")
    parser.add_argument("--episodes", type=int, default=36_000, help="that each policy is trained on")
    parser.add_argument("--long", type=int, default=360_000, help="the same of a further run with belief; 0: none")
    parser.add_argument("--steps", type=int, default=1_000_000, help="that the belief is held against")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    return status_of(lambda: study(options))


def study(options: argparse.Namespace) -> None:
    """Trains, enumerates, prints, writes."""
    if options.json is not None:
        check_writable(options.json)
    console, begun, here, results = terminal.console(), time.perf_counter(), machine(), {}
    if "small" in options.parts:
        results["small"] = small(options.episodes, options.long, Protocol(options.seeds, options.seed), console)
    if "calibration" in options.parts:
        working = {"actions.allowed.escalate": False, "actions.allowed.terminate": False}  # episodes that last
        results["calibration"] = calibration(load_scenario("outage", working), options.steps, options.seed, console)
    if options.json is not None:
        chosen = {key: value for key, value in vars(options).items() if key != "json"}
        receipt = {"when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "options": chosen,
                   "results": results, "seconds": time.perf_counter() - begun, "machine": here,
                   "versions": versions(())}  # fmt: skip
        write_json(options.json, receipt)


class Nodes(NamedTuple):
    """Histories, along a trailing axis: what an agent knows after each of them."""

    state: EnvState
    """Where the episode stands, but for what is down."""
    belief: Belief
    memory: Any
    """A policy's."""


def root(params: EnvParams, policy: Policy) -> Nodes:
    """The start of an episode whose start does not vary.

    Args:
      params: the environment.
      policy: whose memory.

    Returns:
      One history.
    """
    d, rows = env.num_coordinates(params), env.num_actions(params)
    state = env.begin(env.Start(jnp.zeros((d, 1)), jnp.zeros((d, 1)), down=jnp.ones((rows, 1))), params)
    observation = env.observe(state, params)
    return Nodes(state, begin_belief(params, observation), policy.begin(params, observation))


def children(params: EnvParams, nodes: Nodes, action: jax.Array, policy: Policy) -> tuple[jax.Array, jax.Array, Nodes]:
    """What may come of a call after each history: it fails, or it works.

    Args:
      params: an environment whose calls take known seconds.
      nodes: N histories.
      action: the row played after each. Integer ``[N]``
      policy: whose memory goes on.

    Returns:
      Probabilities and weighted costs, ``[2, N]``, and the 2 N histories, failures first.
    """
    observation = env.observe(nodes.state, params)
    this = jnp.arange(env.num_actions(params))[:, None] == action
    fails = 1.0 - nodes.belief.up * (1.0 - failure_seen(observation, params))
    fails = jnp.where(this, fails, 0.0).sum(0)
    luck = env.Luck(jnp.full(action.shape, 0.9999999), jnp.zeros_like(nodes.state.z), v=jnp.ones(this.shape))
    found = []
    for failed in (True, False):
        fault = jnp.full(action.shape, failed)
        state = dataclasses.replace(nodes.state, down=jnp.full(this.shape, failed))
        moved, costs = env.transition(state, action, luck, params)
        seen = env.observe(moved, params)
        belief = update_belief(params, nodes.belief, action, fault, seen)
        memory = policy.remember(params, nodes.memory, action, fault, seen)
        found.append((jnp.tensordot(params.weights, costs, 1), Nodes(moved, belief, memory)))
    (cost_failed, after_failed), (cost_worked, after_worked) = found
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=-1), after_failed, after_worked)
    return jnp.stack([fails, 1.0 - fails]), jnp.stack([cost_failed, cost_worked]), both


@functools.partial(jax.jit, static_argnames="steps")
def optimum(params: EnvParams, steps: int) -> jax.Array:
    """The least expected cost of any policy that goes by histories. Scalar

    Args:
      params: the environment.
      steps: its horizon.

    Returns:
      The cost.
    """
    nodes, levels, rows = root(params, Random()), [], env.num_actions(params)
    for _ in range(steps):
        each = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * rows, axis=-1), nodes)
        action = jnp.repeat(jnp.arange(rows), nodes.state.time.size)
        chance, cost, nodes = children(params, each, action, Random())
        levels.append((chance, cost))
    value = jnp.zeros(nodes.state.time.size)
    for chance, cost in reversed(levels):
        value = (chance * (cost + value.reshape(2, -1))).sum(0).reshape(rows, -1).min(0)
    return value[0]


def expected_cost(policy: Policy, params: EnvParams, steps: int) -> jax.Array:
    """The exact cost of a policy that is sure of what it does: over the histories that it comes to. Scalar

    Args:
      policy: greedy.
      params: the environment.
      steps: its horizon.

    Returns:
      The cost.
    """
    nodes, chances, total = root(params, policy), jnp.ones(1), jnp.float32(0)
    for _ in range(steps):
        observation, legal = env.observe(nodes.state, params), env.legal(nodes.state, params)
        action = jnp.argmax(policy.logits(params, observation, legal, nodes.memory), axis=0)
        chance, cost, nodes = children(params, nodes, action.astype(jnp.int32), policy)
        total += (chances * (chance * cost).sum(0)).sum()
        chances = (chances * chance).ravel()
    return total


def small_scenario() -> Scenario:
    """Two tools, six steps: see `SMALL`."""
    return parse_scenario(SMALL, name="small", where="small.toml")


def small(episodes: int, longer: int, protocol: Protocol, console: Console) -> dict[str, Any]:
    """How far above the optimum what is learned ends, by what it remembers.

    Args:
      episodes: that each policy is trained on.
      longer: that a further one with belief is trained on; 0: none.
      protocol: how many seeds.
      console: where the table goes.

    Returns:
      Costs and gaps.
    """
    scenario = small_scenario()
    params, steps = scenario.params, scenario.horizon
    best = float(optimum(params, steps))
    cost_of = jax.jit(jax.vmap(functools.partial(expected_cost, params=params, steps=steps)))
    table = Table(title=f"small: {protocol.seeds} seeds; the optimum costs {best:.4f}", box=box.SIMPLE)
    for column in ("policy", "cost", "above the optimum, % [95 %]", "worst seed, %", "train s"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    found: dict[str, Any] = {"optimum": best, "policies": {}}
    configs = {
        name: TrainConfig(episodes=episodes, policy=policy, inputs=inputs) for name, (policy, inputs) in LEARNED.items()
    }
    if longer:
        configs[f"mlp, belief, {longer:,} episodes"] = TrainConfig(episodes=longer, inputs="belief")
    for name, config in configs.items():
        trained = train_seeds(scenario, config, Hyperparameters(), protocol)
        cost = np.asarray(cost_of(trained.policy), float)
        gaps = 100 * (cost / best - 1)
        interval = mean_interval(gaps[:, None], by_seed=True)
        seconds = trained.seconds["train"]
        found["policies"][name] = {"cost": cost.tolist(), "gap_percent": interval.to_json(), "seconds": seconds}
        table.add_row(name, f"{cost.mean():.4f}", str(interval), f"{gaps.max():.2f}", f"{seconds:.1f}")
    console.print(table)
    return found


class Watched(Random):
    """Plays at random, and what is up is kept beside what it sees."""

    def observe(self, params: EnvParams, state: EnvState) -> jax.Array:
        """See `aljax.policy.Policy.observe`."""
        return Inputs("told").observe(params, state)


jax.tree_util.register_dataclass(Watched, [], [])


def calibration(scenario: Scenario, steps: int, seed: int, console: Console) -> dict[str, Any]:
    """Of all times that the belief says p, how often the row is up.

    Args:
      scenario: where.
      steps: how many are played at least, in batches of whole episodes.
      seed: of their chance.
      console: where the table goes.

    Returns:
      The reliability curve, over all rows that ever go down.
    """
    params = scenario.params
    rows = np.flatnonzero(np.isfinite(np.asarray(params.actions.mean_uptime)))

    @jax.jit
    def play(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        played = rollout(key, Watched(), params, episodes=BATCH, steps=scenario.horizon)
        size = env.observation_size(params)
        observation, up = played.observation[:, :size], played.observation[:, size:]
        said = Inputs("belief").along(params, observation, played.action, played.costs[:, 3] > 0)[:, size:]
        return said, up, played.alive

    parts: list[tuple[np.ndarray, np.ndarray]] = []
    while sum(len(said) for said, _ in parts) < steps:
        said, up, alive = map(np.asarray, play(jax.random.fold_in(jax.random.key(seed), len(parts))))
        parts.append((np.moveaxis(said[:, rows], 1, 2)[alive], np.moveaxis(up[:, rows], 1, 2)[alive]))
    said, up = (np.concatenate(each) for each in zip(*parts, strict=True))
    bins = np.minimum((said * BINS).astype(int), BINS - 1)
    table = Table(title=f"{scenario.name}: {len(said):,} steps, {len(rows)} rows that go down", box=box.SIMPLE)
    for column in ("the belief says", "times", "up", "error", "standard error"):
        table.add_column(column, justify="right")
    curve = []
    for number in range(BINS):
        here = bins == number
        if not here.any():
            continue
        mean, share = float(said[here].mean(dtype=float)), float(up[here].mean(dtype=float))
        error = float(np.sqrt(share * (1 - share) / here.sum()))
        curve.append({"said": mean, "up": share, "times": int(here.sum()), "standard_error": error})
        table.add_row(f"{mean:.4f}", f"{here.sum():,}", f"{share:.4f}", f"{share - mean:+.4f}", f"{error:.4f}")
    console.print(table)
    sure = [point for point in curve if point["standard_error"] < SURE]
    worst = max((abs(point["up"] - point["said"]) for point in sure), default=0.0)
    console.print(f"Largest error where its standard error is below {100 * SURE} points: {100 * worst:.2f} points.")
    return {"scenario": scenario.name, "steps": len(said), "curve": curve, "largest_error": worst}


if __name__ == "__main__":
    sys.exit(main())
