"""How far from the exact optimum does training end, and what helps: the default, and one change from it a row.

The gap is (mean cost of the greedy learned policy − mean cost of the optimum) / mean cost of the optimum, in percent.
Both meet the same starts and the same luck, which the optimum plays once a scenario. All seeds of a row train in one
vmapped program. Prints tables; writes a JSON receipt if asked.

    python studies/gap.py --json studies/results/gap.json
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
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts, rivals

from aljax import train
from aljax.checks import check
from aljax.env import EnvParams, exceeds
from aljax.errors import UserError
from aljax.exact.plan import Plan
from aljax.exact.policy import Optimal
from aljax.exact.structure import make_plan
from aljax.host import terminal
from aljax.host.files import check_writable, write_json
from aljax.options import NEARER, Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned, Policy
from aljax.rollout import outcome, rollout
from aljax.runs import versions
from aljax.scenario import Scenario, load_scenario
from aljax.seeds import EVALUATION, TRAINING, seed_keys
from aljax.statistics import interquartile_mean

from receipts import machine, status_of

CHUNK = 2_000  # episodes of evaluation at once: bounds the exact policy's tables

NARROW, ALL_ROWS = "narrow first layer", "all rows, batch 15, rates 0.015 and 0.05, entropy 1.2"
CHANGES: dict[str, Mapping[str, Any]] = {
    "default": {},
    "batch 15": {"batch": 15},
    "batch 60": {"batch": 60},
    "hidden 32": {"hidden": (32,)},
    "hidden 32 x 32": {"hidden": (32, 32)},
    NARROW: {},
    "trace 1: plain costs to go": {"trace": 1.0},
    "trace 0.6": {"trace": 0.6},
    "baseline none": {"baseline": "none"},
    "baseline running": {"baseline": "running"},
    "baseline leave_one_out": {"baseline": "leave_one_out"},
    "critic learning rate 0.01": {"critic_learning_rate": 0.01},
    "learning rate 0.01": {"learning_rate": 0.01},
    "learning rate 0.04": {"learning_rate": 0.04},
    "constant learning rate": {"schedule": "constant"},
    "advantages as they are": {"normalise": False},
    "entropy 0": {"entropy": 0.0},
    "entropy 0.2": {"entropy": 0.2},
    "entropy 0.6": {"entropy": 0.6},
    "no clipping": {"clip_norm": float("inf")},
    "nearer starts": NEARER,
    ALL_ROWS: {
        "gradient": "all_rows",
        "batch": 15,
        "learning_rate": 0.015,
        "critic_learning_rate": 0.05,
        "entropy": 1.2,
    },
}
"""What a row changes in `TrainConfig` and `Hyperparameters`."""
LONG: dict[str, Mapping[str, Any]] = {
    "default": {},
    "batch 60, learning rate 0.01, entropy 0.6": {"batch": 60, "learning_rate": 0.01, "entropy": 0.6},
}
"""The same for the long runs."""
RULES = ("work on the worse", "retrieve first", "compute first", "toss a coin")
"""Hand-written rules for `paper`: which of the two repairs that are still needed to play next."""
QUICK = ("default", "trace 1: plain costs to go", NARROW)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="+", default=["paper", "escalation"], help="each with an exact optimum")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="from which all seeds are drawn")
    parser.add_argument("--episodes", type=int, default=12_000, help="of each row")
    parser.add_argument("--long", type=int, default=120_000, help="episodes of the long runs; 0: none")
    parser.add_argument("--evaluation-episodes", type=int, default=200_000, help=f"in whole chunks of {CHUNK:,}")
    parser.add_argument("--rows", nargs="+", choices=list(CHANGES), help="these alone")
    parser.add_argument("--rules", action="store_true", help="on paper, hand-written rules as well")
    parser.add_argument("--quick", action="store_true", help="3 rows, 4 seeds, 1,200 episodes, no long run")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    return status_of(lambda: study(options))


def study(options: argparse.Namespace) -> None:
    """Trains, measures, prints, writes."""
    if options.quick:
        options.seeds, options.episodes, options.long, options.evaluation_episodes = 4, 1_200, 0, CHUNK
    if options.long < 0:
        raise UserError(f"long: expected a whole number not below 0, got {options.long}")
    if options.json:
        check_writable(options.json)
    protocol = Protocol(options.seeds, options.seed, options.evaluation_episodes)
    rows = options.rows or (QUICK if options.quick else list(CHANGES))
    runs = {name: _configured(CHANGES[name], options.episodes, protocol) for name in rows}
    long_runs = {name: _configured(change, options.long, protocol) for name, change in LONG.items() if options.long}
    scenarios = [load_scenario(name) for name in options.scenarios]
    plans = [make_plan(scenario.params, scenario=scenario) for scenario in scenarios]  # refuses before anything runs

    console, begun, here = terminal.console(), time.perf_counter(), machine()
    results: list[dict[str, Any]] = []
    for scenario, plan in zip(scenarios, plans, strict=True):
        evaluate = _Evaluation(scenario, protocol)
        optimum, success = evaluate.optimum(plan)
        table = Table(title=f"{scenario.name}: {protocol.seeds} seeds; the optimum costs {optimum.mean():.4f}, "
                      f"success {success:.4f}", box=box.SIMPLE)  # fmt: skip
        columns = ("episodes", "gap %: median", "interquartile mean", "min", "max", "success", "train s", "compile s")
        table.add_column("change from the default")
        for column in columns:
            table.add_column(column, justify="right")
        for rule in RULES if options.rules and scenario.name == "paper" else ():
            cost, success = evaluate(jax.tree.map(lambda leaf: leaf[None], _rule(rule, scenario)))
            gap = 100 * float((cost - optimum).mean() / optimum.mean())
            results.append({"scenario": scenario.name, "rule": rule, "gap": gap, "success": float(success.mean())})
            table.add_row(f"rule: {rule}", "", f"{gap:.3f}", "", "", "", f"{success.mean():.4f}", "", "")
        for name, (config, hyper) in (*runs.items(), *long_runs.items()):
            variables, seconds = _train(scenario, config, hyper, protocol, narrow=name == NARROW)
            cost, success = evaluate(Learned(variables, train.policy_architecture(config, scenario.params)))
            paired = 100 * (cost - optimum) / optimum.mean()
            error = paired.std(1) / np.sqrt(paired.shape[1])
            row = _summary(paired.mean(1)) | {"success": float(success.mean()), "seconds": seconds}
            results.append(
                {"scenario": scenario.name, "change": name, "episodes": config.updates * config.batch,
                 "optimum": float(optimum.mean()), **row, "gap_by_seed": paired.mean(1).tolist(),
                 "standard_error": float(np.median(error)), "config": dataclasses.asdict(config),
                 "hyperparameters": dataclasses.asdict(hyper)}
            )  # fmt: skip
            gaps = (f"{row[key]:.3f}" for key in ("median", "interquartile_mean", "min", "max"))
            table.add_row(name, f"{config.updates * config.batch:,}", *gaps, f"{row['success']:.4f}",
                          f"{seconds['train']:.2f}", f"{seconds['compile']:.1f}")  # fmt: skip
        console.print(table)
        noise = np.median([r["standard_error"] for r in results if r["scenario"] == scenario.name and "change" in r])
        console.print(
            f"{evaluate.episodes:,} shared episodes; one seed's gap has a standard error of about {noise:.3f}.\n"
        )
    seconds = time.perf_counter() - begun
    console.print(f"{seconds:.0f} s in all.")
    if options.json:
        chosen = {key: value for key, value in vars(options).items() if key != "json"} | {"rows": list(rows)}
        receipt = {"when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "options": chosen,
                   "results": results, "seconds": seconds, "machine": here, "versions": versions()}  # fmt: skip
        write_json(options.json, _finite(receipt))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Rule(Policy):
    """Plays a repair whose coordinate is out of tolerance; where both are, prefers as it is told."""

    rows: jax.Array
    """The row that repairs each coordinate. Integer ``[2]``"""
    coordinates: jax.Array
    """The two coordinates. Integer ``[2]``"""
    prefers: jax.Array
    """Weights of the two, in `RULES`' order of rules: by size, first, second, a coin. ``[4]``"""

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        z = observation[self.coordinates] * params.z_scale[self.coordinates][:, None]
        size, first, second, coin = self.prefers
        liking = size * z + jnp.stack([first, second])[:, None]
        is_open = exceeds(z, params.tolerance[self.coordinates][:, None])
        playable = is_open | ~is_open.any(0)
        best = playable & (liking == jnp.where(playable, liking, -jnp.inf).max(0))
        chosen = jnp.where(coin > 0, playable, best)
        rows = jnp.arange(params.actions.latency.shape[-1])[:, None, None]
        return jnp.where(((rows == self.rows[:, None]) & chosen).any(1), 0.0, -jnp.inf)


