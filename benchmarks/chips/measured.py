"""The receipt of ``benchmarks/gpu.py`` as tables."""

from typing import Any

from suite.tables import Table, number, seconds


def tables(receipt: dict[str, Any]) -> list[Table]:
    """What was measured: training, stepping with a policy, the sweep."""
    return [
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


def _parts(receipt: dict[str, Any], *names: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Contestant, place, row of these parts."""
    found = []
    for part in receipt["parts"]:
        if part["part"] in names:
            contestant = "PyTorch" if part["part"].startswith("torch") else "aljax"
            place = f"{receipt['cores']} processor cores" if part["place"] == "cores" else part["device"]
            found += [(contestant, place, row) for row in part["rows"]]
    return found


def _trained(receipt: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = _parts(receipt, "training", "torch_training")
    base = rows[0][2]["seconds"]["median"]
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
