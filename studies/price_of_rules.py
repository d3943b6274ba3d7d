"""What do rules cost, and is it better to forbid or to fine?

The hard rules of a scenario are kept as they are (*masked*: rows that would break them are not legal), or made soft
with one weight, in units of violation (*fined*; weight 0: they are only watched). In each of these worlds the optimum
is solved exactly, and policies are trained for the same number of episodes. All meet the same starts and luck. A gap is
(mean cost − mean cost of the optimum of that world) / mean cost of that optimum, in percent. The cost *of the task*
leaves out what these rules charge. Fined policies are also played *under masks*, as if deployed behind them.

    python studies/price_of_rules.py --json studies/results/price_of_rules.json
"""

import argparse
import dataclasses
import functools
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

import jax
import jax.numpy as jnp
import numpy as np

from aljax.env import COMPONENTS, EnvParams
from aljax.exact.bracket import starts
from aljax.exact.policy import Optimal
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan
from aljax.host.files import check_writable, write_json
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.overrides import Override
from aljax.policy import Policy
from aljax.rollout import outcome, rollout
from aljax.scenario import Scenario, load_scenario
from aljax.seeds import EVALUATION, seed_keys
from aljax.training import train_seeds

import receipts

solved = jax.jit(solve, static_argnames="plan")
VIOLATION = COMPONENTS.index("violation")
WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)


def worlds(scenario: str, weights: list[float]) -> dict[str, Scenario]:
    """The scenario, and the same with its hard rules made soft."""
    masked = load_scenario(scenario)
    assert masked.params.rules is not None
    hard = [masked.rule_names[i] for i in masked.params.rules.structure.hard]
    found = {"masked": masked}
    for weight in weights:
        changes = [
            Override(f"rules.{name}.{key}", x) for name in hard for key, x in (("mode", "soft"), ("weight", weight))
        ]
        found[f"fined {weight:g}"] = load_scenario(scenario, changes)
    return found


@functools.partial(jax.jit, static_argnames=("episodes", "steps", "watched"))
def play(
    key: jax.Array, policies: Policy, params: EnvParams, episodes: int, steps: int, watched: tuple[int, ...]
) -> tuple[jax.Array, ...]:
    """Of policies with a leading axis, or of the optimum, each on the same episodes ``[S, B]``.

    Returns:
      Cost; units that the watched rules charge; how many of those rules are not kept; success.
    """
    assert params.rules is not None
    rules = params.rules

    def one(policy: Policy) -> tuple[jax.Array, ...]:
        played = rollout(key, policy, params, episodes=episodes, steps=steps)
        found, states = outcome(played, params), played.final.rules
        assert states is not None
        unkept = jnp.stack([jnp.asarray(~rules.structure.automata[i].accepting)[states[i]] for i in watched])
        units = jnp.tensordot(rules.weight[jnp.array(watched)], unkept.astype(jnp.float32), 1)
        return found.total, units, unkept.sum(0), found.success

    if not jax.tree.leaves(policies):  # the optimum, which is one and has no arrays
        return jax.tree.map(lambda x: x[None], one(policies))
    return jax.lax.map(one, policies)


def figures(played: list[np.ndarray], price: float) -> dict[str, float]:
    """Means over seeds and episodes of what `play` gives; `price`: of a unit of violation."""
    costs, units, unkept, success = played
    return {
        "cost": float(costs.mean()), "cost_of_task": float((costs - price * units).mean()),
        "success": float(success.mean()), "episodes_with_a_rule_unkept": float((unkept > 0).mean()),
        "rules_unkept_an_episode": float(unkept.mean()),
    }  # fmt: skip


def gaps(costs: np.ndarray, optimum: np.ndarray) -> dict[str, Any]:
    """By seed, in percent, of costs ``[S, B]`` beside the optimum's on the same episodes ``[B]``."""
    found = 100 * (costs - optimum).mean(1) / optimum.mean()
    error = 100 * (costs - optimum).std(1).mean() / np.sqrt(costs.shape[1]) / optimum.mean()
    return {
        "median": float(np.median(found)), "min": float(found.min()), "max": float(found.max()),
        "by_seed": found.tolist(), "standard_error": float(error),
    }  # fmt: skip


def arrays(played: tuple[jax.Array, ...]) -> list[np.ndarray]:
    return [np.asarray(x, np.float64) for x in played]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="refunds", help="with hard rules and an exact optimum")
    parser.add_argument("--weights", type=float, nargs="*", default=list(WEIGHTS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=777)
    parser.add_argument("--episodes", type=int, default=36_000, help="of training; 0: the optima alone")
    parser.add_argument("--evaluation-episodes", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.json:
        check_writable(options.json)
    begun, protocol = time.perf_counter(), Protocol(options.seeds, options.seed, options.evaluation_episodes)
    judged = dataclasses.replace(protocol, seeds=1)
    every = worlds(options.scenario, options.weights)
    masked = every["masked"]
    assert masked.params.rules is not None
    watched, price = masked.params.rules.structure.hard, float(masked.params.weights[VIOLATION])
    results: dict[str, Any] = {}

    def run(policies: Policy, scenario: Scenario) -> list[np.ndarray]:
        key, episodes = seed_keys(judged, EVALUATION)[0], options.evaluation_episodes
        played = play(key, policies, scenario.params, episodes, scenario.horizon, watched)
        return [np.asarray(x, np.float64) for x in played]

    best: list[np.ndarray] = []
    for name, scenario in every.items():
        plan = make_plan(scenario.params, scenario=scenario)
        expected = solved(scenario.params, starts(scenario, judged)[0], plan)
        row: dict[str, Any] = {"states": plan.states, "kinds_of_past": plan.past.size}
        row["exact"] = {"cost": float(expected.value.mean()), "success": float(expected.success.mean())}
        optimum = run(Optimal(plan), scenario)
        best = best or optimum  # of the first, masked
        row["optimum"] = figures(optimum, price)
        results[name] = row
        print(name, row, f"{time.perf_counter() - begun:.0f} s", flush=True)
        if not options.episodes:
            continue
        trained = train_seeds(scenario, TrainConfig(episodes=options.episodes), Hyperparameters(), protocol).policy
        learned = run(trained, scenario)
        row["learned"] = figures(learned, price)
        row["gap"] = gaps(learned[0], optimum[0][0])
        if name != "masked":
            behind = run(trained, masked)
            row |= {"under_masks": figures(behind, price), "gap_under_masks": gaps(behind[0], best[0][0])}
        print(name, row, f"{time.perf_counter() - begun:.0f} s", flush=True)
    if options.json:
        chosen = {key: value for key, value in vars(options).items() if key != "json"}
        found = {"options": chosen, "rules": [masked.rule_names[i] for i in watched], "worlds": results}
        write_json(options.json, found | {"machine": receipts.machine(), "versions": receipts.versions(())})


if __name__ == "__main__":
    main()
