"""A sweep in words and tables: what it will cost, and what it found."""

from collections.abc import Mapping

import numpy as np
from rich.table import Table

from aljax.statistics import Interval
from aljax.sweeps.pareto import against_cost, fronts, objectives, over_weights, trade_off
from aljax.sweeps.plan import SweepPlan
from aljax.sweeps.results import Results
from aljax.tables import new_table

_SHOWN_ROWS = 10
_SHOWN_AXES = 12  # with a column of their own; of more, those that explain most
_BAR = 20  # characters of a share of 1


def plan_table(plan: SweepPlan, *, plain: bool = False) -> Table:
    """What a sweep will do and take, a line a fact.

    Args:
      plan: of the sweep.
      plain: for Markdown rather than a terminal.

    Returns:
      A table without a heading, but for Markdown, which has none without one.
    """
    table = new_table("The sweep's plan", plain)
    table.show_header = plain  # Markdown has no table without one
    table.add_column("")
    table.add_column("", overflow="fold")
    at_once = plan.lanes * plan.devices
    lanes = f"{_plural(plan.lanes, 'lane')} × {_plural(plan.devices, 'device')} on {_plural(plan.hosts, 'host')}"
    shapes = f"{_plural(plan.shapes, 'shape')} of training, {plan.compilations - plan.shapes:,} of exact optima"
    total = plan.seconds + plan.compile_seconds
    process = size(plan.process_bytes) if plan.process_bytes else "not known"
    for name, value in (
        ("runs", f"{plan.runs:,} = {_plural(plan.configurations, 'configuration')} × {_plural(plan.seeds, 'seed')}"),
        ("training", f"{count(plan.episodes)} episodes in all"),
        ("axes that cost no compilation", ", ".join(plan.traced) or "none"),
        ("axes that compile anew", ", ".join(plan.static) or "none"),
        ("compilations", f"{plan.compilations:,}: {shapes}"),
        ("at once", f"{_plural(at_once, 'run')}: {lanes}"),
        ("memory on each device", f"{size(plan.device_bytes)} at its peak, by the compiler's analysis"),
        ("memory of the process", process),
        ("time", f"{duration(total)}: {duration(plan.compile_seconds)} compiling, {duration(plan.seconds)} the rest"),
        ("rate", f"{count(plan.rate)} episodes/s, compilations aside"),
        ("exact optima", _optima(plan)),
    ):
        table.add_row(name, value)
    return table


def summary_tables(results: Results, *, plain: bool = False) -> list[Table]:
    """The best configurations, how much each axis matters, and fronts that nothing beats: weights, tails, promises.

    Args:
      results: of a sweep.
      plain: for Markdown rather than a terminal.

    Returns:
      Two tables or more.
    """
    tables = [_best(results, plain), _importance(results, plain)]
    if over_weights(results):
        tables.append(_front(results, plain))
    return tables + [_trade_off(results, column, plain) for column in against_cost(results)]


def summary_line(results: Results) -> str:
    """A sweep in a line: how many runs, the best configuration, and which runs diverged.

    Args:
      results: of a sweep.

    Returns:
      Text of one line.
    """
    seeds, runs = results.spec.protocol.seeds, len(results.table["row"])
    parts = [f"{_plural(runs, 'run')}, {_plural(runs // seeds, 'configuration')} × {_plural(seeds, 'seed')}"]
    best = next(iter(results.best(1)), None)
    if best is not None and np.isfinite(best.figures["cost"].estimate):
        cost, success = (number(best.figures[name].estimate) for name in ("cost", "success"))
        gap = "" if best.gap is None else f", {number(best.gap.estimate)} % above the optimum"
        parts.append(f"best: configuration {best.configuration}, cost {cost}, success {success}{gap}")
    diverged = results.diverged
    if not len(diverged):
        parts.append("none diverged")
    else:
        rows = ", ".join(map(str, diverged[:_SHOWN_ROWS]))
        more = len(diverged) - _SHOWN_ROWS
        shown = f"row{'s' if len(diverged) > 1 else ''} {rows}" + (f" and {more:,} more" if more > 0 else "")
        parts.append(f"{len(diverged):,} diverged: {shown}")
    return "; ".join(parts)


def by_importance(shares: Mapping[str, float]) -> list[str]:
    """Keys of axes, of the shares that they explain, the largest first; unknown shares come last.

    Args:
      shares: of the cost's variance, by key; NaN: unknown.

    Returns:
      The keys.
    """
    return sorted(shares, key=lambda key: -np.nan_to_num(shares[key], nan=-1.0))


def number(value: object) -> str:
    """A value of an axis or a figure: numbers to 4 significant digits, truths as TOML writes them.

    Args:
      value: a number, a truth or text.

    Returns:
      Text.
    """
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, (float, np.floating)):
        return "–" if np.isnan(value) else f"{value:.4g}"
    return str(value)


def duration(seconds: float) -> str:
    """A time as one would say it.

    Args:
      seconds: how long.

    Returns:
      Text such as ``3.0 min``.
    """
    for most, unit, name in ((100, 1, "s"), (6000, 60, "min")):
        if seconds < most:
            return f"{seconds / unit:.{1 if seconds < 10 * unit else 0}f} {name}"
    return f"{seconds / 3600:.1f} h"


