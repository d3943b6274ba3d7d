"""What is particular to a format: small traces as each tracer writes them, and the steps that they become."""

import base64
import json
import zipfile

import pytest

from aljax import UserError
from aljax.logs.importing import import_traces

from traces import BEGAN, SECOND, imported, model, otlp, tool, written


def iso(seconds):
    return f"2026-01-01T00:00:{seconds:06.3f}Z"


def brief(rows):
    """Steps as kind, name, whether it worked, seconds."""
    return [(row["kind"], row["name"], row.get("ok"), row.get("latency_s")) for row in rows[:-1]]


def one(*paths, **options):
    """The rows of the one episode that files become."""
    (rows,) = imported(*paths, **options)[0].values()
    return rows


def test_otlp_of_older_collectors_with_ids_in_base64_and_enums_as_words(tmp_path):
    row = tool(1, "t", status={"code": "STATUS_CODE_ERROR"})
    row |= {"traceId": base64.b64encode(bytes.fromhex(row["traceId"])).decode(), "parentSpanId": None}
    row |= {"spanId": base64.b64encode(bytes.fromhex(row["spanId"])).decode(), "endTimeUnixNano": BEGAN + SECOND}
    document = {"batches": [{"instrumentationLibrarySpans": [{"spans": [row, tool(1, "t")]}]}]}
    rows = one(written(tmp_path / "tempo.json", document))
    assert brief(rows) == [("tool", "t", False, 1.0)] and rows[0]["episode"] == "a" * 32


def test_logs_and_metrics_in_the_same_file_are_left_out(tmp_path):
    path = written(tmp_path / "all.jsonl", {"resourceMetrics": []}, otlp(tool(1, "t")), {"resourceMetrics": []})
    episodes, summary = imported(path)
    assert len(episodes) == 1 and summary.skipped == {"documents that hold no traces": 1}


def test_a_list_of_documents_is_as_good_as_one_a_line(tmp_path):
    documents = [otlp(tool(1, "t")), otlp(tool(2, "u", start=2.0, end=3.0)), 3]
    lines = imported(written(tmp_path / "lines.jsonl", *documents[:2]))[0]
    episodes, summary = imported(written(tmp_path / "list.json", documents, lines=False))
    assert episodes == lines and summary.skipped == {"documents of a wrong type": 1}


def test_evaluations_among_the_logs_of_a_collector_are_scores(tmp_path):
    pairs = [{"key": f"gen_ai.evaluation.{key}", "value": {"stringValue": value}} for key, value in (
        ("name", "correctness"), ("score.label", "pass"))]  # fmt: skip
    record = {"eventName": "gen_ai.evaluation.result", "traceId": "a" * 32, "attributes": pairs}
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {}}, record, 3]}]}]}
    files = written(tmp_path / "logs.json", logs), written(tmp_path / "spans.json", otlp(tool(1, "t")))
    episodes, summary = imported(*files)
    assert episodes["a" * 32][-1]["success"] is True and summary.skipped == {"records of a wrong type": 1}


def test_older_attributes_of_traceloop_and_of_openai(tmp_path):
    spans = [
        model(
            1,
            tokens=None,
            gen_ai__usage__prompt_tokens=7,
            gen_ai__usage__completion_tokens=3,
            llm__request__type="chat",
        ),
        tool(2, "x", start=2.0, end=3.0),
    ]
    for made, key in ((spans[0], "gen_ai.operation.name"), (spans[1], "gen_ai.operation.name")):
        made["attributes"] = [pair for pair in made["attributes"] if pair["key"] not in (key, "gen_ai.tool.name")]
    spans[1]["attributes"] = [{"key": key, "value": {"stringValue": value}} for key, value in (
        ("traceloop.span.kind", "tool"), ("traceloop.entity.name", "look"))]  # fmt: skip
    rows = one(written(tmp_path / "old.json", otlp(*spans, service__name="desk")))
    assert brief(rows) == [("llm", "reason", True, 1.0), ("tool", "look", True, 1.0)]
    assert (rows[0]["in_tokens"], rows[0]["out_tokens"], rows[0]["logger"]) == (7, 3, "desk")


