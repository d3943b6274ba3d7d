"""Counts what a compiled GPU program launches, loop by loop, from the text that XLA makes of it.

A fusion, a copy, a call of a library or of a kernel of ours, a sort: each is a launch where it stands in a computation.
A conditional is one too, and makes the host wait for its predicate; what its branches hold is not counted, as one of
them may be empty. A loop is counted as often as it goes round where XLA knows that, and once where it does not.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator

LAUNCHED = frozenset(
    {"fusion", "custom-call", "copy", "copy-start", "sort", "conditional", "reduce", "dot", "scatter"}
)  # fmt: skip
"""Operations that are a launch each."""

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_TRIPS = re.compile(r'"?known_trip_count"?\D*(\d+)')
_BODY = re.compile(r"body=%?([\w.\-]+)")
_CALLED = re.compile(r"to_apply=%?([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Loop:
    """A loop, or a called part of a program."""

    trips: int | None
    """How often it is gone through; None: not known when it is compiled."""
    inside: "Launches"
    """One time round."""


@dataclasses.dataclass(frozen=True)
class Launches:
    """What one time through a computation launches."""

    kinds: dict[str, int]
    """Launches by operation, loops apart."""
    loops: tuple[Loop, ...] = ()

    @property
    def total(self) -> int:
        """Launches, loops included."""
        return sum(self.kinds.values()) + sum((loop.trips or 1) * loop.inside.total for loop in self.loops)

    @property
    def conditionals(self) -> int:
        """Those among them that make the host wait."""
        inner = sum((loop.trips or 1) * loop.inside.conditionals for loop in self.loops)
        return self.kinds.get("conditional", 0) + inner

    @property
    def open_loop(self) -> "Launches | None":
        """Inside the only loop of which XLA does not know how often it goes round: one update, if this is training."""
        found = [loop for loop in self.every_loop() if loop.trips is None]
        return found[0].inside if len(found) == 1 else None

    def every_loop(self) -> Iterator[Loop]:
        """All loops, however deep."""
        for loop in self.loops:
            yield loop
            yield from loop.inside.every_loop()

    def to_json(self) -> dict[str, object]:
        """For a receipt."""
        loops = [{"trips": loop.trips, "inside": loop.inside.to_json()} for loop in self.loops]
        return {"launches": self.total, "conditionals": self.conditionals, "by_kind": self.kinds, "loops": loops}


def count(text: str) -> Launches:
    """Counts the launches of a compiled program.

    Args:
      text: of `jax.stages.Compiled.as_text`, of a program for a GPU.

    Returns:
      Those of one run.
    """
    found = dict(_computations(text.splitlines()))
    return _count(found, "")


def operation(line: str) -> str | None:
    """The operation of a line such as ``%a = (f32[2]{0}, s32[]) fusion(%b), kind=kLoop``; None: it has none."""
    _, equals, rest = line.partition(" = ")
    if not equals:
        return None
    if rest.startswith("("):  # a tuple's type, which has brackets and blanks of its own
        depth = 0
        for place, letter in enumerate(rest):
            depth += (letter == "(") - (letter == ")")
            if depth == 0:
                rest = rest[place + 1 :]
                break
    else:
        rest = rest.partition(" ")[2]
    match = re.match(r"\s*([\w\-]+)\(", rest)
    return match[1] if match else None


def _computations(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Computations by name, the entry's under none."""
    name, body = None, []
    for line in lines:
        head = _HEAD.match(line)
        if head:
            name, body = ("" if head[1] else head[2]), []
        elif line.startswith("}") and name is not None:
            yield name, body
            name = None
        else:
            body.append(line)


def _count(found: dict[str, list[str]], name: str) -> Launches:
    kinds: collections.Counter[str] = collections.Counter()
    loops = []
    for line in found.get(name, ()):
        kind = operation(line)
        if kind in LAUNCHED:
            kinds[str(kind)] += 1
        elif kind == "while":
            (body,), trips = _BODY.findall(line), _TRIPS.search(line)
            loops.append(Loop(int(trips[1]) if trips else None, _count(found, body)))
        elif kind == "call":
            loops += [Loop(1, _count(found, called)) for called in _CALLED.findall(line)]
    return Launches(dict(sorted(kinds.items())), tuple(loops))
