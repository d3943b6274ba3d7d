"""Cost and memory against size: one axis at a time from a default point, every point in a process of its own."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from aljax import env, rollout, train
from aljax.networks.inputs import architecture_of
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import Learned
from aljax.target import Target, here

from suite import apart
from suite.environments import grown
from suite.measure import Program, compiled, peak_memory, repeated
from suite.options import Options, free_memory
from suite.stepping import play
from suite.tables import size as size_text

KINDS = ("stepping", "rollout", "update")
"""What is measured: steps with random actions; episodes under a network; one training update on as many episodes."""


def default_point(target: Target) -> dict[str, int]:
    """Where every axis starts from."""
    return {
        "episodes": 16_384 if target.accelerator else 1024,
        "horizon": 10,
        "actions": 6,
        "coordinates": 4,
        "seeds": 1,
    }


def axes(options: Options, target: Target) -> dict[str, tuple[int, ...]]:
    """Values of each axis."""
    if options.quick:
        return {"episodes": (64, 256)}
    largest = 24 if target.accelerator else 20
    return {
        "episodes": tuple(2**power for power in range(6, largest + 1, 2)),
        "horizon": (10, 100, 1000),
        "actions": (6, 16, 64, 512),
        "coordinates": (4, 32, 256),
        "seeds": (1, 64, 4096),
    }


def available() -> int:
    """Bytes that are free where jax computes; 0 where nobody tells."""
    stats = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    return free_memory()


def kinds(options: Options, axis: str) -> tuple[str, ...]:
    """What is measured along an axis."""
    if axis == "seeds":
        return ("update",)
    return ("stepping", "update") if options.quick else KINDS


def program(kind: str, point: dict[str, int]) -> tuple[Program, Any]:
    """The work of a point, compiled but not run, and its arguments."""
    params, key = grown(point["actions"], point["coordinates"], point["horizon"]), jax.random.key(0)
    sizes = {"episodes": point["episodes"], "steps": point["horizon"]}
    if kind == "stepping":
        args: Any = (key, params)
        return compiled(functools.partial(play, **sizes), *args), args
    if kind == "rollout":
        network = architecture_of(TrainConfig(), env.num_actions(params))
        variables = network.init(key, env.observation_size(params))

        def episodes(key: jax.Array, variables: Any, params: env.EnvParams) -> Any:
            played = rollout.rollout(key, Learned(variables, network, greedy=False), params, **sizes)
            return played, rollout.outcome(played, params)

        args = (key, variables, params)
        return compiled(episodes, *args), args
    config = TrainConfig(episodes=point["episodes"] * 100, batch=point["episodes"])
    static: dict[str, Any] = {"config": config, "steps": point["horizon"]}
    start = jax.jit(jax.vmap(functools.partial(train.init, **static), in_axes=(0, None)))
    state = start(jax.random.split(key, point["seeds"]), params)
    hyper = jax.tree.map(jnp.float32, Hyperparameters())

    def update(state: Any, hyper: Any, params: env.EnvParams) -> Any:
        each = functools.partial(train.advance, **static)
        return jax.vmap(each, in_axes=(0, None, None, None, None))(state, 0, 1, hyper, params)

    args = (state, hyper, params)
    return compiled(update, *args), args


def measure_point(options: Options, point: dict[str, Any]) -> dict[str, Any]:
    """One kind of work at one point: seconds, the compiler's memory and the process's peak; or that it was left out."""
    size = {name: point[name] for name in default_point("cpu")}
    work, args = program(point["kind"], size)
    before = peak_memory()
    limit = options.memory if options.memory is not None else int(0.6 * available())
    if 0 < limit < work.bytes:
        return point | {"left_out": f"needs {size_text(work.bytes)}, more than {size_text(limit)}"} | work.notes
    # Fetching trajectories would count the copies on the host; the end states stand for them.
    found = repeated(
        lambda: work.call(*args), options.row_repeats, seconds=1.0 if options.quick else 3.0, fetch=lambda result: []
    )
    for name in ("outputs_sha256", "repeats_bitwise_equal"):  # nothing was fetched
        found.pop(name)
    found["seconds"].pop("all"), found["cpu_seconds"].pop("all")
    episodes = size["episodes"] * size["seeds"]
    each = {"seconds_an_episode": found["seconds"]["median"] / episodes}
    each["seconds_a_step"] = each["seconds_an_episode"] / size["horizon"]
    memory = {"compiler_bytes": work.bytes, "peak_bytes": peak_memory(), "peak_bytes_before": before}
    return point | each | memory | found | work.notes


def measure(options: Options) -> dict[str, Any]:
    """The section."""
    target = here()
    start, found = default_point(target), []
    for axis, values in axes(options, target).items():
        for value in values:
            for kind in kinds(options, axis):
                point = start | {axis: value, "axis": axis, "value": value, "kind": kind}
                if axis == "seeds":
                    point["episodes"] = 30
                try:
                    found.append(apart.run("growth", options, point=point))
                except apart.PartError as error:  # out of memory on an accelerator ends one point, not the run
                    found.append(point | {"left_out": str(error)[-300:]})
    return {"default": start, "points": found}
