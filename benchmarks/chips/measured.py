"""The receipt of ``benchmarks/gpu.py`` as tables."""

from typing import Any

from suite.tables import Table, number, seconds


def tables(receipt: dict[str, Any]) -> list[Table]:
    """What was measured: the kernel, updates, training, stepping, the sweep; what was not measured has no table."""
    found = [
        Table(
            "Measured: the kernel of rollouts",
            "Beside the general path on the same luck: episodes in which every action is the same, and how far other "
            "numbers of these are apart at most, over 1 + their size.",
            (
                "scenario",
                "episodes",
                "alike",
                "apart",
                "µs",
                "general path, µs",
                "the GPU works, µs",
                "general path, µs",
            ),
            _kernels(receipt),
        ),
        Table(
            "Measured: updates of training",
            "5 seeds side by side, all updates as one program; launches an update as counted in the program's text, "
            "and kernels and copies that the profiler saw.",
            ("", "launches counted", "seen", "µs an update, median [range]", "the GPU works, share"),
            _updates(receipt),
        ),
        Table(
            "Measured: training 5 seeds",
            f"{receipt['sizes']['episodes']:,} episodes a seed; all in one run of the script, compilation apart.",
            ("", "on", "seconds, median [range]", "times the first row's", "cost in the end"),
            _trained(receipt),
        ),
        Table(
            "Measured: stepping with a policy",
            "Whole episodes under a network with random weights, everything kept.",
            ("", "on", "episodes side by side", "million steps a second"),
            _stepped(receipt),
        ),
        Table(
            "Measured: the sweep",
            "`aljax sweep`; on processor cores a share of the configurations.",
            ("on", "runs", "lanes", "training, s", "from start to finish, s", "episodes a second"),
            _swept(receipt),
        ),
    ]
    return [table for table in found if table.rows]


def _kernels(receipt: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            row["scenario"],
            f"{row['episodes']:,}",
            f"{row['episodes_alike']:,}",
            f"{row['largest_difference']:.1e}",
            number(1e6 * row["seconds"]),
            number(1e6 * row["general_seconds"]),
            *(_busy(row[name]) for name in ("profile", "general_profile")),
        )
        for _, _, row in _parts(receipt, "kernel")
    ]


def _busy(profile: dict[str, Any]) -> str:
    """Microseconds in which a GPU worked."""
    return "" if "failed" in profile else number(1e6 * profile["busy_seconds"])


def _updates(receipt: dict[str, Any]) -> list[tuple[str, ...]]:
    lines = []
    for part in receipt["parts"]:
        for row in part["rows"] if part["part"] == "updates" and "failed" not in part else ():
            each = {name: 1e6 * row["seconds"][name] / row["updates"] for name in ("median", "min", "max")}
            name = "with the kernel" if row["path"] == "kernel" else "general path"
            saw, seen, share = row["profile"], "", ""
            if "failed" not in saw:
                seen = number((saw["kernels"] + saw["copies"]) / row["updates"])
                share = f"{100 * saw['busy_seconds'] / row['seconds']['median']:.0f} %"
            told = f"{name}, revision {part['revision']}" if "revision" in part else name
            counted = "" if row["launches_counted"] is None else f"{row['launches_counted']}"
            lines.append((told, counted, seen, f"{each['median']:.0f} [{each['min']:.0f}, {each['max']:.0f}]", share))
    return lines


def _parts(receipt: dict[str, Any], *names: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Contestant, place, row of these parts."""
    found = []
    for part in receipt["parts"]:
        if part["part"] in names and "failed" not in part:
            contestant = "PyTorch" if part["part"].startswith("torch") else "aljax"
            place = f"{receipt['cores']} processor cores" if part["place"] == "cores" else part["device"]
            found += [(contestant, place, row) for row in part["rows"]]
    return found


def _trained(receipt: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = _parts(receipt, "training", "torch_training")
    base = rows[0][2]["seconds"]["median"] if rows else 1.0
    return [
        (
            f"{contestant}, {row['name']}" if contestant == "PyTorch" else contestant,
            place,
            seconds(row["seconds"]),
            number(row["seconds"]["median"] / base),
            f"{row['last_batches']['cost']:.2f} ± {row['last_batches']['cost_std']:.2f}",
        )
        for contestant, place, row in rows
    ]


def _stepped(receipt: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (contestant, place, f"{row['episodes']:,}", number(row["steps"] / row["seconds"]["median"] / 1e6))
        for contestant, place, row in _parts(receipt, "stepping", "torch_stepping")
    ]


def _swept(receipt: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            place,
            f"{row['runs']:,}",
            f"{row['lanes']:,}",
            number(row["train_seconds"]),
            number(row["seconds_in_all"]),
            f"{row['episodes_per_second']:,.0f}",
        )
        for _, place, row in _parts(receipt, "sweep")
    ]
