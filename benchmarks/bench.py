"""Measures everything side by side: stepping, rollouts, training, floors, growth, start-up.

See ``benchmarks/README.md``. Each part runs in a process of its own. A run that was stopped goes on with the parts
that are missing, if options and code are the same.
"""

import argparse
import contextlib
import datetime
import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parent))  # a part's process is started from any folder

from suite import PARTS
from suite.options import Options, usable_cores

# Processes start one another here, and on an accelerator each would take most of the memory for itself.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        self.exit(2, f"bench: {message}\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(prog="bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="everything small, under two minutes: proves that it runs")
    parser.add_argument("--parts", nargs="+", metavar="PART", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--repeats", type=int, default=10, help="times that a row is timed (default: %(default)s)")
    parser.add_argument("--batch", type=int, help="episodes in stepping and rollouts (default: by device)")
    parser.add_argument("--devices", type=int, help="devices of rows that use several (default: all; cores of a CPU)")
    parser.add_argument("--memory", type=float, help="GiB a point of growth may take (default: 60 %% of what is free)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the receipt there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the tables there, Markdown")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="write the plots there, bench_*.png")
    for name in ("--part", "--point", "--options", "--out"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    unknown = [part for part in chosen.parts if part not in PARTS]
    if unknown:
        parser.error(f"--parts: no part {unknown[0]!r}, expected some of {', '.join(PARTS)}")
    for name, least in (("repeats", 2), ("batch", 1), ("devices", 1), ("memory", 0)):
        value = getattr(chosen, name)
        if value is not None and not value >= least:
            parser.error(f"--{name}: expected at least {least}, got {value}")
    return chosen


def run_part(chosen: argparse.Namespace) -> None:
    """A part's own process: measures, and leaves JSON behind."""
    if chosen.cores and hasattr(os, "sched_setaffinity"):  # before jax or numba start threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-chosen.cores :])
    options = Options.from_json(chosen.options)
    part = importlib.import_module(f"suite.{chosen.part}")
    begun = time.perf_counter()
    if chosen.point is not None:
        found = part.measure_point(options, json.loads(chosen.point))
    else:
        found = part.measure(options) | {"took_seconds": time.perf_counter() - begun}
    Path(chosen.out).write_text(json.dumps(found, allow_nan=False))


def run(chosen: argparse.Namespace) -> None:
    """The whole: every part in its process, then receipt, page and figures."""
    from aljax import UserError
    from aljax.host import terminal
    from aljax.host.files import check_writable, read_json, write_json

    from receipts import machine, partial_folder, versions
    from suite import apart, fractions, page

    for place in (chosen.json, chosen.page):
        if place is not None:
            check_writable(place)
    if chosen.figures is not None:
        chosen.figures.mkdir(parents=True, exist_ok=True)
    memory = None if chosen.memory is None else int(chosen.memory * 2**30)
    options = Options(chosen.quick, chosen.repeats, chosen.batch, chosen.devices or usable_cores(), memory)
    console, here, found = terminal.console(), machine(), versions()
    begun, clock = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.perf_counter()
    key = {"options": json.loads(options.to_json()), "versions": found}
    lasting = chosen.json is not None and (chosen.json.is_file() or not chosen.json.exists())  # no device, no pipe
    partial = partial_folder(chosen.json, key) if lasting else None
    sections: dict[str, Any] = {}
    for part in (name for name in PARTS if name in chosen.parts):
        kept = partial / f"{part}.json" if partial is not None else None
        if kept is not None and kept.is_file():
            sections[part] = read_json(kept)
            console.print(f"{part}: measured before", style="dim")
            continue
        with console.status(f"{part}: {PARTS[part]} ..."):
            try:
                sections[part] = apart.run(part, options, devices=options.cores)
            except apart.PartError as error:
                raise UserError(str(error)) from None
        took = sections[part]["took_seconds"]
        console.print(f"{part}: {PARTS[part]}, {took:.0f} s", style="dim")
        if kept is not None:
            write_json(kept, sections[part])
    fractions.add(sections)
    receipt = {
        "benchmark": "bench",
        "started": begun,
        "took_seconds": time.perf_counter() - clock,
        "machine": here | {"load_after": list(os.getloadavg())},
        "versions": found,
        "options": json.loads(options.to_json()) | {"parts": list(sections)},
        "skipped": [{"part": part} | row for part in sections for row in sections[part].get("skipped", [])],
        "sections": sections,
    }
    if chosen.json is not None:
        write_json(chosen.json, receipt)
    if partial is not None:
        for part in PARTS:
            (partial / f"{part}.json").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there is something else in it
            partial.rmdir()
    page.show(receipt, console)
    if chosen.figures is not None:
        page.draw(receipt, chosen.figures)
    if chosen.page is not None:
        page.write(receipt, chosen.page, chosen.figures)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; the exit status is 0, or 2 for what the user can put right."""
    chosen = parse(arguments)
    if chosen.part:
        run_part(chosen)
        return 0
    from receipts import status_of

    try:
        return status_of(lambda: run(chosen))
    except KeyboardInterrupt:
        kept = " the same command goes on from the parts that are finished" if chosen.json is not None else ""
        print(f"bench: stopped;{kept}" if kept else "bench: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
