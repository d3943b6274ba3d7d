"""What the commands share at the terminal: the one place where text that may be the user's is shown.

Names of scenarios, actions, loggers and folders are shown as they are written: nothing in them is markup, and what
would steer the terminal is shown as an escape.
"""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)  # fmt: skip
from rich.text import Text

from aljax.errors import UserError, one_line

_WIDTH = 160  # where the output is no terminal
_MOST = 2_000  # characters of a complaint

# Control characters except the line's end, marks that turn the direction of reading, other line ends, half pairs.
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def visible(text: str) -> str:
    """Text with everything that would steer a terminal, lines aside, shown as the escape that Python has for it.

    Args:
      text: may be the user's.

    Returns:
      What can be printed.
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class LiteralConsole(Console):
    """A console that shows strings as they are, in prints, tables and titles; style comes from arguments alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See `Console.render_str`, through which all strings pass before they are laid out."""
        plain: dict[str, Any] = options | {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(self.shown(text), **plain)

    def on_broken_pipe(self) -> None:
        """The reader, such as ``head``, has seen enough: the work goes on unseen, for what it saves."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def shown(self, text: str) -> str:
        """How a string is written here."""
        return visible(text)


def console(file: IO[str] | None = None) -> Console:
    """A console that shows all text literally.

    Args:
      file: where to; none: standard output, which from then on replaces characters that its encoding does not have.

    Returns:
      The console.
    """
    if file is None:
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    at_terminal = file is None and sys.stdout is not None and sys.stdout.isatty()
    return LiteralConsole(file=file, width=None if at_terminal else _WIDTH)


def flush() -> None:
    """Hands on what was printed, where the output is not closed."""
    if sys.stdout is not None:
        sys.stdout.flush()


def styled(text: object, style: str) -> Text:
    """A piece of a line in a style of its own, for `Console.print` beside strings.

    Args:
      text: shown literally.
      style: as rich names it, such as ``bold``.

    Returns:
      What `Console.print` takes.
    """
    return Text(visible(str(text)), style=style)


def complain(text: object) -> None:
    """One line on standard error, whatever the message holds; one of megabytes is cut in the middle.

    Args:
      text: the message, of any size.
    """
    line = visible(one_line(text))
    if len(line) > _MOST:
        line = f"{line[: _MOST // 2]} … {line[-_MOST // 2 :]}"
    if sys.stderr is not None:  # closed: print would take the output in its place
        print(f"aljax: {line}", file=sys.stderr)


def deliver(
    saves: Iterable[Callable[[], None]], show: Callable[[], None], draw: Callable[[], list[str]] | None = None
) -> None:
    """Saves results, then shows them, then draws them: whatever fails costs nothing of the rest.

    Args:
      saves: each writes something; what one cannot write is shown all the same.
      show: prints.
      draw: makes pictures, and returns a complaint for each that failed.

    Raises:
      UserError: something could not be saved.
    """
    troubles = []
    for save in saves:
        try:
            save()
        except UserError as trouble:
            troubles.append(str(trouble))
    show()
    for complaint in draw() if draw is not None else ():
        complain(complaint)
    if troubles:
        raise UserError("; ".join(troubles))


@contextlib.contextmanager
def bar(console: Console, doing: str, total: int, what: str) -> Iterator[tuple[Progress, TaskID]]:
    """A bar with the time that is left; silent where the output is no terminal.

    Args:
      console: where it is drawn.
      doing: what is done, in a word.
      total: how much there is to do.
      what: is counted.

    Yields:
      The bar and its task, for ``bar.update(task, completed=..., note=...)``.
    """
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[what]}{task.fields[note]}", markup=False), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as shown:
        yield shown, shown.add_task(visible(doing), total=total, what=visible(what), note="")
