"""What a sweep will cost, before it starts: compilations, memory as the compiler sees it, time as measured."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from aljax.errors import UserError
from aljax.host.memory import available_memory, peak_memory, resident_memory
from aljax.seeds import target_on
from aljax.sweeps.compiler import Compiler
from aljax.sweeps.programs import Shape
from aljax.sweeps.space import Spec
from aljax.sweeps.work import Work
from aljax.target import Target

_SAMPLED = 4
"""Shapes that are compiled and timed for the plan; others are estimated from these."""
_TIMED_UPDATES = 20
CURVE_POINTS = 100
"""Points that are kept of a learning curve, at most."""
_CURVE_NUMBERS = 1e8
_ENVIRONMENT_BYTES, _JOB_BYTES = 8_000, 1_000
"""Of the host's memory that an environment and a configuration take, measured."""


@dataclasses.dataclass(frozen=True)
class SweepPlan:
    """What a sweep is, and what it is expected to take."""

    configurations: int
    seeds: int
    episodes: int
    """Training episodes in all."""
    traced: tuple[str, ...]
    """Axes that are vmapped: a new value costs no compilation."""
    static: tuple[str, ...]
    """Axes with a new compilation for each value, or for each combination of them."""
    compilations: int
    """Programs that a run from the start compiles."""
    shapes: int
    """How many of them train; the others find exact optima."""
    environments: int
    unsolved: int
    """Environments without an exact optimum."""
    reason: str
    """Why the first of them has none."""
    lanes: int
    """Runs side by side on a device."""
    devices: int
    hosts: int
    device_bytes: int
    """Peak on each device, by the compiler's analysis of the largest program: arguments, outputs, temporary arrays."""
    process_bytes: int
    """Peak resident memory of this host's process, results included; 0 where it cannot be told."""
    seconds: float
    """Of work: training and finding optima."""
    compile_seconds: float
    """Of compiling, and of timing for this plan."""
    rate: float
    """Training episodes a second, compilations aside."""

    @property
    def runs(self) -> int:
        """Rows of the table."""
        return self.configurations * self.seeds

    def to_json(self) -> dict[str, Any]:
        """For files."""
        return dataclasses.asdict(self) | {"runs": self.runs}


