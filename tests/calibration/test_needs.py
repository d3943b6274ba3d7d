"""What tasks need is worked out from runs that succeeded and runs that failed."""

import numpy as np
import pytest

from aljax.calibration.needs import UNSEEN, fit_needs
from aljax.calibration.runs import runs_of

from agents import episode


def needs_of(*runs, resolves=True, rows=("look", "update")):
    """Of runs (task, calls of look, calls of update, success)."""
    made = []
    for n, (task, looks, updates, success) in enumerate(runs):
        steps = [{}] * looks + [{"name": "update"}] * updates
        made.append(episode(str(n), steps, task, **({} if success is None else {"success": success})))
    return fit_needs(list(runs_of(made)), rows, resolves=resolves)


def simulated(rng, tasks, runs, follows):
    """Runs of agents that do as the task needs (some give up), or as they like; and the needs."""
    needs, made = rng.integers(0, 4, (tasks, 2)), []
    for task, need in enumerate(needs):
        for run in range(runs):
            calls = rng.binomial(need, 0.9) if follows else rng.integers(0, 7, 2)
            steps = [{}] * calls[0] + [{"name": "update"}] * calls[1]
            good = bool((calls >= need).all())
            made.append(episode(f"{task}/{run}", steps or [{"ok": False}], f"{task:03}", success=good))
    return needs, list(runs_of(made))


def test_a_run_that_succeeded_made_all_the_calls_that_are_needed():
    found = needs_of(("a", 2, 1, True), ("a", 3, 1, True), ("a", 2, 4, True))
    assert found.fewest.tolist() == [[2, 1]] and not found.weak[0]


def test_without_a_success_a_task_needs_what_its_runs_usually_called():
    found = needs_of(("a", 2, 1, False), ("a", 3, 0, False), ("a", 4, 1, False), ("b", 1, 0, True), ("b", 1, 0, True))
    assert found.fewest[0].tolist() == [3, 1] and found.weak[0] and found.unexplained[0] > found.unexplained[1]


def test_success_may_be_unknown_and_then_nothing_is_unexplained():
    found = needs_of(("a", 2, 1, None), ("a", 2, 3, None))
    assert found.fewest.tolist() == [[2, 2]] and found.weak[0] and found.unexplained[0] == 0
    assert found.starts.tolist() == [[2, 2, 0]]


def test_failed_calls_do_not_count():
    runs = [episode(str(n), [{}, {"ok": False}], "a", success=True) for n in range(3)]
    assert fit_needs(list(runs_of(runs)), ["look"], resolves=True).fewest.tolist() == [[1]]


def test_hand_overs_that_resolve_say_nothing_of_needs():
    runs = [episode("a", [{}, {"kind": "escalate"}], "t", success=True), episode("b", [{}] * 3, "t", success=True)]
    runs = list(runs_of(runs))
    assert fit_needs(runs, ["look"], resolves=True).fewest.tolist() == [[3]]
    assert fit_needs(runs, ["look"], resolves=False).fewest.tolist() == [[1]]


def test_where_agents_do_what_is_needed_needs_are_found():
    needs, runs = simulated(np.random.default_rng(0), 60, 5, follows=True)
    found = fit_needs(runs, ["look", "update"], resolves=True)
    sure = ~found.weak
    assert sure.mean() > 0.7
    assert (found.fewest[sure] == needs[sure]).mean() > 0.95
    np.testing.assert_allclose(found.mean("bracketed"), needs.mean(0), atol=0.2)


def test_where_agents_do_as_they_like_the_fewest_calls_are_too_many_and_bracketing_is_nearer():
    needs, runs = simulated(np.random.default_rng(1), 80, 6, follows=False)
    found = fit_needs(runs, ["look", "update"], resolves=True)
    sure = ~found.weak
    excess = {name: (getattr(found, name) - needs)[sure].mean() for name in ("fewest", "bracketed")}
    assert excess["fewest"] > 0.4 and abs(excess["bracketed"]) < 0.6 * excess["fewest"]
    assert found.surplus.min() > 0.5


def test_starts_are_needs_that_tasks_may_have_weighted_by_their_runs():
    found = needs_of(("a", 1, 0, True), ("a", 1, 0, True), ("a", 1, 0, True), ("b", 0, 2, True))
    points, weights = found.points()
    assert weights.sum() == pytest.approx(4)
    share = {tuple(point): weight for point, weight in zip(points, weights, strict=True)}
    assert max(share, key=share.__getitem__) == (1, 0, 0)
    drawn = found.drawn(np.random.default_rng(0), np.array([0] * 50 + [1] * 50))
    assert (drawn[:50, 0] == 1).all() and (drawn[50:, 1] == 2).all()


def test_unseen_tasks_may_need_a_call_more_or_less_of_what_is_needed_the_less_the_more_tasks_there_are():
    def shares(tasks):
        found = needs_of(*((f"{n}", 2, 0, True) for n in range(tasks) for _ in range(9)))
        points, weights = found.points()
        assert weights.sum() == pytest.approx(9 * tasks)
        assert weights @ points / weights.sum() == pytest.approx([2.0, 0.0, 0.0], abs=0.01)
        return {tuple(point): weight / weights.sum() for point, weight in zip(points, weights, strict=True)}

    few, many = shares(6), shares(60)
    assert set(few) == {(1, 0, 0), (2, 0, 0), (3, 0, 0)}
    assert few[3, 0, 0] == pytest.approx((UNSEEN / 2) / (6 + UNSEEN)) and many[3, 0, 0] < few[3, 0, 0] / 5


def test_tasks_of_very_many_rows_and_runs_are_gone_through_in_the_end():
    rng, rows = np.random.default_rng(2), [f"tool_{n}" for n in range(30)]
    made = []
    for run in range(12):
        counts = rng.integers(0, 6, 30) + (run < 3) * 3
        steps = [{"name": row} for row, count in zip(rows, counts, strict=True) for _ in range(count)]
        made.append(episode(str(run), steps, "a", success=run < 3))
    found = fit_needs(list(runs_of(made)), rows, resolves=True)
    assert (found.bracketed <= found.fewest + 1e-9).all() and (found.bracketed >= 0).all()
