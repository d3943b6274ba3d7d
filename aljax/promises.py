"""What a run may promise: bounds on components of the cost, on their means or on how often they pass a threshold."""

import dataclasses
import re
from typing import Any

import numpy as np

from aljax.constraint import exceeds
from aljax.errors import UserError, listed, short
from aljax.options import TrainConfig
from aljax.params import COMPONENTS

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_MEAN = re.compile(rf"\s*(\w+)\s*(?:<=\s*({_NUMBER})\s*)?")
_CHANCE = re.compile(rf"\s*P\(\s*(\w+)\s*>\s*({_NUMBER})?\s*\)\s*(?:<=\s*({_NUMBER})\s*)?")
_LARGEST = 1e9


@dataclasses.dataclass(frozen=True)
class Constraint:
    """One promise about a component of the cost, unweighted: E[C_k] ≤ c, or P(C_k > s) ≤ δ."""

    component: str
    """Which, of `aljax.params.COMPONENTS`."""
    bound: float
    """c, in the component's unit; or δ, a probability. NaN: traced, and not told here."""
    threshold: float | None = None
    """s, in the component's unit; None: the mean is bounded. NaN: traced."""

    @property
    def name(self) -> str:
        """What is bounded: ``E[money]`` or ``P(latency > 12)``."""
        return f"E[{self.component}]" if self.threshold is None else f"P({self.component} > {self.threshold:g})"

    @property
    def form(self) -> str:
        """All of it that is static, as `constraints_of` reads it: the text without its numbers."""
        return self.component if self.threshold is None else f"P({self.component}>)"

    def values(self, costs: Any) -> np.ndarray:
        """What is bounded, of each episode: its mean over episodes is to be at most `bound`.

        Args:
          costs: of episodes, unweighted. ``[..., 5, B]``

        Returns:
          The component; or 1 where it passes the threshold, else 0. float64 ``[..., B]``
        """
        found: Any = np.asarray(costs)[..., COMPONENTS.index(self.component), :]
        if self.threshold is not None:
            bound: Any = np.asarray(self.threshold, np.float32)
            found = exceeds(found, bound)
        return np.asarray(found, np.float64)


def parse_constraint(text: Any) -> Constraint:
    """Reads a promise.

    Args:
      text: such as ``money<=0.02`` or ``P(latency>12)<=0.05``.

    Returns:
      The constraint.

    Raises:
      UserError: it is none, or one of its numbers is out of range.
    """
    found = _parsed(text)
    numbers = () if found is None else (found.bound, *(() if found.threshold is None else (found.threshold,)))
    if found is None or np.isnan(numbers).any():
        wanted = f"such as money<=0.02 or P(latency>12)<=0.05, of {listed(COMPONENTS)}"
        raise UserError(f"constraint: expected {wanted}; got {short(text)}")
    if found.threshold is not None and not 0 < found.bound < 1:
        raise UserError(f"constraint: {short(text)}: expected a probability between 0 and 1, got {found.bound:g}")
    if not all(0 <= number <= _LARGEST for number in numbers):
        raise UserError(f"constraint: {short(text)}: expected numbers from 0 to {_LARGEST:g}")
    return found


def constraints_of(config: TrainConfig) -> tuple[Constraint, ...]:
    """What a run is to promise.

    Args:
      config: shape of the run.

    Returns:
      Its constraints; of a configuration of `aljax.learning.risk.apart` without their numbers.

    Raises:
      UserError: a text that is no constraint.
    """
    return tuple(_parsed(text) or parse_constraint(text) for text in config.constraints)


def check_constraints(texts: Any) -> None:
    """Refuses what is no constraint, and two about the same.

    Args:
      texts: as users give them.

    Raises:
      UserError: one line with the text.
    """
    if not isinstance(texts, tuple):  # a list cannot say what has been compiled
        raise UserError(f"constraints: expected a tuple of texts, such as ('money<=0.02',), got {short(texts)}")
    names = [parse_constraint(text).name for text in texts]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UserError(f"constraint: {name} is bounded twice")


def _parsed(text: Any) -> Constraint | None:
    """A constraint, with NaN for numbers that are left out; None: it is none."""
    if not isinstance(text, str):
        return None
    chance, mean = _CHANCE.fullmatch(text), _MEAN.fullmatch(text)
    if chance is not None:
        component, threshold, bound = chance.groups()
        found = Constraint(component, float(bound or "nan"), float(threshold or "nan"))
    elif mean is not None:
        component, bound = mean.groups()
        found = Constraint(component, float(bound or "nan"))
    else:
        return None
    return found if found.component in COMPONENTS else None
