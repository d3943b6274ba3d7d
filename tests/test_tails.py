"""Percentiles, CVaR and promises of evaluated policies, in results, files and tables, and only where asked for."""

import io

import chex
import numpy as np
import pytest

from aljax import experiment, runs, tables
from aljax.errors import UserError
from aljax.host import files
from aljax.host.terminal import LiteralConsole
from aljax.learning.risk import cvar
from aljax.learning.run_state import CURVES
from aljax.tails import tail_table

from tiny import tiny_scenario

SHORT = {"episodes": 40, "batch": 20, "hidden": (4,), "seeds": 3, "evaluation_episodes": 50, "plots": False}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return experiment.run(
        tiny_scenario(), objective="cvar", alpha=0.2, constraints=("P(latency>2)<=0.25", "money<=1"),
        out=tmp_path_factory.mktemp("tails") / "run", **SHORT,
    )  # fmt: skip


def test_figures_are_those_of_the_episodes(result):
    found, total = result.tails.rows["learned"], np.asarray(result.evaluations["learned"].outcome.total, float)
    costs = np.asarray(result.evaluations["learned"].outcome.costs)
    assert found.p95 == np.quantile(total, 0.95) and found.cvar.estimate == cvar(total, 0.2).mean()
    late, money = found.kept
    np.testing.assert_allclose(late.value.estimate, (costs[:, 0] > 2.0001).mean())
    np.testing.assert_allclose(money.slack, 1.0 - costs[:, 1].mean(), rtol=1e-6)
    assert set(result.tails.rows) == set(result.evaluations)
    assert np.shape(result.tails.learned.multipliers) == (3, 2)


def test_a_run_folder_has_them_and_is_read_back(result):
    back = runs.load(result.folder)
    assert back.config == result.config and back.hyperparameters == result.hyperparameters
    told = back.metrics["risk"]
    assert told["alpha"] == 0.2 and np.shape(told["multipliers"]) == (3, 2) and len(told["threshold"]) == 3
    row = told["policies"]["optimal"]["constraints"]["P(latency > 2)"]
    assert row["slack"] == pytest.approx(0.25 - row["estimate"])
    assert "P(latency > 2) ≤ 0.25" in (result.folder / "tables.md").read_text(encoding="utf-8")


def test_multipliers_and_what_they_go_by_are_curves_of_the_run(result):
    curve, back = result.curve, runs.load(result.folder).curve
    assert curve.multipliers.shape == curve.promised.shape == (3, 2, 2)
    np.testing.assert_array_equal(curve.multipliers[:, -1], result.tails.learned.multipliers)
    np.testing.assert_array_equal(curve.promised[:, -1], result.tails.learned.means[:, 1:])
    np.testing.assert_allclose(curve.promised[:, 0, 1], 0.1 * curve.components[:, 0, 1], rtol=1e-5)  # from 0 on
    chex.assert_trees_all_equal(back, curve)


@pytest.fixture
def saved(result, tmp_path):
    """The result's run folder, written with other curves."""

    def save(**changes):
        curves = {name: values for name, values in {**result.curves, **changes}.items() if values is not None}
        options = result.config, result.hyperparameters, result.protocol
        with runs.new_folder(tmp_path / "saved") as place:
            runs.save(place.folder, result.scenario, *options, result.policy, curves)
            files.write_json(place.folder / "metrics.json", result.figures)
        return place.path

    return save


def test_a_run_from_before_there_were_such_curves_is_read(saved, result):
    old = runs.load(saved(multipliers=None, promised=None)).curve
    assert old.multipliers is None and old.promised is None
    np.testing.assert_array_equal(old.cost, result.curve.cost)


@pytest.mark.parametrize(
    "spoiled", [{"promised": None}, {"promised": np.ones((3, 2, 1))}, {"multipliers": np.full((3, 2, 2), np.nan)}]
)
def test_spoiled_curves_of_promises_are_one_line(spoiled, saved):
    with pytest.raises(UserError, match=rf"curves\.npz: .*{next(iter(spoiled))}"):
        runs.load(saved(**spoiled))


def test_the_table_has_a_row_a_policy(result):
    stream = io.StringIO()
    tables.show(LiteralConsole(file=stream, width=200), [tail_table(result.tails)])
    assert "CVaR of the worst 20 %" in stream.getvalue()
    assert all(name in stream.getvalue() for name in result.evaluations)


def test_who_asks_for_the_mean_gets_what_there_was_before():
    plain = experiment.run(tiny_scenario(), **SHORT)
    assert plain.tails is None and "risk" not in plain.figures
    assert tuple(plain.curves) == CURVES and plain.curve.multipliers is None