def _rule(name: str, scenario: Scenario) -> _Rule:
    """One of `RULES`, for `paper`."""
    rows = [scenario.action_names.index(action) for action in ("retrieve", "compute")]
    coordinates = [scenario.coordinate_names.index(coordinate) for coordinate in ("evidence", "arithmetic")]
    return _Rule(jnp.array(rows), jnp.array(coordinates), jnp.eye(4)[RULES.index(name)])


def _configured(change: Mapping[str, Any], episodes: int, protocol: Protocol) -> tuple[TrainConfig, Hyperparameters]:
    """The default with a row's change."""
    shape = {field.name for field in dataclasses.fields(TrainConfig)}
    config = TrainConfig(episodes=episodes, **{key: value for key, value in change.items() if key in shape})
    hyper = Hyperparameters(**{key: value for key, value in change.items() if key not in shape})
    check(config, hyper, protocol)
    return config, hyper


@functools.partial(jax.jit, static_argnames=("config", "steps"))
def _init(keys: jax.Array, params: EnvParams, config: TrainConfig, steps: int) -> train.TrainState:
    return jax.vmap(functools.partial(train.init, config=config, steps=steps), (0, None))(keys, params)


@functools.partial(jax.jit, static_argnames=("config", "steps"))
def _advance(
    state: train.TrainState, hyper: Hyperparameters, params: EnvParams, config: TrainConfig, steps: int
) -> train.TrainState:
    run = functools.partial(train.advance, config=config, steps=steps)
    return jax.vmap(run, (0, None, None, None, None))(state, 0, config.updates, hyper, params)


