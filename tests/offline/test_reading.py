"""Logs in files: what is written is what is read, and what is wrong is one line with its row."""

import copy
import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aljax import UserError
from aljax.commands.main import main
from aljax.host.files import whole_file
from aljax.logs.readers import read_episodes
from aljax.offline.data import collect, distributions, joined
from aljax.offline.reading import read_log, read_logs
from aljax.offline.writing import write_log
from aljax.policy import Mixture, heuristics

from tiny import TINY, tiny_scenario

SCENARIO = tiny_scenario()


@pytest.fixture(scope="module")
def log():
    simple = heuristics(SCENARIO)
    loggers = {
        "latency": simple["latency"],
        "mixed": Mixture((simple["latency"], simple["random"]), np.array([0.5, 0.5])),
    }
    return collect(jax.random.key(0), loggers, SCENARIO.params, episodes=30, steps=3, tasks="s0")


@pytest.fixture
def rows(log, tmp_path):
    """The log's rows, to spoil."""
    write_log(tmp_path / "whole.jsonl", log, SCENARIO)
    return [json.loads(line) for line in (tmp_path / "whole.jsonl").read_text().splitlines()]


def played(log):
    """What is to be read back: nothing is kept of steps after the end."""
    episodes = jax.tree.map(np.asarray, log.episodes)
    alive = episodes.alive
    found = {"alive": alive, "success": episodes.success, "logger": episodes.logger, "task": episodes.task}
    for name in ("observation", "action", "costs", "probability"):
        values = getattr(episodes, name)
        found[name] = np.where(alive.reshape(alive.shape + (1,) * (values.ndim - 2)), values, 0)
    return found


def test_a_log_says_who_acted_with_which_probability_and_all_loggers_meet_the_same_tasks(log):
    episodes = log.episodes
    assert log.loggers == ("latency", "mixed") and len(log) == 60 and len(log.tasks) == 30
    np.testing.assert_array_equal(episodes.observation[:30, 0], episodes.observation[30:, 0])
    assert not np.array_equal(episodes.costs[:30], episodes.costs[30:])
    alive, mixed = episodes.alive, episodes.logger == 1
    assert (episodes.own_probability[~mixed] == 1).all()
    first = episodes.action == 0
    np.testing.assert_allclose(episodes.probability[..., 1][alive], np.where(first, 2 / 3, 1 / 6)[alive], rtol=1e-5)
    np.testing.assert_array_equal(episodes.probability[..., 0][alive], first[alive])
    found = distributions(
        heuristics(SCENARIO)["random"], SCENARIO.params, episodes.observation, episodes.action, episodes.failed
    )
    np.testing.assert_allclose(found, 1 / 3, rtol=1e-6)


def test_each_logger_has_luck_of_its_own_on_the_same_tasks():
    """Two loggers of one policy: nothing but luck can tell them apart."""
    scenario = tiny_scenario("start_high=3.0", "misread=0.5")
    random = heuristics(scenario)["random"]
    log = collect(jax.random.key(0), {"one": random, "other": random}, scenario.params, episodes=200, steps=3)
    one, other = (jax.tree.map(lambda leaf, at=at: leaf[at], log.episodes) for at in np.split(np.arange(400), 2))
    np.testing.assert_array_equal(one.observation[:, 0], other.observation[:, 0])
    # Choices of three rows agree by chance in a third of the episodes; whether the same row fails at first differs too.
    assert (one.action[:, 0] == other.action[:, 0]).mean() < 0.5
    both_weak = (one.action[:, 0] == 0) & (other.action[:, 0] == 0)
    failed = [part.costs[both_weak, 0, 3] for part in (one, other)]
    assert both_weak.sum() > 10 and not np.array_equal(*failed)


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_what_is_written_is_what_is_read_to_the_last_bit(log, tmp_path, name):
    write_log(tmp_path / name, log, SCENARIO)
    back = read_log(tmp_path / name, SCENARIO)
    assert (back.loggers, back.tasks) == (log.loggers, log.tasks)
    for field, values in played(log).items():
        np.testing.assert_array_equal(played(back)[field], values, err_msg=field)
    before = (tmp_path / name).read_bytes()
    write_log(tmp_path / name, back, SCENARIO)
    assert (tmp_path / name).read_bytes() == before


