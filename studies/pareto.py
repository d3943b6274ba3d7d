"""How many runs of a sweep over cost weights end in a local optimum, as training is by default and in other ways?

Every weighting of the sweep, with every seed, is trained in each way for as many episodes, a chunk of runs in one way
after the same chunk in another, so that times can be compared whatever else the machine does. The gap of a run is
measured against the exact optimum under its weights, on the same starts and luck. Prints a table; writes a JSON receipt
if asked.

    python studies/pareto.py --json studies/results/pareto.json
"""

import argparse
import datetime
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

from aljax.host import terminal
from aljax.host.files import check_writable, write_json
from aljax.options import NEARER
from aljax.runs import versions
from aljax.sweeps.execute import prepared
from aljax.sweeps.programs import make_mesh, numpy_row, solving_program, training_program
from aljax.sweeps.reader import read_spec
from aljax.sweeps.work import Work

from receipts import machine, status_of

SWEEP = Path(__file__).parents[1] / "examples" / "sweeps" / "pareto.toml"
DEFAULT = "default"
WAYS: dict[str, Mapping[str, Any]] = {
    DEFAULT: {},
    "nearer starts": NEARER,
    "all rows, nearer starts": NEARER | {"gradient": "all_rows"},
    "critic learning rate 0.05, entropy 0.5": {key: NEARER[key] for key in ("critic_learning_rate", "entropy")},
}
"""What each changes in `TrainConfig` and `Hyperparameters`."""
STUCK = 3.0
"""A run that ends more percent above its optimum than these is stuck."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", type=Path, default=SWEEP, help="a sweep over numbers of one scenario")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=[DEFAULT, "nearer starts"])
    parser.add_argument("--configurations", type=int, help="weightings, in place of the sweep's own number")
    parser.add_argument("--seeds", type=int, help="likewise")
    parser.add_argument("--episodes", type=int, default=12_000, help="of each run")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    return status_of(lambda: study(options))


def study(options: argparse.Namespace) -> None:
    """Trains, measures, prints, writes."""
    if options.json:
        check_writable(options.json)
    console, begun = terminal.console(), time.perf_counter()
    given = {name: getattr(options, name) for name in ("configurations", "seeds") if getattr(options, name)}
    fixed = {way: {"episodes": options.episodes, **WAYS[way]} for way in options.ways}
    works = {way: prepared(read_spec(options.sweep, given | {"set": fixed[way]})) for way in options.ways}
    optimum = _optima(next(iter(works.values())))
    first = next(iter(works.values()))
    rows = {way: _row(cost, optimum, first.seeds, spent) for way, (cost, spent) in _trained(works).items()}
    table = Table(
        title=f"{first.spec.scenario}: {len(first.jobs)} weightings × {first.seeds} seeds, "
        f"{first.jobs[0].config.episodes:,} episodes a run",
        box=box.SIMPLE,
    )
    for column in ("way", "gap %: median", "above 1 %", f"above {STUCK:g} %", "worst", "in weightings", "s", "CPU s"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for way, row in rows.items():
        table.add_row(
            way, f"{row['median']:.2f}", f"{100 * row['above_1']:.1f} %", f"{100 * row['stuck']:.1f} %",
            f"{row['worst']:.1f}", str(row["weightings_stuck"]), f"{row['seconds']:.0f}", f"{row['cpu_seconds']:.0f}",
        )  # fmt: skip
    console.print(table)
    console.print(f"{time.perf_counter() - begun:.0f} s in all, compilations and exact optima included.")
    if options.json:
        receipt = {
            "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "sweep": options.sweep.name,
            "weightings": len(first.jobs), "seeds": first.seeds, "episodes": first.jobs[0].config.episodes,
            "ways": {way: dict(WAYS[way]) for way in options.ways}, "results": rows,
            "seconds": time.perf_counter() - begun, "machine": machine(), "versions": versions(),
        }  # fmt: skip
        write_json(options.json, receipt)


def _optima(work: Work) -> np.ndarray:
    """What the exact optimum of each run's weights costs in the run's evaluation. ``[R]``"""
    (solving,) = work.solvings
    pairs, mesh = work.pairs_of(solving), make_mesh()
    program = solving_program(solving, mesh, 4, work.spec.protocol.evaluation_episodes, _example(work.solving([0])))
    found = [
        program.fetch(program(work.solving(some)), len(some)).cost
        for some in np.split(pairs, range(program.batch, len(pairs), program.batch))
    ]
    environments = np.repeat(work.environment_of, work.seeds)
    return np.concatenate(found)[environments * work.seeds + np.tile(np.arange(work.seeds), len(work.jobs))]


def _trained(works: Mapping[str, Work]) -> dict[str, tuple[np.ndarray, dict[str, float]]]:
    """What each run costs in its evaluation ``[R]``, and seconds without compiling: the ways turn and turn about."""
    mesh = make_mesh()
    programs = {
        way: training_program(
            work.shapes[0], mesh, 16, work.spec.protocol.evaluation_episodes, _example(work.training([0]))
        )
        for way, work in works.items()
    }
    cost: dict[str, list[np.ndarray]] = {way: [] for way in works}
    spent = {way: {"seconds": 0.0, "cpu_seconds": 0.0, "compile": programs[way].seconds} for way in works}
    first = next(iter(works))
    rows, batch = np.arange(works[first].rows), programs[first].batch
    for some in np.split(rows, range(batch, len(rows), batch)):
        for way, work in works.items():
            stop = np.int32(work.shapes[0].config.updates)
            begun = time.perf_counter(), time.process_time()
            result = programs[way].fetch(programs[way](work.training(some), stop).played, len(some))
            spent[way]["seconds"] += time.perf_counter() - begun[0]
            spent[way]["cpu_seconds"] += time.process_time() - begun[1]
            cost[way].append(result.cost)
    return {way: (np.concatenate(cost[way]), spent[way]) for way in works}


def _example(rows: Any) -> Any:
    """One row, for its shapes."""
    return numpy_row(rows, 0)


def _row(cost: np.ndarray, optimum: np.ndarray, seeds: int, spent: Mapping[str, float]) -> dict[str, Any]:
    """Figures of a way."""
    gap = 100 * (cost.astype(np.float64) / optimum - 1)
    stuck = gap > STUCK
    return {
        "median": float(np.median(gap)), "above_1": float((gap > 1.0).mean()), "stuck": float(stuck.mean()),
        "worst": float(gap.max()), "weightings_stuck": int(stuck.reshape(-1, seeds).any(1).sum()),
        "gaps": np.round(gap, 3).tolist(), **spent,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
