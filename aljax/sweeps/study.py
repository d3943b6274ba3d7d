"""The study of an adaptive search: an Optuna study in a database, and one worker's part in it.

Any number of workers share one study, which deals the points out: a *configuration* of the table is one of the study's
trials together with its retries. A worker tells the study that it is alive; the trials of one that is not are done
again, at the same point, by whoever asks next. What a configuration came to is kept with its trial, so that the table
can be made of the study alone.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import json
import math
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aljax.errors import UserError, one_line
from aljax.host.numerics import numerics
from aljax.sweeps.results import FIGURES
from aljax.sweeps.space import Axis, Spec, Value
from aljax.sweeps.store import agreed_lanes, check_numerics

HEARTBEAT_SECONDS = 20
"""How often a worker says that it is still at work on its trials."""
GRACE_SECONDS = 120
"""A worker that has said nothing for so long is taken for dead."""
_LOCK_SECONDS = 120
"""How long to wait for another worker's turn at an SQLite file."""
_ATTEMPTS = 6
MOST_DEATHS = 5
"""So many workers may die while they are at work on a configuration; then it is given up."""
_FIGURES, _BEGUN, _RELEASED, _GIVEN_UP = "figures", "begun", "released", "given_up"
_RETRY_OF = "failed_trial"
"""Where Optuna keeps, of a retried trial, the number of the first."""

Point = tuple[Value, ...]

_DAMAGED = "changed or damaged: begin the search anew, with another --out or --study"


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Says in one line what a damaged or lost database makes of Optuna."""

    @functools.wraps(method)
    def guarded(self: "Study", *given: Any) -> Any:
        with _told():
            return method(self, *given)

    return guarded


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """See `_guarded`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of JSON, enumerations and columns that cannot be read, besides SQLAlchemy's
        raise UserError(f"study: {_reason(error)}; what is finished is kept") from None


@dataclasses.dataclass(frozen=True)
class Claim:
    """A configuration that this worker is to do."""

    index: int
    """Its place in the table."""
    point: Point
    trial: int
    """This attempt at it, by the database's number."""


