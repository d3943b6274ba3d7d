"""How a number of the environment is declared: once, where its field stands in `aljax.params`.

A declaration says which axes the array has, what a file may give for it, what it is where a file gives nothing, its
unit, and how it is shown. Whatever handles all fields alike loops over the declarations: the reader of scenario files,
``--set``, the axes of sweeps, the tables of ``aljax scenarios``, the solver's check of what it knows, the reference.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

Check = Literal["number", "not negative", "probability", "positive", "at least 1", "count", "calls", "flag"]
"""What a field takes: a real number, within one of `aljax.limits.BOUNDS`; a whole number from 1, as an integer or, of
calls, as a real number, since there may be no limit to them; true or false."""

Numbers = Mapping[str, np.ndarray]
"""Arrays by field, each with its own axes and a last one over environments that are read together, or of length 1."""


@dataclasses.dataclass(frozen=True)
class Same:
    """A default: what the file gives for another field, in the same row or coordinate."""

    as_field: str


Default = float | bool | Same | Callable[[Numbers], np.ndarray] | None
"""A value; another field's; what follows from all others, as a function of them; None: a file must give it."""


@dataclasses.dataclass(frozen=True)
class Declared:
    """What there is to say of a field, beside its meaning."""

    axes: tuple[str, ...]
    """``A`` rows of the action table, ``d`` coordinates, ``k`` components of the cost, ``N`` points; none: a scalar."""
    check: Check
    """What it may be."""
    default: Default = None
    """What it is where a file says nothing."""
    unit: str = ""
    """Of its numbers; none: they have none."""
    heading: str = ""
    """Above its column in tables; none: tables show it in words, or not at all."""
    kinds: tuple[str, ...] = ()
    """Of a flag: the kinds of action that it is true of where a file says nothing."""
    optional: bool = False
    """None where a file gives it nowhere: no array, no code compiled for it."""
    group: str = ""
    """Optional fields of one group are there together: where a file gives one, the others are at their defaults."""
    boundless: bool = False
    """A file may say ``inf``, whatever the default."""

    @property
    def dtype(self) -> type:
        """Of the array."""
        return {"flag": bool, "count": np.int32}.get(self.check, np.float32)

    @property
    def endless(self) -> bool:
        """A file may say ``inf``: there is none."""
        return self.boundless or self.default == math.inf

    @property
    def neutral(self) -> Any:
        """The default where it is a value, else None."""
        return None if isinstance(self.default, Same) or callable(self.default) else self.default


def declared(
    axes: str, check: Check, default: Default = None, *, unit: str = "", heading: str = "", kinds: tuple[str, ...] = (),
    optional: bool = False, group: str = "", boundless: bool = False,
) -> Any:  # fmt: skip
    """A dataclass's field with its declaration.

    Args:
      axes: in one text, such as ``"A d"``.
      check: what it may be.
      default: what it is where a file says nothing; None: a file must say it.
      unit: of its numbers.
      heading: above its column in tables.
      kinds: of a flag, the kinds of action that it is true of where a file says nothing.
      optional: None where a file gives it nowhere.
      group: of optional fields that are there together.
      boundless: a file may say ``inf``, whatever the default.

    Returns:
      What `dataclasses.field` gives.
    """
    made = Declared(tuple(axes.split()), check, default, unit, heading, kinds, optional, group, boundless)
    absent: dict[str, Any] = {"default": None, "kw_only": True} if optional else {}
    return dataclasses.field(metadata={"declared": made}, **absent)


@functools.cache
def fields_of(kind: type) -> Mapping[str, Declared]:
    """The declarations of a dataclass's fields.

    Args:
      kind: the dataclass.

    Returns:
      Declarations by field, in its order; fields without one are left out.
    """
    return {
        field.name: field.metadata["declared"] for field in dataclasses.fields(kind) if "declared" in field.metadata
    }
