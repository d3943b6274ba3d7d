"""A process that reads one input after the other, watched from outside: time, memory, and whether it lives."""

import contextlib
import dataclasses
import multiprocessing
import os
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import jax
import numpy as np

from aljax.policy import Random as RandomPolicy
from aljax.rollout import outcome as costs_of
from aljax.rollout import rollout

from fuzzing import cases
from fuzzing.cases import Case, Finding, Hang, Kind
from fuzzing.kinds import KINDS

SECONDS = 10.0
"""What one input may take."""
PATIENCE = 60.0
"""So long after that a process that does not even say so is killed: it hangs outside Python."""
MEMORY = 4 * 2**30
"""What a process may ask for beyond what it has when it begins."""
GROWTH = 512 * 2**20
"""By how much one input may raise the process's peak."""

_TOGETHER, _STEPS, _EPISODES, _SHAPES = 64, 12, 8, 6


@dataclasses.dataclass(frozen=True)
class Read:
    """What came of one input."""

    index: int
    accepted: bool
    finding: Finding | None
    rolled_out: int = 0


def kind_of(name: str, home: Path) -> Kind:
    """A kind by its name."""
    return next(kind for kind in KINDS if kind.name == name)(home)


def case_of(kind: Kind, seed: int, index: int) -> Case:
    """The input of a number: the same for the same seed."""
    return kind.case(Random(f"{seed} {kind.name} {index}"))


def read(kind: Kind, case: Case, place: Path) -> tuple[Any, Finding | None]:
    """`cases.outcome` with a limit of time and of memory.

    An input that takes too long is read again: on a machine that does other things, what stands still is not always the
    library.
    """
    found, finding = _read(kind, case, place)
    return _read(kind, case, place) if finding is not None and finding.cause.startswith("hang") else (found, finding)


def _read(kind: Kind, case: Case, place: Path) -> tuple[Any, Finding | None]:
    def late(*_: object) -> None:
        raise Hang

    before, begun = _peak(), time.perf_counter()
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        found, finding = cases.outcome(kind, case, place)
    except Hang as hang:
        found, finding = hang, Finding(f"hang: {cases.cause(hang)}", "".join(traceback.format_exception(hang))[-4000:])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    took, grown = time.perf_counter() - begun, _peak() - before
    if finding is None and took > SECONDS:
        finding = Finding("hang: outside Python", f"{took:.1f} s")
    if finding is None and grown > GROWTH:
        finding = Finding("memory", f"{grown / 2**20:.0f} MiB more")
    return found, finding


def limit_memory() -> None:
    """Lets this process ask for `MEMORY` more than it has, where the system says what that is."""
    with contextlib.suppress(OSError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Rollouts:
    """Plays accepted scenarios, many of one shape in one program."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[int, int], list[tuple[int, Any]]] = {}

    def add(self, index: int, params: Any) -> Iterator[Read]:
        """Takes a scenario in; plays when enough of its shape are there. Of rare shapes none is played."""
        shape = params.actions.gain.shape
        if shape not in self.waiting and len(self.waiting) >= _SHAPES:
            return
        waiting = self.waiting.setdefault(shape, [])
        waiting.append((index, jax.tree.map(np.asarray, params)))
        if len(waiting) == _TOGETHER:
            yield from self._play(waiting)

    def rest(self) -> Iterator[Read]:
        """Plays those that are left, where they are worth a compilation."""
        for waiting in self.waiting.values():
            if len(waiting) >= _TOGETHER // 4:
                yield from self._play(waiting)

    def _play(self, waiting: list[tuple[int, Any]]) -> Iterator[Read]:
        rows = [waiting[i % len(waiting)][1] for i in range(_TOGETHER)]
        finite = np.asarray(_finite(jax.tree.map(lambda *leaves: np.stack(leaves), *rows)))
        for (index, _), fine in zip(waiting, finite[: len(waiting)], strict=True):
            finding = None if fine else Finding("accepted: rolls out to numbers that are not finite", "")
            yield Read(index, True, finding, 1)
        waiting.clear()


@jax.jit
def _finite(params: Any) -> jax.Array:
    """Whether a random policy's episodes have finite observations and costs, of each environment."""

    def one(params: Any) -> jax.Array:
        played = rollout(jax.random.key(0), RandomPolicy(), params, episodes=_EPISODES, steps=_STEPS)
        found = (played.observation, costs_of(played, params).costs, costs_of(played, params).total)
        return jax.numpy.all(jax.numpy.array([jax.numpy.isfinite(x).all() for x in found]))

    return jax.vmap(one)(params)


def work(name: str, home: Path, seed: int, start: int, stop: int, pipe: Any, at: Any) -> None:
    """A process: reads the inputs of some numbers and says what came of each.

    Args:
      name: the kind.
      home: the folder of good inputs.
      seed: of the inputs.
      start: the first number.
      stop: the number after the last.
      pipe: where results go.
      at: shared; the number at work.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    kind, rollouts = kind_of(name, home), Rollouts()
    with tempfile.TemporaryDirectory(dir=home, prefix=".work-") as folder:
        place = Path(folder) / "it"
        for index in range(-3, 0):  # what is loaded when first used is no input's doing
            cases.outcome(kind, case_of(kind, seed, index), place)
        limit_memory()
        for index in range(start, stop):
            at.value = index
            found, finding = read(kind, case_of(kind, seed, index), place)
            accepted = not isinstance(found, BaseException)
            pipe.send(Read(index, accepted, finding))
            params = kind.environment(found) if accepted and finding is None else None
            for played in rollouts.add(index, params) if params is not None else ():
                pipe.send(played)
        at.value = stop
        for played in rollouts.rest():
            pipe.send(played)
    pipe.send(_peak())


def results(name: str, home: Path, seed: int, start: int, stop: int) -> Iterator[Read | int]:
    """What came of the inputs of some numbers, read in processes of their own; last, their peak memory.

    A process that dies or hangs costs the input that it was at: the next one goes on after it.
    """
    context = multiprocessing.get_context("spawn")
    while start < stop:
        ours, theirs = context.Pipe(duplex=False)
        at = context.Value("q", start, lock=False)
        process = context.Process(target=work, args=(name, home, seed, start, stop, theirs, at))
        process.start()
        theirs.close()
        last, since, ended = start, time.monotonic(), False
        try:
            while not ended:
                if ours.poll(1.0):
                    try:
                        said = ours.recv()
                    except EOFError:
                        break
                    since = time.monotonic()
                    if isinstance(said, Read) and not said.rolled_out:
                        last = said.index + 1
                    ended = isinstance(said, int)
                    yield said
                elif time.monotonic() - since > SECONDS + PATIENCE:
                    break
        finally:
            alive = process.is_alive() and not ended
            if alive:
                process.kill()
            process.join()
        if ended:
            return
        cause = "hang: outside Python" if alive else f"died: status {process.exitcode}"
        if last < stop:
            yield Read(last, False, Finding(cause, f"the process was at input {at.value}"))
        start = last + 1


@contextlib.contextmanager
def quiet_jax() -> Iterator[None]:
    """Processes on the CPU, without anybody's cache of compiled programs."""
    wanted = {"JAX_PLATFORMS": "cpu", "ALJAX_CACHE_DIR": ""}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name)
        else:
            os.environ[name] = value
