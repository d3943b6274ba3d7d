"""Would the oracle notice? Bugs are planted in the environment, one at a time, and the oracle's tests run on it.

Each bug is a change to a few words of the library's source, made while the module is imported; nothing on the disk
changes. Then ``tests/test_env.py`` compares it with the oracle: hundreds of ordinary environments in one program, with
and without the effects of optional fields, hundreds of starts, and random environments and states whose numbers lie on
a grid. A bug is caught if a comparison fails; what merely crashes does not count. The environment as it is must pass
all of them.

    python studies/planted.py --json studies/results/planted.json
"""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts, rivals
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the oracle's

from hypothesis import Phase, given, settings

from aljax.host.files import check_writable, write_json

import receipts

EXAMPLES = 200
"""Plays on the grid a bug."""


class Bug(NamedTuple):
    """A change to the source."""

    what: str
    module: str
    """Below ``aljax``."""
    right: str
    """Stands there once."""
    wrong: str


BUGS = (
    Bug("after_ok goes for a row that failed", "env", "latest == WORKED", "latest == FAILED"),
    Bug(
        "a call that worked is kept as failed",
        "env",
        "jnp.where(failed, FAILED, WORKED)",
        "jnp.where(failed, WORKED, FAILED)",
    ),
    Bug("statuses last for one step", "env", "WORKED), status)", "WORKED), NOT_CALLED)"),
    Bug(
        "seconds grow by the steps with this one",
        "env",
        "row.latency_growth * state.time",
        "row.latency_growth * (state.time + 1)",
    ),
    Bug(
        "dollars grow by the steps with this one",
        "env",
        "row.money_growth * state.time",
        "row.money_growth * (state.time + 1)",
    ),
    Bug("the spread's mean is not the latency", "env", "(normal - 0.5 *", "(normal + 0.5 *"),
    Bug(
        "failed calls take what good ones do",
        "env",
        "jnp.where(failed, row.failure_latency, row.latency)",
        "row.latency",
    ),
    Bug(
        "good calls cost what failed ones do",
        "env",
        "jnp.where(failed, row.failure_money, row.money)",
        "row.failure_money",
    ),
    Bug("a time-out is no failure", "env", "failed | exceeds(seconds, row.timeout)", "failed"),
    Bug("a time-out ends nothing", "env", "jnp.minimum(seconds, row.timeout)", "seconds"),
    Bug(
        "failed calls cost what they do by luck alone",
        "env",
        "jnp.where(failed, row.failure_money",
        "jnp.where(luck.u < _failure(state, action, row), row.failure_money",
    ),
    Bug(
        "up and down change places in the chain's law",
        "state",
        "return table.mean_downtime /",
        "return table.mean_uptime /",
    ),
    Bug("every row starts down that should be up", "state", "jnp.asarray(start.down) <", "jnp.asarray(start.down) >="),
    Bug(
        "what is down moves by all seconds so far",
        "env",
        "expm1(-rate * seconds)",
        "expm1(-rate * (state.latency + seconds))",
    ),
    Bug(
        "what is down moves by the row's mean latency",
        "env",
        "expm1(-rate * seconds)",
        "expm1(-rate * pick(lift(table.latency, ndim), action))",
    ),
    Bug("what is down stays down longer", "env", "(share - down) * forgotten", "share * (1 - down) * forgotten"),
    Bug("calls work while the row is down", "env", "found |= entry(state.down, action)", "found |= False"),
    Bug(
        "a call that finds no token takes what there is",
        "env",
        "this & limited & ~exceeds(1.0, tokens)",
        "this & limited",
    ),
    Bug(
        "buckets fill before the call",
        "env",
        "jnp.minimum(jnp.maximum(tokens - taken, 0.0) + flow, lift(table.rate_burst, ndim))",
        "jnp.maximum(jnp.minimum(tokens + flow, lift(table.rate_burst, ndim)) - taken, 0.0)",
    ),
    Bug("only the played row's bucket fills", "env", "0.0) * seconds", "0.0) * seconds * this"),
    Bug(
        "buckets start with one token",
        "state",
        "jnp.broadcast_to(lift(table.rate_burst, ndim), a_row)",
        "jnp.ones(a_row)",
    ),
    Bug("a call needs no token", "env", "& exceeds(1.0, state.tokens)", "& exceeds(0.0, state.tokens)"),
    Bug(
        "what a call requires, as read",
        "env",
        "out_of_tolerance(state.z, params)",
        "out_of_tolerance(state.z + state.misread, params)",
    ),
    Bug("a call requires all coordinates where any", "env", "jnp.any(row.requires &", "jnp.all(row.requires &"),
    Bug("one call more than there may be", "env", "state.calls < lift", "state.calls <= lift"),
    Bug(
        "calls are not counted that may not be made",
        "env",
        "calls = calls + this",
        "calls = calls + (this & (calls < lift(table.max_calls, ndim)))",
    ),
    Bug(
        "the limit of seconds must be passed",
        "env",
        "reaches(latency, params.latency_limit)",
        "exceeds(latency, params.latency_limit)",
    ),
    Bug(
        "the limit of dollars goes for seconds",
        "env",
        "reaches(money, params.money_limit)",
        "reaches(latency, params.money_limit)",
    ),
    Bug("the episode ends by itself all the same", "env", "(params.auto_end & (excess == 0.0))", "(excess == 0.0)"),
    Bug("an episode has a step more than its horizon", "env", "(time >= params.horizon)", "(time > params.horizon)"),
    Bug("finished episodes go on paying", "env", "jnp.where(state.done, 0.0, cost)", "cost"),
    Bug(
        "finished episodes go on",
        "env",
        "jnp.where(state.done, old, new)",
        "jnp.where(state.done & (state.time > 1), old, new)",
    ),
    Bug("failures reveal too", "env", "~failed & row.reveals", "row.reveals"),
    Bug(
        "rows that end leave drift behind",
        "env",
        "jnp.where(row.ends, closed, worked",
        "jnp.where(row.ends, closed + drift, worked",
    ),
    Bug("points take the place of the box", "state", "z = z + _point(", "z = _point("),
    Bug("points are drawn without their weights", "state", "jnp.cumsum(weights)", "jnp.cumsum(jnp.ones_like(weights))"),
    Bug(
        "what is expected of blind coordinates leaves out the points",
        "state",
        "return middle + jnp.tensordot",
        "return middle + 0 * jnp.tensordot",
    ),
    Bug(
        "weights of the points are not shares",
        "state",
        "params.start_weights / params.start_weights.sum()",
        "params.start_weights",
    ),
    Bug(
        "blind coordinates are misread the wrong way",
        "state",
        "lift(expected_start(params), ndim) - z",
        "z - lift(expected_start(params), ndim)",
    ),
    Bug(
        "too much done is judged as too little",
        "constraint",
        "over(-z, lift(params.tolerance_low, z.ndim - 1))",
        "over(-z, high)",
    ),
    Bug(
        "too much done reads as too little",
        "constraint",
        "exceeds(-z, lift(params.tolerance_low, z.ndim - 1))",
        "exceeds(-z, high)",
    ),
    Bug(
        "an overrun budget counts in dollars",
        "constraint",
        "over(money, params.money_budget) / params.money_budget",
        "over(money, params.money_budget)",
    ),
    Bug(
        "failed and worked change places in what is seen",
        "observation",
        "state.status == FAILED",
        "state.status == WORKED",
    ),
    Bug("calls are seen as numbers, not shares", "observation", "state.calls / lift", "state.calls + 0 * lift"),
    Bug(
        "buckets are seen where there are none",
        "observation",
        "jnp.where(lift(limited, ndim), state.tokens",
        "jnp.where(True, state.tokens",
    ),
)


