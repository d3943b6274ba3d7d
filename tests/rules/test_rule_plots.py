"""The picture of which rule forbids what, and when."""

import jax
import numpy as np

from aljax.policy import Random
from aljax.rollout import rollout
from aljax.rules.plots import TOGETHER, forbidden, forbidding

from ruled import ruled

RULES = [
    {"name": "first_b", "template": "precedence", "a": "b", "b": "a"},
    {"name": "b_answers", "template": "response", "a": "a", "b": "b"},
    {"name": "c_answers", "template": "response", "a": "a", "b": "c"},
    {"name": "wait", "template": "cooldown", "a": "c", "seconds": 1.5},
    {"name": "soft", "template": "absence", "a": "c", "mode": "soft"},
]


def test_what_is_forbidden_is_told_of_the_rules_that_forbid_it():
    scenario = ruled(RULES, "abc", "", 4, "actions.failure.b=0.0", "actions.failure.c=0.0")
    play = jax.jit(lambda key: rollout(key, Random(), scenario.params, episodes=200, steps=4))
    played = play(jax.random.key(0))
    shares = forbidding(scenario, played)
    assert list(shares) == ["first_b", "b_answers", "c_answers", "wait", TOGETHER]
    legal, alive = np.asarray(played.legal), np.asarray(played.alive)
    total = np.add.reduce(list(shares.values()))
    np.testing.assert_allclose(total, (~legal & alive[:, None]).mean(2), atol=1e-12)
    assert shares["first_b"][0, 0] == 1.0 and not shares["first_b"][:, 1:].any()
    # With two steps left, an a would have to be answered twice in the one after it: only together do the rules know.
    assert shares[TOGETHER][2, 0] > 0 and not shares[TOGETHER][:2].any()
    assert shares["wait"][:, 2].any() and not shares["wait"][:, :2].any()


def test_the_picture_is_drawn(tmp_path):
    scenario = ruled(RULES, "abc", "", 4)
    forbidden(tmp_path / "rules.png", scenario, Random())
    assert (tmp_path / "rules.png").stat().st_size > 1000
