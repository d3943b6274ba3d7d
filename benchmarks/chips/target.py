"""Compiles a function for a chip that is not there.

Import this before JAX is used: XLA reads where CUDA's compiler is, and the TPU's library whom to ask, when they load.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import os
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from chips import launches

# Arrays lie on this machine's processor: JAX then looks for no device, and no plugin asks for a driver or a server.
# What only compiles for a TPU need not have it for itself.
jax.config.update("jax_platforms", "cpu")
for _setting in ("TPU_SKIP_MDS_QUERY=1", "TPU_WORKER_HOSTNAMES=localhost", "ALLOW_MULTIPLE_LIBTPU_LOAD=1"):
    os.environ.setdefault(*_setting.split("="))

_HERE = Path(__file__).parent
_NEEDED = {"cuda": ("jax_cuda13_plugin", "nvidia.cu13"), "tpu": ("libtpu",)}


@dataclasses.dataclass(frozen=True)
class Chip:
    """What is known of a chip. See ``catalogue.toml``."""

    key: str
    name: str
    platform: str
    """As JAX lowers for it: ``cuda``, ``tpu``."""
    topology: str
    memory_bytes: int
    flops_per_second: float
    """The maker's peak."""
    bytes_per_second: float
    """Between memory and chip, the maker's peak."""
    sources: tuple[str, ...]
    device_kind: str | None = None
    """As JAX names it, of a GPU."""
    description: str | None = None
    """File beside this one, for XLA."""
    launch_seconds: tuple[float, float] | None = None
    """Assumed time of a launch, from the best to the usual case; None: a whole program is one launch."""

    def to_json(self) -> dict[str, Any]:
        """For a receipt."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program as XLA made it for a chip."""

    chip: Chip
    program: Any
    """`jax.stages.Compiled`."""
    seconds: float
    """Compiling took, on this machine."""

    @property
    def text(self) -> str:
        """The optimised program."""
        return self.program.as_text()

    @functools.cached_property
    def memory(self) -> Mapping[str, int]:
        """Bytes of arguments, of outputs, of what is temporary, and of outputs in the place of arguments (shared)."""
        taken = self.program.memory_analysis()
        return {
            "arguments": taken.argument_size_in_bytes,
            "outputs": taken.output_size_in_bytes,
            "temporary": taken.temp_size_in_bytes,
            "shared": taken.alias_size_in_bytes,
        }

    @property
    def bytes(self) -> int:
        """Memory while it runs."""
        return self.memory["arguments"] + self.memory["outputs"] + self.memory["temporary"] - self.memory["shared"]

    @functools.cached_property
    def launches(self) -> launches.Launches | None:
        """What one run launches; None: not a GPU's program."""
        return launches.count(self.text) if self.chip.platform == "cuda" else None


def catalogue() -> dict[str, Chip]:
    """The chips, by key."""
    with (_HERE / "catalogue.toml").open("rb") as file:
        tables = tomllib.load(file)
    listed = ("sources", "launch_seconds")
    return {
        key: Chip(key, **{name: tuple(value) if name in listed else value for name, value in table.items()})
        for key, table in tables.items()
    }


def missing(chip: Chip) -> str | None:
    """Why nothing can be compiled for a chip here; None: it can."""
    absent = [name for name in _NEEDED[chip.platform] if not _there(name)]
    return f"needs what make accelerators installs: no {', '.join(absent)}" if absent else None


def mesh_of(chip: Chip, axis: str = "devices") -> Mesh:
    """One chip, as the only device of a mesh.

    Args:
      chip: of the `catalogue`.
      axis: name of the mesh's axis.

    Returns:
      The mesh; programs that are sharded over it are compiled for the chip.
    """
    from jax.experimental import topologies

    if chip.platform == "cuda":
        flag = f"--xla_gpu_cuda_data_dir={_folder('nvidia.cu13')}"
        if flag not in os.environ.get("XLA_FLAGS", ""):
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
        text = (_HERE / str(chip.description)).read_text(encoding="utf-8")
        found = topologies.get_topology_desc(platform="cuda", target_config=text, topology=chip.topology)
    else:
        found = topologies.get_topology_desc(chip.topology, "tpu")
    return Mesh(found.devices[:1], (axis,), axis_types=(jax.sharding.AxisType.Auto,))


def compile_for(chip: Chip | str, function: Callable[..., Any], *args: Any, **options: Any) -> Compiled:
    """Compiles a function for a chip that need not be there.

    Args:
      chip: of the `catalogue`, or its key: ``h100``, ``v5e``, ``v6e``.
      function: pure; what is static is bound already.
      *args: trees of arrays, or of `jax.ShapeDtypeStruct` in their place.
      **options: for `jax.jit`.

    Returns:
      The program.
    """
    chip = catalogue()[chip] if isinstance(chip, str) else chip
    everywhere = NamedSharding(mesh_of(chip), PartitionSpec())
    jitted = jax.jit(function, in_shardings=everywhere, out_shardings=everywhere, **options)
    with _asked_for(chip):
        lowered = jitted.lower(*abstract(args))
    begun = time.perf_counter()
    return Compiled(chip, lowered.compile(), time.perf_counter() - begun)


def _asked_for(chip: Chip) -> contextlib.AbstractContextManager[object]:
    """Newer releases of JAX ask what device a kernel is lowered for; where there is none, this answers."""
    described = getattr(jax.sharding, "AbstractDevice", None)
    if described is None or chip.device_kind is None:
        return contextlib.nullcontext()
    device = described(chip.device_kind, None, "gpu")
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device))


def abstract(tree: Any) -> Any:
    """Shapes in the place of arrays, which lie on other devices than the chip."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jax.numpy.shape(leaf), jax.dtypes.result_type(leaf)), tree)


def _there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is not there either
        return False


def _folder(name: str) -> Path:
    """Where a package without code lies."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(name)
    return Path(next(iter(spec.submodule_search_locations)))
