"""Do the intervals of off-policy estimates contain the truth as often as they say? Do warnings fire when they cannot?

Many simulated logs of one policy, each asked what another policy would have cost. The truth is that policy played in
the simulator some hundred thousand times. In the first cases the assumptions of weights hold: the loggers try
everything, and their probabilities are logged. That of the direct method, a model that can be right, holds exactly in
the first case, nearly in the next. Then come logs without probabilities, of a logger that does not look at what it sees
and of loggers that do: there an assumption holds if the fit can say how they choose. In the last cases one fails.
Also measured: how long estimates on hundreds of actions take, and how much memory.

    OPENBLAS_NUM_THREADS=1 python studies/interval_coverage.py --json studies/results/interval_coverage.json

Half an hour on one core. Finished cases are kept in the JSON file; the same command goes on from there.
"""

import argparse
import dataclasses
import functools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts, rivals

from aljax import load_scenario
from aljax.env import EnvParams, num_actions
from aljax.host.files import write_json
from aljax.offline.data import Log, collect
from aljax.offline.estimate import estimate
from aljax.offline.policies import true_values
from aljax.offline.question import question_of
from aljax.options import EstimateSettings, Hyperparameters, Protocol, TrainConfig
from aljax.policy import Mixture, Policy, Random, heuristics, masked
from aljax.scenario import Scenario
from aljax.seeds import COLLECTION, seed_keys
from aljax.training import train_seeds

from receipts import machine, status_of, versions

TRUTH = 200_000


def between(policy: Policy, share: float) -> Policy:
    """Plays `policy` with this probability at every step, else any allowed row."""
    return Mixture((policy, Random()), jnp.array([share, 1 - share]))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Looking(Policy):
    """Draws by a softmax of fixed random linear functions of what it sees."""

    matrix: jax.Array
    """``[A, O]``"""
    name: ClassVar[str] = "looking"

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        return masked(jnp.tensordot(self.matrix, observation, 1), legal)


def looking(strength: float, scenario: Scenario) -> Looking:
    """One of them, the same for the same scenario."""
    actions = num_actions(scenario.params)
    size = 2 * len(scenario.coordinate_names) + actions + 3
    return Looking(strength * jax.random.normal(jax.random.key(0), (actions, size)))


def half_trained(scenario: Scenario) -> Policy:
    """A network after 600 episodes of training, drawing; two choices in five are any allowed row."""
    trained = train_seeds(scenario, TrainConfig(episodes=600), Hyperparameters(), Protocol(seeds=1))
    policy = jax.tree.map(lambda leaf: leaf[0], trained.policy)
    return between(dataclasses.replace(policy, greedy=False), 0.6)


@dataclasses.dataclass(frozen=True)
class Case:
    """Loggers, and a policy in question; numbers are shares of the cost-aware rule's choices, the rest is random."""

    scenario: str
    loggers: Mapping[str, float | Callable[[Scenario], Policy]]
    target: float
    episodes: int
    """A logger."""
    fails: str
    """Which assumption fails; empty: none."""
    overrides: tuple[str, ...] = ()
    spoil: Callable[[Log], Log] = lambda log: log


def _claimed(log: Log) -> Log:
    """A log whose writer noted 0.9 for every choice."""
    episodes = dataclasses.replace(log.episodes, probability=np.full_like(log.episodes.probability, 0.9))
    return dataclasses.replace(log, episodes=episodes)


def _unknown(log: Log) -> Log:
    """A log whose writer noted no probability."""
    unknown = np.where(log.episodes.alive[..., None], np.nan, log.episodes.probability)
    return dataclasses.replace(log, episodes=dataclasses.replace(log.episodes, probability=unknown))


def _one_name(log: Log) -> Log:
    """The same, and whoever acted goes by one name."""
    episodes = _unknown(log).episodes
    episodes = dataclasses.replace(episodes, probability=episodes.probability[..., :1], logger=0 * episodes.logger)
    return dataclasses.replace(log, episodes=episodes, loggers=("everybody",))


