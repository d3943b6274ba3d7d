"""Agents' logs under a scenario: what the environment itself would have shown and charged."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from aljax import UserError, env
from aljax.offline.reading import read_log
from aljax.offline.report import log_words
from aljax.scenario import Scenario, parse_scenario

TEXT = """
coordinates = ["search", "update"]
horizon = 8
start_points = [[1.0, 1.0], [3.0, 1.0], [1.0, 2.0]]
start_weights = [2.0, 1.0, 1.0]
blind = true
tolerance = 0.5
tolerance_low = inf
auto_end = false
weights = { latency = 0.1, money = 1.0, violation = 2.0, failure = 0.5, divergence = 0.1 }

[actions.search]
covers = ["search", "find_*"]
latency = 2.0
money = 0.02
failure = 0.1
after_ok = 0.05
after_failed = 0.5
shift = { search = -1.0 }

[actions.update]
latency = 4.0
money = 0.04
failure = 0.2
failure_latency = 6.0
latency_growth = 0.5
max_calls = 6
shift = { update = -1.0 }

[actions.ask]
kind = "clarify"
latency = 10.0
money = 0.0
reveals = false

[actions.hand_over]
kind = "escalate"
latency = 30.0
money = 5.0

[actions.stop]
kind = "terminate"
latency = 1.0
money = 0.0
"""


def scenario_of(*overrides: str, text: str = TEXT) -> Scenario:
    return parse_scenario(text, name="desk", where="desk.toml", overrides=overrides)


SCENARIO = scenario_of()
SEARCH, UPDATE, ASK, HAND_OVER, STOP = range(5)


def turn(seconds: float | None = 1.0, dollars: float | None = 0.01) -> dict[str, Any]:
    return {"kind": "llm", "name": "reason", "latency_s": seconds, "cost_usd": dollars}


def tool(name: str, ok: bool | None = True, **known: Any) -> dict[str, Any]:
    return {"kind": "tool", "name": name, "ok": ok, "latency_s": 0.5, "cost_usd": 0.0} | known


USER = {"kind": "clarify", "name": "user_turn", "ok": True, "latency_s": 9.0, "cost_usd": 0.0}
PERSON = {"kind": "escalate", "name": "transfer_to_human", "ok": True, "latency_s": 20.0, "cost_usd": 4.0}


@pytest.fixture
def replayed(tmp_path):
    """A log of these episodes, each its steps and whether it succeeded, read under a scenario."""

    def read(*episodes: tuple[list[dict[str, Any]], bool | None], scenario: Scenario = SCENARIO):
        rows = []
        for number, (steps, success) in enumerate(episodes):
            about = {"episode": f"e{number}", "task": f"t{number % 2}", "logger": "agent"}
            rows += [about | {"t": t} | step for t, step in enumerate(steps)]
            rows.append(about | {"kind": "end", "success": success})
        (tmp_path / "agent.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return read_log(tmp_path / "agent.jsonl", scenario)

    return read


def costs(log, component: str) -> np.ndarray:
    return np.asarray(log.episodes.costs)[..., env.COMPONENTS.index(component)]


def test_observations_are_those_of_the_environment_played_with_the_same_outcomes(replayed):
    """Beside a state that the environment itself steps, seconds and dollars written in by hand."""
    steps = [turn(), tool("search", False), turn(), tool("find_it"), turn(), USER, turn(2.0), tool("update")]
    log = replayed(([*steps, turn()], True))
    assert log.episodes.action[0].tolist()[:5] == [SEARCH, SEARCH, ASK, UPDATE, STOP]
    assert log.episodes.alive[0].sum() == 5
    params, seconds = SCENARIO.params, np.cumsum([0, 1.5, 1.5, 10.0, 2.5])
    chance = env.Start(jnp.zeros(2), jnp.zeros(2), jnp.float32(0.1))
    state = env.begin(chance, params)
    for t, (row, failed) in enumerate([(SEARCH, True), (SEARCH, False), (ASK, False), (UPDATE, False), (STOP, False)]):
        seen = np.asarray(env.observe(state, params))
        at = env.places(params)
        expected = seen.copy()
        expected[at["latency"]], expected[at["money"]] = (
            seconds[t] / params.latency_scale,
            0.01 * t / params.money_scale,
        )
        np.testing.assert_allclose(log.episodes.observation[0, t], expected, rtol=1e-5)
        luck = (jnp.float32(0.0 if failed else 0.999), jnp.zeros(2))
        state, _ = env.transition(state, jnp.int32(row), luck, params)
    assert log.episodes.success.tolist() == [True]


def test_the_costs_are_the_logs_and_what_it_does_not_say_is_expected(replayed):
    """A call's own price is unknown: the row's price, less what its turns usually cost, stands in."""
    update = tool("update", cost_usd=None)
    log = replayed(([turn(), update, turn(), tool("update", False, latency_s=None)], False), ([turn(None)], False))
    first, second = costs(log, "latency")
    assert first[:2].tolist() == pytest.approx([1.5, 1.0 + (6.0 + 0.5 * 1) - 1.0])
    assert costs(log, "money")[0, :2].tolist() == pytest.approx([0.01 + 0.04 - 0.01, 0.01])
    assert second[0] == pytest.approx(1.0)
    assert "seconds are the log's for 2 of 4 calls, in part for 2 more" in log.notes[0]
    assert "dollars are the log's for 3 of 4 calls, in part for 1 more" in log.notes[0]
    assert next(log_words(log)).startswith(log.notes[0])


def test_the_violation_is_what_starts_leave_undone_that_agree_with_the_outcome(replayed):
    """One search and one update suffice for half of the tasks; the others lack two searches, or an update."""
    calls = [tool("search"), tool("update"), turn()]
    done, failed, none = replayed((calls, True), (calls, False), ([turn()], False)).episodes.costs[:, :, 2].sum(1)
    assert (done, failed) == (0.0, pytest.approx(0.5 * 1.5 + 0.5 * 0.5))
    assert none == pytest.approx(0.5 * (0.5 + 0.5) + 0.25 * (2.5 + 0.5) + 0.25 * (0.5 + 1.5))


def test_divergence_is_the_plan_less_what_came_of_it(replayed):
    log = replayed(([tool("search", False), tool("search"), turn()], True))
    assert costs(log, "divergence")[0].tolist() == [1.0, 0.0, 0.0]


def test_what_the_scenario_does_not_have_passes_and_is_told(replayed):
    steps = [turn(), tool("weather", latency_s=7.0), turn(), tool("search"), tool("clock", latency_s=3.0)]
    log = replayed((steps, False))
    assert log.episodes.action[0].tolist() == [SEARCH, STOP]
    assert costs(log, "latency")[0].tolist() == pytest.approx([1.0 + 7.0 + 1.0 + 0.5, 3.0])
    assert "2 calls are none of the scenario's and only pass: weather (1), clock (1)" in log.notes[0]


def test_a_row_called_other_stands_for_them(replayed):
    other = scenario_of(text=TEXT + "[actions.other]\nlatency = 1.0\nmoney = 0.0\n")
    log = replayed(([tool("weather"), turn()], False), scenario=other)
    assert log.episodes.action[0].tolist() == [5, STOP] and "none of the scenario's" not in log.notes[0]


def test_without_a_row_to_stop_by_the_last_turns_belong_to_the_last_call(replayed):
    tools_only = scenario_of(text=TEXT[: TEXT.index("[actions.stop]")])
    log = replayed(([turn(), tool("search"), turn(3.0)], True), scenario=tools_only)
    assert costs(log, "latency")[0].tolist() == pytest.approx([1.0 + 0.5 + 3.0])


def test_a_hand_over_ends_the_episode_and_what_follows_counts_to_it(replayed):
    log = replayed(([turn(), PERSON, turn(), USER], True))
    assert log.episodes.action[0].tolist() == [HAND_OVER]
    assert costs(log, "latency")[0].tolist() == pytest.approx([1 + 20 + 1 + 9])
    assert "1 episodes went on after 'transfer_to_human', which ends them" in log.notes[0]


def test_episodes_past_the_horizon_are_cut_with_what_they_had_left_to_do_there(replayed):
    """The task needs three searches, for nothing else agrees with how it ended; at the horizon it had made none."""
    calls = [*[tool("update")] * 5, *[USER, turn()] * 3, *[tool("search")] * 3, turn()]
    log = replayed((calls, True), (calls, False))
    assert log.episodes.alive.sum(1).tolist() == [8, 8] and log.episodes.success.tolist() == [False, False]
    assert "2 episodes went on past the horizon or a limit, and are cut there" in log.notes[0]
    assert costs(log, "violation")[0, 7] == pytest.approx(0.5 * 0.5 + 0.25 * 2.5 + 0.25 * 0.5)


def test_probabilities_are_the_rows_own(replayed):
    """Of a row that stands for several tools only the sum over them is its probability."""
    log = replayed(
        (
            [
                tool("update", probability=0.25),
                tool("search", probability=0.5),
                tool("search", probabilities={"search": 0.5, "find_it": 0.25, "update": 0.25}),
                tool("update", probabilities={"update": None}),
                turn(),
            ],
            False,
        )
    )
    found = log.episodes.probability[0, :, 0].tolist()
    np.testing.assert_array_equal(found, [0.25, np.nan, 0.75, np.nan, np.nan])


def test_a_probability_that_is_none_is_refused_with_its_row(replayed):
    with pytest.raises(UserError, match=r"row 1: probabilities of 'search': expected a number from 0 to 1, got 2"):
        replayed(([tool("search", probabilities={"search": 2})], True))


def test_what_nobody_knows_is_left_out_and_counted(replayed):
    log = replayed(([turn()], True), ([turn()], None), ([tool("search", None), turn()], True))
    assert len(log) == 1
    assert "left out: 1 episodes of which nobody says whether they succeeded" in log.notes[0]
    assert "left out: 1 episodes with a call of which nobody knows whether it worked" in log.notes[0]


def test_a_log_of_which_nothing_is_left_is_refused_in_one_line(replayed):
    with pytest.raises(UserError, match=r"no episode .* under desk: 1 of which nobody says whether they succeeded"):
        replayed(([turn()], None))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("actions.noise.search=0.1", "actions.noise.search: what success does is a matter of chance"),
        ("actions.gain.search.search=0.5", "actions.gain.search: what success does depends on what the task needs"),
        ("actions.reveals.ask=true", "actions.reveals.ask: success shows what the task needs"),
        ("blind.update=false", "start of update: the coordinate is not blind, and tasks differ in it"),
        ("misread.search=1.0\nblind.search=false", "start of search"),
    ],
)
def test_what_an_agent_saw_must_follow_from_its_calls(override, message, replayed):
    with pytest.raises(UserError, match=message):
        replayed(([turn()], True), scenario=scenario_of(*override.split("\n")))


def test_a_box_of_starts_is_averaged_over_as_points_are(replayed):
    boxed = scenario_of("start_low=0.0", "start_high=2.0", "start_points=[[0, 0]]", "start_weights=[1]")
    log = replayed(([turn()], False), scenario=boxed)
    assert costs(log, "violation")[0, 0] == pytest.approx(2 * (1.5**2 / 2) / 2 / (15 / 16), rel=0.1)


def test_more_episodes_than_are_played_at_once_keep_their_order(replayed):
    episodes = [([tool("search", n % 3 == 0)] * (n % 5) + [turn()], n % 2 == 0) for n in range(700)]
    log = replayed(*episodes)
    assert log.episodes.alive.sum(1).tolist() == [n % 5 + 1 for n in range(700)]
    assert log.episodes.failed.sum(1).tolist() == [0 if n % 3 == 0 else n % 5 for n in range(700)]
