"""What in a log is out of all proportion: a wrong unit or a slipped digit, not a heavy tail."""

from collections.abc import Iterator

import numpy as np

from aljax.env import COMPONENTS
from aljax.offline.data import Episodes

_TIMES = 1_000.0
"""So many times the 99th percentile, which heavy tails hardly ever reach: of 10,000 log-normal seconds with σ = 2 the
largest is some 20 times that, of as many Pareto ones without a mean (α = 1) some 100 times."""
_MOST = 0.5
"""What is so far off must also make up this share of the column: else it changes little."""
_FEWEST = 30
"""Values, other than 0, of which a percentile says something."""
_FIELDS = {"latency": "latency_s", "money": "cost_usd"}


def far_off(episodes: Episodes, rows: np.ndarray, ends: np.ndarray) -> Iterator[str]:
    """Where single rows carry most of a column, of the costs or of the observation.

    Args:
      episodes: as NumPy arrays.
      rows: the file's row of every step. ``[N, T]``
      ends: the file's row of every episode's end, which has the violation. ``[N]``

    Yields:
      A text a column, with the number of the first such row.
    """
    alive, costs = np.asarray(episodes.alive), np.asarray(episodes.costs)
    places = rows[alive]
    for k, name in enumerate(COMPONENTS):
        if name == "violation":
            found = _far_off(name, costs[..., k].sum(1), ends)
        else:
            found = _far_off(_FIELDS.get(name, name), costs[..., k][alive], places)
        yield from found
    for k in range(episodes.observation.shape[2]):
        yield from _far_off(f"observation[{k}]", np.asarray(episodes.observation)[..., k][alive], places)


def _far_off(name: str, values: np.ndarray, rows: np.ndarray) -> Iterator[str]:
    """At most one text about a column."""
    sizes = np.abs(values.astype(np.float64))
    some = sizes[sizes > 0]
    if len(some) < _FEWEST:
        return
    usual = np.quantile(some, 0.99, method="lower")
    far = sizes > _TIMES * usual
    share = sizes[far].sum() / sizes.sum()
    if share > _MOST:
        more = f" and {far.sum() - 1:,} more" if far.sum() > 1 else ""
        yield (
            f"row {rows[far][0]}{more}: {name} {values[far][0]:g}, but 99 of 100 are at most {usual:g}: it makes up "
            f"{100 * share:.1f} % of all of it (another unit?)"
        )
