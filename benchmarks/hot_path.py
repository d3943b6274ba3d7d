"""What each choice on the hot path is worth: the library as it is beside itself with one choice undone, in one process.

Stepping is `suite.stepping.play`, training `train.advance`. Rows take turns, so that a machine that slows down slows
down all of them. See ``docs/explanation/performance.md``.
"""

import argparse
import contextlib
import datetime
import functools
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.table import Table

from aljax import chance, env, load_scenario, rollout, train
from aljax.chance import Chance
from aljax.env import EnvParams
from aljax.host import terminal
from aljax.host.files import check_writable, write_json
from aljax.networks.architecture import MLP
from aljax.options import Hyperparameters, TrainConfig
from aljax.target import Target

from receipts import machine, status_of, versions
from suite import stepping
from suite.measure import Program, compiled, statistics


def gathered(table: env.ActionTable, action: jax.Array, target: Target) -> env.ActionTable:
    """`layout.rows_of` by indexing, one gather a column."""
    del target
    return jax.tree.map(lambda column: jnp.take(column.T, action, axis=-1, mode="clip"), table)


def drawn_by_jax(key: jax.Array, params: EnvParams, *, episodes: int, steps: int) -> Chance:
    """`chance.draw_chance` by `jax.random`, all numbers flat in one call, normal ones always."""
    d = env.num_coordinates(params)
    shapes = [(d, episodes), (d, episodes), (steps, episodes), (steps, episodes), (steps, d, episodes)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    flat = jax.random.uniform(key, (int(ends[-1]),))
    start, misread, u, choice, epsilon = (
        flat[end - math.prod(shape) : end].reshape(shape) for end, shape in zip(ends, shapes, strict=True)
    )
    return Chance(start, chance._normal(misread), env.Luck(u, chance._normal(epsilon)), choice)


def stacked(
    state: Any,
    action: jax.Array,
    xi: Any,
    params: EnvParams,
    target: Target,
    apart: Callable[..., Any] = env.transition_apart,
) -> Any:
    """`env.transition_apart` with the costs in one array."""
    moved, costs = apart(state, action, xi, params, target)
    return moved, jnp.stack(costs)


def features_last(network: MLP, variables: Any, seen: jax.Array, carried: Any = ()) -> jax.Array:
    """`MLP.output` by transposing to episodes first, and back."""
    del carried
    x = jnp.moveaxis(seen, 0, -1)
    layers = [variables["params"][f"Dense_{depth}"] for depth in range(len(network.hidden) + 1)]
    for layer in layers[:-1]:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return jnp.moveaxis(x @ layers[-1]["kernel"] + layers[-1]["bias"], -1, 0)


@contextlib.contextmanager
def undone(**patches: Any) -> Iterator[None]:
    """Replaces what is named ``module__name``."""
    modules = {"env": env, "chance": chance, "MLP": MLP, "rollout": rollout, "train": train, "stepping": stepping}
    with contextlib.ExitStack() as stack:
        for place, value in patches.items():
            module, _, name = place.partition("__")
            stack.enter_context(mock.patch.object(modules[module], name, value))
        yield


CHANCE = {"rollout__draw_chance": drawn_by_jax, "stepping__draw_chance": drawn_by_jax}
STEPPING: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "columns gathered, not one product": {"env__rows_of": gathered},
    "shared work not stored": {"env__stored": lambda values, one: values},
    "chance drawn by jax.random": CHANCE,
    "costs stacked in every step": {"env__transition_apart": stacked},
    "all episodes in one block": {"rollout__blocks_of": lambda episodes, most: 1},
}
"""Choices undone, by what a row says."""
TRAINING: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "features last": {"MLP__output": features_last},
    "columns gathered, not one product": {"env__rows_of": gathered},
    "chance drawn by jax.random": {"rollout__draw_chance": drawn_by_jax},
    "the whole batch in one block": {"train__blocks_of": lambda episodes, most: 1},
}


def step_program(episodes: int, steps: int) -> tuple[Program, Callable[[Program], Any]]:
    """Stepping, compiled under whatever is patched."""
    params, key = load_scenario("paper").params, jax.random.key(0)
    play = functools.partial(stepping.play, episodes=episodes, steps=steps)
    return compiled(play, key, params), lambda program: program.call(key, params)


