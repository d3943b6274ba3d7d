"""Do the intervals of off-policy estimates contain the truth as often as they say? Do warnings fire when they cannot?

Many simulated logs of one policy, each asked what another policy would have cost. The truth is that policy played in
the simulator some hundred thousand times. In the first cases the assumptions of weights hold: the loggers try
everything, and their probabilities are logged. That of the direct method, a model that can be right, holds exactly in
the first case, nearly in the next. In the last cases an assumption fails.

    python benchmarks/coverage.py --json benchmarks/results/coverage.json

A quarter of an hour on one core. Finished cases are kept in the JSON file; the same command goes on from there.
"""

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from aljax import load_scenario
from aljax.experiment import COLLECTION, Protocol, seed_keys
from aljax.files import write_json
from aljax.offline.command import true_values
from aljax.offline.data import Log, collect
from aljax.offline.estimate import EstimateSettings, estimate, question_of
from aljax.policy import Mixture, Policy, Random, heuristics

from receipts import machine, status_of, versions

TRUTH = 200_000


def between(policy: Policy, share: float) -> Policy:
    """Plays `policy` with this probability at every step, else any allowed row."""
    return Mixture((policy, Random()), jnp.array([share, 1 - share]))


@dataclasses.dataclass(frozen=True)
class Case:
    """Loggers, and a policy in question; numbers are shares of the cost-aware rule's choices, the rest is random."""

    scenario: str
    loggers: Mapping[str, float]
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


CASES = {
    # Without the violation a step's cost depends on the action and on what failed alone: the model is linear in that.
    "linear costs": Case("paper", {"mixed": 0.5}, 0.6, 1_000, "", ("weights.violation=0",)),
    "escalation": Case("escalation", {"mixed": 0.5}, 0.6, 1_000, ""),
    "service_desk": Case("service_desk", {"mixed": 0.5}, 0.6, 1_000, ""),
    "two loggers": Case("escalation", {"random": 0.0, "mixed": 0.6}, 0.4, 500, ""),
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
    loggers = {name: between(rule, share) for name, share in case.loggers.items()}
    target = between(rule, case.target)
    truth = true_values(target, scenario, Protocol(seeds=1, seed=1, evaluation_episodes=TRUTH))["cost"]
    settings = EstimateSettings(resamples=300)
    inside: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    warned, sizes = 0, []
    for key in seed_keys(Protocol(seeds=sets), COLLECTION):
        log = case.spoil(collect(key, loggers, scenario.params, episodes=case.episodes, steps=scenario.horizon))
        question = question_of(log, target, scenario.params)
        answer = estimate(dataclasses.replace(question, outcomes={"cost": question.outcomes["cost"]}), settings)
        sizes.append(max(answer.effective_tasks.values()))
        found = answer.estimates["cost"]
        warned += bool(answer.warnings) or any(one.interval is None for one in found.values())
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


def study(options: argparse.Namespace) -> None:
    """Measures what is missing in the receipt."""
    receipt: dict[str, Any] = {"what": __doc__.splitlines()[0], "machine": machine(), "versions": versions()}
    receipt["cases"] = {}
    if options.json is not None and options.json.exists():
        before = json.loads(options.json.read_text())["cases"]
        receipt["cases"] = before
    for name in options.cases or CASES:
        if name not in receipt["cases"]:
            receipt["cases"][name] = measure(CASES[name], options.sets)
            if options.json is not None:
                write_json(options.json, receipt)
        found = receipt["cases"][name]
        print(
            f"{name} ({found['fails'] or 'assumptions hold'}): {found['sets']} logs, {found['effective_tasks']:.0f} "
            f"effective tasks, warned or refused {found['warned_or_refused']:.1%}"
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
