"""What ``aljax calibrate`` may be told."""

import dataclasses
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from aljax.options import CalibrationSettings

Groups = Annotated[UseAppendAction[tuple[str, ...]], arg(name="group", metavar="PATTERN=NAME")]
Loggers = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME")]
Tasks = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PATTERN")]


@dataclasses.dataclass(frozen=True)
class Calibrate:
    """Make a scenario of an agent log, and say how well it predicts tasks that it has not seen.

    Beside the scenario stand a report (my_agent.md) and its pictures. Each number of the scenario has its source:
    logged, shrunk, declared or assumed.

    Try:
      aljax import traces.jsonl --out agent.jsonl.gz
      aljax calibrate agent.jsonl.gz --out my_agent.toml
      aljax calibrate router.jsonl --against my_agent.toml
      aljax calibrate agent.jsonl.gz --out my_agent.toml --group 'get_*=look_up' --weights latency=0.01,violation=10
    """

    data: Annotated[Positional[tuple[Path, ...]], arg(metavar="LOG")]
    """Agent logs, as aljax import writes them; several are pooled."""
    out: Path | None = None
    """The scenario to write, a file that ends in .toml. Needed."""
    groups: Groups = ()
    """Tools whose names fit the pattern, as of a shell, are one row of this name; repeat for more."""
    logger: Loggers = ()
    """Only the runs of this agent, model or pipeline; repeat for more."""
    task: Tasks = ()
    """Only the runs of tasks whose names fit the pattern, as of a shell; repeat for more."""
    prices: Path | None = None
    """Where dollars are not logged: TOML, a table a model, its input and output in dollars a million tokens."""
    weights: str | None = None
    """What things are worth in dollars, e.g. latency=0.06,money=1,violation=3,failure=0.5,divergence=0; what is left
    out is as here, and the scenario says that it is assumed."""
    against: str | None = None
    """Instead of making a scenario, say where the log has drifted from this one, for instance that of a router: a
    scenario's name, or the path of a TOML file. The log's order is that of time."""
    settings: OmitArgPrefixes[CalibrationSettings] = CalibrationSettings()
    overwrite: bool = False
    """Replace files that are there."""
    plots: bool = True
    """Draw the pictures."""
    json: Path | None = None
    """Write estimates and prediction to this file."""
