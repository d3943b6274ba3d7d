"""The command ``aljax bench``."""

import subprocess
import sys
from pathlib import Path

from rich.console import Console

from aljax.commands.options.bench import Bench
from aljax.errors import UserError


def run(options: Bench, console: Console) -> int:
    """Runs the suite in a process of its own, and returns its exit status."""
    del console
    script = Path(__file__).parents[2] / "benchmarks" / "bench.py"
    if not script.is_file():
        raise UserError(f"bench: the benchmarks are in the source tree, not in what is installed: no {script}")
    given = ["--repeats", str(options.repeats), *(["--quick"] if options.quick else [])]
    given += ["--parts", *options.parts] if options.parts else []
    for name in ("json", "page", "figures"):
        if getattr(options, name) is not None:
            given += [f"--{name}", str(getattr(options, name))]
    return subprocess.call([sys.executable, str(script), *given])
