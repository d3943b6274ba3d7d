"""What is told of drift: a table, and what to do."""

from rich.table import Table

from aljax.calibration.drift import Drift
from aljax.errors import plain
from aljax.tables import new_table

_UNITS = {"latency": " s", "failure_latency": " s"}


def drift_table(found: Drift) -> Table:
    """Every column tested, the most doubtful first.

    Args:
      found: of a log.

    Returns:
      The table.
    """
    table = new_table(f"Drift: {found.episodes:,} episodes beside the scenario", plain=False)
    for name in ("row", "column", "part of the log", "calls", "scenario", "log", "p", ""):
        table.add_column(name, justify="left" if name in ("row", "column", "part of the log", "") else "right")
    for column in found.columns:
        unit = _UNITS.get(column.column, "")
        values = (f"{column.expected:.3g}{unit}", f"{column.found:.3g}{unit}", f"{column.p_value:.2g}")
        calls = f"{column.calls:,}"
        table.add_row(column.row, column.column, column.window, calls, *values, "drifted" if column.drifted else "")
    return table


def drift_words(found: Drift, against: str) -> list[str]:
    """What it comes to, in lines.

    Args:
      found: of a log.
      against: the scenario, as the user calls it.

    Returns:
      Lines, the verdict first.
    """
    share = f"{found.alpha:.0%} of logs of a world as {plain(against)} says would be flagged by chance"
    if found.drifted:
        rows = ", ".join(dict.fromkeys(column.row for column in found.drifted))
        lines = [
            f"Drifted: {plain(rows)} ({share}).",
            "Calibrate anew on what was logged since, and go on from the policy that you have: aljax calibrate LOG "
            "--out NEW.toml; aljax train --scenario NEW.toml --regime online --start RUN; aljax export.",
        ]
    else:
        lines = [f"Nothing has drifted as far as {found.episodes:,} episodes can tell ({share})."]
    if found.untested:
        lines.append(
            f"Not tested, for their failures are not of one rate: {plain(', '.join(found.untested))} (outages, "
            "time-outs, rate limits, requirements, calls at most)."
        )
    if found.unknown:
        most = sorted(found.unknown, key=lambda name: (-found.unknown[name], name))[:5]
        told = ", ".join(f"{plain(name)} {found.unknown[name]:,}" for name in most)
        lines.append(f"Calls that no row stands for: {told}{', ...' if len(found.unknown) > 5 else ''}.")
    return lines
