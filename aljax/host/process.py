"""What a command needs as a process: signals that end it cleanly, and one line where the machine cannot do the work.

JAX is imported where it is needed: help and complaints do without.
"""

import collections
import contextlib
import gc
import logging
import signal
import threading
from collections.abc import Iterator
from typing import Any

from aljax.errors import UserError, one_line, plain

_NEEDS = {
    ("cuda", "gpu", "nvidia"): "a GPU of NVIDIA needs its driver, and pip install 'aljax[cuda13]' or cuda12",
    ("tpu",): "a TPU needs pip install 'aljax[tpu]' on the machine that has it",
}
"""What to do about an accelerator that cannot be used, by words for it."""
_ALLOCATIONS = 100_000
"""Of containers that are not freed, between two looks at the newest ones."""
_LESS = "fewer episodes, seeds, lanes or steps take less"
_MOST = 300
"""Characters that a message repeats of what a library says."""


class Terminated(BaseException):
    """A signal asked this process to end. Like `KeyboardInterrupt`, it passes through everything that cleans up."""

    def __init__(self, number: int):
        super().__init__(number)
        self.status = 128 + number
        """The exit status that shells know for it."""


def collect_rarely() -> None:
    """Looks for garbage once in many more allocations than Python does: only for whole processes.

    What libraries make as they are loaded, and programs as they are traced, stays, and Python would walk through all of
    it again and again: a twelfth of a short command's time.
    """
    gc.set_threshold(_ALLOCATIONS, 20, 20)


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


def check_jax() -> list[str]:
    """Refuses to begin where JAX cannot compute as its environment says. This is what starts JAX.

    Returns:
      Complaints, a line each: what JAX could not use and does without, such as a plugin without its driver.

    Raises:
      UserError: one line that says what to change.
    """
    import jax

    if jax.config.values["jax_disable_jit"]:
        raise UserError("JAX_DISABLE_JIT is set, but everything here is compiled: expected it unset")
    asked = jax.config.values["jax_platforms"]
    with _heard("jax._src.xla_bridge") as said:
        try:
            devices = jax.devices()
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = "; ".join(_cut(text) for text in (*said, one_line(error)) if text) or "no such device"
            if asked:
                wanted = f"expected a platform that is here, such as cpu{_help(asked + reason)}"
                raise UserError(f"JAX_PLATFORMS={asked}: {reason}: {wanted}") from None
            raise UserError(f"JAX finds no device to compute on: {reason}{_help(reason)}") from None
    return [f"{_cut(text)}: computes on {devices[0].platform}{_help(text)}" for text in said]


def devices_in_words() -> str:
    """What this process computes on.

    Returns:
      Platform, number and kind of its devices, such as ``gpu: 1 × NVIDIA H100 80GB HBM3``.
    """
    import jax

    kinds = collections.Counter((device.platform, device.device_kind) for device in jax.local_devices())
    return ", ".join(f"{platform}: {number} × {kind}" for (platform, kind), number in kinds.items())


@contextlib.contextmanager
def _heard(logger: str) -> Iterator[list[str]]:
    """Keeps warnings of a logger in the block from the terminal, where they come with tracebacks.

    Yields:
      What they say, a line each.
    """
    said: list[str] = []

    def hear(record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        error = record.exc_info[1] if record.exc_info else None
        about = ", ".join(map(str, record.args or ())) or record.getMessage()
        said.append(one_line(record.getMessage() if error is None else f"{about}: {error}"))
        return False

    source = logging.getLogger(logger)
    source.addFilter(hear)
    try:
        yield said
    finally:
        source.removeFilter(hear)


def _help(text: str) -> str:
    """What makes an accelerator usable, if a text is about one."""
    for words, needed in _NEEDS.items():
        if any(word in text.lower() for word in words):
            return f"; {needed}"
    return ""


def _cut(text: str) -> str:
    return plain(text, _MOST).rstrip(".")


@contextlib.contextmanager
def limits_in_one_line() -> Iterator[None]:
    """Says in one line that memory ran out, or that JAX was asked to stop at numbers that are not finite.

    Raises:
      UserError: that.
    """
    try:
        yield
    except MemoryError as error:
        raise UserError(f"out of memory: {one_line(error) or _LESS}") from None
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
        raise UserError(f"out of memory: {_LESS}: {reason}") from None
