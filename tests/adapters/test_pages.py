"""The how-to pages of trainers: each one's program runs as it stands, is short, and comes to something."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "howto").glob("train_with_*.md"))
PROGRAM = re.compile(r"^```python\n(.+?)^```$", re.MULTILINE | re.DOTALL)
IMPORTED = re.compile(r"^(?:import|from) (\w+)", re.MULTILINE)


def test_there_are_pages():
    assert len(PAGES) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem.removeprefix("train_with_"))
def test_the_program_of_a_page_runs_as_it_stands(page):
    (program,) = PROGRAM.findall(page.read_text(encoding="utf-8"))
    assert len(program.splitlines()) <= 30
    adapter = re.search(r"aljax\.adapters\.(\w+)", program)
    needed = {*IMPORTED.findall(program), *([adapter[1]] if adapter else [])}
    named = {"sb3": "stable_baselines3"}
    missing = [name for name in sorted(needed) if importlib.util.find_spec(named.get(name, name)) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}, as make adapters has it")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d", done.stdout)
