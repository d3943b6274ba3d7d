"""What ``aljax baseline`` may be told."""

import dataclasses
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from aljax.commands.options.shared import Overrides
from aljax.options import Protocol


@dataclasses.dataclass(frozen=True)
class Baseline:
    """Evaluate the policies that need no training: latency, cost-aware, random.

    Try:
      aljax baseline --scenario escalation --json baseline.json
    """

    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    protocol: OmitArgPrefixes[Protocol] = Protocol()
    json: Path | None = None
    """Write the figures to this file, as metrics.json has them."""
