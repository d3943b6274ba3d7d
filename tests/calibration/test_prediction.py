"""The loggers' ways are fitted and played, and held-out tasks predicted."""

import jax
import numpy as np
import pytest

from aljax import calibration
from aljax.calibration.behaviour import fit_behaviour
from aljax.calibration.features import END, ROW
from aljax.calibration.playing import Loggers, play_loggers
from aljax.calibration.prediction import MEASURES, predict
from aljax.calibration.report import report_text, verdicts
from aljax.options import CalibrationSettings

from agents import desk, episode

SETTINGS = CalibrationSettings(splits=1, simulated=1_000, least=1)


@pytest.fixture(scope="module")
def fitted():
    return calibration.fit(desk(1, 40, 5), SETTINGS)


@pytest.fixture(scope="module")
def behaviour(fitted):
    return fit_behaviour(fitted)


@pytest.fixture(scope="module")
def prediction(fitted):
    return predict(fitted, SETTINGS)


def test_a_planned_call_is_likelier_than_one_that_is_not_and_stopping_waits_for_the_plan(behaviour):
    assert behaviour.row[ROW.index("planned")] > 1 > behaviour.row[ROW.index("surplus")]
    assert behaviour.ends[END.index("something planned"), 0] < 0
    assert behaviour.plans.max() == 3 and behaviour.plans.shape == (200, 2)


def test_of_very_many_runs_some_are_fitted_to(fitted, behaviour, monkeypatch):
    monkeypatch.setattr("aljax.calibration.behaviour._MOST", 1_000)
    few = fit_behaviour(fitted)
    assert len(few.plans) == len(behaviour.plans) and few.row[ROW.index("planned")] > 1
    assert abs(few.row - behaviour.row).max() > 1e-3


def test_the_loggers_played_come_to_what_was_logged(fitted, behaviour):
    played = play_loggers(fitted, behaviour, episodes=1_000, seed=0)
    for name, of in MEASURES.items():
        logged = np.array([of(run) for run in fitted.runs])
        error = 4 * np.hypot(logged.std() / np.sqrt(len(logged)), logged.std() / np.sqrt(1_000))
        assert np.mean(getattr(played, name)) == pytest.approx(logged.mean(), abs=error), name
    logged = sum(call.row == "look" for run in fitted.runs for call in run.calls) / len(fitted.runs)
    assert played.calls[0] / 1_000 == pytest.approx(logged, rel=0.1)


def test_the_loggers_are_a_policy_of_one_episode_as_well(fitted, behaviour):
    policy = Loggers.of(behaviour, np.zeros(1, np.int64))
    policy = jax.tree.map(lambda leaf: leaf, policy)
    params, plan = fitted.scenario.params, np.array([1.0, 0, 1.0, 0])[:, None]
    memory = policy.begin(params, plan)
    first = policy.logits(params, plan, np.ones((3, 1), bool), memory)
    memory = policy.remember(params, memory, np.zeros(1, np.int32), np.zeros(1, bool), plan)
    then = policy.logits(params, plan - [[1.0], [0], [0], [0]], np.ones((3, 1), bool), memory)
    assert first[0, 0] > first[2, 0] and then[2, 0] > then[0, 0]


def test_held_out_tasks_are_predicted_about_as_well_as_halves_of_the_log_are_alike(prediction):
    assert prediction.divisions == 2 and prediction.held == 20
    assert list(prediction.measures) == list(MEASURES)
    for name, measure in prediction.measures.items():
        assert measure.logged.low <= measure.logged.estimate <= measure.logged.high
        assert measure.error < 2 * measure.floor + 0.05 * measure.logged.estimate, name
    assert prediction.coverage.counts == 4 and 0 <= prediction.coverage.exact <= 1
    assert {name for name, *_ in prediction.coverage.missed} <= {"look", "update"}


def test_the_report_says_what_was_missed(fitted, prediction):
    text = report_text(fitted, prediction, ["log.jsonl"], "mine.toml", {})
    for met, said in verdicts(prediction):
        assert f"{'Met' if met else '**Missed**'}: {said}." in text
    assert "| look |" in text and "aljax train --scenario mine.toml" in text


def test_a_log_of_few_tasks_is_not_divided():
    found = calibration.fit(desk(0, 3, 2), SETTINGS)
    assert predict(found, SETTINGS) is None and verdicts(None)[0][0] is False


def test_what_only_some_tasks_say_is_left_out_where_a_part_says_nothing():
    runs = [episode(str(n), [{}] * (1 + n % 3), f"t{n}", **({"success": True} if n == 0 else {})) for n in range(8)]
    found = predict(calibration.fit(runs, SETTINGS), SETTINGS)
    assert list(found.measures) == ["steps", "failures"]
