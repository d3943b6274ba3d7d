"""What ``aljax import`` may be told."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

Kinds = Annotated[UseAppendAction[tuple[str, ...]], arg(name="kind", metavar="NAME=KIND")]


@dataclasses.dataclass(frozen=True)
class Import:
    """Read the traces of an agent, from whatever traced it, into an agent log.

    Spans may be spread over lines and files in any order; they wait on disk until all have been read.

    Try:
      aljax import traces.jsonl --out agent.jsonl.gz
      aljax import monday.json tuesday.json.gz --out agent.jsonl --kind ask_user=clarify --kind think=reason
    """

    data: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE")]
    """Exported traces, gzipped or not; each file shows its format."""
    out: Path | None = None
    """The agent log to write, gzipped if its name ends in .gz. Needed."""
    form: Annotated[
        Literal[
            "otlp", "openinference", "langfuse", "langsmith", "openai_agents", "mlflow", "inspect", "tau2", "agentdojo",
            "aljax",
        ] | None,
        arg(name="format"),
    ] = None  # fmt: skip
    """Take all files for this format."""
    kinds: Kinds = ()
    """What a tool of that name is: clarify, escalate, reason (the model's own turn) or ignore; repeat for more."""
    success: str | None = None
    """The score that says whether an episode succeeded; else success, correctness, passed, reward and the like."""
    task: Annotated[str | None, arg(metavar="ATTRIBUTE")] = None
    """The attribute of traces or spans, or the key of their metadata, that names the task; runs of a task tell most."""
    logger: str | None = None
    """Call whoever acted so in the log; else as the traces say."""
    overwrite: bool = False
    """Replace a log that is there."""
    json: Path | None = None
    """Write the summary to this file."""