def main() -> int:
    """Plants, compares, prints, writes; status 1 if the oracle misses a bug or finds one that nobody planted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, help="this bug alone, by its number")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.json is not None:
        check_writable(options.json)
    machine, began = receipts.machine(), time.perf_counter()
    clean = find(None)
    print(f"as it is: {'passes' if clean is None else clean}", flush=True)
    rows = []
    for number, bug in enumerate(BUGS):
        if options.only in (None, number):
            found = find(bug)
            rows.append({"what": bug.what, "module": bug.module, "found_by": found})
            print(f"{number:2d} {bug.what}: {'MISSED' if found is None else f'caught, {found}'}", flush=True)
    caught = sum(row["found_by"] is not None for row in rows)
    print(f"{caught} of {len(rows)} caught")
    if options.json is not None:
        figures = {"planted": len(rows), "caught": caught, "as_it_is": clean or "passes", "bugs": rows}
        spent = {"seconds": round(time.perf_counter() - began, 1), "examples_on_the_grid": EXAMPLES}
        write_json(options.json, {"machine": machine, "versions": receipts.versions(()), **spent, **figures})
    return 0 if caught == len(rows) and clean is None else 1


def find(bug: Bug | None) -> str | None:
    """The first of the oracle's tests that fails on the library with that bug; None: it passes them all."""
    with Planted(bug):
        tests = importlib.import_module("test_env")
        for name, run in comparisons(tests):
            try:
                run()
            except AssertionError:
                return name
    return None


