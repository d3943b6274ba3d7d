"""Compiled programs as files: what the compiler made, the shapes of what it gives, and how that is put together.

The file is a digest, and behind it, compressed, a line of JSON and the executable as XLA writes it. That is machine
code: as with an entry of JAX's own cache, loading one is trusting the folder. Nothing is unpickled. PRNG keys go in and
come out as the numbers that they are made of.
"""

import dataclasses
import functools
import hashlib
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

_DIGEST = hashlib.sha256().digest_size


def implementation(leaf: Any) -> Any:
    """Of a PRNG key, real, traced or abstract, the name of its generator; None: it is none.

    Args:
      leaf: any array, or a number.

    Returns:
      What `jax.random.wrap_key_data` takes as `impl`.
    """
    if not _is_key(leaf):
        return None
    found: list[Any] = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), leaf)
    return found[0]


def raw(leaf: Any) -> Any:
    """A PRNG key as its numbers, anything else as it is.

    Args:
      leaf: any array, or a number.

    Returns:
      An array, or `jax.ShapeDtypeStruct` of one.
    """
    if not _is_key(leaf):
        return leaf
    abstract = isinstance(leaf, jax.ShapeDtypeStruct)
    return jax.eval_shape(jax.random.key_data, leaf) if abstract else jax.random.key_data(leaf)


def typed(leaf: Any, kind: Any) -> Any:
    """The reverse of `raw`.

    Args:
      leaf: an array, or `jax.ShapeDtypeStruct` of one.
      kind: `implementation` of what it was made of.

    Returns:
      The key; where `kind` is None, the leaf.
    """
    if kind is None:
        return leaf
    wrap = functools.partial(jax.random.wrap_key_data, impl=kind)
    return jax.eval_shape(wrap, leaf) if isinstance(leaf, jax.ShapeDtypeStruct) else wrap(leaf)


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


class Executable:
    """A compiled function from leaves to leaves that was read from a file."""

    def __init__(self, loaded: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Takes what is known of it.

        Args:
          loaded: XLA's.
          inputs: where each argument is put: shardings or devices.
          outputs: of each result its shape and its sharding; None: it is on one device.
        """
        self._loaded, self._inputs, self._outputs = loaded, inputs, outputs

    def __call__(self, *leaves: Any) -> list[jax.Array]:
        """Calls it."""
        results = self._loaded.execute_sharded(jax.device_put(list(leaves), list(self._inputs)))
        parts = results.disassemble_into_single_device_arrays()
        return [
            part[0] if sharding is None else jax.make_array_from_single_device_arrays(shape, sharding, part)
            for part, (shape, sharding) in zip(parts, self._outputs, strict=True)
        ]


def write(place: Path, compiled: Any, structure: Any, kinds: Sequence[Any]) -> None:
    """Keeps a program, if it can be.

    Args:
      place: the file, in a folder of this process's own: being killed leaves that behind.
      compiled: `jax.stages.Compiled`, of raw leaves to raw leaves, none of which is dropped.
      structure: the results' tree.
      kinds: of each result the `implementation`.
    """
    try:
        shapes = [list(info.shape) for info in jax.tree.leaves(compiled.out_info)]
        shardings = jax.tree.leaves(compiled.output_shardings)
        specs = [[*each.spec] if isinstance(each, NamedSharding) else None for each in shardings]
        spelled = _spelled(structure.unflatten(range(structure.num_leaves)))
        if jax.tree.structure(_put_together(spelled)) != structure:
            return
        head = json.dumps({"shapes": shapes, "specs": specs, "structure": spelled, "kinds": list(kinds)})
        body = zlib.compress(head.encode() + b"\n" + compiled.runtime_executable().serialize(), 1)
        place.write_bytes(hashlib.sha256(body).digest() + body)
    except Exception:  # a platform whose programs cannot be kept, a folder that cannot be written
        place.unlink(missing_ok=True)


def read(place: Path, devices: Sequence[Any], inputs: Sequence[Any]) -> tuple[Executable, Any, Sequence[Any]] | None:
    """A program that was kept, its results' tree and their kinds, if it is there and whole.

    Args:
      place: the file.
      devices: that it runs on, in the order of its mesh.
      inputs: where each argument is put: shardings or devices.

    Returns:
      None where there is none, or none that this process can load.
    """
    try:
        found = place.read_bytes()
        if hashlib.sha256(found[_DIGEST:]).digest() != found[:_DIGEST]:
            return None
        line, _, code = zlib.decompress(found[_DIGEST:]).partition(b"\n")
        head = json.loads(line)
        mesh: Any = inputs[0].mesh if isinstance(inputs[0], NamedSharding) else None
        outputs = [
            (tuple(shape), None if spec is None else NamedSharding(mesh, PartitionSpec(*spec)))
            for shape, spec in zip(head["shapes"], head["specs"], strict=True)
        ]
        structure = jax.tree.structure(_put_together(head["structure"]))
        return Executable(_loaded(code, devices), inputs, outputs), structure, head["kinds"]
    except Exception:  # not there, or written by something else: compiled anew
        return None


def _loaded(code: bytes, devices: Sequence[Any]) -> Any:
    """XLA's executable on these devices."""
    from jax._src.lib import xla_client  # its list of devices has no public name

    return devices[0].client.deserialize_executable(code, xla_client.DeviceList(tuple(devices)))


def _spelled(tree: Any) -> Any:
    """A tree of numbered leaves as JSON has it. Classes are meant by their names.

    Raises:
      TypeError: it has something that cannot be spelled.
    """
    if tree is None or type(tree) is int:
        return tree
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_spelled(item) for item in tree]}
    if type(tree) is dict and all(isinstance(key, str) for key in tree):
        return {"dict": {key: _spelled(item) for key, item in tree.items()}}
    kind: Any = type(tree)
    if hasattr(tree, "_fields") or dataclasses.is_dataclass(kind):
        names = getattr(tree, "_fields", None) or [field.name for field in dataclasses.fields(kind)]
        spelled = {name: _spelled(getattr(tree, name)) for name in names}
        return {"class": [tree.__module__, type(tree).__qualname__], "of": spelled}
    raise TypeError(f"cannot be kept: {type(tree)}")


def _put_together(spelled: Any) -> Any:
    """The tree that `_spelled` spelled. Its classes are those of modules that are loaded."""
    if spelled is None or isinstance(spelled, int):
        return spelled
    if "class" in spelled:
        module, name = spelled["class"]
        return getattr(sys.modules[module], name)(**{n: _put_together(item) for n, item in spelled["of"].items()})
    if "dict" in spelled:
        return {key: _put_together(item) for key, item in spelled["dict"].items()}
    (kind, items), *_ = spelled.items()
    return {"list": list, "tuple": tuple}[kind](map(_put_together, items))
