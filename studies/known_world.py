"""How many logged episodes are enough to find a world again, and to train in what was found?

Agents are simulated in a world whose numbers are known (`known_world.toml`), and `aljax.calibration.fit` is given their
logs and nothing else.

A. How far is each number from the truth, how often do 95 % intervals contain it, and what does after_failed come to
   as it is counted, and within tasks? Agents that retry what the task needs, and agents that retry whatever it needs;
   tasks that are all alike, and tasks that differ in how hard they are.
B. What do tasks need by each estimator, with how many runs a task?
C. What does the optimum of the calibrated scenario cost in the known world, above that world's own, and what did it
   promise? The same of policies that were trained there.

    OPENBLAS_NUM_THREADS=1 python studies/known_world.py --json studies/results/known_world.json

Finished parts are kept in the JSON file; the same command goes on from there.
"""

import argparse
import dataclasses
import functools
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import expit, logit

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

from aljax import env
from aljax.calibration import Calibration, CalibrationSettings, fit
from aljax.calibration.known import Agent, needs_of, simulate
from aljax.evaluate import evaluate
from aljax.exact.policy import Memory, Optimal
from aljax.exact.recursion import choices, solve
from aljax.exact.structure import Plan, make_plan
from aljax.host.files import write_json
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Policy, only
from aljax.scenario import Scenario, load_scenario, parse_scenario
from aljax.seeds import EVALUATION, seed_keys
from aljax.training import train_seeds
from aljax.transfer import policy_in

from receipts import machine, status_of, versions

WORLD = Path(__file__).with_suffix(".toml")
SIZES = (30, 100, 300, 1000)
RUNS = 5
COLUMNS = (
    "failure",
    "after_ok",
    "after_failed",
    "after_failed_naive",
    "latency",
    "failure_latency",
    "latency_spread",
    "money",
)
AGENTS = {"retries what is needed": True, "retries whatever is needed": False}
HARDNESS = 1.0
LEAST = 1
"""Calls from which a tool has a row: those of this world are never few."""
PLAYED = 50_000
POINTS = 256
"""Starts of a calibrated scenario, padded to so many, so that all of them are solved by one program."""


def calibrated(
    world: Scenario, key: jax.Array, agent: Agent, tasks: int, runs: int, hardness: float = 0.0
) -> Calibration:
    """A calibration to what an agent leaves behind."""
    log = simulate(key, world, agent, tasks=tasks, runs=runs, hardness=hardness)
    weights = {str(name): float(x) for name, x in zip(env.COMPONENTS, world.params.weights, strict=True)}
    return fit(log, CalibrationSettings(least=LEAST), weights=weights)


def truth_of(world: Scenario, hardness: float) -> dict[str, dict[str, float]]:
    """Each column of the world by tool, on average over tasks where they differ."""
    table, normal = world.params.actions, jax.random.normal(jax.random.key(0), (100_000,))
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row, name in enumerate(world.coordinate_names):
        for column in COLUMNS:
            value = getattr(table, column.removesuffix("_naive"))[row]
            if hardness and column.startswith(("failure", "after")) and column != "failure_latency":
                value = expit(logit(value) + hardness * normal).mean()
            found[column][name] = float(value)
    return found


