"""Where the numbers of the scenario `service_desk` come from: counts them in logged runs of real agents.

    python calibration/service_desk.py --traces DIR

reads the logs in DIR (gzip, one JSON object a line: agentdojo, tau2 and taubench .jsonl.gz), prints every
number with its count and source, and compares it with what the package ships. Exit status: 0 when all agree, 1
when one does not, 2 when the logs or the scenario file cannot be read. The logs are read where they lie; nothing
is written.

What is counted:

- A *run* is an episode; AgentDojo's names of episodes repeat, so one that goes on after its end is another run.
- A call is a *retry* if the run's tool call before it was of the same tool and failed. Turns of the model and of
  the user between the two do not matter: the model speaks before every call.
- The retry rate pools calls that the agents chose after they failed, so it mixes what fails because it failed
  before with what was hard to begin with. The environment takes it at face value.
- A step of the environment that calls a tool is a turn of the model and then the tool. The logs' tools are local
  mocks (0.2 ms), so what a real one takes is assumed (`ASSUMED_SECONDS`) and added to the model's logged latency.
"""

import argparse
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from aljax.errors import UserError
from aljax.logs.fields import known
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

Row = dict[str, Any]
Run = list[Row]


@dataclass(frozen=True)
class Rates:
    """Failures of a family of tools, first calls and retries apart."""

    first: int
    first_failed: int
    retries: int
    retries_failed: int

    @property
    def calls(self) -> int:
        """Calls in all."""
        return self.first + self.retries

    @property
    def failed(self) -> int:
        """Failures in all."""
        return self.first_failed + self.retries_failed


@dataclass(frozen=True)
class Number:
    """A number of the scenario, as the logs give it."""

    key: str
    """Where it stands in the TOML file."""
    value: float
    digits: int
    """Decimals that the file gives."""
    source: str


def read_runs(path: Path) -> list[Run]:
    """The runs in one log file, the row of kind `end` last in each; what is null is left out. Raises `UserError`."""
    runs: list[Run] = []
    for episode in read_episodes(path):
        episode.require_outcomes("tool", "escalate")
        runs.append([{"task": episode.task} | known(row) for row in (*episode.steps, episode.end)])
    return runs


def failure_rates(runs: Iterable[Run], family: tuple[str, ...] = ("",)) -> Rates:
    """Counts failures of the tools whose names start as `family` says; see the module for what a retry is."""
    counts = {True: [0, 0], False: [0, 0]}
    for run in runs:
        before: Row | None = None
        for row in run:
            if row["kind"] != "tool":
                continue
            retry = before is not None and before["name"] == row["name"] and not before["ok"]
            if row["name"].startswith(family):
                counts[retry][0] += 1
                counts[retry][1] += not row["ok"]
            before = row
    return Rates(*counts[False], *counts[True])


def mean_of(runs: Iterable[Run], field: str, chosen: Callable[[Row], bool]) -> tuple[float, int]:
    """The mean of a field over the chosen rows that have it, and how many they are. Raises `UserError`."""
    values = [row[field] for run in runs for row in run if chosen(row) and field in row]
    if not values:
        raise UserError(f"the logs hold no {field} of the rows asked for")
    return fmean(values), len(values)


def in_domains(runs: Iterable[Run], *domains: str) -> list[Run]:
    """The runs of tasks in the given domains (`airline/12` is in `airline`)."""
    return [run for run in runs if run[-1]["task"].split("/")[0] in domains]


def ratio(part: int, whole: int, what: str) -> float:
    """A share. Raises `UserError` where there is nothing to count."""
    if not whole:
        raise UserError(f"the logs hold no {what}")
    return part / whole


def derive(logs: dict[str, list[Run]]) -> list[Number]:
    """Every logged number of the scenario."""
    desk = in_domains(logs["tau2"], "airline", "retail")
    both = desk + in_domains(logs["taubench"], "airline")
    model = [run for run in desk if run[-1]["logger"] == "gpt-4.1"]

    def is_turn(row: Row) -> bool:
        """A priced turn of the model; each run's first, canned greeting has no price."""
        return row["kind"] == "llm" and "cost_usd" in row

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
        first = ratio(rates.first_failed, rates.first, f"calls of {names}")
        source = f"{where}, {names}: {rates.first_failed} of {rates.first} other calls"
        numbers.append(Number(f"actions.{row}.failure", first, 3, source))
        # One retry of `cancel` is no rate: the file leaves it out, and so it equals the failure rate.
        if row != "cancel":
            again = ratio(rates.retries_failed, rates.retries, f"retries of {names}")
            source = f"{where}, {names}: {rates.retries_failed} of {rates.retries} retries"
            numbers.append(Number(f"actions.{row}.retry_failure", again, 3, source))

    talk = [row for name in ("tau2", "taubench") for run in logs[name] for row in run]
    for row in ("clarify", "escalate"):
        ok = [entry["ok"] for entry in talk if entry["kind"] == row and "ok" in entry]
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


def stickiness(logs: dict[str, list[Run]]) -> list[str]:
    """Retries against other calls, over all tools of a log: a table's lines."""
    lines = [f"{'log':28}{'retries':>18}{'other calls':>20}{'all calls':>20}"]
    sets = {
        "agentdojo": logs["agentdojo"],
        "taubench airline": in_domains(logs["taubench"], "airline"),
        "tau2": logs["tau2"],
        "tau2 airline": in_domains(logs["tau2"], "airline"),
    }
    for name, runs in sets.items():
        rates = failure_rates(runs)
        cells = [
            f"{part / whole:.3f} ({part}/{whole})" if whole else "none"
            for part, whole in (
                (rates.retries_failed, rates.retries),
                (rates.first_failed, rates.first),
                (rates.failed, rates.calls),
            )
        ]
        lines.append(f"{name:28}{cells[0]:>18}{cells[1]:>20}{cells[2]:>20}")
    return lines


def handed_over(runs: list[Run]) -> str:
    """The share of runs with a hand-over to a person."""
    count = sum(any(row["kind"] == "escalate" for row in run) for run in runs)
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

    print("\nFailures that stick, all tools of a log (retry: same tool, and the call before failed)")
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
