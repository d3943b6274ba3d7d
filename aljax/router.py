"""Which tool next: a trained policy as one file of data and this module, to drop beside an agent.

    router = Router.load("router.json")
    episode = router.start()
    choice = episode.choose(available=["search", "update", "ask"])     # .action .probabilities .allowed .reason
    episode.record("search", ok=False, seconds=2.1, dollars=0.004)

Standard library only, Python 3.10 or newer. ``python router.py --check`` replays the examples inside the file beside
it. Nothing in a router file is executed. Threads and asynchronous tasks may each run episodes of their own at once.
"""

import hashlib
import json
import logging
import math
import random
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from operator import mul
from pathlib import Path
from typing import Any, NamedTuple

FORMAT, VERSION = "aljax-router", 1
SLACK = 1e-5
"""How far beyond a bound still counts as on it, as in the environment (`aljax.constraint`)."""
LARGEST = 64 * 2**20
"""Bytes: a larger file is none of ours."""
_DIGEST = b'{"digest": "'
"""How a router file begins; then comes the SHA-256, in hexadecimal digits, of all that follows those."""
_MOST = 1e14
"""Of seconds, dollars and readings: what is larger is taken for unknown."""
_LOG = logging.getLogger("aljax.router")
_product = getattr(math, "sumprod", lambda a, b: sum(map(mul, a, b)))


class RouterError(ValueError):
    """A router file that cannot be used; one line that says which, where, and what was expected."""


class Choice(NamedTuple):
    """What the router says before a call."""

    action: str | None
    """The call to make; None where nothing that the router knows is available."""
    probabilities: dict[str, float]
    """The policy's, of the rows that could be chosen; none where a fallback chose."""
    allowed: list[str]
    """The calls worth offering: at least `margin` times as likely as the likeliest, and all that it does not know."""
    reason: str
    """In words."""
    fallback: bool
    """It was not the trained policy that chose."""


class Router:
    """A trained policy, ready to choose. Make it by `load`."""

    def __init__(self, data: Mapping[str, Any], log: Path | None, sample: bool, seed: int | None, where: str) -> None:
        self.data = data
        self.names: list[str] = [row["name"] for row in data["rows"]]
        self.index = {name: number for number, name in enumerate(self.names)}
        self.rows: list[Mapping[str, Any]] = list(data["rows"])
        self.margin = float(data["margin"])
        self.order = [self.index[name] for name in data["fallback"]["order"]]
        self.sample, self.log, self.where = sample, log, where
        self.errors = 0
        """Errors inside the router so far: each became a fallback."""
        self._random, self._lock = random.Random(seed), threading.Lock()
        network = data["network"]
        self.recurrent = network["architecture"] == "gru"
        self.layers = {name: (layer["kernel"], layer["bias"]) for name, layer in network["layers"].items()}
        self.hidden = [f"Dense_{number}" for number in range(len(network["hidden"]) - self.recurrent)]
        self.last = f"Dense_{len(self.hidden)}"

    @classmethod
    def load(
        cls, path: str | Path, *, log: str | Path | None = None, sample: bool = False, seed: int | None = None
    ) -> "Router":
        """Reads a router file.

        Args:
          path: of router.json.
          log: an agent log to which every step is appended.
          sample: draw among the allowed calls instead of taking the likeliest, so that logs can be learned from.
          seed: of the drawing.

        Returns:
          The router.

        Raises:
          RouterError: it cannot be read, is damaged or of another version.
        """
        where = str(path)
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                text = file.read(LARGEST + 1)
        except (OSError, ValueError) as error:
            raise RouterError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        begins = len(_DIGEST) + 64
        if len(text) > LARGEST or not text.startswith(_DIGEST):
            raise RouterError(f"{where}: no router file, expected one that aljax export wrote")
        if hashlib.sha256(text[begins:]).hexdigest().encode() != text[len(_DIGEST) : begins]:
            raise RouterError(f"{where}: changed since it was written (its digest does not match): export it again")
        try:
            data = json.loads(text, parse_constant=int)  # NaN and the like are none
            if (data["format"], data["version"]) != (FORMAT, VERSION):
                raise ValueError(f"format {data['format']!r}, version {data['version']!r}")
            router = cls(data, None if log is None else Path(log), sample, seed, where)
            router.replay(data["examples"][:1])
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            told = f"{type(error).__name__}: {str(error)[:120]}"
            raise RouterError(f"{where}: damaged, or of another version ({told})") from None
        return router

    def replay(self, examples: list[Any]) -> float:
        """Replays examples as the file has them.

        Args:
          examples: episodes: what was available, what JAX chose, its network's numbers, and what came of it.

        Returns:
          The largest difference between numbers, relative to the largest number of each step.

        Raises:
          ValueError: another row is chosen, or numbers differ by more than 10⁻⁶.
        """
        worst = 0.0
        for number, example in enumerate(examples):
            episode = Episode(self, "", None, example["readings"])
            for place, step in enumerate(example["steps"]):
                choice, found = episode._chosen_among(step["available"]), episode._book.logits()
                scale = max(1.0, *map(abs, step["logits"]))
                worst = max(worst, *(abs(a - b) / scale for a, b in zip(found, step["logits"])))
                likeliest = max(choice.probabilities, key=lambda name: choice.probabilities[name], default="")
                if likeliest != step["action"] or not worst <= 1e-6:
                    raise ValueError(f"example {number}, step {place}: {likeliest!r}, expected {step['action']!r}")
                episode._book.record(self.index[step["row"]], step["ok"], step["seconds"], step["dollars"])
        return worst

    def start(
        self, *, episode: str | None = None, task: str | None = None, readings: Mapping[str, float] | None = None
    ) -> "Episode":
        """Begins an episode.

        Args:
          episode: its name in the log; default: one of its own.
          task: which task it is, for the log.
          readings: what the agent reads of coordinates that are not known beforehand.

        Returns:
          The episode.
        """
        return Episode(self, episode or uuid.uuid4().hex, task, readings or {})

    def fell_back(self, what: str, error: Exception) -> None:
        """Counts and logs an error that became a fallback instead of reaching the agent.

        Args:
          what: failed.
          error: with which.
        """
        with self._lock:
            self.errors += 1
        _LOG.warning("%s: %s failed (%s: %s): fallback", self.where, what, type(error).__name__, str(error)[:120])

    def _append(self, row: Mapping[str, Any]) -> None:
        if self.log is not None:
            line = json.dumps({key: value for key, value in row.items() if value is not None}) + "\n"
            with self._lock, self.log.open("a", encoding="utf-8") as file:
                file.write(line)


