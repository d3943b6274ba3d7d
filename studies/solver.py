"""Times the exact solver against horizon and number of tools, beside the same recursion in plain NumPy.

Both give value, components and success of the optimum for each start. NumPy works in float64 on one start at a time,
vectorised over the states of a layer, which it enumerates by itself; building that table is timed apart, as
compilation is for aljax. See ``studies/README.md``.
"""

import argparse
import datetime
import functools
import itertools
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts, rivals

from aljax import UserError, load_scenario
from aljax.env import ActionTable, EnvParams
from aljax.exact.plan import MEMORY_LIMIT, Plan
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan
from aljax.host import terminal
from aljax.host.files import check_writable, write_json
from aljax.runs import versions

from receipts import machine, status_of
from rivals.bounds import limit, over

DIMENSIONS = 4
ENOUGH = 3.0  # seconds after which a case is not repeated once more, beyond the second time


def tools(count: int, horizon: int) -> EnvParams:
    """An environment of `count` different tools, each repairing one of four coordinates; drift on the first."""
    row = np.arange(count)
    shift = np.zeros((count, DIMENSIONS))
    shift[row, row % DIMENSIONS] = -2.0 + 0.25 * (row // DIMENSIONS)
    flags = {name: np.zeros(count, bool) for name in ("ends", "resolves", "reveals")}
    numbers = {
        "latency": 3.0 - 0.1 * row,
        "money": 1.0 + 0.02 * row,
        "failure": np.full(count, 0.07),
        "gain": np.ones((count, DIMENSIONS)),
        "shift": shift,
        "noise": np.zeros(count),
    }
    single = functools.partial(jnp.asarray, dtype=jnp.float32)
    table = ActionTable(
        **{name: single(column) for name, column in numbers.items()},
        **{name: jnp.asarray(column) for name, column in flags.items()},
        allowed=jnp.ones(count, bool),
    )
    return EnvParams(
        actions=table,
        drift=single([0.26, 0.0, 0.0, 0.0]),
        start_low=single([2.5, 2.2, 2.2, 2.2]),
        start_high=single([5.5, 5.2, 5.2, 5.2]),
        misread=single(np.zeros(DIMENSIONS)),
        tolerance=single(np.full(DIMENSIONS, 1.2)),
        latency_budget=single(np.inf),
        money_budget=single(np.inf),
        auto_end=jnp.array(True),
        horizon=jnp.int32(horizon),
        weights=single([0.18, 0.3, 2.0, 1.0, 0.5]),
        z_scale=single(np.ones(DIMENSIONS)),
        latency_scale=single(1.0),
        money_scale=single(1.0),
    )


class Rival:
    """Backward induction over (time, counts of successes) in NumPy, float64; tools only, as `tools` makes them."""

    def __init__(self, params: EnvParams):
        p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
        table, self.horizon = p.actions, int(p.horizon)
        self.shift, self.drift, self.weights = table.shift, p.drift, p.weights
        self.tolerance, self.widest = p.tolerance, limit(p.tolerance)
        count, self.fail = len(table.failure), table.failure
        worked, failed = np.linalg.norm(self.drift), np.linalg.norm(table.shift - self.drift, axis=1)
        none = np.zeros(count)
        off = self.fail * failed + (1 - self.fail) * worked
        self.now = np.stack([table.latency, table.money, none, self.fail, off, none], 1)
        # Layers: the points of sum up to t come first; after[a] is each point's number after one more success of a.
        points: list[tuple[int, ...]] = []
        self.size = []
        for total in range(self.horizon + 1):
            bars = itertools.combinations(range(total + count - 1), count - 1)
            points += [tuple(np.diff((-1, *bar, total + count - 1)) - 1) for bar in bars]
            self.size.append(len(points))
        number = {point: i for i, point in enumerate(points)}
        self.points = np.array(points)
        one = np.eye(count, dtype=int)
        self.after = np.array(
            [[number[tuple(point)] for point in self.points[: self.size[-2]] + one[a]] for a in range(count)]
        )

    def excess(self, start: np.ndarray, step: int, size: int) -> np.ndarray:
        """The violation in the states of a layer. ``[N]``"""
        z = start + self.points[:size] @ self.shift + step * self.drift
        return over(np.abs(z), self.tolerance, self.widest).sum(1)

    def solve(self, start: np.ndarray) -> np.ndarray:
        """Components and success ``[6]`` of the optimum from a start ``[d]``."""
        weights = np.append(self.weights, 0.0)
        g = self.excess(start, self.horizon, self.size[-1])
        parts = np.zeros((len(g), 6))
        parts[:, 2], parts[:, 5] = g, g == 0
        value = parts @ weights
        for step in range(self.horizon - 1, -1, -1):
            size = self.size[step]
            after = self.after[:, :size]
            fail = self.fail[:, None]
            totals = (self.now @ weights)[:, None] + fail * value[:size] + (1 - fail) * value[after]
            chosen = totals.argmin(0)
            p = self.fail[chosen][:, None]
            parts = self.now[chosen] + p * parts[:size] + (1 - p) * parts[after[chosen, np.arange(size)]]
            value = totals.min(0)
            if step:
                solved = self.excess(start, step, size) == 0
                value[solved], parts[solved] = 0.0, (0, 0, 0, 0, 0, 1)
        return parts[0]


def repeated(work: Callable[[], Any], repeats: int) -> tuple[list[float], list[float]]:
    """Wall-clock and processor seconds of each repeat; fewer repeats where one takes long."""
    wall, cpu = [], []
    while len(wall) < min(2, repeats) or (len(wall) < repeats and sum(wall) < ENOUGH):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - begun_cpu)
    return wall, cpu


