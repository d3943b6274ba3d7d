"""What a reader of traces is."""

import dataclasses
from collections.abc import Callable
from typing import Any

from aljax.logs.spans import Intake


@dataclasses.dataclass(frozen=True)
class Source:
    """A form in which traces are kept, and its reader."""

    name: str
    recognises: Callable[[Any], bool]
    """Whether a document is of the form."""
    read: Callable[[Any, Intake], None]
    """Takes the spans of a document, or of a piece of one."""
    what: str
    """What it looks for, for a file that is of no form."""
