"""Good inputs to begin with: scenario texts, sweep files, logs, run folders and sweep folders, small ones."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax import runs
from aljax.host import files
from aljax.learning.run_state import CURVES
from aljax.offline.data import Log, collect
from aljax.offline.writing import write_log
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned, Mixture, heuristics
from aljax.scenario import parse_scenario, read_scenario, scenario_names
from aljax.sweeps.execute import prepared
from aljax.sweeps.gathered import Gathered
from aljax.sweeps.locks import opened
from aljax.sweeps.reader import make_spec
from aljax.sweeps.results import CURVE, FIGURES
from aljax.sweeps.tables import write_results
from aljax.training import abstract_policy

SMALL = """\
title = "Two tools, a question and a way out"
description = "x"
coordinates = ["error", "doubt"]
horizon = 4
drift = { error = 0.25 }
start_low = [1.0, 0.0]
start_high = [2.0, 1.0]
misread = { doubt = 0.5 }
tolerance = 0.5
latency_budget = 6.0
money_budget = inf
z_scale = 2.0
weights = { latency = 0.5, money = 1.0, violation = 2.0, failure = 1.0, divergence = 0.5 }

[actions.weak]
latency = 1.0
money = 0.25
failure = 0.25
shift = { error = -0.5 }

[actions.strong]
kind = "tool"
latency = 2.0
money = 1.0
failure = 0.5
after_failed = 0.75
gain = 0.5
shift = [-0.5, 0.0]
noise = 0.125
allowed = true

[actions.ask]
kind = "clarify"
latency = 0.5
money = 0.0
gain = { doubt = 0.0 }

[actions.stop]
kind = "terminate"
latency = 0.5
money = 0.0

[sources]
"" = "assumed"
"actions.weak.latency" = "logged"
"""

SWEEPS = (
    """\
scenario = "escalation"
seeds = 5
evaluation_episodes = 100

[axes]
learning_rate = { low = 0.003, high = 0.1, log = true, steps = 10 }
entropy = { low = 0.0, high = 1.0, steps = 6 }
hidden = [[16], [32], [64, 64]]
""",
    """\
scenario = "paper"
method = "sobol"
configurations = 64
seeds = 2
seed = 7
optimum = false

[set]
batch = 60
actions.failure.compute = 0.2

[axes]
weights.latency = { low = 0.05, high = 5.0, log = true }
weights.money = { low = 0.05, high = 20.0, log = true }
horizon = { low = 5, high = 9 }
drift.evidence = [0.1, 0.2]
""",
    """\
method = "tpe"
configurations = 24

[axes]
scenario = ["escalation", "paper"]
trace = { low = 0.5, high = 1.0 }
baseline = { choice = ["critic", "none"] }
normalise = [true, false]
episodes = [600, 1200]
""",
)


def scenario_texts() -> dict[str, str]:
    """The shipped scenarios, and a small one that uses every kind of value."""
    return {name: read_scenario(name).text for name in scenario_names()} | {"small": SMALL}


def small() -> Any:
    """The small scenario."""
    return parse_scenario(SMALL, name="small", where="small.toml")


def make(home: Path, kinds: Collection[str] = ("logs", "run folders", "sweep folders")) -> None:
    """Writes what some kinds begin with into an empty folder; other kinds need nothing there."""
    rng = np.random.default_rng(0)
    if "logs" in kinds:
        _logs(home)
    if "run folders" in kinds:
        _run(home / "run", rng, None)
        _run(home / "learned", rng, {"name": "offline", "data": [], "learn": {}, "learning": {}})
    if "sweep folders" in kinds:
        _sweep(home / "sweep", home / "small.toml", rng, complete=True)
        _sweep(home / "partial", home / "small.toml", rng, complete=False)


def read(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name."""
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items()}