def _train(
    scenario: Scenario, config: TrainConfig, hyper: Hyperparameters, protocol: Protocol, *, narrow: bool
) -> tuple[Any, dict[str, float]]:
    """Weights with a leading seed axis, and seconds. Rows that differ in numbers alone share a compilation."""
    state = _init(seed_keys(protocol, TRAINING), scenario.params, config, scenario.horizon)
    if narrow:
        state = state._replace(variables=_narrowed(state.variables), critic=_narrowed(state.critic))
    numbers = jax.tree.map(jnp.float32, hyper)
    begun = time.perf_counter()
    compiled = _compiled(scenario.name, config, lambda: _advance.lower(
        state, numbers, scenario.params, config=config, steps=scenario.horizon
    ).compile())  # fmt: skip
    compiling = time.perf_counter() - begun
    begun = time.perf_counter()
    state = jax.block_until_ready(compiled(state, numbers, scenario.params))
    return state.variables, {"compile": compiling, "train": time.perf_counter() - begun}


_programs: dict[Any, Any] = {}


def _compiled(name: str, config: TrainConfig, make: Any) -> Any:
    """What `make` compiles, once for each scenario and configuration."""
    if (name, config) not in _programs:
        _programs[name, config] = make()
    return _programs[name, config]


def _narrowed(variables: Any) -> Any:
    """First weights as a network without the wide first layer would draw them."""
    first = variables["params"]["Dense_0"]
    usual = {"kernel": first["kernel"] / 3.0, "bias": jnp.zeros_like(first["bias"])}
    return {"params": variables["params"] | {"Dense_0": usual}}


class _Evaluation:
    """Plays policies on one fixed set of starts and luck."""

    def __init__(self, scenario: Scenario, protocol: Protocol):
        self.scenario = scenario
        chunks = -(-protocol.evaluation_episodes // CHUNK)
        self.episodes = chunks * CHUNK
        self.keys = jax.random.split(seed_keys(dataclasses.replace(protocol, seeds=1), EVALUATION)[0], chunks)
        self._play_all = jax.jit(lambda policies: jax.lax.map(self._play, policies))

    def __call__(self, policies: Policy) -> tuple[np.ndarray, np.ndarray]:
        """Costs ``[S, episodes]`` and success ``[S]`` of policies with a leading seed axis."""
        cost, success = jax.device_get(self._play_all(policies))
        return cost.reshape(len(cost), -1).astype(np.float64), success.mean(1)

    def optimum(self, plan: Plan) -> tuple[np.ndarray, float]:
        """Costs ``[episodes]`` and success of the exact optimum."""
        cost, success = jax.device_get(jax.jit(self._play)(Optimal(plan)))
        return cost.reshape(-1).astype(np.float64), float(success.mean())

    def _play(self, policy: Policy) -> tuple[jax.Array, jax.Array]:
        """Costs ``[chunks, CHUNK]`` and success ``[chunks]`` of one policy."""
        params, steps = self.scenario.params, self.scenario.horizon

        def chunk(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            result = outcome(rollout(key, policy, params, episodes=CHUNK, steps=steps), params)
            return result.total, result.success.mean()

        return jax.lax.map(chunk, self.keys)


def _summary(gaps: np.ndarray) -> dict[str, float]:
    """Over seeds."""
    found = {"median": np.median(gaps), "interquartile_mean": interquartile_mean(gaps), "min": gaps.min()}
    return {key: float(value) for key, value in (found | {"max": gaps.max()}).items()}


def _finite(value: Any) -> Any:
    """JSON has no inf: as text."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
