"""The programs that are compiled for a chip: those of this package, and those of the revision before, by its own means.

Each is what users run, at the defaults: `paper`, 5 seeds. Shapes are all that goes in.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import evaluate, load_scenario, rollout, train, training
from aljax.exact import recursion
from aljax.exact.structure import make_plan
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned, heuristics, learned_of
from aljax.seeds import target_on
from aljax.sweeps import programs as sweeps

from chips import operations, target
from chips.target import Chip, Compiled

SCENARIO = "paper"
EPISODES = 1024
"""Of a rollout, each of the seeds."""
LANES = 1024
"""Runs of a sweep, side by side."""


def update(chip: Chip, config: TrainConfig | None = None, seeds: int = Protocol().seeds) -> tuple[Compiled, float]:
    """Training updates of all seeds, as ``aljax train`` runs them.

    Args:
      chip: of the catalogue.
      config: shape of the runs; None: the default.
      seeds: how many.

    Returns:
      The program, whose open loop is one update, and that update's floating-point operations.
    """
    scenario, config = load_scenario(SCENARIO), config or TrainConfig()
    mesh = target.mesh_of(chip, "seeds")
    args = _advanced(config, seeds)
    _, advance = training.programs_on(mesh, config, scenario.horizon)
    begun = time.perf_counter()
    made = advance.compiled(*args)
    seconds = time.perf_counter() - begun
    return Compiled(chip, made, seconds), flops_an_update(chip, config, seeds)


def play(chip: Chip, episodes: int = EPISODES) -> tuple[Compiled, float]:
    """A rollout of all seeds' policies, sampled as in training.

    Args:
      chip: of the catalogue.
      episodes: of each seed.

    Returns:
      The program and its floating-point operations.
    """
    scenario, config = load_scenario(SCENARIO), TrainConfig()
    what = target_on(target.mesh_of(chip))
    policy = training.abstract_policy(scenario, config, Protocol())

    def one(key: jax.Array, policy: Learned, params: Any) -> rollout.Trajectory:
        sampler = learned_of(config, params, policy.variables, greedy=False)
        sizes = {"episodes": episodes, "steps": scenario.horizon}
        return rollout.rollout(key, sampler, params, **sizes, target=what)

    function = jax.vmap(one, in_axes=(0, 0, None))
    args = (_keys(Protocol().seeds), policy, scenario.params)
    return target.compile_for(chip, function, *args), operations.flops(function, *target.abstract(args))


def evaluation(chip: Chip) -> tuple[Compiled, float]:
    """The evaluation of the learned policies and the heuristics, side by side.

    Args:
      chip: of the catalogue.

    Returns:
      The program and its floating-point operations.
    """
    scenario, protocol = load_scenario(SCENARIO), Protocol()
    learned = training.abstract_policy(scenario, TrainConfig(), protocol)
    function = functools.partial(
        evaluate.evaluate,
        trained=frozenset({learned.name}),
        episodes=protocol.evaluation_episodes,
        steps=scenario.horizon,
        target=target_on(target.mesh_of(chip)),
    )
    args = (_keys(protocol.seeds), {learned.name: learned} | dict(heuristics(scenario)), scenario.params)
    return target.compile_for(chip, function, *args), operations.flops(function, *target.abstract(args))


def solver(chip: Chip) -> tuple[Compiled, float]:
    """The exact optimum from each start of one seed's evaluation.

    Args:
      chip: of the catalogue.

    Returns:
      The program and its floating-point operations.
    """
    scenario = load_scenario(SCENARIO)
    plan = make_plan(scenario.params, scenario=scenario, target=target_on(target.mesh_of(chip)))
    start = jax.ShapeDtypeStruct((plan.coordinates, Protocol().evaluation_episodes), jnp.float32)
    function = functools.partial(recursion.solve, plan=plan)
    args = (scenario.params, start)
    return target.compile_for(chip, function, *args), operations.flops(function, *target.abstract(args))


def sweep(chip: Chip, lanes: int = LANES) -> tuple[Compiled, float]:
    """Whole training runs of a sweep side by side, each with its evaluation.

    Args:
      chip: of the catalogue.
      lanes: how many.

    Returns:
      The program, whose open loop is one update of all lanes, and the operations of one update and the evaluation.
    """
    scenario, config = load_scenario(SCENARIO), TrainConfig()
    key = np.asarray(jax.random.key_data(jax.random.key(0)))[None]
    example = sweeps.numpy_row(sweeps.train_inputs([scenario.params], [Hyperparameters()], key, key), 0)
    shape, mesh, begun = sweeps.Shape.of(scenario, config), target.mesh_of(chip, sweeps.AXIS), time.perf_counter()
    program = sweeps.training_program(shape, mesh, lanes, Protocol().evaluation_episodes, example)
    made = Compiled(chip, program.compiled, time.perf_counter() - begun)
    return made, lanes * flops_an_update(chip, config, 1)


PROGRAMS: dict[str, Callable[[Chip], tuple[Compiled, float]]] = {
    "update": update, "rollout": play, "evaluation": evaluation, "solver": solver, "sweep": sweep,
}  # fmt: skip
"""What can be compiled, by name."""


def flops_an_update(chip: Chip, config: TrainConfig, seeds: int) -> float:
    """Floating-point operations of one update of so many runs."""
    steps, what = load_scenario(SCENARIO).horizon, target_on(target.mesh_of(chip))
    further = functools.partial(train.advance, config=config, steps=steps, target=what)
    return operations.flops(jax.vmap(further, in_axes=(0, None, None, None, None)), *_advanced(config, seeds))


def _advanced(config: TrainConfig, seeds: int) -> tuple[Any, ...]:
    """Shapes of what `train.advance` takes, for so many runs."""
    scenario = load_scenario(SCENARIO)
    begin = functools.partial(train.init, config=config, steps=scenario.horizon)
    state = jax.eval_shape(jax.vmap(begin, in_axes=(0, None)), _keys(seeds), scenario.params)
    updates = jax.ShapeDtypeStruct((), jnp.int32)
    return (state, updates, updates, *target.abstract((_numbers(), scenario.params)))


def _keys(count: int) -> Any:
    return jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))


def _numbers() -> Any:
    return jax.tree.map(np.float32, Hyperparameters())