def test_a_row_reads_like_the_logs_of_real_agents(rows):
    step, end = rows[0], next(row for row in rows if row["kind"] == "end")
    assert {"episode", "task", "logger", "t", "kind", "name", "ok", "latency_s", "cost_usd", "probability"} <= set(step)
    assert (step["t"], step["kind"], step["name"]) == (0, "tool", "weak") and step["latency_s"] == 1.0
    assert {"episode", "task", "logger", "kind", "success", "violation"} <= set(end)


def test_several_files_are_one_data_set(log, tmp_path):
    one, other = log.take(slice(0, 30)), log.take(slice(30, 60))
    # Each by itself: its loggers' names and the other's probabilities are not known there.
    one = dataclasses.replace(one, loggers=("a",), episodes=_single(one.episodes, 0))
    other = dataclasses.replace(other, loggers=("b",), episodes=_single(other.episodes, 1))
    for name, part in {"one": one, "other": other}.items():
        write_log(tmp_path / f"{name}.jsonl", part, SCENARIO)
    whole = read_logs([tmp_path / "one.jsonl", tmp_path / "other.jsonl"], SCENARIO)
    assert whole.loggers == ("a", "b") and len(whole) == 60 and len(whole.tasks) == 30
    np.testing.assert_array_equal(whole.episodes.task[:30], whole.episodes.task[30:])
    assert np.isnan(whole.episodes.probability[:30, :, 1]).all()
    np.testing.assert_array_equal(whole.episodes.own_probability, log.episodes.own_probability)
    wide = dataclasses.replace(other, episodes=dataclasses.replace(other.episodes, observation=np.zeros((30, 3, 9))))
    with pytest.raises(UserError, match="observations of 8 and of 9 numbers cannot be joined"):
        joined([one, wide])


def _single(episodes, number):
    return dataclasses.replace(
        episodes, probability=episodes.probability[..., number : number + 1], logger=np.zeros(30, np.int32)
    )


def _without(field, row=0):
    def spoil(rows):
        del rows[row][field]

    return spoil


def _with(field, value, row=0):
    def spoil(rows):
        rows[row][field] = value

    return spoil


def _end(field, value):
    def spoil(rows):
        next(row for row in rows if row["kind"] == "end")[field] = value

    return spoil


def _every(field, value):
    def spoil(rows):
        for row in rows:
            row[field] = value

    return spoil


def _at(place, value):
    def spoil(rows):
        rows[0]["observation"][place] = value

    return spoil


def _last(rows):
    """The row number of the first episode's end, from 1."""
    return next(n for n, row in enumerate(rows, 1) if row["kind"] == "end")


