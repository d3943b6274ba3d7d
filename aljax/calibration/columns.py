"""The columns of the action table, from the calls of a log: failures, seconds, dollars."""

import dataclasses
import math
from collections.abc import Sequence

from aljax.calibration.amounts import Amounts, fit_amounts
from aljax.calibration.counts import COLUMNS, Failures
from aljax.calibration.estimates import Estimate
from aljax.calibration.failing import Failing, fit_failures
from aljax.calibration.prices import Prices
from aljax.calibration.runs import Run

Columns = dict[str, dict[str, Estimate]]
"""By column and row."""


def fill_failures(
    columns: Columns, rows: Sequence[str], counts: Failures, tools: int, seed: int
) -> tuple[Failing | None, list[str]]:
    """The failure columns: tools together, and apart from them what is no tool.

    Args:
      columns: are filled, and beside them ``after_failed_naive``.
      rows: of the table, the last one without calls that could fail.
      counts: of the others.
      tools: how many of them are tools, which come first.
      seed: of draws.

    Returns:
      The tools' fit, where the log says which of their calls failed, and what it cannot say, a line each.
    """
    found: dict[str, list[Estimate]] = {name: [] for name in (*COLUMNS, "after_failed_naive")}
    warnings, failing = [], None
    for part in (slice(0, tools), slice(tools, len(rows) - 1)):
        some = counts.of(part)
        size = some.calls.shape[1]
        if not some.calls.sum():
            unknown = Estimate(0.0, source="assumed: the log does not say whether calls worked")
            for estimates in found.values():
                estimates.extend([unknown] * size)
            if size and part.start == 0:
                warnings.append("The log does not say whether tools' calls worked: they never fail in the scenario")
            continue
        fitted = fit_failures(some, seed)
        failing = fitted if part.start == 0 else failing
        first = fitted.columns["failure"].estimates
        same = [dataclasses.replace(x, raw=math.nan, count=0, source="assumed: as failure; never seen") for x in first]
        for number, column in enumerate(COLUMNS):
            seen = some.calls[number].sum() > 0
            counted = fitted.columns[column].estimates if seen else same
            found[column] += fitted.lasting.get(column, counted) if seen else counted
            if column == "after_failed":
                found["after_failed_naive"] += counted
            if not seen and part.start == 0:
                warnings.append(f"No tool's call says anything of {column}: it is taken to be failure")
    never = Estimate(0.0, 0.0, 0.0, source="assumed: it cannot fail")
    columns |= {name: dict(zip(rows, (*estimates, never), strict=True)) for name, estimates in found.items()}
    if failing is not None and not failing.within and counts.calls[2, :tools].sum():
        warnings.append(
            "Hard tasks cannot be told from failures that last, as no tool was called in two runs of a task: "
            "after_failed is as it is counted"
        )
    return failing, warnings


def _values(
    rows: Sequence[str], runs: Sequence[Run], field: str, ok: bool | None, censored: bool | None = False
) -> list[list[float]]:
    """Seconds or dollars of calls, by row: of those that failed (`ok` false), did not (true), or all."""
    found: dict[str, list[float]] = {row: [] for row in rows}
    for run in runs:
        for call in run.calls:
            value = getattr(call, field)
            asked = ok in (None, call.ok is not False) and censored in (None, call.censored)
            if value is not None and call.row in found and asked:
                found[call.row].append(value)
    return list(found.values())


def fill_seconds(columns: Columns, rows: Sequence[str], runs: Sequence[Run], warnings: list[str]) -> None:
    """Seconds, their spread, and the seconds of calls that failed.

    Args:
      columns: are filled.
      rows: of the table.
      runs: of the log.
      warnings: what it cannot say is added.
    """
    worked = fit_amounts(_values(rows, runs, "seconds", True), _values(rows, runs, "seconds", True, True))
    if worked is None:
        columns["latency"] = dict.fromkeys(rows, _seconds_of_runs(runs, warnings))
        return
    columns["latency"] = dict(zip(rows, worked.means, strict=True))
    columns["latency_spread"] = dict(zip(rows, worked.spreads, strict=True))
    failed = _ratios(_values(rows, runs, "seconds", False), worked)
    if failed is not None:
        columns["failure_latency"] = {}
        for row, mean, ratio in zip(rows, worked.means, failed.means, strict=True):
            if not ratio.count:
                source = f"assumed: no failed call; {ratio.value:.3g} × its mean, as all rows"
            else:
                source = f"shrunk: {ratio.count} failed calls, {ratio.raw:.3g} × its mean, to {ratio.value:.3g} ×"
            value, low, high, raw = (x * mean.value for x in (ratio.value, ratio.low, ratio.high, ratio.raw))
            columns["failure_latency"][row] = Estimate(value, low, high, raw, ratio.count, source)


def _ratios(values: Sequence[Sequence[float]], worked: Amounts) -> Amounts | None:
    """Seconds of failed calls over the mean of their row's others."""
    pairs = zip(values, worked.means, strict=True)
    return fit_amounts([[x / mean.value for x in row] if mean.value > 0 else [] for row, mean in pairs], unit="×")


def _seconds_of_runs(runs: Sequence[Run], warnings: list[str]) -> Estimate:
    """Seconds of a call where no call has any."""
    timed = [run for run in runs if run.duration is not None]
    steps = sum(len(run.calls) for run in timed)
    if not timed:
        warnings.append("The log has no seconds: every call takes 1 s in the scenario")
        return Estimate(1.0, source="assumed: the log has no seconds")
    mean = sum(run.duration or 0.0 for run in timed) / steps
    warnings.append("Calls have no seconds: those of whole runs are spread evenly over their calls")
    return Estimate(
        mean, raw=mean, count=steps, source=f"logged: seconds of {len(timed)} runs over their {steps} calls"
    )


def fill_dollars(
    columns: Columns, rows: Sequence[str], runs: Sequence[Run], prices: Prices | None, warnings: list[str]
) -> None:
    """Dollars.

    Args:
      columns: are filled.
      rows: of the table.
      runs: of the log, their tokens priced.
      prices: they were priced with, for sources.
      warnings: what it cannot say is added.
    """
    spent = fit_amounts(_values(rows, runs, "dollars", None, None), unit="$")
    if spent is None:
        why = "no tokens of a model that has a price" if prices is not None else "no dollars"
        warnings.append(f"The log has {why}: calls are free in the scenario")
        columns["money"] = dict.fromkeys(rows, Estimate(0.0, source=f"assumed: the log has {why}"))
        return
    declared = f"; tokens at the prices of {prices.where or 'a table'} where no dollars are logged" if prices else ""
    columns["money"] = {
        row: dataclasses.replace(mean, source=f"{mean.source}{declared}")
        for row, mean in zip(rows, spent.means, strict=True)
    }