def parameters(world: Scenario, retries: str, hardness: float, size: int, repetitions: int) -> dict[str, Any]:
    """Part A: errors and coverage over repetitions."""
    agent, truth = Agent(retries_what_is_needed=AGENTS[retries]), truth_of(world, hardness)
    found: dict[tuple[str, str], list[tuple[float, bool]]] = defaultdict(list)
    for key in jax.random.split(jax.random.key(size), repetitions):
        calibration = calibrated(world, key, agent, size // RUNS, RUNS, hardness)
        for column, tools in truth.items():
            for name, value in tools.items():
                guess = calibration.columns[column].get(name) if column in calibration.columns else None
                if guess is not None and np.isfinite(guess.low):
                    found[column, name].append(
                        (guess.value - value, bool(guess.low - 1e-9 <= value <= guess.high + 1e-9))
                    )
    made: dict[str, Any] = {
        "retries": retries,
        "hardness": hardness,
        "episodes": size,
        "repetitions": repetitions,
        "columns": {},
    }
    for (column, name), pairs in found.items():
        error, inside = np.array([x for x, _ in pairs]), np.array([x for _, x in pairs])
        made["columns"].setdefault(column, {})[name] = {
            "truth": truth[column][name],
            "given": len(pairs),
            "bias": float(error.mean()),
            "rms": float(np.sqrt((error**2).mean())),
            "covered": float(inside.mean()),
        }
    return made


def needs(world: Scenario, retries: str, tasks: int, runs: int, repetitions: int) -> dict[str, Any]:
    """Part B: what each estimator makes of needs."""
    agent, found = Agent(retries_what_is_needed=AGENTS[retries]), defaultdict(list)
    for key in jax.random.split(jax.random.key(tasks * 1000 + runs), repetitions):
        calibration, real = calibrated(world, key, agent, tasks, runs), needs_of(key, world, tasks)
        order = [int(name.removeprefix("task ")) for name in calibration.needs.tasks]
        place = [calibration.rows.index(name) for name in world.coordinate_names]
        for estimator in ("fewest", "bracketed"):
            guess = getattr(calibration.needs, estimator)[:, place]
            found[f"{estimator}: mean error"].append((guess - real[order]).mean())
            found[f"{estimator}: tasks right"].append((np.abs(guess - real[order]) < 0.5).all(1).mean())
        found["unexplained"].append(calibration.needs.unexplained.mean())
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return {"retries": retries, "tasks": tasks, "runs": runs, "repetitions": repetitions} | means


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Elsewhere(Policy):
    """The optimum of one scenario, in which nothing is seen of a task, played in another one."""

    own: env.EnvParams
    """What it is the optimum of."""
    table: jax.Array
    """Its choices; see `aljax.exact.recursion.choices`. ``[M, L, 1]``"""
    inner: Optimal = dataclasses.field(metadata={"static": True})
    rows: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """The other scenario's row of each of its own."""
    name: ClassVar[str] = "elsewhere"

    def begin(self, params: env.EnvParams, observation: jax.Array) -> Memory:
        """See `Policy.begin`."""
        episodes = observation.shape[1]
        none = jnp.zeros(episodes, jnp.int32)
        return Memory(self.table, none, jnp.zeros((self.inner.plan.counts, episodes), jnp.int32), none, jnp.int32(0))

    def logits(self, params: env.EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        row = jnp.argmax(self.inner.logits(self.own, observation, legal, memory), axis=0)
        return only(jnp.array(self.rows)[row], env.num_actions(params))

    def remember(
        self, params: env.EnvParams, memory: Any, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Any:
        """See `Policy.remember`."""
        own = np.zeros(env.num_actions(params), np.int32)
        own[list(self.rows)] = np.arange(len(self.rows))
        return self.inner.remember(self.own, memory, jnp.array(own)[action], failed, observation)


@functools.cache
def _choices(plan: Plan) -> Any:
    return jax.jit(functools.partial(choices, plan=plan))


@functools.cache
def _solve(plan: Plan) -> Any:
    return jax.jit(functools.partial(solve, plan=plan))


def padded(scenario: Scenario, horizon: int) -> Scenario:
    """A scenario with as many starts as all others have here, those that are too many with no weight."""
    params = scenario.params
    assert params.start_points is not None and params.start_weights is not None
    more = POINTS - len(params.start_weights)
    points = jnp.concatenate([params.start_points, jnp.repeat(params.start_points[:1], more, 0)])
    weights = jnp.concatenate([params.start_weights, jnp.zeros(more)])
    params = dataclasses.replace(params, start_points=points, start_weights=weights, horizon=jnp.int32(horizon))
    return dataclasses.replace(scenario, params=params)


def optimum(scenario: Scenario, world: Scenario) -> tuple[Elsewhere, float]:
    """A scenario's optimum, to be played in the world, and what it costs there where it is the optimum."""
    plan, start = make_plan(scenario.params, scenario=scenario), env.expected_start(scenario.params)[:, None]
    rows = tuple(world.action_names.index(name) for name in scenario.action_names)
    policy = Elsewhere(scenario.params, _choices(plan)(scenario.params, start), Optimal(plan), rows)
    return policy, float(_solve(plan)(scenario.params, start).value[0])


_played = jax.jit(evaluate, static_argnames=("trained", "episodes", "steps"))


def cost(policy: Policy, world: Scenario) -> float:
    """What a policy costs in the world, over the same starts and luck for all."""
    keys = seed_keys(Protocol(seeds=1), EVALUATION)
    found = _played(keys, {"it": policy}, world.params, trained=frozenset(), episodes=PLAYED, steps=world.horizon)
    return float(np.asarray(found["it"].outcome.total, np.float64).mean())


def regrets(world: Scenario, size: int, repetitions: int, trained: int) -> dict[str, Any]:
    """Part C: what calibrated scenarios are worth."""
    best, promised = optimum(padded(world, world.horizon), world)
    least = cost(best, world)
    found: dict[str, list[float]] = defaultdict(list)
    for number, key in enumerate(jax.random.split(jax.random.key(size + 1), repetitions)):
        calibration = calibrated(world, key, Agent(), size // RUNS, RUNS)
        policy, told = optimum(padded(calibration.scenario, world.horizon), world)
        real = cost(policy, world)
        found["regret"].append(real / least - 1)
        found["promise"].append(told / real - 1)
        same = _of_tasks(world, needs_of(key, world, size // RUNS))
        found["promise, same tasks"].append(told / cost(policy, same) - 1)
        if number < trained:
            own = dataclasses.replace(calibration.scenario, params=padded(calibration.scenario, world.horizon).params)
            runs = train_seeds(own, TrainConfig(), Hyperparameters(), Protocol(seeds=3)).policy
            wider = _with_all_coordinates(world)
            there = policy_in(runs, own, "the run", wider)
            costs = [cost(jax.tree.map(lambda leaf, seed=seed: leaf[seed], there), wider) for seed in range(3)]
            found["trained regret"].append(float(np.mean(costs)) / least - 1)
    return {"episodes": size, "optimum": promised, "optimum_played": least} | dict(found)


def _of_tasks(world: Scenario, needed: np.ndarray) -> Scenario:
    """The world with these tasks and no others ``[J, d]``."""
    points, count = np.zeros((POINTS, needed.shape[1]), np.float32), len(needed)
    points[:count] = needed
    params = dataclasses.replace(
        world.params, start_points=jnp.array(points), start_weights=jnp.where(jnp.arange(POINTS) < count, 1.0, 0.0)
    )
    return dataclasses.replace(world, params=params)


def _with_all_coordinates(world: Scenario) -> Scenario:
    """The world with the coordinate that calibrated scenarios have besides, which nothing is wrong with."""
    text = world.text.replace('"book"]\n', '"book", "unexplained"]\n', 1)
    head, points, rest = text.partition("start_points = [")
    inside, end, rest = rest.partition("]\nstart_weights")
    return parse_scenario(head + points + inside.replace("],", ", 0],") + end + rest, name=world.name, where=world.name)


def summary(regret: Mapping[str, Any]) -> dict[str, float]:
    """A row of part C."""
    found = {}
    for name in MEASURED:
        values = np.abs(regret.get(name, []))
        if len(values):
            found |= {f"{name}, mean": float(np.mean(values)), f"{name}, nine of ten": float(np.quantile(values, 0.9))}
    return found


def study(options: argparse.Namespace) -> None:
    """Measures what is missing in the receipt, and prints it."""
    world = load_scenario(WORLD)
    receipt: dict[str, Any] = {
        "what": __doc__.splitlines()[0],
        "machine": machine(),
        "versions": versions(()),
        "parts": {},
    }
    if options.json is not None and options.json.exists():
        receipt["parts"] = json.loads(options.json.read_text())["parts"]
    n, few = options.repetitions, options.regrets
    parts = {
        **{
            f"A {retries}, hardness {hardness:g}, {size} episodes": functools.partial(
                parameters, world, retries, hardness, size, n
            )
            for hardness in (0.0, HARDNESS) for retries in AGENTS for size in SIZES
        },
        **{
            f"B {retries}, {tasks} tasks of {runs} runs": functools.partial(needs, world, retries, tasks, runs, few)
            for retries in AGENTS for tasks, runs in ((300, 1), (100, 3), (60, 5), (30, 10))
        },
        **{f"C {size} episodes": functools.partial(regrets, world, size, few, options.trained) for size in SIZES},
    }  # fmt: skip
    for name, part in parts.items():
        if options.parts and not name.startswith(tuple(options.parts)):
            continue
        if name not in receipt["parts"]:
            receipt["parts"][name] = part()
            if options.json is not None:
                write_json(options.json, receipt)
        show(name, receipt["parts"][name])
    print(tables(receipt["parts"]))


def show(name: str, found: Mapping[str, Any]) -> None:
    """Prints a part."""
    print(name)
    for column, tools in found.get("columns", {}).items():
        cells = ", ".join(
            f"{tool} {row['truth']:.3g} {row['bias']:+.3f} rms {row['rms']:.3f} in {row['covered']:.0%}"
            for tool, row in tools.items()
        )
        print(f"  {column:20s} {cells}")
    shown = summary(found) or {key: value for key, value in found.items() if isinstance(value, float)}
    print("  " + ", ".join(f"{key} {value:.4f}" for key, value in shown.items()), flush=True)


def tables(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """The receipt's parts as Markdown."""
    lines = [
        "Tasks alike: root mean square error over tools, agents and repetitions, and how often 95 % intervals contain "
        "the truth. Of seconds and spreads, in shares of the truth.", "",
        _row("", *(f"{size:,} episodes" for size in SIZES)), _row(*["---"] * 5),
    ]  # fmt: skip
    for column in COLUMNS:
        cells = []
        for size in SIZES:
            rows = [
                row for part in _of(parts, "A", hardness=0.0, episodes=size) for row in part["columns"][column].values()
            ]
            share = column.startswith(("latency", "failure_l", "money"))
            error = np.sqrt(np.mean([(row["rms"] / (row["truth"] if share else 1.0)) ** 2 for row in rows] or [np.nan]))
            cells.append(f"{error:.3f}, {np.mean([row['covered'] for row in rows] or [np.nan]):.0%}")
        lines.append(_row(f"`{column}`", *cells))
    lines += ["", f"Tasks that differ (σ = {HARDNESS:g} in logits): mean error of after_failed.", ""]
    lines += [_row("", "", *(f"{size:,} episodes" for size in SIZES)), _row(*["---"] * 6)]
    for retries in AGENTS:
        for column, told in (("after_failed_naive", "as counted"), ("after_failed", "within tasks")):
            cells = []
            for size in SIZES:
                rows = [
                    row
                    for part in _of(parts, "A", hardness=HARDNESS, episodes=size, retries=retries)
                    for row in part["columns"][column].values()
                ]
                bias, inside = (np.mean([row[name] for row in rows] or [np.nan]) for name in ("bias", "covered"))
                cells.append(f"{bias:+.3f}, {inside:.0%}")
            lines.append(_row(retries, told, *cells))
    lines += ["", "Needs in 300 episodes: tasks of which all are right, and mean error a tool, in calls.", ""]
    lines += [_row("agent", "tasks of runs", "fewest", "bracketed", "unexplained"), _row(*["---"] * 5)]
    for part in _of(parts, "B"):
        found = [f"{part[f'{e}: tasks right']:.0%}, {part[f'{e}: mean error']:+.3f}" for e in ("fewest", "bracketed")]
        lines.append(_row(part["retries"], f"{part['tasks']} of {part['runs']}", *found, f"{part['unexplained']:.3f}"))
    lines += ["", "In the known world, % above its optimum, and % between what was promised and what it cost.", ""]
    lines += [_row("episodes", *PRICES), _row(*["---"] * (1 + len(PRICES)))]
    for part in _of(parts, "C"):
        shown = summary(part)
        lines.append(_row(f"{part['episodes']:,}", *(f"{shown[name]:.1%}" if name in shown else "" for name in PRICES)))
    return "\n".join(lines)


MEASURED = ("regret", "trained regret", "promise", "promise, same tasks")
PRICES = tuple(f"{what}, {how}" for what in MEASURED for how in ("mean", "nine of ten"))


def _of(parts: Mapping[str, Mapping[str, Any]], letter: str, **asked: Any) -> list[Mapping[str, Any]]:
    """Parts that begin so and are of what is asked."""
    found = [part for name, part in parts.items() if name.startswith(letter)]
    found = [part for part in found if all(part[key] == value for key, value in asked.items())]
    return sorted(found, key=lambda part: (part.get("retries", ""), part.get("runs", 0), part.get("episodes", 0)))


def _row(*cells: str) -> str:
    """A row of a table; what was not measured is a dash."""
    return f"| {' | '.join('–' if 'nan' in cell else cell for cell in cells)} |"


def main() -> int:
    """Parses, runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--repetitions", type=int, default=100, help="of part A")
    parser.add_argument("--regrets", type=int, default=20, help="repetitions of parts B and C")
    parser.add_argument("--trained", type=int, default=2, help="of these, in how many policies are trained too")
    parser.add_argument("--parts", nargs="+", help="only those that begin so")
    return status_of(functools.partial(study, parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
