"""`aljax import`: from the shell, in one line where it is refused, and nothing left behind."""

import gzip
import json
import os
import subprocess
import sys
import typing

import pytest

from aljax.commands.main import main
from aljax.commands.options.importing import Import
from aljax.logs.formats.registry import NAMES
from aljax.logs.readers import read_episodes

from traces import model, otlp, span, tool, written


@pytest.fixture
def spans(tmp_path, monkeypatch):
    """A file of traces in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    failed = tool(3, "look", start=3.0, end=3.5, status={"code": 2, "message": "KeyError: x"})
    other = tool(4, "ask", trace="b" * 32, start=9.0, end=11.0)
    written(tmp_path / "spans.json", otlp(span(9, end=5.0), model(1, operation__cost=0.5), model(2, 1), failed, other))
    return tmp_path / "spans.json"


def refused(capsys, *args):
    """The one line on standard error with which a command ends."""
    assert main(["import", *args]) == 2
    out, line = capsys.readouterr()
    assert out == "" and line.startswith("aljax: ") and line.count("\n") == 1
    return line[len("aljax: ") : -1]


def test_the_log_is_written_and_told(spans, capsys):
    assert main(["import", "spans.json", "--out", "log.jsonl.gz", "--kind", "ask=clarify", "--json", "told.json"]) == 0
    first, second = read_episodes("log.jsonl.gz")
    assert [step["name"] for step in first.steps] == ["reason", "look"] and second.steps[0]["kind"] == "clarify"
    told = json.loads((spans.parent / "told.json").read_text())
    assert (told["episodes"], told["tasks"], told["spans"], told["seconds"]) == (2, 2, 5, 7.0)
    assert told["all"] == {
        "calls": 3, "failed": 1, "unknown": 0, "errors": {"KeyError": 1}, "in_tokens": {"total": 10, "calls": 1},
        "out_tokens": {"total": 2, "calls": 1}, "cost_usd": {"total": 0.5, "calls": 1},
        "latency_s": {"total": 3.5, "calls": 3},
    }  # fmt: skip
    assert told["rows"][0]["name"] == "ask" and told["files"] == {"spans.json": "otlp"}
    out = capsys.readouterr().out
    assert "2 episodes, 2 tasks" in out and "Failures: 1 KeyError." in out
    assert "Left out: 1 spans of a model around another one of the same call." in out


def test_of_very_many_tools_the_most_called_are_shown(spans, capsys):
    calls = [tool(n, f"tool_{n}", start=n / 1e3, end=n / 1e3) for n in range(1, 100)]
    written(spans, otlp(*calls, tool(500, "tool_77", start=1.0)))
    assert main(["import", "spans.json", "--out", "log", "--json", "told.json"]) == 0
    out = capsys.readouterr().out
    assert out.count("tool_") == 40 and "tool_77" in out and "and 59 more" in out
    assert len(json.loads((spans.parent / "told.json").read_text())["rows"]) == 99


def test_a_log_that_is_there_is_replaced_only_where_that_is_said(spans, capsys):
    (spans.parent / "log").write_text("mine")
    assert refused(capsys, "spans.json", "--out", "log") == "log: already exists (--overwrite replaces it)"
    assert (spans.parent / "log").read_text() == "mine"
    assert main(["import", "spans.json", "--out", "log", "--overwrite", "--logger", "me"]) == 0
    assert {episode.logger for episode in read_episodes("log")} == {"me"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "import: expected at least one FILE and --out LOG"),
        (("spans.json",), "import: expected at least one FILE and --out LOG"),
        (("spans.json", "--out", "no/log"), "no/log: cannot be written: "),
        (("none.json", "--out", "log"), "none.json: cannot be read: No such file or directory"),
        (("empty", "--out", "log"), "empty: empty, expected traces in one of the formats otlp, "),
        (("broken", "spans.json", "--out", "log"), "broken, row 2: not JSON: cut short"),
        (("odd", "--out", "log"), "odd: begins with an object with x, expected traces in one of the formats otlp, "),
        (
            ("idle", "--out", "log"),
            "idle: nothing to import: 1 spans, none of them a call of a tool or a model; 1 traces w",
        ),
        (("cut.gz", "--out", "log"), "cut.gz: damaged or truncated gzip: "),
        (
            ("spans.json", "--out", "log", "--kind", "ask"),
            "--kind ask: expected NAME=clarify, NAME=escalate, NAME=reason",
        ),
        (("spans.json", "--out", "log", "--kind", "ask=tell"), "--kind ask=tell: expected one of clarify, escalate, "),
    ],
    ids=range(11),
)
def test_what_cannot_be_is_one_line_and_nothing_is_left_behind(spans, capsys, args, message):
    folder = spans.parent
    (folder / "empty").write_text("\n \n")
    (folder / "broken").write_text(spans.read_text() + '{"resourceSpans": [')
    (folder / "odd").write_text('{"x": 1}\n')
    written(folder / "idle", otlp(span(1)))
    (folder / "cut.gz").write_bytes(gzip.compress(spans.read_bytes())[:-10])
    before = sorted(folder.iterdir())
    assert refused(capsys, *args).startswith(message)
    assert sorted(folder.iterdir()) == before


def test_options_name_every_format():
    choices = typing.get_args(typing.get_type_hints(Import)["form"])
    assert set(typing.get_args(choices[0])) == set(NAMES)


def test_importing_loads_neither_jax_nor_numpy(spans):
    program = (
        "import sys\nfrom aljax.commands.main import main\n"
        "assert main(['import', 'spans.json', '--out', '/dev/null', '--overwrite']) == 0\n"
        "print({'jax', 'numpy', 'scipy', 'pyarrow'} & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_traces_may_come_through_a_pipe(spans):
    shell = f"cat spans.json | {sys.executable} -m aljax import /dev/stdin --out /dev/stdout --json told.json | head -1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert json.loads(done.stdout)["name"] == "reason"
