"""The receipt of programs for chips that were not there, as tables and as a page."""

from pathlib import Path
from typing import Any

from aljax import TrainConfig
from aljax.host.files import whole_file

from chips import measured
from suite.tables import Table, number, size

_COMMAND = "python benchmarks/accelerators.py --json benchmarks/results/accelerators.json"
_PROGRAMS = {
    "update": "an update of 5 seeds, as `aljax train` runs it",
    "rollout": "a rollout of 5 × 1,024 episodes, sampled",
    "evaluation": "the evaluation: 5 learned policies and 3 heuristics",
    "solver": "the exact optimum from 1,000 starts",
    "sweep": "an update of a sweep's 1,024 runs; memory of the whole sweep's program",
}
_HEAD = """# Accelerators

Written by `make accelerators`, that is `{command} --page docs/reference/accelerators.md`, from its receipt.

{measured} XLA compiles for chips of which it only knows
the description, and this page tells what it made of our programs: how many kernels a GPU has to launch for them, how
often its host must wait, what memory they take, how much they compute. `python benchmarks/gpu.py` measures all of it
where there is a GPU.

On a GPU it is not arithmetic that decides:
{dear}
Therefore programs for accelerators are other programs than those for CPUs; what differs is decided in one place,
`aljax.target`, from what a program is compiled for.

- **Launches**: kernels, copies and calls of libraries in the compiled program, loops as often as they go round. A
  conditional counts too, and makes the host wait until its predicate is known.
- **Floor**: launches times the time of one, which is an *assumption*, or operations over the *maker's* peak, whichever
  is more. If the assumption holds, no run beats it; it says nothing of how near one comes.
- **Operations** of floating-point numbers, counted from what JAX traces, two a multiply-add. Random numbers, which are
  integers until the end, are not among them.
"""


def tables(receipt: dict[str, Any]) -> list[Table]:
    """What was compiled, a table a chip, and what was assumed."""
    before = receipt.get("before", {"revision": "", "rows": []})
    found = []
    for key, chip in receipt["chips"].items():
        rows = [row for row in receipt["rows"] if row["chip"] == key]
        old = {row["program"]: row for row in before["rows"] if row["chip"] == key}
        make = _launched if chip["launch_seconds"] else _held
        found.append(make(chip, rows, old, before["revision"]))
    rows = [
        (
            chip["name"],
            _microseconds(chip["launch_seconds"]) if chip["launch_seconds"] else "a program is one launch",
            f"{chip['flops_per_second'] / 1e12:,.0f} × 10¹²",
            size(chip["memory_bytes"]),
            "; ".join(chip["sources"]),
        )
        for chip in receipt["chips"].values()
    ]
    columns = "chip", "a launch, assumed", "operations a second, maker's", "memory", "sources"
    return [*found, Table("What is assumed", "Of the chips; floors follow from it.", columns, rows)]


def _launched(chip: dict[str, Any], rows: list[Any], old: dict[str, Any], revision: str) -> Table:
    """Of a GPU."""
    columns = ["program", "launches", "conditionals", "memory", "10⁶ operations", "floor, µs"]
    if old:
        columns += [f"launches at {revision}", "conditionals", "floor, µs"]
    lines = []
    for row in rows:
        was = old.get(row["program"])
        line = [_PROGRAMS[row["program"]], *_figures(row)]
        if old:
            line += ["", "", ""] if was is None else [f"{was['launches']}", f"{was['conditionals']}", _floor(was)]
        lines.append(tuple(line))
    return Table(chip["name"], _training(rows, old, revision) or chip["name"], tuple(columns), lines)


def _figures(row: dict[str, Any]) -> list[str]:
    if "failed" in row:
        return ["not compiled", "", "", "", ""]
    counts = [f"{row['launches']}", f"{row['conditionals']}"]
    return [*counts, size(row["memory"]["in_all"]), number(row["flops"] / 1e6), _floor(row)]


