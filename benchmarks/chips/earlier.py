"""Compiles update, rollout and evaluation of an earlier revision for a chip, by that revision's own functions.

Run by ``benchmarks/accelerators.py`` with that revision's package on the path. It asks `jax.default_backend` what it is
compiled for, and so is answered what the chip would.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import numpy as np

from aljax.evaluate import evaluate
from aljax.experiment import Protocol
from aljax.policy import Learned, heuristics
from aljax.rollout import Trajectory, rollout
from aljax.scenario import load_scenario
from aljax.train import Hyperparameters, TrainConfig, advance, init, network_of

from chips import operations, target
from chips.rows import row
from chips.target import Chip

EPISODES = 1024


def rows(chip: Chip) -> list[dict[str, Any]]:
    """Rows of the receipt, as `chips.programs` has them of this revision."""
    scenario, config, protocol = load_scenario("paper"), TrainConfig(), Protocol()
    params, steps = target.abstract(scenario.params), scenario.horizon
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), protocol.seeds))
    static: dict[str, Any] = {"config": config, "steps": steps}
    state = jax.eval_shape(jax.vmap(functools.partial(init, **static), in_axes=(0, None)), keys, params)
    number, hyper = jax.ShapeDtypeStruct((), np.int32), target.abstract(jax.tree.map(np.float32, Hyperparameters()))
    network = network_of(config, scenario.params)

    def play(key: jax.Array, variables: Any, params: Any) -> Trajectory:
        return rollout(key, Learned(variables, network, greedy=False), params, episodes=EPISODES, steps=steps)

    sizes: dict[str, Any] = {"episodes": protocol.evaluation_episodes, "steps": steps}
    policies = {"learned": Learned(state.variables, network)} | dict(heuristics(scenario))
    programs: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
        "update": (
            jax.vmap(functools.partial(advance, **static), in_axes=(0, None, None, None, None)),
            (state, number, number, hyper, params),
            {"donate_argnums": (0,)},
        ),
        "rollout": (jax.vmap(play, in_axes=(0, 0, None)), (keys, state.variables, params), {}),
        "evaluation": (
            functools.partial(evaluate, trained=frozenset({"learned"}), **sizes),
            (keys, target.abstract(policies), params),
            {},
        ),
    }
    found = []
    for name, (function, args, options) in programs.items():
        made = target.compile_for(chip, function, *args, **options)
        found.append(row(name, made, operations.flops(function, *args), steps))
    return found


def main(key: str, out: str) -> None:
    """Writes the rows of a chip as JSON."""
    chip = target.catalogue()[key]
    with mock.patch.object(jax, "default_backend", lambda: "gpu" if chip.platform == "cuda" else chip.platform):
        found = rows(chip)
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
