"""Training: five seeds of the paper's experiment beside the rivals, and throughput against batch size and runs."""

import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import Scenario, load_scenario, rollout, seeds, train, training
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import Learned, Policy
from aljax.target import here

import training_speed
from suite import apart, devices
from suite.measure import Program, compiled, repeated
from suite.options import Options
from suite.rivals_here import missing, there

SEEDS = 5
LARGEST = 122_880  # episodes an update over all runs: more does not fit any cache, and memory grows


def batches(options: Options) -> tuple[int, ...]:
    """Episodes an update."""
    return (30,) if options.quick else (30, 120, 240, 480, 1920, 30_720)


def sides(options: Options) -> tuple[int, ...]:
    """Training runs side by side."""
    return (2,) if options.quick else (1, 2, 8)


def work(options: Options) -> training_speed.Work:
    """The paper's experiment."""
    config = TrainConfig(episodes=600 if options.quick else 12_000)
    return training_speed.Work(load_scenario("paper"), config, Hyperparameters(), SEEDS)


def reached(policies: Policy, scenario: Scenario, episodes: int = 20_000) -> dict[str, float]:
    """What policies, one a seed on a leading axis, pay when they play the likeliest row: mean and spread over seeds.

    All contestants' policies meet the same starts and luck.
    """

    def one(key: jax.Array, policy: Policy) -> tuple[jax.Array, jax.Array]:
        played = rollout.rollout(key, policy, scenario.params, episodes=episodes, steps=scenario.horizon)
        found = rollout.outcome(played, scenario.params)
        return found.total.mean(), found.success.mean()

    count = len(jax.tree.leaves(policies)[0])
    cost, success = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(99), count), policies)
    return {"cost": float(cost.mean()), "cost_std": float(cost.std()), "success": float(success.mean())}


def aljax_row(options: Options, several: int) -> dict[str, Any]:
    """All seeds as `aljax train` does them: spread over the devices, on a CPU one after the other on each core."""
    job = work(options)
    numbers, seed = seeds.places(SEEDS, several).astype(np.int32), np.int32(0)
    hyper, params = jax.tree.map(np.float32, job.hyper), job.scenario.params
    begun = time.perf_counter()
    start, advance = training.training_programs(job.config, job.scenario.horizon, several)

    def learn(updates: int) -> Any:
        state = advance(start((numbers, None), seed, params), np.int32(0), np.int32(updates), hyper, params)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:SEEDS], (state.variables, state.curve))

    learn(0)
    compiling = time.perf_counter() - begun
    found = repeated(lambda: learn(job.config.updates), options.row_repeats) | {"compile_seconds": compiling}
    policies = Learned(learn(job.config.updates)[0], train.policy_architecture(job.config, params))
    return found | {"devices": several, "reached": reached(policies, job.scenario)}


def vmapped_row(options: Options) -> dict[str, Any]:
    """All seeds vmapped in one program on one device."""
    job = work(options)
    run = functools.partial(train.train, config=job.config, steps=job.scenario.horizon)
    keys, hyper = jax.random.split(jax.random.key(0), SEEDS), jax.tree.map(jnp.float32, job.hyper)
    program = compiled(jax.vmap(run, in_axes=(0, None, None)), keys, hyper, job.scenario.params)
    call = functools.partial(program.call, keys, hyper, job.scenario.params)
    found = repeated(call, options.row_repeats) | program.notes
    network = train.policy_architecture(job.config, job.scenario.params)
    return found | {"reached": reached(Learned(call()[0], network), job.scenario)}


