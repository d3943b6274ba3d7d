"""What reaches the terminal: text as it is written, nothing that steers, and never an error for want of a character."""

import io
import os
import subprocess
import sys

import pytest
from rich.progress import Progress
from test_report import SUMMARY

from aljax import report, tables
from aljax.host import terminal

from tiny import tiny_scenario

NAMES = ("[gpt-4o] router", "[/x] gpt", "run [v1]", "buy$a_$b", "[bold]x[/]", ":smile:", "naïve-😀", "a|b", "\\[x]")


def shown(*parts, **options):
    stream = io.StringIO()
    terminal.console(stream).print(*parts, **options)
    return stream.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_literally_in_tables_titles_and_lines(name):
    stream = io.StringIO()
    console = terminal.console(stream)
    table = tables.new_table(f"Title of {name}", False)
    table.add_column(f"column {name}")
    table.add_row(f"cell {name}", style="dim")
    tables.show(console, [table])
    console.print(f"Line of {name}, written to", terminal.styled(name, "bold"))
    text = stream.getvalue()
    for part in (f"Title of {name}\n", f"column {name} ", f"cell {name} ", f"Line of {name}, written to {name}\n"):
        assert part in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb", "a\\rb"),
        ("a\tb", "a\\tb"),
        ("\x9b31m", "\\x9b31m"),
        ("\x7f", "\\x7f"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("a\u2028b", "a\\u2028b"),
        (os.fsdecode(b"\xff"), "\\udcff"),
        ("two\nlines", "two\nlines"),
        ("naïve 😀 ± λ", "naïve 😀 ± λ"),
    ],
)
def test_what_would_steer_a_terminal_is_shown_as_an_escape(text, escaped):
    assert terminal.visible(text) == escaped
    assert shown(text) == escaped + "\n"
    assert shown("to", terminal.styled(text, "bold")) == f"to {escaped}\n"


def test_cells_are_measured_as_they_are_shown():
    table = tables.new_table("t", True)
    table.add_column("x")
    table.add_row("\x1b[1m")
    table.add_row("plain")
    rows = [line for line in shown(table).splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1


def test_a_bar_shows_what_it_is_about_literally(monkeypatch):
    stream = io.StringIO()
    console = terminal.LiteralConsole(file=stream, force_terminal=True, width=120)
    with terminal.bar(console, "solving [/x] {0} \x1b[5m", 3, "[b]seeds") as (bar, task):
        bar.update(task, completed=2, note=", cost [/y] 1")
        console.print("beside")
        assert isinstance(bar, Progress)
        bar.refresh()
    text = stream.getvalue()
    assert "solving [/x] {0} \\x1b[5m" in text and "2/3" in text and "[b]seeds, cost [/y] 1" in text


def test_a_complaint_is_one_line_whatever_it_holds(capsys):
    terminal.complain("a\nb\x1b[2J\u202e" + "x" * 10_000_000 + "end")
    written = capsys.readouterr().err
    assert written.startswith("aljax: a b\\x1b[2J\\u202ex") and written.endswith("end\n")
    assert written.count("\n") == 1 and len(written) < 2_100


def test_markdown_keeps_a_cell_a_cell():
    table = tables.new_table("Table of a|b", True)
    for column in ("policy", "cost | λ"):
        table.add_column(column)
    names = ["a|b", "a\\|b", "two\nlines", "\r", "<b>", "`x`", "*x*", "plain " * 100]
    for name in names:
        table.add_row(name, "1")
    lines = tables.markdown([table]).splitlines()
    assert lines[0] == "Table of a\\|b"
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len(names)
    cells = [_cells(row) for row in rows]
    assert [len(each) for each in cells] == [2] * len(rows)
    assert cells[0] == ["policy", "cost | λ"]
    assert [each[0] for each in cells[2:]] == [*names[:2], "two\\nlines", "\\r", *names[4:-1], names[-1].strip()]


def _cells(row):
    """A row's cells as a reader of Markdown finds them: a backslash takes what it stands before as it is."""
    found, characters = [""], iter(row.strip()[1:-1])
    for character in characters:
        if character == "|":
            found.append("")
        else:
            found[-1] += next(characters) if character == "\\" else character
    return [cell.strip() for cell in found]


@pytest.mark.parametrize(
    "locale", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_characters_that_the_output_does_not_have_are_replaced(locale, tmp_path):
    place = tmp_path / "tiny.toml"
    place.write_text(tiny_scenario().text.replace("Two tools", "Naïve λ 😀"), encoding="utf-8")
    for command, said in ((["scenarios", str(place)], b"Na?ve ? ?"), (["train", "--help"], b"--learning-rate")):
        done = subprocess.run(
            [sys.executable, "-m", "aljax", *command],
            capture_output=True, timeout=120, check=False, env=os.environ | locale,
        )  # fmt: skip
        assert done.returncode == 0 and done.stderr == b""
        assert said in done.stdout and done.stdout.isascii()


def test_closed_outputs_are_no_error():
    script = f"{sys.executable} -m aljax scenarios >&-"
    done = subprocess.run(script, shell=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0 and done.stderr == b""


def test_tables_of_metrics_show_names_literally():
    (first, _) = report.metric_tables(tiny_scenario(), {"[/x] gpt": SUMMARY})
    stream = io.StringIO()
    tables.show(terminal.console(stream), [first])
    assert "[/x] gpt" in stream.getvalue()
