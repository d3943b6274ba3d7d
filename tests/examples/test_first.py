"""The first example runs as it stands, and is short enough to be read."""

import json
import subprocess
import sys
from pathlib import Path

from aljax import runs

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "first.py"


def test_the_first_example_trains_compares_and_draws(tmp_path):
    options = ["--episodes", "90", "--seeds", "2", "--out", "first"]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *options], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = [line.split()[0] for line in done.stdout.splitlines() if " costs " in line]
    assert shown == ["learned", "optimal", "latency", "cost_aware", "random"]
    assert (tmp_path / "first.png").read_bytes().startswith(b"\x89PNG")
    assert runs.load(tmp_path / "first").protocol.seeds == 2
    figures = json.loads((tmp_path / "first" / "metrics.json").read_text())
    learned = figures["policies"]["learned"]["cost"]
    assert f"learned    costs {learned['mean']:.4f} ± {learned['std']:.4f}" in done.stdout


def test_the_first_example_is_at_most_80_lines_and_uses_only_the_public_face():
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text.count("\n") <= 80
    assert "import aljax\n" in text and "from aljax" not in text
