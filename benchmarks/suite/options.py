"""What can be chosen about a run of the suite; goes to every part's process as JSON and into the receipt."""

import dataclasses
import json
import os
from typing import Any

from aljax.target import Target


@dataclasses.dataclass(frozen=True)
class Options:
    """Sizes and repeats. None: a default that depends on where jax runs."""

    quick: bool = False
    """Everything small: proves that it runs, measures nothing worth quoting."""
    repeats: int = 10
    """Times that a row is timed."""
    batch: int | None = None
    """Episodes side by side in stepping and rollouts."""
    devices: int | None = None
    """Devices of the rows that use several; on a CPU, each processor core stands for one."""
    memory: int | None = None
    """Bytes that a point of growth may take; None: 60 % of what is free."""

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> "Options":
        """What `to_json` gave."""
        return Options(**json.loads(text))

    @property
    def cores(self) -> int:
        """Processor cores that this run may use, or as many as `devices` says."""
        return self.devices or usable_cores()

    @property
    def row_repeats(self) -> int:
        """Times that a row is timed, in a quick run at most 3."""
        return min(3, self.repeats) if self.quick else self.repeats

    def episodes(self, target: Target) -> int:
        """Episodes side by side in stepping and rollouts."""
        return self.batch or (512 if self.quick else 262_144 if target.accelerator else 16_384)


def usable_cores() -> int:
    """Processor cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Bytes of memory that are free or can be freed; 0 where the system does not tell."""
    try:
        with open("/proc/meminfo") as file:  # noqa: PTH123
            fields: dict[str, Any] = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 0
