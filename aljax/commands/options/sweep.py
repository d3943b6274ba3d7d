"""What ``aljax sweep`` may be told."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from aljax.commands.options.shared import Overrides


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Train many configurations at once: hyperparameters, cost weights, any number of a scenario, network sizes.

    The file says which axes vary, over what, how points are chosen (grid, random, sobol, tpe, cma-es, nsga-ii) and how
    many seeds each gets. First comes the plan: runs, compilations, memory, time. Finished chunks are kept: the same
    command goes on where it was stopped, and shows the results of a sweep that is complete.

    Try:
      aljax sweep learning_rate.toml --plan
      aljax sweep learning_rate.toml --seeds 10 --out runs/learning-rate
      srun aljax sweep big.toml --distributed                         one sweep over all hosts of a job
      aljax train --from runs/learning-rate --row 17                  train one of its rows again, with its policy
    """

    file: Annotated[Positional[Path], arg(metavar="FILE.toml")]
    """What to sweep; docs/reference/sweep_files.md describes the file."""
    plan: bool = False
    """Stop after the plan."""
    scenario: str | None = None
    """In place of the file's scenario."""
    overrides: Overrides = ()
    """Fix another value for all runs, e.g. batch=60 or actions.failure.search=0.3; repeat for more."""
    episodes: int | None = None
    """Training episodes a run, in place of the file's."""
    seeds: int | None = None
    """Seeds a configuration, in place of the file's."""
    out: Path | None = None
    """The folder for finished chunks and results; default: runs/sweep-FILE."""
    json: Path | None = None
    """Write plan, best configurations and importances to this file."""
    plots: bool = True
    """Draw the plots."""
    lanes: int | None = None
    """Runs side by side on each device; default: what suits the device and fits in memory."""
    devices: int | None = None
    """How many devices to use; default: all. On a CPU, each core is a device."""
    memory: float | None = None
    """Memory that may be taken on each device, GiB; default: 80 % of what is there."""
    study: str | None = None
    """For tpe, cma-es and nsga-ii: the database of the study, shared by all workers; default: SQLite in the folder."""
    distributed: bool = False
    """Join the hosts of a Slurm, Open MPI or Kubernetes job, found by JAX."""
    coordinator: str | None = None
    """Join hosts by hand: address of the first, HOST:PORT. Needs --processes and --process."""
    processes: int | None = None
    """How many processes there are in all."""
    process: int | None = None
    """Which of them this is, from 0."""
