"""What the study of local optima counts."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))

import pareto


def test_a_run_is_stuck_above_three_percent_and_a_weighting_where_any_of_its_runs_is():
    optimum = np.array([10.0, 10.0, 20.0, 20.0, 40.0, 40.0])
    cost = np.array([10.0, 10.31, 20.5, 20.0, 44.0, 42.0])
    row = pareto._row(cost, optimum, 2, {"seconds": 1.0})
    assert row["stuck"] == pytest.approx(3 / 6)
    assert row["above_1"] == pytest.approx(4 / 6)
    assert row["weightings_stuck"] == 2
    assert row["worst"] == pytest.approx(10.0)
    assert row["median"] == pytest.approx(2.8)
    assert row["seconds"] == 1.0
