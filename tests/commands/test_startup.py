"""What commands load, and what a second training traces and compiles: in processes of their own."""

import json
import os
import subprocess
import sys

import pytest

from aljax.commands.main import COMMANDS

from tiny import TINY

HEAVY = {"jax", "jaxlib", "numpy", "scipy", "flax", "optax", "matplotlib"}
LOADED = """
import sys
from aljax.commands.main import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""
COUNTED = """
import json, sys
import jax.monitoring
counts = {"loaded": []}
def count(name, *_, fun_name="", **__):
    if fun_name.startswith("jit(whole_"):
        name = f"{name} of a whole program"
    counts[name] = counts.get(name, 0) + 1
jax.monitoring.register_event_listener(count)
jax.monitoring.register_event_duration_secs_listener(count)
from aljax.commands.main import main
assert main(sys.argv[1:]) == 0
counts["loaded"] = [name for name in ("chex", "optax") if name in sys.modules]
print("counted:", json.dumps(counts), file=sys.stderr)
"""


def last_line(script, *args, **environment):
    """What a process says in the end, on standard error."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    command = [sys.executable, "-c", script, *args]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=300, check=False)
    return done.stderr.splitlines()[-1].partition(": ")[2]


@pytest.mark.parametrize(
    "args", [["--help"], *([name, "--help"] for name in COMMANDS), ["train", "--epsodes", "3"], ["tarin"]], ids=" ".join
)
def test_help_and_complaints_about_options_load_nothing_heavy(args):
    assert not HEAVY & set(last_line(LOADED, *args).split())


@pytest.mark.parametrize("args", [["scenarios"], ["scenarios", "paper"]], ids=" ".join)
def test_scenarios_load_no_scipy_and_no_flax(args, tmp_path):
    loaded = set(last_line(LOADED, *args, ALJAX_CACHE_DIR=str(tmp_path / "cache")).split())
    assert "jax" in loaded and not {"scipy", "flax", "chex", "optax", "matplotlib"} & loaded
    assert not (tmp_path / "cache").exists()  # nor is anything compiled


def test_a_second_training_traces_no_large_program_and_has_the_same_bits(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    small = ["--episodes", "60", "--batch", "20", "--hidden", "4", "--seeds", "2", "--evaluation-episodes", "20"]
    command = ["train", "--scenario", str(tmp_path / "tiny.toml"), *small, "--no-plots", "--out"]
    compiled = "/jax/core/compile/backend_compile_duration"
    counts, figures = [], []
    for name in ("first", "second"):
        said = last_line(COUNTED, *command, str(tmp_path / name), ALJAX_CACHE_DIR=str(tmp_path / "cache"))
        counts.append(json.loads(said))
        figures.append(json.loads((tmp_path / name / "metrics.json").read_text())["policies"])
    assert figures[0] == figures[1]
    first, second = counts
    # The start of training, its updates, and the evaluation: nothing else is compiled, the second time nothing at all.
    lowered = "/jax/core/compile/jaxpr_to_mlir_module_duration of a whole program"
    assert first[lowered] == first[f"{compiled} of a whole program"] == 3 and compiled not in first
    assert not [name for name in second if name.startswith((lowered, compiled))]
    assert first["loaded"] == ["chex", "optax"] and not second["loaded"]
