"""Every aljax row as a fraction of what the machine could do at best: 1 would be the floor itself."""

from typing import Any

WORDS = "random numbers alone"
BYTES = "memory traffic of those numbers alone"
PRODUCTS = "matrix products alone"


def add(sections: dict[str, Any]) -> None:
    """Adds ``floors`` to the aljax rows of the sections: seconds that part of the work takes alone, and the fraction.

    Without a section of floors nothing is added. Floors are those measured in the same place: on one core, on one
    device, on all.
    """
    floors = sections.get("floors", {}).get("floors", [])
    if not floors:
        return
    for row in sections.get("stepping", {}).get("rows", []):
        if row["name"] == "aljax" and not row["variant"]:
            _stepping(row, floors)
    for row in sections.get("rollouts", {}).get("rows", []):
        if row["name"] == "aljax":
            alone = [floor for floor in floors if floor["name"] == "rollout" and floor["where"] == row["where"]]
            if alone:
                _put(row, PRODUCTS, alone[0]["seconds"]["median"], row["seconds"]["median"])
                _rate(row, alone[0]["flops"] / row["seconds"]["median"], floors, row["where"])
    training = sections.get("training", {})
    for row in training.get("rows", []):
        if row["name"] == "aljax":
            updates = training["episodes_a_seed"] / training["batch"]
            _update(row, row["seconds"]["median"] / updates, training["batch"], training["seeds"], 1, floors)
    for row in training.get("saturation", []):
        _update(row, row["update_seconds"], row["batch"], row["runs"], row["devices"], floors)


def _stepping(row: dict[str, Any], floors: list[dict[str, Any]]) -> None:
    """All chance of a rollout: start and misreading, then u and the action of every step. 4 bytes a number."""
    here = [floor for floor in floors if floor["where"] == row["where"]]
    seconds, words = row["seconds"]["median"], row["random_words"]
    for name, kind, rate, amount in (
        (WORDS, "random", "words_per_second", words),
        (BYTES, "copy", "bytes_per_second", 8 * words),  # each is written once and read once
    ):
        found = [floor for floor in here if floor["name"] == kind]
        if kind == "copy" and found:  # from memory, not from a cache
            largest = max(floor["array_bytes"] for floor in found)
            found = [floor for floor in found if floor["array_bytes"] == largest]
        if found:
            _put(row, name, amount / max(floor[rate] for floor in found), seconds)


def _update(
    row: dict[str, Any], seconds: float, batch: int, runs: int, devices: int, floors: list[dict[str, Any]]
) -> None:
    """A training update beside its matrix products; on one device wherever that was measured with all cores."""
    same = {"name": "update", "batch": batch, "runs": runs, "devices": devices}
    found = [floor for floor in floors if all(floor.get(name) == value for name, value in same.items())]
    found.sort(key=lambda floor: floor["where"] == "one core")
    if found:
        _put(row, PRODUCTS, found[0]["update_seconds"], seconds)
        _rate(row, found[0]["flops"] / seconds, floors, found[0]["where"])


def _put(row: dict[str, Any], name: str, alone: float, seconds: float) -> None:
    row.setdefault("floors", {})[name] = {"seconds": alone, "fraction": alone / seconds}


def _rate(row: dict[str, Any], rate: float, floors: list[dict[str, Any]], where: str) -> None:
    """Floating-point operations of the row's matrix products, a second, beside the best large product's."""
    best = [floor["flops_per_second"] for floor in floors if floor["name"] == "product" and floor["where"] == where]
    row["flops_per_second"] = rate
    if best:
        row["of_best_product"] = rate / max(best)
