"""From the spans of an episode's traces to the rows of an agent log: the one way, whatever wrote the traces.

One call of a model is often traced as several spans within each other: only a model's span without one below it counts.
Steps stand by start, then end. Traces of one session are one episode; what lies between two of them is the user's turn.
"""

import dataclasses
import heapq
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aljax.logs.spans import MESSAGE, Span
from aljax.logs.store import Trace
from aljax.logs.values import iso

SUCCESS = (
    "success", "succeeded", "task_success", "correct", "correctness", "pass", "passed", "resolved", "solved",
    "goal_accuracy", "task_completion", "reward", "utility",
)  # fmt: skip
"""Names of scores that say whether an episode succeeded, where nobody says which do."""
KINDS = ("clarify", "escalate", "reason", "ignore")
"""What a tool of some name may be said to be."""
_ENDINGS = re.compile(r".+\.(success|finish)-\d+")  # spans that only tell of the end of another one, which is called
_BEGINNING = re.compile(r"(?:tool\.)?(.+)\.start-\d+")
_LATE = 2**63
_SHARED = ("in_tokens", "out_tokens", "dollars", "model")
DEEPEST = 1_000
"""Levels of spans that are looked through, from one outwards."""


@dataclasses.dataclass(frozen=True)
class Assembly:
    """How spans become steps."""

    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of tools, by name: one of `KINDS`."""
    success: str | None = None
    """The name of the score that says whether an episode succeeded; none: any of `SUCCESS`."""
    logger: str | None = None
    """What whoever acted is called; none: as the traces say."""
    met: set[str] = dataclasses.field(default_factory=set)
    """Names of `kinds` that were called."""

    def rows(self, episode: str, traces: Sequence[Trace], skipped: Counter[str]) -> list[dict[str, Any]]:
        """An episode's rows, the end last.

        Args:
          episode: its name.
          traces: of it, in order.
          skipped: counts what is left out.

        Returns:
          Rows of an agent log; none where nothing was called.
        """
        steps: list[dict[str, Any]] = []
        parallel = 0
        ended: int | None = None
        for trace in traces:
            calls = self._calls(trace, skipped)
            if not calls:
                skipped["traces without a call of a tool or a model"] += 1
                continue
            began = min((span.start for span in trace.spans if span.start is not None), default=None)
            if steps and not (ended is not None and began is not None and began < ended):
                gap = _seconds("latency_s", ended, began)
                if steps[-1]["kind"] == "clarify":  # a question that ends a trace is answered between them
                    steps[-1] |= {field: value + steps[-1].get(field, 0.0) for field, value in gap.items()}
                else:
                    steps.append({"kind": "clarify", "name": "user_turn", "ok": True} | gap)
            together = _together(calls, trace.spans)
            last = max(
                (time for span in trace.spans for time in (span.start, span.end) if time is not None), default=None
            )
            for span, group in zip(calls, together, strict=True):
                step = self._step(span, last, skipped)
                if group:
                    step["parallel"] = parallel + group
                steps.append(step)
            parallel += max(together, default=0)
            ended = last
        if not steps:
            return []
        about = {"episode": episode} | _task(traces) | {"logger": self.logger or _logger(traces)}
        return [about | {"t": t} | step for t, step in enumerate(steps)] + [about | self._end(traces, skipped)]

    def _calls(self, trace: Trace, skipped: Counter[str]) -> list[Span]:
        """Spans that are steps, in order."""
        found, single = [], _single(trace.spans)
        for span in trace.spans:
            if span.kind is None or self.kind(span.kind, span.name) == "ignore":
                continue
            if "events" in trace.notes and span.id.startswith(MESSAGE):
                continue
            if span.name and _ENDINGS.fullmatch(span.name):
                skipped["spans that only tell of another one's end"] += 1
            elif span.kind == "llm" and span.id not in single:
                skipped["spans of a model around another one of the same call"] += 1
            else:
                found.append(single.get(span.id, span))
        found.sort(key=lambda span: (_or_late(span.start, span.end), _or_late(span.end), span.id))
        return found

    def kind(self, kind: str | None, name: str | None) -> str | None:
        """What a call is in the log.

        Args:
          kind: of its span.
          name: of the tool.

        Returns:
          Its kind; ``ignore``: it is none.
        """
        if kind == "tool" and name is not None and name in self.kinds:
            self.met.add(name)
            return "llm" if self.kinds[name] == "reason" else self.kinds[name]
        return "escalate" if kind == "tool" and name and name.startswith("transfer_to_") else kind

    def _step(self, span: Span, last: int | None, skipped: Counter[str]) -> dict[str, Any]:
        """A step's own fields."""
        name = "reason" if span.kind == "llm" else span.name or "unnamed"
        beginning = _BEGINNING.fullmatch(name)
        name = beginning[1] if beginning else name
        step: dict[str, Any] = {"kind": self.kind(span.kind, span.name), "name": name}
        if span.failed is not None:
            step["ok"] = not span.failed
        elif span.end is not None:
            step["ok"] = True
        if span.failed:
            step["error"] = span.error or "error"
        if span.start is not None and span.end is None and span.failed is None:
            skipped["ends that nobody saw"] += 1
            step |= _seconds("censored_s", span.start, last)
        elif span.start is not None and span.end is not None and span.end < span.start:
            skipped["durations below 0"] += 1
        step |= _seconds("latency_s", span.start, span.end)
        for field, value in (
            ("cost_usd", span.dollars), ("in_tokens", span.in_tokens), ("out_tokens", span.out_tokens),
            ("model", span.model), ("by", span.by),
        ):  # fmt: skip
            if value is not None:
                step[field] = value
        return step

    def _end(self, traces: Sequence[Trace], skipped: Counter[str]) -> dict[str, Any]:
        """What the last row says."""
        end: dict[str, Any] = {"kind": "end"}
        succeeded = self._succeeded(traces, skipped)
        if succeeded is not None:
            end["success"] = succeeded
        times = [
            time for trace in traces for span in trace.spans for time in (span.start, span.end) if time is not None
        ]
        said = [trace.notes["seconds"] for trace in traces if "seconds" in trace.notes]
        if len(said) == len(traces):
            end["duration_s"] = sum(map(float, said))
        elif times:
            end |= _seconds("duration_s", min(times), max(times))
        if times:
            end["started"] = iso(min(times))
        reasons = [trace.notes["reason"] for trace in traces if "reason" in trace.notes]
        return end | ({"reason": reasons[-1]} if reasons else {})

    def _succeeded(self, traces: Sequence[Trace], skipped: Counter[str]) -> bool | None:
        """Whether the last trace that has been judged was a success, on average of those who judged."""
        found: list[float] = []
        for trace in traces:
            names = (self.success,) if self.success is not None else SUCCESS
            judged = [value for name, value in trace.scores if name in names or name.lower() in names]
            if trace.scores and not judged:
                skipped["scores that are not about success"] += len(trace.scores)
            found = judged or found
        return sum(found) / len(found) >= 0.5 if found else None


