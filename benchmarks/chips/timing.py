"""Times training's updates on what is here, and asks the profiler what a GPU ran. Knows JAX, no revision of aljax."""

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from chips import launches


def profiled(work: Callable[[], Any]) -> dict[str, Any]:
    """What a GPU ran while `work` was waited for, by its own clock.

    Returns:
      ``kernels`` and ``copies``, how many; ``busy_seconds``, while at least one of them ran; or ``failed``, why there
      is nothing to tell.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with jax.profiler.trace(folder):
                jax.block_until_ready(work())
            (file,) = Path(folder).rglob("*.xplane.pb")
            planes = jax.profiler.ProfileData.from_file(str(file)).planes
            lines = [line for plane in planes if plane.name.startswith("/device:GPU") for line in plane.lines]
            streams = [line for line in lines if line.name.startswith("Stream")]
            events = [(event.start_ns, event.duration_ns, event.name) for line in streams for event in line.events]
        except (OSError, RuntimeError, ValueError) as error:
            return {"failed": " ".join(str(error).split())[:500]}
    if not events:
        return {"failed": "the profiler saw no kernel"}
    copies = sum(name.lower().startswith(("memcpy", "memset")) for *_, name in events)
    return {"kernels": len(events) - copies, "copies": copies, "busy_seconds": _covered(events) / 1e9}


def steady(work: Callable[[], Any], wait: Callable[[Any], Any], repeats: int, seconds: float = 0.5) -> dict[str, Any]:
    """Times calls that follow each other at once: a GPU that waits for its host slows its clock down.

    Args:
      work: starts what is timed; may return before it is done.
      wait: returns once what `work` returned is there.
      repeats: how often so many calls are timed as take about `seconds`.
      seconds: of each repeat; before the first, as long again passes.

    Returns:
      ``seconds`` of a call: median, min, max and all; and ``calls`` in each repeat.
    """

    def calls(count: int) -> float:
        begun, found = time.perf_counter(), None
        for _ in range(count):
            found = work()
        wait(found)
        return time.perf_counter() - begun

    wait(work())
    count = max(1, math.ceil(seconds / calls(3) * 3))
    calls(count)  # by now the clock is up
    count = max(1, math.ceil(seconds / calls(count) * count))
    wall = [calls(count) / count for _ in range(repeats)]
    return {"seconds": spread(wall), "calls": count}


def spread(wall: list[float]) -> dict[str, Any]:
    """Median and extremes of repeats, and all of them."""
    return {"median": float(np.median(wall)), "min": min(wall), "max": max(wall), "all": wall}


def _covered(events: list[tuple[float, float, str]]) -> float:
    """Nanoseconds in which at least one event lasts."""
    found, until = 0.0, -np.inf
    for start, duration, _ in sorted(events):
        found += max(0.0, start + duration - max(start, until))
        until = max(until, start + duration)
    return found


def timed_updates(advance: Callable[..., Any], state: Any, updates: int, given: tuple[Any, ...], repeats: int) -> Any:
    """Times all updates of training as one program.

    Args:
      advance: of a state, the first update, the one not to run any more, and what is `given`.
      state: before the first.
      updates: how many.
      given: the same for all.
      repeats: how often.

    Returns:
      A row: seconds of each repeat, launches an update that are counted in the program and that the profiler saw, and
      the last updates' mean cost.
    """
    args = (state, np.int32(0), np.int32(updates), *given)
    begun = time.perf_counter()
    program = jax.jit(advance).lower(*args).compile()
    compiling = time.perf_counter() - begun
    result, wall = jax.block_until_ready(program(*args)), []
    for _ in range(repeats):
        begun = time.perf_counter()
        result = jax.block_until_ready(program(*args))
        wall.append(time.perf_counter() - begun)
    counted = launches.count(str(program.as_text())).open_loop
    seen = profiled(lambda: program(*args))
    costs = np.asarray(result.curve.cost)[:, -max(1, updates // 10) :]
    return {
        "updates": updates,
        "compile_seconds": compiling,
        "seconds": spread(wall),
        "launches_counted": None if counted is None else counted.total,
        "conditionals_counted": None if counted is None else counted.conditionals,
        "profile": seen,
        "cost": float(costs.mean()),
    }
