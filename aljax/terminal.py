"""What the commands share at the terminal."""

import contextlib
from collections.abc import Iterator
from typing import Annotated

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
from tyro.conf import UseAppendAction, arg

Overrides = Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="KEY=VALUE")]
"""An option that changes a number of a scenario, and may be repeated."""


@contextlib.contextmanager
def bar(console: Console, doing: str, total: int, what: str) -> Iterator[tuple[Progress, TaskID]]:
    """A bar with the time that is left; silent where the output is no terminal."""
    columns = (
        TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn(f"{what}{{task.fields[note]}}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as shown:
        yield shown, shown.add_task(doing, total=total, note="")