def update_program(
    batch: int, updates: int, options: dict[str, Any] | None
) -> tuple[Program, Callable[[Program], Any]]:
    """Training updates, likewise."""
    scenario = load_scenario("paper")
    config = TrainConfig(episodes=batch * updates, batch=batch)
    static: dict[str, Any] = {"config": config, "steps": scenario.horizon}
    state = jax.jit(functools.partial(train.init, **static))(jax.random.key(0), scenario.params)
    hyper = jax.tree.map(np.float32, Hyperparameters())
    advance = jax.jit(functools.partial(train.advance, **static), compiler_options=options)
    args = (state, np.int32(0), np.int32(updates), hyper, scenario.params)
    return compiled(advance, *args), lambda program: program.call(*args)


def turns(contestants: dict[str, tuple[Program, Callable[[Program], Any]]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each, one repeat of each after the other, after a warm-up."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(repeats + 1):
        for name, (program, call) in contestants.items():
            begun = time.perf_counter()
            jax.block_until_ready(call(program))
            if repeat:
                found[name].append(time.perf_counter() - begun)
    return found


def rows(
    work: str, make: Callable[[], Any], choices: Mapping[str, Mapping[str, Any]], steps: int, repeats: int
) -> Iterator[dict[str, Any]]:
    """One work under all choices."""
    contestants = {}
    for name, patches in choices.items():
        with undone(**patches):
            contestants[name] = make()
    times = turns(contestants, repeats)
    base = float(np.median(times["as it is"]))
    for name, (program, _) in contestants.items():
        found = statistics(times[name])
        ratios = np.array(times[name]) / np.array(times["as it is"])  # of the same turn
        yield {
            "work": work,
            "row": name,
            "ns_a_step": 1e9 * found["median"] / steps,
            "times_as_it_is": float(np.median(ratios)),
            "times_as_it_is_quartiles": [float(x) for x in np.quantile(ratios, (0.25, 0.75))],
            "seconds": found,
            "base_seconds": base,
            **program.notes,
        }


def study(chosen: argparse.Namespace) -> None:
    """Measures, prints, writes."""
    if chosen.json is not None:
        check_writable(chosen.json)
    here, begun = machine(), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    console, found = terminal.console(), []
    options = here().compiler_options()
    works: list[tuple[str, Callable[[], Any], Mapping[str, Mapping[str, Any]], int]] = [
        ("stepping, 16,384 episodes × 10", lambda: step_program(16_384, 10), STEPPING, 163_840),
        ("stepping, 262,144 episodes × 10", lambda: step_program(262_144, 10), STEPPING, 2_621_440),
        ("training, batches of 30", lambda: update_program(30, 100, options), TRAINING, 30_000),
        ("training, batches of 480", lambda: update_program(480, 8, options), TRAINING, 38_400),
        ("training, batches of 16,384", lambda: update_program(16_384, 1, options), TRAINING, 163_840),
    ]
    for work in works:
        with console.status(work[0]):
            found += rows(*work, chosen.repeats)
    with console.status("compiling"):
        levels = {f"optimisation level {level}": {"xla_backend_optimization_level": level} for level in (0, 1, 2, 3)}
        contestants = {name: update_program(30, 100, level) for name, level in levels.items()}
        times = turns(contestants, chosen.repeats)
    compiles = [
        {"row": name, "ns_a_step": 1e9 * float(np.median(times[name])) / 30_000, "seconds": statistics(times[name])}
        | program.notes
        for name, (program, _) in contestants.items()
    ]
    table = Table("work", "", "ns a step", "times as it is [quartiles]", "temporary MiB", box=box.SIMPLE_HEAD)
    for row in found:
        low, high = row["times_as_it_is_quartiles"]
        memory = row["memory"].get("temporary", 0) / 2**20
        ratio = f"{row['times_as_it_is']:.2f} [{low:.2f}, {high:.2f}]"
        table.add_row(row["work"], row["row"], f"{row['ns_a_step']:.0f}", ratio, f"{memory:.1f}")
    console.print(table)
    table = Table("compiling training", "CPU s", "wall s", "then ns a step", box=box.SIMPLE_HEAD)
    for row in compiles:
        compiling_took = f"{row['compile_cpu_seconds']:.1f}", f"{row['compile_seconds']:.1f}"
        table.add_row(row["row"], *compiling_took, f"{row['ns_a_step']:.0f}")
    console.print(table)
    if chosen.json is not None:
        receipt = {"benchmark": "hot_path", "started": begun, "versions": versions(()), "machine": here}
        write_json(chosen.json, receipt | {"repeats": chosen.repeats, "rows": found, "compiling": compiles})


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="turns (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the receipt there")
    chosen = parser.parse_args()
    if chosen.repeats < 2:
        parser.error(f"--repeats: expected at least 2, got {chosen.repeats}")
    return status_of(lambda: study(chosen))


if __name__ == "__main__":
    sys.exit(main())
