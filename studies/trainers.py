"""Everybody's trainer on aljax's environments, and its gap to the exact optimum: a leaderboard that anybody can extend.

Every contestant (a small file of `contestants/`) may take as many environment steps as aljax's default takes for its
12,000 episodes. First it tries each of its settings on one scenario, with a seed of its own, and keeps the one whose
agent costs least in episodes of their own: that one it has on all scenarios. Then it trains a seed after the other.
Every agent meets the same starts and luck as ``aljax train``'s policies of that seed (`aljax.adapters.evaluate`),
without exploration.

The gap is measured from the exact optimum in the same episodes, or, where there is none, from a certified lower bound
on what any policy costs: then it is at most so large.

    python studies/trainers.py --figure docs/figures/trainers.png --page docs/explanation/trainers.md

What is done is kept beside the receipt, a file a setting tried and a file a seed, written whole: the same command goes
on from there, other processes may do other contestants meanwhile, and what is missing is listed as missing.
"""

import argparse
import datetime
import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

from aljax import find_optimal
from aljax.adapters import evaluate
from aljax.drawing import pyplot
from aljax.errors import UserError
from aljax.exact.bounds import lower_bounds
from aljax.exact.bracket import starts
from aljax.exact.policy import Optimal
from aljax.exact.structure import make_plan
from aljax.host import terminal
from aljax.host.files import check_writable, read_json, whole_file, write_json
from aljax.options import Protocol
from aljax.scenario import load_scenario, scenario_names
from aljax.seeds import RELAXATION, seed_keys
from aljax.statistics import Interval, paired_gap

from contestants import CONTESTANTS
from contestants.common import EPISODES, Agent, Contestant
from contestants.ours import trained
from receipts import machine, partial_folder, status_of, versions

SEARCHED, WHERE = 1_000, "escalation"
"""The number of the seed with which settings are tried (those that count are 0, 1, ...), and on which scenario; for a
contestant that is not meant for it, on the first that it is meant for."""
LIBRARIES = (
    "gymnax", "rejax", "evosax", "distrax", "gymnasium", "stable-baselines3", "sb3-contrib", "torch", "tianshou",
    "torchrl",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(CONTESTANTS)
    parser.add_argument("--contestants", nargs="+", default=names, choices=names, metavar="NAME")
    parser.add_argument("--scenarios", nargs="+", default=scenario_names(), choices=scenario_names())
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tried", type=int, default=4, help="settings that each contestant may try")
    parser.add_argument("--evaluation-episodes", type=int, default=10_000, help="of each seed")
    parser.add_argument("--report", action="store_true", help="train nothing: only show what is there")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "trainers.json")
    parser.add_argument("--figure", type=Path, help="gap against steps")
    parser.add_argument("--page", type=Path, help="a page whose tables are renewed, between two comments")
    return status_of(functools.partial(study, parser.parse_args()))


def study(options: argparse.Namespace) -> None:
    """Trains what is missing, prints, writes."""
    for place in filter(None, (options.json, options.figure, options.page)):
        check_writable(place)
    board = Board(options)
    console, begun = terminal.console(), datetime.datetime.now(datetime.UTC)
    for scenario in () if options.report else options.scenarios:
        for name in options.contestants:
            console.print(f"{scenario}: {name}")
            for line in board.run(scenario, CONTESTANTS[name]):
                console.print(f"  {line}")
    standings = {scenario: board.standing(scenario) for scenario in options.scenarios}
    for scenario, standing in standings.items():
        console.print(table(scenario, standing))
    receipt = {
        "when": begun.isoformat(timespec="seconds"), "evaluation_episodes": options.evaluation_episodes,
        "seeds": options.seeds, "settings_tried": options.tried, "scenarios": standings, "machine": machine(),
        "versions": versions(LIBRARIES),
    }  # fmt: skip
    write_json(options.json, receipt)
    if options.figure is not None:
        draw(options.figure, standings)
    if options.page is not None:
        renew(options.page, standings)


