"""Where the numbers of the scenario `service_desk` come from: counts them in logged runs of real agents.

    python calibration/service_desk.py --traces DIR

reads the logs in DIR (gzip, one JSON object a line: agentdojo, tau2 and taubench .jsonl.gz), prints every
number with its count and source, and compares it with what the package ships. Exit status: 0 when all agree, 1
when one does not, 2 when the logs or the scenario file cannot be read. The logs are read where they lie; nothing
is written.

What is counted:

- A *run* is an episode; AgentDojo's names of episodes repeat, so one that goes on after its end is another run.
- A row of the scenario stands for a family of tools. Each of its calls is a run's *first*, or comes after the run's
  latest call of the family *worked* or *failed*, whatever lies between.
- The rate after a failure pools the tasks in which calls fail, so most of it says that hard tasks fail again, and not
  that a failure sticks. It is therefore also counted *within tasks*: how often those calls failed, over how often the
  first call failed in other runs of the same tasks, times the rate of first calls (indirect standardisation). Where at
  least 20 calls have such other runs the scenario takes that rate; both are printed.
- A step of the environment that calls a tool is a turn of the model and then the tool. The logs' tools are local
  mocks (0.2 ms), so what a real one takes is assumed (`ASSUMED_SECONDS`) and added to the model's logged latency.
"""

import argparse
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from aljax.errors import UserError
from aljax.logs.episode import LoggedEpisode
from aljax.logs.readers import read_episodes

SHIPPED = Path(__file__).resolve().parents[1] / "aljax" / "scenarios" / "service_desk.toml"
FILES = ("agentdojo", "tau2", "taubench")

LOOK_UP = ("get_", "find_", "list_")
SEARCH = ("search_",)
UPDATE = ("book_", "update_", "modify_", "exchange_")
CANCEL = ("cancel_", "return_")

ASSUMED_SECONDS = {"look_up": 0.3, "search": 1.2, "update": 1.0, "cancel": 1.0, "escalate": 30.0}
"""What a real tool, or a wait for a person, takes on top of the model's turn. No log has it."""
ASSUMED_FEE = 6.0
"""Dollars for a person who takes the case over. No log has it."""

Row = Mapping[str, Any]

FIRST, WORKED, FAILED = "first", "worked", "failed"
"""How the run's latest call of the same family went, before a call."""
ENOUGH = 20
"""Calls that a rate within tasks is taken from, at least."""


@dataclass(frozen=True)
class Rate:
    """How often calls of one status failed."""

    calls: int
    failed: int
    compared: int = 0
    """Calls whose task has other runs with a call of the family."""
    compared_failed: int = 0
    """Of these, the failed ones."""
    expected: float = 0.0
    """Of these, how many would fail as often as the first calls of the other runs of their tasks."""

    @property
    def naive(self) -> float:
        """The share that failed."""
        return self.failed / self.calls if self.calls else 0.0

    def within(self, first: float) -> float | None:
        """The rate within tasks, where first calls fail so often; None: too few calls can be compared."""
        enough = self.compared >= ENOUGH and self.expected > 0
        return first * self.compared_failed / self.expected if enough else None


@dataclass(frozen=True)
class Number:
    """A number of the scenario, as the logs give it."""

    key: str
    """Where it stands in the TOML file."""
    value: float
    digits: int
    """Decimals that the file gives."""
    source: str


def read_runs(path: Path) -> list[LoggedEpisode]:
    """The runs in one log file, each of which says which calls worked. Raises `UserError`."""
    runs = list(read_episodes(path))
    for run in runs:
        run.require_outcomes("tool", "escalate")
    return runs


def failure_rates(
    runs: Sequence[LoggedEpisode], family: tuple[str, ...] = ("",), by_tool: bool = False
) -> dict[str, Rate]:
    """Counts failures of the tools whose names start as `family` says, by status; see the module.

    `by_tool`: a call's status is that of its own tool, instead of the family.
    """
    firsts: dict[tuple[str, str], dict[int, bool]] = {}
    seen: dict[str, list[tuple[tuple[str, str], int, bool]]] = {FIRST: [], WORKED: [], FAILED: []}
    for number, run in enumerate(runs):
        status: dict[str, str] = {}
        for row in run.steps:
            if row["kind"] != "tool" or not row["name"].startswith(family):
                continue
            own = row["name"] if by_tool else ""
            place, failed = (run.task, own), not row["ok"]
            before = status.get(own, FIRST)
            seen[before].append((place, number, failed))
            if before == FIRST:
                firsts.setdefault(place, {})[number] = failed
            status[own] = FAILED if failed else WORKED

    def rate(calls: list[tuple[tuple[str, str], int, bool]]) -> Rate:
        compared, expected = [], 0.0
        for place, number, failed in calls:
            others = [again for run, again in firsts.get(place, {}).items() if run != number]
            if others:
                compared.append(failed)
                expected += sum(others) / len(others)
        return Rate(len(calls), sum(failed for *_, failed in calls), len(compared), sum(compared), expected)

    return {name: rate(calls) for name, calls in seen.items()}