PRINTED = {
    "name": "execute_tool t", "context": {"trace_id": "0x" + "a" * 32, "span_id": "0x" + "1" * 16}, "parent_id": None,
    "start_time": iso(1), "end_time": iso(2), "status": {"status_code": "ERROR", "description": "OSError: x"},
    "attributes": {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"}, "events": [],
}  # fmt: skip


def test_spans_as_an_sdk_prints_them_one_after_another(tmp_path):
    other = PRINTED | {"context": PRINTED["context"] | {"span_id": "0x2"}, "start_time": iso(3), "end_time": iso(4)}
    rows = one(written(tmp_path / "console.txt", PRINTED, other | {"status": {"status_code": "OK"}}, lines=False))
    assert brief(rows) == [("tool", "t", False, 1.0), ("tool", "t", True, 1.0)] and rows[0]["error"] == "OSError"


def test_spans_of_javascript_and_with_ids_of_128_bits(tmp_path):
    script = {
        "name": "t", "spanContext": {"traceId": "a" * 32, "spanId": "b" * 16}, "status": {"code": 2},
        "startTime": [1_700_000_000, 0], "endTime": [1_700_000_001, 500_000_000],
        "attributes": {"openinference.span.kind": "TOOL", "tool.name": "look"}, "events": [],
    }  # fmt: skip
    assert brief(one(written(tmp_path / "js.json", [script]))) == [("tool", "look", False, 1.5)]
    number = {"context": {"trace_id": 2**127 - 1, "span_id": 2**63}, "attributes": {"gen_ai.operation.name": "call_llm",
              "gen_ai.usage.input_cost": 0.25, "gen_ai.usage.output_cost": 0.5}, "name": "call_llm m",
              "start_time": BEGAN, "end_time": BEGAN + SECOND}  # fmt: skip
    (step, _) = one(written(tmp_path / "any.json", {"spans": [number]}))
    assert step["kind"] == "llm" and step["cost_usd"] == 0.75 and step["episode"].isdecimal()


FRAME = {
    "context.span_id": "1" * 16, "context.trace_id": "a" * 32, "parent_id": None, "name": "ChatM", "span_kind": "LLM",
    "start_time": "2026-01-01T00:00:01", "end_time": "2026-01-01T00:00:03", "status_code": "OK", "status_message": "",
    "attributes.llm.token_count.prompt": 12, "attributes.llm.token_count.completion": 3,
    "attributes.llm.cost.total": 0.5,
    "attributes.session.id": "talk", "evaluations.correctness.label": "correct", "attributes.tool.name": None,
}  # fmt: skip
LATER = FRAME | {
    "context.span_id": "2" * 16, "span_kind": "TOOL", "attributes.tool.name": "look", "status_code": "ERROR",
    "start_time": "2026-01-01T00:00:04", "end_time": "2026-01-01T00:00:05", "status_message": "ValueError: x",
    "attributes.llm.cost.total": None, "attributes.llm.token_count.prompt": None,
}  # fmt: skip


def test_a_page_of_phoenixs_api(tmp_path):
    span = {"id": "x", "name": "look", "context": {"trace_id": "a" * 32, "span_id": "1" * 16}, "span_kind": "TOOL",
            "parent_id": None, "start_time": iso(1), "end_time": iso(2), "status_code": "ERROR",
            "status_message": "E: x", "attributes": {"session.id": "S"}, "events": []}  # fmt: skip
    rows = one(written(tmp_path / "page.json", {"data": [span], "next_cursor": None}))
    assert brief(rows) == [("tool", "look", False, 1.0)] and (rows[0]["error"], rows[0]["episode"]) == ("E", "S")


def framed(rows):
    assert brief(rows) == [("llm", "reason", True, 2.0), ("tool", "look", False, 1.0)]
    assert (rows[0]["in_tokens"], rows[0]["cost_usd"], rows[0]["episode"], rows[1]["error"]) == (
        12,
        0.5,
        "talk",
        "ValueError",
    )
    assert rows[-1]["success"] is True


def test_a_data_frame_of_phoenix_as_rows(tmp_path):
    framed(one(written(tmp_path / "frame.jsonl", FRAME, LATER)))


def test_a_data_frame_of_phoenix_as_parquet(tmp_path):
    arrow, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    table = arrow.Table.from_pylist([FRAME, LATER])
    for name in ("start_time", "end_time"):
        place = table.schema.get_field_index(name)
        times = table.column(name).cast(arrow.timestamp("ns")).cast(arrow.timestamp("ns", "UTC"))
        table = table.set_column(place, name, times)
    path = tmp_path / "frame.parquet"
    parquet.write_table(table, path)
    framed(one(path))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"^\S*frame.parquet, near row 1: damaged or unusual Parquet: "):
        imported(path)


