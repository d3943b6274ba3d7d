"""What an agent log holds, counted as it goes by."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

TOTALS = {"in_tokens": "tokens in", "out_tokens": "tokens out", "cost_usd": "dollars", "latency_s": "seconds in calls"}
"""Fields of steps that are added up, and how they are called."""


@dataclasses.dataclass
class Called:
    """What became of one row's calls: a tool, the model, the user."""

    calls: int = 0
    failed: int = 0
    unknown: int = 0
    """Calls of which nobody knows whether they worked."""
    totals: Counter[str] = dataclasses.field(default_factory=Counter)
    """Of `TOTALS`, over the calls that say."""
    said: Counter[str] = dataclasses.field(default_factory=Counter)
    """How many calls say."""
    errors: Counter[str] = dataclasses.field(default_factory=Counter)
    """Failures by class."""

    def add(self, step: Mapping[str, Any]) -> None:
        """Counts a step."""
        self.calls += 1
        if step.get("ok") is None:
            self.unknown += 1
        elif not step["ok"]:
            self.failed += 1
            self.errors[step.get("error") or "error"] += 1
        for field in TOTALS:
            if step.get(field) is not None:
                self.totals[field] += step[field]
                self.said[field] += 1

    def to_json(self) -> dict[str, Any]:
        """As tables and numbers; what no call says is left out."""
        return {
            "calls": self.calls, "failed": self.failed, "unknown": self.unknown, "errors": dict(self.errors),
            **{field: {"total": self.totals[field], "calls": self.said[field]} for field in TOTALS if self.said[field]},
        }  # fmt: skip


@dataclasses.dataclass
class Summary:
    """What was imported."""

    episodes: int = 0
    succeeded: int = 0
    judged: int = 0
    """Episodes of which it is known whether they succeeded."""
    named: set[str] = dataclasses.field(default_factory=set)
    """Tasks that have a name."""
    alone: int = 0
    """Episodes whose task is their own."""
    seconds: float = 0.0
    """Of whole episodes, where known."""
    rows: dict[tuple[str, str], Called] = dataclasses.field(default_factory=dict)
    """By kind and name."""
    formats: dict[str, str] = dataclasses.field(default_factory=dict)
    """By file."""
    spans: int = 0
    skipped: Counter[str] = dataclasses.field(default_factory=Counter)
    """How often, by reason."""

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Counts an episode.

        Args:
          rows: of the log, the end last.
        """
        end = rows[-1]
        self.episodes += 1
        if end.get("task") is None:
            self.alone += 1
        else:
            self.named.add(end["task"])
        self.judged += end.get("success") is not None
        self.succeeded += end.get("success") is True
        self.seconds += end.get("duration_s") or 0.0
        for step in rows[:-1]:
            key = (step["kind"], step["name"])
            if key not in self.rows:
                self.rows[key] = Called()
            self.rows[key].add(step)

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return len(self.named) + self.alone

    def whole(self) -> Called:
        """All calls together."""
        whole = Called()
        for called in self.rows.values():
            whole.calls, whole.failed = whole.calls + called.calls, whole.failed + called.failed
            whole.unknown += called.unknown
            for counter, more in (
                (whole.totals, called.totals), (whole.said, called.said), (whole.errors, called.errors),
            ):  # fmt: skip
                counter.update(more)
        return whole

    def to_json(self) -> dict[str, Any]:
        """For ``--json``: numbers, and what was left out."""
        return {
            "files": self.formats, "spans": self.spans, "episodes": self.episodes, "tasks": self.tasks,
            "success": {"known": self.judged, "succeeded": self.succeeded}, "seconds": self.seconds,
            "all": self.whole().to_json(),
            "rows": [{"kind": key[0], "name": key[1]} | called.to_json() for key, called in sorted(self.rows.items())],
            "skipped": dict(self.skipped),
        }  # fmt: skip
