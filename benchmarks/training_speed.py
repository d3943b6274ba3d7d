"""Times training: aljax beside PyTorch, one episode at a time and batched, on the same work in the same run.

All learn the same scenario with the same algorithm, aljax's default settings: REINFORCE, a baseline, advantages of
unit scale, Adam on a cosine schedule, the same network. Before anything is timed the three environments play the
same actions with the same luck and must agree. See ``benchmarks/README.md``.
"""

import argparse
import dataclasses
import datetime
import functools
import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from aljax import Scenario, UserError, env, load_scenario, seeds, training
from aljax.errors import one_line
from aljax.host import compiling, terminal
from aljax.host.files import write_json
from aljax.options import Hyperparameters, TrainConfig

from receipts import machine, versions
from rivals.result import Run

try:
    import torch
except Exception as error:  # beside other packages it may fail in any way
    torch, without = None, one_line(f"{type(error).__name__}: {error}")
else:
    from rivals import torch_batched, torch_sequential

PROBE = 10  # an early stretch of updates ends here or after the share that the slowest rival plays


@dataclasses.dataclass(frozen=True)
class Timed:
    """One contestant's seconds for the whole work, and what it learned."""

    name: str
    seconds: list[float]
    """Wall clock, one a repeat, scaled to the whole work."""
    cpu_seconds: list[float]
    """Processor time of the same, over all threads; waiting for a busy machine does not count."""
    share: float
    """Which part of the work was really done in each repeat."""
    runs: list[Run]
    """The last repeat's curves, one a seed (with a share: one a repeat)."""
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Steps that the runs played."""
        return sum(run.steps for run in self.runs)

    @property
    def median(self) -> float:
        """Median wall seconds."""
        return float(np.median(self.seconds))


def timed(work: Callable[[], Any], repeats: int) -> tuple[list[float], list[float], Any]:
    """Runs `work` and returns wall seconds, processor seconds, and its last result."""
    wall, cpu, result = [], [], None
    for _ in range(repeats):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        result = work()
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - begun_cpu)
    return wall, cpu, result


class Work:
    """What everybody has to do: so many seeds, so many episodes each."""

    def __init__(self, scenario: Scenario, config: TrainConfig, hyper: Hyperparameters, seeds: int) -> None:
        """An algorithm on a scenario."""
        self.scenario, self.config, self.hyper, self.seeds = scenario, config, hyper, seeds
        self.numbers = jax.tree.map(np.array, scenario.params)  # the same environment, for the rivals

    @property
    def episodes(self) -> int:
        """Episodes in all."""
        return self.seeds * self.config.updates * self.config.batch


def time_aljax(work: Work, repeats: int) -> Timed:
    """All seeds as `aljax train` does them, spread over the processor's cores; every output brought to the host."""
    devices = min(work.seeds, len(jax.devices()))
    numbers, seed = seeds.places(work.seeds, devices).astype(np.int32), np.int32(0)
    hyper, params = jax.tree.map(np.float32, work.hyper), work.scenario.params
    begun, begun_cpu = time.perf_counter(), time.process_time()
    start, advance = training.training_programs(work.config, work.scenario.horizon, devices)

    def learn(updates: int) -> Any:
        state = advance(start((numbers, None), seed, params), np.int32(0), np.int32(updates), hyper, params)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: work.seeds], (state.variables, state.curve))

    learn(0)
    compiling_took, compiling_cpu = time.perf_counter() - begun, time.process_time() - begun_cpu

    def once() -> Any:
        return learn(work.config.updates)

    outputs, digests = once(), set()
    wall, cpu = [], []
    for _ in range(repeats):
        one_wall, one_cpu, outputs = timed(once, 1)
        wall, cpu = wall + one_wall, cpu + one_cpu
        digests.add(digest(jax.tree.leaves(outputs)))
    _, curve = outputs
    played = work.config.updates * work.config.batch * work.scenario.horizon  # to the horizon, ended or not
    runs = [Run(cost, success, played) for cost, success in zip(curve.cost, curve.success, strict=True)]
    notes = {
        "compile_seconds": compiling_took,
        "devices": devices,
        "compile_cpu_seconds": compiling_cpu,
        "outputs_sha256": digest(jax.tree.leaves(outputs)),
        "repeats_bitwise_equal": len(digests) == 1,
    }
    return Timed("aljax", wall, cpu, 1.0, runs, notes)