def test_jaeger_has_microseconds_and_tags(tmp_path):
    def tags(**pairs):
        return [{"key": key.replace("__", "."), "value": value} for key, value in pairs.items()]

    row = {"traceID": "a" * 32, "spanID": "1" * 16, "operationName": "x", "startTime": BEGAN // 1000,
     "duration": 2_500_000,
           "references": [], "processID": "p1", "logs": [{"fields": tags(event="exception", exception__type="m.Late")}],
           "tags": tags(gen_ai__operation__name="execute_tool", gen_ai__tool__name="t")}  # fmt: skip
    trace = {"traceID": "a" * 32, "spans": [row], "processes": {"p1": {"serviceName": "desk"}}}
    rows = one(written(tmp_path / "jaeger.json", {"data": [trace]}, lines=False))
    assert brief(rows) == [("tool", "t", False, 2.5)] and (rows[0]["error"], rows[0]["logger"]) == ("Late", "desk")


def observation(number, sort, **more):
    return {"id": number, "traceId": "T", "type": sort, "name": number, "startTime": iso(1), "endTime": iso(3),
            "level": "DEFAULT", "parentObservationId": None, "latency": 2_000} | more  # fmt: skip


SPENT = {"usageDetails": {"input": 5, "output": 2}, "costDetails": {"total": 0.25}, "model": "m"}


def test_langfuse_takes_seconds_from_end_and_start_and_usage_from_generations_alone(tmp_path):
    document = {
        "trace": {"id": "T", "name": "desk", "timestamp": iso(0), "sessionId": "S", "scores": [
            {"name": "success", "value": 0, "dataType": "BOOLEAN", "source": "API", "stringValue": "False"},
            {"name": "success", "value": 1, "source": "API", "observationId": "g"}]},
        "observations": [
            observation("a", "AGENT", **SPENT), observation("g", "GENERATION", **SPENT),
            observation("t", "TOOL", startTime=iso(4), endTime=iso(5), level="ERROR", statusMessage="KeyError: 'x'"),
            observation("running tool: old", "SPAN", startTime=iso(6), endTime=None),
            observation("e", "SPAN", startTime=iso(7),
             metadata=json.dumps({"attributes": {"gen_ai.tool.name": "older"}})),
        ],
    }  # fmt: skip
    episodes, summary = imported(written(tmp_path / "langfuse.json", document))
    rows = episodes["S"]
    assert brief(rows) == [
        ("llm", "reason", True, 2.0), ("tool", "t", False, 1.0), ("tool", "old", None, None), ("tool", "older", True,
         None),
    ]  # fmt: skip
    assert (rows[0]["in_tokens"], rows[0]["cost_usd"], rows[1]["error"]) == (5, 0.25, "KeyError")
    assert rows[-1]["success"] is False and summary.skipped["scores of single observations"] == 1


def test_langfuses_pages_of_the_api_and_rows_of_the_blob_storage(tmp_path):
    page = {
        "data": [observation("g", "GENERATION", **SPENT), observation("t", "TOOL", startTime=iso(4), endTime=iso(5))]
    }
    snake = [
        {"id": "g", "trace_id": "T", "type": "GENERATION", "name": "g", "start_time": "2026-01-01 00:00:01.000000",
         "end_time": "2026-01-01 00:00:03.000000", "level": "DEFAULT", "parent_observation_id": None,
         "usage_details": {"input": 5, "output": 2}, "cost_details": {"total": 0.25}, "provided_model_name": "m"},
        {"id": "t", "trace_id": "T", "type": "TOOL", "name": "t", "start_time": "2026-01-01 00:00:04",
         "end_time": "2026-01-01 00:00:05", "level": "DEFAULT"},
    ]  # fmt: skip
    scores = [{"id": "s", "trace_id": "T", "name": "correct", "value": 1.0, "source": "EVAL", "observation_id": None}]
    traces = [{"id": "T", "timestamp": "2026-01-01 00:00:00", "session_id": "S", "name": "desk"}]
    api = one(written(tmp_path / "page.json", page))
    files = [written(tmp_path / f"{name}.jsonl", *made) for name, made in (("s", scores), ("t", traces), ("o", snake))]
    blob = one(*files)
    assert brief(api) == brief(blob) == [("llm", "reason", True, 2.0), ("tool", "t", True, 1.0)]
    assert blob[0]["cost_usd"] == 0.25 and blob[0]["model"] == "m" and blob[0]["logger"] == "desk"
    assert blob[-1]["success"] is True and blob[-1]["episode"] == "S" and "success" not in api[-1]


