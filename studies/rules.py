"""Does any policy ever break a hard rule, and what do those that cannot be kept any more come to?

Policies of every kind play a scenario with rules. What they did is judged by whole traces of rows, from the definitions
of DECLARE in `tests/declare.py`, which shares no code with the automata that say what is legal. A *violation* is a hard
rule that is broken by what was played. What is only *owed* when an episode is over, because calls failed, is counted
apart; if nothing had failed in that episode, it would be a violation, too.

    python studies/rules.py --json studies/results/rules.json
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the definitions

import jax
import jax.numpy as jnp
import numpy as np

from aljax.breaker import Breaker
from aljax.env import COMPONENTS
from aljax.host.files import check_writable, write_json
from aljax.host.toml import parse
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Mixture, Policy, Random, heuristics, learned_of
from aljax.rollout import rollout
from aljax.rules.reading import name_of
from aljax.scenario import Scenario, load_scenario
from aljax.training import train_seeds

import declare
import receipts

FAILURE = COMPONENTS.index("failure")
OWING = ("existence", "response", "alternate_response", "chain_response")
"""Templates of which something can be owed in the end though nothing that was played has broken them."""


def policies(scenario: Scenario, episodes: int) -> dict[str, Policy]:
    """One of every kind: heuristics, a breaker, a mixture, a network before and after training, greedy and drawing."""
    tools, config = jnp.asarray(scenario.tools), TrainConfig(episodes=episodes)
    trained = train_seeds(scenario, config, Hyperparameters(), Protocol(seeds=1)).policy
    weights = jax.tree.map(lambda leaf: leaf[0], trained.variables)
    simple = heuristics(scenario)
    architecture = trained.architecture
    fresh = architecture.init(jax.random.key(1), trained.inputs.size(scenario.params))
    return {
        **simple,
        "breaker": Breaker(tools, jnp.int32(1), jnp.float32(9.0)),
        "mixture": Mixture((Random(), simple["cost_aware"]), jnp.array([0.5, 0.5])),
        "untrained, drawing": learned_of(config, scenario.params, architecture.scaled(fresh, 30.0), greedy=False),
        "learned, greedy": learned_of(config, scenario.params, weights),
        "learned, drawing": learned_of(config, scenario.params, weights, greedy=False),
    }


def judge(rules: list[dict[str, Any]], steps: list[tuple[str, bool]]) -> tuple[list[str], list[str]]:
    """The hard rules that an episode has broken, and those of which it owes something, by name."""
    broken, owed = [], []
    for rule in rules:
        if not declare.kept(rule, steps):
            only_owed = rule["template"] in OWING and any(not worked for _, worked in steps)
            (owed if only_owed else broken).append(name_of(rule))
    return broken, owed


def play(scenario: Scenario, policy: Policy, rules: list[dict[str, Any]], steps: int, episodes: int) -> dict[str, Any]:
    """Plays so many steps and judges every episode."""
    names, found = scenario.action_names, Counter[str]()
    run = jax.jit(lambda key: rollout(key, policy, scenario.params, episodes=episodes, steps=scenario.horizon))
    block = 0
    while found["steps"] < steps:
        played = jax.tree.map(np.asarray, run(jax.random.fold_in(jax.random.key(7), block)))
        block += 1
        chosen = np.take_along_axis(played.legal, played.action[:, None], 1)[:, 0]
        length, failed = played.alive.sum(0), played.costs[:, FAILURE] > 0
        found["steps"] += int(length.sum())
        found["episodes"] += episodes
        found["rows that were not legal"] += int((played.alive & ~chosen).sum())
        found["steps in which a rule forbade a row"] += int((played.alive & ~played.legal.all(1)).sum())
        traces = Counter(
            (played.action[: length[i], i].tobytes(), failed[: length[i], i].tobytes()) for i in range(episodes)
        )
        for (action, failing), times in traces.items():
            rows, fails = np.frombuffer(action, played.action.dtype), np.frombuffer(failing, bool)
            trace = [(names[row], not fail) for row, fail in zip(rows, fails, strict=True)]
            broken, owed = judge(rules, trace)
            found["violations"] += len(broken) * times
            found["owed"] += len(owed) * times
            found["episodes that end owing"] += bool(owed) * times
    return dict(found)


def main() -> None:
    """Plays, prints, writes the receipt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="refunds")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--steps", type=int, default=10_000_000, help="of all policies together")
    parser.add_argument("--episodes", type=int, default=20_000, help="that are played at once")
    parser.add_argument("--training", type=int, default=12_000, help="episodes")
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.json:
        check_writable(options.json)
    scenario = load_scenario(options.scenario, options.overrides)
    rules = [rule for rule in parse(scenario.text, scenario.name)["rules"] if rule.get("mode", "hard") == "hard"]
    found: dict[str, Any] = {"machine": receipts.machine(), "versions": receipts.versions(()), "policies": {}}
    found |= {"scenario": scenario.name, "overrides": scenario.overrides, "rules": [name_of(rule) for rule in rules]}
    chosen = policies(scenario, options.training)
    for name, policy in chosen.items():
        figures = play(scenario, policy, rules, -(-options.steps // len(chosen)), options.episodes)
        found["policies"][name] = figures
        print(name, figures, flush=True)
    every = found["policies"].values()
    found["steps"], found["violations"] = (sum(each[key] for each in every) for key in ("steps", "violations"))
    print(f"{found['steps']:,} steps, {found['violations']} violations", flush=True)
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
