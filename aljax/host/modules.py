"""Modules as a package shows them: names that are loaded where they are used, modules that can be called, and other
people's that may not be there.
"""

import contextlib
import importlib
import inspect
import sys
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any

interpreter = threading.RLock()
"""Held by what keeps the interpreter busy for long, such as tracing and loading: all the sooner is the first of several
threads done, and what it then waits for, the compiler or a compiled program, runs beside the next."""
_loaded: dict[str, threading.Event] = {}


class _Callable(types.ModuleType):
    """A module that is called as the function of its own name.

    `aljax.train`, `aljax.evaluate` and `aljax.rollout` are what a user looks for as functions, and what this package
    and its users import from as modules. A package can have but one thing under a name, so the module is both.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Calls the function."""
        return self.__wrapped__(*args, **options)

    @property
    def __wrapped__(self) -> Any:
        """The function: for `inspect.signature`, too."""
        return vars(self)[self.__name__.rpartition(".")[2]]

    @property
    def __signature__(self) -> inspect.Signature:
        """What the function takes."""
        return inspect.signature(self.__wrapped__)


def make_callable(name: str) -> None:
    """Makes a module callable as the function in it that has the module's name.

    Args:
      name: the module's ``__name__``, from within it.
    """
    sys.modules[name].__class__ = _Callable


def load_ahead(*names: str) -> None:
    """Loads modules in a thread, while this one waits for compiled programs. `wait_loaded` comes before their use.

    One that cannot be loaded is left to whoever uses it, who then is told why.

    Args:
      *names: of modules.
    """
    done = {name: threading.Event() for name in names}

    def load() -> None:
        for name, event in done.items():
            try:
                with interpreter, contextlib.suppress(Exception):
                    importlib.import_module(name)
            finally:
                event.set()

    _loaded.update(done)
    threading.Thread(target=load, name="loads ahead").start()


def wait_loaded(*names: str) -> None:
    """Waits for modules that `load_ahead` may be loading: two threads that load one are not to meet half of it.

    Args:
      *names: of modules.
    """
    for name in names:
        if name in _loaded:
            _loaded[name].wait()


def framework(module: str, extra: str) -> Any:
    """A framework's module.

    Args:
      module: its name.
      extra: that installs it.

    Returns:
      The module.

    Raises:
      ImportError: it is not there; one line says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"needs {module.partition('.')[0]} ({error}): pip install 'aljax[{extra}]'") from None


def lazy_names(
    package: str, *, modules: str, names: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """What a package needs to offer names that are loaded where they are first used.

    Args:
      package: its name.
      modules: modules of it that are public, with blanks between.
      names: public names by the module that has them, with blanks between.

    Returns:
      ``__all__``, ``__getattr__`` and ``__dir__`` of the package.
    """
    homes = {name: module for module, found in names.items() for name in found.split()}
    public = sorted([*homes, *modules.split(), "__version__"])

    def load(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        if name in modules.split():
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return public, load, lambda: public