def rejax_row(options: Options) -> dict[str, Any]:
    """rejax's PPO, all seeds vmapped in one program, as many environment steps."""
    from rivals.rejax_ppo import SETTINGS, Greedy, learner

    job = work(options)
    algorithm = learner(job.scenario.params, job.config.updates * job.config.batch * job.scenario.horizon)
    program = compiled(jax.vmap(lambda key: algorithm.train(key)[0]), jax.random.split(jax.random.key(0), SEEDS))
    call = functools.partial(program.call, jax.random.split(jax.random.key(0), SEEDS))

    def fetch(state: Any) -> list[np.ndarray]:
        return [np.asarray(leaf) for leaf in jax.tree.leaves((state.actor_ts.params, state.critic_ts.params))]

    found = repeated(call, options.row_repeats, fetch=fetch) | program.notes
    policies = Greedy(call().actor_ts.params, algorithm.actor)
    more = {"settings": SETTINGS, "environment_steps": SEEDS * algorithm.total_timesteps}
    return found | more | {"reached": reached(policies, job.scenario)}


def torch_rows(options: Options) -> Iterator[dict[str, Any]]:
    """PyTorch: batched, batched over seeds too, one episode at a time, as `training_speed` times them."""
    job = work(options)
    repeats, share = (1, 60) if options.quick else (3, 600)
    batched = training_speed.time_batched(job, 1 if options.quick else 2, stacked=False)
    contestants = [
        (batched, "batched, seed after seed"),
        (training_speed.time_batched(job, repeats, stacked=True), "batched over seeds too"),
        (
            training_speed.time_sequential(job, repeats, share, lambda: batched.steps, replay=True),
            "one episode at a time",
        ),
    ]
    for timed, variant in contestants:
        low = max(0, job.config.updates - max(1, job.config.updates // 10))
        found = {
            "seconds": training_speed.summary(timed.seconds),
            "cpu_seconds": training_speed.summary(timed.cpu_seconds),
            "repeats": len(timed.seconds),
            "share_of_work_timed": timed.share,
        }
        if timed.share == 1:  # the last tenth of training, actions sampled
            cost, spread, success = training_speed.stretch(timed.runs, low, job.config.updates)
            found["last_batches"] = {"cost": cost, "cost_std": spread, "success": success}
        yield {"name": "PyTorch", "variant": variant} | found | timed.notes


def advancing(batch: int, runs: int, several: int, updates: int = 400) -> tuple[Program, Any, Any]:
    """`train.advance` on `runs` vmapped runs, shared out over devices; from 0 to a number of updates that is traced.

    Returns:
      The program, its start state, and the hyperparameters; call ``program.call(state, stop, hyper, params)``.
    """
    scenario = load_scenario("paper")
    config = TrainConfig(episodes=batch * updates, batch=batch)
    static: dict[str, Any] = {"config": config, "steps": scenario.horizon}
    start = jax.jit(jax.vmap(functools.partial(train.init, **static), in_axes=(0, None)))

    def advance(state: Any, stop: Any, hyper: Any, params: Any) -> Any:
        each = functools.partial(train.advance, **static)
        return jax.vmap(each, in_axes=(0, None, None, None, None))(state, 0, stop, hyper, params)

    state = start(jax.random.split(jax.random.key(0), runs), scenario.params)
    hyper = jax.tree.map(jnp.float32, Hyperparameters())
    function, state = devices.rows(advance, several, state, 3)
    program = compiled(function, state, jnp.int32(1), hyper, scenario.params)
    return program, state, hyper


def saturation_row(options: Options, batch: int, runs: int, several: int) -> dict[str, Any]:
    """Episodes a second of one point; the number of updates is such that a repeat takes about 0.15 s."""
    program, state, hyper = advancing(batch, runs, several)
    params = load_scenario("paper").params

    def advance(updates: int) -> Any:
        return program.call(state, jnp.int32(updates), hyper, params).variables

    jax.block_until_ready(advance(1))
    once = repeated(lambda: advance(1), 2)["seconds"]["min"]
    updates = int(np.clip(round(0.15 / once), 1, 400))
    found = repeated(lambda: advance(updates), options.row_repeats, seconds=4.0)
    rate = runs * batch * updates / found["seconds"]["median"]
    place = {"batch": batch, "runs": runs, "devices": several, "updates": updates, "episodes_per_second": rate}
    found["seconds"].pop("all"), found["cpu_seconds"].pop("all")
    return place | {"update_seconds": found["seconds"]["median"] / updates} | found | program.notes


def saturation(options: Options, several: int) -> Iterator[dict[str, Any]]:
    """All points on so many devices."""
    for batch in batches(options):
        for runs in sides(options):
            if runs % several == 0 and batch * runs <= LARGEST:
                yield saturation_row(options, batch, runs, several)


def torch_saturation(options: Options) -> Iterator[dict[str, Any]]:
    """Batched PyTorch's throughput: batch sizes, one run or five stacked, at the better of one and all threads."""
    import torch

    from rivals import torch_batched

    job = work(options)
    for batch in batches(options)[1:5] or batches(options):
        for runs in (1,) if options.quick else (1, 5):
            updates = max(2, min(40, 20_000 // (batch * runs)))
            config = dataclasses.replace(job.config, batch=batch, episodes=batch * updates)
            learn = functools.partial(
                torch_batched.train, job.numbers, config, job.hyper, seeds=range(runs), stacked=runs > 1
            )
            for threads in {1, options.cores}:
                torch.set_num_threads(threads)
                found = repeated(lambda learn=learn: learn(), 3, fetch=lambda runs: [run.cost for run in runs])
                rate = runs * batch * updates / found["seconds"]["median"]
                yield {"batch": batch, "runs": runs, "threads": threads, "episodes_per_second": rate} | found


def measure_point(options: Options, point: dict[str, Any]) -> Any:
    """One of the kinds of work above."""
    kind = point["kind"]
    if kind == "saturation":
        return list(saturation(options, point["devices"]))
    if kind == "torch":
        return list(torch_rows(options))
    if kind == "torch_saturation":
        return list(torch_saturation(options))
    if kind == "aljax":
        return aljax_row(options, point["devices"])
    return {"vmapped": vmapped_row, "rejax": rejax_row}[kind](options)


def measure(options: Options) -> dict[str, Any]:
    """The section, every contestant in a process of its own."""
    several = min(options.cores, len(jax.devices())) if here().accelerator else options.cores

    def point(kind: str, count: int = 1) -> Any:
        return apart.run("training", options, point={"kind": kind, "devices": count}, devices=count)

    job = work(options)
    devices = min(SEEDS, several)
    rows = [
        {"name": "aljax", "variant": f"as aljax train, {devices} device(s)"} | point("aljax", devices),
        {"name": "aljax", "variant": f"{SEEDS} seeds vmapped, one device"} | point("vmapped"),
    ]
    skipped, found = [], {}
    if there("rejax"):
        try:
            rows.append({"name": "rejax PPO", "variant": f"{SEEDS} seeds vmapped, one device"} | point("rejax"))
        except apart.PartError as error:  # its versions may not go together with jax's: the others still count
            why = str(error).splitlines()[-1]
            skipped.append(missing("rejax", "rejax PPO") | {"why": why})
    else:
        skipped.append(missing("rejax", "rejax PPO"))
    if there("torch"):
        rows += point("torch")
        found["torch_saturation"] = point("torch_saturation")
    else:
        skipped.append(missing("torch", "PyTorch"))
    for row in rows:
        row["times_aljax"] = row["seconds"]["median"] / rows[0]["seconds"]["median"]
        row["episodes_per_second"] = job.episodes / row["seconds"]["median"]
    throughput = [row for count in dict.fromkeys((1, several)) for row in point("saturation", count)]
    best = max(throughput, key=lambda row: row["episodes_per_second"])
    found["saturation_point"] = {name: best[name] for name in ("batch", "runs", "devices", "episodes_per_second")}
    sizes = {"seeds": SEEDS, "batch": job.config.batch, "episodes_a_seed": job.config.updates * job.config.batch}
    return sizes | {"rows": rows, "saturation": throughput, "skipped": skipped} | found
