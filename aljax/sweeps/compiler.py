"""The programs of a sweep as they are asked for, with as many lanes as fit in memory."""

import math
import time

import jax
import numpy as np
from jax.sharding import Mesh

from aljax import limits
from aljax.errors import UserError, short
from aljax.host.memory import available_memory
from aljax.seeds import target_on
from aljax.sweeps import programs
from aljax.sweeps.programs import Program, Shape, Solving, numpy_row
from aljax.sweeps.space import MOST_RUNS
from aljax.sweeps.work import Work

SOLVED_AT_ONCE = 4
"""Environments and seeds whose optimum one call finds on each device, one after the other."""


class Compiler:
    """Compiles programs when they are first asked for, and counts them."""

    def __init__(self, work: Work, mesh: Mesh, lanes: int):
        self.work, self.mesh, self.lanes = work, mesh, lanes
        self.compiled = 0
        self.keep = False
        """Programs are wanted again and again: none is dropped."""
        self.begun = time.perf_counter()
        self._programs: dict[Shape | Solving, Program] = {}

    def training(self, shape: Shape) -> Program:
        """The training program of a shape, compiled if it was not.

        Args:
          shape: one of the work's.

        Returns:
          Takes rows and the update to stop at.
        """
        if shape not in self._programs:
            first = self.work.rows_of(self.work.shapes.index(shape))[:1]
            example = numpy_row(self.work.training(first), 0)
            episodes = self.work.spec.protocol.evaluation_episodes
            self._programs[shape] = programs.training_program(shape, self.mesh, self.lanes, episodes, example)
            self.compiled += 1
        return self._programs[shape]

    def solving(self, solving: Solving) -> Program:
        """The program of exact optima of a structure, compiled if it was not.

        Args:
          solving: one of the work's.

        Returns:
          Takes pairs of environment and seed.
        """
        if solving not in self._programs:
            example = numpy_row(self.work.solving(self.work.pairs_of(solving)[:1]), 0)
            episodes = self.work.spec.protocol.evaluation_episodes
            self._programs[solving] = programs.solving_program(solving, self.mesh, SOLVED_AT_ONCE, episodes, example)
            self.compiled += 1
        return self._programs[solving]

    def drop(self, key: Shape | Solving) -> None:
        """Gives a program's memory back."""
        if not self.keep:
            self._programs.pop(key, None)


def fitting(work: Work, mesh: Mesh, lanes: int | None, limit: float | None) -> Compiler:
    """A compiler with as many lanes as fit in memory, the largest program compiled.

    Args:
      work: all of it.
      mesh: devices.
      lanes: as recorded or asked for; None: as many as are good for the platform.
      limit: bytes on each device; None: 80 % of an accelerator's, or of this host's available memory.

    Returns:
      The compiler; its lanes are those that fit.

    Raises:
      UserError: not even one run fits, or not the lanes that were recorded or asked for.
    """
    largest = max(work.shapes, key=lambda shape: shape.memory)
    if limit is not None and not limit > 0:
        raise UserError(f"memory: expected a number of bytes above 0, got {limit}")
    if lanes is not None and not 1 <= lanes <= MOST_RUNS:
        raise UserError(f"lanes: expected a whole number from 1 to {MOST_RUNS:,}, got {short(lanes)}")
    limit = limit or _memory_limit(mesh)
    tried = lanes or target_on(mesh).lanes
    each = (largest.config.batch, "episodes"), (largest.steps, "steps"), (largest.seen, "numbers seen")
    while lanes is None and tried > 1 and tried * math.prod(size for size, _ in each) > limits.MOST_NUMBERS:
        tried //= 2
    limits.check_size("lanes", "a program", (tried, "runs side by side"), *each)
    while True:
        compiler = Compiler(work, mesh, tried)
        needed = _needed(compiler, largest)
        if needed <= limit:
            return compiler
        much = f"{needed / 2**20:,.0f} MiB" if math.isfinite(needed) else "more than the compiler can place"
        said = f"{tried} runs side by side need {much} on each device, limit {limit / 2**20:,.0f}"
        if lanes is not None or tried == 1:
            raise UserError(f"{work.spec.where}: does not fit in memory: {said}")
        # Almost all of it grows with the lanes.
        share = limit / needed if math.isfinite(needed) else 0.5
        tried = max(1, min(tried // 2, 2 ** int(np.log2(max(1.0, tried * share)))))


def _needed(compiler: Compiler, shape: Shape) -> float:
    """Bytes on each device that a shape's program takes; infinite: the compiler found no room, and gave none."""
    try:
        return compiler.training(shape).memory.total
    except RuntimeError as error:  # as a TPU's compiler does, which places everything itself
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return math.inf


def _memory_limit(mesh: Mesh) -> float:
    """Bytes on each device that a program may take."""
    device = next(d for d in mesh.devices.flat if d.process_index == jax.process_index())
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and stats.get("bytes_limit"):
        return 0.8 * stats["bytes_limit"]
    local = len([d for d in mesh.devices.flat if d.process_index == jax.process_index()])
    return 0.8 * (available_memory() or 2**33) / local
