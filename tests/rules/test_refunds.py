"""The privileges of the shipped scenario `refunds`, and the rules that the how-to page writes."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env, load_scenario
from aljax.host import toml
from aljax.scenario import parse_scenario

SCENARIO = load_scenario("refunds")
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "keep_rules.md"


def legal_after(*steps, scenario=SCENARIO) -> set[str]:
    """The rows that are legal once these were played; a name with an exclamation mark failed."""
    params, names = scenario.params, scenario.action_names
    state = env.reset(jax.random.key(0), params)[1]
    for step in steps:
        row, failed = names.index(step.rstrip("!")), step.endswith("!")
        luck = env.Luck(jnp.float32(0.0 if failed else 0.99), jnp.zeros(len(scenario.coordinate_names)))
        state, costs = env.transition(state, jnp.int32(row), luck, params)
        assert bool(costs[3]) == failed
    return {name for name, flag in zip(names, np.asarray(env.legal(state, params)), strict=True) if flag}


ALWAYS = {"verify", "notify", "wait", "hand_over"}


def test_a_refund_needs_a_grant():
    assert legal_after() == ALWAYS | {"search", "terminate"}
    assert "refund" not in legal_after("verify!")
    assert "refund" in legal_after("verify!", "verify")
    assert "refund" in legal_after("verify", "wait", "wait")


def test_the_override_is_legal_only_where_a_refund_was_tried_and_has_not_worked():
    assert "override" not in legal_after("verify")
    assert "override" in legal_after("verify", "refund!")
    assert "override" not in legal_after("verify", "refund")
    assert "override" not in legal_after("verify", "refund!", "refund")


@pytest.mark.parametrize("way", [("refund",), ("refund!", "override")])
def test_who_has_paid_must_tell_before_the_case_is_closed(way):
    assert "terminate" not in legal_after("verify", *way)
    assert "terminate" not in legal_after("verify", *way, "notify!")
    assert "terminate" in legal_after("verify", *way, "notify")


def test_nothing_is_paid_after_a_hand_over():
    assert {"refund", "override"} <= legal_after("verify", "refund!")
    assert legal_after("verify", "refund!", "hand_over") == ALWAYS | {"search", "terminate"}


def test_searches_have_a_step_between_them_whether_they_worked_or_not():
    for first in ("search", "search!"):
        assert "search" not in legal_after(first)
        assert "search" in legal_after(first, "wait")


def test_with_too_few_steps_left_nothing_is_begun_that_could_not_be_answered():
    eleven = ["verify", *["wait"] * 10]
    assert "refund" in legal_after(*eleven[:-1]) and "refund" not in legal_after(*eleven)


def test_the_rules_of_the_page_can_be_read():
    """Each listing, in `refunds` without rules of its own, with the rows that it brings along."""
    listings = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    bare = SCENARIO.text[: SCENARIO.text.index("[[rules]]")]
    assert len(listings) == 3
    for listing in listings:
        buy = "[actions.buy]\nlatency = 1.0\nmoney = 1.0\n" if "buy" in listing else ""
        scenario = parse_scenario(f"{bare}\n{buy}\n{listing}", name="page", where="page.toml")
        assert len(scenario.rule_names) == len(toml.parse(listing, "listing")["rules"])
