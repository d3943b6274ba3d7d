"""What ``aljax evaluate`` may be told."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from aljax.commands.options.shared import Overrides


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Reload a run and evaluate its policy, where it trained or on a changed scenario (distribution shift).

    Try:
      aljax evaluate runs/paper-1
      aljax evaluate runs/paper-1 --set actions.failure.retrieve=0.3
      aljax evaluate runs/paper-1 --set horizon=14 --out runs/paper-1-longer
      aljax evaluate runs/my_agent-1 --draws 200 --widen 2     the worst tenth of environments that may be the true one
    """

    folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run folder that aljax train wrote."""
    scenario: str | None = None
    """Another scenario to evaluate on, of the same actions and coordinates in any order; default: the run's own."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    seed: int | None = None
    """Seed of the evaluation's chance; default: the run's own, which repeats its evaluation exactly."""
    evaluation_episodes: int | None = None
    """Episodes of evaluation a seed; default: the run's own number."""
    draws: int = 0
    """Evaluate besides in so many environments a seed, drawn from the scenario's [intervals]; 0: in none."""
    widen: float = 1.0
    """Take each number for so many times as unsure as its interval says."""
    out: Path | None = None
    """Write metrics.json, tables and plots into this new folder."""
    overwrite: bool = False
    """Replace the folder if there is one."""
    json: Path | None = None
    """Write the figures to this file, as metrics.json has them."""
    plots: bool = True
    """Draw the plots, where a folder is written."""
