"""What every benchmark script needs around its measurement: where it runs, and how it ends."""

import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from aljax.errors import UserError


def machine() -> dict[str, Any]:
    """Where this runs, for a receipt; the load is that before the work if this is called first."""
    device = jax.devices()[0]
    return {
        "processor": _processor(),
        "cpu_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "jax_device": f"{device.platform}: {device.device_kind}",
        "load_before": list(os.getloadavg()),
    }


PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
REVISION = "ALJAX_BENCH_REVISION"
"""Tells the revision where the files were copied without all of their history."""
RIVALS = ("torch", "numba", "gymnax", "rejax", "distrax")


def versions(rivals: Sequence[str] = RIVALS) -> dict[str, str]:
    """Versions of what figures depend on, of the rivals that are installed, and the revision where git knows it."""
    found = {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}
    for name in rivals:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    here = Path(__file__).parent
    try:
        git = functools.partial(subprocess.run, cwd=here, capture_output=True, text=True, check=True)
        found["revision"] = git(["git", "rev-parse", "HEAD"]).stdout.strip()
        # Receipts are what benchmarks write, not what they run.
        watched = ["--", "../aljax", ".", ":!results"]
        if git(["git", "status", "--porcelain", *watched]).stdout.strip():
            found["revision"] += " with local changes"
        found["revision"] = os.environ.get(REVISION, found["revision"])
    except (OSError, subprocess.CalledProcessError):
        found["revision"] = os.environ.get(REVISION, "unknown")
    return found


def _processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def partial_folder(file: Path, key: dict[str, Any]) -> Path:
    """The folder of finished parts beside a receipt: another one for other options or other code."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = file.with_name(f"{file.name}.{digest[:8]}.partial")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def in_a_process(command: Sequence[str], out: Path, **environment: str) -> Any:
    """What another process writes as JSON: devices, plugins and memory are its alone.

    Args:
      command: which writes the file.
      out: the file.
      **environment: variables beside this process's own.

    Returns:
      What the file says.

    Raises:
      UserError: the process failed; what it said last.
    """
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode or not out.is_file():
        said = done.stderr.strip().splitlines()[-3:]
        raise UserError(f"{Path(command[1]).name}: {' '.join(said) or f'exit status {done.returncode}'}")
    return json.loads(out.read_text(encoding="utf-8"))


def status_of(study: Callable[[], None]) -> int:
    """Runs a study; the exit status is 0, or 2 with one line for what the user can put right."""
    try:
        study()
    except (OSError, UserError) as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        return 2
    return 0
