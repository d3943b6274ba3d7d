"""Whole episodes under a policy network with random weights, actions sampled; every observation and cost is kept."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from aljax import env, load_scenario, rollout
from aljax.env import EnvParams
from aljax.networks.architecture import MLP
from aljax.options import TrainConfig
from aljax.policy import Learned
from aljax.target import here

from rivals import rollouts as rivals
from suite import apart, devices
from suite.measure import measured, repeated
from suite.options import Options
from suite.rivals_here import missing, there
from suite.stepping import with_ratios

HIDDEN = TrainConfig().hidden[0]


def play(key: jax.Array, params: EnvParams, variables: Any, *, episodes: int, steps: int) -> Any:
    """aljax: trajectories and what they came to."""
    policy = Learned(variables, MLP(env.num_actions(params), (HIDDEN,)), greedy=False)
    played = rollout.rollout(key, policy, params, episodes=episodes, steps=steps)
    return played, rollout.outcome(played, params)


def jax_rows(options: Options, where: str, several: int) -> Iterator[dict[str, Any]]:
    """aljax, and gymnax's CartPole with the same network, on `several` devices."""
    scenario = load_scenario("paper")
    params, steps = scenario.params, scenario.horizon
    share = options.episodes(here()) // several
    network = MLP(env.num_actions(params), (HIDDEN,))
    variables = network.init(jax.random.key(1), env.observation_size(params))

    def one(key: jax.Array, params: EnvParams, variables: Any) -> Any:
        return play(key, params, variables, episodes=share, steps=steps)

    contestants: list[tuple[str, str, Any, tuple[Any, ...]]] = [("aljax", "", one, (params, variables))]
    if there("gymnax"):
        other = rivals.gymnax_rollout("CartPole-v1", HIDDEN, share, steps)
        contestants.append(("gymnax CartPole-v1", "the same network, another task", other, ()))
    for name, variant, function, shared in contestants:
        jitted, given = devices.spread(function, several, *shared)
        found = measured(jitted, *given, repeats=options.row_repeats)
        yield _row(name, variant, where, share * several, steps, found, devices=several)


def loop_rows(options: Options, where: str, threads: int) -> Iterator[dict[str, Any]]:
    """Batched NumPy (its matrix products thread as they like) and PyTorch."""
    scenario = load_scenario("paper")
    numbers, steps = jax.tree.map(np.array, scenario.params), scenario.horizon
    episodes = options.episodes(here())
    work = rivals.numpy_rollout(numbers, HIDDEN, episodes, steps)
    found = repeated(work, options.row_repeats)
    yield _row("NumPy", "batched", where, episodes, steps, found)
    if there("torch"):
        import torch

        torch.set_num_threads(threads)
        work = rivals.torch_rollout(numbers, HIDDEN, episodes, steps)
        found = repeated(work, options.row_repeats, fetch=lambda result: [each.numpy() for each in result])
        yield _row("PyTorch", "batched", where, episodes, steps, found, threads=threads)


def _row(name: str, variant: str, where: str, episodes: int, steps: int, found: dict[str, Any], **more: Any) -> Any:
    median = found["seconds"]["median"]
    place = {"name": name, "variant": variant, "where": where, "episodes": episodes, "steps": episodes * steps}
    rates = {"episodes_per_second": episodes / median, "steps_per_second": episodes * steps / median}
    return place | rates | more | found


def measure_point(options: Options, point: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of one kind in this process; see `apart.places`."""
    rows: list[dict[str, Any]] = []
    if point["devices"]:
        rows += jax_rows(options, point["where"], min(point["devices"], len(jax.devices())))
    if point["threads"]:
        rows += loop_rows(options, point["where"], point["threads"])
    return rows


def measure(options: Options) -> dict[str, Any]:
    """The section."""
    target = here()
    rows = [
        row
        for place in apart.places(target, options)
        for row in apart.run("rollouts", options, point=place, cores=place["cores"], devices=max(1, place["devices"]))
    ]
    return {
        "episodes": options.episodes(target),
        "rows": with_ratios(rows, ()),
        "skipped": [missing(name, f"{name} rollouts") for name in ("torch", "gymnax") if not there(name)],
    }
