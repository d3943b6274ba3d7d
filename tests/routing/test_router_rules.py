"""Rules in a router: what is legal, by brute force over whole traces, whatever the network says and the agent does."""

import numpy as np
import pytest

from aljax.router import Router
from aljax.routing.export import Settings, router_data

from desk import desk, loaded, untrained
from ruled import ruled
from verdicts import Verdicts

CASES = {
    "owed at the end": ([{"template": "response", "a": "a", "b": "b"}, {"template": "existence", "a": "a"}], "c", {}),
    "by calls": (
        [
            {"template": "alternate_precedence", "a": "a", "b": "b", "on": "call"},
            {"template": "absence", "a": "b", "n": 3, "on": "call"},
        ],
        "",
        {},
    ),
    "few calls": (
        [{"template": "chain_response", "a": "a", "b": "b"}, {"template": "existence", "a": "a", "n": 2}],
        "",
        {"b": 3},
    ),
    "one after another": (
        [
            {"template": "cooldown", "a": "a", "steps": 2},
            {"template": "not_coexistence", "a": "b", "b": "c", "mode": "soft", "weight": 2.0},
            {"template": "existence", "a": "a", "n": 2},
        ],
        "",
        {},
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rules")


def router_of(scenario):
    return Router(router_data(scenario, untrained(scenario, hidden=(4,)), Settings()), None, False, None, "router.json")


@pytest.mark.parametrize("case", CASES)
def test_what_is_barred_is_what_brute_force_bars(case):
    rules, ends, most = CASES[case]
    overrides = [f"actions.{row}.max_calls={n}" for row, n in most.items()]
    found, brute = router_of(ruled(rules, "abc", ends, 6, *overrides)), Verdicts(rules, "abc", ends, 6, most)
    rng, barred = np.random.default_rng(0), 0
    for _ in range(150):
        episode, steps = found.start(), ()
        while not episode.over:
            choice, legal = episode.choose(), brute.lasting(steps)
            if legal:
                assert choice.barred.keys() == set("abc") - legal and choice.action in legal
                assert all(f"{name} is barred: {why}" in choice.reason for name, why in choice.barred.items())
                barred += len(choice.barred)
            row = rng.choice(sorted(set("abc") - choice.barred.keys()))
            steps = (*steps, (row, bool(rng.random() < 0.7)))
            episode.record(row, ok=steps[-1][1], seconds=1.0)
    assert barred > 20


def test_the_rule_is_named_and_bars_in_a_fallback_too(folder):
    found = loaded(folder, inputs="observation", ruled=True)
    episode = found.start()
    choice = episode.choose(["update", "wait"])
    assert choice.action == "wait" and choice.allowed == ["wait"] and not choice.fallback
    assert choice.barred == {"update": "no update before the first search (rule look_first)"}
    assert "update is barred: no update before the first search (rule look_first)" in choice.reason
    unknown = episode.choose(["update", "wait", "fly"])
    assert unknown.fallback and unknown.allowed == ["wait", "fly"] and unknown.action == "wait"
    only = episode.choose(["update"])
    assert only.action is None and only.allowed == ["update"] and "look_first" in only.reason
    episode.record("wait", ok=True, seconds=3.0)
    assert "no wait within 12 s of the wait before it" in episode.choose().barred["wait"]
    episode.record("search", ok=True, seconds=8.0)
    assert "wait" in episode.choose().barred
    episode.record("search", ok=False, seconds=4.0)
    assert episode.choose().barred == {}
    episode.record("update", ok=True, seconds=1.0)
    assert "response" in episode.choose().barred["terminate"]
    episode.record("search", ok=False, seconds=1.0)
    assert "fewer than 4 times" in episode.choose().barred["search"]  # calls that fail count as well


def test_rules_are_kept_when_the_router_itself_is_broken(folder):
    episode = loaded(folder, inputs="observation", ruled=True).start()
    episode._book.z = None
    choice = episode.choose(["update", "wait", "search"])
    assert choice.fallback and "an error in the router" in choice.reason
    assert choice.allowed == ["wait", "search"] and "look_first" in choice.barred["update"]


def test_a_call_of_something_else_is_an_occurrence_to_rules():
    rules = [{"template": "chain_precedence", "a": "a", "b": "b"}]
    for name, barred in (("a", False), ("elsewhere", True)):
        episode = router_of(ruled(rules, "abc", "", 6)).start()
        episode.record("a", ok=True)
        episode.record(name, ok=True)
        assert ("b" in episode.choose().barred) == barred


def test_a_scenario_without_rules_says_nothing_of_them():
    assert not {"rules", "joint"} & router_data(desk(), untrained(desk()), Settings()).keys()
