"""When is a hand-made circuit breaker enough? Rules, policies with and without memory, and one told what is up.

Every policy meets the same starts and the same luck, seed by seed. The breaker is the best of a grid; it is chosen, as
is the better of the two policies with memory, in episodes that no evaluation has. Prints, draws, writes a receipt.

    python studies/outages.py --json studies/results/outages.json --figures docs/figures

A run that was stopped goes on where it was, with the same command.
"""

import argparse
import dataclasses
import datetime
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts

from aljax import env
from aljax.breaker import best_breaker
from aljax.drawing import colours_of, legend_below, pyplot, save
from aljax.env import EnvParams
from aljax.evaluate import Evaluation, evaluate
from aljax.exact.bounds import lower_bounds
from aljax.exact.bracket import starts
from aljax.exact.structure import make_plan
from aljax.host import terminal
from aljax.host.files import check_writable, read_json, write_json
from aljax.options import Hyperparameters, InputsName, PolicyName, Protocol, TrainConfig
from aljax.policy import Learned, Policy, heuristics
from aljax.scenario import Scenario, load_scenario
from aljax.seeds import EVALUATION, RELAXATION, SELECTION, seed_keys
from aljax.statistics import Interval, mean_interval, paired_difference
from aljax.training import train_seeds

from receipts import machine, partial_folder, status_of, versions

