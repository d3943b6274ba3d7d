"""Writes what a download from Langfuse looks like, for who has none at hand: runs of an agent in a made-up world.

    python examples/langfuse_export.py traces.jsonl.gz [--world SCENARIO.toml] [--tasks 40] [--runs 4]

A trace a line, `{"trace", "observations", "scores"}`: turns of a model with tokens and dollars, calls of tools of which
some fail,
scores that say whether the run did what its task needed, and in the metadata which task it was.
"""

import argparse
import datetime
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import jax

from aljax.calibration.known import Agent, simulate
from aljax.logs.episode import LoggedEpisode
from aljax.scenario import load_scenario

WORLD = Path(__file__).parents[1] / "studies" / "known_world.toml"
BEGAN = datetime.datetime(2026, 3, 2, 9, tzinfo=datetime.UTC)


def trace_of(number: int, episode: LoggedEpisode) -> dict[str, Any]:
    """An episode as Langfuse gives it back."""
    name, clock = f"trace-{number}", BEGAN + datetime.timedelta(minutes=7 * number)
    root = {"id": f"{name}-0", "traceId": name, "type": "AGENT", "name": "desk", "startTime": clock.isoformat()}
    observations: list[dict[str, Any]] = []
    for t, step in enumerate(episode.steps, 1):
        begin, clock = clock, clock + datetime.timedelta(seconds=step["latency_s"])
        row = {
            "id": f"{name}-{t}", "traceId": name, "parentObservationId": root["id"], "name": step["name"],
            "startTime": begin.isoformat(), "endTime": clock.isoformat(), "level": "DEFAULT",
        }  # fmt: skip
        if step["kind"] == "llm":
            tokens, cost = {"input": 900 + 150 * t, "output": 60}, {"total": step["cost_usd"]}
            row |= {"type": "GENERATION", "model": "m-1", "usageDetails": tokens, "costDetails": cost}
        else:
            called = "transfer_to_person" if step["kind"] == "escalate" else step["name"]
            row |= {"type": "TOOL", "name": called}
            if not step["ok"]:
                row |= {"level": "ERROR", "statusMessage": "TimeoutError: no answer"}
        observations.append(row)
    score = {"traceId": name, "name": "correctness", "value": int(episode.end["success"]), "dataType": "BOOLEAN"}
    about = {"id": name, "name": "desk", "timestamp": root["startTime"], "metadata": {"ticket": episode.task}}
    return {"trace": about, "observations": [root | {"endTime": clock.isoformat()}, *observations], "scores": [score]}


def main() -> int:
    """Parses, plays, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the file, gzipped")
    parser.add_argument("--world", type=Path, default=WORLD, help="the scenario that the agent plays in")
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--runs", type=int, default=4, help="of each task")
    options = parser.parse_args()
    episodes = simulate(
        jax.random.key(0), load_scenario(options.world), Agent(), tasks=options.tasks, runs=options.runs
    )
    with gzip.open(options.out, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(trace_of(n, episode)) + "\n" for n, episode in enumerate(episodes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
