"""What every benchmark script needs around its measurement: where it runs, and how it ends."""

import os
import platform
import sys
from collections.abc import Callable
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


def _processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def status_of(study: Callable[[], None]) -> int:
    """Runs a study; the exit status is 0, or 2 with one line for what the user can put right."""
    try:
        study()
    except (OSError, UserError) as error:
        print(f"{Path(sys.argv[0]).stem}: {error}", file=sys.stderr)
        return 2
    return 0