def run(number, sort, above=None, **more):
    return {"id": number, "trace_id": "R", "parent_run_id": above, "name": number, "run_type": sort,
     "start_time": iso(1),
            "end_time": iso(2), "error": None, "status": "success"} | more  # fmt: skip


def test_langsmiths_runs_within_runs_questions_and_feedback(tmp_path):
    question = run(
        "ask", "tool", "R", start_time=iso(6), end_time=iso(7), error="GraphInterrupt((Interrupt(value='?'),))"
    )
    said = run("t", "tool", "R", start_time=iso(3), end_time=iso(4), outputs={"output": {"status": "error"}})
    reason = run("m", "llm", "R", prompt_tokens=5, completion_tokens=2, total_cost="0.125")
    root = run("R", "chain", end_time=iso(8), extra={"metadata": {"thread_id": "S"}}, reference_example_id="case 1",
               feedback_stats={"correctness": {"n": 1, "avg": 1.0}}, child_runs=[reason, said, question])  # fmt: skip
    again = run("ask", "tool", "Q", trace_id="Q", start_time=iso(20), end_time=iso(21))
    second = run("Q", "chain", trace_id="Q", extra={"metadata": {"thread_id": "S"}}, child_runs=[again],
     start_time=iso(18),
                 end_time=iso(22))  # fmt: skip
    rows = one(written(tmp_path / "runs.jsonl", root, second))
    assert brief(rows) == [
        ("llm", "reason", True, 1.0), ("tool", "t", False, 1.0), ("clarify", "ask", True, 11.0), ("tool", "ask", True,
         1.0),
    ]  # fmt: skip
    assert rows[0]["cost_usd"] == 0.125 and rows[0]["task"] == "case 1" and rows[-1]["success"] is True


def test_langsmiths_posted_and_patched_runs_are_one_in_either_order(tmp_path):
    post = {key: value for key, value in run("t", "tool").items() if key not in ("end_time", "error", "status")}
    patch = {
        "id": "t",
        "trace_id": "R",
        "dotted_order": "20260101T000000000000Zx",
        "end_time": iso(4),
        "error": "OSError('x')",
    }
    for documents in ([{"post": [post]}, {"patch": [patch]}], [{"post": [], "patch": [patch]}, {"post": [post]}]):
        rows = one(written(tmp_path / "sent.jsonl", *documents))
        assert brief(rows) == [("tool", "t", False, 3.0)] and rows[0]["error"] == "OSError"


def test_the_agents_sdk_has_handoffs_groups_and_usage(tmp_path):
    def item(number, **data):
        return {"object": "trace.span", "id": f"s{number}", "trace_id": "T", "parent_id": None,
         "started_at": iso(number),
                "ended_at": iso(number + 1), "error": None, "span_data": data}  # fmt: skip

    spans = [
        item(1, type="generation", model="m", usage={"input_tokens": 5, "output_tokens": 2}),
        item(2, type="function", name="t") | {"error": {"message": "TimeoutError: x", "data": None}},
        item(3, type="handoff", from_agent="a", to_agent="legal"),
        item(4, type="response", response_id="r", usage={"input_tokens": 1, "output_tokens": 1}),
        item(5, type="custom", name="turn", data={"usage": {"input_tokens": 9}}),
    ]
    trace = {"object": "trace", "id": "T", "workflow_name": "desk", "group_id": "S"}
    rows = one(written(tmp_path / "agents.json", {"data": [trace, *spans]}))
    assert [row[:3] for row in brief(rows)] == [
        ("llm", "reason", True), ("tool", "t", False), ("escalate", "transfer_to_legal", True), ("llm", "reason", True),
    ]  # fmt: skip
    assert (
        sum(row.get("in_tokens", 0) for row in rows) == 6 and rows[0]["episode"] == "S" and rows[0]["logger"] == "desk"
    )


