"""The receipt as tables of text."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Table:
    """A title, a sentence that says what is shown, and rows of text."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def printed(self) -> Any:
        """As the terminal shows it."""
        from rich import box, table

        found = table.Table(
            *self.columns, title=self.title, caption=self.note, box=box.SIMPLE_HEAD, title_justify="left",
            caption_justify="left",
        )  # fmt: skip
        for row in self.rows:
            found.add_row(*row)
        return found

    def markdown(self) -> list[str]:
        """As lines of a page, with its heading."""
        lines = [f"## {self.title}", "", self.note, ""]
        lines += ["| " + " | ".join(self.columns) + " |", "|" + "---|" * len(self.columns)]
        return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows] + [""]


def tables(receipt: dict[str, Any]) -> list[Table]:
    """All tables of a receipt, of the sections that it has."""
    makers = {
        "stepping": _stepping,
        "rollouts": _rollouts,
        "training": _training,
        "floors": _floors,
        "growth": _growth,
        "startup": _startup,
    }
    found = [table for name, make in makers.items() if name in receipt["sections"]
             for table in make(receipt["sections"][name])]  # fmt: skip
    if receipt["skipped"]:
        rows = [(row["part"], row["rows"], row["why"], f"`{row['command']}`") for row in receipt["skipped"]]
        found.append(Table("Left out", "Rivals that were not there.", ("part", "rows", "why", "what helps"), rows))
    return found


def number(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def seconds(stats: dict[str, Any]) -> str:
    """Median and range, in the unit that suits the median."""
    unit, scale = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e3)) if stats["median"] * s >= 1), ("µs", 1e6))
    median, low, high = (number(stats[name] * scale) for name in ("median", "min", "max"))
    return f"{median} [{low}, {high}] {unit}"


def size(count: float) -> str:
    """Bytes."""
    unit, scale = next(((u, s) for u, s in (("GiB", 2**30), ("MiB", 2**20)) if count >= s), ("KiB", 2**10))
    return f"{number(count / scale)} {unit}"


def _rates(row: dict[str, Any], work: float) -> str:
    """Millions a second: at the median time, at the longest, at the shortest."""
    times = row["seconds"]
    rates = [number(work / times[name] / 1e6) for name in ("median", "max", "min")]
    return f"{rates[0]} [{rates[1]}, {rates[2]}]"


