"""What an agent chose, step by step, in a log: its calls, each with the turns of the model that led to it.

Logs have a row for every turn of the model, but a turn is no choice of its own: it is how the next one came about. So
an episode is a list of *moves*, each a call, a question to the user, a hand-over or the end, and what passed before it.
What the user does in answer, be it in several messages and with tools of their own, belongs to the question.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from aljax.logs.episode import LoggedEpisode

STOP = "terminate"
"""Kind and name of the move that ends an episode in which nobody hands over."""


class Spent(NamedTuple):
    """Seconds and dollars; none where they are unknown, and not 0."""

    seconds: float | None = 0.0
    dollars: float | None = 0.0

    def plus(self, other: "Spent") -> "Spent":
        """Both together, unknown where either is.

        Args:
          other: what is added.

        Returns:
          The sums.
        """
        return Spent(*(None if a is None or b is None else a + b for a, b in zip(self, other, strict=True)))


NOTHING = Spent()
"""Nothing passed."""


class Move(NamedTuple):
    """One choice of an agent's."""

    kind: str
    """``tool``, ``reason``, ``clarify``, ``escalate``, or ``terminate``, which ends the episode."""
    name: str
    ok: bool | None
    """Whether it worked; none: nobody says."""
    turns: int
    """How many turns of the model led to it."""
    before: Spent
    """What these turns took and cost."""
    own: Spent
    """What the call itself took and cost, or the user's answer."""
    step: int
    """The episode's step; of the end, one past the last."""


def spent(step: Mapping[str, Any]) -> Spent:
    """What a logged step took and cost.

    Args:
      step: a row of the log.

    Returns:
      Its seconds and dollars, where known.
    """
    return Spent(step.get("latency_s"), step.get("cost_usd"))


def moves_of(episode: LoggedEpisode) -> list[Move]:
    """What the agent chose in an episode.

    Args:
      episode: as it was logged.

    Returns:
      Its moves. The last is of kind `STOP`, with the turns after the last call, unless a hand-over or a stop was
      the last call.
    """
    moves: list[Move] = []
    turns, before, answering = 0, NOTHING, False
    for number, step in enumerate(episode.steps):
        kind, passed = step["kind"], spent(step)
        if kind == "llm":
            turns, before, answering = turns + 1, before.plus(passed), False
        elif answering and (kind == "clarify" or step.get("by") == "user"):
            moves[-1] = moves[-1]._replace(own=moves[-1].own.plus(passed))
        elif step.get("by") == "user":
            before = before.plus(passed)
        else:
            moves.append(Move(kind, step["name"], step.get("ok"), turns, before, passed, number))
            turns, before, answering = 0, NOTHING, kind == "clarify"
    if not moves or turns or moves[-1].kind not in ("escalate", STOP):
        moves.append(Move(STOP, STOP, True, turns, before, NOTHING, len(episode.steps)))
    return moves
