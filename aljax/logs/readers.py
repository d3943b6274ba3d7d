"""Reading agent logs: the one place from which everybody does."""

from collections.abc import Callable, Iterator
from pathlib import Path

from aljax.logs import agent_log
from aljax.logs.episode import LoggedEpisode
from aljax.logs.lines import Lines


def read_episodes(path: str | Path, on_progress: Callable[[int], None] = lambda row: None) -> Iterator[LoggedEpisode]:
    """Reads an agent log, whatever its actions are, episode by episode as they end.

    Other forms become agent logs by `aljax.logs.importing.import_traces`.

    Args:
      path: the file, device or pipe; what is gzipped is recognised.
      on_progress: called now and then with the row reached.

    Yields:
      Episodes. They may lie between each other in the file; their steps are in order. After an episode's end its name
      may stand for another. An episode may have no steps. Fields that are null are as if absent: unknown.

    Raises:
      UserError: one line with file and row: no such file, damaged, no JSON object, a missing or senseless field, steps
        out of order or by several loggers, an episode that never ends.
    """
    yield from agent_log.read(Lines(path), on_progress)
