"""Times learning from logged episodes beside PyTorch, on the same arrays in the same run, and the bootstrap.

Both have the same algorithms (imitation, fitted Q, CQL), networks, losses, minibatches and schedule. Before anything is
timed both learn from the same first weights and the same minibatches, and their losses must agree; ``--check`` does
that alone. Repeats of all contestants take turns, so that a slow spell of the machine meets all of them. See
``benchmarks/README.md``.
"""

import argparse
import dataclasses
import datetime
import functools
import hashlib
import os
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

from aljax import Scenario, UserError, env, load_scenario
from aljax.chance import uniform
from aljax.errors import one_line
from aljax.host import compiling, terminal
from aljax.host.files import check_writable, write_json
from aljax.networks.architecture import MLP, Architecture
from aljax.offline.data import Episodes, Log, collect, distributions, weighted
from aljax.offline.estimators import (
    Terms,
    bootstrap_by_task,
    own_weights,
    per_decision,
    self_normalised,
    weighted_doubly_robust,
)
from aljax.offline.learn import advance, init, learn
from aljax.offline.learning import learn_seeds
from aljax.options import LearnConfig, LearnHyperparameters, Protocol
from aljax.policy import Learned, Mixture, heuristics
from aljax.rollout import rollout
from aljax.seeds import COLLECTION, EVALUATION, LEARNING, seed_keys
from aljax.target import here

from receipts import machine, status_of, versions

try:
    import torch
except Exception as error:  # beside other packages it may fail in any way
    torch, without = None, one_line(f"{type(error).__name__}: {error}")
else:
    from rivals import torch_offline

SCENARIOS = ("escalation", "paper")
ALGORITHMS = ("imitation", "fitted_q", "cql")
THREADS = (1, 2)
CHECKED_UPDATES, CHECKED_EPISODES, TOLERANCE = 50, 2_000, 1e-4
EVALUATED = 2_000
RESAMPLES = 1_000
WARM_UP = 20  # updates before PyTorch is timed, at each number of threads
PILOT = 300  # updates, twice at each number of threads, that choose the one with which PyTorch does the whole work


@dataclasses.dataclass
class Seconds:
    """A contestant's repeats."""

    wall: list[float] = dataclasses.field(default_factory=list)
    cpu: list[float] = dataclasses.field(default_factory=list)
    """Processor time of the same, over all threads; waiting for a busy machine does not count."""
    digests: list[str] = dataclasses.field(default_factory=list)
    """SHA-256 of each repeat's outputs."""

    def time(self, work: Callable[[], Sequence[np.ndarray]]) -> Sequence[np.ndarray]:
        """Does the work, whose outputs are on the host, and keeps how long it took."""
        begun, begun_cpu = time.perf_counter(), time.process_time()
        outputs = work()
        self.wall.append(time.perf_counter() - begun)
        self.cpu.append(time.process_time() - begun_cpu)
        total = hashlib.sha256()
        for array in outputs:
            total.update(np.ascontiguousarray(array).tobytes())
        self.digests.append(total.hexdigest())
        if not all(np.isfinite(array).all() for array in outputs):
            raise RuntimeError("an output is not finite: nothing to compare")
        return outputs

    @property
    def median(self) -> float:
        """Median wall seconds."""
        return float(np.median(self.wall))

    def to_json(self) -> dict[str, Any]:
        """Every repeat and their statistics."""
        return {
            "median": self.median,
            "min": float(np.min(self.wall)),
            "max": float(np.max(self.wall)),
            "std": float(np.std(self.wall)),
            "all": self.wall,
            "cpu_median": float(np.median(self.cpu)),
            "cpu_all": self.cpu,
            "repeats": len(self.wall),
            "outputs_sha256": list(dict.fromkeys(self.digests)),
        }