def measure(params: EnvParams, plan: Plan, starts: int, rival_starts: int, repeats: int) -> dict[str, Any]:
    """One case: both contestants on the same starts, which must agree."""
    rng = np.random.default_rng(0)
    box_ = np.asarray(params.start_low)[:, None], np.asarray(params.start_high)[:, None]
    start = np.asarray(rng.uniform(*box_, (params.drift.size, starts)), np.float32)
    begun = time.perf_counter()
    run = jax.jit(functools.partial(solve, plan=plan)).lower(params, start).compile()
    compiled = time.perf_counter() - begun
    memory = run.memory_analysis()
    solution = jax.tree.map(np.asarray, run(params, start))  # warm-up
    wall, cpu = repeated(lambda: jax.block_until_ready(run(params, start)), repeats)

    begun = time.perf_counter()
    rival = Rival(params)
    built = time.perf_counter() - begun
    expected = np.stack([rival.solve(start[:, b].astype(np.float64)) for b in range(rival_starts)])
    values = expected[:, :5] @ np.asarray(params.weights, np.float64)
    differ = float(np.max(np.abs(solution.value[:rival_starts] - values) / np.abs(values)))
    if differ > 1e-5:
        raise UserError(f"the contestants differ by {differ:.1e}")
    apart = float(np.max(np.abs(solution.components.T[:rival_starts] - expected[:, :5])))
    rival_wall, rival_cpu = repeated(lambda: [rival.solve(start[:, b]) for b in range(rival_starts)], repeats)
    return {
        "tools": len(plan.rows),
        "horizon": plan.horizon,
        "states": plan.states,
        "starts": starts,
        "starts_at_once": min(plan.width, starts),
        "predicted_bytes": plan.predicted_bytes(starts),
        "compiled_bytes": memory.temp_size_in_bytes + memory.output_size_in_bytes,
        "compile_seconds": compiled,
        "seconds": wall,
        "cpu_seconds": cpu,
        "milliseconds_a_start": 1000 * float(np.median(wall)) / starts,
        "rival_starts": rival_starts,
        "rival_build_seconds": built,
        "rival_seconds": rival_wall,
        "rival_cpu_seconds": rival_cpu,
        "rival_milliseconds_a_start": 1000 * float(np.median(rival_wall)) / rival_starts,
        "values_differ_by_at_most": differ,
        "components_differ_by_at_most": apart,
        "value_mean": float(solution.value.mean()),
        "success_mean": float(solution.success.mean()),
    }


