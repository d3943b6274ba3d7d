"""Adaptive search: Optuna chooses the points of a sweep, a batch at a time, by what earlier ones came to.

Batches fill the compiled program. The study (`aljax.sweeps.study`) deals the points out to any number of workers;
learning curves are only in the folder of the worker that trained them.
"""

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax.errors import UserError, plain_path
from aljax.sweeps.compiler import Compiler, fitting
from aljax.sweeps.database import sqlite_url
from aljax.sweeps.execute import Watch, carry_out, receipt
from aljax.sweeps.gathered import Gathered
from aljax.sweeps.identity import agreed_lanes, recorded_lanes
from aljax.sweeps.locks import SharedStore, shared
from aljax.sweeps.plan import SweepPlan, check_host_memory, make_sweep_plan
from aljax.sweeps.programs import Shape, make_mesh
from aljax.sweeps.resolve import Resolver
from aljax.sweeps.results import Results
from aljax.sweeps.sampler import check_method
from aljax.sweeps.space import Spec
from aljax.sweeps.store import Store
from aljax.sweeps.study import Claim, Study, joined_study
from aljax.sweeps.tables import check_parquet, read_results, write_results
from aljax.sweeps.trials import Point
from aljax.sweeps.work import Work

POLL_SECONDS = 1.0
"""How often a worker that has nothing to do looks whether the others are done."""
_STUDY = "study.db"


def search(
    spec: Spec,
    out: str | Path | None = None,
    *,
    lanes: int | None = None,
    devices: int | None = None,
    memory_limit: float | None = None,
    watch: Watch | None = None,
    study: str | None = None,
) -> Results:
    """Trains the configurations that Optuna asks for, together with all other workers on the same study.

    Row r of the results is what training that configuration alone with that seed gives, as in `sweep`.

    Args:
      spec: an adaptive sweep.
      out: a folder to keep finished chunks and the results in. Several workers may share it.
      lanes: runs side by side on each device; None: as recorded, or what is good for the platform and fits in memory.
      devices: how many of this host's devices to use; None: all.
      memory_limit: bytes on each device; None: 80 % of what is there.
      watch: is told about plan and progress; of the runs, about all workers'.
      study: SQLAlchemy URL of the database that the workers share; None: ``OUT/study.db``, or this process's memory.

    Returns:
      The table of the whole study, and the curves of what this folder's workers trained.

    Raises:
      UserError: what the method cannot do, a package that is missing, a folder or study that holds something else,
        several hosts in one program, or too little memory.
    """
    if jax.process_count() > 1:
        raise UserError(f"{spec.where}: {spec.method}: run one worker a host, without joining them, on one --study URL")
    check_method(spec)
    check_host_memory(spec)
    watch, folder = watch or Watch(), None if out is None else Path(out)
    if folder is not None:
        check_parquet()
        lanes = agreed_lanes(plain_path(folder), recorded_lanes(folder, spec), lanes)
        if Store(folder).complete:
            found = read_results(folder, spec)
            Store(folder).tidy()
            return found
    with contextlib.ExitStack() as stack:
        ours = None
        if study is not None:
            ours = stack.enter_context(joined_study(spec, study))
            lanes = agreed_lanes("study", ours.recorded_lanes(), lanes)
        resolver = Resolver(spec)
        store = None if folder is None else stack.enter_context(shared(folder, spec))
        compiler = _fitting(spec, resolver, lanes, devices, memory_limit, watch)
        if store is not None:
            store.begin(spec, compiler.lanes)
        if ours is None:
            ours = stack.enter_context(joined_study(spec, None if folder is None else sqlite_url(folder / _STUDY)))
        if store is not None:
            # The folder's own study has no other workers than the folder.
            stack.enter_context(store.joined((lambda: None) if study is not None else ours.abandon))
        ours.agree(compiler.lanes)
        worker = _Worker(spec, ours, compiler, resolver, store, watch)
        plan = _plan(spec, compiler, resolver, watch)
        watch.planned(plan, ours.done() * spec.protocol.seeds)
        begun = time.perf_counter()
        worker.work()
        return worker.finish(plan, begun)


def plan_search(
    spec: Spec, lanes: int | None, devices: int | None, memory_limit: float | None, watch: Watch
) -> SweepPlan:  # fmt: skip
    """What `search` would do in a study of its own, without doing it; nothing is written.

    Args:
      spec: an adaptive sweep.
      lanes: as for `search`.
      devices: as for `search`.
      memory_limit: as for `search`.
      watch: is told what takes a while.

    Returns:
      The plan.

    Raises:
      UserError: as `search`.
    """
    check_method(spec)
    check_host_memory(spec)
    resolver = Resolver(spec)
    return _plan(spec, _fitting(spec, resolver, lanes, devices, memory_limit, watch), resolver, watch)


def first_points(spec: Spec, batch: int) -> list[Point]:
    """The first points that a search asks for, without writing anything.

    Args:
      spec: an adaptive sweep.
      batch: how many.

    Returns:
      The points.

    Raises:
      UserError: what the method cannot do, or a package that is missing.
    """
    check_method(spec)
    with joined_study(spec, None) as joined:
        return [claim.point for claim in joined.ask(batch)]