class Work:
    """A scenario's log, and what everybody learns from it."""

    def __init__(self, scenario: Scenario, episodes: int, updates: int, seeds: int) -> None:
        """Plays the log: at every step one of two policies, each with probability a half."""
        self.scenario, self.updates, self.seeds = scenario, updates, seeds
        self.hyper = LearnHyperparameters()
        self.traced = jax.tree.map(np.float32, self.hyper)
        self.numbers = jax.tree.map(np.array, scenario.params)  # the same environment, for PyTorch
        self.key = seed_keys(Protocol(seeds=1), COLLECTION)[0]
        self.log = self.played(self.key, episodes)
        self.logged = torch_offline.Logged.of(self.log.episodes)

    def played(self, key: jax.Array, episodes: int) -> Log:
        """Episodes of the logger, in NumPy arrays."""
        simple = heuristics(self.scenario)
        mixed = Mixture((simple["cost_aware"], simple["random"]), jnp.array([0.5, 0.5]))
        return collect(key, {"mixed": mixed}, self.scenario.params, episodes=episodes, steps=self.scenario.horizon)

    def config(self, algorithm: str, updates: int | None = None) -> LearnConfig:
        """aljax's own settings."""
        return LearnConfig(algorithm=algorithm, updates=updates or self.updates)  # type: ignore[arg-type]

    def rival(self, config: LearnConfig, seeds: Sequence[int], **given: Any) -> Any:
        """Learns in PyTorch."""
        logged = given.pop("logged", self.logged)
        return torch_offline.train(self.numbers, logged, config, self.hyper, seeds=seeds, **given)


def check(work: Work, algorithm: str) -> dict[str, float]:
    """Both learn from the same first weights and minibatches, on a schedule that ends with the check.

    Returns:
      The largest differences of losses, relative to those above 1, and of the policy's last weights.

    Raises:
      RuntimeError: the losses differ by more than rounding.
    """
    config, params = work.config(algorithm, CHECKED_UPDATES), work.scenario.params
    log = work.log.take(slice(CHECKED_EPISODES))
    key = seed_keys(Protocol(seeds=1), LEARNING)[0]
    episodes = jax.device_put(log.episodes)

    @functools.partial(jax.jit, compiler_options=here().compiler_options())
    def ours(key: jax.Array, episodes: Episodes, numbers: Any, params: Any) -> Any:
        state = init(key, params, episodes, config=config)
        draw = functools.partial(uniform, shape=(config.minibatch,), low=0.0, high=1.0)
        drawn = jax.vmap(lambda update: draw(jax.random.fold_in(state.key, update)))(jnp.arange(config.updates))
        after = advance(state, 0, config.updates, numbers, params, episodes, config=config)
        return state.nets, (drawn * len(episodes)).astype(jnp.int32), after.losses, after.nets

    nets, rows, losses, after = jax.tree.map(np.array, ours(key, episodes, work.traced, params))
    names = torch_offline.NETS[algorithm]
    first = [np.stack(each) for each in zip(*(layers_of(nets[name]) for name in names), strict=True)]
    layers = [torch.from_numpy(layer if layer.ndim == 3 else layer[:, None]) for layer in first]
    given = {"layers": layers, "rows": torch.from_numpy(rows).long()[:, None]}
    theirs = work.rival(config, [0], logged=torch_offline.Logged.of(log.episodes), **given)
    apart = float((np.abs(theirs.losses[0] - losses) / np.maximum(np.abs(losses), 1.0)).max())
    sign = 1.0 if "policy" in after else -1.0
    last = layers_of(after["policy" if "policy" in after else "q"])
    last = [*last[:2], *(sign * layer for layer in last[2:])]
    weights = max(float(np.abs(a[0] - b).max()) for a, b in zip(theirs.layers, last, strict=True))
    if not apart < TOLERANCE:
        raise RuntimeError(f"{work.scenario.name}, {algorithm}: the losses differ by {apart}: nothing to compare")
    return {"losses": apart, "weights": weights}


def layers_of(variables: Any) -> list[np.ndarray]:
    """Weights and biases, layer by layer."""
    layers = variables["params"]
    return [np.asarray(layers[name][kind]) for name in sorted(layers) for kind in ("kernel", "bias")]


def variables_of(layers: Sequence[np.ndarray]) -> Any:
    """The other way around."""
    pairs = zip(layers[::2], layers[1::2], strict=True)
    return {"params": {f"Dense_{i}": {"kernel": kernel, "bias": bias} for i, (kernel, bias) in enumerate(pairs)}}


