"""Tables: what a person reads, on the terminal and in files."""

import dataclasses
import io
import math

from aljax import report
from aljax.env import COMPONENTS
from aljax.evaluate import Spread, Summary
from aljax.host import terminal
from aljax.scenario import load_scenario
from aljax.scenario_tables import scenario_list, scenario_tables
from aljax.statistics import Interval
from aljax.tables import markdown, show

from tiny import tiny_scenario

SUMMARY = Summary(
    Spread(12.5, 0.25),
    Spread(0.5, 0.0),
    {name: Spread(k, 0.125) for k, name in enumerate(COMPONENTS)},
    cost_iqm=Interval(12.25, 12.0, 12.75),
)


def lines(tables):
    return markdown(tables).splitlines()


def test_a_policys_row_holds_its_figures_in_the_agreed_order():
    text = lines(report.metric_tables(tiny_scenario(), {"learned": SUMMARY}, plain=True))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text if line.startswith("| learned")]
    assert rows == [
        ["learned", "12.5000 ± 0.2500", "0.5000 ± 0.0000", "12.2500 [12.0000, 12.7500]"],
        ["learned", *(f"{k}.0000 ± 0.1250" for k in range(5))],
    ]


def test_one_seed_has_no_spread():
    alone = dataclasses.replace(SUMMARY, cost=Spread(39.3878, 0.0), cost_iqm=Interval(39.3878, math.nan, math.nan))
    text = lines(report.metric_tables(tiny_scenario(), {"learned": alone}, plain=True))
    assert text[0] == "Table 1. Total cost and success: tiny, of one seed"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text if line.startswith("| learned")]
    assert rows == [["learned", "39.3878", "0.5000", "39.39"], ["learned", *(f"{k}.0000" for k in range(5))]]
    assert alone.to_json()["cost"] == {"mean": 39.3878, "std": 0.0}  # files keep it, as NumPy has it


def test_gaps_have_a_column_where_there_is_an_optimum():
    rows = {"learned": dataclasses.replace(SUMMARY, gap=Interval(0.5, -0.25, 1.25)), "optimal": SUMMARY}
    text = lines(report.metric_tables(tiny_scenario(), rows, plain=True))
    assert any("above optimum, %" in line for line in text)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text]
    assert [row[3] for row in cells if row and row[0] in rows][:2] == ["0.50 [-0.25, 1.25]", ""]
    alone = dataclasses.replace(SUMMARY, gap=Interval(0.5, float("nan"), float("nan")))
    assert report.percent(alone.gap) == "0.50"


def test_titles_name_the_scenario_and_what_was_changed():
    text = lines(report.metric_tables(tiny_scenario("horizon=9"), {"random": SUMMARY}, plain=True))
    assert text[0] == "Table 1. Total cost and success: tiny with horizon=9, mean ± std over seeds"


def test_showing_a_table_does_not_change_it():
    tables = report.metric_tables(tiny_scenario(), {"random": SUMMARY}, plain=True)
    assert lines(tables) == lines(tables)


def test_a_scenario_is_shown_with_what_each_action_does_and_where_numbers_come_from():
    stream = io.StringIO()
    show(terminal.console(stream), scenario_tables(tiny_scenario("actions.allowed.strong=false")))
    shown = stream.getvalue()
    assert "error -0.5" in shown and "ends as it stands" in shown and "not allowed" in shown
    assert "Where the numbers come from" not in shown  # the file names no sources
    stream = io.StringIO()
    show(terminal.console(stream), scenario_tables(load_scenario("service_desk")))
    assert "clears the misreading" in stream.getvalue() and "Where the numbers come from" in stream.getvalue()
    assert "ends, all resolved" in stream.getvalue()


def test_every_scenario_has_a_row_in_the_list():
    stream = io.StringIO()
    show(terminal.console(stream), [scenario_list([tiny_scenario(), load_scenario("paper")])])
    assert "tiny" in stream.getvalue() and "paper" in stream.getvalue()
