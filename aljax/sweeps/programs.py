"""The compiled programs of a sweep: whole training runs, and exact optima, a fixed number side by side on each device.

A run's last bits depend on how many runs XLA vectorises over, and learning multiplies differences in the last bits
until they are differences in everything. So the number of *lanes*, runs side by side on a device, is fixed for a
sweep: then a run gives the same numbers, bit for bit, beside whichever others it runs, on however many devices and
hosts. `jax.shard_map` splits the lanes over devices; runs have nothing to say to each other.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from aljax import env
from aljax.env import EnvParams
from aljax.exact.plan import Plan
from aljax.exact.policy import Optimal
from aljax.learning import risk
from aljax.networks.inputs import architecture_of, inputs_of
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import Policy, Variables, learned_of
from aljax.rollout import outcome, rollout
from aljax.scenario import Scenario
from aljax.seeds import target_on
from aljax.target import Target
from aljax.train import Curve, advance, init

AXIS = "runs"
"""Name of the mesh's only axis."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """All that is static in a training run: equal shapes share a compilation."""

    config: TrainConfig
    steps: int
    actions: int
    coordinates: int
    seen: int
    """Numbers that networks are shown at each step."""
    fields: tuple[str, ...]
    """The optional fields that the environment has."""

    @classmethod
    def of(cls, scenario: Scenario, config: TrainConfig) -> "Shape":
        """The shape of training in a scenario."""
        params = scenario.params
        sizes = (scenario.horizon, env.num_actions(params), env.num_coordinates(params))
        static, _ = risk.apart(config, Hyperparameters())
        return cls(static, *sizes, inputs_of(config).size(params), env.present(params))

    @property
    def work(self) -> float:
        """Roughly the multiplications of a run, for comparing shapes that were not timed."""
        return self.config.updates * self.memory

    @property
    def memory(self) -> float:
        """Roughly what an update's arrays hold, likewise."""
        architecture = architecture_of(self.config, self.actions)
        products, widths = architecture.products(self.seen), architecture.widths(self.seen)
        return self.config.batch * self.steps * (products + 20 * sum(widths)) + products


@dataclasses.dataclass(frozen=True)
class Solving:
    """All that is static in computing an exact optimum."""

    plan: Plan
    steps: int
    fields: tuple[str, ...]
    """The optional fields that the environment has."""


class Played(NamedTuple):
    """What a policy's evaluation came to: means over its episodes."""

    cost: jax.Array
    success: jax.Array
    components: jax.Array
    """Unweighted. ``[5]``"""
    tail: jax.Array | None = None
    """CVaR of the total cost; None where it is not asked for."""


class Result(NamedTuple):
    """One training run."""

    played: Played
    """Greedy, on the evaluation's starts and luck."""
    finite: jax.Array
    """All weights are. Boolean"""
    curve: Curve
    variables: Variables


class TrainInput(NamedTuple):
    """What varies between runs of one shape; leading axis: runs."""

    key: Any
    """Key data of training."""
    evaluation_key: Any
    """Key data of the evaluation."""
    hyperparameters: Hyperparameters
    params: EnvParams
    alpha: Any = None
    """Of the CVaR that the evaluation is to give; None: it gives none."""


class SolveInput(NamedTuple):
    """What varies between optima of one structure; leading axis: environments and seeds."""

    evaluation_key: Any
    params: EnvParams


class Memory(NamedTuple):
    """What the compiler says that a program takes, bytes on each device."""

    arguments: int
    outputs: int
    temporary: int

    @property
    def total(self) -> int:
        """While it runs."""
        return self.arguments + self.outputs + self.temporary


def _play(
    key: Any, policy: Policy, params: EnvParams, episodes: int, steps: int, target: Target, alpha: Any = None
) -> Played:
    played = rollout(jax.random.wrap_key_data(key), policy, params, episodes=episodes, steps=steps, target=target)
    result = outcome(played, params)
    tail = None if alpha is None else risk.tail_mean(result.total, alpha)
    return Played(result.total.mean(), result.success.mean(), result.costs.mean(1), tail)


def _train(stop: jax.Array, given: TrainInput, *, shape: Shape, episodes: int, target: Target) -> Result:
    """Trains up to an update and evaluates."""
    static: dict[str, Any] = {"config": shape.config, "steps": shape.steps}
    state = init(jax.random.wrap_key_data(given.key), given.params, **static)
    state = advance(state, 0, stop, given.hyperparameters, given.params, **static, target=target)
    finite = jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.variables)]).all()
    policy = learned_of(shape.config, given.params, state.variables)
    played = _play(given.evaluation_key, policy, given.params, episodes, shape.steps, target, given.alpha)
    return Result(played, finite, state.curve, state.variables)


def _solve(given: SolveInput, *, solving: Solving, episodes: int) -> Played:
    plan = solving.plan
    return _play(given.evaluation_key, Optimal(plan), given.params, episodes, solving.steps, plan.target)