class Board:
    """What is done, in files, and what is still to do."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Takes the options of the study."""
        self.options = options
        self.revision = versions()["revision"]
        key = {"episodes": EPISODES, "evaluation_episodes": options.evaluation_episodes, "tried": options.tried}
        self.folder = partial_folder(options.json, key)

    def run(self, scenario: str, contestant: Contestant) -> Iterable[str]:
        """Does what is missing of one contestant on one scenario; what happens, line by line."""
        reason = self.absent(scenario, contestant)
        if reason:
            yield reason
            return
        steps = self.steps(scenario)
        settings = self.settings(contestant)
        yield f"{steps:,} steps, settings {settings}"
        todo = [seed for seed in range(self.options.seeds) if not self.file(scenario, contestant, f"{seed}").is_file()]
        for some in [todo] if contestant.together and todo else [[seed] for seed in todo]:
            for seed, agent in zip(some, contestant.train(scenario, steps, some, settings), strict=True):
                part = self.judged(scenario, agent, seed)
                self.write(self.file(scenario, contestant, f"{seed}"), part)
                yield f"seed {seed}: cost {part['cost']:.4f}, {part['cpu_seconds']:.1f} CPU s"

    def absent(self, scenario: str, contestant: Contestant) -> str:
        """Why a contestant does not play here; empty where it does."""
        if contestant.scenarios is not None and scenario not in contestant.scenarios:
            return f"is meant for {', '.join(contestant.scenarios)}"
        return contestant.missing()

    def settings(self, contestant: Contestant) -> Mapping[str, Any]:
        """Those of least cost among the settings that may be tried."""
        tried, scenario = contestant.settings[: self.options.tried], self.searched(contestant)
        if len(tried) == 1:
            return tried[0]

        def cost(number: int) -> float:
            def found() -> dict[str, Any]:
                (agent,) = contestant.train(scenario, self.steps(scenario), [SEARCHED], tried[number])
                return {"cost": self.played(scenario, agent.points[-1][1], SEARCHED)[0]}

            return self.kept(self.file(scenario, contestant, f"tried-{number}"), found)["cost"]

        return tried[min(range(len(tried)), key=cost)]

    def searched(self, contestant: Contestant) -> str:
        """On which scenario it tries its settings."""
        meant = contestant.scenarios or (WHERE,)
        return WHERE if WHERE in meant else meant[0]

    def steps(self, scenario: str) -> int:
        """How many environment steps everybody may take: what aljax's default takes, in whole thousands."""

        def found() -> dict[str, int]:
            agents = trained(scenario, range(self.options.seeds), {"episodes": EPISODES})
            return {"steps": 1_000 * round(float(np.mean([agent.steps for agent in agents])) / 1_000)}

        return self.kept(self.folder / f"{scenario}.steps.json", found)["steps"]

    def judged(self, scenario: str, agent: Agent, seed: int) -> dict[str, Any]:
        """What an agent's training came to, in the episodes of its seed."""
        looks = [self.played(scenario, acts, seed) for _, acts in agent.points]
        return {
            "cost": looks[-1][0], "success": looks[-1][1], "steps": agent.steps, "episodes": agent.episodes,
            "curve": [[steps, cost] for (steps, _), (cost, _) in zip(agent.points, looks, strict=True)],
            "seconds": agent.seconds, "cpu_seconds": agent.cpu_seconds, "compile_seconds": agent.compile_seconds,
            "revision": self.revision,
        }  # fmt: skip

    def played(self, scenario: str, acts: Any, seed: int) -> tuple[float, float]:
        """Mean cost and success in the episodes of a seed."""
        result = evaluate(acts, scenario, protocol=self.protocol(seed)).outcome
        return float(np.asarray(result.total, float).mean()), float(np.asarray(result.success, float).mean())

    def protocol(self, seed: int) -> Protocol:
        """One seed of ``aljax train``'s evaluation."""
        return Protocol(seeds=1, first_seed=seed, evaluation_episodes=self.options.evaluation_episodes)

    def reference(self, scenario: str, seed: int) -> dict[str, Any]:
        """What the optimum costs in the episodes of a seed, or at least costs."""

        def found() -> dict[str, Any]:
            loaded, protocol = load_scenario(scenario), self.protocol(seed)
            optimal = optimum(scenario, self.options.evaluation_episodes)
            if optimal is not None:
                cost, success = self.played(scenario, optimal, seed)
                return {"exact": True, "cost": cost, "success": success}
            plan = make_plan(loaded.params, scenario=loaded, relaxed=True)
            begin = np.asarray(starts(loaded, protocol))[0]
            bound = lower_bounds(seed_keys(protocol, RELAXATION)[0], loaded.params, begin, plan)
            return {"exact": False, "cost": float(bound.mean())}

        return self.kept(self.folder / f"{scenario}.reference-{seed}.json", found)

    def standing(self, scenario: str) -> dict[str, Any]:
        """Everything that is known of a scenario: the contestants by name, in the order of their gaps."""
        found: dict[str, Any] = {}
        missing: dict[str, str] = {}
        exact = True
        for name in self.options.contestants:
            contestant = CONTESTANTS[name]
            files = {seed: self.file(scenario, contestant, f"{seed}") for seed in range(self.options.seeds)}
            parts = {seed: read_json(file) for seed, file in files.items() if file.is_file()}
            if not parts:
                missing[name] = self.absent(scenario, contestant) or "not run"
                continue
            references = {seed: self.reference(scenario, seed) for seed in parts}
            exact = all(reference["exact"] for reference in references.values())
            found[name] = self.summary(contestant, parts, references)
        order = sorted(found, key=lambda name: found[name]["gap_percent"]["estimate"])
        return {"exact": exact, "contestants": {name: found[name] for name in order}, "missing": missing}

    def summary(
        self, contestant: Contestant, parts: Mapping[int, Any], references: Mapping[int, Any]
    ) -> dict[str, Any]:
        """One contestant's row."""
        where, tried = self.searched(contestant), range(min(len(contestant.settings), self.options.tried))
        files = [self.file(where, contestant, f"tried-{number}") for number in tried]
        costs = [read_json(file)["cost"] for file in files if file.is_file()]
        base = np.array([references[seed]["cost"] for seed in parts])[:, None]

        def gap(values: Sequence[float]) -> Interval:
            return paired_gap(np.array(values)[:, None], base, by_seed=True)

        looks = list(zip(*(part["curve"] for part in parts.values()), strict=True))
        own = 100 * (np.array([part["cost"] for part in parts.values()]) / base[:, 0] - 1)

        def mean(name: str) -> float:
            return float(np.mean([part[name] for part in parts.values()]))

        return {
            "gap_percent": gap([part["cost"] for part in parts.values()]).to_json(),
            "gap_median": float(np.median(own)), "gap_worst": float(own.max()),
            "gap_by_seed": dict(zip(map(str, parts), own.tolist(), strict=True)),
            "curve": [[float(np.mean([steps for steps, _ in look])), gap([cost for _, cost in look]).estimate]
                      for look in looks],
            **{name: mean(name) for name in ("cost", "success", "steps", "episodes", "seconds", "cpu_seconds",
                                             "compile_seconds")},
            "seeds": len(parts), "revisions": sorted({part["revision"] for part in parts.values()}),
            "settings": contestant.settings[int(np.argmin(costs)) if costs else 0],
            "tried": costs, "tried_on": where, "together": contestant.together, "remark": contestant.remark,
        }  # fmt: skip

    def file(self, scenario: str, contestant: Contestant, part: str) -> Path:
        """Where a part is kept."""
        return self.folder / f"{scenario}.{contestant.name.replace(' ', '_').replace(',', '')}.{part}.json"

    def kept(self, file: Path, found: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a file says, which is written first if it is not there."""
        if not file.is_file():
            self.write(file, found())
        return read_json(file)

    def write(self, file: Path, part: Mapping[str, Any]) -> None:
        """Writes a part, whole."""
        write_json(file, dict(part))


@functools.cache
def optimum(scenario: str, episodes: int) -> Optimal | None:
    """The exact optimum, which is the same for every seed, so that playing it compiles once."""
    return find_optimal(load_scenario(scenario), Protocol(seeds=1, evaluation_episodes=episodes))[0]


def table(scenario: str, standing: Mapping[str, Any]) -> Table:
    """A scenario's contestants, the best first."""
    above = "the optimum" if standing["exact"] else "a lower bound"
    found = Table(title=f"{scenario}: percent above {above}, 95 % intervals over seeds", box=box.SIMPLE)
    for column in ("contestant", "gap %", "median", "worst", "success", "seeds", "steps", "episodes", "s", "CPU s"):
        found.add_column(column, justify="left" if column == "contestant" else "right")
    for name, row in standing["contestants"].items():
        gap = row["gap_percent"]
        interval = "" if gap["low"] is None else f" [{gap['low']:.2f}, {gap['high']:.2f}]"
        found.add_row(
            name, f"{gap['estimate']:.2f}{interval}", f"{row['gap_median']:.2f}", f"{row['gap_worst']:.2f}",
            f"{row['success']:.3f}", f"{row['seeds']}", f"{row['steps']:,.0f}", f"{row['episodes']:,.0f}",
            f"{row['seconds']:.1f}", f"{row['cpu_seconds']:.1f}",
        )  # fmt: skip
    for name, reason in standing["missing"].items():
        found.add_row(name, f"missing: {reason}")
    return found


def markdown(scenario: str, standing: Mapping[str, Any]) -> list[str]:
    """The same as lines of a page."""
    above = "the optimum" if standing["exact"] else "a lower bound on any policy"
    columns = (f"`{scenario}`", f"% above {above}, mean [95 %]", "median", "worst seed", "success", "seeds", "steps",
               "episodes", "CPU s a seed")  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, row in standing["contestants"].items():
        gap = row["gap_percent"]
        interval = "" if gap["low"] is None else f" [{gap['low']:.2f}, {gap['high']:.2f}]"
        cells = (name, f"{gap['estimate']:.2f}{interval}", f"{row['gap_median']:.2f}", f"{row['gap_worst']:.2f}",
                 f"{row['success']:.3f}", f"{row['seeds']}", f"{row['steps']:,.0f}", f"{row['episodes']:,.0f}",
                 f"{row['cpu_seconds']:.1f}")  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lost = [name for name, reason in standing["missing"].items() if reason == "not run"]
    return [*lines, "", *([f"Not run on `{scenario}`: {'; '.join(lost)}.", ""] if lost else [])]


def renew(page: Path, standings: Mapping[str, Any]) -> None:
    """Puts the tables between a page's two comments."""
    begin, end = "<!-- tables -->\n", "<!-- end of tables -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise UserError(f"{page}: expected {begin.strip()} and {end}, between which tables are put")
    tables = [line for scenario, standing in standings.items() for line in markdown(scenario, standing)]
    with whole_file(page) as place:
        place.write_text("\n".join([before + begin, *tables, end + after]), encoding="utf-8")


def draw(file: Path, standings: Mapping[str, Any]) -> None:
    """Gap against environment steps, a panel a scenario."""
    plt = pyplot()
    shown = {scenario: standing for scenario, standing in standings.items() if standing["contestants"]}
    if not shown:
        raise UserError("nothing to draw: no contestant has run")
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    size = (4.2 * columns, 3.4 * rows + 0.8)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    colours = {name: plt.get_cmap("tab20")(number) for number, name in enumerate(CONTESTANTS)}
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    for axis, (scenario, standing) in zip(axes.flat, shown.items(), strict=False):
        for name, row in standing["contestants"].items():
            steps, gaps = zip(*row["curve"], strict=True)
            axis.plot(steps, gaps, marker="o", markersize=3, color=colours[name], label=name)
        axis.set(yscale="log", title=scenario, xlabel="environment steps")
        axis.set_ylabel(f"% above {'the optimum' if standing['exact'] else 'a lower bound'}")
    names = {name: None for standing in shown.values() for name in standing["contestants"]}
    lines = [plt.Line2D([], [], marker="o", markersize=3, color=colours[name]) for name in names]
    figure.legend(lines, list(names), loc="outside lower center", ncols=4, fontsize=8)
    with whole_file(file) as place:
        figure.savefig(place, format="png")
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
