"""Where what was compiled is kept for the next process, and over which devices of a CPU programs may be spread."""

import atexit
import contextlib
import hashlib
import os
import platform
import secrets
from pathlib import Path

import jax
import platformdirs

from aljax.host import hidden, programs

LIMIT = 512 * 2**20
"""Bytes that the cache may take; what was kept longest goes first."""
VARIABLE = "ALJAX_CACHE_DIR"
"""Environment variable: the cache's folder; empty: none."""


def use_cache() -> None:
    """Makes JAX keep what it compiles in the user's cache folder, and find it there.

    JAX writes an entry in place, so a process that is killed would leave half of one, over which later processes would
    stumble for ever. Therefore each process has a hidden folder of its own, with links to what is kept; its new entries
    are moved among those, whole, when it ends; a killed one's folder is removed by the next to start. Only for whole
    processes: it sets JAX's configuration. Nothing happens if the user has set JAX's own cache, or `VARIABLE` to
    nothing, or if the folder cannot be written.
    """
    if jax.config.values["jax_compilation_cache_dir"]:  # from the environment too
        return
    root = cache_folder()
    if root is None:
        return
    held = contextlib.ExitStack()
    try:
        kept = root / f"{jax.__version__}-{_processor()}"
        kept.mkdir(parents=True, exist_ok=True)
        hidden.sweep(root)
        own = held.enter_context(hidden.hidden_folder(root, f"process-{secrets.token_hex(4)}")) / hidden.NEW
        for entry in kept.iterdir():
            with contextlib.suppress(OSError):  # gone meanwhile, or a file system without links: compiled anew
                os.link(entry, own / entry.name)
    except OSError:
        held.close()
        return
    # XLA's own caches would put this process's folder into the keys, which then no other process could find.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    jax.config.update("jax_compilation_cache_dir", str(own))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    programs.keep_in(own)
    atexit.register(_keep, own, kept, held)


def cache_folder() -> Path | None:
    """Where compiled programs are kept: what `VARIABLE` says, or the system's place for caches; None: nowhere.

    Returns:
      The folder, which need not be there yet; None: nothing is kept.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    return platformdirs.user_cache_path("aljax", appauthor=False)


def use_cores(devices: int | None = None) -> None:
    """Makes each processor core a device of JAX's own: what is spread over devices then uses them all.

    Before JAX is first used. A number that the user has set stays, and accelerators are not touched.

    Args:
      devices: how many at most; None: as many as this process may run on.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Already chosen, or JAX was used before in this process: then its devices are what they are.
    with contextlib.suppress(RuntimeError):
        if jax.config.values["jax_num_cpu_devices"] < 1 and "device_count" not in os.environ.get("XLA_FLAGS", ""):
            jax.config.update("jax_num_cpu_devices", min(devices or cores, cores))


def _keep(own: Path, kept: Path, held: contextlib.ExitStack) -> None:
    """When this process ends, moves what it compiled to what is kept."""
    with held, contextlib.suppress(OSError):
        for entry in own.iterdir():
            if not (kept / entry.name).exists():
                os.replace(entry, kept / entry.name)
        _prune(kept.parent)


def _prune(root: Path) -> None:
    """Removes the oldest entries beyond `LIMIT`, of other versions of JAX too."""
    kept = [*root.glob("*-*/*-cache"), *root.glob(f"*-*/*{programs.ENDING}")]
    entries = [(entry.stat().st_mtime, entry.stat().st_size, entry) for entry in kept]
    entries.sort(key=lambda entry: entry[0])
    excess = sum(size for _, size, _ in entries) - LIMIT
    for _, size, entry in entries:
        if excess <= 0:
            break
        entry.unlink(missing_ok=True)
        excess -= size


def _processor() -> str:
    """Stands for this processor's abilities: programs compiled for another may not run here."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    described = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    text = "\n".join([platform.machine(), platform.processor(), *described])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
