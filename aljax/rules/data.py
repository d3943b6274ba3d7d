"""The rules of an environment as data: their numbers, which are traced, and their structure, which is not."""

import dataclasses
import functools
from collections.abc import Sequence

import jax

from aljax.fields import declared
from aljax.rules.templates import Automaton, Rule, automaton


@dataclasses.dataclass(frozen=True)
class Structure:
    """What programs are compiled for: the rules, and what of the rows decides whether they can be kept together."""

    each: tuple[Rule, ...]
    """The rules, in the file's order."""
    allowed: tuple[bool, ...]
    """Which rows may be chosen at all, of A rows."""
    ends: tuple[bool, ...]
    """Which rows end the episode, of A rows."""
    counted: tuple[tuple[int, int], ...] = ()
    """Rows that may be called so many times only, which matters to what can still be kept."""
    columns: int = 1
    """For so many numbers of steps that are left, from 0 on, it matters how many they are: more are like the last."""

    @property
    def names(self) -> tuple[str, ...]:
        """What stands for the structure among the names of fields that are present."""
        timed = ("cooldowns",) if self.timed else ()
        return ("rules", *timed, str(self))

    def reordered(self, rows: Sequence[int]) -> "Structure":
        """The same where row i is what row ``rows[i]`` was.

        Args:
          rows: a permutation of the rows.

        Returns:
          The structure.
        """
        place = {old: new for new, old in enumerate(rows)}
        return dataclasses.replace(
            self,
            each=tuple(
                dataclasses.replace(rule, a=place[rule.a], b=None if rule.b is None else place[rule.b])
                for rule in self.each
            ),
            allowed=tuple(self.allowed[old] for old in rows),
            ends=tuple(self.ends[old] for old in rows),
            counted=tuple((place[row], most) for row, most in self.counted),
        )

    @property
    def automata(self) -> tuple[Automaton, ...]:
        """Of each rule."""
        return tuple(map(automaton, self.each))

    @property
    def shown(self) -> int:
        """States of all automata together: numbers of an observation."""
        return sum(each.states for each in self.automata)

    @functools.cached_property
    def hard(self) -> tuple[int, ...]:
        """Which rules are hard."""
        return tuple(i for i, rule in enumerate(self.each) if rule.hard)

    @functools.cached_property
    def timed(self) -> tuple[int, ...]:
        """Which rules are cooldowns in seconds."""
        return tuple(i for i, rule in enumerate(self.each) if rule.timed)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rules:
    """The rules of an environment: R of them, of which K are cooldowns in seconds."""

    weight: jax.Array = declared("R", "not negative", 1.0, heading="weight")
    """Units of violation that are charged when a rule is not kept; 1 where it is hard. ``[R]``"""
    seconds: jax.Array | None = declared("K", "positive", unit="s", heading="seconds", optional=True)
    """How long each cooldown in seconds lasts. ``[K]``"""
    structure: Structure = dataclasses.field(kw_only=True, metadata={"static": True})
    """What is fixed while programs run."""
