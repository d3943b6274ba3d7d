"""What makes a scenario's actions, observations and costs mean what they do, for files that must say it.

Everything that a log's numbers depend on: names and kinds of actions, names of coordinates, and every number of the
environment but the weights λ, which only weigh what was logged: to weigh it anew is a use of logs, not a mistake.
"""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orjson

from aljax.errors import listed, plain, short
from aljax.rules.words import described
from aljax.scenario import Scenario

_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Identity:
    """What a scenario is to a log."""

    actions: tuple[str, ...]
    kinds: tuple[str, ...]
    coordinates: tuple[str, ...]
    numbers: Mapping[str, Any]
    """By dotted name in `EnvParams`: a number, or lists of them, one a row or a coordinate; None stands for infinity,
    which JSON does not have. Of rules what they say, by their names."""

    @functools.cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with anything above."""
        text = orjson.dumps(dataclasses.asdict(self), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """For files; `identity_from` reads it.

        Returns:
          A table of plain values.
        """
        return dataclasses.asdict(self)

    def differences(self, other: "Identity") -> str:
        """What is not the same in another one, in words: theirs, and what it is here.

        Args:
          other: of the scenario that a log says it is of.

        Returns:
          Theirs, and what it is here, in words.
        """
        for name in ("actions", "coordinates", "kinds"):
            here, there = getattr(self, name), getattr(other, name)
            if here != there:
                return f"{name} {listed(there, 120)}, here {listed(here, 120)}"
        found = list(itertools.islice(self._numbers_that_differ(other), _SHOWN + 1))
        return "; ".join(found[:_SHOWN]) + ("; and more" if len(found) > _SHOWN else "")

    def _numbers_that_differ(self, other: "Identity") -> Iterator[str]:
        for key in dict.fromkeys([*self.numbers, *other.numbers]):
            here, there = self.numbers.get(key, ()), other.numbers.get(key, ())
            if here == there:
                continue
            if np.shape(here) != np.shape(there):
                yield f"{plain(key)} {short(there)}, here {short(here)}"
                continue
            for at in np.ndindex(np.shape(here)):
                left, right = (functools.reduce(lambda values, i: values[i], at, values) for values in (here, there))
                if left != right:
                    yield f"{self._named(key, at)} {_written(right)}, here {_written(left)}"

    def _named(self, key: str, at: tuple[int, ...]) -> str:
        """A number's key as ``--set`` takes it."""
        names = [*([self.actions] if key.startswith("actions.") else []), self.coordinates]
        return ".".join([key, *(axis[i] for axis, i in zip(names, at, strict=False))])


def identity_of(scenario: Scenario) -> Identity:
    """What a scenario is to a log.

    Args:
      scenario: the scenario.

    Returns:
      Its identity.
    """
    numbers = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(scenario.params):
        key = ".".join(part.name for part in path)
        if key != "weights" and not key.startswith("rules."):
            numbers[key] = _plain(np.asarray(leaf))
    numbers |= {f"rules.{name}": says for name, says in described(scenario).items()}
    return Identity(scenario.action_names, scenario.kinds, scenario.coordinate_names, numbers)


def identity_from(found: Any) -> Identity | None:
    """From a file's JSON; None if it is nothing of the kind.

    Args:
      found: what stands there.

    Returns:
      The identity; None: what stands there is none.
    """
    fields = [field.name for field in dataclasses.fields(Identity)]
    if not isinstance(found, dict) or set(found) != set(fields) or not isinstance(found["numbers"], dict):
        return None
    names = [found[name] for name in fields[:3]]
    if not all(isinstance(x, list) and all(isinstance(name, str) for name in x) for x in names):
        return None
    try:
        [np.shape(value) for value in found["numbers"].values()]
    except ValueError:  # lists of different lengths
        return None
    actions, kinds, coordinates = map(tuple, names)
    return Identity(actions, kinds, coordinates, found["numbers"])


def _plain(values: np.ndarray) -> Any:
    """As lists of Python numbers: of a float32 the shortest that gives it back, None for infinity."""
    flat = values.ravel() + 0 if values.dtype.kind == "f" else values.ravel()  # -0.0 is 0.0
    found = orjson.loads(orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY))
    return np.array(found, object).reshape(values.shape).tolist()


def _written(value: Any) -> str:
    return "inf" if value is None else short(value)