BAD = {
    "no episode": (_without("episode"), "row 1: episode: expected text, but it is missing"),
    "no name": (_without("name"), "row 1: name: expected text, but it is missing"),
    "no latency": (_without("latency_s", 1), "row 2: latency_s: expected a number not below 0, but it is missing"),
    "no observation": (_without("observation"), "row 1: observation: expected 8 numbers"),
    "short observation": (_with("observation", [1, 2]), "row 1: observation: expected 8 numbers .* got 2"),
    "text among numbers": (_with("observation", ["x"] * 8), "row 1: observation: expected 8 numbers"),
    "unknown action": (_with("name", "strogn"), "row 1: action 'strogn' is unknown to scenario tiny, which has weak"),
    "another kind": (_with("kind", "llm"), "row 1: weak is of kind 'llm', but 'tool' in scenario tiny"),
    "probability 0": (_with("probability", 0), "row 1: probability: expected a number above 0 and at most 1, got 0"),
    "probability above 1": (_with("probability", 1.5), "row 1: probability: .* got 1.5"),
    "probabilities": (_with("probabilities", {"latency": -1}), "row 1: probabilities of 'latency': .* from 0 to 1"),
    "of who acted": (_with("probabilities", {"latency": 0}), "row 1: probabilities of 'latency', which acted"),
    "not ok": (_with("ok", "yes"), "row 1: ok: expected true or false, got 'yes'"),
    "negative cost": (_with("cost_usd", -1), "row 1: cost_usd: expected a number not below 0, got -1"),
    "out of order": (_with("t", 5), "row 1: t: expected 0, the next step of episode 'latency/s0-30/0', got 5"),
    "true is no number": (_with("t", False), "row 1: t: expected 0"),
    "no violation": (_end("violation", None), "row 4: violation: expected a number not below 0"),
    "success in words": (_end("success", "yes"), "row 4: success: expected true or false"),
    "another logger": (_end("logger", "x"), "row 4: logger 'x', but 'latency' earlier in episode"),
    "cut short": (lambda rows: rows.pop(), "row 2..: episode 'mixed/s0-30/29' is cut short"),
    "too large for single precision": (
        _with("latency_s", 1e39),
        "row 1: latency_s: expected at most 1e.14, got 1e.39",
    ),
    "dollars whose sum overflows": (_with("cost_usd", 3e38), "row 1: cost_usd: expected at most 1e.14"),
    "an episode whose sum is too large": (
        lambda rows: rows[0].update(latency_s=9e13, cost_usd=9e13),
        r"row 4: episode 'latency/s0-30/0' costs 1.35e.14 in all, expected at most 1e.14",
    ),
    "divergence": (_with("divergence", 10**30), "row 1: divergence: expected at most 1e.14"),
    "a violation too large": (_end("violation", 1e300), "row 4: violation: expected at most 1e.14"),
    "an observation too large": (
        _at(5, -1e39),
        r"row 1: observation: expected 8 numbers of at most 1e.14 .*, but observation\[5\] is -1e.39",
    ),
    "a probability that becomes 0": (_with("probability", 1e-50), "row 1: probability: expected at least 1.2e-38"),
    "a denormal probability": (
        lambda rows: rows[0].update(probability=None, probabilities={"latency": 1e-41}),
        "row 1: probabilities of 'latency', which acted: expected a number above 0",
    ),
    "null in an observation": (
        _at(3, None),
        r"row 1: observation: expected 8 numbers \(scenario tiny\), but observation\[3\] is null",
    ),
    "true in an observation": (_at(3, True), r"row 1: .* but observation\[3\] is true"),
    "several loggers in an episode": (
        _with("logger", "mixed", 1),
        "row 2: logger 'mixed', but 'latency' earlier in episode 'latency/s0-30/0'",
    ),
    "several tasks in an episode": (_with("task", "other", 1), "row 2: task 'other', but 's0-30/0' earlier"),
    "a success that violates": (
        lambda rows: rows[_last(rows) - 1].update(success=True, violation=5),
        "row 4: success: true, but a violation of 5, expected 0",
    ),
    "probability against probabilities": (
        lambda rows: rows[0].update(probability=0.5, probabilities={"latency": 0.25}),
        "row 1: probability 0.5, but 0.25 in probabilities of 'latency', who acted",
    ),
    "actions for loggers": (
        lambda rows: rows[0].update(probabilities={"weak": 0.5, "strong": 0.5}),
        "row 1: probabilities: expected names of loggers, got the action 'weak'",
    ),
    "on after the end": (
        lambda rows: rows[0].update(name="stop", kind="terminate", ok=True),
        "row 2: episode 'latency/s0-30/0' goes on after stop worked, which ends it in scenario tiny",
    ),
    "a number for a task": (_every("task", 7), "row 1: task: expected text, or null, got 7"),
    "no text for a task": (_every("task", ""), "row 1: task: expected text, or null, got ''"),
    "a number for a logger": (_every("logger", 7), "row 1: logger: expected text, got 7"),
    "a number for an episode": (_every("episode", 7), "row 1: episode: expected text, got 7"),
    "a list for a digest": (_end("digest", [1]), r"row 4: digest: expected text, got \[1\]"),
    "begins with its end": (
        lambda rows: rows.insert(0, rows.pop()),
        "row 1: episode 'mixed/s0-30/29' ends without a step",
    ),
    "too long": (
        lambda rows: rows.insert(3, rows[2] | {"t": 3}),
        "row 4: episode 'latency/s0-30/0' goes on after 3 steps, tiny's horizon",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_in_one_line_with_file_and_row(case, rows, tmp_path):
    spoil, message = BAD[case]
    spoil(rows)
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=f"bad.jsonl, {message}") as refusal:
        read_log(path, SCENARIO)
    assert "\n" not in str(refusal.value)


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_was_rounded_is_taken_for_what_it_stands_for(rows, tmp_path):
    rows[0] |= {"probability": 1.0000001, "probabilities": {"latency": 1.0000001, "mixed": 1e-45}}
    rows[1] |= {"probability": None, "probabilities": {"latency": None}, "latency_s": 1e-42}
    log = read_log(_write(tmp_path / "log.jsonl", rows), SCENARIO)
    assert log.episodes.probability[0, 0, 0] == 1 and np.isnan(log.episodes.probability[0, 1]).all()


def test_an_episode_without_a_task_has_one_of_its_own(rows, tmp_path):
    for row in rows:
        if row["logger"] == "latency":
            row["task"] = None
        else:
            del row["task"]
    path = _write(tmp_path / "log.jsonl", rows)
    log = read_log(path, SCENARIO)
    assert len(set(log.episodes.task.tolist())) == len(log.tasks) == 60
    # As are those of another logger that calls its episodes the same.
    twin = [row | {"logger": "third"} for row in rows if row["logger"] == "latency"]
    both = read_logs([path, _write(tmp_path / "twin.jsonl", twin)], SCENARIO)
    assert len(set(both.episodes.task.tolist())) == 90
    assert [episode.task for episode in read_episodes(path)][:2] == ["latency/s0-30/0", "latency/s0-30/1"]


def test_loggers_stand_in_the_order_in_which_they_come(rows, tmp_path):
    for row in rows:
        if row["kind"] != "end" and row["logger"] == "latency":
            row["probabilities"] = dict.fromkeys(("latency", "z", "b", "a", "mixed"), 0.5) | {"latency": 1.0}
    assert read_log(_write(tmp_path / "log.jsonl", rows), SCENARIO).loggers == ("latency", "z", "b", "a", "mixed")


def test_a_log_of_another_scenario_is_refused_unless_asked_for_and_says_what_differs(log, rows, tmp_path):
    path = tmp_path / "whole.jsonl"
    other = tiny_scenario("z_scale.error=6.0", "tolerance=0.25")
    with pytest.raises(UserError) as refusal:
        read_log(path, other)
    assert str(refusal.value) == (
        f"{path}, row 4: logged under scenario 'tiny' with other numbers or names than tiny: tolerance.error 0.125, "
        "here 0.25; z_scale.error 2.0, here 6.0 (--other-scenario reads it all the same)"
    )
    asked = read_log(path, other, other_scenario=True)
    assert len(asked) == 60
    (warning,) = asked.warnings
    assert "z_scale.error 2.0, here 6.0; read all the same, as asked for" in warning
    # Weights only weigh what was logged, and a scenario's own name means nothing.
    renamed = dataclasses.replace(tiny_scenario("weights.latency=9.0"), name="mine")
    assert read_log(path, renamed).warnings == ()
    # In another order, rows mean something else.
    rows[3]["environment"]["actions"] = ["strong", "weak", "stop"]
    for row in rows:
        if row["kind"] == "end":
            row["digest"] = "0123456789abcdef"
    with pytest.raises(UserError, match="actions strong, weak, stop, here weak, strong, stop"):
        read_log(_write(tmp_path / "turned.jsonl", rows), SCENARIO)
    del rows[3]["environment"]
    with pytest.raises(UserError, match=r"digest '0123456789abcdef', here \w{16}"):
        read_log(_write(tmp_path / "turned.jsonl", rows), SCENARIO)


def test_each_of_several_files_is_checked(log, tmp_path):
    write_log(tmp_path / "one.jsonl", log, SCENARIO)
    write_log(tmp_path / "other.jsonl", log.take(slice(3)), tiny_scenario("start_high=2.5"))
    with pytest.raises(UserError, match=r"other\.jsonl, row 4: .* start_high.error 2.5, here 2.0"):
        read_logs([tmp_path / "one.jsonl", tmp_path / "other.jsonl"], SCENARIO)


def test_a_log_that_does_not_say_its_scenario_is_read_with_a_warning(rows, tmp_path):
    for row in rows:
        for field in ("scenario", "digest", "environment"):
            row.pop(field, None)
    (warning,) = read_log(_write(tmp_path / "old.jsonl", rows), SCENARIO).warnings
    assert warning.startswith(f"{tmp_path / 'old.jsonl'}, row 4 and 59 more: no digest of the scenario")


def test_the_same_file_twice_is_refused_and_the_same_episodes_are_warned_about(log, tmp_path):
    path = tmp_path / "log.jsonl"
    write_log(path, log, SCENARIO)
    (tmp_path / "link.jsonl").symlink_to(path)
    (tmp_path / "copy.jsonl").write_bytes(path.read_bytes())
    for twin, message in {"log": "given twice", "link": "given twice", "copy": "the same bytes as"}.items():
        with pytest.raises(UserError, match=f"{twin}.jsonl: {message}"):
            read_logs([path, tmp_path / f"{twin}.jsonl"], SCENARIO)
    write_log(tmp_path / "part.jsonl", log.take(slice(7)), SCENARIO)
    (warning,) = read_logs([path, tmp_path / "part.jsonl"], SCENARIO).warnings
    assert f"part.jsonl, row 4 (before: {path}, row 4) and 6 more: the same episode again" in warning


def test_a_failure_that_violates_nothing_is_warned_about(rows, tmp_path):
    rows[3] |= {"success": False, "violation": 0}
    (warning,) = read_log(_write(tmp_path / "odd.jsonl", rows), SCENARIO).warnings
    assert "odd.jsonl, row 4: no success, but a violation of 0" in warning


@pytest.mark.parametrize("field", ["latency_s", "cost_usd", "divergence", "violation", "observation"])
def test_a_row_that_carries_most_of_a_column_is_warned_about(field, log, rows, tmp_path):
    number = 4 if field == "violation" else 2
    if field == "violation":
        rows[3] |= {"success": False, "violation": 2.5e9}
    elif field == "observation":
        rows[1]["observation"][0] = -2.5e9
    else:
        rows[1][field] = 2.5e9
    (warning,) = read_log(_write(tmp_path / "odd.jsonl", rows), SCENARIO).warnings
    assert f"odd.jsonl, row {number}: {field}" in warning and "100.0 % of all of it" in warning


def test_a_shorter_data_set_is_padded_to_be_joined(log):
    one = log.take(slice(0, 30))
    short = dataclasses.replace(
        one,
        episodes=dataclasses.replace(
            one.episodes, **{name: getattr(one.episodes, name)[:, :1] for name in
                             ("observation", "action", "costs", "alive", "probability")}
        ),
    )  # fmt: skip
    both = joined([log, short])
    assert both.episodes.action.shape == (90, 3) and not both.episodes.alive[60:, 1:].any()
    assert np.isnan(both.episodes.probability[60:, 1:]).all() and (both.episodes.costs[60:, 1:] == 0).all()


VALUES = st.one_of(
    st.sampled_from([None, True, False, 0, 1, -1, 0.5, 1e39, -1e39, 1e-50, 1e308, 10**18, 2.5e9, 1.0000001, "", "x"]),
    st.sampled_from([[], {}, [1.0] * 8, [True] * 8, ["x"] * 8, [1e39] * 8, {"latency": 1}, {"mixed": 0}, {"weak": 1}]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4),
)
STEP = ["t", "name", "ok", "latency_s", "cost_usd", "divergence", "observation", "probability", "probabilities"]
END = ["success", "violation", "scenario", "digest", "environment"]
SPOILED = st.tuples(
    st.integers(0, 11),
    st.sampled_from(["set", "entry", "delete", "drop", "double", "swap", "bytes"]),
    st.sampled_from(["episode", "task", "logger", "kind", *STEP, *END]),
    VALUES,
    st.integers(0, 300),
)


def _spoil(rows, spoiled):
    """Lines of a file from rows that something was done to."""
    rows, cuts = copy.deepcopy(rows), []
    for where, how, field, value, place in spoiled:
        if not rows:
            break
        n, value = where % len(rows), copy.deepcopy(value)
        if how == "set":
            rows[n][field] = value
        elif how == "entry" and isinstance(rows[n].get(field), list | dict) and rows[n][field]:
            keys = list(range(len(rows[n][field]))) if isinstance(rows[n][field], list) else list(rows[n][field])
            rows[n][field][keys[place % len(keys)]] = value
        elif how == "delete":
            rows[n].pop(field, None)
        elif how == "drop":
            rows.pop(n)
        elif how == "double":
            rows.insert(place % len(rows), copy.deepcopy(rows[n]))
        elif how == "swap":
            rows[n], rows[place % len(rows)] = rows[place % len(rows)], rows[n]
        else:
            cuts.append((place, str(value).encode("utf-8", "replace")))
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for place, piece in cuts:
        at = place * len(text) // 301
        text = text[:at] + piece + text[at + len(piece) :]
    return text


@pytest.fixture(scope="module")
def few(log, tmp_path_factory):
    """Four episodes' rows."""
    path = tmp_path_factory.mktemp("few") / "few.jsonl"
    write_log(path, log.take(np.array([0, 1, 30, 31])), SCENARIO)
    return [json.loads(line) for line in path.read_text().splitlines()], path


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SPOILED, min_size=1, max_size=3), st.booleans())
def test_a_spoiled_log_is_read_to_sound_numbers_or_refused_in_one_line(few, spoiled, other_scenario):
    rows, path = few
    path = path.with_name("spoiled.jsonl")
    path.write_bytes(_spoil(rows, spoiled))
    try:
        log = read_log(path, SCENARIO, other_scenario=other_scenario)
    except UserError as refusal:
        text = str(refusal)
        assert re.search(r"spoiled\.jsonl(, row \d+: |: empty)", text), text
        assert text.isprintable() and len(text) < len(str(path)) + 600
        return
    episodes = log.episodes
    assert len(log) == len(episodes.task) > 0 and all(warning.isprintable() for warning in log.warnings)
    assert np.isfinite(episodes.observation).all() and np.isfinite(episodes.costs).all() and (episodes.costs >= 0).all()
    assert np.isfinite((episodes.costs.astype(np.float32) ** 2).sum())
    assert (episodes.alive[:, 1:] <= episodes.alive[:, :-1]).all() and episodes.alive[:, 0].all()
    known = episodes.own_probability
    assert (np.isnan(known) | ((known >= np.finfo(np.float32).tiny) & (known <= 1))).all()
    violation = episodes.costs[..., 2].sum(1)
    assert (violation[episodes.success] <= 1e-5).all()


