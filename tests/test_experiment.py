"""The whole pipeline as one call: what it gives, keeps and refuses, and that the command line does the same."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import aljax
from aljax import UserError, experiment, runs
from aljax.experiment import UnsavedError
from aljax.learner import Scratch, Watch
from aljax.options import Hyperparameters, Protocol, TrainConfig

from tiny import TINY, tiny_scenario

WIDE = ("start_low=0.5", "start_high=4.0", "weights.violation=8", "tolerance=0.75")
SMALL = {"episodes": 60, "batch": 20, "hidden": (4,), "seeds": 2, "evaluation_episodes": 30}


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    return "tiny.toml"


@pytest.fixture(scope="module")
def result():
    return experiment.run(tiny_scenario(*WIDE), **SMALL)


def test_options_are_given_as_values_or_as_objects(result):
    config = TrainConfig(episodes=60, batch=20, hidden=(4,))
    assert (result.config, result.hyperparameters) == (config, Hyperparameters())
    assert result.protocol == Protocol(seeds=2, evaluation_episodes=30)
    again = experiment.run(
        tiny_scenario(*WIDE), config=config, protocol=Protocol(seeds=5, evaluation_episodes=30), seeds=2
    )
    assert again.to_json()["policies"] == result.to_json()["policies"]


def test_the_result_has_policies_curves_evaluations_and_the_gap(result):
    assert list(result.summaries) == ["learned", "optimal", "latency", "cost_aware", "random"]
    assert result.gap == result.summaries["learned"].gap and result.gap.estimate > 0 and result.no_optimum == ""
    assert result.curve.cost.shape == (2, 3) and result.curves["components"].shape == (2, 3, 5)
    assert jax.tree.leaves(result.policy.variables)[0].shape[0] == 2
    assert result.evaluations["random"].outcome.total.shape == (2, 30)
    assert set(result.seconds) == {"compile", "train", "evaluate"}
    assert json.loads(json.dumps(result.to_json()))["policies"]["learned"]["cost"]["mean"] == pytest.approx(
        np.asarray(result.evaluations["learned"].outcome.total, np.float64).mean()
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.folder = "elsewhere"


def test_without_a_folder_nothing_is_written_and_nothing_is_ever_printed(scenario, tmp_path, capfd):
    found = experiment.run(scenario, **SMALL | {"seeds": 1})
    assert found.folder is None and found.draw() == []
    assert found.no_optimum == "" and found.scenario.name == "tiny"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]
    assert capfd.readouterr() == ("", "")


def test_where_there_is_no_optimum_there_is_no_gap_and_a_reason():
    found = experiment.run(tiny_scenario(*WIDE, "actions.noise.weak=0.5"), **SMALL)
    assert found.gap is None and "without noise" in found.no_optimum and "optimal" not in found.summaries


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_is_the_one_that_the_command_writes(scenario, tmp_path):
    options = ["--episodes", "60", "--batch", "20", "--hidden", "4", "--seeds", "2", "--evaluation-episodes", "30"]
    command = ["train", "--scenario", scenario, "--set", "horizon=4", "--learning-rate", "0.03", *options]
    done = subprocess.run(
        [sys.executable, "-m", "aljax", *command, "--out", "shell"], capture_output=True, text=True, check=False,
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "2"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = experiment.run(scenario, overrides=["horizon=4"], learning_rate=0.03, out=tmp_path / "library", **SMALL)
    assert found.folder == tmp_path / "library" and found.complaints == () and found.notice == ""
    shell, library = files_of(tmp_path / "shell"), files_of(found.folder)
    assert set(shell) == set(library)
    figures = [json.loads(files.pop("metrics.json")) for files in (shell, library)]
    for each in figures:
        assert set(each.pop("seconds")) == {"compile", "train", "evaluate"}
    assert figures[0] == figures[1]
    for files in (shell, library):
        del files["manifest.json"]  # has the hash of metrics.json, which has the seconds
    assert shell == library


def test_a_run_comes_back_and_is_evaluated_again(scenario, tmp_path):
    found = experiment.run(scenario, out=tmp_path / "runs" / "it", numbered=True, plots=False, **SMALL)
    assert found.folder == tmp_path / "runs" / "it-1"
    run = runs.load(found.folder)
    np.testing.assert_array_equal(run.curve.cost, found.curve.cost)
    again = experiment.evaluate_again(run, run.scenario, run.protocol, out=tmp_path / "again")
    assert again.summaries == found.summaries and again.curve is None
    assert {"metrics.json", "tables.md", "choices.png", "components.png"} < {p.name for p in again.folder.iterdir()}
    assert not (again.folder / "learning_curves.png").exists()


def test_what_cannot_be_written_is_not_lost(tmp_path):
    class Losing(Scratch):
        def learn(self, watch):
            (tmp_path / ".run.partial" / "new" / "run").rmdir()
            return super().learn(watch)

    scenario, config = tiny_scenario(), TrainConfig(episodes=60, batch=20, hidden=(4,))
    learner = Losing(scenario, config, Hyperparameters(), Protocol(seeds=2, evaluation_episodes=30))
    with pytest.raises(UnsavedError, match=r"run: cannot be written: ") as caught:
        experiment.pursue(learner, out=tmp_path / "run")
    assert caught.value.result.folder is None and caught.value.result.summaries["learned"].cost.mean > 0
    assert list(tmp_path.iterdir()) == []


def test_a_taken_place_is_refused_before_the_work(tmp_path):
    class Never(Watch):
        def advanced(self, doing, done, total, note):
            raise AssertionError("it must not train")

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years")
    with pytest.raises(UserError, match="already exists"):
        experiment.run(tiny_scenario(), out=tmp_path / "run", watch=Never(), **SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 3}, r"^unknown option epochs.*: expected one of episodes, batch, policy, inputs, hidden"),
        ({"learning_rte": 0.1}, r"^unknown option learning_rte \(did you mean learning_rate\?\): "),
        ({"hidden": [8]}, r"^hidden: expected a tuple of units a layer, such as \(64,\), got \[8\]$"),
        ({"seeds": 0}, r"^seeds: expected a whole number of at least 1, got 0$"),
        ({"overrides": ["horizon=3"]}, r"^overrides change a scenario that is loaded"),
        ({"scenario": "papr"}, r"^unknown scenario 'papr' \(did you mean paper\?\)"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, message):
    with pytest.raises(UserError, match=message) as caught:
        experiment.run(**{"scenario": tiny_scenario(), **options})
    assert "\n" not in str(caught.value)


def test_it_is_in_the_public_face():
    assert aljax.experiment is experiment and aljax.RunResult is experiment.RunResult
