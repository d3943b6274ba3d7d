"""Adaptive search: Optuna chooses the points of a sweep, a batch at a time, by what earlier ones came to.

Any number of workers share one study, which deals the points out: a *configuration* of the table is one of the study's
trials together with its retries. A worker tells the study that it is alive; the trials of one that is not are done
again, at the same point, by whoever asks next. What a configuration came to is kept with its trial, so that the table
can be made of the study alone; learning curves are only in the folder of the worker that trained them.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib
import itertools
import json
import math
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax import runs
from aljax.errors import UserError, one_line
from aljax.sweeps import results as results_
from aljax.sweeps.plan import Compiler, SweepPlan, fitting, make_sweep_plan
from aljax.sweeps.programs import Shape, default_lanes, make_mesh
from aljax.sweeps.results import Gathered, Results
from aljax.sweeps.run import Watch, carry_out, receipt
from aljax.sweeps.space import Axis, Resolver, Spec, Value
from aljax.sweeps.store import Store, opened, recorded_lanes
from aljax.sweeps.work import Work

HEARTBEAT_SECONDS = 20
"""How often a worker says that it is still at work on its trials."""
GRACE_SECONDS = 120
"""A worker that has said nothing for so long is taken for dead."""
POLL_SECONDS = 1.0
"""How often a worker that has nothing to do looks whether the others are done."""
_LOCK_SECONDS = 120
"""How long to wait for another worker's turn at an SQLite file."""
_ATTEMPTS = 6
_STUDY, _WORKERS, _FINISHING = "study.db", ".workers", ".finishing"
_FIGURES, _BEGUN = "figures", "begun"
_RETRY_OF = "failed_trial"
"""Where Optuna keeps, of a retried trial, the number of the first."""

Point = tuple[Value, ...]


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
    _check(spec)
    watch, folder = watch or Watch(), None if out is None else Path(out)
    if folder is not None:
        results_.check_parquet()
        lanes = _agreed(str(folder), recorded_lanes(folder, spec), lanes)
        if Store(folder).complete:
            return results_.read(folder, spec)
    with contextlib.ExitStack() as stack:
        joined = None
        if study is not None:
            joined = stack.enter_context(_joined(spec, study))
            lanes = _agreed("study", joined.recorded_lanes(), lanes)
        resolver = Resolver(spec)
        compiler = _fitting(spec, resolver, lanes, devices, memory_limit, watch)
        store = None if folder is None else stack.enter_context(opened(folder, spec, compiler.lanes, shared=True))
        if store is not None:
            _agreed(str(folder), store.about()["lanes"], compiler.lanes)
        if joined is None:
            joined = stack.enter_context(_joined(spec, None if folder is None else _sqlite(folder / _STUDY)))
            if folder is not None:
                stack.enter_context(_member(folder, joined.abandon))
        joined.agree(compiler.lanes)
        worker = _Worker(spec, joined, compiler, resolver, store, watch)
        plan = _plan(spec, compiler, resolver, watch)
        watch.planned(plan, joined.done() * spec.protocol.seeds)
        begun = time.perf_counter()
        worker.work()
        return worker.finish(plan, begun)


def plan_search(
    spec: Spec, lanes: int | None, devices: int | None, memory_limit: float | None, watch: Watch
) -> SweepPlan:  # fmt: skip
    """What `search` would do in a study of its own, without doing it. Arguments as there; nothing is written."""
    _check(spec)
    resolver = Resolver(spec)
    return _plan(spec, _fitting(spec, resolver, lanes, devices, memory_limit, watch), resolver, watch)


def first_points(spec: Spec, batch: int | None = None) -> list[Point]:
    """The first points that a search asks for, without writing anything.

    Args:
      spec: an adaptive sweep.
      batch: how many; None: what fills all devices with the platform's lanes.

    Raises:
      UserError: what the method cannot do, or a package that is missing.
    """
    _check(spec)
    batch = batch or batch_size(spec, default_lanes(), jax.device_count())
    with _joined(spec, None) as joined:
        return [claim.point for claim in joined.ask(batch)]


