"""Carries a sweep out: chunk after chunk, each kept as soon as it is finished."""

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax.errors import UserError, plain_path
from aljax.host.numerics import numerics, versions
from aljax.sweeps import results as results_
from aljax.sweeps.plan import Compiler, SweepPlan, check_host_memory, fitting, make_sweep_plan, peak_memory
from aljax.sweeps.programs import Program, Result, make_mesh
from aljax.sweeps.reader import make_spec, read_spec
from aljax.sweeps.results import Gathered, Results, played_arrays, training_arrays
from aljax.sweeps.space import Spec
from aljax.sweeps.store import Store, agreed_lanes, opened, recorded_lanes
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


def sweep(
    what: Spec | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    lanes: int | None = None,
    devices: int | None = None,
    memory_limit: float | None = None,
    watch: Watch | None = None,
    study: str | None = None,
) -> Results:
    """Trains every configuration of a sweep with every seed, in compiled programs over all devices.

    Row r of the results is what training that configuration alone with that seed gives (`aljax train --from`).

    Args:
      what: the path of a sweep file, its contents as a mapping, or a `Spec`.
      out: a folder to keep finished chunks and the results in (needs pyarrow); a sweep that was stopped goes on where
        it was. None: nothing is kept but what is returned.
      lanes: runs side by side on each device; None: what is good for the platform and fits in memory.
      devices: how many of all devices to use; None: all.
      memory_limit: bytes on each device; None: 80 % of what is there.
      watch: is told about plan and progress.
      study: for adaptive methods: the database that holds their trials; None: SQLite in the folder.

    Returns:
      The table and the curves; under several hosts on each of them.

    Raises:
      UserError: a bad sweep, a folder that holds something else, or too little memory.
    """
    spec = _spec(what)
    if spec.adaptive:
        from aljax.sweeps.search import search

        return search(spec, out, lanes=lanes, devices=devices, memory_limit=memory_limit, watch=watch, study=study)
    if study is not None:
        raise UserError(f"--study is for adaptive methods, {spec.where} has method {spec.method}")
    watch, folder = watch or Watch(), None if out is None else Path(out)
    if folder is not None:
        results_.check_parquet()
    with contextlib.ExitStack() as stack:
        begun = _begun(spec, folder, lanes, stack)
        if begun.complete:
            return _complete(spec, begun.found)
        work, store = prepared(spec), begun.store
        watch.step("compiling")
        compiler = fitting(work, make_mesh(devices), begun.lanes, memory_limit)
        if store is not None:
            store.begin(spec, compiler.lanes)
        gathered = Gathered(work)
        _recall(gathered, store)
        _share(gathered)
        plan = make_sweep_plan(work, compiler, watch.step)
        watch.planned(plan, int(gathered.row_done.sum()))
        seconds = carry_out(work, compiler, gathered, store, watch)
        found = gathered.results()
        if store is not None:
            results_.write(found, store.folder)
            store.finish(receipt(found, plan, compiler, seconds))
    return found


def plan_only(
    what: Spec | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    lanes: int | None = None,
    devices: int | None = None,
    memory_limit: float | None = None,
    watch: Watch | None = None,
) -> SweepPlan:
    """What `sweep` would do, without doing it. Arguments as there; nothing is written."""
    spec, watch = _spec(what), watch or Watch()
    lanes = _begun(spec, None if out is None else Path(out), lanes).lanes
    if spec.adaptive:
        from aljax.sweeps.search import plan_search

        return plan_search(spec, lanes, devices, memory_limit, watch)
    work = prepared(spec)
    watch.step("compiling")
    return make_sweep_plan(work, fitting(work, make_mesh(devices), lanes, memory_limit), watch.step)