class Episode:
    """One episode: the environment's bookkeeping from events alone, and the policy's choices."""

    def __init__(self, router: Router, name: str, task: str | None, readings: Mapping[str, float]) -> None:
        self.name, self._router, self._task, self._chosen = name, router, task, None
        self._steps, self._closed, self._book = 0, False, _Book(router, readings)

    @property
    def over(self) -> str:
        """Why training covers nothing of what may follow; empty: it does."""
        return self._book.over

    def choose(self, available: Iterable[str] | None = None, *, binding: bool = True) -> Choice:
        """What to call next.

        Args:
          available: names of the calls that the agent could make now; None: every row that the router knows.
          binding: the agent will make the call of `action`; else it picks among `allowed` by itself, and the log gets
            no probabilities.

        Returns:
          The choice; never an empty list of allowed calls where something is available. It never raises.
        """
        router = self._router
        names: list[str] = []
        try:
            names = list(router.names if available is None else dict.fromkeys(map(str, available)))
            choice = self._chosen_among(names)
        except Exception as error:  # never into the agent
            router.fell_back("choose", error)
            known = [name for name in names if name in router.index]
            choice = Choice(known[0] if known else None, {}, names, "fallback: an error in the router", True)
        self._chosen = choice if binding else None
        return choice

    def record(self, name: str, ok: bool, seconds: float | None = None, dollars: float | None = None) -> None:
        """What came of a call. It never raises.

        Args:
          name: of the call.
          ok: whether it worked.
          seconds: that it took, from the choice before it on; None: as long as such calls take on average.
          dollars: that it cost; None: as such calls cost on average.
        """
        try:
            chosen, self._chosen = self._chosen, None
            seconds, dollars = (None if x is None else max(x, 0.0) for x in (_number(seconds), _number(dollars)))
            name, ok = str(name), bool(ok)
            self._append_step({"name": name, "ok": ok, "latency_s": seconds, "cost_usd": dollars}, chosen)
            row = self._router.index.get(name, self._router.index.get("other"))
            if row is None:
                self._book.over = self._book.over or f"{name[:60]!r} was called, which the router does not know"
            else:
                self._book.record(row, ok, seconds, dollars)
        except Exception as error:  # never into the agent
            self._router.fell_back("record", error)
            self._book.over = self._book.over or "an error in the router"

    def end(self, success: bool | None = None, reason: str | None = None) -> None:
        """Says that the episode is over, which closes it in the log. It never raises.

        Args:
          success: whether the task was done; None: not known.
          reason: why it ended.
        """
        if self._closed:
            return
        self._closed = True
        try:
            row = {"kind": "end", "success": success, "duration_s": self._book.latency, "reason": reason}
            self._router._append(self._header() | row)
        except Exception as error:  # never into the agent
            self._router.fell_back("end", error)

    def _chosen_among(self, names: list[str]) -> Choice:
        router, book = self._router, self._book
        rows = [router.index[name] for name in names if name in router.index]
        unknown = [name for name in names if name not in router.index]
        legal = [row for row in rows if book.legal(row)]
        why = book.over or (f"{unknown[0][:60]!r} is not a row of the router" if unknown else "")
        if not names:
            return Choice(None, {}, [], "nothing is available", True)
        if why or not legal:
            # The file's order, rows whose latest call failed last: no rule of thumb retries where it has a choice.
            order = sorted(legal or rows, key=lambda row: (book.status[row] == 2, router.order.index(row)))
            why = why or "no row that is available may be called any more"
            return Choice(router.names[order[0]] if order else None, {}, list(names), f"fallback: {why}", True)
        logits = book.logits()
        highest = max(logits[row] for row in legal)
        weights = [math.exp(logits[row] - highest) for row in legal]
        total = sum(weights)
        best = weights.index(max(weights))
        kept = [place for place, weight in enumerate(weights) if weight >= router.margin * weights[best]]
        if router.sample:
            best = router._random.choices(kept, [weights[place] for place in kept])[0]
        probabilities = {router.names[row]: weight / total for row, weight in zip(legal, weights)}
        action = router.names[legal[best]]
        allowed = [router.names[legal[place]] for place in kept]
        shut = len(names) - len(allowed)
        reason = f"{action}: probability {probabilities[action]:.2f}" + (f", {shut} not worth offering" if shut else "")
        return Choice(action, probabilities, allowed, reason, False)

    def _header(self) -> dict[str, Any]:
        return {"episode": self.name, "task": self._task, "logger": "router"}

    def _append_step(self, step: dict[str, Any], chosen: Choice | None) -> None:
        router, name = self._router, step["name"]
        if router.log is None:
            return
        step |= {"t": self._steps, "kind": router.rows[router.index[name]]["kind"] if name in router.index else "tool"}
        if chosen is not None and chosen.action == name:
            drawn = chosen.allowed if router.sample and not chosen.fallback else ()
            kept = {key: chosen.probabilities[key] for key in drawn} or {name: 1.0}
            total = sum(kept.values())
            step["probabilities"] = {key: value / total for key, value in kept.items()}
            step["probability"] = step["probabilities"][name]
        router._append(self._header() | step)
        self._steps += 1


