"""What every reader of agents' logs gives, and what a reader is."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aljax.errors import UserError, short
from aljax.logs.lines import Lines


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
    """The row after the last: ``success``, and where known ``duration_s`` (seconds), ``reason``, ..."""
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


@dataclasses.dataclass(frozen=True)
class Format:
    """A form in which agents' runs are kept, and its reader."""

    name: str
    recognises: Callable[[Mapping[str, Any]], bool]
    """Whether a file that begins with this row is of the form."""
    read: Callable[[Lines, Callable[[int], None]], Iterator[LoggedEpisode]]
    """Yields the episodes of a file as they end; the second argument is called now and then with the row reached."""
