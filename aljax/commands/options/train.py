"""What ``aljax train`` may be told."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, UseAppendAction, arg

from aljax.commands.options.shared import USUAL, Config, Given, Overrides
from aljax.options import (
    Algorithm,
    Hyperparameters,
    LearnConfig,
    LearnHyperparameters,
    Protocol,
    RegimeName,
)


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a policy by REINFORCE, evaluate it beside the heuristics, write a run folder.

    All seeds train at once, in one compiled program. The folder appears when everything in it is complete:
    configuration, scenario, metrics.json, tables, learning curves, plots and the policy's checkpoint.

    With --data, policies learn from logged episodes: supervised (imitation, cost-sensitive classification), offline
    (fitted Q, conservative Q, policy gradient), or online from what --algorithm made of the log.

    Try:
      aljax train                                  the paper's experiment
      aljax train --scenario escalation --seeds 20
      aljax train --baseline none --no-normalise --out runs/no-baseline
      aljax train --scenario my_agent.toml --set weights.latency=1.0
      aljax train --scenario outage --objective cvar --alpha 0.1
      aljax train --scenario timeouts --constraint "P(latency>20)<=0.05" --episodes 36000
      aljax train --from runs/sweep-rates --row 17   a row of a sweep again, bit for bit
      aljax train --regime offline --data log.jsonl.gz --algorithm cql
      aljax train --regime online --start runs/paper-1 --episodes 1200
    """

    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    config: OmitArgPrefixes[Config] = USUAL
    hyperparameters: OmitArgPrefixes[Hyperparameters] = Hyperparameters()
    protocol: OmitArgPrefixes[Protocol] = Protocol()
    regime: RegimeName = "online"
    """Learn in the simulator, or from logs."""
    data: UseAppendAction[tuple[Path, ...]] = ()
    """A log to learn from, as aljax collect or import writes it; repeat for several, which are pooled."""
    other_scenario: bool = False
    """Take logs that say that they were logged under another scenario, with a warning."""
    start: Annotated[Path | None, arg(metavar="RUN")] = None
    """Go on from this run's policies, seed by seed (online)."""
    algorithm: Algorithm | None = None
    """What is made of the log; default: cost_sensitive if supervised, else fitted_q."""
    updates: int = LearnConfig.updates
    """Gradient steps on the log."""
    minibatch: int = LearnConfig.minibatch
    """Logged episodes a gradient step."""
    learning: OmitArgPrefixes[LearnHyperparameters] = LearnHyperparameters()
    out: Path | None = None
    """The run folder to make; by default runs/SCENARIO-1, or the next number that is free."""
    overwrite: bool = False
    """Replace the run folder if there is one."""
    json: Path | None = None
    """Write metrics.json to this file as well."""
    plots: bool = True
    """Draw the plots."""
    source: Annotated[Path | None, arg(name="from", metavar="SWEEP")] = None
    """Take everything from a row of this sweep folder."""
    row: int | None = None
    """Which row."""
    given: Given = frozenset()
