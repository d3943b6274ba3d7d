"""Which tool next: a trained policy as one file of data and this module, to drop beside an agent.

    router = Router.load("router.json")
    episode = router.start()
    choice = episode.choose(available=["search", "update", "ask"])     # .action .probabilities .allowed .reason
    episode.record("search", ok=False, seconds=2.1, dollars=0.004)

Standard library only, Python 3.10 or newer. ``python router.py --check`` replays the examples inside the file beside
it. Nothing in a router file is executed. Threads and asynchronous tasks may each run episodes of their own at once.
"""

import contextlib
import hashlib
import json
import logging
import math
import random
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import mul
from pathlib import Path
from typing import Any, NamedTuple

FORMAT, VERSION = "aljax-router", 1
SLACK = 1e-5  #: How far beyond a bound still counts as on it, as in the environment (`aljax.constraint`).
LARGEST = 64 * 2**20  #: Bytes: a larger file is none of ours.
_DIGEST = b'{"digest": "'  # begins a router file; then comes the SHA-256, in hexadecimal digits, of all that follows
_MOST = 1e14  # of seconds, dollars and readings: what is larger is taken for unknown
_LOG = logging.getLogger("aljax.router")
_product = getattr(math, "sumprod", lambda a, b: sum(map(mul, a, b)))


class RouterError(ValueError):
    """A router file that cannot be used; one line that says which, where, and what was expected."""


class Choice(NamedTuple):
    """What the router says before a call."""

    action: str | None  #: The call to make; None where nothing that the router knows may be called.
    probabilities: dict[str, float]  #: The policy's, of the rows that could be chosen; none where a fallback chose.
    allowed: list[str]  #: Worth offering: `margin` times as likely as the likeliest; in a fallback all but the barred.
    reason: str  #: In words.
    fallback: bool  #: It was not the trained policy that chose.
    barred: Mapping[str, str] = {}  #: Calls that may not be made now, and why: the rule, in words.


class Router:
    """A trained policy, ready to choose. Make it by `load`."""

    def __init__(self, data: Mapping[str, Any], log: Path | None, sample: bool, seed: int | None, where: str) -> None:
        self.data, self.margin = data, float(data["margin"])
        self.names: list[str] = [row["name"] for row in data["rows"]]
        self.index = {name: number for number, name in enumerate(self.names)}
        self.rows, self.rules = list(data["rows"]), list(data.get("rules", []))
        self.order = [self.index[name] for name in data["fallback"]["order"]]
        self.sample, self.log, self.where = sample, log, where
        self.errors = 0  #: Errors inside the router so far: each became a fallback.
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
                apart = [abs(a - b) for a, b in zip(found, step["logits"])]
                worst = max(worst, max(apart) / max(1.0, *map(abs, step["logits"])))
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

    @contextlib.contextmanager
    def harmless(self, what: str) -> Iterator[None]:
        """Keeps errors of its block from the agent: they are counted and logged, and what follows is the fallback.

        Args:
          what: the block does, for the log.
        """
        try:
            yield
        except Exception as error:
            with self._lock:
                self.errors += 1
            _LOG.warning("%s: %s failed (%s: %.120s): fallback", self.where, what, type(error).__name__, error)


