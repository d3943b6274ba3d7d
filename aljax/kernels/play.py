"""Whole rollouts in one kernel: policy, sampling and environment for all steps of a block of episodes.

It is `aljax.rollout.play`, run another way. What happens in a step is traced from the function that the general path
runs, `aljax.episodes.play_step`, for one episode, and written out for a block of them by `aljax.kernels.elements`; the
policy's network is run by `aljax.kernels.network`. A GPU takes some microseconds to launch anything, however small. So
it launches one kernel a rollout, and what one step leaves to the next stays in registers.

The steps are a loop: two of them written out compile in twice the time of the loop, and each further one triples that.
"""

import dataclasses
import functools
import importlib
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from aljax import env
from aljax.chance import Chance
from aljax.env import EnvParams, EnvState
from aljax.episodes import Trajectory, play_step, succeeded
from aljax.kernels import network as networks
from aljax.kernels.elements import Elements, Program, elements, spread
from aljax.policy import Policy
from aljax.target import Target

try:  # JAX deprecates this backend of Pallas since 0.11.2; once it is gone, the general path plays all
    triton: Any = importlib.import_module("jax.experimental.pallas.triton")
except ImportError:
    triton = None

_BLOCK, _LARGE_BLOCK = 16, 64
"""Episodes that a program of the kernel plays. Of few, so that several threads share one and they spread over the chip;
where there are enough to fill it, one for each thread. Of those tried on an H200, the fastest
(docs/reference/accelerators.md)."""
_MOST = 1200
"""Numbers that a step may work out: Triton compiles twice as many in four times the time and more."""
_MANY = 132 * 128
"""Episodes that fill an H100's processors."""


def covers(chance: Chance, policy: Policy, params: EnvParams, target: Target) -> bool:
    """Whether there is a kernel for a policy's rollouts; if not, the general path plays them.

    There is one for every environment that is not very large, under feed-forward networks that fit a chip's registers
    and policies that do nothing but compare and count. A recurrent network, or the exact policy's tables, are too much.

    Args:
      chance: of the episodes.
      policy: what chooses.
      params: the environment.
      target: what it is compiled for.

    Returns:
      A Python Boolean, which depends on shapes alone.
    """
    network, _ = networks.apart(policy)
    fits = network is None or networks.fits(network)
    if triton is None or not fits or not _chooses_for_one(chance, policy, params):
        return False
    programs = _Programs(chance, policy, params, target)
    return programs.step.size() <= _MOST and not programs.refused()


def _chooses_for_one(chance: Chance, policy: Policy, params: EnvParams) -> bool:
    """Whether a policy is one of single episodes, too: somebody's own may know only episodes along a trailing axis."""

    def choose(start: env.Start, params: EnvParams, policy: Policy) -> jax.Array:
        state = env.begin(start, params)
        observation = policy.observe(params, state)
        return policy.logits(params, observation, env.legal(state, params), policy.begin(params, observation))

    try:
        logits = jax.eval_shape(choose, _like(chance.start, 0), *_like((params, policy)))
    except (IndexError, TypeError, ValueError):
        return False
    return logits.shape == (env.num_actions(params),)


