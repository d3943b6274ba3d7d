"""Processes that were forked after JAX was used, in which it would wait for ever for threads that are not there."""

import os
import sys

from aljax.errors import UserError

_forked = False


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


def _in_child() -> None:
    global _forked
    bridge = sys.modules.get("jax._src.xla_bridge")
    _forked = _forked or (bridge is not None and bridge.backends_are_initialized())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
