"""What tables look like, on the terminal and in files."""

import io
import re
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from aljax.host.terminal import LiteralConsole

_UNFOLDED = 100_000  # columns: a folded cell would be a row of its own in Markdown


def show(console: Console, tables: Iterable[Table]) -> None:
    """Prints tables, each under its title on a line of its own: inside a narrow table a title would be folded.

    Args:
      console: where to.
      tables: in this order.
    """
    for table in tables:
        title, table.title = table.title, None
        console.print(title, style="bold", soft_wrap=True)
        console.print(table)
        table.title = title


def markdown(tables: Iterable[Table]) -> str:
    """Tables as text for a file; what Markdown would read in a name is escaped, so that a cell stays a cell.

    Args:
      tables: made plain (`new_table`).

    Returns:
      Markdown, a line a row.
    """
    stream = io.StringIO()
    show(_MarkdownConsole(file=stream, width=_UNFOLDED, color_system=None), tables)
    return "\n".join(line.rstrip() for line in stream.getvalue().strip().splitlines()) + "\n"


class _MarkdownConsole(LiteralConsole):
    """Writes Markdown: every string on one line."""

    def shown(self, text: str) -> str:
        """See `LiteralConsole.shown`."""
        return re.sub(r"[\\|<`*]", r"\\\g<0>", super().shown(text).replace("\n", "\\n"))


def new_table(title: str, plain: bool) -> Table:
    """An empty table with a title; `plain`: as Markdown.

    Args:
      title: above it.
      plain: drawn as Markdown.

    Returns:
      A table without columns.
    """
    return Table(title=title, box=box.MARKDOWN if plain else box.SIMPLE_HEAD, title_justify="left", title_style="bold")


def in_short(value: Any) -> str:
    """A number with four digits, for a table.

    Args:
      value: anything that is a number.

    Returns:
      Its text.
    """
    return f"{float(value):.4g}"
