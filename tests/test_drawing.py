"""Drawing: text as it is written, and that a picture that fails costs itself only."""

import os
import subprocess
import sys

import pytest

from aljax import UserError, drawing

LONG = "a tool with a name so long that it would leave no room for anything else in the picture"


def test_a_long_name_keeps_its_beginning_and_its_end():
    assert drawing.label(LONG) == "a tool with a name so long…n the picture"
    assert len(drawing.label("$" * 50).replace("\\$", "$")) == 40  # a dollar's escape takes no room
    assert drawing.label("x" * 40) == "x" * 40


def test_a_picture_that_fails_costs_itself_only(tmp_path):
    plt = drawing.pyplot()

    def failing(path):
        plt.figure()
        path.write_bytes(b"half a picture")
        raise ZeroDivisionError("in the\nmiddle")

    def picture(path):
        drawing.save(plt.figure(), path, plt)

    before = plt.get_fignums()
    complaints = drawing.draw_all({tmp_path / "a.png": failing, tmp_path / "b.png": picture})
    assert complaints == [f"{tmp_path / 'a.png'} could not be drawn: ZeroDivisionError: in the middle"]
    assert [item.name for item in tmp_path.iterdir()] == ["b.png"]
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("before", "environment", "complaint"),
    [
        (
            "import sys; sys.modules['matplotlib'] = None; import aljax.commands.main",
            {},
            "no pictures: plots need matplotlib: pip install 'aljax[plot]'",
        ),
        ("", {"MPLBACKEND": "nonsense"}, "no pictures: matplotlib cannot be loaded: "),
        ("", {"PYTHONWARNINGS": "error"}, None),
        ("", {"MPLCONFIGDIR": "/proc/no"}, None),
    ],
)
def test_what_is_around_matplotlib_is_no_traceback(before, environment, complaint, tmp_path):
    script = f"""{before}
from pathlib import Path
from aljax import drawing

def picture(path):
    plt = drawing.pyplot()
    drawing.save(plt.figure(), path, plt)

print(*drawing.draw_all({{Path("a.png"): picture}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert (tmp_path / "a.png").exists() == (complaint is None)
    assert done.stdout.startswith(complaint or "\n") and done.stdout.count("\n") == 1


def test_asked_for_by_name_a_picture_needs_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match="pip install 'aljax\\[plot\\]'"):
        drawing.pyplot()