def size(number_of_bytes: float) -> str:
    """Memory as one would say it.

    Args:
      number_of_bytes: how much.

    Returns:
      Text such as ``1.2 GiB``.
    """
    mebibytes = number_of_bytes / 2**20
    if mebibytes < 1024:
        return f"{mebibytes:.{1 if mebibytes < 10 else 0}f} MiB"
    return f"{mebibytes / 1024:.1f} GiB"


def count(things: float) -> str:
    """A large number as one would say it, to 3 significant digits.

    Args:
      things: how many.

    Returns:
      Text.
    """
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if things >= 10 * unit or (things >= unit and unit > 1e3):
            return f"{things / unit:.{2 if things < 10 * unit else 1 if things < 100 * unit else 0}f}{name}"
    return f"{things:,.0f}"


def _best(results: Results, plain: bool) -> Table:
    seeds = results.spec.protocol.seeds
    currency = ", each at its own λ" if over_weights(results) else ""
    keys, some = _shown_axes(results)
    table = new_table(f"Best configurations by their mean cost over {_plural(seeds, 'seed')}{currency}{some}", plain)
    ranked = [each for each in results.best(5) if np.isfinite(each.figures["cost"].estimate)]
    gaps = any(each.gap is not None for each in ranked)
    interval = " [95 % CI]" if seeds > 1 else ""
    table.add_column("configuration", justify="right")
    for key in keys:
        table.add_column(key, justify="right")
    for name in (f"cost{interval}", "success", *([f"above optimum, %{interval}"] if gaps else [])):
        table.add_column(name, justify="right")
    for each in ranked:
        point = [number(each.point[key]) for key in keys]
        gap = ["" if each.gap is None else _interval(each.gap)] if gaps else []
        success = number(each.figures["success"].estimate)
        table.add_row(str(each.configuration), *point, _interval(each.figures["cost"]), success, *gap)
    return table


def _importance(results: Results, plain: bool) -> Table:
    title = "How much each axis matters: the share of the cost's variance between configurations that it explains"
    table = new_table(f"{title} by itself (shares need not sum to 1)", plain)
    table.add_column("axis")
    table.add_column("share", justify="right")
    table.add_column("")
    shares = results.importance()
    for key in by_importance(shares):
        share = shares[key]
        if np.isnan(share):
            table.add_row(key, "–", "too few configurations to tell")
        else:
            table.add_row(key, f"{share:.2f}", "█" * round(_BAR * share))
    return table


def _front(results: Results, plain: bool) -> Table:
    """Points evenly spread over the front, by success, each with the first configuration that comes to it."""
    every, on = objectives(results), np.flatnonzero(fronts(results))
    points, first, sharing = np.unique(every[on], axis=0, return_index=True, return_counts=True)
    order = np.argsort(points[:, -1], kind="stable")
    if len(order) > _SHOWN_ROWS:
        order = order[np.linspace(0, len(order) - 1, _SHOWN_ROWS).round().astype(int)]
    keys, some = _shown_axes(results)
    if len(order) < len(points):
        some = f"; {len(order)} of its {len(points):,} points{some}"
    among = f"{len(on):,} of {_plural(len(every), 'configuration')}"
    table = new_table(f"Pareto front: {among}, which none beats in latency, money and success at once{some}", plain)
    for name in ("configuration", *keys, "latency, s", "money, $", "success", "configurations there"):
        table.add_column(name, justify="right")
    for index in order:
        configuration = on[first[index]]
        values = [number(results.values(key)[configuration]) for key in keys]
        table.add_row(str(configuration), *values, *map(number, points[index]), str(sharing[index]))
    return table


def _trade_off(results: Results, column: str, plain: bool) -> Table:
    """The configurations that none beats in mean cost and another column at once, by their mean cost."""
    points, front = trade_off(results, column)
    on = np.flatnonzero(front)
    on = on[np.argsort(points[on, 0], kind="stable")]
    if len(on) > _SHOWN_ROWS:
        on = on[np.linspace(0, len(on) - 1, _SHOWN_ROWS).round().astype(int)]
    keys, some = _shown_axes(results)
    among = f"{front.sum():,} of {_plural(len(points), 'configuration')}"
    table = new_table(f"Pareto front: {among}, which none beats in mean cost and {column} at once{some}", plain)
    for name in ("configuration", *keys, "mean cost", column):
        table.add_column(name, justify="right")
    for index in on:
        table.add_row(str(index), *(number(results.values(key)[index]) for key in keys), *map(number, points[index]))
    return table


def _shown_axes(results: Results) -> tuple[list[str], str]:
    """The axes with columns of their own, and what a title says of the others."""
    keys = [axis.key for axis in results.spec.axes]
    if len(keys) <= _SHOWN_AXES:
        return keys, ""
    most = by_importance(results.importance())[:_SHOWN_AXES]
    return [key for key in keys if key in most], f"; {len(most)} of {len(keys)} axes"


def _optima(plan: SweepPlan) -> str:
    told = f"known for {plan.environments - plan.unsolved:,} of {_plural(plan.environments, 'environment')}"
    return f"{told}; not the others: {plan.reason}" if plan.unsolved else told


def _interval(interval: Interval) -> str:
    """4 significant digits."""
    if np.isnan(interval.low):
        return number(interval.estimate)
    return f"{number(interval.estimate)} [{number(interval.low)}, {number(interval.high)}]"


def _plural(things: int, name: str) -> str:
    return f"{things:,} {name}{'' if things == 1 else 's'}"
