"""What ``aljax bench`` may be told."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure everything side by side on this machine: stepping, rollouts, training, floors, growth, start-up.

    Needs the source tree, where the benchmarks are, and the extra `bench` for the rivals; some half an hour on 2 cores.

    Try:
      aljax bench --quick
      aljax bench --json bench.json --page bench.md --figures .
      aljax bench --parts stepping floors
    """

    quick: bool = False
    """Everything small: proves that it runs, measures nothing worth quoting."""
    parts: tuple[str, ...] = ()
    """Only these: stepping, rollouts, training, floors, growth, startup."""
    repeats: int = 10
    """Times that a row is timed."""
    json: Path | None = None
    """Write the receipt to this file; a run that was stopped goes on from there."""
    page: Path | None = None
    """Write the tables to this file, Markdown."""
    figures: Path | None = None
    """Write the plots into this folder."""
