"""Measures on the GPU that is here what docs/reference/accelerators.md can only count: one command, some minutes.

Training, stepping with a policy and a large sweep on the GPU, beside the same on two processor cores and beside PyTorch
on the same GPU. Each in a process of its own, compilation apart. With ``--quick`` everything is small and runs on
whatever there is: that proves that it runs, and measures nothing worth quoting.
"""

import argparse
import dataclasses
import datetime
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aljax import UserError, load_scenario
from aljax.host import terminal
from aljax.host.files import check_writable, write_json
from aljax.options import Hyperparameters, TrainConfig

from chips import measured
from receipts import in_a_process, machine, status_of, versions
from suite.rivals_here import missing, there

SWEEP = Path(__file__).parents[1] / "examples" / "sweeps" / "rates.toml"
CORES = 2
"""Of the processor that the GPU stands beside."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    episodes: int = 12_000
    """Of training, each of 5 seeds."""
    repeats: int = 10
    steady_seconds: float = 0.5
    """Of calls that follow each other at once, in each repeat."""
    side_by_side: tuple[int, ...] = (2**14, 2**17, 2**20)
    """Episodes of a rollout."""
    configurations: int = 1024
    """Of the sweep, 5 seeds each; on processor cores the share below."""
    share: int = 64
    """Configurations that the processor's cores are given: their time goes with the runs."""
    compared: tuple[int, ...] = (30, 1024)
    """Episodes by which the kernel's rollouts are compared with the general path's; 30 do not fill its blocks."""


QUICK = Sizes(
    episodes=60, repeats=2, steady_seconds=0.05, side_by_side=(256,), configurations=2, share=1, compared=(30,)
)


def kernel(sizes: Sizes, _: bool) -> list[dict[str, Any]]:
    """Whether the compiled kernel plays the general path's episodes."""
    from chips import here

    return here.same_episodes(sizes.compared)


def updates(sizes: Sizes, _: bool) -> list[dict[str, Any]]:
    """All updates as one program: with the kernel, and by the general path."""
    from chips import here

    return here.updates(sizes.episodes, sizes.repeats)


def training(sizes: Sizes, _: bool) -> list[dict[str, Any]]:
    """5 seeds as ``aljax train`` runs them."""
    import training_speed

    found = training_speed.time_aljax(_work(sizes), sizes.repeats)
    return [_timed(found)]


def stepping(sizes: Sizes, cores: bool) -> list[dict[str, Any]]:
    """Whole episodes under a network with random weights, actions sampled; every observation and cost is kept."""
    import jax

    from aljax import env
    from aljax.networks.architecture import MLP

    from chips import timing
    from suite import measure, rollouts

    scenario, rows = load_scenario("paper"), []
    params, steps = scenario.params, scenario.horizon
    network = MLP(env.num_actions(params), (rollouts.HIDDEN,))
    variables = network.init(jax.random.key(1), env.observation_size(params))
    for episodes in sizes.side_by_side[:1] if cores else sizes.side_by_side:

        def play(key: jax.Array, params: Any, variables: Any, episodes: int = episodes) -> Any:
            return rollouts.play(key, params, variables, episodes=episodes, steps=steps)

        args = jax.random.key(0), params, variables
        program = measure.compiled(play, *args)
        again = functools.partial(program.call, *args)
        found = program.notes | timing.steady(again, jax.block_until_ready, sizes.repeats, sizes.steady_seconds)
        found["profile"] = timing.profiled(again)
        rows.append({"episodes": episodes, "steps": episodes * steps} | found)
    return rows


def sweep(sizes: Sizes, cores: bool) -> list[dict[str, Any]]:
    """Configurations × 5 seeds × episodes as ``aljax sweep``, from start to finish."""
    from aljax.commands.main import main

    configurations = sizes.share if cores else sizes.configurations
    text = SWEEP.read_text(encoding="utf-8").replace("configurations = 1024", f"configurations = {configurations}")
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "sweep.toml", Path(folder) / "out"
        file.write_text(text, encoding="utf-8")
        begun = time.perf_counter()
        command = ["sweep", str(file), "--episodes", str(sizes.episodes), "--no-plots", "--out", str(out)]
        if main(command):
            raise UserError("aljax sweep failed")
        in_all = time.perf_counter() - begun
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    plan, seconds = manifest["plan"], manifest["seconds"]["train"]
    rate = plan["episodes"] / seconds
    kept = {"runs": plan["runs"], "lanes": plan["lanes"], "device_bytes": plan["device_bytes"]}
    return [kept | {"train_seconds": seconds, "seconds_in_all": in_all, "episodes_per_second": rate}]