class Episode:
    """One episode: the environment's bookkeeping from events alone, and the policy's choices."""

    def __init__(self, router: Router, name: str, task: str | None, readings: Mapping[str, float]) -> None:
        self.name, self._router, self._task, self._chosen = name, router, task, None
        self._steps, self._closed, self._book = 0, False, _Book(router, readings)

    @property
    def over(self) -> str:
        """Why training covers nothing of what may follow; empty: it does."""
        return self._book.over

    @property
    def barred(self) -> dict[str, str]:
        """Rows that may not be called now, and why: the rule, in words."""
        return self._book.barred()

    def choose(self, available: Iterable[str] | None = None, *, binding: bool = True) -> Choice:
        """What to call next.

        Args:
          available: names of the calls that the agent could make now; None: every row that the router knows.
          binding: the agent will make the call of `action`; else it picks among `allowed` by itself, and the log gets
            no probabilities.

        Returns:
          The choice; never an empty list of allowed calls where something is available. It never raises.
        """
        router, names, choice = self._router, list[str](), None
        with router.harmless("choose"):
            names = list(router.names if available is None else dict.fromkeys(map(str, available)))
            choice = self._chosen_among(names)
        if choice is None:
            choice = Choice(None, {}, names, "fallback: an error in the router", True)
            with contextlib.suppress(Exception):  # rules are kept all the same
                choice = self._fallback(names, "an error in the router")
        told = (f"; {name} is barred: {why}" for name, why in choice.barred.items() if name in names)
        choice = choice._replace(reason="".join([choice.reason, *told]))
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
        with self._router.harmless("record"):
            chosen, self._chosen = self._chosen, None
            seconds, dollars = (None if x is None else max(x, 0.0) for x in (_number(seconds), _number(dollars)))
            name, ok = str(name), bool(ok)
            row = self._router.index.get(name, self._router.index.get("other"))
            kind = "tool" if name not in self._router.index else self._router.rows[self._router.index[name]]["kind"]
            step: dict[str, Any] = {"t": self._steps, "kind": kind, "name": name, "ok": ok}
            if chosen is not None and chosen.action == name:
                drawn = chosen.allowed if self._router.sample and not chosen.fallback else ()
                kept = {key: chosen.probabilities[key] for key in drawn} or {name: 1.0}
                step["probabilities"] = {key: value / sum(kept.values()) for key, value in kept.items()}
                step["probability"] = step["probabilities"][name]
            self._append(step | {"latency_s": seconds, "cost_usd": dollars})
            self._steps += 1
            if row is not None:
                self._book.record(row, ok, seconds, dollars)
                return
            self._book.occur(-1, ok, seconds or 0.0)
            self._book.over = self._book.over or f"{name[:60]!r} was called, which the router does not know"
        self._book.over = self._book.over or "an error in the router"

    def end(self, success: bool | None = None, reason: str | None = None) -> None:
        """Says that the episode is over, which closes it in the log. It never raises.

        Args:
          success: whether the task was done; None: not known.
          reason: why it ended.
        """
        if not self._closed:
            self._closed = True
            self._append({"kind": "end", "success": success, "duration_s": self._book.latency, "reason": reason})

    def _fallback(self, names: list[str], why: str) -> Choice:
        router, book, barred = self._router, self._book, self._book.barred()
        offered = [name for name in names if name not in barred]
        # The file's order, rows whose latest call failed last: no rule of thumb retries where it has a choice.
        rows = [router.index[name] for name in offered if name in router.index]
        rows.sort(key=lambda row: (book.status[row] == 2, router.order.index(row)))
        action = router.names[rows[0]] if rows else None
        return Choice(action, {}, offered or names, f"fallback: {why}", True, barred)

    def _chosen_among(self, names: list[str]) -> Choice:
        router, book, barred = self._router, self._book, self._book.barred()
        unknown = [name for name in names if name not in router.index]
        legal = [router.index[name] for name in names if name in router.index and name not in barred]
        why = book.over or (f"{unknown[0][:60]!r} is not a row of the router" if unknown else "")
        if why or not legal:
            nothing = "no row that is available may be called any more" if names else "nothing is available"
            return self._fallback(names, why or nothing)
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
        shut = f", {len(legal) - len(kept)} not worth offering" if len(kept) < len(legal) else ""
        reason = f"{action}: probability {probabilities[action]:.2f}{shut}"
        return Choice(action, probabilities, allowed, reason, False, barred)

    def _append(self, row: Mapping[str, Any]) -> None:
        if self._router.log is not None:
            with self._router.harmless("log"), self._router._lock, self._router.log.open("a", encoding="utf-8") as file:
                row = {"episode": self.name, "task": self._task, "logger": "router", **row}
                file.write(json.dumps({key: value for key, value in row.items() if value is not None}) + "\n")


