"""Readers of agents' logs: what they make of a file, whatever its actions are, and which of them reads it."""

import gzip
import json

import pytest

from aljax import UserError
from aljax.logs import agent_log, readers
from aljax.logs.episode import Format, LoggedEpisode
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


def test_a_file_is_read_by_the_first_reader_that_recognises_how_it_begins(tmp_path, monkeypatch):
    def read(lines, on_progress):
        for number, row in lines:
            yield LoggedEpisode(str(lines), row["run"], "t", "y", (), {"success": True}, [number])

    other = Format("other", lambda row: "run" in row, read)
    monkeypatch.setattr(readers, "FORMATS", (agent_log.FORMAT, other))
    theirs = list(read_episodes(write(tmp_path / "theirs.gz", [{"run": "1"}, {"run": "2"}])))
    assert [(episode.name, episode.rows) for episode in theirs] == [("1", [1]), ("2", [2])]
    (ours,) = read_episodes(write(tmp_path / "ours.gz", [STEP | {"run": "1"}, END]))
    assert ours.name == "a" and ours.end == END


def test_what_nobody_recognises_is_told_what_an_agent_log_has(tmp_path):
    spans = [{"traceId": "1"}]
    for rows, message in ([], "empty, expected a row"), (spans, "row 1: episode: expected text, but it is missing"):
        with pytest.raises(UserError, match=message):
            list(read_episodes(write(tmp_path / "log.gz", rows)))


def test_a_row_that_was_looked_at_stays_to_be_read(tmp_path):
    lines = Lines(write(tmp_path / "log.gz", [STEP, END]))
    assert lines.first() == lines.first() == STEP
    assert list(lines) == [(1, STEP), (2, END)] and lines.first() is None
