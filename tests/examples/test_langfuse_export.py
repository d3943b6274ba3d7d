"""The made-up export of the tutorial is read as one of Langfuse's, and says what its world did."""

import importlib.util
import sys
from pathlib import Path

import pytest

from aljax.logs.importing import import_traces
from aljax.logs.moves import moves_of
from aljax.logs.readers import read_episodes

HERE = Path(__file__).resolve()

spec = importlib.util.spec_from_file_location("langfuse_export", HERE.parents[2] / "examples" / "langfuse_export.py")
langfuse_export = importlib.util.module_from_spec(spec)
sys.modules["langfuse_export"] = langfuse_export
spec.loader.exec_module(langfuse_export)


def test_what_is_written_is_imported_as_it_was_played(tmp_path, monkeypatch):
    played = []
    simulate = langfuse_export.simulate
    monkeypatch.setattr(
        langfuse_export, "simulate", lambda *given, **how: played.extend(simulate(*given, **how)) or played
    )
    traces, log = tmp_path / "traces.jsonl.gz", tmp_path / "agent.jsonl"
    monkeypatch.setattr(sys, "argv", ["langfuse_export.py", str(traces), "--tasks", "6", "--runs", "3"])
    assert langfuse_export.main() == 0
    summary = import_traces([traces], log, task="ticket")
    assert summary.formats == {str(traces): "langfuse"} and not summary.skipped
    assert (summary.episodes, summary.tasks) == (18, 6)
    for read, made in zip(read_episodes(log), played, strict=True):
        assert (read.task, read.end["success"]) == (made.task, made.end["success"])
        for found, move in zip(moves_of(read), moves_of(made), strict=True):
            assert (found.kind, found.ok, found.before.dollars) == (move.kind, move.ok, move.before.dollars)
            assert found.before.seconds == pytest.approx(move.before.seconds, abs=1e-5)
