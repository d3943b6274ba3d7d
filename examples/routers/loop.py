"""The loop, closed by commands: an agent's traces, a scenario, a policy, a router, and the same agent with the router.

    python loop.py FOLDER --framework langchain|pydantic_ai|openai_agents

The world is known (office.toml), so what the router does can be held against the best that could be done. The agents
have a scripted model, no network, and a clock of their own that makes hours pass in seconds; each framework writes the
traces that it would write anyway. The loop is gone through once for each of VIOLATIONS. Needs the framework's extra,
pydantic-ai opentelemetry-sdk besides; the variable ALJAX says how the command is called where it is not `aljax`.
"""

import argparse
import importlib
import json
import os
import shlex
import statistics
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from office import FILE, TOOLS, WORLD, Office

from aljax.integrations.shared import Run, routing
from aljax.router import Router

FRAMEWORKS = ("langchain", "pydantic_ai", "openai_agents")
VIOLATIONS = (1.0, 2.0, 3.0)
"""What a unit of what a task lacks weighs: from half done being good enough to half done being too dear."""
LOGGED, PLAYED, MORE = 600, 500, 10_000
"""Episodes that are traced, those that the agent is then played in, alone and with each router, and those that follow
without a framework: the same script and the same hook, whose costs over so many are known to a percent.
"""


def aljax(*words: object) -> None:
    """A command."""
    subprocess.run([*shlex.split(os.environ.get("ALJAX", "aljax")), *map(str, words)], check=True)


def optimum(folder: Path, *changes: str) -> float:
    """The least expected cost in the world, exactly."""
    file = folder / "optimum.json"
    options = [word for change in changes for word in ("--set", change)]
    aljax("optimal", "--scenario", FILE, *options, "--seeds", 1, "--json", file)
    return json.loads(file.read_text())["exact"]["cost"]["mean"]


def router_of(log: Path, folder: Path, violation: float) -> Router:
    """What the commands make of a log."""
    weights = ",".join(f"{name}={value}" for name, value in (WORLD["weights"] | {"violation": violation}).items())
    scenario = folder / "office.toml"
    aljax("calibrate", log, "--out", scenario, "--weights", weights, "--overwrite", "--no-plots")
    aljax("train", "--scenario", scenario, "--seeds", 2, "--out", folder / "run", "--overwrite", "--no-plots")
    aljax("export", folder / "run", "--out", folder / "router", "--overwrite")
    return Router.load(folder / "router" / "router.json")


def bare(office: Office, router: Router | None) -> None:
    """An episode without a framework: the script, and what every hook is made of."""
    run = None if router is None else Run(routing(router, "force", None, office.clock), task=office.task)
    while name := office.turn(None if run is None else run.turn(TOOLS).forced):
        works = office.works(name)
        if run is not None:
            run.record(name, ok=works)
    if run is not None:
        run.end()


def costs(offices: list[Office], violation: float) -> list[float]:
    """Of episodes that are over."""
    return [office.cost(violation) for office in offices]


def played(play: Any, first: int, router: Router | None) -> tuple[list[Office], list[Office]]:
    """Episodes in a framework, and more of them without it, which begin with the same ones and have to agree."""
    offices, more = ([Office(first + i, router is not None) for i in range(count)] for count in (PLAYED, MORE))
    for office in offices:
        play(office, None, router)
    for office in more:
        bare(office, router)
    if costs(offices, 1.0) != costs(more[:PLAYED], 1.0):
        raise SystemExit("loop.py: an episode went another way in the framework than without it")
    return offices, more


def mean(costs: list[float]) -> dict[str, float]:
    """Of episodes, with its standard error."""
    return {"mean": statistics.fmean(costs), "error": statistics.stdev(costs) / len(costs) ** 0.5}


def closed(play: Any, folder: Path, first: int) -> list[dict[str, Any]]:
    """The loop with one framework, whose episodes begin with this number; what each weight came to."""
    traces, log = folder / "traces.jsonl", folder / "agent.jsonl"
    with traces.open("w", encoding="utf-8") as file:
        for number in range(first, first + LOGGED):
            play(Office(number), file, None)
    aljax("import", traces, "--task", "task", "--out", log, "--overwrite")
    first, rows = first + LOGGED, []
    alone, more_alone = played(play, first, None)
    for violation in VIOLATIONS:
        inner = folder / f"violation-{violation:g}"
        inner.mkdir(exist_ok=True)
        router = router_of(log, inner, violation)
        routed, more = played(play, first, router)
        row: dict[str, Any] = {
            "violation": violation,
            "alone": mean(costs(alone, violation)),
            "routed": mean(costs(routed, violation)),
            "alone_more": mean(costs(more_alone, violation)),
            "routed_more": mean(costs(more, violation)),
            "promised": router.data["promise"]["cost"],
            "optimum": optimum(inner, f"weights.violation={violation}"),
            "optimum_told": optimum(inner, f"weights.violation={violation}", "blind=false"),
            "errors": router.errors,
        }
        for more_or_not in ("", "_more"):
            cost = row[f"routed{more_or_not}"]["mean"]
            against = {"alone": row[f"alone{more_or_not}"]["mean"]}
            for name, other in (against | {key: row[key] for key in ("promised", "optimum")}).items():
                row[f"routed{more_or_not}_above_{name}_percent"] = 100.0 * (cost / other - 1.0)
        rows.append(row)
    return rows


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--framework", choices=FRAMEWORKS, default="openai_agents")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    framework = importlib.import_module(f"loop_{options.framework}")
    # Episodes of their own for each framework, so that one's luck is not another's.
    rows = closed(framework.play, options.folder, 100_000 * FRAMEWORKS.index(options.framework))
    for row in rows:
        shown = {
            name: "{mean:.3f} ± {error:.3f}".format(**cost) for name, cost in row.items() if isinstance(cost, dict)
        }
        print(f"Where a call that a task lacks weighs {row['violation']:g}, the optimum is {row['optimum']:.3f},")
        print(f"told what is needed {row['optimum_told']:.3f}; the router promised {row['promised']:.3f}. It costs")
        print(f"  {shown['alone']} alone, {shown['routed']} with the router: {PLAYED} episodes,")
        print(f"  {shown['alone_more']} alone, {shown['routed_more']} with it: {MORE:,} without the framework.")
    if options.json:
        found = {
            "version": metadata.version(framework.PACKAGE),
            "logged": LOGGED,
            "played": PLAYED,
            "more": MORE,
            "rows": rows,
        }
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