class _Programs:
    """What happens to one episode, traced, the network left out."""

    def __init__(self, chance: Chance, policy: Policy, params: EnvParams, target: Target) -> None:
        self.network, self.rest = networks.apart(policy)
        network, given = self.network, _like((params, self.rest))
        state = jax.eval_shape(env.begin, _like(chance.start, 0), params)
        start, luck, choice = (state.z, state.misread, state.down), _like(chance.luck, 1), _like(chance.choice, 1)
        outputs = None if network is None else jax.ShapeDtypeStruct((network.outputs,), jnp.float32)

        def begin(start: Any, given: tuple[EnvParams, Policy]) -> Any:
            params, policy = given
            z, misread, down = start
            state = env.fresh(z, misread, down, params)
            observation = policy.observe(params, state)
            return observation, state, policy.begin(params, observation)

        def see(carry: Any, given: tuple[EnvParams, Policy]) -> jax.Array:
            (params, policy), (observation, _, memory) = given, carry
            return policy.sees(params, observation, memory)

        def step(carry: Any, luck: env.Luck, choice: jax.Array, outputs: Any, given: tuple[EnvParams, Policy]) -> Any:
            params, policy = given
            chooser = policy if outputs is None else networks.answered(policy, outputs)
            return play_step(chooser, params, carry, luck, choice, target)

        def end(state: EnvState, given: tuple[EnvParams, Policy]) -> jax.Array:
            return succeeded(state, given[0])

        self.begin = Program(begin, start, given)
        carry = self.begin.shapes
        self.see = Program(see, carry, given)
        self.step = Program(step, carry, luck, choice, outputs, given)
        self.end = Program(end, carry[1], given)

    def refused(self) -> set[str]:
        """Operations that a kernel cannot do."""
        return set[str]().union(*(program.refused() for program in (self.begin, self.see, self.step, self.end)))


def _like(tree: Any, before: int | None = None) -> Any:
    """Shapes of arrays; if `before` is given, without so many first axes and without the last one, of episodes."""
    kept = slice(None) if before is None else slice(before, -1)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf)[kept], jnp.result_type(leaf)), tree)


