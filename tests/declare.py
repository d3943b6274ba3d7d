"""Rules judged on whole traces, from DECLARE's definitions: no automata, nothing of `aljax`.

A trace is a list of occurrences, the names of rows in their order.
"""

import itertools
from collections.abc import Sequence


def absence(trace, a, n):
    return trace.count(a) < n


def existence(trace, a, n):
    return trace.count(a) >= n


def precedence(trace, a, b):
    return all(a in trace[: i + 1] for i, x in enumerate(trace) if x == b)


def alternate_precedence(trace, a, b):
    at = [i for i, x in enumerate(trace) if x == b]
    return all(a in trace[before + 1 : i] for before, i in zip([-1, *at], at, strict=False))


def chain_precedence(trace, a, b):
    return all(i > 0 and trace[i - 1] == a for i, x in enumerate(trace) if x == b)


def response(trace, a, b):
    return all(b in trace[i + 1 :] for i, x in enumerate(trace) if x == a)


def alternate_response(trace, a, b):
    at = [i for i, x in enumerate(trace) if x == a]
    return all(b in trace[i + 1 : after] for i, after in zip(at, [*at[1:], len(trace)], strict=False))


def chain_response(trace, a, b):
    return all(trace[i + 1 : i + 2] == [b] for i, x in enumerate(trace) if x == a)


def not_succession(trace, a, b):
    return all(b not in trace[i + 1 :] for i, x in enumerate(trace) if x == a)


def not_chain_succession(trace, a, b):
    return all(trace[i + 1 : i + 2] != [b] for i, x in enumerate(trace) if x == a)


def not_coexistence(trace, a, b):
    return not (a in trace and b in trace)


CHECKS = {
    check.__name__: check
    for check in (
        absence, existence, precedence, alternate_precedence, chain_precedence, response, alternate_response,
        chain_response, not_succession, not_chain_succession, not_coexistence,
    )
}  # fmt: skip


def cooldown(steps: Sequence[tuple[str, bool]], a: str, n: int) -> bool:
    """Of all steps, each a row and whether it occurred: a cooldown counts steps in which nothing occurred, too."""
    at = [i for i, (x, occurred) in enumerate(steps) if x == a and occurred]
    return all(later - before > n for before, later in itertools.pairwise(at))


def kept(rule: dict, steps: Sequence[tuple[str, bool]]) -> bool:
    """Whether the steps of an episode, each a row and whether it worked, keep a rule as a file has it."""
    occurred = [(x, worked or rule.get("on") == "call") for x, worked in steps]
    if rule["template"] == "cooldown":
        return cooldown(occurred, rule["a"], rule["steps"])
    trace = [x for x, there in occurred if there]
    return CHECKS[rule["template"]](trace, rule["a"], rule["b"] if "b" in rule else rule.get("n", 1))