def batch_size(spec: Spec, lanes: int, devices: int) -> int:
    """Configurations that fill a program, at least one."""
    return max(1, min(spec.count, lanes * devices // spec.protocol.seeds))


@dataclasses.dataclass(frozen=True)
class _Claim:
    """A configuration that this worker is to do."""

    index: int
    """Its place in the table."""
    point: Point
    trial: int
    """This attempt at it, by the database's number."""


class _Worker:
    """Does what the study deals out, until all of it is done, and makes the table."""

    def __init__(
        self, spec: Spec, joined: "_Joined", compiler: Compiler, resolver: Resolver, store: Store | None, watch: Watch
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
            if claims:
                self.joined.tell(claims, self.train(claims))
                self.watch.advanced("training", self.joined.done() * seeds, self.spec.runs)
            else:
                time.sleep(POLL_SECONDS)

    def train(self, claims: Sequence[_Claim]) -> list[dict[str, list[Any]]]:
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
        with (self.store.folder / _FINISHING).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one worker of a folder finishes for all
            if self.store.complete:
                return results_.read(self.store.folder, self.spec)
            trained = time.perf_counter()
            found = self.results()
            seconds = {"train": trained - begun, "optimal": time.perf_counter() - trained}
            results_.write(found, self.store.folder)
            self.store.finish(receipt(found, plan, self.compiler, seconds))
            return found

    def results(self) -> Results:
        """Everything that the study and this folder know, with the optima."""
        points, figures = self.joined.table()
        work = Work(self.spec, self.resolver)
        work.add(points)
        gathered = Gathered(work)
        for items, arrays in self.kept if self.store is None else self.store.read_chunks("train"):
            gathered.put_rows(items, arrays)
        for name, values in gathered.rows.items():
            values[:] = np.ravel([found[name] for found in figures])
        gathered.row_done[:] = True
        if self.store is not None:
            for items, arrays in self.store.read_chunks("optimal"):
                gathered.put_pairs(items, arrays)
        self.compiler.work = work
        carry_out(work, self.compiler, gathered, self.store, self.watch)
        return gathered.results()


class _Renumbered(Store):
    """The folder, for a batch that counts its own rows from 0."""

    def __init__(self, folder: Path, rows: np.ndarray):
        super().__init__(folder)
        self.rows = rows

    def write_chunk(self, kind: str, items: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps a finished chunk under the rows of the table, which no other worker has."""
        super().write_chunk(kind, self.rows[items], arrays)


class _Joined:
    """This worker's part in a study."""

    def __init__(self, spec: Spec, optuna: Any, study: Any, storage: Any, pulse: "_Pulse | None"):
        self.spec, self.optuna, self.study, self.storage, self.pulse = spec, optuna, study, storage, pulse
        self.identity = storage.get_study_id_from_name(study.study_name)
        self.distributions = {axis.key: _distribution(axis, optuna) for axis in spec.axes}
        self.claimed: set[int] = set()
        """Trials of this worker that are at work, by the database's number."""
        self.adopted: set[int] = set()

    def recorded_lanes(self) -> int | None:
        """The lanes that the study was begun with; None: it is new.

        Raises:
          UserError: it was begun on another platform or under other versions.
        """
        begun = self.study.user_attrs.get(_BEGUN)
        if begun is None:
            return None
        for key, value in _here().items():
            if begun[key] != value:
                was = f"begun with {key} {_shown(begun[key])}, this is {_shown(value)}"
                raise UserError(f"study: {was}: rows would not be comparable")
        return begun["lanes"]

    def agree(self, lanes: int) -> None:
        """Records the lanes in a new study.

        Raises:
          UserError: it was begun with others.
        """
        if self.recorded_lanes() is None:
            self.study.set_user_attr(_BEGUN, {"lanes": lanes} | _here())
        _agreed("study", self.recorded_lanes(), lanes)

    def chains(self) -> list[list[Any]]:
        """The trials of each configuration, first attempt first; more than the sweep has where workers asked at once.

        A trial's number is given by the database, one after the other, so that all workers see the same order.
        """
        found: dict[int, list[Any]] = {}
        for trial in sorted(self.study.get_trials(deepcopy=False), key=lambda trial: trial.number):
            found.setdefault(trial.system_attrs.get(_RETRY_OF, trial.number), []).append(trial)
        return list(found.values())

    def done(self) -> int:
        """Configurations that are finished, whoever did them."""
        return sum(_result(chain) is not None for chain in self.chains()[: self.spec.count])

    def finished(self) -> bool:
        """All configurations are."""
        return self.done() == self.spec.count

    def ask(self, most: int) -> list[_Claim]:
        """Configurations for this worker, at most so many, by their place in the table; none: others are at the rest.

        What was begun and not finished comes first, and by itself: then the next batch sees what it would have seen.
        """
        self.recover()
        chains = self.chains()
        attempts = self.queued(chains, most) or self.created(chains, most)
        chains, claims = self.chains(), list[_Claim]()
        for index, chain in enumerate(chains):
            for trial in chain:
                if trial._trial_id not in attempts:
                    continue
                mine = trial._trial_id
                # Two workers may ask for the last configuration, or queue the same retry, at once: the first has it.
                if index >= self.spec.count or _taken(chain, trial.number):
                    self.close(mine, self.optuna.trial.TrialState.FAIL)
                    continue
                if not trial.params:  # left by a worker that died before it drew them
                    (trial,) = self.sampled(chains[:index], 1, most, index)
                    self.fill(mine, trial)
                claims.append(_Claim(index, _point(self.spec, trial), mine))
        return claims

    def queued(self, chains: Sequence[Sequence[Any]], most: int) -> set[int]:
        """Takes what is to be done again."""
        states, found = self.optuna.trial.TrialState, set[int]()
        for trial in itertools.chain.from_iterable(chains[: self.spec.count]):
            if trial.state == states.WAITING and len(found) < most:
                with contextlib.suppress(self.optuna.exceptions.UpdateFinishedTrialError):
                    if self.storage.set_trial_state_values(trial._trial_id, states.RUNNING):
                        self.claim(trial._trial_id)
                        found.add(trial._trial_id)
        return found

    def created(self, chains: Sequence[Sequence[Any]], most: int) -> set[int]:
        """Takes the next configurations. The first is taken before it is drawn: its place is the seed of all."""
        if len(chains) >= self.spec.count:
            return set()
        first = self.storage.create_new_trial(self.identity)
        self.claim(first)
        found, chains = {first}, self.chains()
        index = next(i for i, chain in enumerate(chains) if any(trial._trial_id == first for trial in chain))
        many = min(most, self.spec.count - index)
        if many > 0:
            drawn = self.sampled(chains[:index], many, most, index)
            self.fill(first, drawn[0])
            for trial in drawn[1:]:
                another = self.storage.create_new_trial(self.identity, trial)
                self.claim(another)
                found.add(another)
        return found

    def sampled(self, chains: Sequence[Sequence[Any]], many: int, batch: int, seed: int) -> list[Any]:
        """Draws configurations by what is known of earlier ones.

        That is done in memory, where an attempt is not told from a retry: what is drawn does not depend on how often
        the search was stopped, and the database is not asked at every step.
        """
        optuna, states = self.optuna, self.optuna.trial.TrialState
        study = optuna.create_study(sampler=_sampler(self.spec, optuna, seed, batch), directions=_directions(self.spec))
        for chain in chains:
            trial = _result(chain) or chain[-1]
            known: dict[str, Any] = {"state": states.FAIL}
            if trial.params:
                known |= {"params": trial.params, "distributions": trial.distributions}
                values = _values(trial.user_attrs[_FIGURES], self.spec) if _result(chain) is not None else None
                if values is not None:
                    known |= {"state": states.COMPLETE, "values": values}
                elif _result(chain) is None:
                    known["state"] = states.RUNNING
            study.add_trial(optuna.create_trial(system_attrs=_state(trial), **known))
        asked = [study.ask(self.distributions).number for _ in range(many)]
        drawn = study.get_trials(deepcopy=False)
        return [drawn[number] for number in asked]

    def fill(self, identity: int, drawn: Any) -> None:
        """Gives a trial that was taken its point."""
        for key, value in drawn.params.items():
            inner = self.distributions[key].to_internal_repr(value)
            self.storage.set_trial_param(identity, key, inner, self.distributions[key])
        for key, value in drawn.system_attrs.items():
            self.storage.set_trial_system_attr(identity, key, value)

    def tell(self, claims: Sequence[_Claim], figures: Sequence[dict[str, list[Any]]]) -> None:
        """Keeps what configurations came to. One with a diverged run has failed, as far as the sampler is concerned."""
        states = self.optuna.trial.TrialState
        for claim, found in zip(claims, figures, strict=True):
            # A worker that was taken for dead finds its trial closed: another has it.
            with contextlib.suppress(self.optuna.exceptions.UpdateFinishedTrialError):
                self.storage.set_trial_user_attr(claim.trial, _FIGURES, found)
            values = _values(found, self.spec)
            self.close(claim.trial, states.FAIL if values is None else states.COMPLETE, values)

    def claim(self, trial: int) -> None:
        """From here on a trial is this worker's."""
        self.claimed.add(trial)
        if self.pulse is not None:
            self.pulse.add(trial)

    def close(self, trial: int, state: Any, values: list[float] | None = None) -> None:
        """Ends a trial of this worker."""
        with contextlib.suppress(self.optuna.exceptions.UpdateFinishedTrialError):
            self.storage.set_trial_state_values(trial, state, values)
        self.claimed.discard(trial)
        if self.pulse is not None:
            self.pulse.discard(trial)

    def recover(self) -> None:
        """Queues what dead workers left, at the same points."""
        if self.pulse is None:
            return
        states = self.optuna.trial.TrialState
        with _quiet(self.optuna):
            self.optuna.storages.fail_stale_trials(self.study)
            again = self.optuna.storages.RetryHeartbeatStaleTrialCallback()
            for chain in self.chains()[: self.spec.count]:
                for trial in chain:
                    # A worker may have died before it said that it lives. Optuna waits only for those that did.
                    if trial.state == states.RUNNING and trial._trial_id not in self.claimed | self.adopted:
                        self.adopted.add(trial._trial_id)
                        self.pulse.beat(trial._trial_id)
                # Not left to `fail_stale_trials`: a worker may die between failing a trial and queueing it.
                if _result(chain) is None and all(trial.state.is_finished() for trial in chain):
                    again(self.study, chain[-1])

    def abandon(self) -> None:
        """Fails what is at work, where no worker can be."""
        states = self.optuna.trial.TrialState
        for trial in self.study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self.close(trial._trial_id, states.FAIL)

    def release(self) -> None:
        """Fails what this worker had claimed, so that it need not be waited for."""
        with contextlib.suppress(self.optuna.exceptions.OptunaError):
            for trial in tuple(self.claimed):
                self.close(trial, self.optuna.trial.TrialState.FAIL)

    def table(self) -> tuple[list[Point], list[dict[str, list[Any]]]]:
        """Points and figures of all configurations, in order."""
        done = [_result(chain) for chain in self.chains()[: self.spec.count]]
        return [_point(self.spec, trial) for trial in done], [trial.user_attrs[_FIGURES] for trial in done]


class _Pulse(threading.Thread):
    """Says now and then that this worker lives, for each of its trials: Optuna does so only in its own loop."""

    def __init__(self, storage: Any, trouble: type[Exception]):
        super().__init__(daemon=True)
        self.storage, self.trouble = storage, trouble
        self.trials: set[int] = set()
        self.stopped = threading.Event()

    def add(self, trial: int) -> None:
        """From now on for this trial too; the first time at once."""
        self.trials.add(trial)
        self.beat(trial)

    def discard(self, trial: int) -> None:
        """No more for this one."""
        self.trials.discard(trial)

    def beat(self, trial: int) -> None:
        """Once. A beat that the database was too busy for is not missed: there is a next one."""
        with contextlib.suppress(self.trouble):
            self.storage.record_heartbeat(trial)

    def run(self) -> None:
        """Until stopped."""
        while not self.stopped.wait(HEARTBEAT_SECONDS):
            for trial in tuple(self.trials):
                self.beat(trial)
        self.storage.remove_session()

    def stop(self) -> None:
        """Ends the thread."""
        self.stopped.set()
        self.join()


@contextlib.contextmanager
def _joined(spec: Spec, url: str | None) -> Iterator[_Joined]:
    """This process's part in the study of a sweep, made if it is new; what is unfinished in the end is given back.

    Args:
      spec: names the study, so that another sweep's in the same database is another.
      url: of the database; None: in memory.

    Raises:
      UserError: the database cannot be opened.
    """
    optuna = _optuna()
    digest = hashlib.sha256(json.dumps(spec.fingerprint(), sort_keys=True).encode()).hexdigest()
    storage = optuna.storages.InMemoryStorage() if url is None else _storage(url, optuna)
    trouble, pulse = optuna.exceptions.StorageInternalError, None
    try:
        study = optuna.create_study(
            storage=storage, study_name=f"aljax-{digest[:24]}", directions=_directions(spec), load_if_exists=True
        )
        if url is not None:
            pulse = _Pulse(storage, trouble)
            pulse.start()
        joined = _Joined(spec, optuna, study, storage, pulse)
        try:
            yield joined
        finally:
            joined.release()
    except trouble as error:
        raise UserError(f"study: {_reason(error)}; what is finished is kept") from None
    finally:
        if pulse is not None:
            pulse.stop()
            storage.remove_session()
            storage.engine.dispose()


def _storage(url: str, optuna: Any) -> Any:
    """The database, with heartbeats.

    Raises:
      UserError: it cannot be opened.
    """
    from sqlalchemy import event
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    engine = {"connect_args": {"timeout": _LOCK_SECONDS}} if url.startswith("sqlite") else {}
    for left in reversed(range(_ATTEMPTS)):
        try:
            with _quiet(optuna):
                storage = optuna.storages.RDBStorage(
                    url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
                    engine_kwargs=engine,
                    heartbeat_interval=HEARTBEAT_SECONDS,
                    grace_period=GRACE_SECONDS,
                )
            if storage.engine.dialect.name == "sqlite":
                _take_turns(storage.engine, event)
            return storage
        except (DBAPIError, optuna.exceptions.StorageInternalError) as error:
            # Of two workers that make the tables at once, one finds some that were not there a moment before.
            if not left:
                raise UserError(f"study: cannot be opened: {_reason(error)}") from None
            time.sleep(0.5 * random.random())
        except (SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
            raise UserError(f"study: cannot be opened: {_reason(error)}") from None
    raise AssertionError("the last attempt returns or raises")


def _take_turns(engine: Any, event: Any) -> None:
    """Makes every transaction on an SQLite file wait for the one before it to end.

    Otherwise two workers that read before they write could both take the same trial, and one of two that want to write
    after reading is refused at once ("database is locked"), however long it is willing to wait.
    """

    def by_hand(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # Python begins no transactions of its own

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", by_hand)
    event.listen(engine, "begin", begin)
    engine.dispose()  # connections made before


def _sqlite(path: Path) -> str:
    """A file's URL."""
    import sqlalchemy

    return sqlalchemy.URL.create("sqlite", database=str(path.absolute())).render_as_string(hide_password=False)


def _reason(error: Exception) -> str:
    """What a database said, without SQLAlchemy's hints."""
    cause = error.__cause__ or error
    return one_line(getattr(cause, "orig", None) or cause)


@contextlib.contextmanager
def _member(folder: Path, abandon: Callable[[], None]) -> Iterator[None]:
    """One of the workers that share a folder and the study in it.

    Args:
      folder: where.
      abandon: called if there is no other: then whatever is at work was left by one that was stopped.
    """
    with (folder / _WORKERS).open("a") as lock:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            abandon()
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _check(spec: Spec) -> None:
    """Refuses what a method cannot do.

    Raises:
      UserError: that, or a package is missing.
    """
    _optuna()
    if spec.method == "cma-es":
        for axis in spec.axes:
            if axis.choices:
                raise UserError(f"{spec.where}: axes.{axis.key}: cma-es needs ranges, not lists")
        try:
            importlib.import_module("cmaes")
        except ModuleNotFoundError:
            raise UserError("cma-es needs the package cmaes: pip install 'aljax[search]'") from None


def _optuna() -> Any:
    """Optuna, silent, or a plain word about how to get it."""
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError("adaptive search needs Optuna: pip install 'aljax[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Without the warnings that heartbeats are new, and that they are not beaten outside of Optuna's own loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage is supposed to be used with")
        yield


def _sampler(spec: Spec, optuna: Any, seed: int, batch: int) -> Any:
    """A sampler for the next batch, of a seed that no other batch has."""
    seed = (spec.protocol.seed + seed) % 2**32
    if spec.method == "tpe":
        # The liar keeps the points of a batch apart.
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    if spec.method == "nsga-ii":
        # A few generations at least.
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=min(50, max(4, spec.count // 4)))
    # Points of a batch beyond the population would be lost on the sampler.
    usual = 4 + math.floor(3 * math.log(len(spec.axes)))
    population = max(usual, min(batch, spec.count // 5))
    return optuna.samplers.CmaEsSampler(seed=seed, popsize=population, warn_independent_sampling=False)


def _directions(spec: Spec) -> list[str]:
    """Of the objectives: cost, and for nsga-ii success."""
    return ["minimize", "maximize"] if spec.method == "nsga-ii" else ["minimize"]


def _values(figures: Mapping[str, Sequence[Any]], spec: Spec) -> list[float] | None:
    """The objectives, means over seeds; None: a run diverged."""
    values = [float(np.mean(figures[name])) for name in ("cost", "success")]
    if not np.all(figures["finite"]) or not math.isfinite(values[0]):
        return None
    return values[: len(_directions(spec))]


def _state(trial: Any) -> dict[str, Any]:
    """What a sampler noted at a trial."""
    return {key: value for key, value in trial.system_attrs.items() if key not in (_RETRY_OF, "retry_history")}


def _distribution(axis: Axis, optuna: Any) -> Any:
    """An axis for Optuna. Choices are their JSON texts: it takes no lists, and to it true is 1."""
    distributions = optuna.distributions
    if axis.choices:
        return distributions.CategoricalDistribution([json.dumps(value) for value in axis.choices])
    if axis.integer:
        return distributions.IntDistribution(math.ceil(axis.low), math.floor(axis.high), log=axis.log)
    return distributions.FloatDistribution(axis.low, axis.high, log=axis.log)


def _point(spec: Spec, trial: Any) -> Point:
    """A trial's point; numbers short to read, as in other sweeps."""

    def value(axis: Axis) -> Value:
        found = trial.params[axis.key]
        if axis.choices:
            return json.loads(found)
        return axis.clipped(found)

    return tuple(value(axis) for axis in spec.axes)


def _result(chain: Sequence[Any]) -> Any:
    """The trial of a configuration that holds its figures; None: it is not done."""
    return next((trial for trial in chain if trial.state.is_finished() and _FIGURES in trial.user_attrs), None)


def _waiting(chain: Sequence[Any]) -> bool:
    """A configuration is queued to be done again."""
    return any(trial.state.name == "WAITING" for trial in chain)


def _taken(chain: Sequence[Any], number: int) -> bool:
    """A configuration is done, or an earlier attempt than this one is at work on it."""
    return _result(chain) is not None or any(t.number < number and not t.state.is_finished() for t in chain)


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


def _agreed(where: str, recorded: int | None, lanes: int | None) -> int | None:
    """The lanes that are recorded, or asked for.

    Raises:
      UserError: they differ.
    """
    if recorded is not None and lanes is not None and lanes != recorded:
        raise UserError(f"{where}: begun with {recorded} lanes, not {lanes}: rows would not be comparable")
    return recorded or lanes


def _shown(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _here() -> dict[str, Any]:
    """What must be equal for rows to be comparable, beside the sweep and the lanes."""
    return {"platform": jax.default_backend(), "versions": runs.versions()}