def show(rows: Sequence[dict[str, Any]], console: Console) -> None:
    table = Table(box=box.SIMPLE)
    titles = ("tools", "H", "states", "starts", "MB", "compile s", "run s", "ms/start", "NumPy ms", "ratio")
    for title in titles:
        table.add_column(title, justify="right")
    for row in rows:
        if "refused" in row:
            table.add_row(str(row["case"]), str(row["horizon"]), "refused", *[""] * (len(titles) - 3))
            continue
        ours, theirs = row["milliseconds_a_start"], row["rival_milliseconds_a_start"]
        cells = (row["case"], row["horizon"], f"{row['states']:,}", f"{row['starts']:,}")
        numbers = (f"{row['compiled_bytes'] / 1e6:.1f}", f"{row['compile_seconds']:.1f}")
        times = (f"{np.median(row['seconds']):.3f}", f"{ours:.3f}", f"{theirs:.2f}", f"{theirs / ours:.0f}")
        table.add_row(*map(str, cells), *numbers, *times)
    console.print(table)
    for row in rows:
        if "refused" in row:
            console.print(row["refused"])


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", type=int, nargs="+", default=[2, 3, 4, 6, 8, 10], help="numbers of tools")
    parser.add_argument("--horizons", type=int, nargs="+", default=[5, 10, 20, 40], help="horizons")
    parser.add_argument("--starts", type=int, default=1000, help="starts of a case, fewer where layers are large")
    parser.add_argument("--memory", type=float, default=MEMORY_LIMIT / 2**30, help="limit in GiB")
    parser.add_argument("--repeats", type=int, default=10, help="repeats at most; fewer where one takes seconds")
    parser.add_argument("--quick", action="store_true", help="2, 4 and 6 tools, horizons 5 and 10, 3 repeats")
    parser.add_argument("--json", type=Path, help="write a receipt")
    chosen = parser.parse_args(arguments)
    if min(*chosen.tools, *chosen.horizons, chosen.starts, chosen.repeats) < 1:
        parser.error("numbers must be at least 1")
    if chosen.quick:
        chosen.tools, chosen.horizons, chosen.repeats = [2, 4, 6], [5, 10], 3
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; the exit status is 0, or 2 for what the user can put right."""
    chosen, console = options(arguments), terminal.console()
    begun = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    here = machine()

    def study() -> None:
        if chosen.json is not None:
            check_writable(chosen.json)
        rows = list(map(case, cases(chosen)))
        if chosen.json is not None:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            receipt = {
                "benchmark": "solver",
                "started": begun,
                "rows": rows,
                "versions": versions(),
                "machine": here | {"load_after": list(os.getloadavg()), "peak_resident_bytes": peak},
                "options": {k: v for k, v in vars(chosen).items() if k != "json"},
            }
            write_json(chosen.json, receipt)
        show(rows, console)

    def case(which: tuple[Any, int, EnvParams]) -> dict[str, Any]:
        name, horizon, params = which
        try:
            plan = make_plan(params, memory_limit=int(chosen.memory * 2**30))
        except UserError as refusal:
            return {"case": name, "tools": name, "horizon": horizon, "refused": str(refusal)}
        console.print(f"{name} x {horizon}: {plan.states:,} states ...", style="dim")
        # So many starts that a repeat visits at most 5e7 states, 2e6 in NumPy.
        starts = max(1, min(chosen.starts, 50_000_000 // plan.decisions))
        rival_starts = max(1, min(starts, 20, 2_000_000 // plan.decisions))
        return {"case": name} | measure(params, plan, starts, rival_starts, chosen.repeats)

    return status_of(study)


def cases(chosen: argparse.Namespace) -> list[tuple[Any, int, EnvParams]]:
    """Number of tools or scenario, horizon, environment."""
    made = [(count, horizon, tools(count, horizon)) for count in chosen.tools for horizon in chosen.horizons]
    return [("paper", 10, load_scenario("paper").params), *made]


if __name__ == "__main__":
    sys.exit(main())
