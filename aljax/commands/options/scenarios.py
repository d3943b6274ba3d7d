"""What ``aljax scenarios`` may be told."""

import dataclasses

from tyro.conf import Positional

from aljax.commands.options.shared import Overrides


@dataclasses.dataclass(frozen=True)
class Scenarios:
    """List the scenarios, or show one as tables.

    Try:
      aljax scenarios
      aljax scenarios service_desk
      aljax scenarios my_agent.toml        check a file of your own
    """

    name: Positional[str | None] = None
    """A scenario's name, or the path of a TOML file; none lists what ships with aljax."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3, horizon=20, drift.evidence=0.1."""