def test_mlflows_assessments_sessions_costs_and_older_spans(tmp_path):
    spans = [
        {"span_id": "x1", "name": "m", "start_time_unix_nano": BEGAN, "end_time_unix_nano": BEGAN + SECOND,
         "attributes": {
            "mlflow.spanType": '"CHAT_MODEL"', "mlflow.chat.tokenUsage": '{"input_tokens": 5, "output_tokens": 2}',
            "mlflow.llm.cost": '{"total_cost": 0.5}'}, "status": {"code": "STATUS_CODE_OK"}},
        {"context": {"span_id": "x2"}, "name": "t", "start_time": BEGAN + 2 * SECOND, "end_time": BEGAN + 3 * SECOND,
         "status_code": "ERROR", "status_message": "KeyError: 1", "attributes": {"mlflow.spanType": '"TOOL"'}},
    ]  # fmt: skip
    info = {"trace_id": "tr-1", "trace_metadata": {"mlflow.trace.session": "S"},
            "assessments": [{"assessment_name": "correct", "feedback": {"value": False}}]}  # fmt: skip
    rows = one(written(tmp_path / "mlflow.jsonl", {"info": info, "data": {"spans": spans}}))
    assert brief(rows) == [("llm", "reason", True, 1.0), ("tool", "t", False, 1.0)]
    assert (rows[0]["cost_usd"], rows[1]["error"], rows[-1]["success"], rows[-1]["episode"]) == (
        0.5,
        "KeyError",
        False,
        "S",
    )


def inspect_log(**sample):
    about = {"task": "desk", "run_id": "run", "model": "m/1"}
    return {
        "version": 2,
        "eval": about,
        "samples": [{"id": 7, "epoch": 2, "scores": {"match": {"value": "C"}}} | sample],
    }


EVENTS = [
    {"event": "model", "uuid": "1", "timestamp": iso(1), "completed": iso(2), "output": {"usage": {"input_tokens": 5}}},
    {"event": "tool", "uuid": "2", "timestamp": iso(2), "completed": iso(3), "function": "transfer_to_legal",
     "pending": True},
    {"event": "tool", "uuid": "3", "timestamp": iso(3), "completed": iso(4), "function": "t",
     "error": {"type": "timeout"},
     "events": [{"event": "model", "uuid": "4", "timestamp": iso(3.25), "working_time": 0.5, "output": {}}]},
]  # fmt: skip


def test_inspects_events_are_steps_but_pending_ones_and_a_sample_is_an_episode(tmp_path):
    episodes, summary = imported(
        written(tmp_path / "inspect.json", inspect_log(events=EVENTS, total_time=9.5), lines=False)
    )
    rows = episodes["run/7/2"]
    assert brief(rows) == [("llm", "reason", True, 1.0), ("tool", "t", False, 1.0), ("llm", "reason", True, 0.5)]
    assert (rows[1]["error"], rows[0]["task"], rows[0]["logger"]) == ("timeout", "desk/7", "m/1")
    assert rows[-1]["success"] is True and rows[-1]["duration_s"] == 9.5 and summary.skipped == {"pending events": 1}


def test_inspects_messages_count_only_where_there_are_no_events(tmp_path):
    messages = [{"role": "assistant"}, {"role": "tool", "function": "t", "error": {"type": "limit"}}]
    rows = one(written(tmp_path / "old.json", inspect_log(messages=messages)))
    assert brief(rows) == [("llm", "reason", True, None), ("tool", "t", False, None)] and rows[1]["error"] == "limit"
    pieces = (inspect_log(messages=messages), inspect_log(events=EVENTS[:1]))
    assert brief(one(written(tmp_path / "pieces.jsonl", *pieces))) == [("llm", "reason", True, 1.0)]


