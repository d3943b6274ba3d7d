"""Which scenarios can be followed from events alone: names of calls, whether they worked, seconds and dollars."""

import numpy as np

from aljax.errors import listed
from aljax.policy import Learned, Told
from aljax.scenario import Scenario


def read_at_start(scenario: Scenario) -> list[str]:
    """Coordinates whose start no event tells: neither blind nor the same in every episode.

    Args:
      scenario: to be followed.

    Returns:
      Their names, which an agent can give only if it reads them.
    """
    params = scenario.params
    low, high = np.asarray(params.start_low), np.asarray(params.start_high)
    varies = low != high
    if params.start_points is not None:
        points = np.asarray(params.start_points)
        varies |= (points != points[0]).any(0)
    hidden = (varies | (np.asarray(params.misread) > 0)) & ~_blind(scenario)
    return [name for name, is_hidden in zip(scenario.coordinate_names, hidden, strict=True) if is_hidden]


def obstacle(scenario: Scenario, policy: Learned, *, readings: bool = False) -> str:
    """Why a policy cannot be run from events, and what to change.

    Args:
      scenario: that it was trained in.
      policy: what was trained.
      readings: the agent tells at the start what it reads of coordinates that events don't tell.

    Returns:
      One line; empty: it can.
    """
    if policy.name == Told.name:
        return "the policy is told which rows are up, which no agent sees: train with --inputs belief"
    params, table = scenario.params, scenario.params.actions
    names, rows = scenario.coordinate_names, np.asarray(scenario.action_names)
    played = np.asarray(table.allowed) & ~np.asarray(table.ends)
    noisy = rows[played & (np.asarray(table.noise) > 0)]
    if noisy.size:
        return f"what {listed(noisy.tolist())} does is noisy, which no event tells: set its noise to 0 and train again"
    read = read_at_start(scenario)
    if read and not readings:
        return (
            f"where {listed(read)} starts is seen by the agent, but told by no event: make it blind, or give it one "
            "start and no misreading, and train again; or export with --readings, if your agent can say it at the start"
        )
    unknown = _blind(scenario) | (np.asarray(params.misread) > 0)
    factors = np.asarray(table.gain)[played] != 1.0
    for place in np.flatnonzero(unknown):
        by = rows[played][factors[:, place]]
        if by.size:
            return (
                f"{listed(by.tolist())} multiplies {names[place]}, of which the agent does not know where it stands: "
                "let it shift it instead, and train again"
            )
    reveals = rows[played & np.asarray(table.reveals)]
    if unknown.any() and reveals.size:
        return (
            f"{listed(reveals.tolist())} reveals {listed([names[place] for place in np.flatnonzero(unknown)])}, and no "
            "event tells what it was: set its reveals to false, and train again"
        )
    return ""


def known_throughout(scenario: Scenario) -> bool:
    """Whether an agent knows at every step where all coordinates stand, so that it sees the end of a task.

    Args:
      scenario: one without `obstacle`.

    Returns:
      Whether it does.
    """
    return not (_blind(scenario) | (np.asarray(scenario.params.misread) > 0)).any()


def _blind(scenario: Scenario) -> np.ndarray:
    """Which coordinates are blind. Boolean ``[d]``"""
    params = scenario.params
    return np.zeros(len(scenario.coordinate_names), bool) if params.blind is None else np.asarray(params.blind)