def mean_of(runs: Iterable[LoggedEpisode], field: str, chosen: Callable[[Row], bool]) -> tuple[float, int]:
    """The mean of a field over the chosen rows that have it, and how many they are. Raises `UserError`."""
    values = [row[field] for run in runs for row in run.steps if chosen(row) and row.get(field) is not None]
    if not values:
        raise UserError(f"the logs hold no {field} of the rows asked for")
    return fmean(values), len(values)


def in_domains(runs: Iterable[LoggedEpisode], *domains: str) -> list[LoggedEpisode]:
    """The runs of tasks in the given domains (`airline/12` is in `airline`)."""
    return [run for run in runs if run.task.split("/")[0] in domains]


def ratio(part: int, whole: int, what: str) -> float:
    """A share. Raises `UserError` where there is nothing to count."""
    if not whole:
        raise UserError(f"the logs hold no {what}")
    return part / whole


def derive(logs: Mapping[str, Sequence[LoggedEpisode]]) -> list[Number]:
    """Every logged number of the scenario."""
    desk = in_domains(logs["tau2"], "airline", "retail")
    both = desk + in_domains(logs["taubench"], "airline")
    model = [run for run in desk if run.logger == "gpt-4.1"]

    def is_turn(row: Row) -> bool:
        """A priced turn of the model; each run's first, canned greeting has no price."""
        return row["kind"] == "llm" and row.get("cost_usd") is not None

    def is_user(row: Row) -> bool:
        """A turn of the user's."""
        return row["kind"] == "clarify"

    turn_s, turns = mean_of(model, "latency_s", is_turn)
    turn_usd, _ = mean_of(model, "cost_usd", is_turn)
    user_s, answers = mean_of(model, "latency_s", is_user)
    user_usd, _ = mean_of(model, "cost_usd", is_user)
    turn = f"tau2, gpt-4.1 in airline and retail: mean of {turns} priced turns"
    user = f"{turn}, and of {answers} turns of the simulated user"

    numbers = []
    for row in ("look_up", "search", "update", "cancel", "reason", "clarify", "escalate", "terminate"):
        extra = ASSUMED_SECONDS.get(row, 0.0)
        fee = ASSUMED_FEE if row == "escalate" else 0.0
        seconds, dollars, source = turn_s + extra, turn_usd + fee, turn
        if row == "clarify":
            seconds, dollars, source = turn_s + user_s, turn_usd + user_usd, user
        waits = f"; + {extra:g} s assumed" if extra else ""
        fees = f"; + ${fee:g} assumed" if fee else ""
        numbers.append(Number(f"actions.{row}.latency", seconds, 3, source + waits))
        numbers.append(Number(f"actions.{row}.money", dollars, 4, source + fees))

    for row, family, runs, where in (
        ("look_up", LOOK_UP, both, "tau2 airline and retail + taubench"),
        ("search", SEARCH, logs["agentdojo"], "agentdojo"),
        ("update", UPDATE, both, "tau2 airline and retail + taubench"),
        ("cancel", CANCEL, both, "tau2 airline and retail + taubench"),
    ):
        rates = failure_rates(runs, family)
        names = "/".join(f"{name}*" for name in family)
        first = rates[FIRST]
        failure = ratio(first.failed, first.calls, f"calls of {names}")
        source = f"{where}, {names}: {first.failed} of {first.calls} first calls"
        numbers.append(Number(f"actions.{row}.failure", failure, 3, source))
        for column, rate in (("after_ok", rates[WORKED]), ("after_failed", rates[FAILED])):
            within = rate.within(failure)
            if within is not None:
                told = (
                    f"within tasks: {rate.compared_failed} of {rate.compared} calls failed, "
                    f"{rate.expected:.1f} by the first calls of other runs"
                )
                numbers.append(Number(f"actions.{row}.{column}", within, 3, f"{where}, {names}, {told}"))
            elif rate.calls >= ENOUGH:  # fewer are no rate: the file leaves it out, and so it equals the failure rate
                told = f"{rate.failed} of {rate.calls} calls"
                numbers.append(Number(f"actions.{row}.{column}", rate.naive, 3, f"{where}, {names}: {told}"))

    talk = [row for name in ("tau2", "taubench") for run in logs[name] for row in run.steps]
    for row in ("clarify", "escalate"):
        ok = [entry["ok"] for entry in talk if entry["kind"] == row and entry.get("ok") is not None]
        rate = ratio(ok.count(False), len(ok), f"steps of kind {row}")
        source = f"tau2 + taubench: {ok.count(False)} of {len(ok)} steps of kind {row}"
        numbers.append(Number(f"actions.{row}.failure", rate, 3, source))
    return numbers


