"""Raw exports of other people's tracers: every one is read, to the last call, or refused in one line."""

import json
from collections import Counter

import pytest

from aljax import UserError
from aljax.logs.readers import read_episodes

from traces import SAMPLES, imported, sample

MADE = {
    "otlp_genai/made_pydantic_ai_otlp.jsonl": (20, 15),
    "openinference/made_langchain_openinference.jsonl": (20, 16),
    "langsmith/made_langchain_runs.jsonl": (20, 16),
    "openai_agents/made_openai_agents_sdk.jsonl": (20, 13),
    "mlflow/made_mlflow_traces.jsonl": (10, 8),
    "inspect/made_mockllm.json": (10, 5),
    "inspect/made_mockllm.eval": (10, 5),
}
"""Episodes and failures, as the samples' own page says."""


def walk(value):
    """Every table in a document, however deep."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def parsed(path):
    """A file's documents, read at once by another library."""
    text = path.read_text()
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def attribute(table, key):
    """Of OTLP's list of attributes."""
    found = [pair["value"] for pair in table.get("attributes", ()) if pair["key"] == key]
    return next(iter(found[0].values())) if found else None


def told(path):
    """Calls and failures by tool, model's calls, tokens in and out: counted without any of the package's readers."""
    calls, failures, models = Counter(), Counter(), [0, 0, 0]

    def count(name, failed):
        calls[name] += 1
        failures[name] += bool(failed)

    def spent(before, after):
        models[0] += 1
        models[1] += int(before or 0)
        models[2] += int(after or 0)

    for row in walk(parsed(path)):
        if "traceId" in row:
            operation = attribute(row, "gen_ai.operation.name")
            if operation == "execute_tool":
                count(attribute(row, "gen_ai.tool.name"), row.get("status", {}).get("code") == 2)
            elif operation == "chat":
                spent(*(attribute(row, f"gen_ai.usage.{way}_tokens") for way in ("input", "output")))
        elif row.get("object") == "trace.span":
            if row["span_data"]["type"] == "function":
                count(row["span_data"]["name"], row["error"])
        elif "run_type" in row:
            if row["run_type"] == "tool":
                count(row["name"], row["status"] == "error")
            elif row["run_type"] == "llm":
                usage = next(found for found in walk(row) if "input_tokens" in found)
                spent(usage["input_tokens"], usage["output_tokens"])
        elif row.get("event") == "tool":
            count(row["function"], row.get("error"))
        elif row.get("event") == "model":
            spent(row["output"]["usage"]["input_tokens"], row["output"]["usage"]["output_tokens"])
        elif "context" in row and "openinference.span.kind" in row["attributes"]:
            if row["attributes"]["openinference.span.kind"] == "TOOL":
                count(row["attributes"]["tool.name"], row["status"]["status_code"] == "ERROR")
            elif row["attributes"]["openinference.span.kind"] == "LLM":
                spent(row["attributes"]["llm.token_count.prompt"], row["attributes"]["llm.token_count.completion"])
        elif "mlflow.spanType" in row.get("attributes", ()):
            kind = json.loads(row["attributes"]["mlflow.spanType"])
            if kind == "TOOL":
                count(row["name"], row["status"]["code"] == "STATUS_CODE_ERROR")
            elif kind == "CHAT_MODEL":
                usage = json.loads(row["attributes"]["mlflow.chat.tokenUsage"])
                spent(usage["input_tokens"], usage["output_tokens"])
    return calls, +failures, models


@pytest.mark.parametrize("name", [name for name in MADE if not name.endswith(".eval")])
def test_what_was_made_at_known_rates_is_read_to_the_last_call_failure_and_token(name):
    path = sample(name)
    episodes, summary = imported(path)
    calls, failures, models = told(path)
    assert (len(episodes), summary.whole().failed) == MADE[name] == (summary.episodes, failures.total())
    assert {key[1]: row.calls for key, row in summary.rows.items() if key[0] == "tool"} == calls
    assert +Counter({key[1]: row.failed for key, row in summary.rows.items() if key[0] == "tool"}) == failures
    reason = summary.rows.get(("llm", "reason"))
    found = [reason.calls, reason.totals["in_tokens"], reason.totals["out_tokens"]] if reason else [0, 0, 0]
    assert found == models and sum(calls.values()) > 30 and failures.keys() <= {"search", "update"}


