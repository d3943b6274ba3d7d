"""Processes that were forked after JAX was used, in which it would wait for ever for threads that are not there."""

import os
import sys
import threading
from pathlib import Path

from aljax.errors import UserError


def refuse_after_fork() -> None:
    """Does nothing in a process in which JAX works.

    Raises:
      UserError: it was forked from one that had used JAX; one line says what to do instead.
    """
    if _forked:
        raise UserError(
            "this process was forked from one that had used JAX, which cannot work here: start it by spawn or "
            "forkserver, as AsyncVectorEnv(..., context='spawn') does, or step all environments by one VectorEnv"
        )


def _jax_was_used() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bridge.backends_are_initialized()


def _threads_are_gone() -> bool:
    """JAX was used, but none of its threads runs in this process; false where the system does not tell."""
    try:
        threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return False
    return _jax_was_used() and threads <= threading.active_count()


def _in_child() -> None:
    global _forked
    _forked = _forked or _jax_was_used()


_forked = _threads_are_gone()  # forked before this module was loaded
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)  # forked after
