"""Has the world drifted from a scenario? Tests a column, that say how often they are wrong."""

import json
from pathlib import Path

import jax
import pytest

from aljax.calibration.drift import find_drift
from aljax.calibration.known import Agent, simulate
from aljax.commands.main import main
from aljax.scenario import load_scenario

from agents import episode
from desk import desk

FILE = Path(__file__).parents[2] / "studies" / "known_world.toml"
WORLD = load_scenario(FILE)
TASKS, RUNS = 60, 5


def lived(*changes, key):
    return simulate(jax.random.key(key), load_scenario(FILE, changes), Agent(), tasks=TASKS, runs=RUNS)


@pytest.fixture(scope="module")
def undisturbed():
    return lived(key=1)


def test_a_world_as_the_scenario_says_is_not_flagged(undisturbed):
    found = find_drift(undisturbed, WORLD)
    assert not found.drifted and found.episodes == TASKS * RUNS and not found.unknown and not found.untested
    told = {(column.row, column.column) for column in found.columns}
    assert {("look", "failure"), ("look", "after_ok"), ("update", "after_failed"), ("look", "latency")} <= told
    assert all(column.calls >= 5 and 0 <= column.p_value <= 1 for column in found.columns)
    assert [c.p_value for c in found.columns] == sorted(c.p_value for c in found.columns)


def test_a_failure_rate_that_doubled_late_is_flagged_in_the_part_that_shows_it_best(undisturbed):
    columns = ("failure=0.5", "after_ok=0.3", "after_failed=0.95")
    later = lived(*(f"actions.{name.replace('=', '.update=')}" for name in columns), key=2)[:150]
    found = find_drift([*undisturbed[:200], *later], WORLD)
    assert {column.row for column in found.drifted} == {"update"}
    assert all(column.found > column.expected for column in found.drifted)
    assert "half" in found.drifted[0].window


def test_calls_that_take_longer_are_flagged_with_about_how_long(undisturbed):
    found = find_drift([*undisturbed, *lived("actions.latency.look=3.0", key=3)], WORLD)
    (only,) = found.drifted
    assert (only.row, only.column, only.window) == ("look", "latency", "its last half")
    assert only.expected == 2.0 and only.found == pytest.approx(3.0, rel=0.1)


def test_rows_whose_failures_are_not_of_one_rate_are_not_tested_and_unknown_calls_are_counted():
    names = ("search", "wait", "fly")
    log = [episode(f"e{n}", [{"name": name} for name in names]) for n in range(9)]
    found = find_drift(log, desk())
    assert set(found.untested) == {"search", "update"} and found.unknown["fly"] == 9
    assert "search" not in {column.row for column in found.columns}


def test_the_command_says_what_drifted_and_what_to_do(tmp_path, capsys, undisturbed):
    def written(name, episodes):
        path = tmp_path / name
        rows = [
            {**step, "episode": e.name, "task": e.task, "logger": e.logger}
            for e in episodes
            for step in (*e.steps, e.end)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    calm = written("calm.jsonl", undisturbed)
    assert main(["calibrate", calm, "--against", str(FILE)]) == 0
    told = capsys.readouterr().out
    assert "Nothing has drifted as far as 300 episodes can tell (5% of logs" in told
    rough = str(written(tmp_path / "rough.jsonl", lived("actions.failure.look=0.5", key=4)))
    assert main(["calibrate", rough, "--against", str(FILE), "--json", str(tmp_path / "drift.json")]) == 0
    told = capsys.readouterr().out
    assert "Drifted: look" in told and "--start RUN" in told
    drift = json.loads((tmp_path / "drift.json").read_text())
    assert drift["drifted"] >= 1 and drift["columns"][0]["row"] == "look"
    for arguments, words in (
        ([calm, "--against", str(FILE), "--out", "x.toml"], "without effect beside --against: out"),
        (["--against", str(FILE)], "expected at least one LOG"),
        ([calm, "--against", "nowhere"], "nowhere"),
        ([calm, "--against", "paper"], "nothing in the log can be held against paper"),
    ):
        assert main(["calibrate", *arguments]) == 2
        complaint = capsys.readouterr().err
        assert words in complaint and complaint.count("\n") == 1