def test_what_is_in_a_zip_is_what_is_in_the_json_of_the_same_run():
    pytest.importorskip("zstandard")
    path = sample("inspect/made_mockllm.eval")
    episodes, summary = imported(path)
    assert (len(episodes), summary.whole().failed) == MADE["inspect/made_mockllm.eval"]
    assert summary.whole().totals["in_tokens"] == 22_500 and summary.judged == 10


MODELS = {
    "otlp_jaeger_kagent/helm.json": (2, 1, 1820 + 1956, 13 + 117),
    "otlp_jaeger_kagent/tempo_export_with_batches.json": (2, 1, 2256 + 2392, 13 + 116),
    "langfuse/agno-2025-06-11.trace.json": (2, 1, 163 + 663, 20 + 225),
    "langfuse/beeai-2025-08-01.trace.json": (3, 1, 1195 + 1988 + 2359, 0),
    "langfuse/crewai-2025-07-11.trace.json": (1, 0, 190, 164),
    "langfuse/google-adk-2025-08-28.trace.json": (2, 1, 28 + 39, 3 + 6),
    "langfuse/koog-2025-08-26.trace.json": (2, 2, 47 + 168, 106 + 19),
    "langfuse/langgraph-python-2025-08-22.trace.json": (2, 1, 60 + 108, 15 + 51),
    "langfuse/microsoft-agent-2025-12-17.trace.json": (2, 1, 77 + 216, 86 + 20),
    "langfuse/pydantic-ai-2025-06-06.trace.json": (1, 0, 31, 96),
    "langfuse/pydantic-ai-tools-2025-12-04.trace.json": (4, 3, 265 + 417 + 502 + 131, 73 + 53 + 14 + 69),
    "langfuse/vercel-aisdk-2025-11-17.trace.json": (1, 1, 62, 85),
    "langsmith/langsmith_py_wrap_openai_.json": (1, 0, 9, 9),
}
"""Calls of the model, of tools, tokens in and out: read off the files' trees of spans by eye."""


@pytest.mark.parametrize("name", MODELS)
def test_no_call_of_a_model_is_counted_twice(name):
    episodes, summary = imported(sample(name))
    whole, reason = summary.whole(), summary.rows["llm", "reason"]
    found = (reason.calls, whole.calls - reason.calls, whole.totals["in_tokens"], whole.totals["out_tokens"])
    assert found == MODELS[name] and len(episodes) == 1


def test_tools_that_ran_at_once_say_so():
    ((*steps, _),) = imported(sample("langfuse/pydantic-ai-tools-2025-12-04.trace.json"))[0].values()
    assert [step.get("parallel") for step in steps] == [None, 1, 1, 1, None, None, None]
    ((*steps, _),) = imported(sample("langfuse/koog-2025-08-26.trace.json"))[0].values()
    assert [step["name"] for step in steps if step.get("parallel")] == ["HelloTool", "ByeTool"]


def test_all_classes_of_errors_are_told_apart():
    _, summary = imported(sample("inspect/log_tool_call_error.json"))
    assert summary.whole().errors.total() == 11 and len(summary.whole().errors) == 10


REFUSED = {
    "otlp_collector_file/test-traces.json": "nothing to import: 2 spans, none of them a call of a tool or a model",
    "langsmith/anthropic_managed_custom_tools.jsonl": "a list of 2, first 'client.beta.sessions.create'",
    "langsmith/anthropic_managed_mcp_tools.jsonl": "begins with a list of 2, first 'client.beta.sessions.create'",
}
FILES = sorted(
    str(path.relative_to(SAMPLES))
    for path in SAMPLES.glob("*/*.*")
    if path.suffix in (".json", ".jsonl", ".eval") and not path.name.startswith("SOURCE")
)


@pytest.mark.parametrize("name", FILES)
def test_every_sample_becomes_a_log_that_our_own_reader_takes_or_is_refused_in_one_line(name, tmp_path):
    from aljax.logs.importing import import_traces

    out = tmp_path / "log.jsonl.gz"
    if name in REFUSED:
        with pytest.raises(UserError) as refusal:
            import_traces([sample(name)], out)
        assert REFUSED[name] in str(refusal.value) and "\n" not in str(refusal.value) and not list(tmp_path.iterdir())
        return
    if name.endswith("made_mockllm.eval"):
        pytest.importorskip("zstandard")
    summary = import_traces([sample(name)], out)
    episodes = list(read_episodes(out))
    assert len(episodes) == summary.episodes > 0
    assert sum(len(episode.steps) for episode in episodes) == summary.whole().calls > 0
