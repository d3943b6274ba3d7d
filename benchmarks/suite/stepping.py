"""Environment steps a second with random actions; everything that is seen and paid is summed."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env, load_scenario, rollout
from aljax.chance import draw_chance
from aljax.env import EnvParams
from aljax.target import here

from rivals import numpy_batched, same
from suite import apart, devices
from suite.measure import measured, repeated
from suite.options import Options
from suite.rivals_here import missing, there

GYMNAX = ("CartPole-v1", "Acrobot-v1")


def horizons(options: Options) -> tuple[int, ...]:
    """Lengths of the episodes."""
    return (10,) if options.quick else (10, 100)


def scenario_params(horizon: int) -> EnvParams:
    """The environment `paper`, of this many steps."""
    return load_scenario("paper", (f"horizon={horizon}",)).params


def play(key: jax.Array, params: EnvParams, episodes: int, steps: int) -> Any:
    """aljax, as its own training does it: a block of episodes after the other, episodes along the last axis.

    Returns:
      Final states, and sums over the steps of observations, costs, and steps played; leading axis: blocks.
    """
    blocks = rollout.blocks_of(episodes, here().stepping_block)
    block = functools.partial(play_block, params=params, episodes=episodes // blocks, steps=steps)
    return rollout.in_blocks(block, key, blocks)


def play_block(key: jax.Array, params: EnvParams, episodes: int, steps: int) -> Any:
    """Episodes side by side, all their chance drawn at once."""
    chance = draw_chance(key, params, episodes=episodes, steps=steps)
    state = env.begin(chance.start, params)
    actions = env.num_actions(params)

    def body(carry: Any, drawn: Any) -> Any:
        state, seen, paid, played = carry
        xi, choice = drawn
        moved, costs = env.transition_apart(state, (choice * actions).astype(jnp.int32), xi, params)
        paid = [total + cost for total, cost in zip(paid, costs, strict=True)]
        return (moved, seen + env.observe(moved, params), paid, played + ~state.done), None

    zeros = [jnp.zeros(episodes)] * len(env.COMPONENTS), jnp.zeros(episodes, jnp.int32)
    carry = (state, env.observe(state, params), *zeros)
    return jax.lax.scan(body, carry, (chance.luck, chance.choice))[0]


def play_keys(key: jax.Array, params: EnvParams, episodes: int, steps: int) -> Any:
    """aljax with ``jax.vmap(env.step)`` and a key an episode and step, as one would write it first."""
    start_key, key = jax.random.split(key)
    seen, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(start_key, episodes), params)
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
    actions = env.num_actions(params)

    def body(carry: Any, key: jax.Array) -> Any:
        state, total, paid = carry
        action_key, step_key = jax.random.split(key)
        action = jax.random.randint(action_key, (episodes,), 0, actions)
        seen, state, costs, _ = step(jax.random.split(step_key, episodes), state, action, params)
        return (state, total + seen, paid + costs), None

    zeros = jnp.zeros((episodes, len(env.COMPONENTS)))
    return jax.lax.scan(body, (state, seen, zeros), jax.random.split(key, steps))[0]


def jax_rows(options: Options, horizon: int, where: str, several: int) -> Iterator[dict[str, Any]]:
    """aljax and gymnax at a horizon, on `several` devices."""
    episodes, params = options.episodes(here()), scenario_params(horizon)
    share = episodes // several
    sizes = {"episodes": share, "steps": horizon}
    contestants: list[tuple[str, str, Callable[..., Any], tuple[Any, ...]]] = [
        ("aljax", "", functools.partial(play, **sizes), (params,)),
        ("aljax", "a key an episode and step", functools.partial(play_keys, **sizes), (params,)),
    ]
    if there("gymnax"):
        from rivals.gymnax_stepping import stepping

        for name in GYMNAX[:1] if options.quick else GYMNAX:
            for automatic in (True, False):
                text = "step, starts anew" if automatic else "step_env"
                contestants.append((f"gymnax {name}", text, stepping(name, share, horizon, automatic=automatic), ()))
    for name, variant, function, shared in contestants:
        jitted, given = devices.spread(function, several, *shared)
        found = measured(jitted, *given, repeats=options.row_repeats)
        if name == "aljax" and not variant:
            d = env.num_coordinates(params)
            found["random_words"] = share * several * (2 * d + 2 * horizon)  # `paper` has no noise
        yield _row(name, variant, horizon, where, share * several * horizon, found, devices=several)


def loop_rows(options: Options, horizon: int, where: str, threads: int) -> Iterator[dict[str, Any]]:
    """NumPy (on one thread) and Numba on so many threads, after both were checked against aljax."""
    episodes, params = options.episodes(here()), scenario_params(horizon)
    numbers = jax.tree.map(np.array, params)
    steps = episodes * horizon
    if threads == 1:
        batched = numpy_batched.Environment(numbers)
        checked = same.difference(params, batched.play_given)
        found = repeated(lambda: batched.play(np.random.default_rng(0), episodes, horizon), options.row_repeats)
        yield _row("NumPy", "batched", horizon, where, steps, found, threads=1, differs_by=checked)
    if not there("numba"):
        return
    from rivals import numba_stepping as loops

    given = loops.arrays(numbers)
    used = loops.set_threads(threads)
    checked = same.difference(params, lambda *drawn: loops.named(loops.play_given(*given, *drawn)))
    for variant, function in (("draws all that aljax draws", loops.play_all), ("fastest", loops.play_fast)):
        found = repeated(lambda f=function: f(*given, episodes, horizon, 0), options.row_repeats, fetch=list)
        yield _row("Numba", variant, horizon, where, steps, found, threads=used, differs_by=checked)


def _row(name: str, variant: str, horizon: int, where: str, steps: int, found: dict[str, Any], **more: Any) -> Any:
    """A row of the section; `steps` are counted to the horizon, whether an episode has ended or not."""
    rate = steps / found["seconds"]["median"]
    place = {"name": name, "variant": variant, "horizon": horizon, "where": where, "steps": steps}
    return place | {"steps_per_second": rate} | more | found


def measure_point(options: Options, point: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of one place (see `apart.places`) in this process."""
    rows: list[dict[str, Any]] = []
    for horizon in horizons(options):
        if point["devices"]:
            rows += jax_rows(options, horizon, point["where"], min(point["devices"], len(jax.devices())))
        if point["threads"]:
            rows += loop_rows(options, horizon, point["where"], point["threads"])
    return rows


