"""Every form of log that is known, and reading a file of any of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

from aljax.logs import agent_log
from aljax.logs.episode import Format, LoggedEpisode
from aljax.logs.lines import Lines

FORMATS: tuple[Format, ...] = (agent_log.FORMAT,)
"""In the order in which they are asked whether a file is theirs."""


def read_episodes(path: str | Path, on_progress: Callable[[int], None] = lambda row: None) -> Iterator[LoggedEpisode]:
    """Reads any log, whatever its actions are, episode by episode as they end.

    Args:
      path: the file, device or pipe; what is gzipped is recognised, and so is the form. What is of none is taken for an
        agent log, whose reader says what is wrong with it.
      on_progress: called now and then with the row reached.

    Yields:
      Episodes. They may lie between each other in the file; their steps are in order. After an episode's end its name
      may stand for another. An episode may have no steps. Fields that are null are as if absent: unknown.

    Raises:
      UserError: one line with file and row: no such file, damaged, no JSON object, a missing or senseless field, steps
        out of order or by several loggers, an episode that never ends.
    """
    lines = Lines(path)
    first = lines.first()
    found = (form for form in FORMATS if first is not None and form.recognises(first))
    yield from next(found, agent_log.FORMAT).read(lines, on_progress)
