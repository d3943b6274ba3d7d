"""Programs that are kept as they were traced, so that the next process neither traces nor lowers them again.

JAX's own cache keeps what the compiler made of a program, but to find it there, JAX first traces the program anew,
which takes longer than loading it. Here the traced program is kept too, as `jax.export` writes it, under a name that
stands for everything it depends on. Both the process that traced it and those that find it compile the same file, so
they get the same bits.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
from jax import export

from aljax.host.numerics import numerics

ENDING = "-program"
"""Of the files of traced programs."""
_DIGEST = hashlib.sha256().digest_size
_INCIDENTAL = ("cache", "log", "dump", "traceback", "profiler", "explain")
"""In the names of JAX's settings: those that change no program."""

C = TypeVar("C", bound=type)

_folder: list[Path] = []


def keep_in(folder: Path) -> None:
    """Keeps the programs of this process in a folder, and finds there what others kept.

    Args:
      folder: this process's own, whose files are moved to where other processes find them when it ends.
    """
    _folder[:] = [folder]


def keepable(cls: C) -> C:
    """Lets programs that return values of a class be kept.

    Args:
      cls: of named tuples, or a dataclass that is a pytree without static fields.

    Returns:
      The class: this decorates it.
    """
    name: Any = f"{cls.__module__}.{cls.__qualname__}"
    if hasattr(cls, "_fields"):
        return export.register_namedtuple_serialization(cls, serialized_name=name)
    return export.register_pytree_node_serialization(
        cls, serialized_name=name, serialize_auxdata=lambda _: b"", deserialize_auxdata=lambda _: ()
    )


class Program:
    """A jitted function that is kept, if this process keeps programs, and found again.

    Called like the function. Its results are builtin containers and what is `keepable`.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        key: object,
        *,
        shardings: Sequence[jax.sharding.Sharding] | None = None,
        donate: bool = False,
        compiler_options: dict[str, Any] | None = None,
    ) -> None:
        """Says what is to be compiled.

        Args:
          function: pure, and of this package.
          key: tells it from all others of the package, and has all the values that it closes over; so do static parts
            of its arguments, in what `repr` says of them.
          shardings: one an argument; None: a single device.
          donate: give the first argument's memory to the results.
          compiler_options: for `jax.jit`.
        """
        self._function, self._key, self._shardings = function, key, shardings
        self._donate, self._options = donate, compiler_options
        self._jitted = jax.jit(function, donate_argnums=(0,) if donate else (), compiler_options=compiler_options)
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *args: Any) -> Any:
        """Calls the function."""
        return self.compiled(*args)(*args) if _folder else self._jitted(*args)

    def compiled(self, *args: Any) -> Callable[..., Any]:
        """Compiles the function.

        Args:
          *args: arguments, or `jax.ShapeDtypeStruct` in their place.

        Returns:
          The function of arguments of these shapes.
        """
        if not _folder:
            return self._jitted.lower(*args).compile()
        leaves, tree = jax.tree.flatten(args)
        shapes = tuple(_shape(leaf) for leaf in leaves)
        if (tree, shapes) not in self._compiled:
            run = self._compile(_folder[0], args, tree, shapes)
            self._compiled[tree, shapes] = lambda *args: run(*jax.tree.leaves(args))
        return self._compiled[tree, shapes]

    def _compile(self, folder: Path, args: tuple[Any, ...], tree: Any, shapes: tuple[Any, ...]) -> Any:
        """Compiles what was kept, or keeps it first."""
        counts, options = [len(jax.tree.leaves(arg)) for arg in args], {}
        if self._shardings is not None:
            pairs = zip(self._shardings, counts, strict=True)
            options["in_shardings"] = tuple(sharding for sharding, count in pairs for _ in range(count))
        leaves = [jax.ShapeDtypeStruct(shape, dtype, weak_type=weak) for shape, dtype, weak in shapes]
        described = f"{self._key!r}\n{tree}\n{shapes}\n{options}\n{_surroundings()}"
        place = folder / f"{hashlib.sha256(described.encode()).hexdigest()}{ENDING}"
        exported = _read(place)
        if exported is None:
            flat = jax.jit(lambda *leaves: self._function(*jax.tree.unflatten(tree, leaves)), **options)
            exported = export.export(flat)(*leaves)
            _write(place, exported)
        if self._donate:
            options["donate_argnums"] = tuple(range(counts[0]))
        return jax.jit(exported.call, compiler_options=self._options, **options).lower(*leaves).compile()


def _shape(leaf: Any) -> tuple[Any, ...]:
    """Shape, dtype and weak type, by which JAX tells arguments apart."""
    if not isinstance(leaf, jax.ShapeDtypeStruct):
        leaf = jax.typeof(leaf)
    return leaf.shape, leaf.dtype, leaf.weak_type


@functools.lru_cache(1)
def _surroundings() -> str:
    """What programs depend on beside their own description: this package's code, versions, devices, JAX's settings."""
    root, code = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        source = file.read_bytes()
        code.update(f"{file.relative_to(root)} {len(source)}\n".encode())
        code.update(source)
    settings = {
        name: repr(value) for name, value in jax.config.values.items() if not any(word in name for word in _INCIDENTAL)
    }
    devices = [device.device_kind for device in jax.devices()]
    return json.dumps([code.hexdigest(), numerics(), devices, settings], sort_keys=True)


def _read(place: Path) -> export.Exported | None:
    """A program that was kept, if it is there and whole."""
    try:
        found = place.read_bytes()
        if hashlib.sha256(found[_DIGEST:]).digest() == found[:_DIGEST]:
            return export.deserialize(bytearray(found[_DIGEST:]))
    except Exception:  # not there, or written by something else: traced anew
        return None
    return None


def _write(place: Path, exported: export.Exported) -> None:
    """Keeps a program, unless the folder cannot be written. A process that is killed leaves its own folder only."""
    try:
        body = bytes(exported.serialize())
        place.write_bytes(hashlib.sha256(body).digest() + body)
    except OSError:
        place.unlink(missing_ok=True)
