"""Modules as a package shows them: names that are loaded where they are used, modules that can be called."""

import importlib
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any


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