def test_inspects_zip_is_read_as_its_json_and_refused_where_it_is_none(tmp_path):
    log = inspect_log(events=EVENTS)
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps({"version": 2, "eval": log["eval"]}))
        archive.writestr("samples/7_epoch_2.json", json.dumps(log["samples"][0]))
    assert one(path) == one(written(tmp_path / "log.json", log))
    whole = path.read_bytes()
    for data in (whole[:-30], whole[:40] + b"\0" * 40 + whole[80:]):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"log.eval(: |, )") as refusal:
            imported(path)
        assert "\n" not in str(refusal.value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", "{}")
    with pytest.raises(
        UserError, match=r"a ZIP without header.json or _journal/start.json: expected a log of Inspect's$"
    ):
        imported(path)


def test_zstd_without_its_library_says_which_extra_has_it(tmp_path, monkeypatch):
    from aljax.logs import containers

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(containers.importlib, "import_module", missing)
    path = tmp_path / "frame.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"frame.parquet: Parquet needs pyarrow: pip install 'aljax\[traces\]'$"):
        imported(path)


def test_tau2s_messages_are_steps_the_users_too(tmp_path):
    messages = [
        {"role": "assistant", "content": "Hi", "timestamp": "2026-01-01T00:00:00"},
        {"role": "user", "content": "help", "timestamp": "2026-01-01T00:00:02", "cost": 0.5},
        {"role": "assistant", "timestamp": "2026-01-01T00:00:03", "cost": 0.25, "tool_calls": [{"id": "c1",
         "name": "look"}],
         "usage": {"prompt_tokens": 5, "completion_tokens": 2}, "raw_data": {"model": "m-2026"}},
        {"role": "tool", "id": "c1", "error": True, "timestamp": "2026-01-01T00:00:04", "requestor": "assistant"},
        {"role": "user", "tool_calls": [{"id": "c2", "name": "reset"}], "timestamp": "2026-01-01T00:00:05"},
        {"role": "tool", "id": "c2", "error": False, "timestamp": "2026-01-01T00:00:06", "requestor": "user"},
        {"role": "assistant", "timestamp": "2026-01-01T00:00:07", "tool_calls": [{"id": "c3",
         "name": "transfer_to_human_agents"}]},
        {"role": "tool", "id": "c3", "error": False, "timestamp": "2026-01-01T00:00:07", "requestor": "assistant"},
    ]  # fmt: skip
    info = {"agent_info": {"llm": "m"}, "environment_info": {"domain_name": "retail"}}
    simulation = {"id": "s", "task_id": 3, "messages": messages, "reward_info": {"reward": 0.9}, "duration": 8.5,
                  "termination_reason": "user_stop"}  # fmt: skip
    rows = one(written(tmp_path / "tau2.json", {"info": info, "tasks": [], "simulations": [simulation]}, lines=False))
    assert brief(rows) == [
        ("llm", "reason", True, None), ("clarify", "user_turn", True, 2.0), ("llm", "reason", True, 1.0),
        ("tool", "look", False, 1.0), ("tool", "reset", True, 1.0), ("llm", "reason", True, 1.0),
        ("escalate", "transfer_to_human_agents", True, 0.0),
    ]  # fmt: skip
    assert rows[4]["by"] == "user" and rows[1]["cost_usd"] == 0.5 and rows[2]["in_tokens"] == 5
    assert rows[2]["model"] == "m-2026"
    assert {
        "success": False,
        "reason": "user_stop",
        "duration_s": 8.5,
        "task": "retail/3",
        "logger": "m",
    }.items() <= rows[-1].items()


def test_agentdojos_runs_have_neither_times_nor_tokens(tmp_path):
    messages = [
        {"role": "system", "content": "x"}, {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"function": "pay", "args": {}, "id": "1"}]},
        {"role": "tool", "tool_call": {"function": "pay"}, "tool_call_id": "1", "error": "ValueError: no"},
        {"role": "assistant", "content": "done", "tool_calls": None},
    ]  # fmt: skip
    run = {"suite_name": "banking", "pipeline_name": "m", "user_task_id": "user_task_1", "injection_task_id": None,
           "attack_type": None, "messages": messages, "utility": True, "security": True, "duration": 4.5}  # fmt: skip
    rows = one(written(tmp_path / "none.json", run, lines=False))
    assert brief(rows) == [("llm", "reason", True, None), ("tool", "pay", False, None), ("llm", "reason", True, None)]
    assert rows[1]["error"] == "ValueError" and rows[0]["episode"] == "m/banking/user_task_1"
    assert {"success": True, "duration_s": 4.5, "task": "banking/user_task_1"}.items() <= rows[-1].items()


