"""dm_env's environment: its own tests, and what a time step holds."""

import numpy as np
import pytest

import aljax

from alike import check_alike, library

dm_env = library("dm_env", "dm_env")

from absl.testing import absltest  # noqa: E402
from dm_env import test_utils  # noqa: E402

from aljax.adapters.core import Simulator  # noqa: E402
from aljax.adapters.dm_env import Environment  # noqa: E402

from tiny import tiny_scenario  # noqa: E402


class TestAsTheLibraryHasIt(test_utils.EnvironmentTestMixin, absltest.TestCase):
    """All that the library tests of an environment."""

    def make_object_under_test(self):
        return Environment("escalation", seed=3)

    def make_action_sequence(self):
        for step in range(60):
            yield np.int32(step % 5)


def test_a_step_is_the_environments_own_and_the_end_has_no_discount():
    environment, one = (
        Environment(tiny_scenario("tolerance=0.0"), seed=3),
        Simulator(tiny_scenario("tolerance=0.0"), (), 1),
    )
    first = environment.reset()
    assert first.first() and first.reward is None
    check_alike(first.observation, one.start([3]).shown.observation[0])
    for step in range(3):
        found, answer = environment.step(0), one.step([0])
        check_alike(found.observation, answer.shown.observation[0])
        assert type(found.reward) is float and found.reward == float(answer.reward[0])
        assert type(found.discount) is float and found.discount == (0.0 if step == 2 else 1.0)
        assert found.last() == (step == 2)
    following = environment.step(0)
    assert following.first()
    check_alike(following.observation, one.start([None]).shown.observation[0])


def test_masks_and_actions_out_of_range():
    environment = Environment(tiny_scenario("actions.weak.max_calls=1"), seed=0)
    environment.reset()
    environment.step(0)
    assert environment.action_masks().tolist() == [False, True, True]
    with pytest.raises(aljax.UserError, match="action 3: expected a row of the action table, 0 to 2"):
        environment.step(3)
