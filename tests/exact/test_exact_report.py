"""Tables of the exact optimum."""

import dataclasses
import math

from aljax.env import COMPONENTS
from aljax.evaluate import Spread, Summary
from aljax.exact.report import optimal_table
from aljax.statistics import Interval
from aljax.tables import markdown

from tiny import tiny_scenario

SUMMARY = Summary(
    Spread(12.5, 0.25),
    Spread(0.5, 0.0),
    dict.fromkeys(COMPONENTS, Spread(1.0, 0.125)),
    cost_iqm=Interval(12.25, 12.0, 12.75),
)


def lines(table):
    return markdown([table]).splitlines()


def test_one_seed_has_no_spread_in_the_table_of_the_optimum():
    alone = dataclasses.replace(SUMMARY, cost=Spread(39.3878, 0.0), cost_iqm=Interval(39.3878, math.nan, math.nan))
    solved = lines(optimal_table(tiny_scenario(), alone, alone))
    assert solved[0] == "The exact optimum: tiny, of one seed" and "±" not in "".join(solved)
    spread = lines(optimal_table(tiny_scenario(), SUMMARY, SUMMARY))
    assert "mean ± std over seeds" in spread[0] and "12.5000 ± 0.2500" in "".join(spread)