def test_an_agent_log_goes_through_as_it_is_without_what_is_null(tmp_path):
    rows = [
        {
            "episode": "e",
            "logger": "x",
            "t": 0,
            "kind": "tool",
            "name": "t",
            "ok": True,
            "latency_s": 0.25,
            "extra": [1],
        },
        {"episode": "e", "logger": "x", "kind": "end", "success": False},
    ]
    episodes, summary = imported(written(tmp_path / "log.jsonl.gz", rows[0] | {"cost_usd": None}, rows[1]))
    assert episodes == {"e": rows} and summary.formats == {str(tmp_path / "log.jsonl.gz"): "aljax"}
    (kept, _), met = one(tmp_path / "log.jsonl.gz", kinds={"t": "clarify"}, logger="me"), tmp_path / "log.jsonl.gz"
    assert (kept["kind"], kept["logger"], kept["t"]) == ("clarify", "me", 0)
    assert len(one(met, kinds={"t": "ignore"})) == 1
    with pytest.raises(UserError, match=r"row 1: kind: expected text, but it is missing$"):
        imported(written(tmp_path / "not.jsonl", {"episode": "e", "logger": "x"}), form="aljax")


def test_a_format_may_be_forced_and_then_says_what_it_wants(tmp_path):
    path = written(tmp_path / "spans.json", otlp(tool(1, "t")))
    assert one(path, form="otlp") == one(path)
    with pytest.raises(
        UserError, match=r"spans.json: begins with an object with resourceSpans, expected MLflow's traces"
    ):
        imported(path, form="mlflow")
    with pytest.raises(UserError, match=r"^--format jaeger: expected one of otlp, "):
        import_traces([path], tmp_path / "log", form="jaeger")


def _langfuse(metadata):
    observation = {"id": "o", "traceId": "x", "type": "TOOL", "name": "t", "startTime": iso(1), "endTime": iso(2)}
    return {"trace": {"id": "x", "timestamp": iso(1), "metadata": metadata}, "observations": [observation]}


TICKETS = {
    "otlp": otlp(tool(1, "t", ticket__kind="refund")),
    "langfuse": _langfuse({"ticket.kind": "refund"}),
    "langfuse in a text": _langfuse(json.dumps({"ticket.kind": "refund"})),
    "langsmith": {
        "id": "r", "trace_id": "r", "run_type": "tool", "name": "t", "start_time": iso(1), "end_time": iso(2),
        "reference_example_id": "an example", "extra": {"metadata": {"ticket.kind": "refund"}},
    },
    "mlflow": {
        "info": {"trace_id": "m", "tags": {"ticket.kind": "refund"}},
        "data": {"spans": [{"span_id": "1" * 16, "name": "t", "attributes": {"mlflow.spanType": '"TOOL"'}}]},
    },
    "mlflow's spans": {
        "info": {"trace_id": "m"},
        "data": {"spans": [{
            "span_id": "1" * 16, "name": "t", "attributes": {"mlflow.spanType": '"TOOL"', "ticket.kind": '"refund"'},
        }]},
    },
    "openai_agents": {"data": [
        {"object": "trace", "id": "a", "metadata": {"ticket.kind": "refund"}},
        {"object": "trace.span", "id": "s", "trace_id": "a", "span_data": {"type": "function", "name": "t"}},
    ]},
    "openinference": {
        "name": "t", "context": {"span_id": "1" * 16, "trace_id": "2" * 32},
        "attributes": {"openinference.span.kind": "TOOL", "ticket.kind": "refund"},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TICKETS)
def test_an_attribute_may_name_the_task(name, tmp_path):
    path = written(tmp_path / "traces.json", TICKETS[name])
    episodes, summary = imported(path, task="ticket.kind")
    assert {row["task"] for rows in episodes.values() for row in rows} == {"refund"} and not summary.skipped
    _, summary = imported(path, task="ticket.id")
    assert summary.skipped == {"episodes whose traces have no ticket.id: their tasks are their own": 1}
    assert summary.alone == 1
