"""What reading an agent log gives."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from aljax.errors import UserError, short
from aljax.logs.fields import expected


@dataclasses.dataclass(frozen=True)
class LoggedEpisode:
    """One episode: what an agent did, step by step, and how it ended."""

    where: str
    """The file, for messages."""
    name: str
    task: str
    """The episode's name, where the log has none."""
    logger: str
    """Which agent, model or pipeline acted."""
    steps: Sequence[Mapping[str, Any]]
    """A row a step: ``kind``, ``name``, and where known ``ok``, ``latency_s`` (seconds), ``cost_usd`` (dollars), ..."""
    end: Mapping[str, Any]
    """The row after the last: where known ``success``, ``duration_s`` (seconds), ``reason``, ..."""
    rows: Sequence[int]
    """Numbers of the steps' rows, from 1, and last that of the end."""

    def refuse(self, step: int, text: str) -> UserError:
        """A complaint about the row of a step; −1: of the end.

        Args:
          step: the step's number; −1: the end.
          text: what is wrong.

        Returns:
          The error to raise: one line with file and row.
        """
        return UserError(f"{self.where}, row {self.rows[step]}: {text}")

    def require_success(self) -> bool:
        """Whether it succeeded, where that has to be known.

        Returns:
          It did.

        Raises:
          UserError: one line with file and row: nobody says.
        """
        if self.end.get("success") is None:
            raise self.refuse(-1, expected(self.end, "success", "true or false"))
        return self.end["success"]

    def require_outcomes(self, *kinds: str) -> None:
        """Refuses the episode where a step does not say whether it worked.

        Args:
          kinds: of the steps that must, such as ``tool``.

        Raises:
          UserError: one line with file, row and the step's name.
        """
        for t, step in enumerate(self.steps):
            if step["kind"] in kinds and step.get("ok") is None:
                raise self.refuse(t, f"ok: expected true or false: did {short(step['name'])} work?")
