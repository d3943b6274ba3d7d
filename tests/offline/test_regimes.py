"""The three regimes from the shell: a log is collected, learned from, refined, and asked what a policy would cost."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from aljax import runs
from aljax.commands import collect as command
from aljax.commands.main import main
from aljax.offline.reading import read_log, read_logs
from aljax.offline.regimes import REFINEMENT

from tiny import TINY, tiny_scenario

SMALL = ["--scenario", "tiny.toml", "--hidden", "8", "--seeds", "2", "--evaluation-episodes", "200", "--no-plots"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a scenario and a log of two loggers."""
    folder = tmp_path_factory.mktemp("regimes")
    (folder / "tiny.toml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        command = ["collect", "log.jsonl.gz", "--scenario", "tiny.toml", "--policy", "latency", "--policy", "random"]
        assert main([*command, "--epsilon", "0.3", "--episodes", "300"]) == 0
        yield folder


def cost(name):
    return json.loads(Path(name, "metrics.json").read_text())["policies"]["learned"]["cost"]["mean"]


def trained(name, *options):
    assert main(["train", *SMALL, "--out", name, *options]) == 0
    return runs.load(name)


def test_each_regime_leaves_a_run_that_says_how_it_was_learned(place):
    short = ("--updates", "300", "--data", "log.jsonl.gz")
    imitated = trained("imitated", "--regime", "supervised", "--algorithm", "imitation", *short)
    assert imitated.curve is None and imitated.losses.shape == (2, 300) and imitated.metrics["episodes"] == 0
    offline = trained("offline", "--regime", "offline", *short, "--plots")
    described = json.loads((place / "offline" / "config.json").read_text())["regime"]
    assert described["name"] == "offline" and described["learn"]["algorithm"] == "fitted_q"
    assert described["data"][0]["file"] == "log.jsonl.gz" and len(described["data"][0]["sha256"]) == 64
    assert (place / "offline" / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert cost("offline") < cost("imitated") - 0.2

    online = ("--episodes", "60", "--batch", "20")
    refined = trained("refined", "--regime", "online", "--start", "imitated", *online)
    assert refined.curve.cost.shape == (2, 3) and refined.metrics["episodes"] == 60
    assert refined.hyperparameters == REFINEMENT
    given = trained("given", "--regime", "online", "--start", "imitated", "--learning-rate", "0.02", *online)
    assert given.hyperparameters == dataclasses.replace(REFINEMENT, learning_rate=0.02)  # the default of other runs
    both = trained("both", "--regime", "online", *short, *online)
    assert json.loads((place / "both" / "config.json").read_text())["regime"]["name"] == "online"
    # From the offline policy, softened but the same choices: three updates cannot undo it.
    assert cost("both") < cost("imitated") - 0.2
    assert both.hyperparameters == REFINEMENT
    again = trained("again", "--regime", "offline", *short)
    for ours, theirs in zip(*map(_leaves, (offline, again)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def _leaves(run):
    return jax.tree.leaves(run.policy.variables)


def test_ope_shows_estimates_beside_the_truth_and_writes_figures(place, capsys):
    capsys.readouterr()
    command = ["ope", "log.jsonl.gz", "--scenario", "tiny.toml", "--policy", "random", "--policy", "latency"]
    assert main([*command, "--resamples", "100", "--truth", "4000", "--json", "o.json", "--figure", "o.png"]) == 0
    shown = capsys.readouterr().out
    assert "balanced_weighted_doubly_robust" in shown and "in the simulator" in shown and "Weights (balanced)" in shown
    figures = json.loads((place / "o.json").read_text())
    assert figures["episodes"] == 600 and set(figures["policies"]) == {"random", "latency"}
    for found in figures["policies"].values():
        truth = found["truth"]["cost"]["estimate"]
        for name, interval in found["estimates"]["cost"].items():
            margin = interval["high"] - interval["low"]
            assert interval["low"] - margin < truth < interval["high"] + margin, name
    assert (place / "o.png").read_bytes().startswith(b"\x89PNG")


def collected(name, *options):
    given = ["collect", name, "--scenario", "tiny.toml", "--episodes", "40", *options]
    return main(given), [json.loads(line) for line in Path(name).read_text().splitlines()]


def test_tasks_are_the_same_if_seed_and_number_are_and_else_are_not(place):
    tasks = {}
    for name, options in {
        "latency": (),
        "random": ("--policy", "random"),
        "seed": ("--seed", "1"),
        "more": ("--episodes", "50"),
    }.items():
        status, rows = collected(f"{name}.jsonl", *options)
        assert status == 0
        tasks[name] = {row["task"] for row in rows}
    assert tasks["latency"] == tasks["random"]
    assert len(tasks["latency"] | tasks["seed"] | tasks["more"]) == 40 + 40 + 50
    pooled = read_logs([f"{name}.jsonl" for name in ("latency", "seed", "random")], tiny_scenario())
    assert len(pooled) == 120 and len(np.unique(pooled.episodes.task)) == 80 and pooled.warnings == ()


def test_collect_never_overwrites_unasked(place, capsys, monkeypatch):
    Path("mine.jsonl").write_text("mine")
    assert main(["collect", "mine.jsonl", "--scenario", "tiny.toml", "--episodes", "5"]) == 2
    assert "mine.jsonl: already exists (use --overwrite to replace it)" in capsys.readouterr().err
    assert Path("mine.jsonl").read_text() == "mine"
    assert collected("mine.jsonl", "--overwrite")[0] == 0
    # Nor a file that appears while it plays.
    collect = command.collect

    def meanwhile(*args, **options):
        Path("late.v1.jsonl").write_text("theirs")
        return collect(*args, **options)

    monkeypatch.setattr(command, "collect", meanwhile)
    capsys.readouterr()
    assert main(["collect", "late.v1.jsonl", "--scenario", "tiny.toml", "--episodes", "40"]) == 0
    assert "Written to late-1.v1.jsonl" in capsys.readouterr().out
    assert Path("late.v1.jsonl").read_text() == "theirs" and len(read_log("late-1.v1.jsonl", tiny_scenario())) == 40


def test_logs_of_another_scenario_are_refused_or_warned_about_by_every_command(place, capsys, monkeypatch):
    other = ["--scenario", "tiny.toml", "--set", "z_scale=6.0"]
    ope = ["ope", "log.jsonl.gz", *other, "--policy", "random", "--resamples", "50", "--json", "other.json"]
    train = ["train", *SMALL, *other[2:], "--regime", "offline", "--updates", "3", "--data", "log.jsonl.gz"]
    for asked in (ope, [*train, "--out", "other"]):
        assert main(asked) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "log.jsonl.gz, row " in line and "z_scale.error 2.0, here 6.0 (--other-scenario" in line
        assert main([*asked, "--other-scenario"]) == 0
        assert "Warning: log.jsonl.gz, row" in capsys.readouterr().out
    assert "z_scale" in json.loads(Path("other.json").read_text())["warnings"][0]
    assert "z_scale" in json.loads(Path("other", "config.json").read_text())["regime"]["warnings"][0]
    # Weighing what was logged anew is what logs are for.
    assert main([*ope[:2], "--scenario", "tiny.toml", "--set", "weights.latency=9.0", *ope[6:]]) == 0
    assert "Warning: log.jsonl.gz" not in capsys.readouterr().out


def test_logs_come_through_pipes_and_are_hashed_as_they_come(place, tmp_path):
    data, json_file = Path("log.jsonl.gz").read_bytes(), tmp_path / "piped.json"
    command = [sys.executable, "-m", "aljax", "ope", "/dev/stdin", "--scenario", "tiny.toml", "--policy", "random"]
    run = [*command, "--resamples", "20", "--json", str(json_file)]
    subprocess.run(run, input=data, check=True, capture_output=True)
    (source,) = json.loads(json_file.read_text())["data"]
    assert source == {"file": "/dev/stdin", "sha256": hashlib.sha256(data).hexdigest()}


def test_a_policy_that_the_log_never_shows_is_refused(place, capsys):
    assert main(["collect", "one.jsonl", "--scenario", "tiny.toml", "--policy", "latency", "--episodes", "60"]) == 0
    capsys.readouterr()
    command = ["ope", "one.jsonl", "--scenario", "tiny.toml", "--policy", "random", "--json", "r.json"]
    assert main([*command, "--experimental"]) == 0
    shown = capsys.readouterr().out
    assert "Refused" in shown and "hardly ever logged" in shown and "direct is experimental" in shown
    figures = json.loads((place / "r.json").read_text())["policies"]["random"]
    assert "hardly ever logged" in figures["estimates"]["cost"]["direct"]["refused"]
