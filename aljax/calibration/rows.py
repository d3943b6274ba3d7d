"""Which rows a table has for the tools of a log, and how they are called."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from aljax.calibration.runs import CLARIFY, ESCALATE, OTHER, TERMINATE, Run, with_rows
from aljax.errors import UserError
from aljax.overrides import COLUMNS

UNEXPLAINED = "unexplained"
"""The coordinate of what no count of calls brings into order."""
_LONGEST = 100  # characters of a name


def arrange(runs: Sequence[Run], least: int) -> list[Run]:
    """Runs whose tools have the names of rows; those that were hardly called are one.

    Args:
      runs: as read.
      least: tools that were called less often are `OTHER`.

    Returns:
      The runs.

    Raises:
      UserError: there are none, or no tool is called in them.
    """
    called = Counter(call.row for run in runs for call in run.calls if call.kind == "tool")
    if not runs:
        raise UserError("nothing to calibrate: the log has no episode with a step")
    if not any(call.kind in ("tool", CLARIFY) for run in runs for call in run.calls):
        raise UserError("nothing to calibrate: no tool is called in the log, and the user is never asked")
    names: dict[str, str] = {}
    taken = {CLARIFY, ESCALATE, TERMINATE, OTHER, UNEXPLAINED, "kind", *COLUMNS}
    for tool, count in sorted(called.items(), key=lambda item: (-item[1], item[0])):
        names[tool] = OTHER if count < least else _row_name(tool, taken)
        taken.add(names[tool])
    return with_rows(runs, names)


def _row_name(tool: str, taken: set[str]) -> str:
    """A tool's name as a scenario may have it."""
    shown = unicodedata.normalize("NFKC", tool)
    shown = "".join("_" if char in ".=" or char.isspace() or not char.isprintable() else char for char in shown)
    shown = shown[: _LONGEST - 4] or "unnamed"
    found, number = shown, 2
    while found in taken:
        found, number = f"{shown}_{number}", number + 1
    return found


def rows_of(runs: Sequence[Run]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Rows of the table: tools by how often they were called, `OTHER` after them, then what is no tool.

    Args:
      runs: as `arrange` gives them.

    Returns:
      Their names and their kinds.
    """
    called = Counter((call.kind, call.row) for run in runs for call in run.calls)
    tools = [
        row for (kind, row) in sorted(called, key=lambda key: (key[1] == OTHER, -called[key], key)) if kind == "tool"
    ]
    rest = [kind for kind in (CLARIFY, ESCALATE) if (kind, kind) in called]
    return (*tools, *rest, TERMINATE), (*["tool"] * len(tools), *rest, TERMINATE)


def covers_of(runs: Sequence[Run]) -> dict[str, list[str]]:
    """What each row stands for, where that is more than calls of its own name.

    Args:
      runs: as `arrange` gives them.

    Returns:
      Names in the log, by row; `OTHER`, which stands for what is left, is not among them.
    """
    found: dict[str, set[str]] = {}
    for run in runs:
        for call in run.calls:
            found.setdefault(call.row, set()).add(call.name)
    return {row: sorted(names) for row, names in found.items() if row != OTHER and names != {row}}