def time_batched(work: Work, repeats: int, *, stacked: bool, threads: Sequence[int] = (1, 2)) -> Timed:
    """Batched PyTorch, at whichever number of threads is faster."""
    warm_up = dataclasses.replace(work.config, episodes=2 * work.config.batch)
    best, tried = None, {}
    for count in threads:
        torch.set_num_threads(count)
        learn = functools.partial(torch_batched.train, work.numbers, hyper=work.hyper, stacked=stacked)
        learn(config=warm_up, seeds=range(work.seeds))
        wall, cpu, runs = timed(functools.partial(learn, config=work.config, seeds=range(work.seeds)), repeats)
        tried[str(count)] = wall
        name = "batched" + (" over seeds too" if stacked else "")
        notes = {"threads": count, "tried_threads": tried, "outputs_sha256": digest_runs(runs)}
        result = Timed(name, wall, cpu, 1.0, runs, notes)
        best = result if best is None or result.median < best.median else best
    assert best is not None
    return best


def time_sequential(work: Work, repeats: int, episodes: int | None, whole: Callable[[], int], *, replay: bool) -> Timed:
    """One-episode-at-a-time PyTorch on one thread, which is its fastest; all of the work, or a share scaled up.

    Args:
      work: what to do.
      repeats: how often.
      episodes: the share: so many episodes of one seed; None: all of them, of all seeds.
      whole: steps that the whole work takes. Its time goes with the steps, and trained episodes have fewer.
      replay: see `torch_sequential.train`.
    """
    torch.set_num_threads(1)
    each = work.config.updates * work.config.batch if episodes is None else episodes
    seeds = range(work.seeds) if episodes is None else range(1)
    learn = functools.partial(torch_sequential.train, work.numbers, work.config, work.hyper, replay=replay)
    learn(seed=0, episodes=work.config.batch)  # warm up
    wall, cpu, runs, shares = [], [], [], []
    for repeat in range(repeats):
        first = repeat * len(seeds)
        once = functools.partial(lambda first: [learn(seed=first + seed, episodes=each) for seed in seeds], first)
        one_wall, one_cpu, one_runs = timed(once, 1)
        share = 1.0 if episodes is None else sum(run.steps for run in one_runs) / whole()
        wall.append(one_wall[0] / share)
        cpu.append(one_cpu[0] / share)
        shares.append(share)
        runs += one_runs
    name = "one at a time" + (", one loss pass" if replay else "")
    notes = {
        "threads": 1,
        "timed_seconds": [seconds * share for seconds, share in zip(wall, shares, strict=True)],
        "episodes_timed": len(seeds) * each,
        "outputs_sha256": digest_runs(runs),
    }
    return Timed(name, wall, cpu, float(np.mean(shares)), runs, notes)


