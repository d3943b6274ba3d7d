"""Agent logs made up for tests, of a world whose numbers are known."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aljax.logs.episode import LoggedEpisode


def episode(name: str, steps: Sequence[Mapping[str, Any]], task: str | None = None, **end: Any) -> LoggedEpisode:
    """An episode; steps are what differs from a tool's call that worked."""
    about = {"episode": name, "task": task or name, "logger": "me"}
    rows = [about | {"t": t, "kind": "tool", "name": "look", "ok": True} | dict(step) for t, step in enumerate(steps)]
    last = about | {"kind": "end"} | end
    return LoggedEpisode("log", name, task or name, "me", rows, last, range(1, len(rows) + 2))


def turn(seconds: float | None = None, dollars: float | None = None, **more: Any) -> dict[str, Any]:
    """A turn of the model."""
    found = {"kind": "llm", "name": "reason", "ok": None, "latency_s": seconds, "cost_usd": dollars}
    return {key: value for key, value in (found | more).items() if value is not None}


def written(path: Path, episodes: Sequence[LoggedEpisode]) -> Path:
    """Writes an agent log."""
    rows = [row for item in episodes for row in (*item.steps, item.end)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def desk(seed: int, tasks: int = 30, runs: int = 4, *, failure: float = 0.2, again: float = 0.5) -> list[LoggedEpisode]:
    """Runs of an agent that looks things up and then updates, as often as the task needs; some give up early."""
    rng = np.random.default_rng(seed)
    found = []
    for task in range(tasks):
        needs = {"look": 1 + task % 3, "update": task % 2}
        for run in range(runs):
            steps: list[dict[str, Any]] = []
            gives_up = rng.random() < 0.2
            for name, count in needs.items():
                done, failed = 0, False
                while done < count - (gives_up and name == "look"):
                    failed = bool(rng.random() < (again if failed else failure if done == 0 else 0.0))
                    seconds = float(rng.lognormal(0.0, 0.5))
                    steps.append(turn(seconds, 0.01))
                    steps.append({"name": name, "ok": not failed, "latency_s": 1.0})
                    done += not failed
            steps.append(turn(0.5, 0.01))
            found.append(episode(f"{task}/{run}", steps, f"task {task}", success=not gives_up))
    return found
