"""Options that several commands have, and their refusal where they would be without effect."""

import dataclasses
from collections.abc import Set as AbstractSet
from typing import Annotated

from tyro.conf import Suppress, UseAppendAction, arg

from aljax.errors import UserError
from aljax.options import Hyperparameters, TrainConfig

Overrides = Annotated[UseAppendAction[tuple[str, ...]], arg(name="set", metavar="KEY=VALUE")]
"""An option that changes a number of a scenario, and may be repeated."""

Policies = Annotated[UseAppendAction[tuple[str, ...]], arg(name="policy", metavar="POLICY")]
"""An option that names a policy, and may be repeated."""

Given = Annotated[frozenset[str], Suppress]
"""Names of the options that the command line has: one that is given its default is given, too."""


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """The shape of a training run. Static: a new value of any field compiles anew, but for a constraint's numbers."""

    constraints: Annotated[UseAppendAction[tuple[str, ...]], arg(name="constraint", metavar="PROMISE")] = ()
    """Promise such as money<=0.02, a component's mean, or P(latency>12)<=0.05, how often it is more than so much, which
    multipliers learned in training keep; repeat for more."""

    def plain(self) -> TrainConfig:
        """The same for the library."""
        return TrainConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(TrainConfig)})


USUAL = Config()
"""The usual shape of training."""


def names(options: type) -> set[str]:
    """The options that fill a dataclass."""
    return {field.name for field in dataclasses.fields(options)}


TRAINING = names(TrainConfig) | names(Hyperparameters) | {"constraint"}
"""The options of training in the simulator."""


def refuse(options: AbstractSet[str], reason: str) -> None:
    """Refuses options that would be without effect.

    Raises:
      UserError: there are some.
    """
    if options:
        raise UserError(f"{', '.join(f'--{name}'.replace('_', '-') for name in sorted(options))}: {reason}")