def digest(arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 of arrays' bytes: every output was there."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def digest_runs(runs: Sequence[Run]) -> str:
    """`digest` of the curves."""
    return digest([array for run in runs for array in (run.cost, run.success)])


def check_environments(work: Work, episodes: int = 256) -> float:
    """Plays the same random actions with the same luck in all three environments.

    Returns:
      The largest difference of any observation, cost or end.

    Raises:
      RuntimeError: they differ by more than rounding.
    """
    params, numbers, T = work.scenario.params, work.numbers, work.scenario.horizon
    A, d = env.num_actions(params), env.num_coordinates(params)
    rng = np.random.default_rng(0)
    uniform = rng.random((episodes, d), np.float32)
    normal, epsilon = (rng.standard_normal((*n, d), np.float32) for n in ((episodes,), (T, episodes)))
    u, actions = rng.random((T, episodes), np.float32), rng.integers(A, size=(T, episodes))
    for t in range(1, T):  # every other time the same again, so that failures can stick
        actions[t] = np.where(rng.random(episodes) < 0.5, actions[t - 1], actions[t])

    def body(state: env.EnvState, played: Any) -> Any:
        action, luck = played
        after, costs = env.transition(state, action, luck, params)
        return after, (env.observe(state, params), costs, state.done)

    start = env.begin(env.Start(jnp.asarray(uniform.T), jnp.asarray(normal.T)), params)
    luck = env.Luck(jnp.asarray(u), jnp.asarray(epsilon.transpose(0, 2, 1)))
    _, (seen, costs, done) = jax.jit(lambda *a: jax.lax.scan(body, *a))(start, (jnp.asarray(actions), luck))
    seen, costs, done = np.moveaxis(seen, 1, 2), np.moveaxis(costs, 1, 2), np.asarray(done)

    worst = 0.0
    batched = torch_batched.Environment(numbers, (episodes,))
    observation = batched.begin(torch.from_numpy(uniform), torch.from_numpy(normal))
    for t in range(T):
        ended = batched.done.numpy()
        worst = max(worst, float(np.abs(observation.numpy() - seen[t]).max()), float((ended != done[t]).max()))
        luck = torch.from_numpy(u[t]), torch.from_numpy(epsilon[t])
        observation, paid = batched.step(torch.from_numpy(actions[t]), *luck)
        worst = max(worst, float(np.abs(paid.numpy() - costs[t]).max()))
    single = torch_sequential.Environment(numbers, None)  # type: ignore[arg-type]  # all luck is given
    for episode in range(episodes):
        view = single.begin(uniform[episode].tolist(), normal[episode].tolist())
        over = False
        for t in range(T):
            worst = max(worst, float(over != done[t, episode]))
            if over:
                break
            worst = max(worst, float(np.abs(np.array(view) - seen[t, episode]).max()))
            view, paid, over, _ = single.play(
                int(actions[t, episode]), float(u[t, episode]), epsilon[t, episode].tolist()
            )
            worst = max(worst, float(np.abs(np.array(paid) - costs[t, episode]).max()))
    if not worst < 1e-3:
        raise RuntimeError(f"the environments differ by {worst}: nothing to compare")
    return worst


def stretch(runs: Sequence[Run], low: int, high: int) -> tuple[float, float, float]:
    """Mean cost over updates [low, high), its spread over seeds, and mean success."""
    costs = [float(run.cost[low:high].mean()) for run in runs]
    success = [float(run.success[low:high].mean()) for run in runs]
    return float(np.mean(costs)), float(np.std(costs)), float(np.mean(success))


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Statistics of repeats."""
    return {
        "median": float(np.median(seconds)),
        "min": float(np.min(seconds)),
        "max": float(np.max(seconds)),
        "std": float(np.std(seconds)),
        "all": list(seconds),
    }


def describe(contestant: Timed, base: Timed, work: Work, early: tuple[int, int]) -> dict[str, Any]:
    """A contestant's row of the receipt."""
    final = (work.config.updates - max(1, work.config.updates // 10), work.config.updates)
    learned = {}
    for label, (low, high) in {"early": early, "final": final}.items():
        if all(run.cost.size >= high for run in contestant.runs):
            cost, spread, success = stretch(contestant.runs, low, high)
            learned[label] = {"updates": [low, high], "cost": cost, "cost_std": spread, "success": success}
    return {
        "name": contestant.name,
        "seconds": summary(contestant.seconds),
        "cpu_seconds_median": float(np.median(contestant.cpu_seconds)),
        "times_aljax": contestant.median / base.median,
        "times_aljax_cpu": float(np.median(contestant.cpu_seconds) / np.median(base.cpu_seconds)),
        "repeats": len(contestant.seconds),
        "share_of_work_timed": contestant.share,
        "scaled_by_steps": contestant.share < 1,
        "steps_an_episode": contestant.steps
        / (len(contestant.runs) * contestant.runs[0].cost.size * work.config.batch),
        "learned": learned,
        **contestant.notes,
    }


def show(receipt: dict[str, Any], console: Console) -> None:
    """Prints a receipt as two tables: seconds, and what was learned in them."""
    work, machine = receipt["work"], receipt["machine"]
    console.print(
        f"\nTraining on {work['scenario']}: {work['seeds']} seeds × {work['episodes_a_seed']:,} episodes. "
        f"{machine['processor']}, {machine['cpu_count']} CPUs; aljax on {machine['jax_device']}, PyTorch on "
        f"{machine['torch_device']}. Baseline: {work['config']['baseline']}; hidden units: {work['config']['hidden']}."
    )
    speed = Table(title="Seconds for the whole work, median of the repeats", box=box.SIMPLE_HEAD, title_justify="left")
    learned = Table(title="Mean total cost of the training batches", box=box.SIMPLE_HEAD, title_justify="left")
    low, high = receipt["early_updates"]
    final = receipt["rows"][0]["learned"]["final"]["updates"]
    for table, columns in (
        (speed, ("seconds", "min to max", "× aljax", "CPU s", "× aljax")),
        (learned, (f"updates {low + 1}-{high}", f"updates {final[0] + 1}-{final[1]}", "success then")),
    ):
        table.add_column("")
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
    for row in receipt["rows"]:
        seconds = row["seconds"]
        speed.add_row(
            row["name"] + (" *" if row["scaled_by_steps"] else ""),
            f"{seconds['median']:.3g}",
            f"{seconds['min']:.3g} to {seconds['max']:.3g}",
            f"{row['times_aljax']:.3g}",
            f"{row['cpu_seconds_median']:.3g}",
            f"{row['times_aljax_cpu']:.3g}",
        )
        if "compile_seconds" in row:
            compiling = f"{row['compile_seconds']:.3g}", "once", "", f"{row['compile_cpu_seconds']:.3g}"
            speed.add_row("  compiling, apart", *compiling)
        costs = [
            f"{row['learned'][label]['cost']:.2f} ± {row['learned'][label]['cost_std']:.2f}"
            if label in row["learned"]
            else "not played"
            for label in ("early", "final")
        ]
        success = f"{row['learned']['final']['success']:.3f}" if "final" in row["learned"] else ""
        learned.add_row(row["name"], *costs, success)
    console.print(speed)
    scaled = [row for row in receipt["rows"] if row["scaled_by_steps"]]
    if scaled:
        console.print(
            f"* timed on {scaled[0]['episodes_timed']:,} of the {work['episodes']:,} episodes, {scaled[0]['repeats']} "
            "times, and scaled in proportion to the steps (the whole work's counted by the batched rival); "
            "--full plays them all.\n"
        )
    console.print(learned)
    before, after = machine["load_before"][0], machine["load_after"][0]
    console.print(
        f"± over seeds. Load of the machine: {before:.1f} before, {after:.1f} after, for {machine['cpu_count']} CPUs"
        + ("." if max(before, after - 1) < machine["cpu_count"] / 2 else ": it was not quiet, trust the CPU seconds.")
    )


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    whole = functools.partial(parser.add_argument, type=int, metavar="N")
    parser.add_argument("--scenario", default="paper", help="name or file (default: %(default)s)")
    parser.add_argument(
        "--baseline",
        choices=("leave_one_out", "critic"),
        default=TrainConfig().baseline,
        help="what is subtracted from the costs to go (default: aljax's own, %(default)s)",
    )
    whole("--episodes", default=12_000, help="episodes a seed (default: %(default)s)")
    whole("--seeds", default=5, help="policies to train (default: %(default)s)")
    whole("--repeats", default=10, help="times that aljax does the whole work (default: %(default)s)")
    whole("--rival-repeats", default=3, help="times that each rival does its own (default: %(default)s)")
    whole(
        "--sequential-episodes",
        default=1_200,
        help="episodes of one seed on which the one-at-a-time rivals are timed (default: %(default)s)",
    )
    parser.add_argument("--full", action="store_true", help="the one-at-a-time rivals do the whole work, once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the receipt there")
    chosen = parser.parse_args(arguments)
    for name in ("seeds", "repeats", "rival_repeats"):
        if getattr(chosen, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: expected at least 1, got {getattr(chosen, name)}")
    batch = TrainConfig().batch
    for name in ("episodes", "sequential_episodes"):
        if getattr(chosen, name) < batch:
            parser.error(f"--{name.replace('_', '-')}: expected at least one batch, {batch}")
    if chosen.json is not None and not chosen.json.parent.is_dir():
        parser.error(f"--json: no folder {chosen.json.parent}")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; the exit status is 0, or 2 for what the user can put right."""
    chosen = options(arguments)
    if torch is None:
        print(
            f"training_speed: the rivals need PyTorch ({without}): python -m pip install -e '.[bench]'", file=sys.stderr
        )
        return 2
    compiling.use_cores()
    console = terminal.console()
    try:
        scenario = load_scenario(chosen.scenario)
    except UserError as error:
        print(f"training_speed: {error}", file=sys.stderr)
        return 2
    config, hyper = TrainConfig(episodes=chosen.episodes), Hyperparameters()
    if chosen.baseline != config.baseline:
        config = dataclasses.replace(config, baseline=chosen.baseline)
    work = Work(scenario, config, hyper, chosen.seeds)
    here = machine() | {"torch_device": "cpu"}
    begun = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    def say(text: str) -> None:
        console.print(text, style="dim")

    worst = check_environments(work)
    say(f"The three environments agree on the same luck, within {worst:.1e}.")
    share = min(chosen.sequential_episodes, work.config.updates * work.config.batch)
    contestants: list[Timed] = []
    single = (1, None) if chosen.full else (chosen.rival_repeats, share)
    single = (work, *single, lambda: contestants[1].steps)
    for text, contest in (
        ("aljax", functools.partial(time_aljax, work, chosen.repeats)),
        ("batched PyTorch", functools.partial(time_batched, work, chosen.rival_repeats, stacked=False)),
        ("batched PyTorch, seeds stacked", functools.partial(time_batched, work, chosen.rival_repeats, stacked=True)),
        ("one-at-a-time PyTorch", functools.partial(time_sequential, *single, replay=False)),
        ("one-at-a-time PyTorch, loss in one pass", functools.partial(time_sequential, *single, replay=True)),
    ):
        say(f"Timing {text} ...")
        contestants.append(contest())
    here["load_after"] = list(os.getloadavg())

    played = work.config.updates if chosen.full else share // work.config.batch
    early = (max(0, played - PROBE), played) if not chosen.full else (10, 20) if played >= 20 else (0, played)
    receipt = {
        "benchmark": "training_speed",
        "started": begun,
        "work": {
            "scenario": work.scenario.name,
            "seeds": work.seeds,
            "episodes_a_seed": work.config.updates * work.config.batch,
            "episodes": work.episodes,
            "config": dataclasses.asdict(work.config),
            "hyperparameters": dataclasses.asdict(work.hyper),
        },
        "early_updates": early,
        "rows": [describe(contestant, contestants[0], work, early) for contestant in contestants],
        "environments_differ_by_at_most": worst,
        "versions": versions(("torch",)),
        "machine": here,
        "options": {name: value for name, value in vars(chosen).items() if name != "json"},
    }
    status = 0
    if chosen.json is not None:
        try:
            write_json(chosen.json, receipt)
        except (OSError, UserError) as error:
            print(f"training_speed: cannot write {chosen.json}: {error}", file=sys.stderr)
            status = 2
    show(receipt, console)
    return status


if __name__ == "__main__":
    sys.exit(main())
