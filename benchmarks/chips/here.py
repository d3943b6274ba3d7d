"""What a GPU that is here does: how long updates take, and whether the kernel plays the general path's episodes."""

import concurrent.futures
import functools
from typing import Any

import jax
import numpy as np

from aljax import load_scenario, rollout, train
from aljax.episodes import Trajectory
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import learned_of
from aljax.scenario import Scenario, scenario_names
from aljax.target import Target, here

from chips.timing import profiled, steady, timed_updates

SCENARIO = "paper"


def updates(episodes: int, repeats: int) -> list[dict[str, Any]]:
    """Training's updates, 5 seeds side by side: with the kernel, and by the general path."""
    scenario, config = load_scenario(SCENARIO), TrainConfig(episodes=episodes)
    keys = jax.random.split(jax.random.key(0), Protocol().seeds)
    static: dict[str, Any] = {"config": config, "steps": scenario.horizon}
    begin = jax.jit(jax.vmap(functools.partial(train.init, **static), in_axes=(0, None)))
    state, given = begin(keys, scenario.params), (jax.tree.map(np.float32, Hyperparameters()), scenario.params)
    found = []
    for path, target in _paths().items():
        advance = jax.vmap(
            functools.partial(train.advance, **static, target=target), in_axes=(0, None, None, None, None)
        )
        found.append({"path": path} | timed_updates(advance, state, config.updates, given, repeats))
    return found


def same_episodes(sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """Rollouts of every shipped scenario by the kernel beside the general path's, on the same device and luck."""
    asked = [(load_scenario(name), episodes) for name in scenario_names() for episodes in sizes]
    with concurrent.futures.ThreadPoolExecutor() as pool:  # compilers work side by side
        return list(map(_compared, asked, list(pool.map(_compiled, asked))))


def _compiled(asked: tuple[Scenario, int]) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """A path's program, and what it is called with."""
    scenario, episodes = asked
    params, config = scenario.params, TrainConfig()
    weights = train.init(jax.random.key(0), params, config=config, steps=2).variables
    args = jax.random.key(1), train.policy_architecture(config, params).scaled(weights, 50.0), params

    def play(target: Target, key: jax.Array, weights: Any, params: Any) -> Trajectory:
        # The general path's products would else be rounded to fewer bits than the kernel's.
        with jax.default_matmul_precision("highest"):
            policy = learned_of(config, params, weights, greedy=False)
            return rollout.rollout(key, policy, params, episodes=episodes, steps=scenario.horizon, target=target)

    return {
        path: (jax.jit(functools.partial(play, target)).lower(*args).compile(), args)
        for path, target in _paths().items()
    }


def _compared(asked: tuple[Scenario, int], programs: dict[str, tuple[Any, tuple[Any, ...]]]) -> dict[str, Any]:
    """A row: how many episodes are alike, how far they are apart, and how long each path takes."""
    played, took, seen = {}, {}, {}
    for path, (program, args) in programs.items():
        again = functools.partial(program, *args)
        took[path] = steady(again, jax.block_until_ready, 3, 0.1)["seconds"]["median"]
        played[path], seen[path] = jax.tree.map(np.asarray, again()), profiled(again)
    one, other = played["kernel"], played["general"]
    alike = (one.action == other.action).all(0) & (one.alive == other.alive).all(0)
    differences = [
        np.abs(a - b)[..., alike] / (1.0 + np.abs(b[..., alike]))
        for a, b in ((one.observation, other.observation), (one.costs, other.costs), (one.final.z, other.final.z))
    ]
    return {
        "scenario": asked[0].name,
        "episodes": asked[1],
        "episodes_alike": int(alike.sum()),
        "success_alike": bool((one.success == other.success)[alike].all()),
        "rows_played": len(np.unique(one.action[one.alive])),
        "largest_difference": max(float(each.max(initial=0.0)) for each in differences),
        "seconds": took["kernel"],
        "general_seconds": took["general"],
        "profile": seen["kernel"],
        "general_profile": seen["general"],
    }


def _paths() -> dict[str, Target]:
    """The target that is here as it is, and without its kernels."""
    target = here()
    return {"kernel": target, "general": Target(target.platform, kernels="none")}
