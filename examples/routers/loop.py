"""The loop, closed by commands: an agent's traces, a scenario, a policy, a router, and the same agent with the router.

    python loop.py FOLDER --framework langchain|pydantic_ai|openai_agents

The world is known (office.toml), so what the router does can be held against the best that could be done. The agents
have a scripted model, no network, and a clock of their own that makes hours pass in seconds; each framework writes the
traces that it would write anyway. The loop is gone through once for each of VIOLATIONS, and the agent goes by the
router in each of WAYS. Needs the framework's extra,
pydantic-ai opentelemetry-sdk besides; the variable ALJAX says how the command is called where it is not `aljax`.
"""

import argparse
import importlib
import json
import os
import shlex
import statistics
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from office import FILE, TOOLS, WORLD, Office

from aljax.integrations.shared import Mode, Run, routing
from aljax.router import Router

FRAMEWORKS = ("langchain", "pydantic_ai", "openai_agents")
VIOLATIONS = (1.0, 2.0, 3.0)
"""What a unit of what a task lacks weighs: from half done being good enough to half done being too dear."""
WAYS: dict[str, tuple[Mode, bool]] = {
    "force": ("force", False),
    "mask": ("mask", False),
    "block": ("block", False),
    "told": ("force", True),
}
"""How the agent goes by a router: the hook's mode, and whether it tells the router at the start what its task needs."""
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


def routers_of(log: Path, folder: Path, violation: float) -> dict[bool, Router]:
    """What the commands make of a log: a router that does not know what a task needs, and one that is told."""
    weights = ",".join(f"{name}={value}" for name, value in (WORLD["weights"] | {"violation": violation}).items())
    scenario, found = folder / "office.toml", {}
    aljax("calibrate", log, "--out", scenario, "--weights", weights, "--overwrite", "--no-plots")
    blind = [name not in TOOLS for name in tomllib.loads(scenario.read_text(encoding="utf-8"))["coordinates"]]
    changes = {False: [], True: ["--set", f"blind={json.dumps(blind)}"]}
    for told, options in changes.items():
        run, out = folder / f"run-{told}", folder / f"router-{told}"
        aljax("train", "--scenario", scenario, *options, "--seeds", 2, "--out", run, "--overwrite", "--no-plots")
        aljax("export", run, "--out", out, "--overwrite", *(["--readings"] if told else []))
        found[told] = Router.load(out / "router.json")
    return found


def bare(office: Office, router: Router | None) -> None:
    """An episode without a framework: the script, and what every hook is made of."""
    if router is None:
        while name := office.turn(TOOLS, None):
            office.works(name)
        return
    run = Run(routing(router, office.mode, None, office.clock), task=office.task, readings=office.readings)
    while True:
        turn = run.turn(TOOLS)
        name = office.turn([tool for tool in TOOLS if office.mode != "mask" or tool not in turn.shut], turn.forced)
        if name is None:
            break
        if run.refusal(name) is None:
            run.record(name, ok=office.works(name))
    run.end()


def costs(offices: list[Office], violation: float) -> list[float]:
    """Of episodes that are over."""
    return [office.cost(violation) for office in offices]


def played(
    play: Any, first: int, router: Router | None, mode: Mode | None = None, told: bool = False
) -> tuple[list[Office], list[Office]]:
    """Episodes in a framework, and more of them without it, which begin with the same ones and have to agree."""
    offices, more = ([Office(first + i, mode, told) for i in range(count)] for count in (PLAYED, MORE))
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
        routers = routers_of(log, inner, violation)
        row: dict[str, Any] = {
            "violation": violation,
            "alone": mean(costs(alone, violation)),
            "alone_more": mean(costs(more_alone, violation)),
            "optimum": optimum(inner, f"weights.violation={violation}"),
            "optimum_told": optimum(inner, f"weights.violation={violation}", "blind=false"),
            "ways": {},
        }
        for way, (mode, told) in WAYS.items():
            router = routers[told]
            routed, more = played(play, first, router, mode, told)
            # Only where the router chooses is what it promises what is done.
            promised = {"promised": router.data["promise"]["cost"]} if mode == "force" else {}
            against = promised | {"optimum": row["optimum_told" if told else "optimum"]}
            found: dict[str, Any] = {**promised, "errors": router.errors}
            for key, offices in (("", routed), ("_more", more)):
                found[f"routed{key}"] = cost = mean(costs(offices, violation))
                for name, other in ({"alone": row[f"alone{key}"]["mean"]} | against).items():
                    found[f"routed{key}_above_{name}_percent"] = 100.0 * (cost["mean"] / other - 1.0)
            row["ways"][way] = found
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
        print(f"Where a call that a task lacks weighs {row['violation']:g}, the optimum is {row['optimum']:.3f},")
        print(f"told what is needed {row['optimum_told']:.3f}. {PLAYED} episodes, and {MORE:,} without the framework:")
        for way, found in {
            "alone": row | {"routed": row["alone"], "routed_more": row["alone_more"]},
            **row["ways"],
        }.items():
            several, more = ("{mean:.3f} ± {error:.3f}".format(**found[key]) for key in ("routed", "routed_more"))
            promised = f"; promised {found['promised']:.3f}" if "promised" in found else ""
            print(f"  {way}: {several}, {more}{promised}")
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
