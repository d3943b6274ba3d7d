"""Which rivals can be used, and what to say of one that cannot."""

import importlib.util
import os
import subprocess
import sys

NEEDS = {"torch": "torch", "numba": "numba", "gymnax": "gymnax", "rejax": "rejax"}
"""The package to install for each rival."""


def why_not(package: str) -> str:
    """Why a rival's package cannot be used; empty: it can.

    An import can fail in any way, and even end the process, when other packages of the environment do not go together
    with it. So it is tried in a process of its own, once: the processes that this one starts inherit what was found.
    """
    told = f"ALJAX_BENCH_WITHOUT_{package.upper()}"
    if told not in os.environ:
        os.environ[told] = _tried(package)
    return os.environ[told]


def _tried(package: str) -> str:
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    command = [sys.executable, "-c", f"import {package}; print('imported')"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.stdout.endswith("imported\n"):
        return ""
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return f"{package} cannot be imported: {said[-1].strip()[:300] if said else f'exit status {done.returncode}'}"


def there(package: str) -> bool:
    """The package can be imported."""
    return not why_not(package)


def missing(package: str, rows: str) -> dict[str, str]:
    """An entry of a section's ``skipped``: which rows are not there, why, and what would bring them."""
    return {
        "rows": rows,
        "why": why_not(package),
        "command": f"python -m pip install '{NEEDS.get(package, package)}'",
    }