def prepared(spec: Spec) -> Work:
    """All work of a sweep whose points are known.

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

    Returns:
      Seconds of each, compilations that were still to be made included.
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


def _spec(what: Spec | Mapping[str, Any] | str | Path) -> Spec:
    if isinstance(what, Spec):
        return what
    return make_spec(what) if isinstance(what, Mapping) else read_spec(what)


@dataclasses.dataclass(frozen=True)
class _Begun:
    """Where a sweep stands; lanes and completeness are the same on every host."""

    lanes: int | None
    """As recorded, or asked for."""
    complete: bool
    store: Store | None = None
    """The first host's folder, for this process alone."""
    found: Results | None = None
    """What is in it, where it is complete."""


def _begun(
    spec: Spec, folder: Path | None, lanes: int | None, stack: contextlib.ExitStack | None = None
) -> _Begun:  # fmt: skip
    """Looks at a sweep's folder, and takes it for this process.

    Args:
      spec: what the sweep is.
      folder: where, if anywhere.
      lanes: asked for.
      stack: holds the folder; None: it is looked at only.

    Raises:
      UserError: the folder holds something else, or hosts were given different sweeps.
    """
    recorded, complete, store, found, refusal = None, False, None, None, None
    if folder is not None and jax.process_index() == 0:
        try:
            recorded = recorded_lanes(folder, spec)
            agreed_lanes(plain_path(folder), recorded, lanes)
            if stack is not None and not Store(folder).complete:
                store = stack.enter_context(opened(folder, spec))
                recorded = recorded_lanes(folder, spec)
            complete = Store(folder).complete
            if complete and stack is not None:
                found = results_.read(folder, spec)
                Store(folder).tidy()
        except UserError as error:
            refusal = error
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        mine = np.stack([_digest(spec.fingerprint()), _digest(numerics())])
        state = np.array([recorded or 0, complete, refusal is not None], np.int32)
        theirs, state = multihost_utils.broadcast_one_to_all((mine, state))
        if refusal is None and state[2]:
            refusal = UserError("the first host refused the sweep; it says why")
        for one, first, what in zip(mine, theirs, ("sweep", "versions, precision or processor"), strict=True):
            if refusal is None and not np.array_equal(one, first):
                refusal = UserError(f"{spec.where}: differs from the first host's {what}")
        recorded, complete = int(state[0]) or None, bool(state[1])
    if refusal is not None:
        raise refusal
    return _Begun(agreed_lanes(plain_path(folder or ""), recorded, lanes), complete, store, found)


def _digest(value: Any) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest(), np.uint8)


def _complete(spec: Spec, found: Results | None) -> Results:
    """The results that the first host found in its folder, on all hosts."""
    if found is not None and jax.process_count() == 1:
        return found
    gathered = Gathered(prepared(spec))
    if found is not None:
        gathered.put_results(found)
    _share(gathered)
    return gathered.results()


def _recall(gathered: Gathered, store: Store | None) -> None:
    """Takes in what finished before."""
    if store is None:
        return
    store.read_chunks("train", gathered.put_rows)
    store.read_chunks("optimal", gathered.put_pairs)


def _share(gathered: Gathered) -> None:
    """Tells all hosts what the first one, which keeps the folder, has from before."""
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    had = (gathered.row_done, gathered.pair_done)
    if not any(np.any(multihost_utils.broadcast_one_to_all(done)) for done in had):
        return
    had = (gathered.rows, gathered.pairs, gathered.curves, *had)
    # Broadcast in single precision, which the figures came in.
    shared = jax.tree.map(
        lambda mine, theirs: np.array(theirs, mine.dtype), had, multihost_utils.broadcast_one_to_all(had)
    )
    gathered.rows, gathered.pairs, gathered.curves, gathered.row_done, gathered.pair_done = shared


def receipt(found: Results, plan: SweepPlan, compiler: Compiler, seconds: dict[str, float]) -> dict[str, Any]:
    """What ``manifest.json`` says beside the version."""
    return {
        "plan": plan.to_json(),
        "compilations": compiler.compiled,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "process_bytes": peak_memory(),
        "diverged": len(found.diverged),
        "versions": versions(),
    }