def measure(options: Options) -> dict[str, Any]:
    """The section: on one core, on one device (a CPU device uses all cores for large operations), on all."""
    target = here()
    rows = [
        row
        for place in apart.places(target, options)
        for row in apart.run("stepping", options, point=place, cores=place["cores"], devices=max(1, place["devices"]))
    ]
    return {
        "episodes": options.episodes(target),
        "horizons": list(horizons(options)),
        "rows": with_ratios(rows, ("horizon",)),
        "skipped": [missing(name, f"{name} stepping") for name in ("numba", "gymnax") if not there(name)],
    }


def with_ratios(rows: list[dict[str, Any]], group: tuple[str, ...]) -> list[dict[str, Any]]:
    """Adds ``times_aljax`` to rows: how many times as long as aljax's own row in the same place.

    Where aljax has no row in a place (loops on a CPU beside an accelerator), its fastest of the group stands in.
    """
    for row in rows:
        mine = [other for other in rows if other["name"] == "aljax" and all(other[key] == row[key] for key in group)]
        near = [other for other in mine if other["where"] == row["where"]] or mine
        if near:
            base = min(other["seconds"]["median"] for other in near)
            row["times_aljax"] = row["seconds"]["median"] / base
            row["against"] = "same place" if near[0]["where"] == row["where"] else "fastest place"
    return rows
