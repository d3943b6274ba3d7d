"""Exporting a run: the folder, the seed, and what is refused."""

import json
import random
import subprocess
import sys

import pytest

from aljax import UserError, runs
from aljax.commands.main import main
from aljax.router import Router
from aljax.routing.export import Settings, check_settings, export, fallback_order
from aljax.scenario import load_scenario

from desk import desk
from tiny import TINY, tiny_scenario

SMALL = ["--episodes", "60", "--batch", "20", "--hidden", "4", "--seeds", "2", "--evaluation-episodes", "40"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    (folder / "tiny.toml").write_text(TINY.replace("tolerance = 0.125", "tolerance = 1.125"))
    command = ["train", "--scenario", str(folder / "tiny.toml"), *SMALL, "--no-plots", "--out", str(folder / "run")]
    assert main(command) == 0
    return folder / "run"


def test_a_run_becomes_a_folder_that_works_by_itself(run, tmp_path, capsys):
    assert main(["export", str(run), "--out", str(tmp_path / "router"), "--margin", "0.5"]) == 0
    told = capsys.readouterr().out
    assert "the simulator promises a cost of" in told and "Written to" in told
    assert sorted(path.name for path in (tmp_path / "router").iterdir()) == ["README.md", "router.json", "router.py"]
    command = [sys.executable, "-I", "-S", "router.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "router")
    assert done.returncode == 0 and "choices as in training" in done.stdout
    found = Router.load(tmp_path / "router" / "router.json")
    assert found.margin == 0.5 and found.names == ["weak", "strong", "stop"]
    readme = (tmp_path / "router" / "README.md").read_text()
    assert 8 <= len(readme.splitlines()) <= 14 and 'episode.record("weak"' in readme


def test_the_seed_of_least_cost_is_exported_unless_one_is_named(run, tmp_path):
    found = runs.load(run)
    chosen = export(found, run, tmp_path / "best", Settings())
    each = [export(found, run, tmp_path / f"seed{seed}", Settings(), seed=seed) for seed in (0, 1)]
    assert chosen.promise == each[chosen.seed].promise
    assert main(["export", f"{run}:1", "--out", str(tmp_path / "named")]) == 0
    named = json.loads((tmp_path / "named" / "router.json").read_bytes())
    assert named["seed"] == 1 and named["promise"] == each[1].promise


def lived(found, number, rng):
    """An episode in the world that the router was trained in, as it wants it."""
    rates, done = {"weak": (0.25, 0.25), "strong": (0.5, 0.75), "stop": (0.0, 0.0)}, {"weak": 0.5, "strong": 1.5}
    episode, left, failed = found.start(episode=str(number), task=f"t{number % 100}"), 2.0, set()
    while not episode.over:
        action = episode.choose().action
        ok = rng.random() >= rates[action][action in failed]
        left += 0.25 * (action != "stop") - done.get(action, 0.0) * ok
        (failed.discard if ok else failed.add)(action)
        row = found.rows[found.index[action]]
        episode.record(action, ok=ok, seconds=row["latency"], dollars=row["money"])
    episode.end(success=abs(left) <= 1.125)


def test_what_a_router_logs_is_judged_and_learned_from(run, tmp_path):
    scenario, log = run.with_name("tiny.toml"), tmp_path / "router.jsonl"
    assert main(["export", str(run), "--out", str(tmp_path / "router")]) == 0
    found, rng = Router.load(tmp_path / "router" / "router.json", log=log, sample=True, seed=1), random.Random(0)
    for number in range(400):
        lived(found, number, rng)
    command = [str(log), "--scenario", str(scenario), "--policy", str(run), "--policy", "random", "--truth", "2000"]
    assert main(["ope", *command, "--json", str(tmp_path / "ope.json")]) == 0
    told = json.loads((tmp_path / "ope.json").read_text())
    assert "400 episodes; seconds are the log's" in told["notes"][0]
    for answer in told["policies"].values():
        truth, estimate = answer["truth"]["cost"]["estimate"], answer["estimates"]["cost"]["per_decision"]
        assert estimate["low"] < truth < estimate["high"]
        assert not any("fitted" in warning for warning in answer["warnings"])  # the router's own probabilities count
    command = ["--scenario", str(scenario), "--regime", "offline", "--data", str(log), *SMALL[4:]]
    assert main(["train", *command, "--no-plots", "--out", str(tmp_path / "learned")]) == 0
    cost = json.loads((tmp_path / "learned" / "metrics.json").read_text())["policies"]
    assert cost["learned"]["cost"]["mean"] < 1.05 * cost["optimal"]["cost"]["mean"]


def test_bad_input_is_one_line_and_nothing_is_written(run, tmp_path, capsys):
    out = str(tmp_path / "out")

    def refused(*arguments):
        assert main(["export", *arguments]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and not (tmp_path / "out").exists()
        return told

    assert "the run has seeds 0 to 1, got 5" in refused(f"{run}:5", "--out", out)
    assert "margin: expected a number in [0, 1], got 2" in refused(str(run), "--out", out, "--margin", "2")
    assert "fallback: expected one of" in refused(str(run), "--out", out, "--fallback", "luck")
    assert "nowhere" in refused(str(tmp_path / "nowhere"), "--out", out)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    assert "it is no router's folder" in refused(str(run), "--out", str(tmp_path / "taken"))
    assert main(["export", str(run), "--out", str(tmp_path / "again")]) == 0
    capsys.readouterr()
    assert "use --overwrite" in refused(str(run), "--out", str(tmp_path / "again"))
    assert main(["export", str(run), "--out", str(tmp_path / "again"), "--overwrite"]) == 0


def test_a_policy_that_cannot_run_from_events_is_refused(run, tmp_path):
    import dataclasses

    shifted = dataclasses.replace(runs.load(run), scenario=tiny_scenario("actions.noise.weak=0.5"))
    with pytest.raises(UserError, match="run: cannot be exported: what weak does is noisy"):
        export(shifted, "run", tmp_path / "out", Settings())
    assert not (tmp_path / "out").exists()


def test_fallbacks_begin_with_tools_by_their_rule_or_with_the_row_named():
    scenario = desk()
    assert fallback_order(scenario, "latency") == ["update", "search", "terminate", "wait", "escalate"]
    assert fallback_order(scenario, "escalate")[0] == "escalate"
    assert set(fallback_order(scenario, "cost_aware")[:2]) == {"search", "update"}
    assert fallback_order(load_scenario("paper"), "latency")[0] == "quick_search"
    with pytest.raises(UserError, match="margin"):
        check_settings(Settings(margin=float("nan")), scenario)
