"""Measures a large sweep: throughput beside single runs, memory beside the plan, search beside a grid.

Each sweep is ``aljax sweep`` in a process of its own, from start to finish, as a user meets it. Single runs of other
batch sizes are timed in the same run of this script, each in a process of its own too. See ``benchmarks/README.md``.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from rich import box
from rich.console import Console
from rich.table import Table

from aljax import UserError
from aljax.host import terminal
from aljax.host.files import check_writable, write_json
from aljax.runs import versions
from aljax.sweeps.reader import make_spec
from aljax.sweeps.work import Work

from receipts import machine, status_of

SWEEPS = Path(__file__).parent.parent / "examples" / "sweeps"
SINGLE = """
import json, sys
from aljax import load_scenario
from aljax.training import train_seeds
from aljax.options import Protocol
from aljax.options import Hyperparameters, TrainConfig
batch, episodes = int(sys.argv[1]), int(sys.argv[2])
trained = train_seeds(
    load_scenario("paper"), TrainConfig(episodes=episodes, batch=batch), Hyperparameters(), Protocol(seeds=1)
)
print(json.dumps(trained.seconds))
"""


def single_runs(batches: list[int], repeats: int) -> list[dict[str, Any]]:
    """Episodes a second of one run, by batch size, compilation aside; the sweep's own batch is among them."""
    found = []
    for batch in batches:
        episodes = batch * max(1, round(400_000 / batch))
        rates = []
        for _ in range(repeats):
            done = subprocess.run(
                [sys.executable, "-c", SINGLE, str(batch), str(episodes)], capture_output=True, text=True, check=True
            )
            rates.append(episodes / json.loads(done.stdout)["train"])
        found.append({"batch": batch, "episodes": episodes, "episodes_per_second": rates})
    return found


