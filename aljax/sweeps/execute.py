"""Does a sweep's work: chunk after chunk, each kept as soon as it is finished.

A plain run (`aljax.sweeps.run`) and a search (`aljax.sweeps.search`) both stand on this.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from aljax.host.memory import peak_memory
from aljax.host.numerics import versions
from aljax.sweeps.compiler import Compiler
from aljax.sweeps.gathered import Gathered, played_arrays, training_arrays
from aljax.sweeps.plan import SweepPlan, check_host_memory
from aljax.sweeps.programs import Program, Result
from aljax.sweeps.results import Results
from aljax.sweeps.space import Spec
from aljax.sweeps.store import Store
from aljax.sweeps.work import Work, batches


class Watch:
    """What a sweep tells while it runs. Subclass what you care about."""

    def step(self, doing: str) -> None:
        """Something that takes a while begins, before the plan is there."""

    def planned(self, plan: SweepPlan, done: int) -> None:
        """The plan is made; so many runs are already there."""

    def warned(self, what: str) -> None:
        """Something went wrong that does not stop the sweep."""

    def advanced(self, doing: str, done: int, total: int) -> None:
        """So many of the runs, or of the optima, are there."""


def prepared(spec: Spec) -> Work:
    """All work of a sweep whose points are known.

    Args:
      spec: a sweep that is not adaptive.

    Returns:
      Its configurations, resolved.

    Raises:
      UserError: the host has no memory for it, or a value is refused.
    """
    check_host_memory(spec)
    work = Work(spec)
    work.add(spec.points())
    return work


def carry_out(
    work: Work, compiler: Compiler, gathered: Gathered, store: Store | None, watch: Watch
) -> dict[str, float]:
    """Does what is not done: trains the rows, then finds the optima.

    Args:
      work: what there is to do.
      compiler: makes and keeps the programs.
      gathered: says what is done already, and takes in the rest.
      store: keeps each chunk as soon as it is finished; None: nothing is kept.
      watch: is told how far it is.

    Returns:
      Seconds of each, ``train`` and ``optimal``, compilations that were still to be made included.

    Raises:
      UserError: a chunk cannot be written.
    """
    begun = time.perf_counter()

    def keep(kind: str, put: Callable[..., None], items: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        if store is not None:
            store.write_chunk(kind, items, arrays)
        put(items, arrays)

    for index, shape in enumerate(work.shapes):
        stop, batch = np.int32(shape.config.updates), shape.config.batch
        rows = work.rows_of(index)
        if gathered.row_done[rows].all():
            continue
        program = compiler.training(shape)
        calls = (
            (items, program(work.training(items), stop)) for items in batches(rows, gathered.row_done, program.batch)
        )
        for items, result in _overlapping(program, calls):
            keep("train", gathered.put_rows, items, training_arrays(result, batch, gathered.points))
            watch.advanced("training", int(gathered.row_done.sum()), work.rows)
        compiler.drop(shape)
    trained = time.perf_counter()
    solvings = work.solvings
    total = sum(len(work.pairs_of(solving)) for solving in solvings)
    for solving in solvings:
        pairs = work.pairs_of(solving)
        if gathered.pair_done[pairs].all():
            continue
        program = compiler.solving(solving)
        calls = ((items, program(work.solving(items))) for items in batches(pairs, gathered.pair_done, program.batch))
        for items, played in _overlapping(program, calls):
            keep("optimal", gathered.put_pairs, items, played_arrays(played))
            watch.advanced("finding optima", int(gathered.pair_done.sum()), total)
        compiler.drop(solving)
    return {"train": trained - begun, "optimal": time.perf_counter() - trained}


def _overlapping(program: Program, calls: Iterable[tuple[np.ndarray, Any]]) -> Iterable[tuple[np.ndarray, Any]]:
    """Fetches what each call gave, the next one already at work on the devices."""
    before: tuple[np.ndarray, Any] | None = None
    for items, result in calls:
        if isinstance(result, Result):
            result = result._replace(variables=())  # a row's policy is trained again when it is wanted
        if before is not None:
            yield before[0], program.fetch(before[1], len(before[0]))
        before = items, result
    if before is not None:
        yield before[0], program.fetch(before[1], len(before[0]))


def receipt(found: Results, plan: SweepPlan, compiler: Compiler, seconds: dict[str, float]) -> dict[str, Any]:
    """What ``manifest.json`` says beside the version.

    Args:
      found: the results.
      plan: what was expected.
      compiler: which counted the compilations.
      seconds: of each part of the work.

    Returns:
      Values for JSON.
    """
    return {
        "plan": plan.to_json(),
        "compilations": compiler.compiled,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "process_bytes": peak_memory(),
        "diverged": len(found.diverged),
        "versions": versions(),
    }
