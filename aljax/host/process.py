"""What a command needs as a process: signals that end it cleanly, and one line where the machine cannot do the work.

JAX is imported where it is needed: help and complaints do without.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from aljax.errors import UserError, one_line


class Terminated(BaseException):
    """A signal asked this process to end. Like `KeyboardInterrupt`, it passes through everything that cleans up."""

    def __init__(self, number: int):
        super().__init__(number)
        self.status = 128 + number
        """The exit status that shells know for it."""


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within the block, SIGTERM and SIGHUP raise `Terminated`, once: what then cleans up is not cut short.

    What the parent process has set stays as it is, as under ``nohup``; only a main thread can receive signals.
    """

    def end(number: int, _: Any) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        names = []
    numbers = [signal.Signals[name] for name in names]
    before = {number: signal.SIG_DFL for number in numbers if signal.getsignal(number) == signal.SIG_DFL}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_jax() -> None:
    """Refuses to begin where JAX cannot compute as its environment says. This is what starts JAX.

    Raises:
      UserError: one line that says what to change.
    """
    import jax

    if jax.config.values["jax_disable_jit"]:
        raise UserError("JAX_DISABLE_JIT is set, but everything here is compiled: expected it unset")
    try:
        jax.devices()
    except (AssertionError, RuntimeError, ValueError) as error:
        asked = os.environ.get("JAX_PLATFORMS")
        reason = one_line(error) or "no such device"
        if asked:
            raise UserError(f"JAX_PLATFORMS={asked}: {reason}: expected a platform that is here, such as cpu") from None
        raise UserError(f"JAX finds no device to compute on: {reason}") from None


@contextlib.contextmanager
def limits_in_one_line() -> Iterator[None]:
    """Says in one line that memory ran out, or that JAX was asked to stop at numbers that are not finite.

    Raises:
      UserError: that.
    """
    try:
        yield
    except MemoryError as error:
        raise UserError(f"out of memory: {one_line(error) or 'fewer episodes, seeds or steps take less'}") from None
    except FloatingPointError as error:
        import jax

        if not (jax.config.values["jax_debug_nans"] or jax.config.values["jax_debug_infs"]):
            raise
        reason = one_line(error)[:200]
        raise UserError(f"stopped at a number that is not finite, as JAX_DEBUG_NANS asks for: {reason}") from None
    except RuntimeError as error:
        if type(error).__name__ != "JaxRuntimeError" or "RESOURCE_EXHAUSTED" not in str(error):
            raise
        reason = one_line(error)[:200]
        raise UserError(f"out of memory: fewer episodes, seeds or steps take less: {reason}") from None