def _fractions(row: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {floor['fraction']:.2f}" for name, floor in row.get("floors", {}).items())


def _name(row: dict[str, Any]) -> str:
    return row["name"] + (f", {row['variant']}" if row.get("variant") else "")


def _stepping(section: dict[str, Any]) -> list[Table]:
    columns = (
        "where",
        "",
        "million steps/s [min, max]",
        "time over aljax's",
        "CPU s a repeat",
        "fraction of the floor",
    )
    found = []
    for horizon in section["horizons"]:
        rows = [
            (row["where"], _name(row), _rates(row, row["steps"]), number(row.get("times_aljax")),
             number(row["cpu_seconds"]["median"]), _fractions(row))
            for row in section["rows"] if row["horizon"] == horizon
        ]  # fmt: skip
        note = f"Reset and {horizon} steps of {section['episodes']:,} episodes, random actions, all chance drawn."
        found.append(Table(f"Stepping, {horizon} steps", note, columns, rows))
    return found


def _rollouts(section: dict[str, Any]) -> list[Table]:
    rows = [
        (row["where"], _name(row), _rates(row, row["steps"]), number(row.get("times_aljax")),
         number(row["cpu_seconds"]["median"]), _fractions(row))
        for row in section["rows"]
    ]  # fmt: skip
    note = f"{section['episodes']:,} episodes under a network with random weights, sampled; trajectories kept."
    columns = (
        "where",
        "",
        "million steps/s [min, max]",
        "time over aljax's",
        "CPU s a repeat",
        "fraction of the floor",
    )
    return [Table("Rollouts", note, columns, rows)]


def _training(section: dict[str, Any]) -> list[Table]:
    rows = []
    for row in section["rows"]:
        cost = row.get("reached") or row.get("last_batches")
        cost = "" if cost is None else f"{cost['cost']:.2f} ± {cost['cost_std']:.2f}"
        cost += "" if "reached" in row or not cost else " (sampled, last tenth)"
        share = row.get("share_of_work_timed", 1)
        rows.append(
            (_name(row), seconds(row["seconds"]) + (" *" if share < 1 else ""), number(row["times_aljax"]),
             number(row.get("compile_seconds")), cost, _fractions(row))
        )  # fmt: skip
    note = (
        f"{section['seeds']} seeds × {section['episodes_a_seed']:,} episodes, compilation aside. "
        "Cost: greedy, on the same starts and luck, unless it says otherwise. * timed on a share, scaled by steps."
    )
    columns = ("", "time [min, max]", "time over aljax's", "compiling, s", "cost reached", "fraction of the floor")
    found = [Table("Training", note, columns, rows)]
    rows = [
        (f"{row['batch']:,}", str(row["runs"]), str(row["devices"]), number(row["episodes_per_second"]),
         f"{1e9 / row['episodes_per_second']:,.0f}", _fractions(row),
         number(row["of_best_product"]) if "of_best_product" in row else "")
        for row in section["saturation"]
    ]  # fmt: skip
    best = section["saturation_point"]
    note = (
        f"Most: {best['episodes_per_second']:,.0f} episodes/s, batches of {best['batch']:,} × {best['runs']} runs on "
        f"{best['devices']} device(s)."
    )
    if section.get("torch_saturation"):
        other = max(section["torch_saturation"], key=lambda row: row["episodes_per_second"])
        note += (
            f" Batched PyTorch at its best: {other['episodes_per_second']:,.0f} (batches of {other['batch']:,} × "
            f"{other['runs']} runs, {other['threads']} thread(s))."
        )
    columns = (
        "batch",
        "runs",
        "devices",
        "episodes/s",
        "ns an episode",
        "fraction of the floor",
        "of the best product",
    )
    return [*found, Table("Training throughput", note, columns, rows)]


def _floors(section: dict[str, Any]) -> list[Table]:
    rows = []
    for row in section["floors"]:
        if row["name"] == "product":
            what, rate = f"product, {row['n']} × {row['n']}", f"{number(row['flops_per_second'] / 1e9)} GFLOP/s"
        elif row["name"] == "copy":
            what, rate = f"read and write, {size(row['array_bytes'])}", f"{number(row['bytes_per_second'] / 1e9)} GB/s"
        elif row["name"] == "random":
            what = f"uniform numbers, {row['words']:,}"
            rate = f"{number(row['words_per_second'] / 1e6)} million/s"
        else:
            shape = f"{row['batch']:,} × {row['runs']} runs" if row["name"] == "update" else f"{row['episodes']:,}"
            what = f"matrix products, {row['name']}, {shape}"
            rate = f"{number(row['flops_per_second'] / 1e9)} GFLOP/s"
        stats = row["seconds"]
        if row["name"] == "update":
            stats = {name: stats[name] / row["updates"] for name in ("median", "min", "max")}
        rows.append((row["where"], what, rate, seconds(stats)))
    return [Table("Floors", "What the machine does at best.", ("where", "", "rate", "time [min, max]"), rows)]


def _growth(section: dict[str, Any]) -> list[Table]:
    rows = []
    for point in section["points"]:
        place = (point["axis"], f"{point['value']:,}", point["kind"])
        if "left_out" in point:
            rows.append((*place, "left out", point["left_out"].splitlines()[-1], "", "", ""))
            continue
        episode = f"{number(point['seconds_an_episode'] * 1e6)} µs"
        step = f"{number(point['seconds_a_step'] * 1e9)} ns"
        memory = size(point["compiler_bytes"]), size(point["peak_bytes"])
        rows.append((*place, episode, step, *memory, str(point["repeats"])))
    start = ", ".join(f"{name} {value:,}" for name, value in section["default"].items())
    note = f"One axis at a time from {start}; along seeds, batches of 30. Peak: of the whole process."
    columns = ("axis", "value", "work", "an episode", "a step", "memory, by the compiler", "peak", "repeats")
    return [Table("Growth", note, columns, rows)]


def _startup(section: dict[str, Any]) -> list[Table]:
    rows = []
    for row in section["rows"]:
        inside = row.get("seconds_inside")
        compiling = number(sorted(run["compile"] for run in inside)[len(inside) // 2]) if inside else ""
        rows.append((row["name"], seconds(row["seconds"]), number(row["cpu_seconds"]["median"]), compiling))
    columns = ("", "time [min, max]", "CPU s", "of it compiling, s")
    return [Table("Start-up", "Whole processes, from start to finish.", columns, rows)]
