"""The study of an adaptive search: an Optuna study in a database, and one worker's part in it.

Any number of workers share one study, which deals the points out: a *configuration* of the table is one of the study's
trials together with its retries. A worker tells the study that it is alive; the trials of one that is not are done
again, at the same point, by whoever asks next. What a configuration came to is kept with its trial, so that the table
can be made of the study alone.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from aljax.errors import UserError
from aljax.host.numerics import numerics
from aljax.sweeps.database import DAMAGED, Pulse, guarded, load_optuna, open_storage, quiet, reason, told
from aljax.sweeps.identity import agreed_lanes, check_numerics
from aljax.sweeps.results import row_figures
from aljax.sweeps.sampler import directions, distributions, draw, objectives
from aljax.sweeps.space import Spec
from aljax.sweeps.trials import (
    FIGURES_KEY,
    RELEASED,
    RETRY_OF,
    Point,
    deaths,
    figures_of,
    point_of,
    result,
    sealed,
    taken,
)  # fmt: skip

MOST_DEATHS = 5
"""So many workers may die while they are at work on a configuration; then it is given up."""
_BEGUN, _GIVEN_UP = "begun", "given_up"


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

    def __init__(self, spec: Spec, optuna: Any, study: Any, storage: Any, pulse: Pulse | None):
        self.spec, self.optuna, self.study, self.storage, self.pulse = spec, optuna, study, storage, pulse
        self.identity = storage.get_study_id_from_name(study.study_name)
        self.distributions = distributions(spec)
        self.given_up: dict[int, str] = {}
        """Configurations that this worker gave up, by their place in the table, and why."""
        self.claimed: set[int] = set()
        """Trials of this worker that are at work, by the database's number."""
        self.adopted: set[int] = set()

    @guarded
    def recorded_lanes(self) -> int | None:
        """The lanes that the study was begun with; None: it is new.

        Raises:
          UserError: it was begun where numbers come out otherwise.
        """
        begun = self.study.user_attrs.get(_BEGUN)
        if begun is None:
            return None
        if not isinstance(begun, dict) or type(begun.get("lanes")) is not int:
            raise UserError(f"study: what it was begun with is {DAMAGED}")
        check_numerics("study", begun)
        return begun["lanes"]

    @guarded
    def agree(self, lanes: int) -> None:
        """Records the lanes in a new study.

        Args:
          lanes: runs side by side on each device.

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
            found.setdefault(trial.system_attrs.get(RETRY_OF, trial.number), []).append(trial)
        return list(found.values())

    @guarded
    def done(self) -> int:
        """Configurations that are finished, whoever did them."""
        return sum(result(chain) is not None for chain in self.chains()[: self.spec.count])

    def finished(self) -> bool:
        """All configurations are."""
        return self.done() == self.spec.count

    @guarded
    def ask(self, most: int) -> list[Claim]:
        """Configurations for this worker, at most so many, by their place in the table; none: others are at the rest.

        What was begun and not finished comes first, and by itself: then the next batch sees what it would have seen.

        Args:
          most: how many at most.

        Returns:
          What this worker is to do.

        Raises:
          UserError: the database is damaged or lost.
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
                if index >= self.spec.count or taken(chain, trial.number):
                    self.close(mine, self.optuna.trial.TrialState.FAIL)
                    continue
                if not trial.params:  # left by a worker that died before it drew them
                    (trial,) = draw(self.spec, chains[:index], 1, most, index)
                    self.fill(mine, trial)
                claims.append(Claim(index, point_of(self.spec, trial), mine))
        return claims

    def queued(self, chains: Sequence[Sequence[Any]], most: int) -> set[int]:
        """Takes what is to be done again."""
        states, found = self.optuna.trial.TrialState, set[int]()
        for chain in chains[: self.spec.count]:
            suspect = deaths(chain) > 1  # by itself, so that others of its batch do not die of it too
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
            drawn = draw(self.spec, chains[:index], many, most, index)
            self.fill(first, drawn[0])
            for trial in drawn[1:]:
                another = self.storage.create_new_trial(self.identity, trial)
                self.claim(another)
                found.add(another)
        return found

    def fill(self, identity: int, drawn: Any) -> None:
        """Gives a trial that was taken its point."""
        for key, value in drawn.params.items():
            inner = self.distributions[key].to_internal_repr(value)
            self.storage.set_trial_param(identity, key, inner, self.distributions[key])
        for key, value in drawn.system_attrs.items():
            self.storage.set_trial_system_attr(identity, key, value)

    @guarded
    def tell(self, claims: Sequence[Claim], figures: Sequence[dict[str, list[Any]]]) -> None:
        """Keeps what configurations came to. One with a diverged run has failed, as far as the sampler is concerned.

        Args:
          claims: from `ask`.
          figures: of each claim, a list over seeds for each figure.

        Raises:
          UserError: the database is damaged or lost.
        """
        states = self.optuna.trial.TrialState
        for claim, found in zip(claims, figures, strict=True):
            # A worker that was taken for dead finds its trial closed: another has it.
            with contextlib.suppress(self.optuna.exceptions.UpdateFinishedTrialError):
                self.storage.set_trial_user_attr(claim.trial, FIGURES_KEY, sealed(claim.point, found))
            values = objectives(self.spec, found)
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
        with quiet(self.optuna):
            self.optuna.storages.fail_stale_trials(self.study)
            again = self.optuna.storages.RetryHeartbeatStaleTrialCallback()
            for index, chain in enumerate(self.chains()[: self.spec.count]):
                for trial in chain:
                    # A worker may have died before it said that it lives. Optuna waits only for those that did.
                    if trial.state == states.RUNNING and trial._trial_id not in self.claimed | self.adopted:
                        self.adopted.add(trial._trial_id)
                        self.pulse.beat(trial._trial_id)
                # Not left to `fail_stale_trials`: a worker may die between failing a trial and queueing it.
                if result(chain) is None and all(trial.state.is_finished() for trial in chain):
                    if deaths(chain) < MOST_DEATHS or not chain[-1].params:
                        again(self.study, chain[-1])
                    else:
                        self.give_up(index, chain)

    def give_up(self, index: int, chain: Sequence[Any]) -> None:
        """Ends a configuration of which one worker after the other died, as one that diverged."""
        last, seeds = chain[-1], self.spec.protocol.seeds
        found: dict[str, list[Any]] = {name: [math.nan] * seeds for name in row_figures(self.spec)} | {
            "finite": [False] * seeds
        }
        ended = self.optuna.trial.create_trial(
            state=self.optuna.trial.TrialState.FAIL,
            params=last.params,
            distributions=last.distributions,
            user_attrs={FIGURES_KEY: sealed(point_of(self.spec, last), found), _GIVEN_UP: True},
            system_attrs={RETRY_OF: chain[0].number},
        )
        self.storage.create_new_trial(self.identity, ended)
        self.given_up[index] = f"{deaths(chain)} workers died while they were at work on it"

    @guarded
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
                    self.storage.set_trial_user_attr(trial, RELEASED, True)
                self.close(trial, self.optuna.trial.TrialState.FAIL)

    @guarded
    def table(self) -> tuple[list[Point], list[dict[str, list[Any]]]]:
        """Everything that the study knows, once it is finished.

        Returns:
          The point of each configuration, in the table's order, and its figures, a list over seeds for each.

        Raises:
          UserError: a figure is not what was written.
        """
        done = [result(chain) for chain in self.chains()[: self.spec.count]]
        return [point_of(self.spec, trial) for trial in done], [figures_of(self.spec, trial) for trial in done]

    @guarded
    def all_given_up(self) -> list[int]:
        """Configurations that were given up, whoever did so, by their place in the table."""
        chains = self.chains()[: self.spec.count]
        return [index for index, chain in enumerate(chains) if any(_GIVEN_UP in trial.user_attrs for trial in chain)]


