"""How the numbers of `service_desk` are counted in logs."""

import gzip
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from aljax import UserError
from aljax.logs.episode import LoggedEpisode

HERE = Path(__file__).resolve()

spec = importlib.util.spec_from_file_location("service_desk", HERE.parents[2] / "calibration" / "service_desk.py")
service_desk = importlib.util.module_from_spec(spec)
sys.modules["service_desk"] = service_desk
spec.loader.exec_module(service_desk)


def write(path, rows):
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def call(episode, t, ok, name="get_a"):
    return {"episode": episode, "logger": "x", "t": t, "kind": "tool", "name": name, "ok": ok, "cost_usd": None}


def end(episode):
    return {"episode": episode, "logger": "x", "kind": "end", "success": True}


def test_runs_may_lie_between_each_other_and_only_a_runs_own_calls_make_a_status(tmp_path):
    rows = [
        call("a", 0, False),
        call("b", 0, True),
        call("a", 1, True),
        end("b"),
        end("a"),
        call("a", 0, True),
        end("a"),
    ]
    runs = service_desk.read_runs(write(tmp_path / "log.jsonl.gz", rows))
    assert [(run.task, len(run.steps)) for run in runs] == [("b", 1), ("a", 2), ("a", 1)]
    with pytest.raises(UserError, match="the logs hold no cost_usd"):
        service_desk.mean_of(runs, "cost_usd", lambda row: True)
    rates = service_desk.failure_rates(runs)
    found = {status: (rate.calls, rate.failed) for status, rate in rates.items()}
    assert found == {"first": (3, 1), "worked": (0, 0), "failed": (1, 0)}


def test_a_rate_within_tasks_takes_out_that_hard_tasks_fail_again():
    """Calls of the hard task fail half of the time and of the easy one never, whatever went before."""
    hard = [[("hard", ok), ("hard", again)] for ok in (True, False) for again in (True, False) for _ in range(20)]
    easy = [[("easy", True), ("easy", True)] for _ in range(80)]
    runs = [
        LoggedEpisode(
            "log", "run", calls[0][0], "x", [{"kind": "tool", "name": "get_a", "ok": ok} for _, ok in calls], {}, ()
        )
        for calls in (*hard, *easy)
    ]
    rates = service_desk.failure_rates(runs)
    first, failed = rates["first"].naive, rates["failed"]
    assert (first, failed.naive) == (0.25, 0.5)  # as if failures stuck
    assert failed.within(first) == pytest.approx(0.25, rel=0.02)  # they do not
    assert rates["failed"].within(first) < 0.5 and service_desk.Rate(9, 9, 9, 9, 4.0).within(0.25) is None


def test_what_cannot_be_counted_is_refused_in_one_line(tmp_path, capsys):
    path = write(tmp_path / "log.jsonl.gz", [call("a", 0, None), end("a")])
    with pytest.raises(UserError, match=r"log.jsonl.gz, row 1: ok: expected true or false: did 'get_a' work"):
        service_desk.read_runs(path)
    assert service_desk.main(["--traces", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"service_desk.py: {tmp_path / 'agentdojo.jsonl.gz'}: cannot be read")


TRACES = HERE.parents[3] / "shared" / "traces"


@pytest.mark.skipif(not TRACES.is_dir(), reason=f"no logs of real agents in {TRACES}")
def test_the_shipped_numbers_are_those_of_the_logs(capsys):
    assert service_desk.main(["--traces", str(TRACES)]) == 0
    assert "29 of 29 numbers agree" in capsys.readouterr().out