def swept(file: str, folder: Path, *args: str) -> dict[str, Any]:
    """``aljax sweep`` from start to finish: its manifest, and the seconds of the whole process."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "aljax", "sweep", str(SWEEPS / file), "--out", str(folder), *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"aljax sweep {file}: {done.stderr.strip()}")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["seconds"]["in_all"] = time.perf_counter() - begun
    manifest["arguments"] = [file, *args]
    plan = manifest["plan"]
    manifest["episodes_per_second"] = plan["episodes"] / manifest["seconds"]["train"]
    manifest["memory_over_plan"] = manifest["process_bytes"] / plan["process_bytes"]
    manifest["time_over_plan"] = (manifest["seconds"]["train"] + manifest["seconds"]["optimal"]) / plan["seconds"]
    return manifest


def prepared(repeats: int) -> dict[str, Any]:
    """Seconds until the environments of 100,000 points, each another one, are read, checked and ready for programs."""
    axes = {"weights.latency": {"low": 0.05, "high": 5.0, "log": True},
            "actions.failure.compute": {"low": 0.0, "high": 0.5}}  # fmt: skip
    spec = make_spec({"method": "random", "configurations": 100_000, "seeds": 1, "axes": axes})
    points, seconds = spec.points(), []
    for _ in range(repeats):
        work, begun = Work(spec), time.perf_counter()
        work.add(points)
        seconds.append(time.perf_counter() - begun)
        if len(work.environments) != len(points):
            raise RuntimeError(f"{len(work.environments):,} environments of {len(points):,} points")
    return {"environments": len(points), "axes": list(axes), "seconds": seconds}


def costs(folder: Path, seeds: int) -> np.ndarray:
    """Mean cost over seeds of each configuration."""
    cost = pyarrow.parquet.read_table(folder / "table.parquet").column("cost").to_numpy()
    return cost.reshape(-1, seeds).mean(1)


def search(folder: Path, scenarios: list[str], seeds: list[int]) -> list[dict[str, Any]]:
    """A grid's best, and what a search finds in a tenth of its runs, on each scenario and from each seed."""
    found = []
    for scenario in scenarios:
        swept("grid.toml", folder / f"grid-{scenario}", "--scenario", scenario, "--no-plots")
        grid = costs(folder / f"grid-{scenario}", 5)
        for seed in seeds:
            out = folder / f"search-{scenario}-{seed}"
            text = (SWEEPS / "search.toml").read_text().replace("\nseeds = 5", f"\nseeds = 5\nseed = {seed}")
            file = folder / f"search-{seed}.toml"
            file.write_text(text)
            swept(str(file.absolute()), out, "--scenario", scenario, "--no-plots")
            cost = costs(out, 5)
            found.append(
                {
                    "scenario": scenario,
                    "seed": seed,
                    "grid_configurations": len(grid),
                    "grid_best": float(np.nanmin(grid)),
                    "grid_median": float(np.nanmedian(grid)),
                    "search_configurations": len(cost),
                    "search_best": float(np.nanmin(cost)),
                    "excess_percent": 100 * (float(np.nanmin(cost)) / float(np.nanmin(grid)) - 1),
                }
            )
    return found


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", default=["throughput", "memory", "search", "prepare"])
    parser.add_argument("--batches", nargs="+", type=int, default=[30, 120, 480, 1920, 7680])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder to keep the sweeps in")
    parser.add_argument("--json", type=Path, help="write the receipt to this file")
    options = parser.parse_args()
    if options.json is not None:
        check_writable(options.json)
    console, receipt = terminal.console(), {"made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    receipt: dict[str, Any] = receipt | {"machine": machine(), "versions": versions(), "options": options.parts}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if "throughput" in options.parts:
            singles = single_runs(options.batches, options.repeats)
            large = swept("rates.toml", folder / "rates")
            best = max(max(single["episodes_per_second"]) for single in singles)
            receipt["throughput"] = {
                "single": singles,
                "sweep": large,
                "sweep_over_best_single": large["episodes_per_second"] / best,
            }
            show_throughput(console, receipt["throughput"])
        if "memory" in options.parts:
            receipt["memory"] = [
                swept("rates.toml", folder / f"lanes-{lanes}", "--lanes", str(lanes), "--seeds", "1", "--no-plots",
                      "--episodes", "600")
                for lanes in (16, 256, 1024)
            ]  # fmt: skip
            show_memory(console, receipt["memory"])
        if "search" in options.parts:
            receipt["search"] = search(folder, ["paper", "escalation"], [0, 1, 2])
            show_search(console, receipt["search"])
    if "prepare" in options.parts:
        found = receipt["prepare"] = prepared(options.repeats)
        console.print(f"{found['environments']:,} environments ready in {np.median(found['seconds']):.1f} s")
    if options.json is not None:
        write_json(options.json, receipt)


def show_throughput(console: Console, found: dict[str, Any]) -> None:
    table = Table("", "episodes/s", "median", box=box.SIMPLE, title="Training throughput, compilation aside")
    for single in found["single"]:
        rates = single["episodes_per_second"]
        table.add_row(f"one run, batches of {single['batch']}", f"{max(rates):,.0f}", f"{np.median(rates):,.0f}")
    large = found["sweep"]
    table.add_row(f"sweep, {large['plan']['runs']:,} runs", f"{large['episodes_per_second']:,.0f}", "")
    console.print(table)
    console.print(
        f"the sweep trains {found['sweep_over_best_single']:.2f} times the episodes of the best single run; "
        f"{large['seconds']['in_all']:.0f} s from start to finish, {large['time_over_plan']:.2f} of the planned time, "
        f"peak memory {large['process_bytes'] / 2**20:.0f} MiB, {large['memory_over_plan']:.2f} of the planned"
    )


def show_memory(console: Console, found: list[dict[str, Any]]) -> None:
    table = Table("lanes", "a device, by the compiler", "process, planned", "measured", "ratio", box=box.SIMPLE)
    for sweep in found:
        plan = sweep["plan"]
        sizes = [plan["device_bytes"], plan["process_bytes"], sweep["process_bytes"]]
        shown = [f"{size / 2**20:,.0f} MiB" for size in sizes]
        table.add_row(str(plan["lanes"]), *shown, f"{sweep['memory_over_plan']:.2f}")
    console.print(table)


def show_search(console: Console, found: list[dict[str, Any]]) -> None:
    table = Table("scenario", "seed", "grid: configurations", "best", "median", "search: configurations", "best",
                  "excess, %", box=box.SIMPLE)  # fmt: skip
    for row in found:
        table.add_row(
            row["scenario"], str(row["seed"]), str(row["grid_configurations"]), f"{row['grid_best']:.4f}",
            f"{row['grid_median']:.4f}", str(row["search_configurations"]), f"{row['search_best']:.4f}",
            f"{row['excess_percent']:+.2f}",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    sys.exit(status_of(main))