@contextlib.contextmanager
def joined_study(spec: Spec, url: str | None) -> Iterator[Study]:
    """This process's part in the study of a sweep, made if it is new; what is unfinished in the end is given back.

    Args:
      spec: names the study, so that another sweep's in the same database is another.
      url: of the database; None: in memory.

    Yields:
      This worker's part.

    Raises:
      UserError: the database cannot be opened.
    """
    optuna = load_optuna()
    digest = hashlib.sha256(json.dumps(spec.fingerprint(), sort_keys=True).encode()).hexdigest()
    storage = optuna.storages.InMemoryStorage() if url is None else open_storage(url, optuna)
    trouble, pulse = optuna.exceptions.StorageInternalError, None
    try:
        with told():
            study = optuna.create_study(
                storage=storage, study_name=f"aljax-{digest[:24]}", directions=directions(spec), load_if_exists=True
            )
            if url is not None:
                pulse = Pulse(storage)
                pulse.start()
            joined = Study(spec, optuna, study, storage, pulse)
        try:
            yield joined
        finally:
            joined.release()
    except trouble as error:
        raise UserError(f"study: {reason(error)}; what is finished is kept") from None
    finally:
        if pulse is not None:
            pulse.stop()
            storage.remove_session()
            storage.engine.dispose()