CASES = {
    # Without the violation a step's cost depends on the action and on what failed alone: the model is linear in that.
    "linear costs": Case("paper", {"mixed": 0.5}, 0.6, 1_000, "", ("weights.violation=0",)),
    "escalation": Case("escalation", {"mixed": 0.5}, 0.6, 1_000, ""),
    "service_desk": Case("service_desk", {"mixed": 0.5}, 0.6, 1_000, ""),
    "two loggers": Case("escalation", {"random": 0.0, "mixed": 0.6}, 0.4, 500, ""),
    "one hardly tries": Case("escalation", {"random": 0.0, "sure": 0.97}, 0.6, 150, ""),
    "unknown, uniform": Case("paper", {"random": 0.0}, 0.2, 1_000, "", (), _unknown),
    "unknown, uniform, escalation": Case("escalation", {"random": 0.0}, 0.2, 1_000, "", (), _unknown),
    "unknown, looking": Case("paper", {"looking": functools.partial(looking, 0.07)}, 0.0, 1_000, "", (), _unknown),
    "unknown, looking, escalation": Case(
        "escalation", {"looking": functools.partial(looking, 0.2)}, 0.0, 1_000, "", (), _unknown
    ),
    "unknown, half-trained": Case("escalation", {"half": half_trained}, 0.0, 1_000, "", (), _unknown),
    "unknown, two loggers": Case("escalation", {"random": 0.0, "mixed": 0.6}, 0.4, 500, "", (), _unknown),
    "unknown, two under one name": Case(
        "escalation", {"random": 0.0, "sure": 0.9}, 0.0, 500, "no fit of one logger can be right", (), _one_name
    ),
    "model is wrong": Case("paper", {"mixed": 0.5}, 0.6, 1_000, "the model cannot bend as costs do"),
    "never tried": Case("escalation", {"cost_aware": 1.0}, 0.5, 1_000, "the logger tries one thing only"),
    "hardly tried": Case("escalation", {"cost_aware": 0.97}, 0.0, 1_000, "the logger tries too little"),
    "wrong probabilities": Case(
        "escalation", {"mixed": 0.5}, 0.6, 1_000, "logged probabilities are not the loggers'", (), _claimed
    ),
}
FEWER = 4
"""So many times fewer logs where an assumption fails: there only warnings are counted."""


def measure(case: Case, sets: int) -> dict[str, Any]:
    """Coverage of every estimator over so many logs."""
    scenario = load_scenario(case.scenario, case.overrides)
    sets = sets // FEWER if case.fails else sets
    rule = heuristics(scenario)["cost_aware"]
    loggers = {
        name: share(scenario) if callable(share) else between(rule, share) for name, share in case.loggers.items()
    }
    target = between(rule, case.target)
    truth = true_values(target, scenario, Protocol(seeds=1, seed=1, evaluation_episodes=TRUTH))["cost"]
    settings = EstimateSettings(resamples=300, experimental=True)
    inside: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    warned, doubted, sizes = 0, 0, []
    for key in seed_keys(Protocol(seeds=sets), COLLECTION):
        log = case.spoil(collect(key, loggers, scenario.params, episodes=case.episodes, steps=scenario.horizon))
        question = question_of(log, target, scenario.params)
        answer = estimate(dataclasses.replace(question, outcomes={"cost": question.outcomes["cost"]}), settings)
        sizes.append(max(answer.effective_tasks.values()))
        found = answer.estimates["cost"]
        # That probabilities were fitted is always said, and tells nothing about these. The direct method, which is
        # experimental, is told apart.
        told = [line for line in answer.warnings if not line.startswith(("probabilities fitted", "direct"))]
        warned += bool(told) or any(one.interval is None for name, one in found.items() if name != "direct")
        doubted += found["direct"].interval is None or any(line.startswith("direct") for line in answer.warnings)
        for name, one in found.items():
            inside.setdefault(name, [])
            widths.setdefault(name, [])
            if one.interval is not None:
                inside[name].append(bool(one.interval.low <= truth.estimate <= one.interval.high))
                widths[name].append(one.interval.high - one.interval.low)
    return {
        "scenario": case.scenario,
        "overrides": list(case.overrides),
        "fails": case.fails,
        "truth": truth.to_json(),
        "sets": sets,
        "warned_or_refused": warned / sets,
        "direct_doubted_or_refused": doubted / sets,
        "effective_tasks": float(np.median(sizes)),
        "coverage": {
            name: {
                "answered": len(found),
                "contained": float(np.mean(found)) if found else None,
                "width": float(np.median(widths[name])) if found else None,
            }
            for name, found in inside.items()
        },
    }


