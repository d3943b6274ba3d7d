"""Which scenarios can be followed from events alone."""

import pytest

from aljax.routing.events import known_throughout, obstacle, read_at_start
from aljax.scenario import load_scenario

from desk import desk, untrained
from tiny import tiny_scenario


def test_a_blind_scenario_and_one_of_known_starts_can_be_followed():
    for scenario, known in ((desk(), False), (tiny_scenario(), True)):
        assert obstacle(scenario, untrained(scenario)) == "" and read_at_start(scenario) == []
        assert known_throughout(scenario) is known


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["actions.noise.search=0.1"], "what search does is noisy"),
        (["actions.gain.search.answers=0.5"], "search multiplies answers, of which the agent does not know"),
        (["actions.reveals.wait=true"], "wait reveals answers, record, and no event tells"),
        (["blind=[true, false]"], "where record starts is seen by the agent, but told by no event"),
    ],
)
def test_what_no_event_tells_is_refused_with_what_to_change(changes, words):
    scenario = desk(*changes)
    assert words in obstacle(scenario, untrained(scenario))


def test_what_an_agent_reads_at_the_start_is_enough_where_nothing_else_is_hidden():
    scenario = load_scenario("outage")
    assert "export with --readings" in obstacle(scenario, untrained(scenario)) and read_at_start(scenario) == ["work"]
    assert obstacle(scenario, untrained(scenario), readings=True) == ""
    noisy = load_scenario("service_desk")
    assert "noisy" in obstacle(noisy, untrained(noisy), readings=True)


def test_a_policy_that_is_told_what_no_agent_sees_is_refused():
    scenario = desk()
    assert "train with --inputs belief" in obstacle(scenario, untrained(scenario, inputs="told"))
