"""Percentiles, CVaR and promises of evaluated policies, in results, files and tables, and only where asked for."""

import io

import numpy as np
import pytest

from aljax import experiment, report, runs
from aljax.host.terminal import LiteralConsole
from aljax.risk import cvar
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


def test_the_table_has_a_row_a_policy(result):
    stream = io.StringIO()
    report.show(LiteralConsole(file=stream, width=200), [tail_table(result.tails)])
    assert "CVaR of the worst 20 %" in stream.getvalue()
    assert all(name in stream.getvalue() for name in result.evaluations)


def test_who_asks_for_the_mean_gets_what_there_was_before():
    plain = experiment.run(tiny_scenario(), **SHORT)
    assert plain.tails is None and "risk" not in plain.figures
