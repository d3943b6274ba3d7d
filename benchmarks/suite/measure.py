"""Timing: compilation apart, repeats, wall and processor seconds, and what the compiler says about a program."""

import dataclasses
import hashlib
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program and what compiling it took."""

    call: Callable[..., Any]
    """Runs it; takes what it was compiled for."""
    notes: dict[str, Any]
    """``compile_seconds``, ``compile_cpu_seconds``, ``compiler`` (flops, bytes) and ``memory`` (bytes by kind)."""

    @property
    def bytes(self) -> int:
        """Memory that the program takes while it runs, by the compiler; 0 where it does not tell."""
        return sum(self.notes["memory"].values())


def compiled(function: Callable[..., Any], *args: Any) -> Program:
    """Compiles a function, jitted or not, for arguments like these."""
    jitted = function if hasattr(function, "lower") else jax.jit(function)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    program = jitted.lower(*args).compile()
    notes = {
        "compile_seconds": time.perf_counter() - begun,
        "compile_cpu_seconds": time.process_time() - begun_cpu,
        "compiler": _costs(program),
        "memory": _memory(program),
    }
    return Program(program, notes)


def _costs(program: Any) -> dict[str, float]:
    """The compiler's count of floating-point operations and of bytes read and written.

    A loop's body counts once, however often it runs, so these are of one pass through every loop.
    """
    found = program.cost_analysis() or {}
    found = found[0] if isinstance(found, list) else found
    names = {"flops": "flops", "bytes_accessed": "bytes accessed"}
    return {name: float(found[key]) for name, key in names.items() if key in found}


def _memory(program: Any) -> dict[str, int]:
    """Bytes of arguments, outputs and temporaries, each on one device."""
    found = program.memory_analysis()
    if found is None:
        return {}
    return {
        "arguments": int(found.argument_size_in_bytes),
        "outputs": int(found.output_size_in_bytes),
        "temporary": int(found.temp_size_in_bytes),
    }


def statistics(values: Sequence[float]) -> dict[str, Any]:
    """Median, extremes, quartiles and every value."""
    low, median, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    return {
        "median": median,
        "min": float(min(values)),
        "max": float(max(values)),
        "quartiles": [low, high],
        "all": [float(value) for value in values],
    }


def repeated(
    work: Callable[[], Any],
    repeats: int,
    *,
    seconds: float = 30.0,
    fetch: Callable[[Any], Sequence[np.ndarray]] | None = None,
) -> dict[str, Any]:
    """Times `work` again and again after one call that warms up.

    Args:
      work: what to time. What it returns is waited for and then, outside of the timing, checked.
      repeats: how often.
      seconds: stop early once this much time is spent, but not before 2 repeats.
      fetch: arrays of a result on the host; by default all leaves of a tree.

    Returns:
      ``seconds`` and ``cpu_seconds`` (see `statistics`), ``repeats``, ``stopped_early``, ``outputs_sha256``, and
      ``repeats_bitwise_equal``: whether every repeat gave the same bytes.
    """
    fetch = fetch or (lambda result: [np.asarray(leaf) for leaf in jax.tree.leaves(result)])
    digests, wall, cpu = {digest(fetch(jax.block_until_ready(work())))}, [], []
    last = ""
    while len(wall) < repeats and (len(wall) < 2 or sum(wall) < seconds):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        result = jax.block_until_ready(work())
        cpu.append(time.process_time() - begun_cpu)
        wall.append(time.perf_counter() - begun)
        last = digest(fetch(result))
        digests.add(last)
        del result
    return {
        "seconds": statistics(wall),
        "cpu_seconds": statistics(cpu),
        "repeats": len(wall),
        "stopped_early": len(wall) < repeats,
        "outputs_sha256": last,
        "repeats_bitwise_equal": len(digests) == 1,
    }


def measured(function: Callable[..., Any], *args: Any, repeats: int, seconds: float = 30.0) -> dict[str, Any]:
    """Compiles, then times a function on its arguments: `repeated`, and a `Program`'s notes."""
    program = compiled(function, *args)
    return repeated(lambda: program.call(*args), repeats, seconds=seconds) | program.notes


def digest(arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 of arrays' bytes: every output was there."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def peak_memory() -> int:
    """The most bytes of memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
