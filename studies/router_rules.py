"""Does a router keep the hard rules, whatever its network says and whatever fails?

Routers of drawn networks go by the scenario `refunds`, whose calls fail as its rows do. Half of the episodes draw among
the likeliest rows, and every third choice is among a few rows only. Traces are judged by DECLARE's definitions over
whole traces (`tests/declare.py`), which know no automata: what is broken for good is a violation; what is owed at the
end, because calls failed until no step was left, is counted apart.

    python studies/router_rules.py --json studies/results/router_rules.json
"""

import argparse
import random
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # declare

import jax

from aljax.host.files import check_writable, write_json
from aljax.networks.inputs import architecture_of, inputs_of
from aljax.options import TrainConfig
from aljax.policy import learned_of
from aljax.router import Router
from aljax.routing.export import Settings, router_data
from aljax.scenario import load_scenario

import declare
import receipts

OWING = ("response", "chain_response", "alternate_response", "existence")
"""Templates of which something may be left undone at the end."""


def router_of(seed: int) -> Router:
    """A router of a drawn network, whose logits are large; every other one draws."""
    scenario, config = load_scenario("refunds"), TrainConfig(hidden=(16,))
    architecture = architecture_of(config, len(scenario.action_names))
    weights = architecture.init(jax.random.key(seed), inputs_of(config).size(scenario.params))
    policy = learned_of(config, scenario.params, architecture.scaled(weights, 100.0))
    return Router(router_data(scenario, policy, Settings()), None, seed % 2 == 1, seed, "router.json")


def lived(router: Router, rng: random.Random, told: Counter[str]) -> list[tuple[str, bool]]:
    """An episode as the router wants it: rows, and whether they worked."""
    episode, steps, failed = router.start(), [], set[str]()
    while not episode.over:
        some = rng.sample(router.names, rng.randint(2, len(router.names))) if rng.random() < 1 / 3 else None
        choice = episode.choose(some)
        told["choices"] += 1
        told["choices with a rule that bars"] += bool(choice.barred)
        if choice.action is None:  # all that there was is barred
            told["nothing left"] += 1
            continue
        row = router.rows[router.index[choice.action]]
        rate = row.get("after_failed", row["failure"]) if choice.action in failed else row["failure"]
        ok = rng.random() >= rate
        (failed.discard if ok else failed.add)(choice.action)
        steps.append((choice.action, ok))
        episode.record(choice.action, ok=ok)
    return steps


def main() -> None:
    """Plays and judges, and writes the receipt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.json:
        check_writable(options.json)
    rules = tomllib.loads(load_scenario("refunds").text)["rules"]
    hard = [rule for rule in rules if rule.get("mode", "hard") == "hard"]
    told, broken, owed = Counter[str](), Counter[str](), Counter[str]()
    routers, rng = [router_of(seed) for seed in range(options.networks)], random.Random(0)
    for number in range(options.episodes):
        steps = lived(routers[number % len(routers)], rng, told)
        told["steps"] += len(steps)
        for rule in hard:
            if not declare.kept(rule, steps):
                (owed if rule["template"] in OWING else broken)[rule["name"]] += 1
    found: dict[str, Any] = {"machine": receipts.machine(), "versions": receipts.versions(()), "scenario": "refunds"}
    found |= {"episodes": options.episodes, "networks": options.networks, **dict(told)}
    found |= {"errors": sum(router.errors for router in routers), "violations": dict(broken), "owed": dict(owed)}
    print(found)
    if options.json:
        write_json(options.json, found)
    if broken:
        raise SystemExit("router_rules.py: a hard rule was broken")


if __name__ == "__main__":
    sys.exit(receipts.status_of(main))
