"""Anybody's agent on the starts and the luck of ``aljax train``'s table, so that it gets its gap to the optimum."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.adapters.core import checked_actions, processor, scenario_of
from aljax.adapters.fork import refuse_after_fork
from aljax.adapters.stepping import Shown, shown_of
from aljax.chance import Chance, draw_chance
from aljax.checks import check_protocol
from aljax.env import COMPONENTS, EnvParams, EnvState
from aljax.evaluate import Evaluation, check_finite
from aljax.evaluate import evaluate as evaluate_policies
from aljax.host.programs import Program
from aljax.options import Protocol
from aljax.overrides import Given
from aljax.policy import Policy
from aljax.rollout import Outcome
from aljax.scenario import Scenario
from aljax.seeds import EVALUATION, seed_keys
from aljax.target import Target, here, target_of

_ASKED = ("action_masks", "episode_start")
"""What a predictor is given by name, if it has parameters of these names."""


def evaluate(
    predict: Policy | Callable[..., Any],
    scenario: str | Path | Scenario = "paper",
    overrides: Given = (),
    *,
    protocol: Protocol | None = None,
) -> Evaluation:
    """Plays anybody's agent on the starts and the luck of ``aljax train``'s table.

    All episodes of all seeds are played side by side, as N = S B of them, in H calls. Evaluated likewise, the policy of
    `aljax.find_optimal` is what `aljax.summarise` measures the agent's gap from.

    Args:
      predict: observations float32 ``[N, O]`` to actions ``[N]``, without exploration; or a policy in JAX. One that has
        parameters of these names is given, by name, ``action_masks`` (int8 ``[N, A]``: rows that may be chosen now)
        and ``episode_start`` (Boolean ``[N]``: the episodes begin at this step, for agents with memory).
      scenario: one, or its name, or the path of its file.
      overrides: changes to one that is loaded, see `aljax.load_scenario`.
      protocol: seeds and episodes; None: those of ``aljax train``, 5 and 1,000.

    Returns:
      What the episodes came to, S seeds of B each.

    Raises:
      UserError: a scenario or a protocol that cannot be, actions that are none, costs that overflow.
    """
    refuse_after_fork()
    scenario, protocol = scenario_of(scenario, overrides), protocol or Protocol()
    check_protocol(protocol, scenario)
    if isinstance(predict, Policy):
        found = jax.device_get(_played_by_policy(predict, scenario, protocol))
    else:
        found = _played_by_host(predict, scenario, protocol)
    check_finite(found, "costs of the agent")
    return found


def _played_by_policy(policy: Policy, scenario: Scenario, protocol: Protocol) -> Evaluation:
    program = _program(protocol.evaluation_episodes, scenario.horizon, here())
    return program(seed_keys(protocol, EVALUATION), {"agent": policy}, scenario.params)["agent"]


@functools.lru_cache(16)
def _program(episodes: int, steps: int, target: Target) -> Program:
    """Plays policies; those that differ in numbers alone share what is compiled."""
    static = {"episodes": episodes, "steps": steps, "target": target}
    played = functools.partial(evaluate_policies, trained=frozenset(), **static)
    return Program(played, ("agent", static), compiler_options=target.compiler_options(once=True))


def _played_by_host(predict: Callable[..., Any], scenario: Scenario, protocol: Protocol) -> Evaluation:
    device, asked = processor(), _asked(predict)
    seeds, episodes, horizon = protocol.seeds, protocol.evaluation_episodes, scenario.horizon
    size, rows, target = seeds * episodes, len(scenario.action_names), target_of(device.platform)
    keys, params = jax.device_put((seed_keys(protocol, EVALUATION), scenario.params), device)
    chance, state, shown = _starts(keys, params, episodes=episodes, steps=horizon, target=target)
    costs, steps = np.zeros((len(COMPONENTS), size), np.float32), np.zeros(size, np.int32)
    plays = np.zeros((horizon, rows, seeds), np.float32)
    for step in range(horizon):
        alive = ~np.asarray(state.done)
        told = {"action_masks": np.array(shown.action_mask), "episode_start": np.full(size, step == 0)}
        answer = predict(np.array(shown.observation), **{name: told[name] for name in asked})
        actions = checked_actions(answer, size, scenario)
        for row in range(rows):
            plays[step, row] = ((actions == row) & alive).reshape(seeds, episodes).mean(1)
        state, shown, cost = _step(params, chance.luck, np.int32(step), state, actions, target=target)
        costs, steps = costs + np.asarray(cost), steps + alive
    weighted = np.tensordot(np.asarray(params.weights, np.float64), costs, 1)
    outcome: dict[str, Any] = {
        "costs": costs.reshape(-1, seeds, episodes).swapaxes(0, 1),
        "total": weighted.astype(np.float32).reshape(seeds, episodes),
        "success": np.asarray(shown.is_success).reshape(seeds, episodes),
        "steps": steps.reshape(seeds, episodes),
    }
    shares: Any = np.moveaxis(plays, -1, 0)
    return Evaluation(Outcome(**outcome), shares)


def _asked(predict: Callable[..., Any]) -> list[str]:
    """What an agent is to be given beside observations."""
    try:
        taken = inspect.signature(predict).parameters
    except (TypeError, ValueError):  # some callables of other languages have none
        return []
    return [name for name in _ASKED if name in taken]


@functools.partial(jax.jit, static_argnames=("episodes", "steps", "target"))
def _starts(
    keys: jax.Array, params: EnvParams, *, episodes: int, steps: int, target: Target
) -> tuple[Chance, EnvState, Shown]:
    """The chance of all seeds' episodes side by side, and their starts."""
    drawn = jax.vmap(lambda key: draw_chance(key, params, episodes=episodes, steps=steps, target=target))(keys)
    chance = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -2).reshape(*leaf.shape[1:-1], -1), drawn)
    state = env.begin(chance.start, params)
    return chance, state, shown_of(state, params)


@functools.partial(jax.jit, static_argnames=("target",))
def _step(
    params: EnvParams, luck: env.Luck, step: jax.Array, state: EnvState, action: jax.Array, *, target: Target
) -> tuple[EnvState, Shown, jax.Array]:
    """One step of all episodes, and its costs ``[5, N]``."""
    state, costs = env.transition(state, action, jax.tree.map(lambda leaf: leaf[step], luck), params, target)
    return state, shown_of(state, params), costs
