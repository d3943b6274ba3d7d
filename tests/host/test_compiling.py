"""The compilation cache, with real processes that find what others compiled, and that are killed."""

import os
import signal
import subprocess
import sys

import pytest

from aljax.host import compiling

CHILD = """
import os, signal, sys
import jax, jax.monitoring
from aljax.host import compiling
compiling.use_cache()
if "--idle" in sys.argv:
    compiling.LIMIT = 250
    jax.config.update("jax_enable_compilation_cache", False)
if jax.config.values["jax_compilation_cache_dir"]:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith("cache_hits") else None)
jax.jit(lambda x: (x * 3.0).sum())(jax.numpy.ones(17)).block_until_ready()
print(len(hits), jax.config.values["jax_compilation_cache_dir"])
if "--kill" in sys.argv:
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def child(*options, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION_CACHE")}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *options], env=clean | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    hits, _, folder = done.stdout.strip().partition(" ")
    return int(hits), folder


def entries(cache):
    return sorted(path.name for path in cache.rglob("*-cache"))


def test_what_one_process_compiled_the_next_finds(tmp_path):
    assert child(ALJAX_CACHE_DIR=str(tmp_path))[0] == 0
    kept = entries(tmp_path)
    assert kept
    assert child(ALJAX_CACHE_DIR=str(tmp_path))[0] >= 1
    assert entries(tmp_path) == kept
    assert not list(tmp_path.glob(".process-*"))  # their own folders are gone


def test_a_killed_process_leaves_nothing_half_written(tmp_path):
    child("--kill", ALJAX_CACHE_DIR=str(tmp_path))
    (left,) = tmp_path.glob(".process-*")
    (kept,) = (path for path in tmp_path.iterdir() if path != left)
    assert not list(kept.iterdir())
    assert child(ALJAX_CACHE_DIR=str(tmp_path))[0] == 0
    assert not left.exists() and list(kept.iterdir())


@pytest.mark.parametrize("theirs", ["", "/jaxs/own/folder"])
def test_the_user_s_choice_stands(tmp_path, theirs):
    environment = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "theirs")} if theirs else {"ALJAX_CACHE_DIR": ""}
    done = child(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "caches"), **environment)
    assert done[1] == (str(tmp_path / "theirs") if theirs else "None")
    assert not (tmp_path / "caches").exists()


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    assert child(ALJAX_CACHE_DIR=str(tmp_path / "file" / "below"))[1] == "None"


def test_the_oldest_entries_go_first(tmp_path, monkeypatch):
    for age, version in enumerate(("0.1-cpu", "0.1-cpu", "0.2-cpu")):
        (tmp_path / version).mkdir(exist_ok=True)
        entry = tmp_path / version / f"{age}-{'program' if age == 0 else 'cache'}"
        entry.write_bytes(bytes(100))
        os.utime(entry, (1000 + age, 1000 + age))
    monkeypatch.setattr(compiling, "LIMIT", 250)
    compiling._prune(tmp_path)
    assert entries(tmp_path) == ["1-cache", "2-cache"] and not list(tmp_path.rglob("*-program"))


def test_an_entry_that_a_process_has_a_link_to_counts_once(tmp_path):
    """The process that prunes has a link of its own to everything that is kept."""
    child(ALJAX_CACHE_DIR=str(tmp_path))
    (kept,) = tmp_path.iterdir()
    for entry in kept.iterdir():
        entry.unlink()
    for name in "abc":
        (kept / f"{name}-cache").write_bytes(bytes(80))
    child("--idle", ALJAX_CACHE_DIR=str(tmp_path))  # 240 bytes of 250
    assert entries(tmp_path) == ["a-cache", "b-cache", "c-cache"]


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.delenv(compiling.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert compiling.cache_folder() == tmp_path / "aljax"
    monkeypatch.setenv(compiling.VARIABLE, str(tmp_path / "mine"))
    assert compiling.cache_folder() == tmp_path / "mine"
    monkeypatch.setenv(compiling.VARIABLE, "")
    assert compiling.cache_folder() is None
