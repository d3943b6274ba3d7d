"""What rules forbid, and what is charged for them, from whole traces alone: every continuation is tried.

Nothing of `aljax`. A step is a row, whether it worked, and the seconds that it took, where rules count these. Rows are
names or numbers.
"""

import functools
import itertools
from collections.abc import Collection, Sequence

import declare

Row = str | int


class Verdicts:
    """Of the rules of an environment, as a file has them."""

    def __init__(self, rules: list[dict], rows: Sequence[Row], ends: Collection[Row], horizon: int, most: dict):
        self.hard = [rule for rule in rules if rule.get("mode", "hard") == "hard"]
        self.soft = [rule for rule in rules if rule.get("mode") == "soft"]
        self.rows, self.ends, self.horizon, self.most = rows, ends, horizon, most
        self.legal = functools.cache(self._legal)
        self.keepable = functools.cache(self._keepable)

    def owed(self, steps) -> int:
        return sum(not kept(rule, steps) for rule in self.hard)

    def paid(self, steps) -> float:
        return sum(rule.get("weight", 1.0) for rule in self.soft if not kept(rule, steps))

    def free(self, steps) -> list[Row]:
        """Rows that may be called but for the rules."""
        called = [row for row, *_ in steps]
        return [row for row in self.rows if called.count(row) < self.most.get(row, self.horizon)]

    def lasting(self, steps) -> set[Row]:
        """Rows that, once they have worked, leave all hard rules keepable; of seconds as if these were over in time."""
        return {row for row in self.free(steps) if self._leaves_room(row, steps)}

    def _legal(self, steps) -> list[Row]:
        """Rows that leave all hard rules keepable; else those that break none that is whole; else all."""
        free = self.free(steps)
        calm = [row for row in free if not any(rule["a"] == row and waits(rule, steps) for rule in self.hard)]
        whole = not any(broken(rule, steps) for rule in self.hard)
        lasting = self.lasting(steps) if whole else ()
        found = [row for row in calm if row in lasting]
        return found or [row for row in calm if all(self._harmless(rule, row, steps) for rule in self.hard)] or free

    def _harmless(self, rule, row, steps) -> bool:
        after = (*steps, (row, True, 0.0))
        if broken(rule, steps) or "seconds" in rule:
            return True
        return not broken(rule, after) and (row not in self.ends or kept(rule, after))

    def _leaves_room(self, row, steps) -> bool:
        after = (*steps, (row, True, 0.0))
        return self._holds(after) if row in self.ends else self.keepable(after)

    def _keepable(self, steps) -> bool:
        if len(steps) == self.horizon:
            return self._holds(steps)
        return any(self._leaves_room(row, steps) for row in self.free(steps))  # one is enough

    def _holds(self, steps) -> bool:
        return all(kept(rule, steps) for rule in self.hard if "seconds" not in rule)


def waits(rule: dict, steps) -> bool:
    """Whether a cooldown in seconds is running."""
    if "seconds" not in rule:
        return False
    at = [i for i, (row, worked, *_) in enumerate(steps) if row == rule["a"] and (worked or rule.get("on") == "call")]
    return bool(at) and sum(seconds for _, _, seconds in steps[at[-1] + 1 :]) < rule["seconds"] - 1e-5


def kept(rule: dict, steps) -> bool:
    """Whether an episode keeps a rule."""
    if "seconds" not in rule:
        return declare.kept(rule, [step[:2] for step in steps])
    occurs = [row == rule["a"] and (worked or rule.get("on") == "call") for row, worked, *_ in steps]
    return not any(there and waits(rule, steps[:i]) for i, there in enumerate(occurs))


def broken(rule: dict, steps) -> bool:
    """Whether nothing that may come keeps it: at most four rows more, of its own two and another."""
    return not kept(rule, steps) and _hopeless(tuple(sorted(rule.items())), tuple(steps))


@functools.cache
def _hopeless(rule, steps) -> bool:
    rule = dict(rule)
    if "seconds" in rule:
        return True
    rows = rule["a"], rule.get("b"), "another"
    more = itertools.chain.from_iterable(itertools.product(rows, repeat=length) for length in range(1, 5))
    return not any(kept(rule, (*steps, *((row, True, 0.0) for row in rest))) for rest in more)