def comparisons(tests: ModuleType) -> list[tuple[str, Any]]:
    """The oracle's tests, in the order in which they are quick."""
    everything, nothing = tests.strategies.EVERYTHING, tests.strategies.NOTHING
    on_the_grid = tests.test_any_play_in_any_environment_equals_the_oracle.hypothesis.inner_test
    no_shrinking = settings(
        deadline=None, max_examples=EXAMPLES, derandomize=True, database=None, phases=[Phase.generate]
    )

    def grids() -> None:
        for units in (everything, nothing):
            no_shrinking(given(tests.strategies.grids((3, 2, units)))(on_the_grid))()

    many = tests.test_hundreds_of_environments_in_one_call_equal_the_oracle
    return [
        ("hundreds of environments", lambda: many(3, 2, everything)),
        ("hundreds of starts", lambda: tests.test_hundreds_of_starts_in_one_call_equal_the_oracle(everything)),
        ("plays on the grid", grids),
        ("hundreds of environments without optional fields", lambda: many(3, 2, nothing)),
    ]


class Planted(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """The library and its tests imported anew, with a bug: a context, and after it they are as they were."""

    def __init__(self, bug: Bug | None):
        self.bug = bug

    def __enter__(self) -> "Planted":
        self.before = {name: sys.modules.pop(name) for name in [*sys.modules] if _ours(name)}
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)
        for name in [*sys.modules]:
            if _ours(name):
                del sys.modules[name]
        sys.modules.update(self.before)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Of the module with the bug."""
        if self.bug is None or fullname != f"aljax.{self.bug.module}":
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert found is not None and found.origin is not None
        return importlib.util.spec_from_file_location(fullname, found.origin, loader=self)

    def get_filename(self, fullname: str) -> str:
        """Where its source is."""
        return str(Path(self.before["aljax"].__path__[0], *fullname.split(".")[1:]).with_suffix(".py"))

    def get_data(self, path: str) -> bytes:
        """Its source, with the bug."""
        text = Path(path).read_text()
        assert self.bug is not None and text.count(self.bug.right) == 1, self.bug
        return text.replace(self.bug.right, self.bug.wrong).encode()


def _ours(name: str) -> bool:
    return name.partition(".")[0] in ("aljax", "plays", "strategies", "test_env")


if __name__ == "__main__":
    sys.exit(main())
