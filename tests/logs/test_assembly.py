"""From spans to steps: what counts, in which order, and what is left out."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax import UserError

from traces import imported, model, otlp, span, tool, written


def steps(tmp_path, *spans, **options):
    """The steps of the one episode that spans make, and the summary."""
    ((*found, _),), summary = log(tmp_path, *spans, **options)
    return found, summary


def log(tmp_path, *spans, **options):
    """Episodes that spans make, and the summary."""
    episodes, summary = imported(written(tmp_path / "spans.json", otlp(*spans)), **options)
    return list(episodes.values()), summary


def test_a_call_has_what_its_span_says_and_nothing_else(tmp_path):
    found, summary = steps(
        tmp_path,
        span(
            1,
            gen_ai__operation__name="invoke_agent",
            gen_ai__agent__name="desk",
            gen_ai__usage__input_tokens=99,
            end=5.0,
        ),
        model(2, 1, end=1.5, gen_ai__response__model="m-1", operation__cost=0.25),
        tool(3, "search", 1, start=2.0, end=2.25),
        tool(4, "search", 1, start=3.0, end=3.5, status={"code": 2, "message": "ValueError: no"}),
    )
    about = {"episode": "a" * 32, "logger": "desk"}
    assert found == [
        about | {"t": 0, "kind": "llm", "name": "reason", "ok": True, "latency_s": 1.5, "cost_usd": 0.25,
                 "in_tokens": 10, "out_tokens": 2, "model": "m-1"},
        about | {"t": 1, "kind": "tool", "name": "search", "ok": True, "latency_s": 0.25},
        about | {"t": 2, "kind": "tool", "name": "search", "ok": False, "error": "ValueError", "latency_s": 0.5},
    ]  # fmt: skip
    assert summary.seconds == 5.0 and not summary.skipped


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"status": {"code": 2}}, "error"),
        ({"status": {"code": "STATUS_CODE_ERROR", "message": "KeyError('x')"}}, "KeyError"),
        ({"error__type": "java.net.ConnectException"}, "ConnectException"),
        ({"error__type": "500"}, "500"),
        ({"events": [{"name": "exception", "attributes": [
            {"key": "exception.type", "value": {"stringValue": "a.b.Timeout"}}]}]}, "Timeout"),
        ({"status": {"code": 1, "message": "fine"}}, None),
        ({"status": {"code": "STATUS_CODE_OK"}}, None),
    ],
)  # fmt: skip
def test_a_failure_is_told_by_status_attribute_or_exception(tmp_path, more, error):
    ((step,), _) = steps(tmp_path, tool(1, "t", **more))
    assert step["ok"] is (error is None) and step.get("error") == error


def test_only_a_models_span_without_another_below_counts_with_what_is_told_around_it(tmp_path):
    found, summary = steps(
        tmp_path,
        model(1, end=9.0, tokens=(10, 2), operation__cost=0.5),
        span(2, 1, end=8.0),
        model(3, 2, end=7.0, tokens=None),
        tool(4, "t", 1, start=7.5, end=8.0),
        model(5, end=12.0, start=10.0, tokens=(50, 5)),
        model(6, 5, end=11.0, start=10.0, tokens=None),
        model(7, 5, end=12.0, start=11.0, tokens=(1, 1)),
    )
    assert [step.get("latency_s") for step in found] == [7.0, 0.5, 1.0, 1.0]
    assert [(step.get("in_tokens"), step.get("cost_usd")) for step in found] == [
        (10, 0.5),
        (None, None),
        (None, None),
        (1, None),
    ]
    assert summary.skipped == {"spans of a model around another one of the same call": 2}


def test_a_span_that_nobody_saw_end_is_no_failure_and_as_long_as_was_seen(tmp_path):
    (first, second), summary = steps(tmp_path, tool(1, "t", start=1.0, end=None), tool(2, "u", start=2.0, end=4.0))
    assert "ok" not in first and "latency_s" not in first and first["censored_s"] == 3.0
    assert second["ok"] and summary.whole().unknown == 1 and summary.skipped == {"ends that nobody saw": 1}


def test_a_clock_that_runs_backwards_costs_the_duration_alone(tmp_path):
    ((step,), summary) = steps(tmp_path, tool(1, "t", start=5.0, end=1.0))
    assert step["ok"] and "latency_s" not in step and summary.skipped == {"durations below 0": 1}


def test_what_has_no_time_is_a_call_all_the_same_and_comes_last(tmp_path):
    found, _ = steps(
        tmp_path, tool(1, "never", start=None, end=None), tool(2, "late", start=None, end=3.0), tool(3, "t")
    )
    assert [step["name"] for step in found] == ["t", "late", "never"]


def test_calls_that_overlap_are_parallel_but_not_one_within_the_other(tmp_path):
    found, _ = steps(
        tmp_path,
        tool(1, "a", start=0.0, end=2.0), tool(2, "b", start=1.0, end=3.0), tool(3, "c", start=2.5, end=2.75),
        tool(4, "outer", start=4.0, end=9.0), tool(5, "inner", 4, start=5.0, end=6.0),
        tool(6, "d", start=10.0, end=11.0), tool(7, "e", start=10.0, end=12.0), tool(8, "f", start=12.0, end=13.0),
    )  # fmt: skip
    assert [step.get("parallel") for step in found] == [1, 1, 1, None, None, 2, 2, None]


def test_traces_of_a_session_are_one_episode_with_the_users_turns_between(tmp_path):
    session = {"gen_ai__conversation__id": "talk"}
    spans = [
        span(1, trace="c" * 32, start=10.0, end=13.0),
        tool(2, "t", 1, trace="c" * 32, start=11.0, end=12.0, **session),
        tool(3, "u", trace="b" * 32, start=0.0, end=4.0, **session),
        tool(4, "v", trace="d" * 32, start=12.5, end=14.0, **session),
        span(5, trace="e" * 32, start=5.0, end=6.0, **session),
    ]
    (rows,), summary = log(tmp_path, *spans)
    assert [(row["kind"], row.get("name"), row.get("latency_s")) for row in rows] == [
        ("tool", "u", 4.0), ("clarify", "user_turn", 6.0), ("tool", "t", 1.0), ("tool", "v", 1.5), ("end", None, None),
    ]  # fmt: skip
    assert rows[-1]["duration_s"] == 14.0 and rows[0]["episode"] == "talk"
    assert summary.skipped == {"traces without a call of a tool or a model": 1}


def test_kinds_of_tools_by_name_and_hand_overs_by_themselves(tmp_path):
    names = ("ask", "think", "noise", "boss", "transfer_to_human", "t")
    spans = [tool(n, name, start=float(n), end=n + 1.0) for n, name in enumerate(names, 1)]
    spans.append(tool(9, "delegate", start=9.0, end=9.5, gen_ai__transfer__target__name="legal"))
    kinds = {"ask": "clarify", "think": "reason", "noise": "ignore", "boss": "escalate", "unheard": "ignore"}
    found, summary = steps(tmp_path, *spans, kinds=kinds)
    assert summary.skipped == {"kinds of tools that nothing calls: unheard": 1}
    assert [(step["kind"], step["name"]) for step in found] == [
        ("clarify", "ask"), ("llm", "think"), ("escalate", "boss"), ("escalate", "transfer_to_human"), ("tool", "t"),
        ("escalate", "transfer_to_legal"),
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"^--kind t=talk: expected one of clarify, escalate, reason, ignore$"):
        steps(tmp_path, *spans, kinds={"t": "talk"})


@pytest.mark.parametrize(
    ("scores", "name", "success"),
    [
        ([("success", 1.0)], None, True),
        ([("Correctness", 0.4)], None, False),
        ([("correct", "pass"), ("correct", 0.0)], None, True),
        ([("toxicity", 1.0)], None, None),
        ([("toxicity", 1.0)], "toxicity", True),
        ([("success", 1.0)], "toxicity", None),
        ([("success", 7.0)], None, None),
    ],
)
def test_success_is_what_a_score_says_that_is_about_it(tmp_path, scores, name, success):
    def event(score, value):
        sort = ("label", "stringValue") if isinstance(value, str) else ("value", "doubleValue")
        pairs = [
            ("gen_ai.evaluation.name", "stringValue", score),
            (f"gen_ai.evaluation.score.{sort[0]}", sort[1], value),
        ]
        return {"name": "gen_ai.evaluation.result", "attributes": [{"key": k, "value": {s: v}} for k, s, v in pairs]}

    (rows,), summary = log(tmp_path, tool(1, "t", events=[event(*score) for score in scores]), success=name)
    assert rows[-1].get("success") is success
    assert bool(summary.skipped) == (success is None)


def test_parents_in_circles_and_parents_that_are_missing_do_no_harm(tmp_path):
    found, _ = steps(
        tmp_path, model(1, 2), model(2, 1, start=2.0), tool(3, "t", 77, start=3.0), tool(4, "u", 4, start=4.0)
    )
    assert [step["name"] for step in found] == ["t", "u"]


def test_a_very_deep_trace_is_read_in_reasonable_time(tmp_path):
    found, _ = steps(tmp_path, *(model(n, n - 1, start=n / 1e3, end=30.0) for n in range(1, 5_000)))
    assert len(found) == 1


SPANS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(1, 12), st.none() | st.integers(1, 12), st.sampled_from(["tool", "model",
         "span"]),
        st.integers(0, 9), st.none() | st.integers(0, 9), st.booleans(),
    ),
    min_size=1, max_size=14, unique_by=lambda made: made[:2],
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(SPANS, st.randoms(use_true_random=False))
def test_order_files_lines_and_repetition_do_not_change_the_log(tmp_path_factory, made, rng: random.Random):
    tmp_path = tmp_path_factory.mktemp("spans")
    spans = []
    for trace, number, parent, kind, start, end, failed in [*made, (0, 99, None, "tool", 0, 1, False)]:
        more = {"trace": f"{trace:032x}", "start": float(start), "end": None if end is None else float(end)}
        more |= {"status": {"code": 2}} if failed else {}
        more |= {"session__id": "both"} if trace else {}
        if kind == "tool":
            spans.append(tool(number, f"tool{number % 3}", parent, **more))
        else:
            spans.append(model(number, parent, **more) if kind == "model" else span(number, parent, **more))
    expected, once = log(tmp_path, *spans)
    twice = spans + rng.choices(spans, k=len(spans))
    rng.shuffle(twice)
    cut = rng.randrange(len(twice))
    first = written(tmp_path / "first.json.gz", otlp(*twice[:cut]), lines=False)
    second = written(tmp_path / "second.jsonl", *(otlp(one) for one in twice[cut:]))
    files = [first, second] if cut else [second]
    rng.shuffle(files)
    episodes, again = imported(*files)
    assert list(episodes.values()) == expected
    assert again.skipped - once.skipped == {"spans that were told again": len(spans)}
