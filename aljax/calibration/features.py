"""What a logger's next choice is told by: a few numbers of every row, made alike of logged runs and of simulated ones.

Rows with a coordinate (tools, turns of the user's) have `ROW` features, each of its own past and need; what ends the
run has `END` features of the whole. Agents have read the task and we have not, so they are taken to know what it
needs, and to set out for so many calls of each row as some run of the log did.
"""

from typing import Any, NamedTuple

ROW = (
    "needed", "planned", "calls planned", "worked just now", "failed just now", "failed before", "called before",
    "planned no more", "surplus", "planned later", "failed just now and planned", "company", "usually next",
)  # fmt: skip
"""Of a row."""
END = (
    "something needed", "something planned", "calls planned", "steps", "failed just now", "failures", "first step",
    "just asked", "surplus", "steps and nothing planned", "usually next",
)  # fmt: skip
"""Of what ends the run."""


class Standing(NamedTuple):
    """Where runs stand: d rows, with any trailing axes."""

    left: Any
    """Calls that the task still needs; below 0: were made beyond. ``[d]``"""
    plan: Any
    """Successful calls that the agent sets out for. ``[d]``"""
    calls: Any
    """Calls so far. ``[d]``"""
    done: Any
    """Those that worked. ``[d]``"""
    status: Any
    """Whether the latest call failed. 0 or 1 ``[d]``"""
    last: Any
    """1 at the row that was called last. ``[d]``"""
    failed: Any
    """Whether the latest step failed. 0 or 1, scalar"""
    failures: Any
    """Failed steps so far. Scalar"""
    time: Any
    """Steps so far. Scalar"""
    asked: Any
    """The latest step was a turn of the user's. 0 or 1, scalar"""
    usual: Any
    """The logarithm of how often each row comes after the latest step. ``[A]``"""


def row_features(numbers: Any, at: Standing, company: Any) -> Any:
    """`ROW` features.

    Args:
      numbers: NumPy, or JAX's form of it.
      at: where the runs stand.
      company: how often each row is called in runs in which another one is: from the other to the row. ``[d, d]``

    Returns:
      ``[ROW, d]`` with the trailing axes.
    """
    needed, more = (at.left > 0.5) * 1.0, at.plan - at.done
    planned = (more >= 0.5) * 1.0
    known = ((at.plan >= 0.5) | (at.calls > 0.5)) * 1.0
    met = numbers.tensordot(company, known, axes=(1, 0)) / numbers.maximum(known.sum(0), 1.0)
    return numbers.stack([
        needed, planned, numbers.clip(more, 0.0, 4.0) / 2.0, at.last * (1 - at.status), at.last * at.status,
        (1 - at.last) * at.status, (at.calls > 0.5) * 1.0, ((more < 0.5) & (at.plan >= 0.5)) * 1.0,
        numbers.clip(-more, 0.0, 4.0) / 2.0, planned * numbers.log1p(at.time), at.last * at.status * planned,
        numbers.log(met + 0.02), at.usual[: len(needed)],
    ])  # fmt: skip


def end_features(numbers: Any, at: Standing, rows: int) -> Any:
    """`END` features of each row that ends the run.

    Args:
      numbers: NumPy, or JAX's form of it.
      at: where the runs stand.
      rows: d; what comes after them ends runs.

    Returns:
      ``[END, A − d]`` with the trailing axes.
    """
    more = at.plan - at.done
    left, surplus = numbers.clip(more, 0.0, None).sum(0), numbers.clip(-more, 0.0, None).sum(0)
    something, steps = ((more >= 0.5).sum(0) > 0) * 1.0, numbers.log1p(at.time)
    alike = [
        ((at.left > 0.5).sum(0) > 0) * 1.0, something, numbers.clip(left, 0.0, 6.0) / 3.0, steps, at.failed,
        numbers.clip(at.failures, 0.0, 4.0) / 2.0, (at.time < 0.5) * 1.0, at.asked,
        numbers.clip(surplus, 0.0, 6.0) / 3.0, (1 - something) * steps,
    ]  # fmt: skip
    ends = at.usual[rows:]
    return numbers.stack([*(numbers.broadcast_to(x, ends.shape) for x in alike), ends])
