"""What changes the numbers that equal inputs give: versions, precision, random numbers, the compiler, the processor.

Results that are to be equal to the last bit carry it, and are compared by it before they are mixed.
"""

import os
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from aljax.errors import plain
from aljax.version import __version__ as aljax_version

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")
_OPTIONS = (
    "jax_enable_x64", "jax_numpy_dtype_promotion", "jax_default_matmul_precision", "jax_allow_f16_reductions",
    "jax_default_prng_impl", "jax_threefry_partitionable", "jax_threefry_gpu_kernel_lowering",
    "jax_random_seed_offset", "jax_high_dynamic_range_gumbel", "jax_disable_jit", "jax_disable_most_optimizations",
    "jax_optimization_level", "jax_exec_time_optimization_effort", "jax_memory_fitting_level",
    "jax_memory_fitting_effort", "jax_compiler_enable_remat_pass",
)  # fmt: skip
_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
_HARMLESS = ("--xla_force_host_platform_device_count", "--xla_dump", "--xla_hlo_profile")
_ABILITIES = ("avx", "avx2", "fma", "avx512f", "amx_tile", "asimd", "sve", "sve2")
"""Of processors, by Linux's names: XLA and its libraries sum in another order, or round less often, where they are."""


def versions() -> dict[str, str]:
    """Versions of what figures depend on.

    Returns:
      A version a package, by its name.
    """
    return {"aljax": aljax_version} | {name: metadata.version(name) for name in _PACKAGES}


def numerics() -> dict[str, Any]:
    """All that must be equal for equal inputs to give equal bits, for files.

    Returns:
      What JSON can say: versions, JAX's settings, device and processor.
    """
    settings = {name: str(getattr(jax.config, name)) for name in _OPTIONS if hasattr(jax.config, name)}
    given = {name: _effective(os.environ.get(name, "")) for name in _VARIABLES}
    device = jax.devices()[0]
    return {
        "platform": device.platform,
        "device": _processor() if device.platform == "cpu" else device.device_kind,
        "versions": versions(),
        "settings": settings | {name: text for name, text in given.items() if text},
    }


def difference(before: Any, now: Mapping[str, Any]) -> str:
    """Where two of `numerics` differ, in words, the first of it; empty: nowhere.

    Args:
      before: what a file says.
      now: of this process.

    Returns:
      A few words such as ``begun with jax 0.10.1, this is 0.10.2``.
    """
    recorded, found = dict(_flat(before)), dict(_flat(now))
    for name in found | recorded:
        was, is_ = (values.get(name, "not set") for values in (recorded, found))
        if was != is_:
            return f"begun with {name} {was}, this is {is_}"
    return ""


def _flat(values: Any) -> Iterator[tuple[str, str]]:
    """Names and values, those of inner tables among them."""
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield plain(name), plain(value, 200)


def _effective(flags: str) -> str:
    """Flags without those that change no numbers, in order."""
    return " ".join(sorted(flag for flag in flags.split() if not flag.startswith(_HARMLESS)))


def _processor() -> str:
    """A processor's architecture, and those of its abilities that change the order or the rounding of sums."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    described = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    abilities = set(described.partition(":")[2].split())
    return " ".join([platform.machine(), *(name for name in _ABILITIES if name in abilities)])