def play(chance: Chance, policy: Policy, params: EnvParams, target: Target) -> Trajectory:
    """What `aljax.rollout.play` returns, from one kernel, for what it `covers`.

    Args:
      chance: of B episodes of T steps.
      policy: what chooses.
      params: the environment.
      target: what it is compiled for.

    Returns:
      The trajectories.
    """
    programs = _Programs(chance, policy, params, target)
    (steps, episodes), interpreted = chance.choice.shape, target.kernels == "interpreted"
    started = env.begin(chance.start, params)
    _, state, _ = programs.begin.shapes
    _, left = programs.step.shapes

    def whole(tree: Any, *before: int) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*before, *leaf.shape, episodes), leaf.dtype), tree)

    shared, layers = (params, programs.rest), networks.layers_of(policy, programs.network)
    apart = (started.z, started.misread, started.down), chance.luck, chance.choice
    costs = jax.ShapeDtypeStruct((len(left.costs),), jnp.float32)
    kept = whole(left._replace(costs=costs), steps), whole(state), whole(programs.end.shapes)
    alike = [jnp.reshape(leaf, jnp.shape(leaf) or (1,)) for leaf in jax.tree.leaves((shared, layers))]
    deep = programs.network is not None and len(programs.network.hidden) > 1
    large = episodes >= _MANY and not deep
    block, warps = (_LARGE_BLOCK, 2) if large else (_BLOCK, 8 if deep else 4)
    plan = _Plan(
        programs,
        tuple(jax.tree.structure(tree) for tree in (shared, layers, apart, kept)),
        tuple(jnp.shape(leaf) for leaf in jax.tree.leaves(shared)),
        block,
        steps,
        # Where a kernel is interpreted, blocks that reach beyond the last episode are padded.
        None if interpreted or episodes % block == 0 else episodes,
    )
    found = pl.pallas_call(
        functools.partial(_kernel, plan),
        grid=(-(-episodes // block),),
        in_specs=[
            *(pl.BlockSpec(leaf.shape, lambda number, axes=leaf.ndim: (0,) * axes) for leaf in alike),
            *(_part(leaf, block) for leaf in jax.tree.leaves(apart)),
        ],
        out_specs=[_part(leaf, block) for leaf in jax.tree.leaves(kept)],
        out_shape=jax.tree.leaves(kept),
        compiler_params=triton.CompilerParams(num_warps=warps, num_stages=1),
        interpret=interpreted,
        name="rollout",
    )(*alike, *jax.tree.leaves(apart))
    left, final, success = jax.tree.unflatten(plan.trees[-1], found)
    return Trajectory(left.observation, left.action, left.costs, left.alive, final, success, left.legal)


def _part(leaf: Any, block: int) -> pl.BlockSpec:
    """Of an array with a trailing axis of episodes, what a program of the kernel sees."""
    return pl.BlockSpec((*leaf.shape[:-1], block), lambda number, axes=leaf.ndim: (0,) * (axes - 1) + (number,))


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What is known of a kernel when it is made."""

    programs: _Programs
    trees: tuple[Any, ...]
    """Of environment and policy, of the layers, of what episodes have apart, of what is kept."""
    shapes: tuple[tuple[int, ...], ...]
    """Of environment and policy, as their programs know them: a kernel's scalars are arrays of one number."""
    block: int
    steps: int
    within: int | None
    """Only the first so many episodes are there."""


def _kernel(plan: _Plan, *references: Any) -> None:
    """Plays all steps of a block's episodes."""
    left_over = iter(references)
    shared_tree, *trees = plan.trees
    shared = shared_tree.unflatten(_Shared(next(left_over), shape) for shape in plan.shapes)
    layers, (start, luck, choice), (kept, final, success) = (
        tree.unflatten([next(left_over) for _ in range(tree.num_leaves)]) for tree in trees
    )
    block, programs = _Block(plan), plan.programs

    def step(time: Any, carry: Any) -> Any:
        outputs = networks.outputs(layers, programs.see.run(carry, shared), block.shape) if layers else None
        drawn = jax.tree.map(lambda reference: block.load(reference, time), (luck, choice))
        carry, left = programs.step.run(carry, *drawn, outputs, shared)
        block.store(kept, left._replace(costs=np.stack(left.costs)), time)
        return carry

    _, state, _ = _loop(step, programs.begin.run(jax.tree.map(block.load, start), shared), plan)
    block.store(final, state)
    block.store(success, programs.end.run(state, shared))


def _loop(step: Callable[[Any, Any], Any], carry: Any, plan: _Plan) -> Any:
    """All steps, one after the other: what is carried is a block's values of every number."""
    leaves, tree = jax.tree.flatten(carry)
    shapes = [leaf.shape for leaf in leaves]

    def flat(carry: Any) -> list[jax.Array]:
        return [spread(value, (plan.block,)) for leaf in jax.tree.leaves(carry) for value in leaf.reshape(-1)]

    def full(values: Iterable[jax.Array]) -> Any:
        each = iter(values)
        return tree.unflatten(elements([next(each) for _ in range(math.prod(shape))], shape) for shape in shapes)

    return full(lax.fori_loop(0, plan.steps, lambda time, values: flat(step(time, full(values))), flat(carry)))


class _Shared:
    """An array that all episodes share. Its numbers are scalars, loaded where a program needs them."""

    def __init__(self, reference: Any, shape: tuple[int, ...]) -> None:
        self._reference, self._shape = reference, shape

    def __call__(self) -> Elements:
        places = np.ndindex(self._reference.shape)
        return elements([self._reference[place] for place in places], self._shape)


class _Block:
    """The episodes of a program of the kernel, in arrays with a trailing axis of them."""

    def __init__(self, plan: _Plan) -> None:
        self.shape = (plan.block,)
        self._there = None
        if plan.within is not None:
            number = pl.program_id(0) * plan.block + lax.broadcasted_iota(jnp.int32, self.shape, 0)
            self._there = number < plan.within

    def load(self, reference: Any, *before: Any) -> Elements:
        """The elements of an array, those of a step if one is given."""
        shape = reference.shape[len(before) : -1]
        places = [reference.at[(*before, *place)] for place in np.ndindex(shape)]
        if self._there is None:
            return elements([place[...] for place in places], shape)
        nothing = jnp.zeros((), reference.dtype)
        return elements([triton.load(place, mask=self._there, other=nothing) for place in places], shape)

    def store(self, references: Any, values: Any, *before: Any) -> None:
        """Keeps a tree of elements, those of a step if one is given."""
        for reference, found in zip(jax.tree.leaves(references), jax.tree.leaves(values), strict=True):
            for place in np.ndindex(found.shape):
                value = spread(found[place], self.shape).astype(reference.dtype)
                if self._there is None:
                    reference[(*before, *place)] = value
                else:
                    triton.store(reference.at[(*before, *place)], value, mask=self._there)
