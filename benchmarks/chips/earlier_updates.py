"""Times the updates of an earlier revision on what is here, by that revision's own functions.

Run by ``benchmarks/gpu.py --before`` with that revision's package on the path.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import numpy as np

from aljax.experiment import Protocol
from aljax.scenario import load_scenario
from aljax.train import Hyperparameters, TrainConfig, advance, init

from chips.timing import timed_updates


def main(out: str, episodes: str, repeats: str) -> None:
    """Writes a row as `chips.here.updates` has them of this revision."""
    scenario, config = load_scenario("paper"), TrainConfig(episodes=int(episodes))
    keys = jax.random.split(jax.random.key(0), Protocol().seeds)
    static: dict[str, Any] = {"config": config, "steps": scenario.horizon}
    state = jax.jit(jax.vmap(functools.partial(init, **static), in_axes=(0, None)))(keys, scenario.params)
    every = jax.vmap(functools.partial(advance, **static), in_axes=(0, None, None, None, None))
    given = (jax.tree.map(np.float32, Hyperparameters()), scenario.params)
    row = {"path": "general"} | timed_updates(every, state, config.updates, given, int(repeats))
    Path(out).write_text(json.dumps({"device": jax.devices()[0].device_kind, "rows": [row]}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
