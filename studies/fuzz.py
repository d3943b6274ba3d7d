"""A long fuzz: good files spoiled, and whatever the library makes of them.

Every input must be read, and then be what the file says, or be refused in one line: no other exception, no hang, no
memory without bound, no nonsense accepted. ``tests/studies/test_fuzz.py`` runs the same for seconds.

    python studies/fuzz.py --inputs 100000 --json studies/results/fuzz.json
    python studies/fuzz.py --kinds logs "run folders" --findings /tmp/findings
    python studies/fuzz.py --kinds logs --only 1234         one input again, with all that is known of it
"""

import argparse
import collections
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts, rivals

from aljax.errors import UserError
from aljax.host import files

import receipts
from fuzzing import cases, material, worker
from fuzzing.kinds import KINDS
from fuzzing.worker import Read

SHARES = {
    "scenarios": 30,
    "overrides": 20,
    "sweep files": 15,
    "logs": 24,
    "run folders": 5,
    "sweep folders": 3,
    "command lines": 3,
}
"""How the inputs are dealt out to kinds, in parts of a hundred."""
PIECE = 4_000
"""Inputs of one process: what a process keeps for good is dropped with it."""
_KEPT = 3
"""Inputs that are kept for each cause."""


class Tally:
    """What came of one kind's inputs."""

    def __init__(self) -> None:
        self.accepted = self.refused = self.rolled_out = self.peak = 0
        self.seconds = 0.0
        self.causes: collections.Counter[str] = collections.Counter()

    def add(self, read: Read) -> None:
        """Counts a result."""
        if read.finding is not None:
            self.causes[read.finding.cause] += 1
        if read.rolled_out:
            self.rolled_out += 1
        elif read.accepted:
            self.accepted += 1
        else:
            self.refused += 1

    def to_json(self) -> dict[str, Any]:
        """For the receipt."""
        return {
            "inputs": self.accepted + self.refused,
            "accepted": self.accepted,
            "refused": self.refused,
            "rolled_out": self.rolled_out,
            "findings": sum(self.causes.values()),
            "causes": dict(self.causes.most_common()),
            "seconds": round(self.seconds, 1),
            "peak_bytes": self.peak,
        }


def main(arguments: list[str] | None = None) -> int:
    """Runs the fuzz; status 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="over all kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--findings", type=Path, help="a folder for inputs that should not be")
    parser.add_argument("--only", type=int, help="read the input of this number alone, of one kind")
    parser.add_argument("--json", type=Path, help="the receipt")
    options = parser.parse_args(arguments)
    tallies: dict[str, Tally] = {}
    with worker.quiet_jax():
        status = receipts.status_of(lambda: _run(options, tallies))
    return status or int(any(tally.causes for tally in tallies.values()))


def _run(options: argparse.Namespace, tallies: dict[str, Tally]) -> None:
    """Everything, after the options are read."""
    if options.json is not None:
        files.check_writable(options.json)
    with tempfile.TemporaryDirectory(prefix="aljax-fuzz-", dir=_memory()) as folder:
        home = Path(folder)
        material.make(home, options.kinds)
        worker.limit_memory()
        if options.only is not None:
            if len(options.kinds) != 1:
                raise UserError("--only: expected one of --kinds")
            _one(options, home)
            return
        machine, begun, interrupted = receipts.machine(), time.perf_counter(), False
        try:
            for name in options.kinds:
                count = round(options.inputs * SHARES[name] / sum(SHARES[kind] for kind in options.kinds))
                _kind(name, count, options, home, tallies.setdefault(name, Tally()))
        except KeyboardInterrupt:
            interrupted = True
        _finish(options, tallies, machine, time.perf_counter() - begun, interrupted)


def _memory() -> str | None:
    """Linux's folder in memory, where files cost least."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _kind(name: str, count: int, options: argparse.Namespace, home: Path, tally: Tally) -> None:
    """The inputs of one kind, with a line of progress now and then."""
    begun = told = time.perf_counter()
    kind = worker.kind_of(name, home)
    for start in range(0, count, PIECE):
        for said in worker.results(name, home, options.seed, start, min(start + PIECE, count)):
            tally.seconds = time.perf_counter() - begun
            if isinstance(said, int):
                tally.peak = max(tally.peak, said)
                continue
            tally.add(said)
            if said.finding is not None and options.findings is not None:
                _keep(kind, said, options, home, tally)
            if time.perf_counter() - told > 5:
                told = time.perf_counter()
                print(_line(name, tally, count), flush=True)
    print(_line(name, tally, count), flush=True)


def _line(name: str, tally: Tally, count: int) -> str:
    done = tally.accepted + tally.refused
    found = f"{sum(tally.causes.values())} findings of {len(tally.causes)} causes"
    rate = done / max(tally.seconds, 1e-9)
    return f"{name}: {done:,} of {count:,}, {tally.accepted:,} accepted, {found}, {rate:,.0f} a second"


def _keep(kind: Any, read: Read, options: argparse.Namespace, home: Path, tally: Tally) -> None:
    """Writes the first inputs of each cause, as small as they get."""
    assert read.finding is not None
    cause = read.finding.cause
    number, order = tally.causes[cause], list(tally.causes).index(cause)
    folder = options.findings / kind.name.replace(" ", "-") / f"{order:03d}-{number}"
    if number > _KEPT or folder.exists():
        return
    case = worker.case_of(kind, options.seed, read.index)
    if number == 1 and not read.rolled_out and not any(word in cause for word in ("hang", "emory", "died")):
        case = cases.smaller(case, read.finding, lambda other: worker.read(kind, other, home / "it")[1])
    about = {"kind": kind.name, "seed": options.seed, "only": read.index}
    cases.keep(folder, case, read.finding, about)


def _one(options: argparse.Namespace, home: Path) -> None:
    """One input again."""
    kind = worker.kind_of(options.kinds[0], home)
    case = worker.case_of(kind, options.seed, options.only)
    found, finding = worker.read(kind, case, home / "it")
    print(f"{case.options}\n{type(found).__name__}: {str(found)[:2000]}\n")
    print("nothing to complain of" if finding is None else f"{finding.cause}\n{finding.detail}")
    if options.findings is not None:
        about = {"kind": kind.name, "seed": options.seed, "only": options.only}
        cases.keep(options.findings, case, finding or cases.Finding("none", ""), about)


def _finish(
    options: argparse.Namespace, tallies: dict[str, Tally], machine: dict[str, Any], seconds: float, interrupted: bool
) -> None:
    """The sum of it, and the receipt."""
    kinds = {name: tally.to_json() for name, tally in tallies.items()}
    total = {key: sum(kind[key] for kind in kinds.values())
             for key in ("inputs", "accepted", "refused", "rolled_out", "findings")}  # fmt: skip
    for name, kind in kinds.items():
        for cause, count in kind["causes"].items():
            print(f"{name}: {count} × {cause}")
    print(", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in total.items()), f"in {seconds:,.0f} s")
    if options.json is not None:
        receipt = {
            "options": {"inputs": options.inputs, "seed": options.seed, "kinds": options.kinds},
            "limits": {"seconds": worker.SECONDS, "memory_bytes": worker.MEMORY, "message": cases.LONGEST_MESSAGE},
            "interrupted": interrupted,
            "total": total | {"seconds": round(seconds, 1), "peak_bytes": max(k["peak_bytes"] for k in kinds.values())},
            "kinds": kinds,
            "machine": machine,
            "versions": receipts.versions(()),
        }
        files.write_json(options.json, receipt)


assert [kind.name for kind in KINDS] == list(SHARES)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was done is told
    sys.exit(main())
