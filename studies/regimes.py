r"""What can be learned from logs: cost and gap to the optimum of every algorithm against the number of logged episodes.

Three loggers on each scenario: the latency baseline, a mixed one (half cost-aware, half any row), and a half-trained
policy (online training stopped after 20 of its 400 updates, drawing its actions). Every seed has a log of its own, of
which learning sees the first so many episodes, a half-trained logger of its own, and weights of its own. All policies
are evaluated on the same starts and luck, beside the exact optimum or, where there is none, a lower bound.

Then online refinement of what came out, against training from scratch, at several budgets of played episodes.

    python studies/regimes.py --json studies/results/regimes.json \
      --page docs/reference/regimes.md --figures docs/figures

An hour on 2 cores. Finished cells are kept in the JSON file; the same command goes on from there.
"""

import argparse
import dataclasses
import functools
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts, rivals

from aljax import Scenario, load_scenario
from aljax.env import EnvParams
from aljax.evaluate import evaluate
from aljax.exact.bounds import lower_bounds
from aljax.exact.bracket import find_optimal, starts
from aljax.exact.structure import make_plan
from aljax.host import compiling
from aljax.host.files import write_json
from aljax.networks.architecture import MLP
from aljax.offline.data import Episodes, distributions, play_logged
from aljax.offline.learn import learn
from aljax.offline.regimes import REFINEMENT, softened
from aljax.options import Hyperparameters, LearnConfig, LearnHyperparameters, Protocol, TrainConfig
from aljax.policy import Learned, Mixture, Policy, heuristics
from aljax.seeds import (
    COLLECTION,
    EVALUATION,
    LEARNING,
    RELAXATION,
    fetch,
    mesh_of,
    places,
    seed_keys,
    seed_numbers,
    spread,
)
from aljax.statistics import paired_gap
from aljax.target import here
from aljax.training import training_programs

from receipts import machine, status_of, versions

SCENARIOS = ("paper", "escalation", "service_desk")
LOGGERS = ("latency", "mixed", "half-trained")
ALGORITHMS = ("imitation", "cost_sensitive", "fitted_q", "cql", "gradient")
SIZES = (100, 1_000, 10_000, 100_000)
BUDGETS = (300, 1_200, 3_600, 12_000)
REFINED_FROM = 10_000
HALF = 20
EVALUATED = 2_000
BOUNDED = 500


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """What costs are compared with, episode by episode."""

    name: str
    cost: np.ndarray
    """Of the optimum, or its lower bound. ``[B]``"""