class _Book:
    """The environment's bookkeeping (`aljax.env`), the belief and the network's state, from events."""

    def __init__(self, router: Router, readings: Mapping[str, float]) -> None:
        data, rows = router.data, router.rows
        self.router, self.data, self.rows, self.over = router, data, rows, ""
        self.z: list[float] = []
        for place in data["coordinates"]:
            start = place.get("start", _number(readings.get(place["name"])))
            if start is None:
                self.over = f"the episode began without a reading of {place['name']!r}"
            self.z.append(start or 0.0)
        self.latency = self.money = 0.0
        self.time = 0
        self.status, self.calls = [0] * len(rows), [0] * len(rows)
        self.tokens = [row["rate_burst"] if "rate_limit" in row else 0.0 for row in rows]
        self.down, self.previous = [row.get("down", 0.0) for row in rows], -1
        self.state: list[float] = [0.0] * (data["network"]["hidden"][-1] if router.recurrent else 0)
        if router.recurrent:
            self.state = self._carried()

    def record(self, row: int, ok: bool, seconds: float | None, dollars: float | None) -> None:
        """One call; the steps are those of the environment's transition."""
        entry, failed = self.rows[row], not ok
        if seconds is None:
            seconds = _until(entry, self._mean_seconds(entry, failed))[1]
        if dollars is None:
            paid = entry["money"] if ok else entry.get("failure_money", entry["money"])
            dollars = float(paid + entry.get("money_growth", 0.0) * self.time)
        self._believe(row, failed, seconds)
        drift = [place["drift"] for place in self.data["coordinates"]]
        if failed:
            self.z = [z + d for z, d in zip(self.z, drift)]
        elif entry["ends"]:
            self.z = [0.0] * len(self.z) if entry["resolves"] else self.z
        else:
            self.z = [g * z + s + d for z, d, g, s in zip(self.z, drift, entry["gain"], entry["shift"])]
        self.latency, self.money, self.time = self.latency + seconds, self.money + dollars, self.time + 1
        self.status[row] = 2 if failed else 1
        self.calls[row] += 1
        for number, other in enumerate(self.rows):
            if "rate_limit" in other:
                left = self.tokens[number]
                if number == row and not _exceeds(1.0, left):
                    left -= 1.0
                self.tokens[number] = min(max(left, 0.0) + other["rate_limit"] * seconds, other["rate_burst"])
        self.previous = row
        self.over = self.over or (f"{entry['name']} ended the episode" if entry["ends"] and ok else self._past())
        if self.router.recurrent:
            self.state = self._carried()

    def _past(self) -> str:
        """Why training covers nothing that may follow; nothing if it does."""
        data = self.data
        if self.time >= data["horizon"]:
            return f"past the {data['horizon']} steps that training covered"
        for spent, what, unit in ((self.latency, "latency", "seconds"), (self.money, "money", "dollars")):
            limit = data.get(f"{what}_limit", math.inf)
            if limit < math.inf and not _exceeds(limit, spent):
                return f"past the {limit:g} {unit} that training covered"
        late = _exceeds(self.latency, data.get("latency_budget", math.inf))
        dear = _exceeds(self.money, data.get("money_budget", math.inf))
        return "" if late or dear or not data["auto_end"] or any(self.out()) else "the task is done"

    def legal(self, row: int) -> bool:
        """Whether a row may be chosen now."""
        entry = self.rows[row]
        return bool(entry["allowed"]) and self.calls[row] < entry.get("max_calls", math.inf)

    def features(self) -> list[float]:
        """The observation, and what is appended to it, in the order of the file."""
        return [number for name in self.data["features"] for number in _FEATURES[name](self, self.data)]

    def logits(self) -> list[float]:
        """The network's outputs."""
        seen = self.state if self.router.recurrent else self._hidden(self.features())
        return self._dense(self.router.last, seen)

    def _dense(self, name: str, given: list[float]) -> list[float]:
        kernel, bias = self.router.layers[name]
        if bias is None:
            return [_product(weights, given) for weights in kernel]
        return [_product(weights, given) + b for weights, b in zip(kernel, bias)]

    def _hidden(self, given: list[float]) -> list[float]:
        for name in self.router.hidden:
            given = [math.tanh(value) for value in self._dense(name, given)]
        return given

    def _carried(self) -> list[float]:
        """The gated units' state once the present observation is taken in (`aljax.recurrent`)."""
        units, state = len(self.state), self.state
        given = self._dense("GRU_inputs", self._hidden(self.features()))
        own = self._dense("GRU_state", state)
        found = []
        for unit, before in enumerate(state):
            reset = 0.5 * (1.0 + math.tanh(0.5 * (given[unit] + own[unit])))  # the logistic function
            kept = 0.5 * (1.0 + math.tanh(0.5 * (given[units + unit] + own[units + unit])))
            candidate = math.tanh(given[2 * units + unit] + reset * own[2 * units + unit])
            found.append(kept * before + (1.0 - kept) * candidate)
        return found

    def out(self) -> list[bool]:
        """Which coordinates are out of tolerance."""
        bounds = [(p.get("tolerance", math.inf), p.get("tolerance_low", math.inf)) for p in self.data["coordinates"]]
        return [_exceeds(z, high) or _exceeds(-z, low) for z, (high, low) in zip(self.z, bounds)]

    def _failure(self, row: int) -> float:
        """The probability that a call of a legal row fails before any time-out, if what is behind it is up."""
        entry, found = self.rows[row], self.rows[row]["failure"]
        if self.status[row]:
            found = entry.get("after_ok" if self.status[row] == 1 else "after_failed", found)
        if any(needed and out for needed, out in zip(entry.get("requires", ()), self.out())):
            found = 1.0
        if "rate_limit" in entry and _exceeds(1.0, self.tokens[row]):
            found = 1.0
        return float(found)

    def _mean_seconds(self, entry: Mapping[str, Any], failed: bool) -> float:
        mean = entry.get("failure_latency", entry["latency"]) if failed else entry["latency"]
        return float(mean + entry.get("latency_growth", 0.0) * self.time)

    def _believe(self, row: int, failed: bool, seconds: float) -> None:
        """Which rows are down, by the exact filter (`aljax.belief`), before the clocks move."""
        entry = self.rows[row]
        failure = self._failure(row) if self.legal(row) else 1.0
        if_up, if_down = failure, 1.0
        if "timeout" in entry and not _exceeds(entry["timeout"], seconds):
            failing, working = (_until(entry, self._mean_seconds(entry, how), late=True)[0] for how in (True, False))
            if_up, if_down = failure * failing + (1.0 - failure) * working, failing
        down, up = self.down[row] * if_down, (1.0 - self.down[row]) * if_up
        if not failed:
            self.down[row] = 0.0
        elif down + up > 0.0:
            self.down[row] = down / (down + up)
        for number, other in enumerate(self.rows):
            if "mean_uptime" in other:
                rate = 1.0 / other["mean_uptime"] + 1.0 / max(other["mean_downtime"], 1e-9)
                self.down[number] = other["down"] + (self.down[number] - other["down"]) * math.exp(-rate * seconds)


