"""Reading agent logs: what is made of a file, whatever its actions are."""

import gzip
import json

import pytest

from aljax import UserError
from aljax.logs.fields import known
from aljax.logs.lines import Lines
from aljax.logs.readers import read_episodes

STEP = {"episode": "a", "logger": "x", "kind": "llm", "name": "reason", "t": 0}
END = {"episode": "a", "logger": "x", "kind": "end", "success": True}


def write(path, rows):
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def test_logs_of_real_agents_may_repeat_names_lie_between_each_other_and_be_empty(tmp_path):
    other = STEP | {"episode": "b"}
    rows = [STEP, other, END, STEP, other | {"t": 1}, END | {"episode": "b"}, END, END]
    found = list(read_episodes(write(tmp_path / "log.jsonl.gz", rows)))
    assert [(episode.name, len(episode.steps)) for episode in found] == [("a", 1), ("b", 2), ("a", 1), ("a", 0)]
    assert found[1].rows == [2, 5, 6] and found[0].task == "a"


def test_what_is_null_is_not_known():
    told = {"latency_s": 0, "ok": False, "name": ""}
    assert known(told | {"cost_usd": None}) == told


def test_steps_that_must_say_whether_they_worked_are_asked_for_by_kind(tmp_path):
    rows = [STEP, STEP | {"t": 1, "kind": "tool", "name": "look", "ok": None}, END]
    (episode,) = read_episodes(write(tmp_path / "log.jsonl.gz", rows))
    episode.require_outcomes("escalate")
    with pytest.raises(UserError, match=r"log.jsonl.gz, row 2: ok: expected true or false: did 'look' work\?$"):
        episode.require_outcomes("tool", "escalate")


def test_whether_an_episode_succeeded_need_not_be_known_but_may_be_asked_for(tmp_path):
    ends = [END | {"success": known} for known in (True, False, None)]
    first, second, third = read_episodes(write(tmp_path / "log.jsonl.gz", ends))
    assert first.require_success() is True and second.require_success() is False
    with pytest.raises(UserError, match=r"log.jsonl.gz, row 3: success: expected true or false, got null$"):
        third.require_success()
    with pytest.raises(UserError, match=r"row 1: success: expected true or false, got 1$"):
        list(read_episodes(write(tmp_path / "wrong.gz", [END | {"success": 1}])))


def test_what_is_no_agent_log_is_told_what_one_has(tmp_path):
    spans = [{"traceId": "1"}]
    for rows, message in ([], "empty, expected a row"), (spans, "row 1: episode: expected text, but it is missing"):
        with pytest.raises(UserError, match=message):
            list(read_episodes(write(tmp_path / "log.gz", rows)))


def test_a_row_that_was_looked_at_stays_to_be_read(tmp_path):
    lines = Lines(write(tmp_path / "log.gz", [STEP, END]))
    assert lines.first() == lines.first() == STEP
    assert list(lines) == [(1, STEP), (2, END)] and lines.first() is None
