"""Pictures of a calibration."""

from pathlib import Path

import numpy as np

from aljax.calibration.fitting import Calibration
from aljax.calibration.prediction import Prediction
from aljax.drawing import label, pyplot, save

MOST = 24
"""Rows of a picture: those that were called most."""
_TITLES = {
    "failure": "first call in a run",
    "after_ok": "after its latest call worked",
    "after_failed": "after it failed",
}


def failures(path: Path, calibration: Calibration) -> None:
    """Failure rates with intervals, raw against shrunk.

    Args:
      path: the PNG file.
      calibration: what was fitted.
    """
    plt = pyplot()
    rows = [row for row, kind in zip(calibration.rows, calibration.kinds, strict=True) if kind == "tool"][:MOST]
    size = (11, 0.24 * len(rows) + 1.6)
    figure, axes = plt.subplots(1, 3, figsize=size, sharey=True, sharex=True, layout="constrained")
    places = np.arange(len(rows))
    for axis, (column, title) in zip(axes, _TITLES.items(), strict=True):
        found = [calibration.columns[column][row] for row in rows]
        axis.hlines(places, [x.low for x in found], [x.high for x in found], color="C0", linewidth=2, alpha=0.6)
        axis.plot([x.value for x in found], places, "o", color="C0", markersize=4, label="shrunk, 95 % interval")
        axis.plot([x.raw for x in found], places, "x", color="black", markersize=4, label="raw")
        if column == "after_failed":
            naive = [calibration.columns["after_failed_naive"][row].value for row in rows]
            axis.plot(naive, places, "|", color="C3", markersize=9, label="shrunk, whatever the task")
        axis.set_title(title, fontsize=9)
        axis.set_xlim(-0.03, 1.03)
    axes[0].set_yticks(places, [label(row) for row in rows])
    axes[0].invert_yaxis()
    axes[-1].legend(fontsize=7, loc="lower right")
    figure.supxlabel("probability of failing", fontsize=9)
    save(figure, path, plt)


def seconds(path: Path, calibration: Calibration) -> None:
    """Seconds of calls: the logged law against the simulated one, a panel a row.

    Args:
      path: the PNG file.
      calibration: what was fitted, with `latency_spread`.
    """
    plt = pyplot()
    taken: dict[str, list[float]] = {row: [] for row in calibration.rows}
    for run in calibration.runs:
        for call in run.calls:
            if call.seconds is not None and call.ok is not False and not call.censored:
                taken[call.row].append(call.seconds)
    rows = sorted((row for row in taken if sum(taken[row]) > 0), key=lambda row: -len(taken[row]))[:12]
    columns = min(4, len(rows))
    lines = -(-len(rows) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(2.7 * columns, 1.9 * lines + 0.5), squeeze=False, layout="constrained"
    )
    normal = np.sort(np.random.default_rng(0).standard_normal(2_000))
    for axis, row in zip(axes.flat, rows, strict=False):
        mean, sigma = (calibration.columns[name][row].value for name in ("latency", "latency_spread"))
        for values, colour, says in (
            (np.sort(taken[row]), "black", f"logged, {len(taken[row]):,}"),
            (mean * np.exp(sigma * normal - sigma**2 / 2), "C0", "simulated"),
        ):
            axis.plot(values, (np.arange(len(values)) + 0.5) / len(values), color=colour, label=says, linewidth=1.2)
        axis.set_xlim(0, 1.2 * float(np.quantile(taken[row], 0.98)) + 1e-9)
        axis.set_title(label(row, 30), fontsize=8)
        axis.legend(fontsize=6, loc="lower right")
    for axis in list(axes.flat)[len(rows) :]:
        axis.set_axis_off()
    figure.supxlabel("seconds of a call that worked", fontsize=9)
    figure.supylabel("share below", fontsize=9)
    save(figure, path, plt)


def needs(path: Path, calibration: Calibration) -> None:
    """How many calls of each row tasks need, by both estimators.

    Args:
      path: the PNG file.
      calibration: what was fitted.
    """
    plt = pyplot()
    found = calibration.needs
    fewest, bracketed = found.mean("fewest"), found.mean("bracketed")
    order = np.argsort(-fewest, kind="stable")[:MOST]
    figure, axis = plt.subplots(figsize=(7, 0.24 * len(order) + 1.4), layout="constrained")
    places = np.arange(len(order))
    axis.hlines(places, bracketed[order], fewest[order], color="0.6", linewidth=2)
    axis.plot(fewest[order], places, "o", color="C0", markersize=4, label="fewest calls that sufficed")
    axis.plot(bracketed[order], places, "s", color="C1", markersize=4, label="bracketed by all runs: the scenario's")
    axis.set_yticks(places, [label(calibration.rows[i]) for i in order])
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.set_xlabel("successful calls that a task needs, on average over runs")
    axis.legend(fontsize=7, loc="lower right")
    save(figure, path, plt)


def prediction(path: Path, found: Prediction) -> None:
    """Held-out tasks: errors beside their floors, and runs as distributions, logged against predicted.

    Args:
      path: the PNG file.
      found: what was predicted.
    """
    plt = pyplot()
    names = [name for name in found.measures if name != "success"]
    figure, axes = plt.subplots(1, len(names) + 1, figsize=(2.9 * (len(names) + 1), 2.9), layout="constrained")
    places = np.arange(len(found.measures))
    ratios = [min(measure.ratio, 4.0) for measure in found.measures.values()]
    axes[0].barh(places, ratios, color="C0", height=0.6)
    axes[0].axvline(1.0, color="black", linewidth=1, label="floor")
    axes[0].axvline(1.25, color="C3", linewidth=1, linestyle="--", label="asked")
    axes[0].set_yticks(places, list(found.measures))
    axes[0].invert_yaxis()
    axes[0].set_title("error of held-out means, in floors", fontsize=8)
    axes[0].legend(fontsize=6)
    for axis, name in zip(axes[1:], names, strict=True):
        for values, colour, says in zip(found.samples[name], ("black", "C0"), ("logged", "predicted"), strict=True):
            ordered = np.sort(values)
            share = (np.arange(len(ordered)) + 0.5) / len(ordered)
            axis.step(ordered, share, color=colour, label=says, linewidth=1.2, where="post")
        axis.set_xlim(0, 1.1 * float(np.quantile(found.samples[name][0], 0.99)) + 1e-9)
        axis.set_title(f"{name} of a run, share below", fontsize=8)
        axis.legend(fontsize=6, loc="lower right")
    save(figure, path, plt)