class Program:
    """A compiled program: takes `batch` rows at a time, `lanes` on each device of the mesh."""

    def __init__(self, function: Callable[..., Any], mesh: Mesh, lanes: int, example: Any, extra: tuple[Any, ...] = ()):
        """Compiles.

        Args:
          function: of extra arguments and a tree of local rows, to a tree with as many rows.
          mesh: devices.
          lanes: rows on each device.
          example: one row's tree of NumPy arrays, for shapes.
          extra: examples of arguments that all rows share.
        """
        self.mesh, self.lanes, self.batch = mesh, lanes, lanes * mesh.size
        self.rows, self.shared = NamedSharding(mesh, P(AXIS)), NamedSharding(mesh, P())
        specs = (*(P() for _ in extra), P(AXIS))
        sharded = jax.jit(
            # Runs send each other nothing, so there is nothing to check about what varies over the mesh.
            jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False),
            compiler_options=target_on(mesh).compiler_options(),
        )
        shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((self.batch, *np.shape(leaf)), leaf.dtype, sharding=self.rows), example
        )
        shared = [jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=self.shared) for x in extra]
        begun = time.perf_counter()
        self.compiled = sharded.lower(*shared, shapes).compile()
        self.seconds = time.perf_counter() - begun
        analysis: Any = self.compiled.memory_analysis()
        self.memory = Memory(
            analysis.argument_size_in_bytes, analysis.output_size_in_bytes, analysis.temp_size_in_bytes
        )

    def __call__(self, rows: Any, *extra: Any) -> Any:
        """Starts the program on up to `batch` rows; what is missing is filled with the last.

        Args:
          rows: a tree of NumPy arrays, leading axis rows; on every host the same, or at least right for its devices.
          extra: what all rows share.

        Returns:
          Device arrays, filled rows included; see `fetch`.
        """
        count = len(jax.tree.leaves(rows)[0])
        index = np.minimum(np.arange(self.batch), count - 1)

        def placed(leaf: np.ndarray) -> jax.Array:
            whole = leaf[index]
            return jax.make_array_from_callback(whole.shape, self.rows, whole.__getitem__)

        def everywhere(value: Any) -> jax.Array:
            return jax.make_array_from_callback(np.shape(value), self.shared, np.asarray(value).__getitem__)

        return self.compiled(*map(everywhere, extra), jax.tree.map(placed, rows))

    def fetch(self, results: Any, count: int) -> Any:
        """Waits for what a call gave.

        Args:
          results: device arrays, leading axis: rows, filled ones included.
          count: how many of the rows were asked for.

        Returns:
          Those rows as NumPy arrays, on every host.
        """
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            results = multihost_utils.process_allgather(results, tiled=True)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], results)


def training_program(shape: Shape, mesh: Mesh, lanes: int, episodes: int, example: TrainInput) -> Program:
    """Compiles training runs of a shape.

    Args:
      shape: all that is static in a run.
      mesh: devices.
      lanes: runs side by side on each device.
      episodes: of each run's evaluation.
      example: one row's input, for its shapes.

    Returns:
      Called with rows, a `TrainInput`, and the update to stop at, it gives a `Result`, leading axis: rows.
    """
    row = functools.partial(_train, shape=shape, episodes=episodes, target=target_on(mesh))

    def train_rows(stop: jax.Array, given: TrainInput) -> Result:
        return jax.vmap(row, in_axes=(None, 0))(stop, given)

    return Program(train_rows, mesh, lanes, example, extra=(np.int32(0),))


def solving_program(solving: Solving, mesh: Mesh, lanes: int, episodes: int, example: SolveInput) -> Program:
    """Compiles exact optima of a structure, rolled out. On a device they are solved one after the other.

    Args:
      solving: all that is static in an optimum.
      mesh: devices.
      lanes: optima that one call finds on each device.
      episodes: of each optimum's evaluation.
      example: one pair's input, for its shapes.

    Returns:
      Called with pairs, a `SolveInput`, it gives a `Played`, leading axis: pairs.
    """
    row = functools.partial(_solve, solving=solving, episodes=episodes)

    def solve_rows(given: SolveInput) -> Played:
        return jax.lax.map(row, given)

    return Program(solve_rows, mesh, lanes, example)


def train_inputs(
    params: Sequence[EnvParams],
    hyperparameters: Sequence[Hyperparameters],
    keys: np.ndarray,
    evaluation: np.ndarray,
    alpha: np.ndarray | None = None,
) -> TrainInput:
    """Stacks what runs vary in.

    Args:
      params: an environment a run.
      hyperparameters: numbers a run.
      keys: key data of training ``[R, ...]``.
      evaluation: key data of evaluation ``[R, ...]``.
      alpha: of the CVaR of each run ``[R]``; None: none is asked for.

    Returns:
      NumPy arrays, leading axis: runs. ``[R, ...]``
    """
    return TrainInput(keys, evaluation, stack([numbers(h) for h in hyperparameters]), stack(params), alpha)


def numbers(hyperparameters: Hyperparameters) -> Hyperparameters:
    """Hyperparameters as NumPy scalars in single precision.

    Args:
      hyperparameters: as Python numbers.

    Returns:
      The same, float32.
    """
    return jax.tree.map(np.float32, hyperparameters)


def stack(trees: Sequence[Any]) -> Any:
    """Trees of equal structure and shapes as one of NumPy arrays, with a leading axis for the trees. ``[N, ...]``

    Args:
      trees: N of them.

    Returns:
      One tree.
    """
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def numpy_row(rows: Any, index: int) -> Any:
    """One row of a tree of arrays that `stack` gave. ``[...]``

    Args:
      rows: as `stack` gave it.
      index: of the row.

    Returns:
      A tree like those that were stacked.
    """
    return jax.tree.map(lambda leaf: leaf[index], rows)


def make_mesh(devices: int | None = None) -> Mesh:
    """All devices of all hosts, or the first few, along one axis.

    Args:
      devices: how many; None: all.

    Returns:
      A mesh with the axis `AXIS`.
    """
    found = jax.devices()[:devices]
    return jax.make_mesh((len(found),), (AXIS,), devices=found, axis_types=(jax.sharding.AxisType.Auto,))