def _held(chip: dict[str, Any], rows: list[Any], old: dict[str, Any], revision: str) -> Table:
    """Of a TPU."""
    columns = ["program", "memory", "of the chip's", "10⁶ operations"]
    if old:
        columns.append(f"memory at {revision}")
    lines = []
    for row in rows:
        line = [_PROGRAMS[row["program"]]]
        if "failed" in row:
            line += ["not compiled", "", ""]
        else:
            share = f"{100 * row['share_of_memory']:.2g} %"
            line += [size(row["memory"]["in_all"]), share, number(row["flops"] / 1e6)]
        if old:
            line.append(size(old[row["program"]]["memory"]["in_all"]) if row["program"] in old else "")
        lines.append(tuple(line))
    note = "A whole program is one launch here. What is known is that it compiles, and the memory that it takes."
    return Table(chip["name"], note, tuple(columns), lines)


def _training(rows: list[Any], old: dict[str, Any], revision: str) -> str:
    """What follows for a whole training."""
    config = TrainConfig()
    found = {row["program"]: row for row in rows if "failed" not in row}
    said = []
    if "update" in found:
        seconds = [config.updates * each for each in found["update"]["floor_seconds"]]
        played = f"Training 5 seeds × {config.episodes:,} episodes is {config.updates} updates"
        text = f"{played}: {_seconds(seconds)} by the floor"
        if "update" in old:
            was = [config.updates * each for each in old["update"]["floor_seconds"]]
            text += f", {_seconds(was)} at {revision}"
        said.append(f"{text}.")
    if "rollout" in found:
        text = f"A rollout launches {number(found['rollout']['launches_a_step'])} kernels a step"
        if "rollout" in old:
            text += f", {number(old['rollout']['launches_a_step'])} at {revision}"
        said.append(f"{text}.")
    return " ".join(said)


def _seconds(ends: list[float]) -> str:
    return f"{number(ends[0])} to {number(ends[-1])} s"


def _microseconds(ends: list[float]) -> str:
    low, high = (number(1e6 * end) for end in (ends[0], ends[-1]))
    return f"{low} to {high} µs" if low != high else f"{low} µs"


def _floor(row: dict[str, Any]) -> str:
    return _microseconds(row["floor_seconds"]).removesuffix(" µs")


def show(receipt: dict[str, Any], console: Any) -> None:
    """Prints the tables."""
    for each in tables(receipt):
        console.print(each.printed())


def write(receipt: dict[str, Any], file: Path, gpu: dict[str, Any] | None) -> None:
    """Writes the page; at its end what was measured, if there is a receipt of ``benchmarks/gpu.py``."""
    said = "**Nothing on this page was measured on an accelerator: none was at hand.**"
    if gpu is not None:
        said = "What was measured on a GPU stands at the end; all else is counted, and was not run."
    lines = [_HEAD.format(command=_COMMAND, dear=_dear(receipt), measured=said)]
    versions = ", ".join(f"{name} {version}" for name, version in receipt["versions"].items())
    lines += [f"Versions: {versions}. Compiled {receipt['started']}.", ""]
    for table in tables(receipt):
        lines += table.markdown()
    if gpu is not None:
        told = ", ".join(f"{name} {version}" for name, version in gpu["versions"].items())
        lines += [
            f"What follows was measured on an {gpu['machine']['jax_device']}. Versions: {told}. {gpu['started']}.",
            "",
        ]
        for table in measured.tables(gpu):
            lines += table.markdown()
    with whole_file(file) as place:
        place.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _dear(receipt: dict[str, Any]) -> str:
    """What an update computes beside what launching its kernels takes, in a sentence."""
    for row in receipt["rows"]:
        chip = receipt["chips"][row["chip"]]
        if row["program"] == "update" and chip["launch_seconds"] and "failed" not in row:
            computing = number(1e6 * row["flops"] / chip["flops_per_second"])
            work, each = number(row["flops"] / 1e6), _microseconds(chip["launch_seconds"])
            return (
                f"the {work} million operations of an update take an {chip['name']}, {computing} µs at its peak,\n"
                f"and every launch an assumed {each}."
            )
    return "an update computes little, and every launch takes microseconds."