def time_learning(
    work: Work, algorithm: str, repeats: int, rival_repeats: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """One policy and several, contestants by turns.

    Every repeat of one policy has a seed of its own. PyTorch's time for several policies one after the other is the
    median of its repeats times the policies: it has nothing to compile or share.
    """
    config, scenario = work.config(algorithm), work.scenario
    protocol = Protocol(seeds=work.seeds)
    keys = seed_keys(Protocol(seeds=repeats), LEARNING)
    episodes = jax.device_put(work.log.episodes)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    one = jax.jit(functools.partial(learn, config=config), compiler_options=here().compiler_options())
    compiled = one.lower(keys[0], work.traced, scenario.params, episodes).compile()
    compiling_took = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - begun_cpu}

    def ours(repeat: int) -> list[np.ndarray]:
        variables, losses = compiled(keys[repeat], work.traced, scenario.params, episodes)
        return [*layers_of(variables), np.asarray(losses)]

    def ours_all() -> list[np.ndarray]:
        found = learn_seeds(scenario, work.log, config, work.hyper, protocol)
        inside.append(found.seconds["train"])
        return [*layers_of(found.policy.variables), found.losses]

    def theirs(seeds: Sequence[int], config: LearnConfig) -> list[np.ndarray]:
        found = work.rival(config, seeds)
        return [*found.layers, found.losses]

    def warm(threads: int, seeds: Sequence[int]) -> None:
        torch.set_num_threads(threads)
        work.rival(work.config(algorithm, WARM_UP), seeds)

    inside: list[float] = []
    begun = time.perf_counter()
    ours_all()
    first_seconds = time.perf_counter() - begun
    inside.clear()
    ours(0)
    single, several, alone, stacked = (Seconds() for _ in range(4))
    everyone, short = range(work.seeds), work.config(algorithm, min(PILOT, work.updates))
    pilots = {}
    for label, seeds in {"in_turn": range(1), "stacked": everyone}.items():
        pilots[label] = {threads: Seconds() for threads in THREADS}
        for _ in range(2):
            for threads, seconds in pilots[label].items():
                warm(threads, seeds)
                seconds.time(functools.partial(theirs, seeds, short))
    best, best_stacked = (min(each, key=lambda threads: min(each[threads].wall)) for each in pilots.values())

    policies: list[Sequence[np.ndarray]] = []
    found, stack = [], []
    turns = set(np.linspace(0, repeats - 1, min(rival_repeats, repeats)).round().astype(int).tolist())
    for repeat in range(repeats):
        single.time(functools.partial(ours, repeat))
        if repeat in turns:
            warm(best, [repeat])
            policies.append(alone.time(functools.partial(theirs, [repeat], config)))
        found = several.time(ours_all)
        if repeat == sorted(turns)[len(turns) // 2]:
            warm(best_stacked, everyone)
            stack = stacked.time(functools.partial(theirs, everyone, config))
    in_turn = alone.median * work.seeds
    say(f"{scenario.name}, {algorithm}: {single.median:.3g} s, PyTorch {alone.median:.3g} s")
    tried = {label: {str(threads): x.wall for threads, x in each.items()} for label, each in pilots.items()}
    learned = {
        "aljax": cost_of(scenario, found[:-1]),
        "pytorch": cost_of(scenario, [np.concatenate(each) for each in zip(*policies, strict=True)][:-1]),
        "pytorch_stacked": cost_of(scenario, stack[:-1]),
    }
    return {
        "updates_timed": config.updates,
        "share_of_work_timed": 1.0,
        "one_policy": {
            "aljax": single.to_json() | {"compile": compiling_took},
            "pytorch": alone.to_json() | {"threads": best, "pilot": tried["in_turn"]},
            "times_aljax": alone.median / single.median,
            "times_aljax_cpu": float(np.median(alone.cpu) / np.median(single.cpu)),
        },
        "several_policies": {
            "policies": work.seeds,
            "aljax": several.to_json() | {"first_call_seconds": first_seconds, "training_alone": inside},
            "aljax_repeats_bitwise_equal": len(set(several.digests)) == 1,
            "pytorch_in_turn": {"seconds": in_turn, "threads": best, "is": "one policy's median times the policies"},
            "pytorch_stacked": stacked.to_json() | {"threads": best_stacked, "pilot": tried["stacked"]},
            "times_aljax": in_turn / several.median,
            "times_aljax_stacked": stacked.median / several.median,
        },
        "learned": learned,
    }


def cost_of(scenario: Scenario, layers: Sequence[np.ndarray]) -> dict[str, float]:
    """Mean total cost of policies ``[S, ...]`` that play their likeliest rows, all on the same episodes."""
    network = MLP(env.num_actions(scenario.params), (layers[0].shape[-1],))
    key = seed_keys(Protocol(seeds=1), EVALUATION)[0]
    costs = np.stack(
        [_cost_of(key, scenario, network, variables_of([x[s] for x in layers])) for s in range(len(layers[0]))]
    )
    return {"cost": float(costs.mean()), "cost_std": float(costs.std())}


def _cost_of(key: jax.Array, scenario: Scenario, network: Architecture, variables: Any) -> float:
    played = _play(key, Learned(variables, network), scenario.params, episodes=EVALUATED, steps=scenario.horizon)
    return float(np.einsum("tkb,k->", played.costs, scenario.params.weights)) / EVALUATED


_play = jax.jit(rollout, static_argnames=("episodes", "steps"))


def time_bootstrap(work: Work, episodes: int, repeats: int) -> dict[str, Any]:
    """An estimate's interval from resampled tasks, each of one episode; estimators by turns.

    The policy in question plays the cheapest row as it seems at once nine times out of ten. The model is what the logs
    cost from each step on: its quality has nothing to do with the time.
    """
    found = work.played(jax.random.fold_in(work.key, 1), episodes).episodes
    simple, params = heuristics(work.scenario), work.scenario.params
    target = Mixture((simple["cost_aware"], simple["random"]), jnp.array([0.9, 0.1]))
    chances = np.asarray(jax.jit(distributions)(target, params, found.observation, found.action))
    chance = np.take_along_axis(chances, found.action[..., None], axis=2)[..., 0]
    weights = own_weights(chance, found.own_probability, found.alive)
    costs = np.asarray(weighted(found, params.weights), np.float64)
    ahead = np.where(found.alive, costs[:, ::-1].cumsum(1)[:, ::-1], 0.0).sum(0) / np.maximum(found.alive.sum(0), 1)
    model = np.where(found.alive, ahead, 0.0)
    task = np.arange(episodes)
    estimators: dict[str, Callable[[], Terms]] = {
        "per_decision": lambda: per_decision(weights, costs),
        "self_normalised": lambda: self_normalised(weights, costs),
        "weighted_doubly_robust": lambda: weighted_doubly_robust(weights, costs, model, model),
    }
    seconds = {name: Seconds() for name in estimators}
    intervals = {}
    for repeat in range(repeats + 1):
        for name, terms in estimators.items():

            def once(name: str = name, terms: Callable[[], Terms] = terms) -> list[np.ndarray]:
                interval = intervals[name] = bootstrap_by_task(terms(), task, resamples=RESAMPLES)
                return [np.array(dataclasses.astuple(interval))]

            if repeat:
                seconds[name].time(once)
            else:
                once()
    return {
        "scenario": work.scenario.name,
        "episodes": episodes,
        "tasks": episodes,
        "horizon": work.scenario.horizon,
        "resamples": RESAMPLES,
        "estimators": {name: seconds[name].to_json() | {"interval": intervals[name].to_json()} for name in estimators},
    }


def show(receipt: Mapping[str, Any], console: Console) -> None:
    """Prints a receipt's tables."""
    work, here = receipt["work"], receipt["machine"]
    console.print(
        f"\nLearning from {work['logged_episodes']:,} logged episodes in {work['updates']:,} updates of "
        f"{work['minibatch']} episodes. {here['processor']}, {here['cpu_count']} CPUs; aljax on {here['jax_device']}."
    )
    tables = []
    for title, columns in (
        ("Seconds for one policy", ("compile", "aljax", "min to max", "PyTorch", "× aljax")),
        (
            f"Seconds for {work['seeds']} policies",
            ("aljax", "PyTorch in turn", "× aljax", "stacked", "× aljax"),
        ),
        ("Mean cost of what was learned", ("aljax", "PyTorch", "stacked")),
    ):
        table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
        table.add_column("", no_wrap=True, min_width=19)
        for column in columns:
            table.add_column(column, justify="right", no_wrap=True)
        tables.append(table)
    for label, row in receipt["learning"].items():
        one, many = row["one_policy"], row["several_policies"]
        ours, theirs = one["aljax"], one["pytorch"]
        tables[0].add_row(
            label,
            f"{ours['compile']['seconds']:.2g}",
            *_spread(ours),
            f"{theirs['median']:.3g}",
            f"{one['times_aljax']:.3g}",
        )
        stacked = many["pytorch_stacked"]["median"]
        in_turn = f"{many['pytorch_in_turn']['seconds']:.3g}", f"{many['times_aljax']:.3g}"
        tables[1].add_row(
            label, f"{many['aljax']['median']:.3g}", *in_turn, f"{stacked:.3g}", f"{many['times_aljax_stacked']:.3g}"
        )
        learned = (f"{x['cost']:.3f} ± {x['cost_std']:.3f}" for x in row["learned"].values())
        tables[2].add_row(label, *learned)
    boot = receipt["bootstrap"]
    table = Table(
        title=f"Seconds for {boot['resamples']:,} resamples of {boot['tasks']:,} tasks, {boot['horizon']} steps",
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    for column in ("", "seconds", "min to max"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in boot["estimators"].items():
        table.add_row(name, *_spread(row))
    for each in (*tables, table):
        console.print(each)
    before, after = here["load_before"][0], here["load_after"][0]
    console.print(
        f"Medians; ± over seeds. PyTorch: {' or '.join(map(str, THREADS))} threads, as is faster; in turn: one policy "
        "after the other; stacked: all policies in the same kernels. Load of the machine: "
        f"{before:.1f} before, {after:.1f} after, for {here['cpu_count']} CPUs."
    )


def _spread(row: Mapping[str, Any]) -> tuple[str, str]:
    return f"{row['median']:.3g}", f"{row['min']:.3g} to {row['max']:.3g}"


def study(options: argparse.Namespace) -> None:
    """Checks, times, prints, writes."""
    if torch is None:
        raise UserError(f"the rival needs PyTorch ({without}): python -m pip install -e '.[bench]'")
    if options.json is not None:
        check_writable(options.json)
    compiling.use_cores()
    here = machine() | {"torch_device": "cpu"}
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    console = terminal.console()

    def say(text: str) -> None:
        console.print(text, style="dim")

    episodes = min(options.episodes, CHECKED_EPISODES) if options.check else options.episodes
    works = [Work(load_scenario(name), episodes, options.updates, options.seeds) for name in options.scenarios]
    checks = {}
    for work in works:
        for algorithm in ALGORITHMS:
            checks[f"{work.scenario.name}/{algorithm}"] = apart = check(work, algorithm)
            say(
                f"{work.scenario.name}, {algorithm}: over {CHECKED_UPDATES} updates losses agree within "
                f"{apart['losses']:.1e}, weights within {apart['weights']:.1e}."
            )
    if options.check:
        return
    learning = {
        f"{work.scenario.name}/{algorithm}": time_learning(work, algorithm, options.repeats, options.rival_repeats, say)
        for work in works
        for algorithm in ALGORITHMS
    }
    bootstrap = time_bootstrap(works[0], options.bootstrap_episodes, options.repeats)
    here["load_after"] = list(os.getloadavg())
    config = works[0].config(ALGORITHMS[0])
    receipt = {
        "benchmark": "offline_speed",
        "started": started,
        "work": {
            "logged_episodes": options.episodes,
            "logger": "mixed: cost_aware or random, each with probability a half at every step",
            "updates": config.updates,
            "minibatch": config.minibatch,
            "hidden": list(config.hidden),
            "seeds": options.seeds,
            "hyperparameters": dataclasses.asdict(LearnHyperparameters()),
        },
        "checks": {"updates": CHECKED_UPDATES, "tolerance": TOLERANCE, "largest_differences": checks},
        "learning": learning,
        "bootstrap": bootstrap,
        "versions": versions(("torch",)),
        "machine": here,
        "options": {name: value for name, value in vars(options).items() if name not in ("json", "check")},
    }
    if options.json is not None:
        write_json(options.json, receipt)
    show(receipt, console)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses, runs; the exit status is 0, or 2 for what the user can put right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    whole = functools.partial(parser.add_argument, type=int, metavar="N")
    parser.add_argument("--scenarios", nargs="+", default=SCENARIOS, help="names or files (default: both of them)")
    whole("--episodes", default=100_000, help="logged episodes (default: %(default)s)")
    whole("--updates", default=LearnConfig().updates, help="gradient steps (default: %(default)s)")
    whole("--seeds", default=5, help="policies, where there are several (default: %(default)s)")
    whole("--repeats", default=5, help="of aljax's runs (default: %(default)s)")
    whole("--rival-repeats", default=3, help="of PyTorch's; stacked seeds: once (default: %(default)s)")
    whole("--bootstrap-episodes", default=10_000, help="episodes to resample (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="everything small: shows that it runs")
    parser.add_argument("--check", action="store_true", help="only hold the losses against each other")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the receipt there")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.episodes, chosen.updates, chosen.repeats, chosen.bootstrap_episodes = 5_000, 100, 2, 1_000
    for name in ("episodes", "updates", "seeds", "repeats", "rival_repeats", "bootstrap_episodes"):
        if getattr(chosen, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: expected at least 1, got {getattr(chosen, name)}")
    return status_of(functools.partial(study, chosen))


if __name__ == "__main__":
    sys.exit(main())
