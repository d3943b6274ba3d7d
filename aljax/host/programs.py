"""Programs that are kept as they were compiled, so that the next process neither traces nor compiles them again.

JAX's own cache keeps what the compiler made of a program, but to find it there, JAX first traces and lowers the program
anew, which takes longer than loading it. Here the compiled program is kept whole (`aljax.host.executables`), under a
name that stands for everything it depends on. What a process finds is the very code that the process before ran, so
they get the same bits.
"""

import dataclasses
import functools
import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax.host import executables
from aljax.host.modules import interpreter
from aljax.host.numerics import numerics

ENDING = "-program"
"""Of the files of compiled programs."""
_INCIDENTAL = ("cache", "log", "dump", "traceback", "profiler", "explain")
"""In the names of JAX's settings: those that change no program."""

_folder: list[Path] = []


def keep_in(folder: Path) -> None:
    """Keeps the programs of this process in a folder, and finds there what others kept.

    Args:
      folder: this process's own, whose files are moved to where other processes find them when it ends.
    """
    _folder[:] = [folder]


class Program:
    """A jitted function that is kept, if this process keeps programs, and found again.

    Called like the function. Its results are builtin containers and pytrees of classes that a module has by name.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        key: object,
        *,
        shardings: Sequence[jax.sharding.NamedSharding] | None = None,
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
        self._forms: dict[Any, _Form] = {}

    def __call__(self, *args: Any) -> Any:
        """Calls the function."""
        return self.compiled(*args)(*args) if _folder else self._jitted(*args)

    def traced(self, *args: Any) -> Any:
        """Traces the function, unless it is found or nothing is kept: what is left to `compiled` is the compiler's.

        Args:
          *args: as for `compiled`.

        Returns:
          `jax.ShapeDtypeStruct` in the place of the results; None: it was not traced.
        """
        form = self._form(_folder[0], args) if _folder else None
        if form is None or form.lowered is None:
            return None
        return form.structure.unflatten(form.results)

    def compiled(self, *args: Any) -> Callable[..., Any]:
        """Compiles the function.

        Args:
          *args: arguments, or `jax.ShapeDtypeStruct` in their place.

        Returns:
          The function of arguments of these shapes.
        """
        if not _folder:
            with interpreter:
                lowered = self._jitted.lower(*args)
            return lowered.compile()
        form = self._form(_folder[0], args)
        if form.lowered is not None:
            form.run, form.lowered = form.lowered.compile(), None
            executables.write(form.place, form.run, form.structure, form.kinds)
            for copy in _folder[0].glob(f"*{form.name}-*"):  # JAX's, which nobody would find
                copy.unlink(missing_ok=True)
        return form

    def _form(self, folder: Path, args: tuple[Any, ...]) -> "_Form":
        """The function for arguments of these shapes: found, or else traced."""
        leaves, tree = jax.tree.flatten(args)
        shapes = tuple(_shape(leaf) for leaf in leaves)
        if (tree, shapes) in self._forms:
            return self._forms[tree, shapes]
        counts, options = [len(jax.tree.leaves(arg)) for arg in args], {}
        devices = list(jax.device_put(np.int32(0)).devices())
        if self._shardings is not None:
            pairs = zip(self._shardings, counts, strict=True)
            options["in_shardings"] = tuple(sharding for sharding, count in pairs for _ in range(count))
            mesh: Any = self._shardings[0].mesh
            devices = list(mesh.devices.flat)
        described = f"{self._key!r}\n{tree}\n{shapes}\n{options}\n{self._options}\n{devices}\n{_surroundings()}"
        place = folder / f"{hashlib.sha256(described.encode()).hexdigest()}{ENDING}"
        found = executables.read(place, devices, options.get("in_shardings", devices * len(leaves)))
        if found is not None:
            run, structure, kinds = found
            form = _Form(place, structure, kinds, run=run)
        else:
            given, made = list(map(executables.implementation, leaves)), []

            def whole(*leaves: Any) -> list[Any]:
                args = jax.tree.unflatten(tree, list(map(executables.typed, leaves, given)))
                results, found = jax.tree.flatten(self._function(*args))
                made[:] = [found, list(map(executables.implementation, results))]
                # Of no weak types, which what is found has not either.
                return [jax.lax.convert_element_type(x, x.dtype) for x in map(executables.raw, results)]

            # JAX's cache knows programs by their name, too. One that came from there must not be written again: what
            # was loaded does not hold all that it needs.
            name = whole.__name__ = f"whole_{secrets.token_hex(8)}"
            if self._donate:
                options["donate_argnums"] = tuple(range(counts[0]))
            abstract = (jax.ShapeDtypeStruct(shape, dtype, weak_type=weak) for shape, dtype, weak in shapes)
            with interpreter:
                jitted = jax.jit(whole, compiler_options=self._options, keep_unused=True, **options)
                trace = jitted.trace(*map(executables.raw, abstract))
                form = _Form(place, *made, lowered=trace.lower(), name=name)
            avals = (jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in trace.jaxpr.out_avals)
            form.results = list(map(executables.typed, avals, form.kinds))
        self._forms[tree, shapes] = form
        return form


@dataclasses.dataclass
class _Form:
    """A program for arguments of certain shapes: compiled, or only traced so far."""

    place: Path
    """Where it is kept."""
    structure: Any
    """Of its results."""
    kinds: Sequence[Any]
    """Of each result its `aljax.host.executables.implementation`."""
    run: Any = None
    """The compiled function from leaves to leaves, keys as their numbers."""
    lowered: Any = None
    """What is to be compiled, where `run` is not there yet."""
    results: Sequence[jax.ShapeDtypeStruct] = ()
    """Leaves, where it was traced."""
    name: str = ""
    """What JAX calls it, where it was traced."""

    def __call__(self, *args: Any) -> Any:
        """Calls the compiled function."""
        results = self.run(*map(executables.raw, jax.tree.leaves(args)))
        return self.structure.unflatten(map(executables.typed, results, self.kinds))


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
