"""``aljax calibrate``: a log in, a scenario with its report and pictures out, or one line and nothing."""

import json
import os
import subprocess
import sys

import pytest

from aljax.commands.main import main
from aljax.scenario import load_scenario

from agents import desk, episode, turn, written

QUICK = ("--splits", "1", "--simulated", "100", "--least", "1")


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A made log, in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    return written(tmp_path / "log.jsonl", desk(0, tasks=6, runs=3))


def refused(capsys, *args):
    """The one line on standard error with which a command ends."""
    assert main(["calibrate", *args]) == 2
    out, line = capsys.readouterr()
    assert out == "" and line.startswith("aljax: ") and line.count("\n") == 1
    return line[len("aljax: ") : -1]


def test_a_process_writes_scenario_report_and_pictures(log):
    call = [sys.executable, "-m", "aljax", "calibrate", "log.jsonl", "--out", "my_agent.toml", "--json", "told.json"]
    more = ["--group", "up*=change", "--weights", "latency=0.5,violation=9", *QUICK]
    done = subprocess.run([*call, *more], cwd=log.parent, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "18 episodes of 6 tasks; 2 tools, 3 rows." in done.stdout and "my_agent.md" in done.stdout
    scenario = load_scenario(log.parent / "my_agent.toml")
    assert scenario.action_names == ("look", "change", "terminate") and scenario.covers == {"change": ("update",)}
    assert scenario.source_of("weights.latency") == "declared" and float(scenario.params.weights[2]) == 9
    report = (log.parent / "my_agent.md").read_text()
    for heading in ("In short", "What the log cannot say", "Held-out tasks", "Failures", "Seconds", "What tasks need"):
        assert f"## {heading}" in report
    pictures = {path.name for path in log.parent.glob("*.png")}
    assert pictures == {f"my_agent_{name}.png" for name in ("failures", "seconds", "needs", "prediction")}
    assert all(name in report for name in pictures)
    told = json.loads((log.parent / "told.json").read_text())
    assert told["episodes"] == 18 and set(told["prediction"]["measures"]) == {
        "steps", "seconds", "dollars", "failures", "success"
    }  # fmt: skip


def test_a_log_with_too_few_tasks_to_divide_is_fitted_all_the_same(log, capsys):
    written(log, [episode("a", [turn(), {}, turn()], success=True)])
    assert main(["calibrate", "log.jsonl", "--out", "a.toml", "--no-plots", "--least", "1"]) == 0
    assert "Missed: nothing was held out" in capsys.readouterr().out
    assert not list(log.parent.glob("*.png")) and "too few tasks" in (log.parent / "a.md").read_text()


def test_without_matplotlib_the_report_has_no_pictures(log, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written(log, [episode("a", [{}, turn()], success=True)])
    assert main(["calibrate", "log.jsonl", "--out", "a.toml", "--least", "1"]) == 0
    assert "No pictures: plots need matplotlib" in capsys.readouterr().out
    assert "![" not in (log.parent / "a.md").read_text()


def test_files_that_are_there_are_replaced_only_where_that_is_said(log, capsys):
    (log.parent / "a.md").write_text("mine")
    line = refused(capsys, "log.jsonl", "--out", "a.toml")
    assert line == "a.md: already exists (--overwrite replaces it)"
    assert (log.parent / "a.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "calibrate: expected at least one LOG and --out FILE.toml"),
        (("log.jsonl",), "calibrate: expected at least one LOG and --out FILE.toml"),
        (("log.jsonl", "./log.jsonl", "--out", "a.toml"), "calibrate: the same LOG stands there twice"),
        (("log.jsonl", "--out", "a.json"), "--out a.json: expected a name that ends in .toml"),
        (("log.jsonl", "--out", "no/a.toml"), "no/a.toml: cannot be written: "),
        (("none", "--out", "a.toml"), "none: cannot be read: No such file"),
        (("empty", "--out", "a.toml"), "empty: empty, expected a row of JSON a step"),
        (("broken", "--out", "a.toml"), "broken, row 2: not JSON"),
        (("idle", "--out", "a.toml"), "nothing to calibrate: the log has no episode with a step"),
        (("log.jsonl", "--out", "a.toml", "--logger", "you"), "nothing to calibrate: "),
        (("log.jsonl", "--out", "a.toml", "--group", "get"), "--group get: expected PATTERN=NAME"),
        (("log.jsonl", "--out", "a.toml", "--weights", "latency"), "--weights latency: expected NAME=NUMBER"),
        (("log.jsonl", "--out", "a.toml", "--weights", "latency=x"), "--weights latency=x: expected a number, got x"),
        (("log.jsonl", "--out", "a.toml", "--weights", "speed=1"), "weights: unknown speed: expected latency, "),
        (("log.jsonl", "--out", "a.toml", "--holdout", "1"), "--holdout 1: expected a share between 0 and 1"),
        (("log.jsonl", "--out", "a.toml", "--splits", "0"), "--splits 0: expected a whole number from 1 "),
        (("log.jsonl", "--out", "a.toml", "--prices", "none"), "none: cannot be read: No such file"),
        (("log.jsonl", "--out", "a.toml", "--prices", "prices"), "prices: 'm': output is missing"),
    ],
    ids=range(18),
)
def test_what_cannot_be_is_one_line_and_nothing_is_left_behind(log, capsys, args, message):
    folder = log.parent
    (folder / "empty").write_text("")
    (folder / "broken").write_text(log.read_text().partition("\n")[0] + "\n{\n")
    (folder / "prices").write_text("[m]\ninput = 1.0\n")
    written(folder / "idle", [episode("a", [])])
    before = sorted(folder.iterdir())
    assert refused(capsys, *args).startswith(message)
    assert sorted(folder.iterdir()) == before
