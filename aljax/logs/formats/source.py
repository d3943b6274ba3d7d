"""What a reader of traces is."""

import dataclasses
from collections.abc import Callable
from typing import Any

from aljax.logs.spans import ODD, Intake


@dataclasses.dataclass(frozen=True)
class Source:
    """A form in which traces are kept, and its reader."""

    name: str
    has_shape: Callable[[Any], bool]
    """Whether a document is of the form; may fail on documents of any other."""
    read: Callable[[Any, Intake], None]
    """Takes the spans of a document, or of a piece of one."""
    what: str
    """What it looks for, for a file that is of no form."""

    def recognises(self, document: Any) -> bool:
        """Whether a document is of the form.

        Args:
          document: any.

        Returns:
          Whether this reader knows it.
        """
        try:
            return self.has_shape(document)
        except ODD:
            return False
