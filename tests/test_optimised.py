"""Most tests compile with few optimisations; what is promised to the last bit is tried as users compile it, too."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROMISES = (
    "test_env.py::test_vmapped_and_stacked_on_the_trailing_axis_equal_alone_bit_for_bit",
    "test_rollout.py::test_the_same_key_gives_the_same_bits",
    "test_train.py::test_a_run_in_pieces_is_the_run_in_one_bit_for_bit",
    "test_train.py::test_a_seed_is_the_same_bits_alone_and_among_others_on_other_devices",
)


def test_promises_of_the_last_bit_hold_with_all_optimisations():
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *(str(HERE / p) for p in PROMISES)]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    environment["XLA_FLAGS"] = ""
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE.parent)
    assert done.returncode == 0, done.stdout
