"""Small traces of one's own, and what an import makes of them: a help to the tests of `aljax.logs`."""

import gzip
import json
import tempfile
from pathlib import Path

import pytest

from aljax.logs.importing import import_traces

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "samples"
SECOND = 10**9
BEGAN = 1_700_000_000 * SECOND


def sample(name):
    """A raw export that lies beside the project; the test is skipped where it does not."""
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


def written(path, *documents, lines=True):
    """A file of documents, one a line or each over many lines."""
    text = "".join(json.dumps(document, indent=None if lines else 2) + "\n" for document in documents)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def imported(*paths, **options):
    """The rows of the log that files become, by episode, and the summary."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "log.jsonl"
        summary = import_traces(paths, out, **options)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    episodes = {}
    for row in rows:
        episodes.setdefault(row["episode"], []).append(row)
    return episodes, summary


def span(number, parent=None, trace="a" * 32, start=0.0, end=1.0, name="work", status=None, events=(), **attributes):
    """A span of OTLP/JSON; attributes by name with ``__`` for the points."""
    typed = {str: "stringValue", int: "intValue", float: "doubleValue"}
    made = {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "name": name,
        "startTimeUnixNano": None if start is None else str(BEGAN + round(start * SECOND)),
        "endTimeUnixNano": None if end is None else str(BEGAN + round(end * SECOND)),
        "attributes": [
            {"key": key.replace("__", "."), "value": {typed[type(value)]: value}} for key, value in attributes.items()
        ],
        "status": status or {},
        "events": list(events),
    }
    return made if parent is None else made | {"parentSpanId": f"{parent:016x}"}


def tool(number, name, parent=None, **more):
    """A span of a tool."""
    return span(number, parent, name=f"execute_tool {name}", **_gen_ai(more, "execute_tool"), gen_ai__tool__name=name)


def model(number, parent=None, tokens=(10, 2), **more):
    """A span of a model."""
    usage = {"gen_ai__usage__input_tokens": tokens[0], "gen_ai__usage__output_tokens": tokens[1]} if tokens else {}
    return span(number, parent, **{"name": "chat m"} | _gen_ai(more, "chat") | usage)


def _gen_ai(more, operation):
    return more | {"gen_ai__operation__name": operation}


def otlp(*spans, **resource):
    """A document of OTLP/JSON."""
    about = [{"key": key.replace("__", "."), "value": {"stringValue": value}} for key, value in resource.items()]
    return {"resourceSpans": [{"resource": {"attributes": about}, "scopeSpans": [{"spans": list(spans)}]}]}
