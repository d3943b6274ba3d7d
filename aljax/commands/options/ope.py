"""What ``aljax ope`` may be told."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from aljax.commands.options.shared import Overrides, Policies
from aljax.options import EstimateSettings


@dataclasses.dataclass(frozen=True)
class Ope:
    """Estimate from a log what policies would have cost, without playing them, and say whether to believe it.

    Try:
      aljax ope log.jsonl.gz --policy runs/paper-1
      aljax ope log.jsonl.gz other.jsonl.gz --policy cost_aware --epsilon 0.1 --truth 20000
    """

    data: Annotated[Positional[tuple[Path, ...]], arg(metavar="LOG")]
    """Logs of the scenario's episodes, as aljax collect writes them, or of agents; several are pooled."""
    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, such as a weight λ; repeat for more."""
    other_scenario: bool = False
    """Take logs that say that they were logged under another scenario, with a warning."""
    policy: Policies = ()
    """The policies in question: latency, cost_aware, random, optimal, breaker (where something goes down), a run
    folder, or RUN:2 for its third seed."""
    epsilon: float = 0.0
    """With this probability they play any allowed row instead."""
    sample: bool = False
    """Runs' policies draw their actions instead of playing the likeliest."""
    settings: Annotated[EstimateSettings, arg(name="")] = EstimateSettings()
    truth: int = 0
    """Also play each policy this many times in the simulator, to hold the estimates against."""
    figure: Path | None = None
    """Draw the intervals to this PNG file."""
    json: Path | None = None
    """Write the figures to this file."""
