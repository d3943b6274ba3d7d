"""Progress at the terminal."""

import contextlib
from types import TracebackType

from rich.console import Console

from aljax.host.terminal import bar
from aljax.learner import Watch


class Bars(Watch):
    """A bar for each thing that an experiment does, a line for each that it tells. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console, self._doing = console, ""
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "Bars":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def told(self, line: str) -> None:
        """See `Watch.told`."""
        self._console.print(line, soft_wrap=True)

    def advanced(self, doing: str, done: int, total: int, note: str) -> None:
        """See `Watch.advanced`."""
        if doing != self._doing:
            self._open.close()
            self._doing, self._bar = doing, self._open.enter_context(bar(self._console, doing, total, "updates"))
        shown, task = self._bar
        shown.update(task, completed=done, note=f", {note}" if note else "")
        if done == total:
            self._open.close()
            self._doing = ""
