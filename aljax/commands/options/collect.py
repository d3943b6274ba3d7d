"""What ``aljax collect`` may be told."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from aljax.commands.options.shared import Overrides, Policies


@dataclasses.dataclass(frozen=True)
class Collect:
    """Write a log: what policies did, step by step, with the probability of each choice.

    All policies meet the same tasks, each with luck of its own. A run's policy draws its actions, as in training.

    Try:
      aljax collect log.jsonl.gz --policy random --episodes 5000
      aljax collect log.jsonl.gz --scenario escalation --policy runs/escalation-1 --policy cost_aware --epsilon 0.2
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """The file to write, one JSON object a row; gzipped if it ends in .gz."""
    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    policy: Policies = ()
    """latency, cost_aware, random, optimal, breaker (where something goes down), a run folder, or a run folder and a
    seed as RUN:2; repeat for several loggers. Default: latency."""
    epsilon: float = 0.0
    """With this probability play any allowed row instead: without it, logs of a fixed rule cover nothing else."""
    greedy: bool = False
    """Runs' policies play their likeliest row instead of drawing."""
    episodes: int = 1_000
    """Episodes a policy."""
    seed: int = 0
    """The same number, with as many episodes, gives the same tasks, whichever policies play them."""
    overwrite: bool = False
    """Replace the file if there is one."""
