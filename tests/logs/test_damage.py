"""Traces that are not as they should be: what is wrong is left out and counted, or the file is refused in one line."""

import copy
import json
import random

import pytest

from aljax import UserError
from aljax.logs.importing import import_traces
from aljax.logs.readers import read_episodes
from aljax.logs.store import DiskStore

from traces import imported, model, otlp, sample, tool, written

ODD = (
    None, True, 0, -1, 1e308, 10**18, 2**64 - 1, 10**30, "", "x", "=", "\0", "nan", "1e999", "9999-12-31T23:59:59Z",
    [], {},
    [1], {"a": 1}, "a" * 3_000, "ERROR", '{"a":', "٣",
)  # fmt: skip
SOURCES = (
    "otlp_genai/made_pydantic_ai_otlp.jsonl", "openinference/made_langchain_openinference.jsonl",
    "langsmith/made_langchain_runs.jsonl", "openai_agents/made_openai_agents_sdk.jsonl",
    "mlflow/made_mlflow_traces.jsonl",
    "inspect/made_mockllm.json", "any_agent_genai/AGNO_trace.json", "otlp_jaeger_kagent/helm.json",
    "langfuse/pydantic-ai-tools-2025-12-04.trace.json", "langfuse/beeai-2025-08-01.trace.json",
)  # fmt: skip


def places(value, found):
    """Every place of a document, as its holder and key."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found.append((value, key))
        places(value[key], found)
    return found


def spoil(document, rng):
    """Puts odd values into a document, and drops, repeats and mixes what is there."""
    found = places(document, [])
    for holder, key in rng.sample(found, min(rng.choice([1, 5, 40]), len(found))):
        if rng.random() < 0.6:
            holder[key] = copy.deepcopy(rng.choice(ODD))
        elif isinstance(holder, dict):
            holder.pop(key, None)
        elif key < len(holder):
            holder.append(copy.deepcopy(holder[key]))
            rng.shuffle(holder)


def tried(path, out):
    """The number of calls in the log that a file becomes, which our own reader takes; none: refused in one line."""
    try:
        summary = import_traces([path], out)
    except UserError as refusal:
        assert "\n" not in str(refusal) and len(str(refusal)) < 1_500 and not out.exists()
        return None
    assert sum(len(episode.steps) for episode in read_episodes(out)) == summary.whole().calls
    out.unlink()
    return summary.whole().calls


@pytest.mark.parametrize("name", SOURCES)
def test_spoilt_traces_become_a_log_or_one_line(name, tmp_path):
    rng, text = random.Random(name), sample(name).read_text()
    lines = (
        [json.loads(text)] if text.count("\n") < 2 or "\n{" not in text else [json.loads(x) for x in text.splitlines()]
    )
    results = []
    for _ in range(12):
        documents = copy.deepcopy(rng.sample(lines, min(len(lines), 12)))
        spoil(documents, rng)
        results.append(tried(written(tmp_path / "spoilt.json", *documents, lines=rng.random() < 0.7), tmp_path / "log"))
    assert any(results)


def test_bytes_that_are_cut_or_changed_become_a_log_or_one_line(tmp_path):
    rng = random.Random(1)
    names = [f"{n:032x}" for n in range(1, 21)]
    documents = [otlp(model(1, trace=name), tool(2, "t", 1, trace=name)) for name in names]
    for suffix in ("", ".gz"):
        whole = written(tmp_path / f"spans.json{suffix}", *documents).read_bytes()
        results = set()
        for _ in range(60):
            data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
            for _ in range(rng.choice([0, 1, 4])):
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
            (tmp_path / "damaged").write_bytes(data)
            results.add(tried(tmp_path / "damaged", tmp_path / "log"))
        assert None in results and (40 in results or suffix)


def test_odd_spans_are_left_out_and_counted_beside_whole_ones(tmp_path):
    whole = [tool(1, "t"), model(2, start=2.0, end=3.0)]
    odd = [None, 3, "span", [], tool(3, "u") | {"spanId": None}, tool(4, "u") | {"traceId": ""}]
    episodes, summary = imported(written(tmp_path / "spans.json", otlp(*whole, *odd)))
    assert [row["name"] for rows in episodes.values() for row in rows[:-1]] == ["t", "reason"]
    assert summary.skipped == {"spans of a wrong type": 4, "spans without an id or a trace": 2}
    document = otlp(tool(1, "t"))
    document["resourceSpans"][0]["scopeSpans"] += [{"spans": 7}, {"spans": {"a": 1}}, 8]
    assert imported(written(tmp_path / "odd.json", document))[1].skipped == {"spans of a wrong type": 2}


@pytest.mark.parametrize("odd", [3, None, "x", [1], {"resourceSpans": 1}, {"data": 1}, [[]], {}, {"type": []}])
@pytest.mark.parametrize("name", SOURCES)
def test_an_odd_document_among_whole_ones_costs_nothing_else(name, odd, tmp_path):
    text = sample(name).read_text()
    path = tmp_path / "odd.json"
    path.write_text(f"{json.dumps(odd)}\n{text}\n{json.dumps(odd)}\n")
    assert imported(path)[0] == imported(sample(name))[0]


def test_what_cannot_be_kept_is_no_odd_span(tmp_path, monkeypatch):
    def full(self, span):
        raise UserError("the disk is full")

    monkeypatch.setattr(DiskStore, "add_span", full)
    with pytest.raises(UserError, match=r"^the disk is full$"):
        imported(written(tmp_path / "spans.json", otlp(tool(1, "t"))))


def test_odd_values_of_whole_spans_are_as_if_they_were_not_there(tmp_path):
    made = tool(1, "t") | {"startTimeUnixNano": "soon", "endTimeUnixNano": [1], "events": "none", "status": "fine"}
    spent = model(
        2, tokens=None, gen_ai__usage__input_tokens=-5, gen_ai__usage__output_tokens="many", operation__cost=1e300
    )
    episodes, summary = imported(written(tmp_path / "spans.json", otlp(made, spent)))
    ((*steps, _),) = episodes.values()
    assert summary.skipped == {"times that are none": 2, "numbers that are none, or below 0": 3}
    assert [{**step, "episode": "", "logger": ""} for step in steps] == [
        {"episode": "", "logger": "", "t": 0, "kind": "llm", "name": "reason", "ok": True, "latency_s": 1.0},
        {"episode": "", "logger": "", "t": 1, "kind": "tool", "name": "t"},
    ]
