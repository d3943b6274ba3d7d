"""Policies in environments that are drawn: what each comes to, and in the worst tenth."""

import json

import numpy as np
import pytest

from aljax import UserError, runs
from aljax.chance import draw_chance
from aljax.commands.main import main
from aljax.options import Protocol
from aljax.policy import Random, heuristics
from aljax.posterior import Unaware, draw_environments, placed, posterior_of
from aljax.robust import evaluate_environments, robust_table
from aljax.rollout import outcome, play
from aljax.scenario import parse_scenario
from aljax.seeds import ENVIRONMENTS, seed_keys
from aljax.statistics import mean_interval

from tiny import TINY, tiny_scenario

UNSURE = TINY + '[intervals]\n"actions.weak.failure" = [0.1, 0.6]\n"actions.weak.latency" = [0.5, 4.0]\n'
PROTOCOL = Protocol(seeds=2, seed=3, evaluation_episodes=30)


@pytest.fixture(scope="module")
def scenario():
    return parse_scenario(UNSURE, name="tiny", where="tiny.toml")


@pytest.fixture(scope="module")
def found(scenario):
    policies = {"latency": heuristics(scenario)["latency"], "random": Random()}
    return evaluate_environments(scenario, policies, PROTOCOL, draws=20)


def test_each_environment_is_played_as_it_would_be_alone_on_the_same_luck(scenario, found):
    for s, key in enumerate(seed_keys(PROTOCOL, ENVIRONMENTS)):
        drawn = draw_environments(key, posterior_of(scenario), 20)
        chance = draw_chance(key, scenario.params, episodes=30, steps=3)
        for e in (0, 7, 19):
            world = placed(scenario.params, {name: leaf[..., e] for name, leaf in drawn.items()})
            policy = Unaware(heuristics(scenario)["latency"], scenario.params)
            alone = outcome(play(chance, policy, world), world)
            np.testing.assert_allclose(found.played["latency"].cost[s, e], alone.total.mean(), rtol=1e-5)
            np.testing.assert_allclose(found.played["latency"].components[s, e], alone.costs.mean(-1), rtol=1e-5)
            assert found.played["latency"].success[s, e] == alone.success.mean()


def test_the_worst_tenth_is_that_of_each_seed(found):
    costs = np.asarray(found.played["random"].cost, np.float64)
    worst = [np.mean(sorted(row)[-2:]) for row in costs]
    assert found.worst("random") == mean_interval(np.array(worst)[:, None], by_seed=True)
    assert found.mean("random").estimate == pytest.approx(costs.mean())
    other = [np.mean(sorted(row)[-2:]) for row in found.played["latency"].cost.astype(float)]
    less = np.array(worst) - np.array(other)
    assert found.less("latency", "random").estimate == pytest.approx(np.mean(less))


def test_wider_environments_are_further_apart(scenario, found):
    wide = evaluate_environments(scenario, {"random": Random()}, PROTOCOL, draws=20, widen=3.0)
    assert wide.played["random"].cost.std() > 1.5 * found.played["random"].cost.std()
    assert "3 times as unsure" in str(robust_table(wide).title) and "times" not in str(robust_table(found).title)


def test_what_cannot_be_is_refused(scenario):
    with pytest.raises(UserError, match="draws: expected a whole number of at least 1, got 0"):
        evaluate_environments(scenario, {"random": Random()}, PROTOCOL, draws=0)
    with pytest.raises(UserError, match=r"environments: tiny has no \[intervals\]"):
        evaluate_environments(tiny_scenario(), {"random": Random()}, PROTOCOL)


def test_training_and_evaluating_from_the_command_line(tmp_path, capsys):
    """The run says what it was trained on, and is judged in environments that are drawn."""
    file, folder, out = tmp_path / "tiny.toml", tmp_path / "run", tmp_path / "again"
    file.write_text(UNSURE)
    train = ["train", "--scenario", str(file), "--environments", "posterior", "--episodes", "60", "--seeds", "2"]
    usual = ["--evaluation-episodes", "20", "--no-plots", "--out"]
    assert main([*train, *usual, str(folder)]) == 0
    run = runs.load(folder)
    assert run.config.environments == "posterior" and len(run.scenario.doubts) == 2
    assert main(["evaluate", str(folder), "--draws", "10", "--widen", "2", "--no-plots", "--out", str(out)]) == 0
    said = json.loads((out / "metrics.json").read_text())["environments"]
    assert (said["draws"], said["widen"]) == (10, 2.0)
    assert list(said["policies"]) == ["learned", "latency", "cost_aware", "random"]
    for row in said["policies"].values():
        assert row["worst_tenth"]["estimate"] >= row["mean"]["estimate"]
    assert "10 environments a seed" in (out / "tables.md").read_text()
    assert main(["evaluate", str(folder), "--widen", "2"]) == 2
    assert "--widen: without --draws N" in capsys.readouterr().err
    change = ["--set", "actions.weak.failure=0.2", "--set", "actions.weak.latency=1.0"]
    assert main(["evaluate", str(folder), "--draws", "5", *change]) == 2
    assert "has no [intervals]" in capsys.readouterr().err
