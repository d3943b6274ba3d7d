"""A measurement in a process of its own, so that threads, devices and peak memory are its alone."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax

from aljax.target import Target

from suite.options import Options, usable_cores

BENCH = Path(__file__).parent.parent / "bench.py"


class PartError(RuntimeError):
    """A part's process failed; the message ends with what it said last."""


def run(part: str, options: Options, *, point: Any = None, cores: int | None = None, devices: int = 1) -> Any:
    """Runs a part, or one `point` of it, in a process of its own.

    Args:
      part: its name.
      options: of the run.
      point: anything JSON, for the part's ``measure_point``; None: the whole part by its ``measure``.
      cores: the process may run on so many processor cores; None: on those that this one may run on.
      devices: devices into which jax divides a CPU.

    Returns:
      What the part returned, through JSON.

    Raises:
      PartError: the process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "section.json"
        command = [sys.executable, str(BENCH), "--part", part, "--options", options.to_json(), "--out", str(out)]
        if point is not None:
            command += ["--point", json.dumps(point)]
        if cores is not None:
            command += ["--cores", str(cores)]
        environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode or not out.is_file():
            raise PartError(f"{part}: {(done.stderr.strip() or f'exit status {done.returncode}')[-2000:]}")
        return json.loads(out.read_text())


def places(target: Target, options: Options) -> list[dict[str, Any]]:
    """Where rows are measured, as points: ``where``, ``devices`` for jax, ``threads`` for the others, ``cores``.

    0 devices or threads: jax, or the others, have no rows there. On a CPU: one core; one device, which uses all
    cores for large operations; all cores, a device each.
    """
    cores = options.cores
    if not target.accelerator:
        found = [("one core", 1, 1, 1)]
        if cores > 1:
            found += [] if options.quick else [("one device", 1, 0, None)]
            found.append(("all cores", cores, cores, None))
        return [_place(*each) for each in found]
    several = min(cores, len(jax.devices()))
    found = [("one device", 1, 0, None), ("one core", 0, 1, 1), ("all cores", 0, usable_cores(), None)]
    return [_place(*each) for each in ([*found, ("all devices", several, 0, None)] if several > 1 else found)]


def _place(where: str, devices: int, threads: int, cores: int | None) -> dict[str, Any]:
    return {"where": where, "devices": devices, "threads": threads, "cores": cores}
