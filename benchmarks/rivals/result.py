"""What a rival's training gives."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Run:
    """One seed's learning, seen from each update's batch."""

    cost: np.ndarray
    """Mean total cost. ``[updates]``"""
    success: np.ndarray
    """Share of episodes that succeeded. ``[updates]``"""
    steps: int
    """Steps played in all."""
