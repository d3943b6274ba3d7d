"""Does anything get lost when commands run at once, or are ended at any moment? Real processes, real signals.

    python studies/kills.py --times 20 --json studies/results/kills.json

1. Two `aljax train` at once, the second a random moment after the first: into the default folder, and into the same
   --out. Every process must say where it wrote, no two the same place, and each place must read as a whole run.
2. `aljax train` ended at a random moment by SIGTERM or SIGKILL. What it had not finished must not read as a run; what
   is left over must be gone when the next command has written there. Once in two it replaces a run (--overwrite), which
   must read as one afterwards, the old or the new.
"""

import argparse
import collections
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts, rivals

from aljax import runs
from aljax.errors import UserError
from aljax.host.files import check_writable, write_json

import receipts

SCENARIO = """
title = "Two tools"
coordinates = ["error"]
horizon = 3
start_low = 2.0
start_high = 2.0
tolerance = 0.1
weights = { latency = 0.5, money = 1.0, violation = 2.0, failure = 1.0, divergence = 0.5 }
actions.weak = { latency = 1.0, money = 0.25, failure = 0.25, shift = -0.5 }
actions.strong = { latency = 2.0, money = 1.0, failure = 0.5, shift = -1.5 }
"""
SMALL = ["--episodes", "30", "--seeds", "1", "--evaluation-episodes", "10", "--hidden", "4"]


def main() -> None:
    """Parses, runs, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="pairs, and processes ended by each signal")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.json is not None:
        check_writable(options.json)
    chance, machine = random.Random(options.seed), receipts.machine()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "tiny.toml").write_text(SCENARIO)
        begun = time.perf_counter()
        _wait(_start(home, "warm", "--out", "warm"))  # compiles; the others find it
        alone = time.perf_counter() - begun
        begun = time.perf_counter()
        _wait(_start(home, "alone", "--out", "alone"))
        alone = min(alone, time.perf_counter() - begun)
        found: dict[str, Any] = {"seconds_alone": round(alone, 2), "pairs": _pairs(home, options.times, alone, chance)}
        for number in (signal.SIGTERM, signal.SIGKILL):
            found[number.name] = _ended(home, number, options.times, alone, chance)
            print(f"{number.name}: {found[number.name]}", flush=True)
    if options.json is not None:
        write_json(
            options.json,
            {"machine": machine, "versions": receipts.versions(()), "times": options.times, "seed": options.seed}
            | found,
        )


def _start(home: Path, place: str, *options: str) -> subprocess.Popen[str]:
    """A command that trains, in a folder of its own."""
    (home / place).mkdir(exist_ok=True)
    command = [sys.executable, "-m", "aljax", "train", "--scenario", str(home / "tiny.toml"), *SMALL, *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=home / place, stdout=pipe, stderr=pipe, text=True)


def _wait(child: subprocess.Popen[str]) -> str:
    """Where a command says that it wrote."""
    out, err = child.communicate(timeout=300)
    if child.returncode:
        raise UserError(f"a command failed that nobody ended: {err}")
    return out.partition("Written to ")[2].split()[0]


def _pairs(home: Path, times: int, alone: float, chance: random.Random) -> dict[str, int]:
    """Two at once, half of the pairs into the default folder, half into the same --out."""
    count: collections.Counter[str] = collections.Counter()
    for pair in range(times):
        place = home / f"pair-{pair}"
        options = ["--out", "run"] if pair % 2 else []
        first = _start(home, place.name, *options, "--no-plots")
        time.sleep(chance.uniform(0, alone / 2))
        # Had the first finished, its --out would be refused, as it should be.
        second = _start(home, place.name, *options, "--no-plots") if first.poll() is None else None
        children = [first] if second is None else [first, second]
        said = [child.communicate(timeout=300) for child in children]
        for child, (out, err) in zip(children, said, strict=True):
            if child.returncode == 2 and "already exists" in err:
                count["refused: the first had finished before the second began"] += 1
                continue
            count["processes that say that they wrote"] += 1
            runs.load(place / out.partition("Written to ")[2].split()[0])
        count["whole results"] += len([item for item in place.rglob("manifest.json") if ".partial" not in str(item)])
        count["left over"] += len(list(place.rglob(".*.partial")))
    print(f"pairs: {dict(count)}", flush=True)
    return dict(count)


def _ended(home: Path, number: signal.Signals, times: int, alone: float, chance: random.Random) -> dict[str, Any]:
    """Ended at a random moment; then the next command writes there."""
    count: collections.Counter[str] = collections.Counter()
    for attempt in range(times):
        place = home / f"{number.name}-{attempt}"
        replaces = bool(attempt % 2)
        if replaces:
            _wait(_start(home, place.name, "--out", "run", "--no-plots"))
        child = _start(home, place.name, "--out", "run", *(["--overwrite"] if replaces else []))
        time.sleep(chance.uniform(0, 1.2 * alone))
        child.send_signal(number)
        _, err = child.communicate(timeout=300)
        count[f"status {child.returncode}"] += 1
        if child.returncode == 143:
            count["one line"] += err.count("\n") == 1
        left = list(place.rglob(".*.partial"))
        count["left over"] += len(left)
        whole = (place / "run").exists()
        if whole:
            runs.load(place / "run")
            count["read whole"] += 1
        elif replaces and not left:
            raise UserError(f"{place}: the run that was to be replaced is gone")
        _wait(_start(home, place.name, "--out", "next", "--no-plots"))
        if replaces:
            runs.load(place / "run")  # the old one, put back if it had been moved aside, or the new one
            count["replaced runs that are there"] += 1
        names = sorted(item.name for item in place.iterdir())
        expected = ["next", "run"] if whole or replaces else ["next"]
        if names != expected or list(place.rglob(".*.partial")):
            raise UserError(f"{place}: {names} is there, expected {expected} and nothing left over")
        count["swept by the next"] += len(left)
    return dict(sorted(count.items()))


if __name__ == "__main__":
    sys.exit(receipts.status_of(main))