class _Book:
    """The environment's bookkeeping (`aljax.env`), the belief and the network's state, from events."""

    def __init__(self, router: Router, readings: Mapping[str, float]) -> None:
        data, rows = router.data, router.rows
        self.router, self.data, self.rows, self.rules, self.over = router, data, rows, router.rules, ""
        starts = {p["name"]: p.get("start", _number(readings.get(p["name"]))) for p in data["coordinates"]}
        for name in [name for name, start in starts.items() if start is None][:1]:
            self.over = f"the episode began without a reading of {name!r}"
        self.z: list[float] = [start or 0.0 for start in starts.values()]
        self.latency, self.money, self.time = 0.0, 0.0, 0
        self.status, self.calls = [0] * len(rows), [0] * len(rows)
        self.tokens = [row.get("rate_burst", 0.0) for row in rows]
        self.down, self.previous = [row.get("down", 0.0) for row in rows], -1
        self.kept, self.left = [0] * len(self.rules), [0.0] * len(self.rules)
        self.state: list[float] = [0.0] * (data["network"]["hidden"][-1] if router.recurrent else 0)
        if router.recurrent:
            self.state = self._carried()

    def record(self, row: int, ok: bool, seconds: float | None, dollars: float | None) -> None:
        """One call; the steps are those of the environment's transition."""
        entry, failed = self.rows[row], not ok
        seconds = _until(entry, self._mean_seconds(entry, failed))[1] if seconds is None else seconds
        paid = entry["money"] if ok else entry.get("failure_money", entry["money"])
        dollars = float(paid + entry.get("money_growth", 0.0) * self.time) if dollars is None else dollars
        self._believe(row, failed, seconds)
        self.occur(row, ok, seconds)
        if ok and entry["ends"]:
            self.z = [0.0] * len(self.z) if entry["resolves"] else self.z
        else:
            moved = [z if failed else g * z + s for z, g, s in zip(self.z, entry["gain"], entry["shift"])]
            self.z = [z + place["drift"] for z, place in zip(moved, self.data["coordinates"])]
        self.latency, self.money, self.time = self.latency + seconds, self.money + dollars, self.time + 1
        self.status[row], self.calls[row], self.previous = 2 if failed else 1, self.calls[row] + 1, row
        for number, other in enumerate(self.rows):
            if "rate_limit" in other:
                left = self.tokens[number] - (number == row and not _exceeds(1.0, self.tokens[number]))
                self.tokens[number] = min(max(left, 0.0) + other["rate_limit"] * seconds, other["rate_burst"])
        self.over = self.over or (f"{entry['name']} ended the episode" if entry["ends"] and ok else self._past())
        if self.router.recurrent:
            self.state = self._carried()

    def _past(self) -> str:
        """Why training covers nothing that may follow; nothing if it does."""
        data, spent = self.data, {"latency": (self.latency, "seconds"), "money": (self.money, "dollars")}
        if self.time >= data["horizon"]:
            return f"past the {data['horizon']} steps that training covered"
        for what, (much, unit) in spent.items():
            limit = data.get(f"{what}_limit", math.inf)
            if limit < math.inf and not _exceeds(limit, much):
                return f"past the {limit:g} {unit} that training covered"
        beyond = any(_exceeds(much, data.get(f"{what}_budget", math.inf)) for what, (much, _) in spent.items())
        owed = any(rule["hard"] and not rule["accepting"][state] for rule, state in zip(self.rules, self.kept))
        return "" if beyond or owed or not data["auto_end"] or any(self.out()) else "the task is done"

    def occur(self, row: int, ok: bool, seconds: float) -> None:
        """Moves the rules (`aljax.rules.playing`); row −1 is none of the router's."""
        for number, rule in enumerate(self.rules):
            symbol = rule["symbols"][row] if ok or rule["on_call"] else 0
            self.kept[number] = rule["moves"][self.kept[number]][symbol]
            if "seconds" in rule:  # a clock, which the rule's row, 2, starts anew
                if symbol == 2 and self.left[number] > SLACK:
                    self.kept[number] = 1
                self.left[number] = rule["seconds"] if symbol == 2 else max(self.left[number] - seconds, 0.0)

    def barred(self) -> dict[str, str]:
        """Rows that may not be chosen now, and why. Those may after which all hard rules can be kept in the steps that
        remain; if there are none any more, those that break no rule (`aljax.rules.playing.legal`).
        """
        may = [row["allowed"] and calls < row.get("max_calls", math.inf) for row, calls in zip(self.rows, self.calls)]
        whys = ["" if free else "it may not be called any more" for free in may]
        if "joint" in self.data:
            bits = -(not any(rule["hard"] and rule["broken"][state] for rule, state in zip(self.rules, self.kept)))
            for parts, table in self.data["joint"]["tables"]:
                number = sum(k * min(self.kept[i] if i >= 0 else self.calls[-1 - i], most) for k, i, most in parts)
                bits &= table[max(0, min(self.data["horizon"] - self.time, len(table)) - 1)][number]
            harm, far = [why or self._rule(row) for row, why in enumerate(whys)], "after it not all rules could be kept"
            found = [why or far * (not bits >> bit & 1) for why, bit in zip(harm, self.data["joint"]["classes"])]
            whys = next((each for each in (found, harm) if not all(each)), whys)
        return {name: why for name, why in zip(self.router.names, whys) if why}

    def _rule(self, row: int) -> str:
        """The hard rule that a call of a row would break now, in words; nothing: there is none."""
        for rule, state, left in zip(self.rules, self.kept, self.left):
            barred = rule["bars"][self.rows[row]["ends"]][state][rule["symbols"][row]]
            if barred and ("seconds" not in rule or left > SLACK):
                return f"{rule['says']} (rule {rule['name']})"
        return ""

    def features(self) -> list[float]:
        """The observation, and what is appended to it, in the order of the file."""
        return [number for name in self.data["features"] for number in _FEATURES[name](self, self.data)]

    def logits(self) -> list[float]:
        """The network's outputs."""
        return self._dense(self.router.last, self.state if self.router.recurrent else self._hidden(self.features()))

    def _dense(self, name: str, given: list[float]) -> list[float]:
        return [_product(weights, given) + bias for weights, bias in zip(*self.router.layers[name])]

    def _hidden(self, given: list[float]) -> list[float]:
        for name in self.router.hidden:
            given = [math.tanh(value) for value in self._dense(name, given)]
        return given

    def _carried(self) -> list[float]:
        """The gated units' state once the present observation is taken in (`aljax.networks.recurrent`)."""
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
        entry, after = self.rows[row], ("failure", "after_ok", "after_failed")[self.status[row]]
        lacking = any(needed and out for needed, out in zip(entry.get("requires", ()), self.out()))
        if lacking or ("rate_limit" in entry and _exceeds(1.0, self.tokens[row])):
            return 1.0
        return float(entry.get(after, entry["failure"]))

    def _mean_seconds(self, entry: Mapping[str, Any], failed: bool) -> float:
        mean = entry.get("failure_latency", entry["latency"]) if failed else entry["latency"]
        return float(mean + entry.get("latency_growth", 0.0) * self.time)

    def _believe(self, row: int, failed: bool, seconds: float) -> None:
        """Which rows are down, by the exact filter (`aljax.networks.belief`), before the clocks move."""
        entry, if_down = self.rows[row], 1.0
        if_up = failure = 1.0 if "mean_uptime" in entry and entry["name"] in self.barred() else self._failure(row)
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
    "rules": lambda book, _: [float(s == k) for r, s in zip(book.rules, book.kept) for k in range(len(r["moves"]))],
    "cooldowns": lambda book, _: [left / r["seconds"] for r, left in zip(book.rules, book.left) if "seconds" in r],
    "up": lambda book, _: [1.0 - down for down in book.down],
    "last": lambda book, _: [float(number == book.previous) for number in range(len(book.rows))],
}
"""The parts of what the network is shown (`aljax.observation`, `aljax.networks.inputs`)."""


def _exceeds(x: float, c: float) -> bool:
    return c < math.inf and x > c + SLACK * max(1.0, abs(c))


def _beyond(k: float) -> float:
    """The probability that a standard normal number is above k."""
    return 0.5 * math.erfc(k / math.sqrt(2.0))


def _until(row: Mapping[str, Any], mean: float, *, late: bool = False) -> tuple[float, float]:
    """How likely calls are cut off by their time-out (or last just until it), and expected seconds (`aljax.calls`)."""
    end, spread = row.get("timeout", math.inf), row.get("latency_spread", 0.0)
    if end == math.inf:
        return 0.0, mean
    if spread <= 0.0 or mean <= 0.0:
        return float(not _exceeds(end, mean) if late else _exceeds(mean, end)), min(mean, end)
    k = math.log(end / mean) / spread + spread / 2
    return _beyond(k), mean * _beyond(spread - k) + end * _beyond(k)


def _number(value: Any) -> float | None:
    """A number of seconds, dollars or the like; None where it is none."""
    is_one = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MOST
    return float(value) if is_one else None


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