def torch_training(sizes: Sizes, _: bool) -> list[dict[str, Any]]:
    """The same algorithm in PyTorch, seed after seed and all seeds in the same kernels."""
    import training_speed

    return [
        _timed(training_speed.time_batched(_work(sizes), repeats, stacked=stacked, threads=(CORES,)))
        for stacked, repeats in ((True, 2), (False, 1))
    ]


def torch_stepping(sizes: Sizes, _: bool) -> list[dict[str, Any]]:
    """The same rollouts in PyTorch."""
    import jax
    import numpy as np

    from chips import timing
    from rivals.rollouts import torch_rollout
    from suite import rollouts

    scenario, rows = load_scenario("paper"), []
    numbers, steps = jax.tree.map(np.array, scenario.params), scenario.horizon
    for episodes in sizes.side_by_side:
        work = torch_rollout(numbers, rollouts.HIDDEN, episodes, steps)
        found = timing.steady(work, _waited_for, sizes.repeats, sizes.steady_seconds)
        rows.append({"episodes": episodes, "steps": episodes * steps} | found)
    return rows


def nothing(*_: Any) -> list[dict[str, Any]]:
    """No work: what JAX runs on is asked of a process of its own, because one that knows holds the GPU's memory."""
    return []


PARTS: dict[str, Callable[[Sizes, bool], list[dict[str, Any]]]] = {
    "nothing": nothing, "kernel": kernel, "updates": updates, "training": training, "stepping": stepping,
    "sweep": sweep, "torch_training": torch_training, "torch_stepping": torch_stepping,
}  # fmt: skip
"""What is measured: of the sizes, and whether on processor cores; rows of the receipt."""
ORDER = (
    ("kernel", "gpu"), ("updates", "gpu"), ("training", "gpu"), ("stepping", "gpu"), ("torch_training", "gpu"),
    ("sweep", "gpu"), ("torch_stepping", "gpu"), ("training", "cores"), ("stepping", "cores"), ("sweep", "cores"),
)  # fmt: skip
"""What is measured where, the most telling first."""


def _work(sizes: Sizes) -> Any:
    import training_speed

    return training_speed.Work(load_scenario("paper"), TrainConfig(episodes=sizes.episodes), Hyperparameters(), 5)