def test_damaged_files_are_refused(log, tmp_path):
    path = tmp_path / "log.jsonl.gz"
    write_log(path, log, SCENARIO)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"log.jsonl.gz, after row \d+: damaged or truncated gzip"):
        read_log(path, SCENARIO)
    path.write_bytes(whole[:100] + b"xxxx" + whole[104:])
    with pytest.raises(UserError, match=r"log\.jsonl\.gz"):
        read_log(path, SCENARIO)
    for text, message in {"[1]\n": "row 1: expected a JSON object", "{\n": "row 1: not JSON", "": "empty"}.items():
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_log(path, SCENARIO)
    with pytest.raises(UserError, match=r"missing\.jsonl: cannot be read: No such file"):
        read_log(tmp_path / "missing.jsonl", SCENARIO)


def test_a_log_is_written_whole_or_not_at_all(log, tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl.gz"
    path.write_text("before")
    broken = dataclasses.replace(log, loggers=("only one",))
    with pytest.raises(IndexError):
        write_log(path, broken, SCENARIO)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UserError, match="cannot be written"), whole_file(tmp_path / "no" / "log.jsonl"):
        pass


def test_commands_refuse_bad_logs_with_status_2(rows, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    rows[1]["probability"] = 2
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def refused(*args):
        assert main([*args, "--scenario", "tiny.toml"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    for command in (
        ("train", "--regime", "offline", "--data", "bad.jsonl"),
        ("ope", "bad.jsonl", "--policy", "random"),
    ):
        assert "bad.jsonl, row 2: probability" in refused(*command)
    assert "learns from logs: expected --data" in refused("train", "--regime", "supervised")
    assert "regime supervised has imitation, cost_sensitive" in refused(
        "train", "--regime", "supervised", "--algorithm", "cql", "--data", "whole.jsonl"
    )
    assert "nothing to learn from" in refused("train", "--algorithm", "cql")
    assert "takes no --data" in refused("train", "--start", "x", "--data", "whole.jsonl")
    assert "expected latency, cost_aware, random, optimal or a run folder" in refused("collect", "x", "--policy", "no")
    assert "epsilon: expected a number in [0, 1]" in refused("collect", "x.jsonl", "--epsilon", "2")
    assert "episodes: expected" in refused("collect", "x.jsonl", "--episodes", "0")
    assert "cannot be written" in refused("collect", "no/x.jsonl")
    assert "at least one LOG" in refused("ope", "whole.jsonl")
    assert "folds: expected" in refused("ope", "whole.jsonl", "--policy", "random", "--folds", "1")
    for wrong in ("-5", "nan", "inf"):
        line = refused("ope", "whole.jsonl", "--policy", "random", "--penalty", wrong)
        assert "penalty: expected a finite number not below 0" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "tiny.toml", "whole.jsonl"]