_FEATURES: dict[str, Callable[["_Book", Mapping[str, Any]], list[float]]] = {
    "task": lambda book, data: [z / place["scale"] for z, place in zip(book.z, data["coordinates"])],
    "latency": lambda book, data: [book.latency / data["latency_scale"]],
    "money": lambda book, data: [book.money / data["money_scale"]],
    "out": lambda book, _: [float(out) for out in book.out()],
    "time": lambda book, data: [book.time / data["horizon"]],
    "failed": lambda book, _: [float(status == 2) for status in book.status],
    "worked": lambda book, _: [float(status == 1) for status in book.status],
    "calls": lambda book, _: [n / row.get("max_calls", math.inf) for n, row in zip(book.calls, book.rows)],
    "tokens": lambda book, _: [n / row.get("rate_burst", math.inf) for n, row in zip(book.tokens, book.rows)],
    "up": lambda book, _: [1.0 - down for down in book.down],
    "last": lambda book, _: [float(number == book.previous) for number in range(len(book.rows))],
}
"""The parts of what the network is shown (`aljax.observation`, `aljax.inputs`)."""


def _exceeds(x: float, c: float) -> bool:
    return c < math.inf and x > c + SLACK * max(1.0, abs(c))


def _beyond(k: float) -> float:
    """The probability that a standard normal number is above k."""
    return 0.5 * math.erfc(k / math.sqrt(2.0))


