"""The agent log, aljax's own form: JSON lines, a row a step and one of kind ``end`` after the last.

A step has ``episode``, ``logger``, ``t``, ``kind``, ``name`` and, where known, ``task``, ``ok``, ``latency_s``,
``cost_usd``, ``in_tokens``, ``out_tokens`` and the ``probability`` with which the logger chose it; its end has, where
known, ``success`` and ``duration_s``. See docs/reference/log_files.md.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aljax.errors import UserError, short
from aljax.logs.episode import LoggedEpisode
from aljax.logs.fields import a_cost, expected, is_cost, is_number, shown
from aljax.logs.lines import Lines

CERTAIN = 1 + 1e-6
"""A probability so little above 1 was rounded, and stands for 1."""
LEAST = 2.0**-126
"""Smaller probabilities become 0 in single precision, on devices that have no denormal numbers."""


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether a file that begins with this row is an agent log.

    Args:
      row: the file's first.

    Returns:
      Whether it has what every row of an agent log has.
    """
    return {"episode", "logger", "kind"} <= row.keys()


def read(lines: Lines, on_progress: Callable[[int], None]) -> Iterator[LoggedEpisode]:
    """Reads a file's episodes as they end.

    Args:
      lines: the file's rows.
      on_progress: called now and then with the row reached.

    Yields:
      See `aljax.logs.readers.read_episodes`.

    Raises:
      UserError: one line with file and row. See there.
    """
    steps: dict[str, list[dict[str, Any]]] = {}
    rows: dict[str, list[int]] = {}
    where, number = str(lines), 0
    for number, row in lines:
        if number % 10_000 == 0:
            on_progress(number)

        def refuse(text: str, number: int = number) -> UserError:
            return UserError(f"{where}, row {number}: {text}")

        for field in ("episode", "logger", "kind"):
            if not (isinstance(row.get(field), str) and row[field]):
                raise refuse(expected(row, field, "text"))
        if row.get("task") is not None and not (isinstance(row["task"], str) and row["task"]):
            raise refuse(expected(row, "task", "text, or null"))
        name: str = row["episode"]
        earlier = steps.setdefault(name, [])
        for field in ("logger", "task"):
            if earlier and row.get(field) != earlier[0].get(field):
                raise refuse(
                    f"{field} {shown(row.get(field))}, but {shown(earlier[0].get(field))} earlier in episode "
                    f"{short(name)}"
                )
        for field in ("latency_s", "cost_usd", "duration_s", "in_tokens", "out_tokens"):
            if row.get(field) is not None and not is_cost(row[field]):
                raise refuse(expected(row, field, a_cost(row[field])))
        if row["kind"] == "end":
            if row.get("success") is not None and not isinstance(row["success"], bool):
                raise refuse(expected(row, "success", "true or false"))
            places = [*rows.pop(name, []), number]
            yield LoggedEpisode(where, name, row.get("task") or name, row["logger"], steps.pop(name), row, places)
            continue
        if not isinstance(row.get("name"), str):
            raise refuse(expected(row, "name", "text"))
        if row.get("ok") is not None and not isinstance(row["ok"], bool):
            raise refuse(expected(row, "ok", "true or false"))
        if row.get("t") != len(earlier) or isinstance(row["t"], bool):
            raise refuse(expected(row, "t", f"{len(earlier)}, the next step of episode {short(name)}"))
        if row.get("probability") is not None:
            if not (is_number(row["probability"]) and 0 < row["probability"] <= CERTAIN):
                raise refuse(expected(row, "probability", "a number above 0 and at most 1"))
            if row["probability"] < LEAST:
                raise refuse(expected(row, "probability", f"at least {LEAST:.2g}, the least in single precision"))
        earlier.append(row)
        rows.setdefault(name, []).append(number)
    for name, found in rows.items():
        raise UserError(f"{where}, row {found[-1]}: episode {short(name)} is cut short: no row of kind 'end' follows")
    if not number:
        raise UserError(f"{where}: empty, expected a row of JSON a step")
