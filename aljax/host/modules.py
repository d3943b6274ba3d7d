"""Modules that can be called."""

import inspect
import sys
import types
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
