"""Does a router do what its policy does in JAX, in every Python, whatever befalls its file and whoever shares it?

Streams of events are drawn in every shipped scenario that can be followed from events (the agent reads the start), for
MLP and GRU, with and without belief: any rows that are legal and available, calls that work and fail as in the
environment. Every choice and every number of the network must be JAX's, which works in double precision. The networks'
weights are drawn and made large, so that choices are various. Then router files are spoiled, a few bytes at a time, and
episodes run side by side in threads and in asynchronous tasks.

    python studies/router.py --python python3.10 --python python3.13 --json studies/results/router.json
"""

import argparse
import asyncio
import random
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

import jax

from aljax import router
from aljax.host.files import check_writable, write_json
from aljax.networks.inputs import architecture_of, inputs_of
from aljax.options import InputsName, PolicyName, TrainConfig
from aljax.policy import Learned, learned_of
from aljax.router import Choice, Router, RouterError
from aljax.routing.events import obstacle
from aljax.routing.export import Settings, router_text
from aljax.scenario import Scenario, load_scenario, scenario_names

import receipts

SETTINGS = Settings(readings=True)
NETWORKS: tuple[tuple[PolicyName, InputsName, int], ...] = (
    ("mlp", "observation", 64),
    ("mlp", "belief", 64),
    ("gru", "observation", 16),
    ("gru", "belief", 16),
)


def drawn(scenario: Scenario, policy: PolicyName, inputs: InputsName, hidden: int) -> Learned:
    """A policy of drawn weights, whose logits are large."""
    config = TrainConfig(policy=policy, inputs=inputs, hidden=(hidden,))
    architecture = architecture_of(config, len(scenario.action_names))
    weights = architecture.init(jax.random.key(3), inputs_of(config).size(scenario.params))
    return learned_of(config, scenario.params, architecture.scaled(weights, 300.0))


def streams(pythons: list[str], total: int, folder: Path) -> list[dict[str, Any]]:
    """Checks files of many examples in every Python."""
    scenarios = {name: load_scenario(name) for name in scenario_names()}
    policies = {
        (name, *network): (scenario, drawn(scenario, *network))
        for name, scenario in scenarios.items()
        for network in NETWORKS
    }
    policies = {key: pair for key, pair in policies.items() if not obstacle(*pair, readings=True)}
    found = []
    for (name, policy, inputs, hidden), (scenario, learned) in policies.items():
        path = folder / f"{name}-{policy}-{inputs}.json"
        episodes = -(-total // len(policies))
        path.write_bytes(router_text(scenario, learned, SETTINGS, about={}, episodes=episodes))
        about = {"scenario": name, "policy": policy, "inputs": inputs, "hidden": hidden, "streams": episodes}
        about["kibibytes"] = round(path.stat().st_size / 1024)
        for python in pythons:
            command = [python, "-I", "-S", router.__file__, "--check", str(path)]
            done = subprocess.run(command, capture_output=True, text=True)
            told = re.search(r": (\d+) choices as in training, numbers within (\S+)", done.stdout)
            if told is None:
                about.setdefault("refused", {})[python] = done.stderr.strip()
                continue
            about["choices"] = int(told[1])
            about.setdefault("largest_difference", {})[version(python)] = float(told[2])
        print(about, flush=True)
        found.append(about)
    return found


def version(python: str) -> str:
    """Which Python it is."""
    command = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def mutants(good: bytes, number: int, folder: Path) -> dict[str, int]:
    """Spoils a router file a few bytes at a time."""
    rng, path, found = random.Random(0), folder / "mutant.json", {"refused": 0, "unchanged": 0, "accepted": 0}
    for _ in range(number):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at, kind = rng.randrange(len(data)), rng.randrange(4)
            if kind == 3:
                del data[at : at + rng.randint(1, 200)]
            else:
                data[at : at + (kind > 0)] = bytes([rng.randrange(256)])
        path.write_bytes(data)
        try:
            Router.load(path)
            found["unchanged" if data == good else "accepted"] += 1
        except RouterError as error:
            found["refused"] += "\n" not in str(error)
    return found


def play(found: Router, number: int) -> list[Choice]:
    """One episode, whose events depend on its number alone."""
    rng, episode, chosen = random.Random(number), found.start(readings={"work": 3.0}), []
    for _ in range(8):
        chosen.append(choice := episode.choose())
        episode.record(choice.action or "", ok=rng.random() < 0.6, seconds=rng.expovariate(0.25))
    episode.end()
    return chosen


async def play_async(found: Router, number: int) -> list[Choice]:
    """The same, and others have their turn between choice and outcome."""
    rng, episode, chosen = random.Random(number), found.start(readings={"work": 3.0}), []
    for _ in range(8):
        chosen.append(choice := episode.choose())
        await asyncio.sleep(0)
        episode.record(choice.action or "", ok=rng.random() < 0.6, seconds=rng.expovariate(0.25))
    episode.end()
    return chosen


def together(found: Router, threads: int, each: int) -> dict[str, Any]:
    """Episodes side by side beside the same ones alone."""
    alone = [play(found, number) for number in range(threads * each)]
    shared: dict[int, list[Choice]] = {}

    def work(first: int) -> None:
        for number in range(first, threads * each, threads):
            shared[number] = play(found, number)

    workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    async def several() -> list[list[Choice]]:
        return await asyncio.gather(*(play_async(found, number) for number in range(each)))

    differ = sum(shared[number] != chosen for number, chosen in enumerate(alone))
    tasks = sum(a != b for a, b in zip(asyncio.run(several()), alone, strict=False))
    return {
        "threads": threads,
        "episodes": threads * each,
        "differ": differ,
        "tasks": each,
        "tasks_differ": tasks,
        "kinds_of_choices": len({choice.action for chosen in alone for choice in chosen}),
        "errors": found.errors,
    }


def main() -> None:
    """Runs all of it, and writes the receipt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], help="a further interpreter; repeat for more")
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--episodes", type=int, default=1_000, help="of each of 8 threads")
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.json:
        check_writable(options.json)
    found: dict[str, Any] = {"machine": receipts.machine(), "versions": receipts.versions(())}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found["streams"] = streams([sys.executable, *options.python], options.streams, folder)
        outage = load_scenario("outage")
        text = router_text(outage, drawn(outage, "gru", "belief", 16), SETTINGS, about={}, episodes=2)
        path = folder / "router.json"
        path.write_bytes(text)
        found["together"] = together(Router.load(path), 8, options.episodes)
        print(found["together"], flush=True)
        found["mutants"] = mutants(text, options.mutants, folder)
        print(found["mutants"], flush=True)
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