PARTS = ("table", "choices", "map")
LEARNED: Mapping[str, tuple[PolicyName, InputsName]] = {
    "mlp": ("mlp", "observation"),
    "belief": ("mlp", "belief"),
    "gru": ("gru", "observation"),
    "told": ("mlp", "told"),
}
"""Trained policies, and what each is and is shown."""
WITH_MEMORY = ("belief", "gru")
UPTIMES = (15.0, 30.0, 60.0, 120.0, 240.0)
DOWNTIMES = (5.0, 15.0, 45.0, 120.0, 400.0)
"""Mean seconds of the map's rows and columns, of `primary`."""
WORLDS: Mapping[str, Mapping[str, Any]] = {
    "one unreliable tool": {
        "actions.failure.primary": 0.0,
        "actions.failure.fallback": 0.0,
        "actions.mean_uptime.fallback": float("inf"),
    },
    "several unreliable tools": {},
}
"""What each half of the map changes in `outage`; with one unreliable tool `primary` alone fails, while it is down."""
HISTORIES: Mapping[str, Sequence[str]] = {
    "primary failed": ("primary",),
    "... then fallback": ("primary", "fallback"),
    "... twice": ("primary", "fallback", "fallback"),
    "... three times": ("primary", "fallback", "fallback", "fallback"),
}
"""Of the picture of what policies do: calls that failed, one after the other."""
WAITS = 7
"""Then up to so many steps of `wait`."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", type=int, default=20, help="of the table")
    parser.add_argument("--map-seeds", type=int, default=10, help="of each place of the map")
    parser.add_argument("--seed", type=int, default=0, help="from which all seeds are drawn")
    parser.add_argument("--episodes", type=int, default=36_000, help="that each policy is trained on")
    parser.add_argument("--evaluation-episodes", type=int, default=5_000, help="of each seed")
    parser.add_argument("--quick", action="store_true", help="2 seeds, 600 episodes, a map of 2 × 2")
    parser.add_argument("--figures", type=Path, help="folder for the pictures")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    return status_of(lambda: study(options))


def study(options: argparse.Namespace) -> None:
    """Trains, evaluates, prints, draws, writes."""
    uptimes, downtimes = UPTIMES, DOWNTIMES
    if options.quick:
        options.seeds = options.map_seeds = 2
        options.episodes, options.evaluation_episodes = 600, 200
        uptimes, downtimes = UPTIMES[::4], DOWNTIMES[::4]
    if options.json is not None:
        check_writable(options.json)
    if options.figures is not None:
        options.figures.mkdir(parents=True, exist_ok=True)
    console, begun, here, found = terminal.console(), time.perf_counter(), machine(), versions(())
    chosen = {key: value for key, value in vars(options).items() if key not in ("json", "figures", "parts")}
    kept = partial_folder(options.json, {"options": chosen, "versions": found}) if options.json is not None else None
    done = functools.partial(_once, kept)
    results: dict[str, Any] = {}
    if "table" in options.parts:
        protocol = Protocol(options.seeds, options.seed, options.evaluation_episodes)
        scenario = load_scenario("outage")
        results["table"] = done("table", lambda: measure(scenario, options.episodes, protocol, whole=True))
        show(console, results["table"], protocol)
    if "choices" in options.parts:
        protocol = Protocol(options.seeds, options.seed, options.evaluation_episodes)
        scenario = load_scenario("outage")
        results["choices"] = done("choices", lambda: choices(scenario, options.episodes, protocol))
    if "map" in options.parts:
        protocol = Protocol(options.map_seeds, options.seed, options.evaluation_episodes)
        cells = []
        for w, (world, changes) in enumerate(WORLDS.items()):
            for up in uptimes:
                for down in downtimes:
                    times = {"actions.mean_uptime.primary": up, "actions.mean_downtime.primary": down}
                    place = functools.partial(load_scenario, "outage", {**changes, **times})
                    cell = done(
                        f"map {w} {up:g} {down:g}",
                        lambda place=place: measure(place(), options.episodes, protocol, whole=False),
                    )
                    cells.append({"world": world, "up": up, "down": down, **cell})
                    console.print(f"{world}: up {up:g} s, down {down:g} s: {told(cell)}", style="dim")
        results["map"] = cells
    seconds = time.perf_counter() - begun
    console.print(f"{seconds:.0f} s in all.")
    if options.json is not None:
        receipt = {"when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "options": chosen,
                   "results": results, "seconds": seconds, "machine": here, "versions": found}  # fmt: skip
        write_json(options.json, receipt)
        for file in kept.iterdir() if kept is not None else ():
            file.unlink()
        if kept is not None:
            kept.rmdir()
    if options.figures is not None:
        if "map" in results:
            draw_map(options.figures / "outage_map.png", results["map"])
        if "choices" in results:
            draw_choices(options.figures / "outage_choices.png", results["choices"])


def _once(folder: Path | None, name: str, work: Callable[[], Any]) -> Any:
    """What some work gives, or gave when it was done before."""
    file = None if folder is None else folder / f"{name.replace(' ', '_')}.json"
    if file is not None and file.is_file():
        return read_json(file)
    found = work()
    if file is not None:
        write_json(file, found)
    return found


def trained(scenario: Scenario, episodes: int, protocol: Protocol) -> dict[str, Learned]:
    """Each of `LEARNED`, with a leading axis of seeds."""
    return {
        name: train_seeds(
            scenario, TrainConfig(episodes=episodes, policy=policy, inputs=inputs), Hyperparameters(), protocol
        ).policy
        for name, (policy, inputs) in LEARNED.items()
    }


@functools.partial(jax.jit, static_argnames=("names", "episodes", "steps"))
def _played(
    keys: jax.Array, policies: Mapping[str, Policy], params: EnvParams, names: frozenset[str], episodes: int, steps: int
) -> dict[str, Evaluation]:
    return evaluate(keys, policies, params, trained=names, episodes=episodes, steps=steps)


def measure(scenario: Scenario, episodes: int, protocol: Protocol, *, whole: bool) -> dict[str, Any]:
    """All policies in one scenario: costs with intervals, and differences from the best breaker.

    Args:
      scenario: where.
      episodes: that each policy is trained on.
      protocol: seeds, and episodes of evaluation.
      whole: also the bound on who is told.
    """
    learned, tuned = trained(scenario, episodes, protocol), best_breaker(scenario, protocol)
    policies: dict[str, Policy] = {**heuristics(scenario), "breaker": tuned.policy, **learned}
    del policies["latency"]
    static = {"names": frozenset(learned), "episodes": protocol.evaluation_episodes, "steps": scenario.horizon}
    select, played = (
        jax.device_get(_played(seed_keys(protocol, stream), policies, scenario.params, **static))
        for stream in (SELECTION, EVALUATION)
    )
    better = min(WITH_MEMORY, key=lambda name: np.asarray(select[name].outcome.total, float).mean())
    cost = {name: np.asarray(each.outcome.total, np.float64) for name, each in played.items()}
    found: dict[str, Any] = {
        "better": better,
        "breaker": tuned.to_json(),
        "policies": {
            name: {
                "cost": mean_interval(cost[name], by_seed=True).to_json(),
                "success": float(np.asarray(played[name].outcome.success, float).mean()),
                "components": np.asarray(played[name].outcome.costs, float).mean((0, 2)).tolist(),
                "against_breaker": paired_difference(cost[name], cost["breaker"], by_seed=True).to_json(),
            }
            for name in cost
        },
    }
    if whole:
        found["bound_when_told"] = bound(scenario, protocol)
    return found


def bound(scenario: Scenario, protocol: Protocol) -> Any:
    """The certified lower bound on what any policy costs: whoever decides is told what is up."""
    plan = make_plan(scenario.params, scenario=scenario, relaxed=True)
    begin = jnp.moveaxis(starts(scenario, protocol), 1, 0).reshape(env.num_coordinates(scenario.params), -1)
    values = lower_bounds(seed_keys(protocol, RELAXATION)[0], scenario.params, begin, plan)
    return mean_interval(values.reshape(protocol.seeds, -1)).to_json()


def choices(scenario: Scenario, episodes: int, protocol: Protocol) -> dict[str, Any]:
    """What each policy does next after some calls have failed and so many waits have passed, by share of seeds.

    An episode with three pieces of work left; what is behind the rows is up throughout, and only the calls fail.
    """
    policies = {"breaker": best_breaker(scenario, protocol).policy, **trained(scenario, episodes, protocol)}
    del policies["told"]
    play = functools.partial(_rows_after, params=scenario.params, names=scenario.action_names)
    found = {}
    for name, policy in policies.items():
        rows = jax.jit(jax.vmap(play) if isinstance(policy, Learned) else play)(policy)
        rows = np.asarray(rows).reshape(-1, len(HISTORIES), WAITS)
        found[name] = (rows[..., None] == np.arange(len(scenario.action_names))).mean(0).tolist()
    wait = float(scenario.params.actions.latency[scenario.action_names.index("wait")])
    return {"shares": found, "histories": list(HISTORIES), "seconds": [wait * n for n in range(WAITS)]}


def _rows_after(policy: Policy, params: EnvParams, names: Sequence[str]) -> jax.Array:
    """The likeliest row after each history and number of waits. Integer ``[histories, waits]``"""
    rows, d = env.num_actions(params), env.num_coordinates(params)
    found = []
    for calls in HISTORIES.values():
        start = env.begin(env.Start(jnp.full(d, 0.5), jnp.zeros(d), down=jnp.ones(rows)), params)
        state = dataclasses.replace(start, z=jnp.full(d, 3.0))
        memory = policy.begin(params, policy.observe(params, state))
        line = []
        for step, name in enumerate((*calls, *("wait",) * (WAITS - 1))):
            action, fails = jnp.int32(names.index(name)), step < len(calls)
            luck = env.Luck(jnp.float32(0.0 if fails else 0.999), jnp.zeros(d), v=jnp.ones(rows))
            state, _ = env.transition(state, action, luck, params)
            # The clock of steps stands still while it waits, or the horizon would end it.
            time = jnp.minimum(state.time, len(calls))
            state = dataclasses.replace(state, time=time, done=jnp.bool_(False))
            seen = policy.observe(params, state)
            memory = policy.remember(params, memory, action, jnp.bool_(fails), seen)
            if step >= len(calls) - 1:
                line.append(jnp.argmax(policy.logits(params, seen, env.legal(state, params), memory)))
        found.append(jnp.stack(line))
    return jnp.stack(found)


def told(cell: Mapping[str, Any]) -> str:
    """A place of the map in words."""
    row = cell["policies"][cell["better"]]["against_breaker"]
    base = cell["policies"]["breaker"]["cost"]["estimate"]
    return f"{cell['better']} {100 * row['estimate'] / base:+.1f} % against the best breaker, {verdict(row)}"


def verdict(difference: Mapping[str, float]) -> str:
    """Whether a difference of costs is one: beats, ties or loses."""
    return "beats" if difference["high"] < 0 else "loses" if difference["low"] > 0 else "ties"


def show(console: Console, found: Mapping[str, Any], protocol: Protocol) -> None:
    """The table."""
    table = Table(
        title=f"outage: {protocol.seeds} seeds, {protocol.evaluation_episodes:,} episodes each", box=box.SIMPLE
    )
    for column in ("policy", "cost [95 %]", "success", "against the best breaker [95 %]"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for name, row in found["policies"].items():
        difference = "" if name == "breaker" else str(Interval(**row["against_breaker"]))
        table.add_row(name, str(Interval(**row["cost"])), f"{row['success']:.3f}", difference)
    console.print(table)
    best = found["breaker"]["best"]
    console.print(f"The best breaker opens after {best['failures']} failures, for {best['seconds']} s.")
    console.print(f"No policy costs less than {Interval(**found['bound_when_told'])} (told what is up).\n")


def draw_map(path: Path, cells: Sequence[Mapping[str, Any]]) -> None:
    """The better of belief and GRU against the best breaker, over uptime and downtime."""
    plt = pyplot()
    worlds = list(dict.fromkeys(cell["world"] for cell in cells))
    ups, downs = (sorted({cell[key] for cell in cells}) for key in ("up", "down"))
    percent = {
        (cell["world"], cell["up"], cell["down"]): (
            100 * cell["policies"][cell["better"]]["against_breaker"]["estimate"]
            / cell["policies"]["breaker"]["cost"]["estimate"],
            verdict(cell["policies"][cell["better"]]["against_breaker"]), cell["better"],
        )
        for cell in cells
    }  # fmt: skip
    widest = max(abs(value) for value, *_ in percent.values())
    figure, axes = plt.subplots(1, len(worlds), figsize=(5.5 * len(worlds), 4.6), layout="constrained", squeeze=False)
    images: list[Any] = []
    for axis, world in zip(axes[0], worlds, strict=True):
        values = np.array([[percent[world, up, down][0] for down in downs] for up in ups])
        images.append(axis.imshow(values, origin="lower", cmap="RdBu_r", vmin=-widest, vmax=widest))
        for i, up in enumerate(ups):
            for j, down in enumerate(downs):
                value, what, name = percent[world, up, down]
                dark = abs(value) > 0.6 * widest
                axis.text(j, i, f"{value:+.1f} %\n{what}\n{name}", ha="center", va="center", fontsize=7,
                          color="white" if dark else "black")  # fmt: skip
        axis.set_xticks(range(len(downs)), [f"{down:g}" for down in downs])
        axis.set_yticks(range(len(ups)), [f"{up:g}" for up in ups])
        axis.set(xlabel="mean seconds down", ylabel="mean seconds up", title=world)
    figure.colorbar(images[0], ax=axes, label="cost against the best breaker, %", shrink=0.8)
    figure.suptitle("outage: the better of belief and GRU against the best circuit breaker (its 95 % interval)")
    save(figure, path, plt)


def draw_choices(path: Path, found: Mapping[str, Any]) -> None:
    """What each policy does next, after calls that failed and seconds of waiting."""
    plt, scenario = pyplot(), load_scenario("outage")
    names, shares, seconds = scenario.action_names, found["shares"], found["seconds"]
    colours = colours_of(plt, list(range(len(names))), len(names))
    figure, axes = plt.subplots(len(HISTORIES), len(shares), figsize=(2.7 * len(shares), 6.2), sharex=True,
                                sharey=True, layout="constrained", squeeze=False)  # fmt: skip
    for column, (name, values) in enumerate(shares.items()):
        for row, history in enumerate(HISTORIES):
            axis, bottom = axes[row, column], np.zeros(len(seconds))
            for action in range(len(names)):
                height = np.array(values[row])[:, action]
                axis.bar(seconds, height, seconds[1], bottom=bottom, color=colours[action], linewidth=0)
                bottom += height
            axis.set(ylim=(0, 1), xlim=(-seconds[1] / 2, seconds[-1] + seconds[1] / 2))
            if row == 0:
                axis.set_title(name, fontsize=9)
            if column == 0:
                axis.set_ylabel(f"{history}\nshare of seeds", fontsize=8)
            if row == len(HISTORIES) - 1:
                axis.set_xlabel("seconds waited since", fontsize=8)
    legend_below(figure, plt, scenario, list(range(len(names))), colours)
    figure.suptitle("outage: the next call after calls that failed, three pieces of work left")
    save(figure, path, plt)


if __name__ == "__main__":
    sys.exit(main())
