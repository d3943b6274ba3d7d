"""Times commands as whole processes, as ratios to ``python -c "import jax"`` of the same run.

Every round runs each command once, so that a slow spell of the machine meets all of them. See ``benchmarks/README.md``.
"""

import argparse
import datetime
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from aljax.host.files import check_writable, write_json

from receipts import machine, versions
from suite.startup import run

ROUNDS = 5
ALJAX = [sys.executable, "-m", "aljax"]


def measure(rounds: int) -> dict[str, Any]:
    """Wall and processor seconds of each command, and its ratio to importing JAX: medians over rounds."""
    times: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        spare = folder / "cache"
        for number in range(-1, rounds):  # the first fills the caches of files, and is not counted
            cold = folder / f"cold-{number}"
            for name, command, cache in (
                ("import jax", [sys.executable, "-c", "import jax"], spare),
                ("aljax --help", [*ALJAX, "--help"], spare),
                ("aljax train --help", [*ALJAX, "train", "--help"], spare),
                ("aljax scenarios", [*ALJAX, "scenarios"], spare),
                ("aljax train, nothing cached", [*ALJAX, "train", "--out", f"{cold}-run"], cold),
                ("aljax train, again", [*ALJAX, "train", "--out", f"{cold}-again"], cold),
            ):
                took = run(command, cache, folder)
                if number >= 0:
                    times.setdefault(name, []).append(took)
    base = statistics.median(wall for wall, _ in times["import jax"])
    return {
        name: {
            "wall_seconds": [wall for wall, _ in found],
            "cpu_seconds": [cpu for _, cpu in found],
            "ratio": statistics.median(wall for wall, _ in found) / base,
        }
        for name, found in times.items()
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="times that a command is run (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the receipt there")
    chosen = parser.parse_args()
    if chosen.json is not None:
        check_writable(chosen.json)
    where = machine()
    found = measure(chosen.rounds)
    for name, row in found.items():
        print(f"{name:30} {statistics.median(row['wall_seconds']):7.2f} s  {row['ratio']:6.2f}")
    if chosen.json is not None:
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        receipt = {"date": date, "machine": where, "versions": versions(()), "rounds": chosen.rounds, "commands": found}
        write_json(chosen.json, receipt)


if __name__ == "__main__":
    main()
