"""Sweeps over α and over promises: a column for CVaR, and the fronts that they draw."""

import numpy as np
import pytest

from aljax.sweeps.pareto import against_cost, trade_off
from aljax.sweeps.plots.trade_off import trade_offs
from aljax.sweeps.reader import make_spec
from aljax.sweeps.report import summary_tables
from aljax.sweeps.run import sweep
from aljax.sweeps.tables import read_results

SHORT = {"episodes": 40, "batch": 20, "hidden": [4]}


@pytest.fixture(scope="module")
def over_alpha(tmp_path_factory):
    axes = {"alpha": [0.1, 1.0], "constraints": [["money<=9"], ["money<=5"]]}
    spec = make_spec(
        {"scenario": "paper", "seeds": 2, "evaluation_episodes": 50, "optimum": False,
         "set": {**SHORT, "objective": "cvar"}, "axes": axes}
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("sweep") / "alpha"
    return spec, folder, sweep(spec, folder, lanes=8, devices=1)


def test_cvar_is_a_column_and_at_1_it_is_the_mean(over_alpha):
    spec, folder, found = over_alpha
    cost, tail = (found.by_configuration(name) for name in ("cost", "cvar"))
    np.testing.assert_allclose(tail[2:], cost[2:], rtol=1e-5)
    assert (tail[:2] > cost[:2]).all()
    np.testing.assert_array_equal(read_results(folder, spec).table["cvar"], found.table["cvar"])


def test_cost_is_drawn_against_tails_and_promises(over_alpha, tmp_path):
    *_, found = over_alpha
    assert against_cost(found) == ("cvar", "money")
    points, front = trade_off(found, "money")
    assert points.shape == (4, 2) and front[points[:, 0].argmin()] and front[points[:, 1].argmin()]
    titles = [str(table.title) for table in summary_tables(found)]
    assert any("mean cost and cvar at once" in title for title in titles)
    trade_offs(tmp_path / "trade.png", found)
    assert (tmp_path / "trade.png").stat().st_size > 1000


def test_a_sweep_that_asks_for_no_tail_has_none():
    spec = make_spec({"scenario": "paper", "seeds": 2, "set": SHORT, "axes": {"learning_rate": [0.1, 0.2]}})
    assert not spec.asks_tail
