"""Episodes of a log become runs of the simulator's steps."""

import pytest

from aljax.calibration.prices import Prices
from aljax.calibration.rows import arrange, covers_of, rows_of
from aljax.calibration.runs import runs_of

from agents import episode, turn, written


def run_of(steps, **options):
    """The one run of an episode."""
    (run,) = runs_of([episode("a", steps, success=True, duration_s=9.0)], **options)
    return run


def test_a_turn_of_the_model_belongs_to_the_call_that_it_led_to():
    steps = [turn(1.0, 0.1), turn(0.5, 0.1), {"latency_s": 2.0}, turn(0.25, 0.2)]
    first, last = run_of(steps).calls
    assert (first.row, first.kind, first.ok) == ("look", "tool", True)
    assert (first.seconds, first.dollars) == (3.5, pytest.approx(0.2))
    assert (last.kind, last.seconds, last.dollars) == ("terminate", 0.25, 0.2)


def test_what_follows_a_hand_over_belongs_to_it_unless_it_failed():
    hand = {"kind": "escalate", "name": "transfer", "latency_s": 1.0}
    steps = [{"latency_s": 1.0}, turn(1.0), hand, turn(2.0), {"kind": "clarify", "latency_s": 3.0}]
    run = run_of(steps)
    assert [call.kind for call in run.calls] == ["tool", "escalate"] and run.calls[-1].seconds == 7 and run.handed_over
    failed = run_of([{"latency_s": 1.0}, hand | {"ok": False}, {"latency_s": 1.0}])
    assert [call.kind for call in failed.calls] == ["tool", "escalate", "tool", "terminate"]


def test_what_the_user_runs_is_part_of_the_answer():
    steps = [turn(1.0), {"kind": "clarify", "latency_s": 2.0}, {"by": "user", "latency_s": 3.0}, turn(1.0), {}]
    assert [(call.kind, call.seconds) for call in run_of(steps).calls] == [
        ("clarify", 6.0), ("tool", 1.0), ("terminate", 0.0)
    ]  # fmt: skip


def test_seconds_that_nobody_saw_end_are_so_many_at_least():
    call = run_of([turn(1.0), {"ok": None, "censored_s": 4.0}]).calls[0]
    assert (call.seconds, call.censored, call.ok) == (5.0, True, None)


def test_what_most_of_a_run_does_not_say_is_not_known():
    run = run_of([turn(), {}, turn(None, 0.1), {}, turn()])
    assert {call.dollars for call in run.calls} == {None} and run.dollars is None and run.seconds == 9
    greeted = run_of([turn(), {"kind": "clarify"}, turn(None, 0.1), {}, turn(None, 0.1)])
    assert greeted.dollars == pytest.approx(0.2)


def test_tokens_have_the_price_of_their_model_or_logger():
    prices = Prices({"me": {"input": 2.0, "output": 10.0}, "m": {"input": 1.0, "output": 0.0}})
    steps = [turn(in_tokens=1_000, out_tokens=100), {}, turn(in_tokens=1_000, model="m"), {}, turn(None, 0.5)]
    assert [call.dollars for call in run_of(steps, prices=prices).calls] == pytest.approx([0.003, 0.001, 0.5])


def test_tools_are_grouped_by_the_first_pattern_that_fits():
    steps = [{"name": "get_a"}, {"name": "get_b"}, {"name": "put"}]
    run = run_of(steps, groups={"get_b": "b", "get_*": "get"})
    assert [call.row for call in run.calls] == ["get", "b", "put", "terminate"]
    assert covers_of([run]) == {"get": ["get_a"], "b": ["get_b"]}


def test_rows_stand_by_how_often_they_are_called_and_what_is_no_tool_last():
    steps = [{"name": "b"}, {"name": "b"}, {"name": "a"}, {"name": "c"}, {"kind": "clarify", "name": "user_turn"}]
    runs = arrange([run_of(steps)], 1)
    assert rows_of(runs) == (("b", "a", "c", "clarify", "terminate"), ("tool", "tool", "tool", "clarify", "terminate"))
    assert covers_of(runs) == {"clarify": ["user_turn"]}


def test_files_are_read_like_episodes_and_some_runs_may_be_asked_for(tmp_path):
    path = written(tmp_path / "log.jsonl", [episode("a", [{}], "x/1"), episode("b", []), episode("c", [{}], "y/1")])
    assert len(list(runs_of([path]))) == 2 and not list(runs_of([path], loggers=["you"]))
    assert [run.task for run in runs_of([path], loggers=["me"], tasks=["y/*", "z"])] == ["y/1"]
