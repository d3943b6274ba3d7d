"""What ``aljax export`` may be told."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a run's policy as a router: one file of data, and one module of Python's standard library that reads it.

    Try:
      aljax export runs/my_agent-1 --out router
      aljax export runs/my_agent-1:2 --out router --margin 0.3 --fallback latency
      python router/router.py --check
    """

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run folder that aljax train wrote, or a folder and a seed as RUN:2; default: the seed of least cost."""
    out: Path
    """The folder to write: router.json, router.py, README.md."""
    margin: float = 0.1
    """Calls are offered that are at least so many times as likely as the likeliest one; 1: only that one."""
    fallback: str = "cost_aware"
    """What to do where training says nothing: cost_aware (the least expected cost first), latency (the quickest), or a
    row by its name."""
    readings: bool = False
    """Your agent says at the start of an episode what it reads of coordinates that no event tells."""
    overwrite: bool = False
    """Replace the folder if there is one."""