def _or_late(*times: int | None) -> int:
    """The first time that is known; what has none comes last."""
    return next((time for time in times if time is not None), _LATE)


def _seconds(field: str, start: int | None, end: int | None) -> dict[str, float]:
    """How long it took, where that is known."""
    return {} if start is None or end is None or end < start else {field: (end - start) / 1e9}


def _ancestors(span: Span, spans: Mapping[str, Span]) -> Iterator[Span]:
    """What a span lies in, from the inside, `DEEPEST` levels far; circles end."""
    seen = {span.id}
    while span.parent is not None and span.parent not in seen and span.parent in spans and len(seen) <= DEEPEST:
        span = spans[span.parent]
        seen.add(span.id)
        yield span


def _single(spans: Sequence[Span]) -> dict[str, Span]:
    """Models' spans without another one below, by id, with what one around says that holds no other."""
    by_id = {span.id: span for span in spans}
    around: dict[str, str | None] = {}
    for span in spans:
        if span.kind == "llm":
            around[span.id] = next((outer.id for outer in _ancestors(span, by_id) if outer.kind == "llm"), None)
    held = Counter(around.values())
    found = {}
    for name in around:
        if name in held:
            continue
        span, seen, outer = by_id[name], set(), around[name]
        while outer is not None and held[outer] == 1 and outer not in seen:
            seen.add(outer)
            more = by_id[outer]
            span = span._replace(**{field: getattr(more, field) for field in _SHARED if getattr(span, field) is None})
            outer = around[outer]
        found[name] = span
    return found


def _together(calls: Sequence[Span], spans: Sequence[Span]) -> list[int]:
    """Which calls were under way at once, neither within the other: the number of their group, from 1; 0: none."""
    by_id = {span.id: span for span in spans}
    groups, number = [0] * len(calls), 0
    running: list[tuple[int, int]] = []  # a heap of ends, with the calls' numbers
    for n, span in enumerate(calls):
        if span.start is None or span.end is None:
            continue
        while running and running[0][0] <= span.start:
            heapq.heappop(running)
        if running:
            around = {outer.id for outer in _ancestors(span, by_id)}
            beside = (m for _, m in running if calls[m].id not in around and not _lies_in(calls[m], span, by_id))
            other = next(beside, None)
            if other is not None:
                if not groups[other]:
                    number += 1
                    groups[other] = number
                groups[n] = groups[other]
        heapq.heappush(running, (span.end, n))
    return groups


def _lies_in(span: Span, outer: Span, spans: Mapping[str, Span]) -> bool:
    return any(found.id == outer.id for found in _ancestors(span, spans))


def _task(traces: Sequence[Trace]) -> dict[str, str]:
    found = next((trace.notes["task"] for trace in traces if "task" in trace.notes), None)
    return {} if found is None else {"task": found}


def _logger(traces: Sequence[Trace]) -> str:
    """Who acted: as it is said, or the outermost agent, what ran, the model, and else an agent."""
    for note in ("logger", "root"):
        if note == "root":
            for trace in traces:
                agents = sorted((_or_late(span.start), span.id, span.agent) for span in trace.spans if span.agent)
                if agents:
                    return agents[0][2]
        found = next((trace.notes[note] for trace in traces if note in trace.notes), None)
        if found is not None:
            return found
    models = (span.model for trace in traces for span in trace.spans if span.model)
    return next(models, "agent")
