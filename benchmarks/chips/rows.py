"""A compiled program as a row of the receipt. Knows nothing of any revision of the package."""

from typing import Any

from chips.launches import Launches
from chips.target import Compiled

UPDATES = frozenset({"update", "sweep"})
"""Programs whose open loop is one update: they are counted by the update, the others by the run."""


def row(program: str, made: Compiled, flops: float, steps: int) -> dict[str, Any]:
    """What is to be known of a program.

    Args:
      program: its name.
      made: as compiled.
      flops: floating-point operations of an update, or of a run.
      steps: of an episode.

    Returns:
      The receipt's row.

    Raises:
      ValueError: it is counted by the update, and has not one loop over updates.
    """
    found: dict[str, Any] = {
        "chip": made.chip.key,
        "program": program,
        "counted": "an update" if program in UPDATES else "a run",
        "compile_seconds": made.seconds,
        "memory": {**made.memory, "in_all": made.bytes},
        "share_of_memory": made.bytes / made.chip.memory_bytes,
        "flops": flops,
    }
    least = [flops / made.chip.flops_per_second]
    if made.launches is not None:
        counted = _counted(program, made.launches)
        found |= counted.to_json()
        found["launches_around_updates"] = made.launches.total - counted.total
        if program == "rollout":
            found["launches_a_step"] = counted.total / steps
        least = [max(least[0], counted.total * each) for each in made.chip.launch_seconds or ()]
    return found | {"floor_seconds": least}


def _counted(program: str, launched: Launches) -> Launches:
    """One update, or the whole run."""
    if program not in UPDATES:
        return launched
    if launched.open_loop is None:
        raise ValueError(f"{program}: expected one loop of unknown length, over updates")
    return launched.open_loop
