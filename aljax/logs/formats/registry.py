"""Every form of traces that is known, and which of them a file is in."""

from typing import Any

from aljax.errors import listed, short
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


def recognised(document: Any, name: str | None) -> Source | None:
    """The reader of a document.

    Args:
      document: any.
      name: of the format, where somebody says; only its readers are asked.

    Returns:
      The reader; none knows the document.
    """
    return next((source for source in SOURCES if name in (None, source.name) and source.recognises(document)), None)


def wanted(name: str | None) -> str:
    """What a file that is of no known form should have held.

    Args:
      name: of the format, where somebody says.

    Returns:
      In words.
    """
    if name is None:
        return f"traces in one of the formats {listed(NAMES)}"
    return " or ".join(source.what for source in SOURCES if source.name == name)


def looks(document: Any) -> str:
    """What a document looks like.

    Args:
      document: any.

    Returns:
      A few words.
    """
    if isinstance(document, dict):
        return f"an object with {listed(list(document)[:8], 200)}" if document else "an empty object"
    if isinstance(document, list):
        return f"a list of {len(document):,}, first {looks(document[0])[:200]}" if document else "an empty list"
    return short(document)
