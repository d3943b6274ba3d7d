"""A receipt shown: tables on the terminal, a page of Markdown, plots. Everything comes from the receipt."""

import os
from pathlib import Path
from typing import Any

from aljax.host.files import whole_file

from suite.tables import tables

FIGURES = {
    "bench_stepping.png": "Environment steps a second, random actions; bars from least to most of the repeats.",
    "bench_saturation.png": "Training throughput against the batch size.",
    "bench_growth.png": "Time a step and memory, one axis at a time from the default point.",
}
"""Plots by file name, and what they show."""


def head(receipt: dict[str, Any]) -> list[str]:
    """Where, when and with what the figures were measured, in lines."""
    here, options = receipt["machine"], receipt["options"]
    versions = ", ".join(f"{name} {version}" for name, version in receipt["versions"].items())
    load = [here[name][0] for name in ("load_before", "load_after")]
    lines = [
        f"{here['processor']}, {here['cpu_count']} CPUs ({options['devices']} used where several are); "
        f"jax on {here['jax_device']}. Started {receipt['started']}; took {receipt['took_seconds'] / 60:.0f} minutes. "
        f"Load: {load[0]:.1f} before, {load[1]:.1f} after.",
        f"Versions: {versions}.",
        f"Median of {min(3, options['repeats']) if options['quick'] else options['repeats']} repeats, or fewer where a "
        "row's budget of seconds was spent (the receipt tells), after a warm-up; compilation apart.",
    ]
    if options["quick"]:
        lines.insert(0, "**A quick run: sizes are small, and nothing here is worth quoting.**")
    return lines


def show(receipt: dict[str, Any], console: Any) -> None:
    """Prints the tables."""
    for line in head(receipt):
        console.print(line)
    for each in tables(receipt):
        console.print(each.printed())


def write(receipt: dict[str, Any], file: Path, figures: Path | None = None) -> None:
    """Writes the page; plots that stand in the folder `figures` are shown in it."""
    command = "python benchmarks/bench.py --json benchmarks/results/bench.json --page docs/reference/benchmarks.md"
    lines = ["# Benchmarks", "", f"Written by `{command} --figures docs/figures` from its receipt.", ""]
    for line in head(receipt):
        lines += [line, ""]
    for name, text in FIGURES.items():
        if figures is not None and (figures / name).is_file():
            lines += [
                f"![{text}]({Path(os.path.relpath(figures / name, file.parent)).as_posix()})",
                "",
                f"*{text}*",
                "",
            ]
    for table in tables(receipt):
        lines += table.markdown()
    with whole_file(file) as place:
        place.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def draw(receipt: dict[str, Any], folder: Path) -> None:
    """Draws the plots of the sections that the receipt has."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sections = receipt["sections"]
    for name, section, make in (
        ("bench_stepping.png", "stepping", _draw_stepping),
        ("bench_saturation.png", "training", _draw_saturation),
        ("bench_growth.png", "growth", _draw_growth),
    ):
        if section in sections:
            figure = make(sections[section], plt)
            with whole_file(folder / name) as place:
                figure.savefig(place, dpi=130, bbox_inches="tight")
            plt.close(figure)


def _draw_stepping(section: dict[str, Any], plt: Any) -> Any:
    horizons = section["horizons"]
    most = max(sum(row["horizon"] == horizon for row in section["rows"]) for horizon in horizons)
    figure, panels = plt.subplots(1, len(horizons), figsize=(6.5 * len(horizons), 0.3 * most + 1), squeeze=False)
    places = list(dict.fromkeys(row["where"] for row in section["rows"]))
    for panel, horizon in zip(panels[0], horizons, strict=True):
        rows = [row for row in section["rows"] if row["horizon"] == horizon][::-1]
        rates = [row["steps"] / row["seconds"]["median"] / 1e6 for row in rows]
        ends = [[row["steps"] / row["seconds"][name] / 1e6 for row in rows] for name in ("max", "min")]
        errors = [[rate - low for rate, low in zip(rates, ends[0], strict=True)],
                  [high - rate for rate, high in zip(rates, ends[1], strict=True)]]  # fmt: skip
        colours = [f"C{places.index(row['where'])}" for row in rows]
        panel.barh(range(len(rows)), rates, xerr=errors, color=colours, ecolor="0.3")
        labels = [f"{row['name']}{', ' + row['variant'] if row['variant'] else ''} ({row['where']})" for row in rows]
        panel.set_yticks(range(len(rows)), labels, fontsize=7)
        panel.set_xlabel("million steps a second")
        panel.set_title(f"{horizon} steps, {section['episodes']:,} episodes", fontsize=9)
    figure.tight_layout()
    return figure


def _draw_saturation(section: dict[str, Any], plt: Any) -> Any:
    figure, panel = plt.subplots(figsize=(6.5, 4))
    rows = section["saturation"]
    groups = list(dict.fromkeys((row["runs"], row["devices"]) for row in rows))
    for runs, devices in groups:
        points = [(row["batch"], row["episodes_per_second"]) for row in rows
                  if (row["runs"], row["devices"]) == (runs, devices)]  # fmt: skip
        style = "o-" if devices == 1 else "s--"
        panel.plot(*zip(*points, strict=True), style, label=f"aljax, {runs} run(s), {devices} device(s)", ms=4)
    other: dict[int, float] = {}
    for row in section.get("torch_saturation", []):
        other[row["batch"]] = max(other.get(row["batch"], 0.0), row["episodes_per_second"])
    if other:
        panel.plot(list(other), list(other.values()), "k^:", label="PyTorch, batched, at its best", ms=4)
    panel.set(xscale="log", yscale="log", xlabel="episodes an update", ylabel="episodes a second")
    panel.legend(fontsize=7)
    panel.grid(alpha=0.3)
    return figure


def _draw_growth(section: dict[str, Any], plt: Any) -> Any:
    axes = list(dict.fromkeys(point["axis"] for point in section["points"]))
    figure, panels = plt.subplots(2, len(axes), figsize=(3.2 * len(axes), 5.5), squeeze=False)
    for column, axis in enumerate(axes):
        points = [point for point in section["points"] if point["axis"] == axis and "left_out" not in point]
        for number, kind in enumerate(dict.fromkeys(point["kind"] for point in section["points"])):
            mine = [point for point in points if point["kind"] == kind]
            at = [point["value"] for point in mine]
            panels[0][column].plot(
                at, [1e9 * p["seconds_a_step"] for p in mine], "o-", color=f"C{number}", label=kind, ms=4
            )
            panels[1][column].plot(at, [p["compiler_bytes"] / 2**20 for p in mine], "o-", color=f"C{number}", ms=4)
            panels[1][column].plot(at, [p["peak_bytes"] / 2**20 for p in mine], ":", color=f"C{number}")
        for panel in (panels[0][column], panels[1][column]):
            panel.set(xscale="log", yscale="log", xlabel=axis)
            panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("ns a step")
    panels[1][0].set_ylabel("MiB: compiler's (lines), process's peak (dotted)")
    panels[0][0].legend(fontsize=7)
    figure.tight_layout()
    return figure