def _until(row: Mapping[str, Any], mean: float, *, late: bool = False) -> tuple[float, float]:
    """The probability that calls are cut off by their time-out (or last just until it), and their expected seconds.

    See `aljax.calls`.
    """
    end, spread = row.get("timeout", math.inf), row.get("latency_spread", 0.0)
    if end == math.inf:
        return 0.0, mean
    if spread <= 0.0 or mean <= 0.0:
        return float(not _exceeds(end, mean) if late else _exceeds(mean, end)), min(mean, end)
    k = math.log(end / mean) / spread + spread / 2
    return _beyond(k), mean * _beyond(spread - k) + end * _beyond(k)


def _number(value: Any) -> float | None:
    """A number of seconds, dollars or the like; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _MOST:
        return None
    return float(value)


def _main(arguments: list[str]) -> int:
    """``python router.py --check [FILE]``: replays the file's examples, which say what JAX chose."""
    if arguments[:1] != ["--check"] or len(arguments) > 2:
        sys.exit("usage: python router.py --check [router.json]")
    path = arguments[1] if len(arguments) > 1 else Path(__file__).with_name("router.json")
    try:
        router = Router.load(path)
        worst = router.replay(router.data["examples"])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    steps = sum(len(example["steps"]) for example in router.data["examples"])
    print(f"{path}: {steps} choices as in training, numbers within {worst:.1g}")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
