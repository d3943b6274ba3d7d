"""What the machine could do at best: matrix products alone, memory traffic alone, random numbers alone."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from aljax import chance, env, load_scenario
from aljax.options import TrainConfig
from aljax.target import here

from suite import apart, devices
from suite.measure import measured
from suite.options import Options
from suite.training import LARGEST, SEEDS, batches, sides

HIDDEN = TrainConfig().hidden[0]


def sizes() -> tuple[int, int, int]:
    """Observation, actions and steps of the scenario `paper`."""
    scenario = load_scenario("paper")
    return env.observation_size(scenario.params), env.num_actions(scenario.params), scenario.horizon


def rollout_products(key: jax.Array, shape: tuple[int, int, int], episodes: int) -> jax.Array:
    """The policy's two matrix products of every step of a rollout, step after step, no tanh and no environment."""
    inputs, actions, steps = shape
    W1, W2, seen = _network(key, inputs, actions, (steps, episodes))

    def body(carry: None, x: jax.Array) -> tuple[None, jax.Array]:
        return carry, (x @ W1) @ W2

    return jax.lax.scan(body, None, seen)[1]


def _network(key: jax.Array, inputs: int, outputs: int, shape: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Weights of two layers, and inputs, made of a few numbers so that drawing them costs next to nothing."""
    low, high = jax.random.uniform(key, (2,))

    def filled(*shape: int) -> jax.Array:
        return jnp.linspace(low, high, shape[-1]) * jnp.ones(shape)

    return filled(inputs, HIDDEN), filled(HIDDEN, outputs), filled(*shape, inputs)


def update_products_first(weights: Any, seen: jax.Array, updates: jax.Array) -> Any:
    """`update_products` with the features as the first axis of every array, as aljax has them."""
    steps, episodes, inputs = seen.shape
    seen = jnp.moveaxis(seen, 2, 1)
    flat = jnp.moveaxis(seen, 1, 0).reshape(inputs, steps * episodes)

    def loss_products(W1: jax.Array, W2: jax.Array, extra: Any) -> tuple[jax.Array, jax.Array]:
        hidden = W1.T @ flat
        outputs = W2.T @ hidden + extra
        return W1 + 1e-9 * (flat @ (W2 @ outputs).T), W2 + 1e-9 * (hidden @ outputs.T)

    def body(_: Any, weights: Any) -> Any:
        W1, W2, V1, V2 = weights
        _, played = jax.lax.scan(lambda carry, x: (carry, W2.T @ (W1.T @ x)), None, seen)
        extra = jnp.moveaxis(played, 1, 0).reshape(-1, steps * episodes)
        return *loss_products(W1, W2, extra), *loss_products(V1, V2, 0.0)

    return jax.lax.fori_loop(0, updates, body, weights)


def update_products(weights: Any, seen: jax.Array, updates: jax.Array) -> Any:
    """The matrix products of training updates, one after the other, and nothing else.

    Of the policy: forward step by step, as it plays, then forward and backward over all steps at once; of the critic:
    forward and backward. The outputs stand for the loss's derivatives, and the weights move by the gradients a
    little, so that nothing can be left out and no update can begin before the one before.
    """
    steps, episodes, inputs = seen.shape
    flat = seen.reshape(steps * episodes, inputs)

    def loss_products(W1: jax.Array, W2: jax.Array, extra: Any) -> tuple[jax.Array, jax.Array]:
        hidden = flat @ W1
        outputs = hidden @ W2 + extra
        return W1 + 1e-9 * (flat.T @ (outputs @ W2.T)), W2 + 1e-9 * (hidden.T @ outputs)

    def body(_: Any, weights: Any) -> Any:
        W1, W2, V1, V2 = weights
        _, played = jax.lax.scan(lambda carry, x: (carry, (x @ W1) @ W2), None, seen)
        return *loss_products(W1, W2, played.reshape(steps * episodes, -1)), *loss_products(V1, V2, 0.0)

    return jax.lax.fori_loop(0, updates, body, weights)


def update_row(options: Options, batch: int, runs: int, several: int) -> dict[str, Any]:
    """Seconds an update of `runs` vmapped runs: see `update_products`; in the layout in which they are faster."""
    layouts = {"features last": update_products, "features first": update_products_first}
    found = [_update_row(options, batch, runs, several, *layout) for layout in layouts.items()]
    return min(found, key=lambda row: row["update_seconds"])


def _update_row(options: Options, batch: int, runs: int, several: int, layout: str, products: Any) -> dict[str, Any]:
    """One layout."""
    inputs, actions, steps = sizes()
    key = jax.random.key(0)
    W1, W2, seen = _network(key, inputs, actions, (steps, batch))
    V1, V2, _ = _network(key, inputs, 1, (1, 1))
    weights, seen = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (runs, *leaf.shape)), ((W1, W2, V1, V2), seen))

    def work(given: Any, updates: jax.Array) -> Any:
        return jax.vmap(products, in_axes=(0, 0, None))(*given, updates)

    function, given = devices.rows(work, several, (weights, seen), 1)
    once = measured(function, given, jnp.int32(1), repeats=3)["seconds"]["min"]
    updates = max(1, min(400, round(0.1 / once)))
    found = measured(function, given, jnp.int32(updates), repeats=options.row_repeats, seconds=5.0)
    # Multiplications and additions: two products forward in play; two forward, three backward in each loss.
    layers = {"policy": (inputs * HIDDEN, HIDDEN * actions), "critic": (inputs * HIDDEN, HIDDEN)}
    forward = {name: first + second for name, (first, second) in layers.items()}
    each = 2 * forward["policy"] + forward["critic"]  # forward: playing, the policy's loss, the critic's
    each += sum(first + 2 * second for first, second in layers.values())  # backward
    flops = 2 * each * steps * batch * runs
    seconds = found["seconds"]["median"] / updates
    place = {"name": "update", "batch": batch, "runs": runs, "devices": several, "updates": updates}
    rates = {"layout": layout, "update_seconds": seconds, "flops": flops, "flops_per_second": flops / seconds}
    return place | rates | found


def rollout_row(options: Options, several: int) -> dict[str, Any]:
    """Seconds of a rollout's matrix products: see `rollout_products`."""
    episodes = options.episodes(here())
    inputs, actions, steps = shape = sizes()
    function, given = devices.spread(lambda key: rollout_products(key, shape, episodes // several), several)
    found = measured(function, *given, repeats=options.row_repeats, seconds=5.0)
    flops = 2 * (inputs * HIDDEN + HIDDEN * actions) * steps * episodes
    place = {"name": "rollout", "episodes": episodes, "devices": several, "flops": flops}
    return place | {"flops_per_second": flops / found["seconds"]["median"]} | found


def product_row(options: Options, n: int, several: int) -> dict[str, Any]:
    """Square single-precision products, one on each device."""

    def work(key: jax.Array) -> jax.Array:
        a = jnp.linspace(0, jax.random.uniform(key), n)[:, None] * jnp.ones((1, n))
        return a @ a.T

    function, given = devices.spread(work, several)
    found = measured(function, *given, repeats=options.row_repeats, seconds=5.0)
    rate = several * 2 * n**3 / found["seconds"]["median"]
    return {"name": "product", "n": n, "devices": several, "flops_per_second": rate} | found


def copy_row(options: Options, words: int, several: int) -> dict[str, Any]:
    """Reads and writes an array of so many 4-byte words on each device, again and again: bytes a second, both ways."""
    times = max(1, 2**26 // words)

    def work(key: jax.Array) -> jax.Array:
        x = jnp.full(words, jax.random.uniform(key))
        return jax.lax.fori_loop(0, times, lambda _, x: x * 1.0000001 + 0.5, x)

    function, given = devices.spread(work, several)
    found = measured(function, *given, repeats=options.row_repeats, seconds=5.0)
    moved = several * 8 * words * times
    place = {"name": "copy", "array_bytes": 4 * words, "devices": several}
    return place | {"bytes_per_second": moved / found["seconds"]["median"]} | found


def random_row(options: Options, words: int, several: int) -> dict[str, Any]:
    """Uniform numbers of aljax's generator, so many on each device."""

    def work(key: jax.Array) -> Any:
        return chance.uniform_pairs(key, (words // 2,))

    function, given = devices.spread(work, several)
    found = measured(function, *given, repeats=options.row_repeats, seconds=5.0)
    rate = several * words / found["seconds"]["median"]
    return {"name": "random", "words": words, "devices": several, "words_per_second": rate} | found


def rows(options: Options, where: str, several: int) -> Iterator[dict[str, Any]]:
    """All floors on so many devices."""
    yield rollout_row(options, several)
    if several == 1:
        yield update_row(options, TrainConfig().batch, SEEDS, several)
    if where != "one core" or options.quick or options.cores == 1:  # where training throughput is measured
        for batch in batches(options):
            for runs in sides(options):
                if runs % several == 0 and (batch, runs) != (TrainConfig().batch, SEEDS) and batch * runs <= LARGEST:
                    yield update_row(options, batch, runs, several)
    for n in (256, 512) if options.quick else (512, 1024, 2048, 4096):
        yield product_row(options, n, several)
    for words in (2**14, 2**20) if options.quick else (2**14, 2**16, 2**20, 2**26):
        yield copy_row(options, words, several)
    for words in (2**16,) if options.quick else (2**20, 2**24):
        yield random_row(options, words, several)


def measure_point(options: Options, point: dict[str, Any]) -> list[dict[str, Any]]:
    """All floors in this process, on ``devices``."""
    found = list(rows(options, point["where"], min(point["devices"], len(jax.devices()))))
    return [row | {"where": point["where"]} for row in found]


def measure(options: Options) -> dict[str, Any]:
    """The section: floors wherever jax's contestants ran."""
    found = [
        row
        for place in apart.places(here(), options)
        if place["devices"]
        for row in apart.run("floors", options, point=place, cores=place["cores"], devices=place["devices"])
    ]
    for row in found:
        row["seconds"].pop("all"), row["cpu_seconds"].pop("all")
    return {"floors": found}