class Study:
    """This worker's part in a study."""

    def __init__(self, spec: Spec, optuna: Any, study: Any, storage: Any, pulse: "_Pulse | None"):
        self.spec, self.optuna, self.study, self.storage, self.pulse = spec, optuna, study, storage, pulse
        self.identity = storage.get_study_id_from_name(study.study_name)
        self.distributions = {axis.key: _distribution(axis, optuna) for axis in spec.axes}
        self.given_up: dict[int, str] = {}
        """Configurations that this worker gave up, by their place in the table, and why."""
        self.claimed: set[int] = set()
        """Trials of this worker that are at work, by the database's number."""
        self.adopted: set[int] = set()

    @_guarded
    def recorded_lanes(self) -> int | None:
        """The lanes that the study was begun with; None: it is new.

        Raises:
          UserError: it was begun where numbers come out otherwise.
        """
        begun = self.study.user_attrs.get(_BEGUN)
        if begun is None:
            return None
        if not isinstance(begun, dict) or type(begun.get("lanes")) is not int:
            raise UserError(f"study: what it was begun with is {_DAMAGED}")
        check_numerics("study", begun)
        return begun["lanes"]

    @_guarded
    def agree(self, lanes: int) -> None:
        """Records the lanes in a new study.

        Raises:
          UserError: it was begun with others.
        """
        if self.recorded_lanes() is None:
            self.study.set_user_attr(_BEGUN, {"lanes": lanes} | numerics())
        agreed_lanes("study", self.recorded_lanes(), lanes)

    def chains(self) -> list[list[Any]]:
        """The trials of each configuration, first attempt first; more than the sweep has where workers asked at once.

        A trial's number is given by the database, one after the other, so that all workers see the same order.
        """
        found: dict[int, list[Any]] = {}
        for trial in sorted(self.study.get_trials(deepcopy=False), key=lambda trial: trial.number):
            found.setdefault(trial.system_attrs.get(_RETRY_OF, trial.number), []).append(trial)
        return list(found.values())

    @_guarded
    def done(self) -> int:
        """Configurations that are finished, whoever did them."""
        return sum(_result(chain) is not None for chain in self.chains()[: self.spec.count])

    def finished(self) -> bool:
        """All configurations are."""
        return self.done() == self.spec.count

    @_guarded
    def ask(self, most: int) -> list[Claim]:
        """Configurations for this worker, at most so many, by their place in the table; none: others are at the rest.

        What was begun and not finished comes first, and by itself: then the next batch sees what it would have seen.
        """
        self.recover()
        chains = self.chains()
        attempts = self.queued(chains, most) or self.created(chains, most)
        chains, claims = self.chains(), list[Claim]()
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
                claims.append(Claim(index, _point(self.spec, trial), mine))
        return claims

    def queued(self, chains: Sequence[Sequence[Any]], most: int) -> set[int]:
        """Takes what is to be done again."""
        states, found = self.optuna.trial.TrialState, set[int]()
        for chain in chains[: self.spec.count]:
            suspect = _deaths(chain) > 1  # by itself, so that others of its batch do not die of it too
            for trial in chain if not (suspect and found) else ():
                if trial.state == states.WAITING and len(found) < most:
                    with contextlib.suppress(self.optuna.exceptions.UpdateFinishedTrialError):
                        if self.storage.set_trial_state_values(trial._trial_id, states.RUNNING):
                            self.claim(trial._trial_id)
                            found.add(trial._trial_id)
            if suspect and found:
                break
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
                values = _values(self.figures(trial), self.spec) if _result(chain) is not None else None
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

    @_guarded
    def tell(self, claims: Sequence[Claim], figures: Sequence[dict[str, list[Any]]]) -> None:
        """Keeps what configurations came to. One with a diverged run has failed, as far as the sampler is concerned."""
        states = self.optuna.trial.TrialState
        for claim, found in zip(claims, figures, strict=True):
            # A worker that was taken for dead finds its trial closed: another has it.
            with contextlib.suppress(self.optuna.exceptions.UpdateFinishedTrialError):
                self.storage.set_trial_user_attr(claim.trial, _FIGURES, _sealed(claim.point, found))
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
            for index, chain in enumerate(self.chains()[: self.spec.count]):
                for trial in chain:
                    # A worker may have died before it said that it lives. Optuna waits only for those that did.
                    if trial.state == states.RUNNING and trial._trial_id not in self.claimed | self.adopted:
                        self.adopted.add(trial._trial_id)
                        self.pulse.beat(trial._trial_id)
                # Not left to `fail_stale_trials`: a worker may die between failing a trial and queueing it.
                if _result(chain) is None and all(trial.state.is_finished() for trial in chain):
                    if _deaths(chain) < MOST_DEATHS or not chain[-1].params:
                        again(self.study, chain[-1])
                    else:
                        self.give_up(index, chain)

    def give_up(self, index: int, chain: Sequence[Any]) -> None:
        """Ends a configuration of which one worker after the other died, as one that diverged."""
        last, seeds = chain[-1], self.spec.protocol.seeds
        found: dict[str, list[Any]] = {name: [math.nan] * seeds for name in FIGURES} | {"finite": [False] * seeds}
        ended = self.optuna.trial.create_trial(
            state=self.optuna.trial.TrialState.FAIL,
            params=last.params,
            distributions=last.distributions,
            user_attrs={_FIGURES: _sealed(_point(self.spec, last), found), _GIVEN_UP: True},
            system_attrs={_RETRY_OF: chain[0].number},
        )
        self.storage.create_new_trial(self.identity, ended)
        self.given_up[index] = f"{_deaths(chain)} workers died while they were at work on it"

    def figures(self, trial: Any) -> dict[str, list[Any]]:
        """What a finished configuration came to.

        Raises:
          UserError: it is not what was written.
        """
        kept = trial.user_attrs[_FIGURES]
        found = kept.get(_FIGURES) if isinstance(kept, dict) else None
        if not isinstance(found, dict) or kept.get("sha256") != _sealed(_point(self.spec, trial), found)["sha256"]:
            raise UserError(f"study: trial {trial.number} is {_DAMAGED}")
        return found

    @_guarded
    def abandon(self) -> None:
        """Fails what is at work, where no worker can be."""
        states = self.optuna.trial.TrialState
        for trial in self.study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self.close(trial._trial_id, states.FAIL)

    def release(self) -> None:
        """Fails what this worker had claimed, so that it need not be waited for."""
        with contextlib.suppress(Exception):  # whatever the database says: others wait until it is taken for dead
            for trial in tuple(self.claimed):
                with contextlib.suppress(self.optuna.exceptions.UpdateFinishedTrialError):
                    self.storage.set_trial_user_attr(trial, _RELEASED, True)
                self.close(trial, self.optuna.trial.TrialState.FAIL)

    @_guarded
    def table(self) -> tuple[list[Point], list[dict[str, list[Any]]]]:
        """Points and figures of all configurations, in order."""
        done = [_result(chain) for chain in self.chains()[: self.spec.count]]
        return [_point(self.spec, trial) for trial in done], [self.figures(trial) for trial in done]

    @_guarded
    def all_given_up(self) -> list[int]:
        """Configurations that were given up, whoever did so, by their place in the table."""
        chains = self.chains()[: self.spec.count]
        return [index for index, chain in enumerate(chains) if any(_GIVEN_UP in trial.user_attrs for trial in chain)]


class _Pulse(threading.Thread):
    """Says now and then that this worker lives, for each of its trials: Optuna does so only in its own loop."""

    def __init__(self, storage: Any):
        super().__init__(daemon=True)
        self.storage = storage
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
        with contextlib.suppress(Exception):
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
def joined_study(spec: Spec, url: str | None) -> Iterator[Study]:
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
        with _told():
            study = optuna.create_study(
                storage=storage, study_name=f"aljax-{digest[:24]}", directions=_directions(spec), load_if_exists=True
            )
            if url is not None:
                pulse = _Pulse(storage)
                pulse.start()
            joined = Study(spec, optuna, study, storage, pulse)
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


def sqlite_url(path: Path) -> str:
    """A file's URL."""
    import sqlalchemy

    return sqlalchemy.URL.create("sqlite", database=str(path.absolute())).render_as_string(hide_password=False)


def _reason(error: Exception) -> str:
    """What a database said, without SQLAlchemy's hints."""
    cause = error.__cause__ or error
    return one_line(getattr(cause, "orig", None) or cause)[:300] or type(error).__name__


def check_method(spec: Spec) -> None:
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


def _deaths(chain: Sequence[Any]) -> int:
    """Attempts at a configuration that ended with their worker."""
    return sum(
        trial.state.is_finished() and _FIGURES not in trial.user_attrs and _RELEASED not in trial.user_attrs
        for trial in chain
    )


def _sealed(point: Point, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration came to, with the hash of both."""
    digest = hashlib.sha256(json.dumps([point, figures], sort_keys=True).encode()).hexdigest()
    return {"sha256": digest, _FIGURES: figures}


def _taken(chain: Sequence[Any], number: int) -> bool:
    """A configuration is done, or an earlier attempt than this one is at work on it."""
    return _result(chain) is not None or any(t.number < number and not t.state.is_finished() for t in chain)