def batch_size(spec: Spec, lanes: int, devices: int) -> int:
    """Configurations that fill a program: all their seeds in the lanes of all devices; at least one.

    Args:
      spec: the search.
      lanes: runs side by side on each device.
      devices: how many.

    Returns:
      How many.
    """
    return max(1, min(spec.count, lanes * devices // spec.protocol.seeds))


class _Worker:
    """Does what the study deals out, until all of it is done, and makes the table."""

    def __init__(
        self, spec: Spec, joined: Study, compiler: Compiler, resolver: Resolver, store: SharedStore | None,
        watch: Watch,
    ):  # fmt: skip
        self.spec, self.joined, self.compiler, self.resolver = spec, joined, compiler, resolver
        self.store, self.watch = store, watch
        self.batch = batch_size(spec, compiler.lanes, compiler.mesh.size)
        self.kept: list[tuple[np.ndarray, Mapping[str, np.ndarray]]] = []
        """Without a folder: what this worker trained."""

    def work(self) -> None:
        """Until every configuration of the study is done, by this worker or another."""
        seeds = self.spec.protocol.seeds
        while not self.joined.finished():
            claims = self.joined.ask(self.batch)
            while self.joined.given_up:
                index, why = self.joined.given_up.popitem()
                self.watch.warned(f"configuration {index} is given up, and counts as diverged: {why}")
            if claims:
                self.joined.tell(claims, self.train(claims))
                self.watch.advanced("training", self.joined.done() * seeds, self.spec.runs)
            else:
                time.sleep(POLL_SECONDS)

    def train(self, claims: Sequence[Claim]) -> list[dict[str, list[Any]]]:
        """What each configuration came to, a list over seeds for each figure."""
        # Optima are found once, in the end: here none are prepared.
        work = Work(dataclasses.replace(self.spec, optimum=False), self.resolver)
        work.add([claim.point for claim in claims])
        self.compiler.work = work
        rows = _rows([claim.index for claim in claims], work.seeds)
        gathered = Gathered(work)
        store = None if self.store is None else _Renumbered(self.store.folder, rows)
        carry_out(work, self.compiler, gathered, store, Watch())
        if store is None:
            curves = {f"curve_{name}": values for name, values in gathered.curves.items()}
            self.kept.append((rows, gathered.rows | curves))
        local = _rows(range(len(claims)), work.seeds).reshape(-1, work.seeds)
        return [{name: values[mine].tolist() for name, values in gathered.rows.items()} for mine in local]

    def finish(self, plan: SweepPlan, begun: float) -> Results:
        """The table of the study, the optima, and all of it written where there is a folder."""
        if self.store is None:
            return self.results()
        with self.store.finishing():  # one worker of a folder finishes for all
            if self.store.complete:
                return read_results(self.store.folder, self.spec)
            trained = time.perf_counter()
            found = self.results()
            seconds = {"train": trained - begun, "optimal": time.perf_counter() - trained}
            write_results(found, self.store.folder)
            given_up = {"given_up": self.joined.all_given_up()}
            self.store.finish(receipt(found, plan, self.compiler, seconds) | given_up)
            return found

    def results(self) -> Results:
        """Everything that the study and this folder know, with the optima."""
        points, figures = self.joined.table()
        work = Work(self.spec, self.resolver)
        work.add(points)
        gathered = Gathered(work)
        for items, arrays in self.kept:
            gathered.put_rows(items, arrays)
        if self.store is not None:
            self.store.read_chunks("train", gathered.put_rows)
        for name, values in gathered.rows.items():
            values[:] = np.ravel([found[name] for found in figures])
        gathered.row_done[:] = True
        if self.store is not None:
            self.store.read_chunks("optimal", gathered.put_pairs)
        self.compiler.work = work
        carry_out(work, self.compiler, gathered, self.store, self.watch)
        return gathered.results()


class _Renumbered(Store):
    """The folder, for a batch that counts its own rows from 0."""

    def __init__(self, folder: Path, rows: np.ndarray):
        super().__init__(folder)
        self.rows = rows

    def write_chunk(self, kind: str, items: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Store.write_chunk`; kept under the rows of the table, which no other worker has."""
        super().write_chunk(kind, self.rows[items], arrays)


def _rows(configurations: Sequence[int], seeds: int) -> np.ndarray:
    """Rows of configurations, in their order."""
    return (np.asarray(configurations)[:, None] * seeds + np.arange(seeds)).ravel()


def _fitting(
    spec: Spec, resolver: Resolver, lanes: int | None, devices: int | None, memory_limit: float | None, watch: Watch
) -> Compiler:  # fmt: skip
    """A compiler with the lanes for all points that may be asked for."""
    watch.step("compiling")
    compiler = fitting(_demanding(spec, resolver), make_mesh(devices), lanes, memory_limit)
    compiler.keep = True  # shapes come back in later batches
    return compiler


def _plan(spec: Spec, compiler: Compiler, resolver: Resolver, watch: Watch) -> SweepPlan:
    """The plan of a search from that of the first batch of it: later ones are taken to be alike."""
    work = Work(spec, resolver)
    work.add(first_points(spec, batch_size(spec, compiler.lanes, compiler.mesh.size)))
    compiler.work = work
    plan = make_sweep_plan(work, compiler, watch.step)
    share = spec.count / plan.configurations
    return dataclasses.replace(
        plan,
        configurations=spec.count,
        episodes=round(plan.episodes * share),
        seconds=plan.seconds + (share - 1) * plan.episodes / plan.rate,
    )


def _demanding(spec: Spec, resolver: Resolver) -> Work:
    """The configuration whose program takes the most memory, or nearly: it decides about the lanes."""
    point = list(first_points(spec, 1)[0])
    for place, axis in enumerate(spec.axes):
        if axis.static:
            tried = []
            for value in axis.choices or (axis.low, axis.high):
                with contextlib.suppress(UserError):  # not every combination need be possible
                    candidate = [*point[:place], value if axis.choices else round(value), *point[place + 1 :]]
                    job = resolver.job(candidate)
                    tried.append((Shape.of(job.scenario, job.config).memory, candidate))
            point = max(tried, key=lambda pair: pair[0])[1] if tried else point
    work = Work(dataclasses.replace(spec, optimum=False), resolver)
    work.add([tuple(point)])
    return work
