"""Every form of traces that is known, and which of them a file is in."""

from typing import Any

from aljax.errors import UserError, listed, short
from aljax.logs.formats import (
    agentdojo,
    inspect_ai,
    jaeger,
    langfuse,
    langsmith,
    mlflow,
    openai_agents,
    otel_json,
    otlp,
    tau2,
)
from aljax.logs.formats.source import Source

SOURCES: tuple[Source, ...] = (
    otlp.SOURCE, jaeger.SOURCE, otel_json.OPENINFERENCE, otel_json.OTEL, openai_agents.SOURCE, langsmith.SOURCE,
    mlflow.SOURCE, inspect_ai.SOURCE, tau2.SOURCE, agentdojo.SOURCE, langfuse.SOURCE,
)  # fmt: skip
"""In the order in which they are asked whether a document is theirs."""
NAMES = (*dict.fromkeys(source.name for source in SOURCES), "aljax")
"""Of formats, as ``--format`` takes them."""


def recognised(document: Any, name: str | None, where: str) -> Source:
    """The reader of a document.

    Args:
      document: the file's first that any reader would know.
      name: of the format, where somebody says; its readers are asked, and the first is taken if none knows it.
      where: the file, for messages.

    Returns:
      The reader.

    Raises:
      UserError: one line: none knows the document: what was tried, and what it looks like.
    """
    asked = [source for source in SOURCES if name in (None, source.name)]
    found = next((source for source in asked if source.recognises(document)), None)
    if found is not None:
        return found
    wanted = asked[0].what if name is not None else f"one of {listed(NAMES)} (--format)"
    raise UserError(f"{where}: begins with {looks(document)}, expected {wanted}")


def looks(document: Any) -> str:
    """What a document looks like, in a few words."""
    if isinstance(document, dict):
        return f"an object with {listed(list(document)[:8], 200)}" if document else "an empty object"
    if isinstance(document, list):
        return f"a list of {len(document):,}, first {looks(document[0])[:200]}" if document else "an empty list"
    return short(document)