def shipped_value(scenario: dict[str, Any], key: str) -> float | None:
    """The number at a dotted key of the scenario file, or None."""
    value: Any = scenario
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return float(value) if isinstance(value, (int, float)) else None


def stickiness(logs: Mapping[str, Sequence[LoggedEpisode]]) -> list[str]:
    """Failure rates by status, naive and within tasks: a table's lines."""
    both = in_domains(logs["tau2"], "airline", "retail") + in_domains(logs["taubench"], "airline")
    everything = [run for runs in logs.values() for run in runs]
    rows = {"all tools, each by itself": failure_rates(everything, by_tool=True)}
    for name, family in (("look_up", LOOK_UP), ("update", UPDATE), ("cancel", CANCEL)):
        rows[name] = failure_rates(both, family)
    rows["search"] = failure_rates(logs["agentdojo"], SEARCH)
    lines = [
        f"{'calls of':28}{'first':>20}{'after ok':>20}{'after failed':>20}{'ok, within':>12}{'failed, within':>16}"
    ]
    for name, rates in rows.items():
        cells = [f"{rate.naive:.3f} ({rate.failed}/{rate.calls})" if rate.calls else "none" for rate in rates.values()]
        inside = [rates[status].within(rates[FIRST].naive) for status in (WORKED, FAILED)]
        told = ["too few" if rate is None else f"{rate:.3f}" for rate in inside]
        lines.append(f"{name:28}{cells[0]:>20}{cells[1]:>20}{cells[2]:>20}{told[0]:>12}{told[1]:>16}")
    return lines


def handed_over(runs: Sequence[LoggedEpisode]) -> str:
    """The share of runs with a hand-over to a person."""
    count = sum(any(row["kind"] == "escalate" for row in run.steps) for run in runs)
    return f"{count / len(runs):.3f} ({count} of {len(runs)} runs)" if runs else "no runs"


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description="Derive service_desk's logged numbers from the logs.")
    parser.add_argument("--traces", type=Path, required=True, metavar="DIR", help="folder of the logs")
    options = parser.parse_args(arguments)
    try:
        if not options.traces.is_dir():
            raise UserError(f"{options.traces}: no such folder")
        logs = {name: read_runs(options.traces / f"{name}.jsonl.gz") for name in FILES}
        numbers = derive(logs)
        scenario = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    except (UserError, OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"{SHIPPED}: {error}" if isinstance(error, tomllib.TOMLDecodeError) else str(error)
        print(f"service_desk.py: {message}", file=sys.stderr)
        return 2

    print(f"{'number':32}{'derived':>9}{'shipped':>9}  agree  source")
    wrong = 0
    for number in numbers:
        value = shipped_value(scenario, number.key)
        # Half a unit of the last decimal, and a hair for binary fractions.
        agree = value is not None and abs(value - number.value) <= 0.5001 * 10**-number.digits
        wrong += not agree
        shipped = "absent" if value is None else f"{value:.{number.digits}f}"
        derived = f"{number.value:.{number.digits}f}"
        print(f"{number.key:32}{derived:>9}{shipped:>9}  {'yes' if agree else 'NO':5}  {number.source}")

    print("\nFailures by how the latest call of the same family in the run went: shares, and rates within tasks")
    print("\n".join(stickiness(logs)))
    desk = in_domains(logs["tau2"], "airline", "retail")
    print("\nHanded over to a person")
    print(f"{'tau2 airline and retail':28}{handed_over(desk)}")
    print(f"{'tau2':28}{handed_over(logs['tau2'])}")
    print(f"{'taubench airline':28}{handed_over(logs['taubench'])}")
    print(f"\n{len(numbers) - wrong} of {len(numbers)} numbers agree with {SHIPPED.name}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
