"""Tests run on the CPU, whatever else the machine has, a thread each, and find their own earlier compilations."""

import atexit
import os
import shutil
import tempfile
from importlib import metadata

from aljax.host.process import collect_rarely

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")  # for what is spread over devices; the rest uses the first
# Compiling is most of the work, and what is compiled runs but once or twice: LLVM's dearest passes are left out, and so
# are XLA's newer emitters of fused loops where there is the choice (`aljax.target.Target.compiler_options`), which is
# a quarter of the work; tests/test_optimised.py tries what is promised to the last bit with both.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if tuple(map(int, metadata.version("jax").split(".")[:2])) < (0, 11):  # later compilers refuse to be asked
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
collect_rarely()
# NumPy's matrices are small here: threads that wait for each other, and for those of other workers, take several times
# the work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Programs of commands that keep them whole (tests/shell.py): one folder for all of this run.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["ALJAX_CACHE_DIR"] = tempfile.mkdtemp(prefix="aljax-tests-")
    atexit.register(shutil.rmtree, os.environ["ALJAX_CACHE_DIR"], ignore_errors=True)

# Most of the time goes into compiling, often the same program again, in this process and in those that it starts.
# A folder for each process, gone with it: what is in it was compiled by the code under test.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:
    _folder = tempfile.mkdtemp(prefix="aljax-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
