"""The leaderboard of trainers: who plays, what is kept, and what the table says."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.scenario import load_scenario
from aljax.training import train_seeds

sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))

import trainers
from contestants import CONTESTANTS, ours
from contestants.common import Agent, Contestant

ACTIONS = load_scenario("escalation").action_names


class Stubborn(Contestant):
    """Plays one row whatever it sees."""

    name = "stubborn"
    settings = ({"row": "restart"}, {"row": "escalate"}, {"row": "terminate"})

    def __init__(self):
        self.trained = []

    def train(self, scenario, steps, seeds, settings):
        self.trained += [(seed, settings["row"]) for seed in seeds]
        row = ACTIONS.index(settings["row"])

        def act(seen):
            return np.full(len(seen), row)

        return [Agent([(steps // 2, act), (steps, act)], steps, 7, 1.5, 2.5) for _ in seeds]


class Elsewhere(Contestant):
    """Cannot run: its library is nowhere."""

    name = "elsewhere"
    modules = ("no_such_trainer",)
    settings = ({},)


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(trainers, "CONTESTANTS", {"stubborn": Stubborn(), "elsewhere": Elsewhere()})
    return argparse.Namespace(
        contestants=["stubborn", "elsewhere"], scenarios=["escalation"], seeds=2, tried=4, evaluation_episodes=200,
        report=False, json=tmp_path / "trainers.json", figure=None, page=None,
    )  # fmt: skip


@pytest.fixture
def board(options):
    board = trainers.Board(options)
    board.write(board.folder / "escalation.steps.json", {"steps": 1_000})
    return board


def test_each_setting_is_tried_once_and_the_cheapest_counts(options, board):
    trainers.study(options)
    stubborn, standing = (
        trainers.CONTESTANTS["stubborn"],
        json.loads(options.json.read_text())["scenarios"]["escalation"],
    )
    assert stubborn.trained[:3] == [(trainers.SEARCHED, row) for row in ("restart", "escalate", "terminate")]
    row = standing["contestants"]["stubborn"]
    assert row["settings"] == stubborn.settings[int(np.argmin(row["tried"]))]
    assert stubborn.trained[3:] == [(0, row["settings"]["row"]), (1, row["settings"]["row"])]
    assert row["gap_percent"]["estimate"] > 0 and row["steps"] == 1_000 and row["episodes"] == 7 and row["seeds"] == 2
    assert [steps for steps, _ in row["curve"]] == [500, 1_000]
    assert row["curve"][-1][1] == pytest.approx(row["gap_percent"]["estimate"])
    assert list(standing["missing"]) == ["elsewhere"] and "no_such_trainer" in standing["missing"]["elsewhere"]


def test_the_same_command_goes_on_from_what_is_there(options, board):
    options.seeds = 1
    trainers.study(options)
    options.seeds, trained = 2, trainers.CONTESTANTS["stubborn"].trained
    before = len(trained)
    trainers.study(options)
    assert [seed for seed, _ in trained[before:]] == [1]
    trainers.study(options)
    assert len(trained) == before + 1


def test_a_page_gets_its_tables_between_two_comments(options, board, tmp_path):
    page = options.page = tmp_path / "page.md"
    page.write_text("Words.\n\n<!-- tables -->\nold\n<!-- end of tables -->\n\nMore.\n", encoding="utf-8")
    options.seeds = 1
    for _ in range(2):
        trainers.study(options)
        text = page.read_text(encoding="utf-8")
        assert text.startswith("Words.\n\n<!-- tables -->\n\n| `escalation` | % above the optimum, mean [95 %] |")
        assert "| stubborn |" in text and text.endswith("\n\n<!-- end of tables -->\n\nMore.\n") and "old" not in text
    page.write_text("Words.\n", encoding="utf-8")
    with pytest.raises(trainers.UserError, match="expected <!-- tables --> and <!-- end of tables -->"):
        trainers.study(options)


def test_the_optimum_is_at_the_top_and_has_no_gap(board):
    reference = board.reference("escalation", 0)
    found = board.judged(
        "escalation",
        Agent([(1, trainers.find_optimal(load_scenario("escalation"), board.protocol(0))[0])], 1, 1, 0, 0),
        0,
    )
    assert reference["exact"] and found["cost"] == reference["cost"]


def test_ours_is_what_aljax_train_trains_and_its_steps_are_counted():
    (agent,) = ours.trained("escalation", [3], {"episodes": 60})
    protocol = Protocol(seeds=1, first_seed=3)
    policy = train_seeds(load_scenario("escalation"), TrainConfig(episodes=60), Hyperparameters(), protocol).policy
    kept = agent.points[-1][1].variables
    np.testing.assert_array_equal(
        kept["params"]["Dense_0"]["kernel"], policy.variables["params"]["Dense_0"]["kernel"][0]
    )
    assert agent.episodes == 60 and agent.episodes < agent.steps < 10 * agent.episodes
    assert [steps for steps, _ in agent.points] == sorted({steps for steps, _ in agent.points})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of their libraries' own
@pytest.mark.filterwarnings("ignore:The field `.*` is annotated:UserWarning")  # of cleanrl's options
@pytest.mark.parametrize("name", [name for name in CONTESTANTS if not name.startswith("aljax")])
def test_everybody_trains_through_public_names(name):
    contestant = CONTESTANTS[name]
    if contestant.missing():
        pytest.skip(f"not installed here: {contestant.missing()}")
    scenario = (contestant.scenarios or ("escalation",))[0]
    (agent,) = contestant.train(scenario, 1_500, [0], contestant.settings[0])
    assert 1_200 <= agent.steps <= 6_000 and agent.episodes > 0 and agent.points[-1][0] == agent.steps
    found = trainers.evaluate(agent.points[-1][1], scenario, protocol=Protocol(seeds=1, evaluation_episodes=100))
    assert np.isfinite(np.asarray(found.outcome.total)).all()
