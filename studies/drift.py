"""How often is drift found, and how often where there is none?

Agents are simulated in the known world (`known_world.toml`). Undisturbed logs of 500 episodes are held against it:
those that are flagged are false alarms. Then all failure rates of one tool double after 200 episodes, and the log is
held against the world after 50, 100 and 150 more.

    python studies/drift.py --json studies/results/drift.json
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

import jax

from aljax.calibration.drift import find_drift
from aljax.calibration.known import Agent, simulate
from aljax.host.files import check_writable, write_json
from aljax.logs.episode import LoggedEpisode
from aljax.scenario import Scenario, load_scenario

import receipts

WORLD = Path(__file__).with_name("known_world.toml")
RUNS, BEFORE, AFTER = 5, 200, (50, 100, 150)


def lived(world: Scenario, key: int, episodes: int) -> list[LoggedEpisode]:
    """A log of so many episodes, a multiple of `RUNS`."""
    return simulate(jax.random.key(key), world, Agent(), tasks=episodes // RUNS, runs=RUNS)


def doubled(world: Scenario, row: str) -> Scenario:
    """The world in which a row fails twice as often."""
    table, at = world.params.actions, world.action_names.index(row)
    columns = {name: getattr(table, name) for name in ("failure", "after_ok", "after_failed")}
    changes = [f"actions.{name}.{row}={min(1.0, 2 * float(rates[at]))}" for name, rates in columns.items()]
    return load_scenario(WORLD, changes)


def main() -> None:
    """Runs both, and writes the receipt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--undisturbed", type=int, default=200, help="logs")
    parser.add_argument("--disturbed", type=int, default=40, help="logs a tool")
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.json:
        check_writable(options.json)
    world = load_scenario(WORLD)
    found: dict[str, Any] = {"machine": receipts.machine(), "versions": receipts.versions(())}
    alarms = [bool(find_drift(lived(world, key, 500), world).drifted) for key in range(options.undisturbed)]
    found["undisturbed"] = {"logs": len(alarms), "episodes": 500, "flagged": sum(alarms)}
    print(found["undisturbed"], flush=True)
    found["doubled"] = {}
    for row in world.coordinate_names:
        changed, flagged = doubled(world, row), dict.fromkeys(AFTER, 0)
        calls = 0
        for key in range(1_000, 1_000 + options.disturbed):
            before, after = lived(world, key, BEFORE), lived(changed, key + 1_000, max(AFTER))
            calls += sum(step["name"] == row for episode in after for step in episode.steps)
            for more in AFTER:
                drifted = find_drift([*before, *after[:more]], world).drifted
                flagged[more] += any(column.row == row for column in drifted)
        found["doubled"][row] = {
            "logs": options.disturbed,
            "failure": float(world.params.actions.failure[world.action_names.index(row)]),
            "calls_in_150_episodes": round(calls / options.disturbed, 1),
            "flagged_within": {str(more): count for more, count in flagged.items()},
        }
        print(row, found["doubled"][row], flush=True)
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