def make_sweep_plan(work: Work, compiler: Compiler, on_step: Callable[[str], object] = lambda _: None) -> SweepPlan:
    """Compiles and times what stands for the whole.

    Args:
      work: all of it.
      compiler: from `fitting`; keeps what is compiled here.
      on_step: called with what is being done.

    Returns:
      The plan.
    """
    spec = work.spec
    sampled = sorted(work.shapes, key=lambda shape: shape.memory, reverse=True)[:_SAMPLED]
    seconds: dict[Shape, float] = {}
    for shape in sampled:
        on_step(f"compiling, {len(seconds) + 1} of {len(sampled)}")
        seconds[shape] = _seconds_a_call(work, compiler, shape)
    share = sum(seconds.values()) / sum(shape.work for shape in sampled)
    train_seconds = 0.0
    for index, shape in enumerate(work.shapes):
        calls = -(-len(work.rows_of(index)) // (compiler.lanes * compiler.mesh.size))
        train_seconds += calls * seconds.get(shape, share * shape.work)
    trained = [compiler.training(shape) for shape in sampled]
    compiled = [program.seconds for program in trained]
    solvings, solve_seconds = work.solvings, 0.0
    for solving in solvings[:1]:
        on_step("compiling the exact optimum")
        program, pairs = compiler.solving(solving), work.pairs_of(solving)
        compiled.append(program.seconds)
        jax.block_until_ready(program(work.solving(pairs[:1])))
        timed = time.perf_counter()
        jax.block_until_ready(program(work.solving(pairs[:1])))
        total = sum(len(work.pairs_of(each)) for each in solvings)
        solve_seconds = (time.perf_counter() - timed) * -(-total // program.batch)

    compilations = len(work.shapes) + len(solvings)
    still_to_compile = float(np.mean(compiled)) * (compilations - len(compiled))
    unsolved = [environment for environment in work.environments if environment.solving is None]
    episodes = sum(
        len(work.rows_of(index)) * shape.config.updates * shape.config.batch for index, shape in enumerate(work.shapes)
    )
    local = max(1, len([d for d in compiler.mesh.devices.flat if d.process_index == jax.process_index()]))
    device_bytes = max(program.memory.total for program in trained)
    static, traced = _split(spec)
    return SweepPlan(
        configurations=len(work.jobs),
        seeds=work.seeds,
        episodes=episodes,
        traced=traced,
        static=static,
        compilations=compilations,
        shapes=len(work.shapes),
        environments=len(work.environments),
        unsolved=len(unsolved),
        reason=unsolved[0].reason if unsolved else "",
        lanes=compiler.lanes,
        devices=compiler.mesh.size,
        hosts=jax.process_count(),
        device_bytes=device_bytes,
        process_bytes=_process_peak(device_bytes * local, result_bytes(work), target_on(compiler.mesh)),
        seconds=train_seconds + solve_seconds,
        compile_seconds=still_to_compile + (time.perf_counter() - compiler.begun),
        rate=episodes / train_seconds,
    )


def check_host_memory(spec: Spec) -> None:
    """Refuses a sweep that this host cannot hold, before anything of it is made.

    Args:
      spec: the sweep.

    Raises:
      UserError: one line with what it would take.
    """
    available = available_memory()
    varied = [axis for axis in spec.axes if axis.of_scenario]
    environments = min(spec.count, math.prod(len(axis.choices) or spec.count for axis in varied))
    curves = 2 * 4 * spec.runs * (10 * min(CURVE_POINTS, int(_CURVE_NUMBERS / (9 * spec.runs)) + 1) + 20)
    needed = environments * _ENVIRONMENT_BYTES + spec.count * _JOB_BYTES + curves
    if available and needed > 0.8 * available:
        what = f"{spec.runs:,} runs in up to {environments:,} environments take about {needed / 2**30:,.1f} GiB"
        raise UserError(
            f"{spec.where}: does not fit in memory: {what} of this host, which has {available / 2**30:,.1f}"
        )


def curve_points(work: Work) -> int:
    """Points of a learning curve that are kept, at most `CURVE_POINTS`: fewer where there are very many runs.

    Args:
      work: all rows.

    Returns:
      How many.
    """
    updates = max(shape.config.updates for shape in work.shapes)
    return int(min(updates, np.clip(_CURVE_NUMBERS / (9 * max(1, work.spec.runs)), 1, CURVE_POINTS)))


def result_bytes(work: Work) -> int:
    """What the results of all rows take on the host, bytes, held twice while they are written.

    Args:
      work: all rows.

    Returns:
      Bytes.
    """
    return 2 * 4 * work.spec.runs * (10 * curve_points(work) + 20)


def _split(spec: Spec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Static and traced axes."""
    static = tuple(axis.key for axis in spec.axes if axis.static)
    return static, tuple(axis.key for axis in spec.axes if not axis.static)


def _seconds_a_call(work: Work, compiler: Compiler, shape: Shape) -> float:
    """Measured on a few updates of full lanes."""
    program, rows = compiler.training(shape), work.rows_of(work.shapes.index(shape))
    given = work.training(np.resize(rows, program.batch))
    few = min(_TIMED_UPDATES, shape.config.updates)
    timed = []
    jax.block_until_ready(program(given, np.int32(few)))
    for stop in (0, few):
        begun = time.perf_counter()
        jax.block_until_ready(program(given, np.int32(stop)))
        timed.append(time.perf_counter() - begun)
    return timed[0] + max(0.0, timed[1] - timed[0]) * shape.config.updates / few


def _process_peak(computing: int, results: int, target: Target) -> int:
    """Resident memory at its highest, from what the process holds now and held at most; 0: not known."""
    now, before = resident_memory(), peak_memory()
    if not target.shares_memory:
        computing = 0
    return max(before, now + computing + results) if now else 0