def _timed(found: Any) -> dict[str, Any]:
    """A contestant of `training_speed` as a row."""
    import training_speed

    updates = found.runs[0].cost.size
    cost, spread, success = training_speed.stretch(found.runs, updates - max(1, updates // 10), updates)
    learned = {"cost": cost, "cost_std": spread, "success": success}
    return {
        "name": found.name,
        "seconds": training_speed.summary(found.seconds),
        "last_batches": learned,
    } | found.notes


def _waited_for(kept: Any) -> Any:
    """PyTorch's GPU works on while the host goes on: what is timed must be done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return kept


def on_torchs_device() -> str:
    """Makes the GPU, if there is one, PyTorch's default device; its name."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    torch.set_default_device("cuda")
    return torch.cuda.get_device_name()


def measure_part(chosen: argparse.Namespace) -> None:
    """One part in this process, as the whole asks for it."""
    cores = chosen.place == "cores"
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    here = machine()
    device = on_torchs_device() if chosen.part.startswith("torch") else here["jax_device"]
    rows = PARTS[chosen.part](QUICK if chosen.quick else Sizes(), cores)
    write_json(chosen.out, {"device": device, "machine": here, "rows": rows})


def apart(part: str, place: str, chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One part in a process of its own."""
    out = folder / f"{part}-{place}.json"
    command = [sys.executable, str(Path(__file__)), "--part", part, "--place", place, "--out", str(out)]
    # PyTorch's parts need JAX for the scenario's numbers only: the GPU is all theirs.
    on_cpu = place == "cores" or part.startswith("torch")
    environment = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(CORES)} if on_cpu else {}
    # Nothing is found that was compiled before.
    return in_a_process(command + ["--quick"] * chosen.quick, out, **environment, ALJAX_CACHE_DIR="")


def _tried(part: str, place: str, chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """`apart`, or why it failed."""
    try:
        return apart(part, place, chosen, folder)
    except UserError as error:
        return {"failed": str(error)}


def earlier(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The updates of an earlier revision, by its own functions, or why they failed."""
    out = folder / "earlier.json"
    sizes = QUICK if chosen.quick else Sizes()
    script = Path(__file__).parent / "chips" / "earlier_updates.py"
    command = [sys.executable, str(script), str(out), str(sizes.episodes), str(sizes.repeats)]
    path = os.pathsep.join(filter(None, (str(chosen.before.resolve()), os.environ.get("PYTHONPATH"))))
    try:
        return in_a_process(command, out, PYTHONPATH=path)
    except UserError as error:
        return {"failed": str(error)}


def study(chosen: argparse.Namespace) -> None:
    """Measures, prints, writes."""
    if chosen.part is not None:
        measure_part(chosen)
        return
    if chosen.json is not None:
        check_writable(chosen.json)
    begun, started = time.perf_counter(), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    console, parts, skipped = terminal.console(), [], []
    torch_too = there("torch")
    if not torch_too:
        skipped.append(missing("torch", "PyTorch"))
    asked = [each for each in ORDER if each[0] in chosen.parts and (torch_too or not each[0].startswith("torch"))]
    if chosen.resume is not None:
        before = json.loads(chosen.resume.read_text(encoding="utf-8"))
        parts += [part for part in before["parts"] if "failed" not in part]
        asked = [each for each in asked if each not in [(part["part"], part["place"]) for part in parts]]
    with tempfile.TemporaryDirectory() as name:
        here = apart("nothing", "gpu", chosen, Path(name))["machine"]
        if here["jax_device"].startswith("cpu") and not chosen.quick:
            wanted = "expected one (aljax[cuda13] and its driver), or --quick"
            raise UserError(f"there is no GPU here that JAX can use: {wanted}")
        receipt = {
            "benchmark": "gpu",
            "started": started,
            "quick": chosen.quick,
            "versions": versions(("torch",)),
            "machine": here,
            "sizes": dataclasses.asdict(QUICK if chosen.quick else Sizes()),
            "cores": CORES,
            "parts": parts,
            "skipped": skipped,
        }
        for part, place in asked:
            taken = time.perf_counter()
            with console.status(f"{part}, {place}"):
                parts.append({"part": part, "place": place} | _tried(part, place, chosen, Path(name)))
            console.print(
                f"{part}, {place}: {parts[-1].get('failed', 'measured')}, {time.perf_counter() - taken:.0f} s"
            )
            receipt |= {"took_seconds": time.perf_counter() - begun}
            if chosen.json is not None:  # what is measured is kept, whatever comes of the rest
                write_json(chosen.json, receipt)
        if chosen.before is not None:
            with console.status(f"updates of {chosen.before.name}"):
                found = earlier(chosen, Path(name))
            parts.append({"part": "updates", "place": "gpu", "revision": chosen.before.name} | found)
    receipt["machine"] = here | {"load_after": list(os.getloadavg())}
    receipt["took_seconds"] = time.perf_counter() - begun
    for table in measured.tables(receipt):
        console.print(table.printed())
    if chosen.json is not None:
        write_json(chosen.json, receipt)
    failed = [f"{part['part']}, {part['place']}: {part['failed']}" for part in parts if "failed" in part]
    if failed:
        raise UserError("; ".join(failed))


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="everything small, on whatever there is")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the receipt there")
    names = sorted({name for name, _ in ORDER})
    parser.add_argument(
        "--parts", nargs="+", metavar="NAME", choices=names, default=names, help=f"of {', '.join(names)}"
    )
    resume = "a receipt of a run that was stopped: what it has is not measured again"
    parser.add_argument("--resume", type=Path, metavar="FILE", help=resume)
    earlier_help = "folder with the package of an earlier revision, whose updates are measured too"
    parser.add_argument("--before", type=Path, metavar="FOLDER", help=earlier_help)
    for name in ("--part", "--place"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    return status_of(lambda: study(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