def many_actions(episodes: int, actions: int = 300) -> dict[str, Any]:
    """Seconds and peak memory of one estimate, its question included, in a scenario of so many tools."""
    rng = np.random.default_rng(0)
    rows = [
        f'[actions.tool_{k}]\nkind = "tool"\nlatency = {rng.uniform(0.1, 3):.2f}\nmoney = {rng.uniform(0, 1):.2f}\n'
        f"failure = {rng.uniform(0.05, 0.4):.2f}\nshift = [{-rng.uniform(0, 0.8):.2f}, {-rng.uniform(0, 0.8):.2f}]"
        for k in range(actions)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.toml"
        path.write_text(MANY + "\n".join(rows), encoding="utf-8")
        scenario = load_scenario(str(path))
    rule = heuristics(scenario)["cost_aware"]
    key = seed_keys(Protocol(seeds=1), COLLECTION)[0]
    log = collect(key, {"mixed": between(rule, 0.5)}, scenario.params, episodes=episodes, steps=scenario.horizon)
    started = time.perf_counter()
    estimate(question_of(_unknown(log), between(rule, 0.6), scenario.params))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"actions": actions, "episodes": episodes, "seconds": seconds, "peak_gib": peak}


MANY = """
title = "Many tools"
coordinates = ["a", "b"]
horizon = 6
start_low = [1.0, 1.0]
start_high = [3.0, 3.0]
tolerance = 0.5

[weights]
latency = 0.1
money = 1.0
violation = 2.0
failure = 1.0
divergence = 0.1
"""


def study(options: argparse.Namespace) -> None:
    """Measures what is missing in the receipt."""
    receipt: dict[str, Any] = {"what": __doc__.splitlines()[0], "machine": machine(), "versions": versions()}
    receipt |= {"cases": {}, "many_actions": []}
    if options.json is not None and options.json.exists():
        before = json.loads(options.json.read_text())
        receipt |= {key: before[key] for key in ("cases", "many_actions") if key in before}
    # First, as the peak is that of the whole process.
    if not receipt["many_actions"] and not options.cases:
        receipt["many_actions"] = [many_actions(30), many_actions(1_000)]
    for row in receipt["many_actions"]:
        print("{actions} actions, {episodes} episodes: {seconds:.1f} s, peak {peak_gib:.2f} GiB".format_map(row))
    for name in options.cases or CASES:
        if name not in receipt["cases"]:
            receipt["cases"][name] = measure(CASES[name], options.sets)
            if options.json is not None:
                write_json(options.json, receipt)
        found = receipt["cases"][name]
        print(
            f"{name} ({found['fails'] or 'assumptions hold'}): {found['sets']} logs, {found['effective_tasks']:.0f} "
            f"effective tasks, warned or refused {found['warned_or_refused']:.1%}, "
            f"direct {found['direct_doubted_or_refused']:.1%}"
        )
        for estimator, row in found["coverage"].items():
            if row["answered"]:
                figures = f"contained {row['contained']:.1%}, width {row['width']:.3f}"
                print(f"  {estimator:32s} answered {row['answered']:4d}, {figures}", flush=True)
            else:
                print(f"  {estimator:32s} refused", flush=True)


def main() -> int:
    """Parses, runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--cases", nargs="+", choices=CASES)
    return status_of(functools.partial(study, parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
