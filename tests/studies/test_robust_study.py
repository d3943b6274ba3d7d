"""The study of robust training measures every policy in the same drawn environments, and goes on where it was."""

import dataclasses
import sys
from pathlib import Path

from aljax.host.files import read_json

from agents import desk, written

sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))

import robust


def renamed(item):
    """The episode as one of a domain's tasks."""
    task = f"desk/{item.task}"
    rows = [row | {"task": task} for row in (*item.steps, item.end)]
    return dataclasses.replace(item, task=task, steps=rows[:-1], end=rows[-1])


def test_policies_meet_the_same_environments_and_what_is_measured_is_not_measured_again(tmp_path, monkeypatch):
    log = written(tmp_path / "log.jsonl", [renamed(item) for item in desk(0, tasks=12, runs=4)])
    receipt = tmp_path / "robust.json"
    command = ["robust.py", "--log", str(log), "--domains", "desk", "--trained", "mean", "posterior", "--quick"]
    monkeypatch.setattr(sys, "argv", [*command, "--json", str(receipt)])
    assert robust.main() == 0

    found = read_json(receipt)["results"]["desk"]
    assert found["sizes"]["tasks"] == 4 and found["sizes"]["held_out_tasks"] == 8 and found["sizes"]["intervals"] > 0
    assert set(found["shifts"]) == set(robust.SHIFTS)
    for rows in found["shifts"].values():
        assert rows["mean"]["worst_tenth_less"]["estimate"] == 0
        less = rows["mean"]["worst_tenth"]["estimate"] - rows["posterior"]["worst_tenth"]["estimate"]
        assert abs(rows["posterior"]["worst_tenth_less"]["estimate"] - less) < 1e-4
        assert all(row["worst_tenth"]["estimate"] >= row["mean"]["estimate"] for row in rows.values())
    usual, larger = (found["shifts"][shift]["mean"] for shift in ("as calibrated", "all numbers larger"))
    assert larger["mean"]["estimate"] > usual["mean"]["estimate"]

    monkeypatch.setattr(robust, "measure", None)  # would fail if it were called
    assert robust.main() == 0 and read_json(receipt)["results"]["desk"] == found
