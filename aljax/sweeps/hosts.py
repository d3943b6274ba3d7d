"""Where a sweep stands when it begins: what its folder holds, the same on every host that takes part.

Only the first host has the folder; what it finds there it tells the others.
"""

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax.errors import UserError, plain_path
from aljax.host.numerics import numerics
from aljax.sweeps.gathered import Gathered
from aljax.sweeps.identity import agreed_lanes, recorded_lanes
from aljax.sweeps.locks import opened
from aljax.sweeps.results import Results
from aljax.sweeps.space import Spec
from aljax.sweeps.store import Store
from aljax.sweeps.tables import read_results


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a sweep stands; lanes and completeness are the same on every host."""

    lanes: int | None
    """As recorded, or asked for."""
    complete: bool
    store: Store | None = None
    """The first host's folder, for this process alone."""
    found: Results | None = None
    """What is in it, where it is complete."""


def standing(
    spec: Spec, folder: Path | None, lanes: int | None, stack: contextlib.ExitStack | None = None
) -> Standing:  # fmt: skip
    """Looks at a sweep's folder, and takes it for this process.

    Args:
      spec: what the sweep is.
      folder: where, if anywhere.
      lanes: asked for.
      stack: holds the folder; None: it is looked at only.

    Returns:
      Where it stands.

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
                found = read_results(folder, spec)
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
    return Standing(agreed_lanes(plain_path(folder or ""), recorded, lanes), complete, store, found)


def recall(gathered: Gathered, store: Store | None) -> None:
    """Takes in what finished before.

    Args:
      gathered: takes it in.
      store: holds it; None: there is nothing.

    Raises:
      UserError: a chunk that is damaged, or of another sweep.
    """
    if store is None:
        return
    store.read_chunks("train", gathered.put_rows)
    store.read_chunks("optimal", gathered.put_pairs)


def share(gathered: Gathered) -> None:
    """Tells all hosts what the first one, which keeps the folder, has from before.

    Args:
      gathered: of this host; changed to what the first one's holds.
    """
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


def _digest(value: Any) -> np.ndarray:
    """A value's SHA-256, as hosts can compare it. ``[32]``, bytes"""
    return np.frombuffer(hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest(), np.uint8)
