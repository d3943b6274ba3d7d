"""The command as a whole process, with nothing compiled before and with everything."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from suite.measure import statistics
from suite.options import Options


def run(command: list[str], cache: Path, home: Path) -> tuple[float, float]:
    """Runs a process to its end; wall and processor seconds, children's included."""
    environment = os.environ | {
        "ALJAX_CACHE_DIR": str(cache),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
    }
    for name in ("JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_DIR"):  # the user's own: then no programs are kept
        environment.pop(name, None)
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _row(name: str, times: list[tuple[float, float]], **more: Any) -> dict[str, Any]:
    wall, cpu = zip(*times, strict=True)
    return {"name": name, "seconds": statistics(wall), "cpu_seconds": statistics(cpu), "repeats": len(wall)} | more


def measure(options: Options) -> dict[str, Any]:
    """The section."""
    repeats = 1 if options.quick else 3
    train = [sys.executable, "-m", "aljax", "train"] + (["--episodes", "300", "--seeds", "2"] if options.quick else [])
    rows, cold, warm = [], [], []
    inside: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        home, spare = folder / "home", folder / "spare"
        home.mkdir()
        for repeat in range(repeats):
            cache = folder / f"cache-{repeat}"
            for kind, times in (("cold", cold), ("warm", warm)):
                out = folder / f"{kind}-{repeat}"
                times.append(run([*train, "--out", str(out)], cache, home))
                inside[kind].append(json.loads((out / "metrics.json").read_text())["seconds"])
        rows.append(_row("aljax train, nothing cached", cold, seconds_inside=inside["cold"]))
        rows.append(_row("aljax train, again with the same cache folder", warm, seconds_inside=inside["warm"]))
        for name, command in (
            ("import aljax", [sys.executable, "-c", "import aljax"]),
            ("import aljax.commands.main", [sys.executable, "-c", "import aljax.commands.main"]),
            ("aljax --help", [sys.executable, "-m", "aljax", "--help"]),
            ("python, nothing imported", [sys.executable, "-c", ""]),
        ):
            run(command, spare, home)
            rows.append(_row(name, [run(command, spare, home) for _ in range(1 if options.quick else 5)]))
    return {"rows": rows, "command": train[1:]}