def _logs(home: Path) -> None:
    """One logger; two with all probabilities; one whose probabilities nobody knows."""
    scenario = small()
    simple = heuristics(scenario)
    mixed = Mixture((simple["latency"], simple["random"]), jax.device_put(np.array([0.5, 0.5], np.float32)))
    log = collect(jax.random.key(0), {"fast": simple["latency"], "mixed": mixed}, scenario.params, episodes=5, steps=4)
    one = log.take(slice(5, 10))
    own = np.asarray(one.episodes.probability)[..., 1:]
    one = Log(dataclasses.replace(one.episodes, probability=own, logger=np.zeros(5, np.int32)), ("mixed",), log.tasks)
    blind = dataclasses.replace(one, episodes=dataclasses.replace(one.episodes, probability=np.full_like(own, np.nan)))
    for name, each in {"both": log, "one": one, "blind": blind}.items():
        write_log(home / f"{name}.jsonl", each, scenario)


def _run(folder: Path, rng: np.random.Generator, regime: Mapping[str, Any] | None) -> None:
    """A run folder with weights and curves at random, as if trained."""
    scenario, config, protocol = small(), TrainConfig(episodes=40, batch=20, hidden=(4,)), Protocol(2, 7, 20)
    abstract = abstract_policy(scenario, config, protocol)
    weights = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), abstract.variables)
    length = 2
    names = CURVES if regime is None else (runs.LOSS,)
    shapes = {name: (2, length, 5) if name == "components" else (2, length) for name in names}
    curves = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    figure = {"mean": 1.5, "std": 0.25}
    components = dict.fromkeys(("latency", "money", "violation", "failure", "divergence"), figure)
    row = {"cost": figure, "success": figure, "components": components}
    with runs.new_folder(folder) as place:
        policy = Learned(weights, abstract.architecture)
        runs.save(place.folder, scenario, config, Hyperparameters(), protocol, policy, curves, regime)
        figures = runs.header(scenario, 40, protocol) | {
            "policies": dict.fromkeys(("learned", "latency", "cost_aware", "random"), row),
            "seconds": {"compile": 1.0, "train": 1.0, "evaluate": 1.0},
        }
        files.write_json(place.folder / "metrics.json", figures)
        (place.folder / "tables.md").write_text("| a table |\n")


def _sweep(folder: Path, scenario: Path, rng: np.random.Generator, *, complete: bool) -> None:
    """A sweep folder with figures at random, as if its six runs had been trained; or half of them, in chunks."""
    scenario.write_text(SMALL)
    axes = {"learning_rate": [0.01, 0.02, 0.05], "weights": {"latency": [0.5]}, "baseline": ["critic"]}
    spec = make_spec({"scenario": str(scenario), "seeds": 2, "evaluation_episodes": 20, "optimum": False, "axes": axes,
                      "set": {"episodes": 60, "batch": 20}})  # fmt: skip
    work = prepared(spec)
    gathered = Gathered(work)
    rows = np.arange(work.rows if complete else work.rows // 2)
    figures = {name: rng.random(len(rows)) for name in FIGURES} | {"finite": np.ones(len(rows), bool)}
    for name in CURVE:
        shape = (len(rows), gathered.points, 5) if name == "components" else (len(rows), gathered.points)
        figures[f"curve_{name}"] = rng.random(shape, np.float32)
    with opened(folder, spec) as store:
        store.begin(spec, 4)
        if not complete:
            store.write_chunk("train", rows, figures)
            return
        gathered.put_rows(rows, figures)
        write_results(gathered.results(), folder)
        store.finish({"plan": {}, "compilations": 1, "seconds": {}, "versions": runs.versions()})


def digest(data: bytes) -> dict[str, Any]:
    """What a manifest says of a file."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def sealed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The same files with every hash made to match: in the manifest, of ``sweep.json`` and in the names of chunks."""
    found = {}
    for name, data in files.items():
        start = name.rpartition("-")[0]
        found[f"{start}-{digest(data)['sha256'][:16]}.npz" if name.startswith("chunks/") else name] = data
    with contextlib.suppress(ValueError, KeyError, TypeError):
        about = json.loads(found["sweep.json"])
        own = json.dumps([about["sweep"], about["lanes"]], sort_keys=True).encode()
        found["sweep.json"] = json.dumps(about | {"sha256": digest(own)["sha256"]}, indent=2).encode()
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        manifest = json.loads(found["manifest.json"])
        manifest["files"] |= {name: digest(found[name]) for name in manifest["files"] if name in found}
        found["manifest.json"] = json.dumps(manifest, indent=2).encode()
    return found
