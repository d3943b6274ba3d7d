"""Carries a sweep out, on all hosts and devices, or says what that would take."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from aljax.errors import UserError
from aljax.sweeps.compiler import fitting
from aljax.sweeps.execute import Watch, carry_out, prepared, receipt
from aljax.sweeps.gathered import Gathered
from aljax.sweeps.hosts import recall, share, standing
from aljax.sweeps.plan import SweepPlan, make_sweep_plan
from aljax.sweeps.programs import make_mesh
from aljax.sweeps.reader import make_spec, read_spec
from aljax.sweeps.results import Results
from aljax.sweeps.search import plan_search, search
from aljax.sweeps.space import Spec
from aljax.sweeps.tables import check_parquet, write_results


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
        return search(spec, out, lanes=lanes, devices=devices, memory_limit=memory_limit, watch=watch, study=study)
    if study is not None:
        raise UserError(f"--study is for adaptive methods, {spec.where} has method {spec.method}")
    watch, folder = watch or Watch(), None if out is None else Path(out)
    if folder is not None:
        check_parquet()
    with contextlib.ExitStack() as stack:
        at = standing(spec, folder, lanes, stack)
        if at.complete:
            return _complete(spec, at.found)
        work, store = prepared(spec), at.store
        watch.step("compiling")
        compiler = fitting(work, make_mesh(devices), at.lanes, memory_limit)
        if store is not None:
            store.begin(spec, compiler.lanes)
        gathered = Gathered(work)
        recall(gathered, store)
        share(gathered)
        plan = make_sweep_plan(work, compiler, watch.step)
        watch.planned(plan, int(gathered.row_done.sum()))
        seconds = carry_out(work, compiler, gathered, store, watch)
        found = gathered.results()
        if store is not None:
            write_results(found, store.folder)
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
    """What `sweep` would do, without doing it: programs are compiled and timed, nothing is written.

    Args:
      what: as for `sweep`.
      out: as for `sweep`; lanes that are recorded there are kept to.
      lanes: as for `sweep`.
      devices: as for `sweep`.
      memory_limit: as for `sweep`.
      watch: is told what takes a while.

    Returns:
      The plan.

    Raises:
      UserError: as `sweep`.
    """
    spec, watch = _spec(what), watch or Watch()
    lanes = standing(spec, None if out is None else Path(out), lanes).lanes
    if spec.adaptive:
        return plan_search(spec, lanes, devices, memory_limit, watch)
    work = prepared(spec)
    watch.step("compiling")
    return make_sweep_plan(work, fitting(work, make_mesh(devices), lanes, memory_limit), watch.step)


def _spec(what: Spec | Mapping[str, Any] | str | Path) -> Spec:
    """The sweep itself, whichever way it is given."""
    if isinstance(what, Spec):
        return what
    return make_spec(what) if isinstance(what, Mapping) else read_spec(what)


def _complete(spec: Spec, found: Results | None) -> Results:
    """The results that the first host found in its folder, on all hosts."""
    if found is not None and jax.process_count() == 1:
        return found
    gathered = Gathered(prepared(spec))
    if found is not None:
        gathered.put_results(found)
    share(gathered)
    return gathered.results()
