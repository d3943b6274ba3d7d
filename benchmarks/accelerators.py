"""What programs launch, and what memory they take, on an H100, a TPU v5e and a v6e: from what XLA compiles for them.

No chip is needed: ``make accelerators`` installs the compilers. Nothing here is measured on one; for that, where there
is one, see ``benchmarks/gpu.py``.
"""

import argparse
import concurrent.futures
import datetime
import functools
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from aljax import UserError, load_scenario
from aljax.errors import one_line
from aljax.host import terminal
from aljax.host.files import check_writable, write_json

from chips import page, target
from chips.rows import row
from chips.target import Chip
from receipts import in_a_process, status_of, versions

BEFORE = "5fdf291"
"""The revision that figures stand beside: the last before launches counted."""
PLUGINS = ("jax-cuda13-plugin", "nvidia-cuda-nvcc", "libtpu")
PROGRAMS = ("update", "rollout", "evaluation", "solver", "sweep")
ROOT = Path(__file__).parents[1]
MEASURED = ROOT / "benchmarks" / "results" / "gpu.json"
"""The receipt of ``benchmarks/gpu.py``, once there is one."""


def compile_programs(chip: Chip, names: list[str], out: Path) -> None:
    """Compiles programs of this revision for a chip, and writes their rows."""
    from chips import programs

    steps, found = load_scenario(programs.SCENARIO).horizon, []
    for name in names:
        try:
            found.append(row(name, *programs.PROGRAMS[name](chip), steps))
        except (RuntimeError, ValueError) as error:
            found.append({"chip": chip.key, "program": name, "failed": one_line(error)[:500]})
    write_json(out, found)


def rows_here(chip: Chip, names: list[str], folder: Path) -> list[dict[str, Any]]:
    """Of this revision. A process a chip: a plugin is loaded once, and compilers leave memory behind."""
    out = folder / f"{chip.key}.json"
    command = [sys.executable, str(Path(__file__)), "--chip", chip.key, "--what", *names, "--rows", str(out)]
    return in_a_process(command, out)


def rows_before(chip: Chip, package: Path, folder: Path) -> list[dict[str, Any]]:
    """Of an earlier one."""
    out = folder / f"before-{chip.key}.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "chips" / "earlier.py"), chip.key, str(out)]
    return in_a_process(command, out, PYTHONPATH=str(package))


def unpacked(revision: str, folder: Path) -> Path:
    """The package of an earlier revision, which git has, in a folder of its own."""
    git = ["git", "-C", str(ROOT), "archive", revision, "aljax"]
    done = subprocess.run(git, capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"--before: git has no revision {revision} here: {one_line(done.stderr.decode())}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder / "before", filter="data")
    return folder / "before"


def study(chosen: argparse.Namespace) -> None:
    """Compiles, counts, prints, writes."""
    chips = [target.catalogue()[key] for key in chosen.chip]
    for why in filter(None, map(target.missing, chips)):
        raise UserError(why)
    if chosen.rows is not None:
        compile_programs(chips[0], chosen.what, chosen.rows)
        return
    for file in filter(None, (chosen.json, chosen.page)):
        check_writable(file)
    console = terminal.console()
    receipt: dict[str, Any] = {
        "benchmark": "accelerators",
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(()) | {name: _version(name) for name in PLUGINS},
        "chips": {chip.key: chip.to_json() for chip in chips},
        "measured": "nothing: programs were compiled for chips that were not there",
    }
    with (
        tempfile.TemporaryDirectory() as name,
        concurrent.futures.ThreadPoolExecutor(chosen.jobs) as pool,
        console.status("compiling"),
    ):
        folder = Path(name)
        package = unpacked(chosen.before, folder) if chosen.before else None
        here = [pool.submit(rows_here, chip, chosen.what, folder) for chip in chips]
        before = [pool.submit(rows_before, chip, package, folder) for chip in chips] if package else []
        receipt["rows"] = [row for future in here for row in future.result()]
        if package:
            how = "by that revision's own functions, told that the default backend is the chip's (chips/earlier.py)"
            rows = [row for future in before for row in future.result()]
            receipt["before"] = {"revision": chosen.before, "how": how, "rows": rows}
    page.show(receipt, console)
    if chosen.json is not None:
        write_json(chosen.json, receipt)
    if chosen.page is not None:
        gpu = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.is_file() else {"quick": True}
        page.write(receipt, chosen.page, None if gpu["quick"] else gpu)
    failed = [f"{each['program']} for {each['chip']}: {each['failed']}" for each in receipt["rows"] if "failed" in each]
    if failed:
        raise UserError("; ".join(failed))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    chips, several = list(target.catalogue()), functools.partial(parser.add_argument, nargs="+", metavar="NAME")
    several("--chip", choices=chips, default=chips, help=f"of {', '.join(chips)} (default: all)")
    several("--what", choices=PROGRAMS, default=list(PROGRAMS), help=f"of {', '.join(PROGRAMS)} (default: all)")
    parser.add_argument("--before", default=BEFORE, help="revision to stand beside, '' for none (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=3, help="compilers at work at once (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the receipt there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page there, Markdown")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)  # what a process of its own is asked for
    return status_of(lambda: study(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
