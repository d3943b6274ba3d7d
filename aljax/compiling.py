"""How programs are compiled, and where what was compiled is kept for the next process."""

import atexit
import contextlib
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

LIMIT = 512 * 2**20
"""Bytes that the cache may take; what was kept longest goes first."""
VARIABLE = "ALJAX_CACHE_DIR"
"""Environment variable: the cache's folder; empty: none."""


def options() -> dict[str, Any] | None:
    """Compiler options of large programs: on CPUs, less optimisation compiles faster and runs as fast."""
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None


def use_cache() -> None:
    """Makes JAX keep what it compiles in the user's cache folder, and find it there.

    JAX writes an entry in place, so a process that is killed would leave half of one, over which later processes would
    stumble for ever. Therefore each process has a folder of its own, with links to what is kept; its new entries are
    moved among those, whole, when it ends. Only for whole processes: it sets JAX's configuration. Nothing happens if
    the user has set JAX's own cache, or `VARIABLE` to nothing, or if the folder cannot be written.
    """
    if jax.config.values["jax_compilation_cache_dir"]:  # from the environment too
        return
    root = cache_folder()
    if root is None:
        return
    try:
        kept = root / f"{jax.__version__}-{_processor()}"
        kept.mkdir(parents=True, exist_ok=True)
        _clean(root)
        own = Path(tempfile.mkdtemp(prefix=f"process-{_host()}-{os.getpid()}-", dir=root))
        for entry in kept.iterdir():
            with contextlib.suppress(OSError):  # gone meanwhile, or a file system without links: compiled anew
                os.link(entry, own / entry.name)
    except OSError:
        return
    # XLA's own caches would put this process's folder into the keys, which then no other process could find.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    jax.config.update("jax_compilation_cache_dir", str(own))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    _at_end(own, kept)


def cache_folder() -> Path | None:
    """Where compiled programs are kept: what `VARIABLE` says, or the system's place for caches; None: nowhere."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    home = Path.home()
    if sys.platform == "darwin":
        place = home / "Library" / "Caches"
    elif sys.platform == "win32":
        place = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return place / "aljax"


def use_cores(devices: int | None = None) -> None:
    """Makes each processor core a device of JAX's own: what is spread over devices then uses them all.

    Before JAX is first used. A number that the user has set stays, and accelerators are not touched.

    Args:
      devices: how many; None: as many as this process may run on.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # Already chosen, or JAX was used before in this process: then its devices are what they are.
    with contextlib.suppress(RuntimeError):
        if jax.config.values["jax_num_cpu_devices"] < 1 and "device_count" not in os.environ.get("XLA_FLAGS", ""):
            jax.config.update("jax_num_cpu_devices", devices or cores or 1)


def _at_end(own: Path, kept: Path) -> None:
    """When this process ends, moves what it compiled to what is kept."""

    @atexit.register
    def move() -> None:
        with contextlib.suppress(OSError):
            for entry in own.iterdir():
                if not (kept / entry.name).exists():
                    os.replace(entry, kept / entry.name)
            _prune(kept.parent)
        shutil.rmtree(own, ignore_errors=True)


def _prune(root: Path) -> None:
    """Removes the oldest entries beyond `LIMIT`, of other versions of JAX too."""
    entries = [(entry.stat().st_mtime, entry.stat().st_size, entry) for entry in root.glob("*-*/*-cache")]
    entries.sort(key=lambda entry: entry[0])
    excess = sum(size for _, size, _ in entries) - LIMIT
    for _, size, entry in entries:
        if excess <= 0:
            break
        entry.unlink(missing_ok=True)
        excess -= size


def _clean(root: Path) -> None:
    """Removes the folders of processes that were killed: of this machine's, and any a week old."""
    for folder in root.glob("process-*-*-*"):
        host, pid = folder.name.split("-")[-3:-1]
        gone = host == _host() and not _runs(int(pid))
        with contextlib.suppress(OSError):
            if gone or time.time() - folder.stat().st_mtime > 7 * 86_400:
                shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    if sys.platform == "win32":  # where signal 0 would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _processor() -> str:
    """Stands for this processor's abilities: programs compiled for another may not run here."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    described = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    text = "\n".join([platform.machine(), platform.processor(), *described])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
