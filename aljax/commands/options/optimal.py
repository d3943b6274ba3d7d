"""What ``aljax optimal`` may be told."""

import dataclasses
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from aljax.commands.options.shared import Config, Given, Overrides
from aljax.options import Hyperparameters, Protocol

_LONG = Config(episodes=120_000)


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The best that any policy could do: the exact optimum, or bounds on it.

    Where every action only adds to the task (no gain, noise or misreading), backward induction gives the exact
    optimum, and the optimal actions from a start. Elsewhere an information relaxation bounds the cost of every policy
    from below, and the best of the policies at hand, trained here or in a run, bounds the optimum from above.

    Try:
      aljax optimal
      aljax optimal --scenario escalation --start 3,2.5
      aljax optimal --constraint "money<=6"        what any policy costs that keeps a promise, at least
      aljax optimal --objective cvar --alpha 0.1   how low the mean of the worst tenth can be
      aljax optimal --scenario service_desk
      aljax optimal --scenario service_desk --from-run runs/service_desk-1
    """

    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    start: str | None = None
    """Show the optimal actions from this task vector, e.g. 0.9,6.4,6.9; default: the middle of the starts."""
    protocol: OmitArgPrefixes[Protocol] = Protocol()
    from_run: Path | None = None
    """For bounds: take the policies of this run folder instead of training some."""
    config: OmitArgPrefixes[Config] = _LONG
    hyperparameters: OmitArgPrefixes[Hyperparameters] = Hyperparameters()
    figure: Path | None = None
    """Draw the optimal first action and the least expected cost over the starts to this PNG file."""
    json: Path | None = None
    """Write the figures to this file, as metrics.json has them."""
    given: Given = frozenset()