class Study:
    """One scenario's part."""

    def __init__(self, scenario: Scenario, seeds: int, most: int) -> None:
        self.scenario, self.seeds, self.most = scenario, seeds, most
        self.devices = min(seeds, len(jax.local_devices()))
        self.mesh = mesh_of(self.devices)
        self.places = places(seeds, self.devices)
        protocol = Protocol(seeds=seeds)
        self.collect_keys = seed_keys(protocol, COLLECTION)[self.places]
        self.learn_keys = seed_keys(protocol, LEARNING)[self.places]
        self.numbers, self.seed = seed_numbers(protocol)[self.places], np.int32(protocol.seed)
        self.evaluation = Protocol(seeds=1, evaluation_episodes=EVALUATED)
        self.network = MLP(len(scenario.action_names), (64,))
        self._evaluate = jax.jit(
            functools.partial(evaluate, trained=frozenset(), episodes=EVALUATED, steps=scenario.horizon),
            compiler_options=here().compiler_options(),
        )
        self._learners: dict[str, Any] = {}

    def half_trained(self) -> Any:
        """Weights of each seed's half-trained policy."""
        config = TrainConfig()
        start, pieces = training_programs(config, self.scenario.horizon, self.devices)
        state = start((self.numbers, None), self.seed, self.scenario.params)
        return pieces(state, np.int32(0), np.int32(HALF), Hyperparameters(), self.scenario.params).variables

    def log(self, logger: str, half: Any) -> Episodes:
        """Every seed's log, on the devices, with a leading axis of seeds."""
        simple = heuristics(self.scenario)
        mixed = Mixture((simple["cost_aware"], simple["random"]), jnp.array([0.5, 0.5]))

        def play(seed: tuple[jax.Array, Any], params: EnvParams) -> Episodes:
            key, variables = seed
            policy: Policy = simple["latency"] if logger == "latency" else mixed
            if logger == "half-trained":
                policy = Learned(variables, self.network, greedy=False)
            found = play_logged(key, 0, policy, params, episodes=self.most, steps=self.scenario.horizon)
            chances = distributions(policy, params, found.observation, found.action, found.failed)
            own = jnp.take_along_axis(chances, found.action[..., None], axis=2)
            return dataclasses.replace(found, probability=own)

        return spread(play, self.mesh, 1, ("play", logger))((self.collect_keys, half), self.scenario.params)

    def learned(self, algorithm: str, log: Episodes, count: int) -> tuple[Any, float]:
        """Every seed's policy from the first `count` episodes of its log, and the seconds it took."""
        if algorithm not in self._learners:
            config = LearnConfig(algorithm=algorithm)  # type: ignore[arg-type]

            def one(seed: tuple[jax.Array, Episodes], numbers: Any, params: EnvParams, count: Any) -> Any:
                return learn(seed[0], numbers, params, seed[1], count, config=config)[0]

            self._learners[algorithm] = spread(one, self.mesh, 3, ("learn", config))
        begun = time.perf_counter()
        numbers = jax.tree.map(np.float32, LearnHyperparameters())
        given = ((self.learn_keys, log), numbers, self.scenario.params, np.int32(count))
        found = fetch(self._learners[algorithm](*given), self.seeds)
        return found, time.perf_counter() - begun

    def trained(self, budget: int, variables: Any) -> Any:
        """Every seed's policy after so many episodes of play, from given weights or from scratch."""
        config = TrainConfig(episodes=budget)
        start, pieces = training_programs(config, self.scenario.horizon, self.devices)
        numbers = jax.tree.map(np.float32, Hyperparameters() if variables is None else REFINEMENT)
        placed = None
        if variables is not None:
            soft = softened(self.scenario, Learned(jax.tree.map(jnp.asarray, variables), self.network))
            placed = jax.tree.map(lambda leaf: leaf[self.places], soft)
        state = start((self.numbers, placed), self.seed, self.scenario.params)
        state = pieces(state, np.int32(0), np.int32(config.updates), numbers, self.scenario.params)
        return fetch(state.variables, self.seeds)

    def yardstick(self) -> Yardstick:
        """The exact optimum on the evaluation's episodes, or a lower bound from their first starts."""
        optimal, _ = find_optimal(self.scenario, self.evaluation)
        if optimal is not None:
            return Yardstick("optimum", self._costs(optimal)[0])
        plan = make_plan(self.scenario.params, scenario=self.scenario, relaxed=True)
        begin = starts(self.scenario, self.evaluation)[0][:, :BOUNDED]
        key = seed_keys(self.evaluation, RELAXATION)[0]
        return Yardstick("lower bound", np.asarray(lower_bounds(key, self.scenario.params, begin, plan), np.float64))

    def _costs(self, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
        keys = seed_keys(self.evaluation, EVALUATION)
        found = self._evaluate(keys, {"it": policy}, self.scenario.params)["it"].outcome
        return np.asarray(found.total, np.float64)[0], np.asarray(found.success, np.float64)[0]

    def measured(self, variables: Any, yardstick: Yardstick) -> dict[str, Any]:
        """What every seed's policy costs, and by how much that exceeds the yardstick."""
        pairs = [
            self._costs(Learned(jax.tree.map(lambda leaf, s=s: leaf[s], variables), self.network))
            for s in range(self.seeds)
        ]
        cost, success = (np.stack(values) for values in zip(*pairs, strict=True))
        against = cost[:, : len(yardstick.cost)]
        gap = paired_gap(against, np.broadcast_to(yardstick.cost, against.shape), by_seed=self.seeds > 1)
        by_seed = cost.mean(1)
        return {
            "cost": {"mean": float(by_seed.mean()), "std": float(by_seed.std())},
            "success": float(success.mean()),
            "gap_percent": gap.to_json(),
        }


def study(options: argparse.Namespace) -> None:
    """Runs what is missing in the receipt and writes it cell by cell."""
    compiling.use_cores()
    receipt: dict[str, Any] = {"what": __doc__.splitlines()[0], "machine": machine(), "versions": versions()}
    receipt |= {"seeds": options.seeds, "sizes": list(options.sizes), "budgets": list(options.budgets)}
    receipt |= {"evaluation_episodes": EVALUATED, "yardstick": {}, "loggers": {}, "learned": {}, "refined": {}}
    if options.json is not None and options.json.exists():
        before = json.loads(options.json.read_text())
        same = all(before.get(key) == receipt[key] for key in ("seeds", "sizes", "budgets", "evaluation_episodes"))
        if same:
            receipt |= {key: before[key] for key in ("yardstick", "loggers", "learned", "refined")}

    def keep() -> None:
        if options.json is not None:
            write_json(options.json, receipt)

    for name in options.scenarios:
        part = Study(load_scenario(name), options.seeds, max(options.sizes))
        yardstick = part.yardstick()
        receipt["yardstick"][name] = {"what": yardstick.name, "cost": float(yardstick.cost.mean())}
        for budget in options.budgets:
            if (label := f"{name}/scratch/{budget}") not in receipt["refined"]:
                receipt["refined"][label] = part.measured(part.trained(budget, None), yardstick)
                keep()
        half = part.half_trained()
        for logger in LOGGERS:
            labels = [f"{name}/{logger}/{a}/{n}" for a in ALGORITHMS for n in options.sizes]
            if all(label in receipt["learned"] for label in labels):
                continue
            log = part.log(logger, half)
            costs = np.asarray(jnp.einsum("sntk,k->s", log.costs[:, :1000], part.scenario.params.weights)) / 1000
            receipt["loggers"][f"{name}/{logger}"] = {"cost": float(costs.mean())}
            for algorithm in ALGORITHMS:
                for size in options.sizes:
                    label = f"{name}/{logger}/{algorithm}/{size}"
                    if label in receipt["learned"]:
                        continue
                    variables, seconds = part.learned(algorithm, log, size)
                    found = part.measured(variables, yardstick) | {"seconds": round(seconds, 2)}
                    receipt["learned"][label] = found
                    print(label, _brief(found), flush=True)
                    if size == REFINED_FROM:
                        for budget in options.budgets:
                            refined = part.measured(part.trained(budget, variables), yardstick)
                            receipt["refined"][f"{name}/{logger}/{algorithm}/{budget}"] = refined
                            print("  refined", budget, _brief(refined), flush=True)
                    keep()
            del log
    if options.page is not None:
        options.page.write_text(page(receipt), encoding="utf-8")
    if options.figures is not None:
        draw(receipt, options.figures)


def _brief(found: Mapping[str, Any]) -> str:
    return f"{found['cost']['mean']:.3f} ± {found['cost']['std']:.3f}, gap {found['gap_percent']['estimate']:.2f} %"


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "not measured"
    gap = found["gap_percent"]["estimate"]
    return f"{found['cost']['mean']:.2f} ± {found['cost']['std']:.2f} ({gap:.{1 if gap < 99.95 else 0}f} %)"


def page(receipt: Mapping[str, Any]) -> str:
    """The tables, Markdown."""
    lines = ["# What each regime learns from logs", "", *__doc__.splitlines()[2:9], ""]
    lines += [f"Written by `studies/regimes.py`; {receipt['seeds']} seeds; {receipt['machine']['processor']}.", ""]
    lines += ["Mean cost ± standard deviation over seeds, in brackets by how much it exceeds the optimum.", ""]
    for name, yardstick in receipt["yardstick"].items():
        lines += [f"## `{name}` ({yardstick['what']}: {yardstick['cost']:.3f})", ""]
        for logger in LOGGERS:
            if f"{name}/{logger}" not in receipt["loggers"]:
                lines += [f"Logs of **{logger}**: not measured yet.", ""]
                continue
            cost = receipt["loggers"][f"{name}/{logger}"]["cost"]
            lines += [f"Logs of **{logger}**, which itself costs {cost:.2f}:", ""]
            lines += ["| algorithm | " + " | ".join(f"{n:,} episodes" for n in receipt["sizes"]) + " |"]
            lines += ["|---" * (1 + len(receipt["sizes"])) + "|"]
            for algorithm in ALGORITHMS:
                found = [receipt["learned"].get(f"{name}/{logger}/{algorithm}/{n}") for n in receipt["sizes"]]
                lines += [f"| {algorithm} | " + " | ".join(map(_cell, found)) + " |"]
            lines += [""]
        lines += [f"Refined online, from {REFINED_FROM:,} logged episodes:", ""]
        lines += ["| from | before | " + " | ".join(f"{n:,} played" for n in receipt["budgets"]) + " |"]
        lines += ["|---" * (2 + len(receipt["budgets"])) + "|"]
        scratch = [receipt["refined"][f"{name}/scratch/{n}"] for n in receipt["budgets"]]
        lines += ["| scratch | | " + " | ".join(map(_cell, scratch)) + " |"]
        for logger in LOGGERS:
            for algorithm in ALGORITHMS:
                before = receipt["learned"].get(f"{name}/{logger}/{algorithm}/{REFINED_FROM}")
                labels = [f"{name}/{logger}/{algorithm}/{n}" for n in receipt["budgets"]]
                if before is None or labels[0] not in receipt["refined"]:
                    continue
                cells = " | ".join(_cell(receipt["refined"].get(label)) for label in labels)
                lines += [f"| {logger}, {algorithm} | {_cell(before)} | {cells} |"]
        lines += [""]
    return "\n".join(lines)


def draw(receipt: Mapping[str, Any], folder: Path) -> None:
    """The gap against the number of logged episodes, a panel a scenario and logger."""
    from aljax import drawing

    plt = drawing.pyplot()
    names = list(receipt["yardstick"])
    figure, axes = plt.subplots(
        len(names), len(LOGGERS), figsize=(10, 2.6 * len(names)), sharex=True, squeeze=False, layout="constrained"
    )
    for row, name in zip(axes, names, strict=True):
        base = receipt["yardstick"][name]["cost"]
        for axis, logger in zip(row, LOGGERS, strict=True):
            for algorithm in ALGORITHMS:
                found = [receipt["learned"].get(f"{name}/{logger}/{algorithm}/{n}") for n in receipt["sizes"]]
                if None in found:
                    continue
                gaps = np.array([[x["gap_percent"][k] or np.nan for k in ("estimate", "low", "high")] for x in found])
                gaps = np.maximum(gaps, 0.05)
                axis.plot(receipt["sizes"], gaps[:, 0], marker="o", markersize=3, label=algorithm)
                axis.fill_between(receipt["sizes"], gaps[:, 1], gaps[:, 2], alpha=0.15, linewidth=0)
            axis.set(xscale="log", yscale="log", title=f"{name}: logs of {logger}")
            if f"{name}/{logger}" not in receipt["loggers"]:
                continue
            own = 100 * (receipt["loggers"][f"{name}/{logger}"]["cost"] / base - 1)
            axis.axhline(own, color="grey", linestyle=":", label="the logger")
            scratch = receipt["refined"][f"{name}/scratch/{max(receipt['budgets'])}"]["gap_percent"]["estimate"]
            axis.axhline(
                max(scratch, 0.05), color="black", linestyle="--", linewidth=0.8, label="online, 12,000 episodes"
            )
            axis.title.set_fontsize(9)
        row[0].set_ylabel(f"% above {receipt['yardstick'][name]['what']}")
    for axis in axes[-1]:
        axis.set_xlabel("logged episodes")
    axes[0, 0].legend(fontsize=6)
    drawing.save(figure, folder / "regimes.png", plt)


def main() -> int:
    """Parses, runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--page", type=Path, help="write the tables to this file")
    parser.add_argument("--figures", type=Path, help="write the plot into this folder")
    parser.add_argument("--scenarios", nargs="+", default=SCENARIOS, choices=SCENARIOS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS)
    parser.add_argument("--seeds", type=int, default=20)
    return status_of(functools.partial(study, parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
