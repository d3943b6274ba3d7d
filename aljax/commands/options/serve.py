"""What ``aljax serve`` may be told."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg


@dataclasses.dataclass(frozen=True)
class Serve:
    """Serve a router to agents by the Model Context Protocol, over standard input and output.

    The server has two tools: next_action says what is worth calling next, record takes what came of a call. It runs
    until its client ends it.

    Try:
      aljax serve router
      aljax serve router --mode force --log router.jsonl
    """

    folder: Annotated[Positional[Path], arg(metavar="DIR")]
    """The folder that aljax export wrote, or its router.json."""
    mode: Literal["mask", "force"] = "mask"
    """What is said to be worth calling: mask, all that is nearly as likely as the likeliest; force, only that."""
    log: Path | None = None
    """An agent log to append every call to."""
    sample: bool = False
    """Draw among the calls worth making instead of taking the likeliest, so that the log can be learned from."""
