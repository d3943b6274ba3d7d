"""Which row of a scenario a call in an agent's log is."""

import fnmatch
import functools
import re
from collections import Counter
from typing import Any

from aljax.scenario import Scenario

OTHER = "other"
"""The row for tools that no other row stands for."""


class Rows:
    """A scenario's rows, by what calls are called in logs."""

    def __init__(self, scenario: Scenario):
        """For logs under this scenario."""
        self.kinds = dict(zip(scenario.action_names, scenario.kinds, strict=True))
        self.number = {name: row for row, name in enumerate(scenario.action_names)}
        self._patterns = [
            (re.compile(fnmatch.translate(pattern)), row) for row, found in scenario.covers.items() for pattern in found
        ]
        self._many = {row for row, patterns in scenario.covers.items() if set(patterns) - {row}} | {OTHER}
        count = Counter(scenario.kinds)
        self._only = {kind: name for name, kind in self.kinds.items() if count[kind] == 1 and kind != "tool"}
        self._found = functools.cache(self._look)

    def row(self, kind: str, name: str) -> int | None:
        """The row of a call.

        Args:
          kind: of the call, as in a log.
          name: what was called.

        Returns:
          The row of this name and kind; else the one that covers the name; else, of a tool, the row `OTHER`, and of
          anything but a tool the only row of its kind. None: there is none.
        """
        return self._found(kind, name)

    def chosen(self, name: str) -> int | None:
        """The row of what could be chosen, of whichever kind.

        Args:
          name: of a call, or of a row.

        Returns:
          As `row`.
        """
        return self.row(self.kinds.get(name, "tool"), name)

    def stands_for_several(self, row: int) -> bool:
        """Whether calls of several names may be of a row.

        Args:
          row: its number.

        Returns:
          Whether a call's probability need not be the row's.
        """
        return list(self.number)[row] in self._many

    def _look(self, kind: str, name: str) -> int | None:
        if self.kinds.get(name) == kind:
            return self.number[name]
        for pattern, row in self._patterns:
            if self.kinds[row] == kind and pattern.match(name):
                return self.number[row]
        rest: Any = OTHER if kind == "tool" and self.kinds.get(OTHER) == "tool" else self._only.get(kind)
        return self.number.get(rest)
