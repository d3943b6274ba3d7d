"""Agents in a world whose numbers are known, and the logs that they leave: what a calibration can be held against.

The world is a scenario: what a task needs is a point of its starts, which the log never tells. Runs of a task share its
need, and where tasks differ in how hard they are, how likely their calls fail. What an agent does about a failure may
depend on what the task needs, or not.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import expit, logit

from aljax import env
from aljax.episodes import succeeded
from aljax.logs.episode import LoggedEpisode
from aljax.logs.moves import STOP
from aljax.scenario import Scenario

_NAMES = {"clarify": "user_turn"}
_COLUMNS = ("failure", "after_ok", "after_failed")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Agent:
    """How an agent chooses: it calls what it believes that the task needs, and stops."""

    misjudges: float = 0.2
    """With this probability a run acts by the need of any other task instead of its own."""
    extra: float = 0.1
    """With this probability a step calls any tool for nothing."""
    retry: float = 0.7
    """After a failure it calls the same tool again at once with this probability, or else goes on."""
    retries_what_is_needed: bool = dataclasses.field(default=True, metadata={"static": True})
    """It does so only where the task still needs the call; false: whatever the task needs."""
    gives_up: float = 0.05
    """After a failure it stops with this probability."""
    hands_over: float = 0.1
    """After a failure it hands over with this probability, where the world has a row for that."""


def simulate(
    key: jax.Array, scenario: Scenario, agent: Agent, *, tasks: int, runs: int, hardness: float = 0.0
) -> list[LoggedEpisode]:
    """Plays an agent, and logs what a tracer would see of it.

    Args:
      key: a PRNG key.
      scenario: the world: blind, with start points, a row that stops, and no end by itself; a tool a coordinate, of its
        name.
      agent: how it chooses.
      tasks: how many there are.
      runs: of each.
      hardness: standard deviation over tasks of what is added to the logits of all failure rates; 0: all tasks alike.

    Returns:
      ``tasks * runs`` episodes. Half of a call's seconds and all of its dollars are those of the turn before it.
    """
    played = jax.tree.map(np.asarray, _play(key, scenario.params, agent, _rows(scenario), tasks, runs, hardness))
    return [_episode(scenario, played, task, run) for task in range(tasks) for run in range(runs)]


def needs_of(key: jax.Array, scenario: Scenario, tasks: int) -> np.ndarray:
    """What the tasks of `simulate` with this key need.

    Args:
      key: a PRNG key.
      scenario: the world.
      tasks: how many there are.

    Returns:
      Calls of each coordinate's tool. ``[J, d]``
    """
    return np.asarray(_needs(jax.random.split(key, 3)[0], scenario.params, tasks))


def harder(params: env.EnvParams, shift: jax.Array) -> env.EnvParams:
    """An environment whose calls fail more often.

    Args:
      params: the environment.
      shift: what is added to the logits of failure rates; below 0: they fail less often. Scalar

    Returns:
      The same with other failure columns; what never fails does not.
    """
    table = params.actions
    columns = {name: getattr(table, name) for name in _COLUMNS if getattr(table, name) is not None}
    shifted = {
        name: jnp.where(rate > 0, expit(logit(jnp.maximum(rate, 1e-12)) + shift), 0.0) for name, rate in columns.items()
    }
    return dataclasses.replace(params, actions=dataclasses.replace(table, **shifted))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Rows:
    """Rows of the table that an agent can tell apart."""

    tools: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """By coordinate."""
    stop: int = dataclasses.field(metadata={"static": True})
    hand_over: int | None = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Played:
    """Episodes, tasks by runs: ``[J, R]`` before what is said."""

    row: jax.Array
    """``[T]``"""
    failed: jax.Array
    """``[T]``"""
    seconds: jax.Array
    """``[T]``"""
    dollars: jax.Array
    """``[T]``"""
    alive: jax.Array
    """``[T]``"""
    success: jax.Array


def _rows(scenario: Scenario) -> _Rows:
    number = {name: row for row, name in enumerate(scenario.action_names)}
    kinds = dict(zip(scenario.kinds, range(len(scenario.kinds)), strict=True))
    return _Rows(tuple(number[name] for name in scenario.coordinate_names), kinds["terminate"], kinds.get("escalate"))


def _play(
    key: jax.Array, params: env.EnvParams, agent: Agent, rows: _Rows, tasks: int, runs: int, hardness: float
) -> _Played:
    need_key, hard_key, run_key = jax.random.split(key, 3)
    needs = _needs(need_key, params, tasks)
    hard = hardness * jax.random.normal(hard_key, (tasks,))
    keys = jax.random.split(run_key, (tasks, runs))
    return _runs(keys, params, agent, rows, needs, hard, int(params.horizon))


@jax.jit(static_argnames="tasks")
def _needs(key: jax.Array, params: env.EnvParams, tasks: int) -> jax.Array:
    return jax.vmap(lambda key: env.reset(key, params)[1].z)(jax.random.split(key, tasks))


@jax.jit(static_argnames=("rows", "steps"))
def _runs(
    keys: jax.Array, params: env.EnvParams, agent: Agent, rows: _Rows, needs: jax.Array, hard: jax.Array, steps: int
) -> _Played:
    def one(key: jax.Array, need: jax.Array, shift: jax.Array) -> _Played:
        return _run(key, harder(params, shift), agent, rows, need, steps)

    return jax.vmap(jax.vmap(one, (0, None, None)))(keys, needs, hard)


def _run(key: jax.Array, params: env.EnvParams, agent: Agent, rows: _Rows, need: jax.Array, steps: int) -> _Played:
    """One run of a task that needs so much ``[d]``."""
    begin_key, other_key, judge_key, play_key = jax.random.split(key, 4)
    state = env.reset(begin_key, params)[1]
    state = dataclasses.replace(state, z=need, misread=env.expected_start(params) - need)
    misjudges = jax.random.uniform(judge_key) < agent.misjudges
    believed = jnp.where(misjudges, env.reset(other_key, params)[1].z, need)
    tools = jnp.array(rows.tools)

    def step(carry: tuple[env.EnvState, jax.Array, jax.Array], key: jax.Array) -> tuple[tuple, tuple[jax.Array, ...]]:
        state, last, failed = carry
        draw, pick, luck = jax.random.split(key, 3)
        u, again = jax.random.uniform(draw, (2,))
        lacks = believed - (need - state.z) > 0.5
        choice = jax.random.categorical(pick, jnp.where(lacks | ~lacks.any(), 0.0, -jnp.inf))
        row = jnp.where(lacks.any(), tools[choice], rows.stop)
        anything = tools[jax.random.randint(jax.random.fold_in(pick, 1), (), 0, len(rows.tools))]
        row = jnp.where(u < agent.extra, anything, row)
        wanted = jnp.any((tools == last) & (state.z > 0.5)) if agent.retries_what_is_needed else True
        after = jnp.where(wanted & (again < agent.retry), last, row)
        if rows.hand_over is not None:
            after = jnp.where(u > 1 - agent.hands_over, rows.hand_over, after)
        row = jnp.where(failed, jnp.where(u < agent.gives_up, rows.stop, after), row)
        moved, costs = env.transition(state, row, env.draw_luck(luck, params), params)
        fails = costs[env.COMPONENTS.index("failure")] > 0
        return (moved, row, fails), (row, fails, costs[0], costs[1], ~state.done)

    start = (state, jnp.int32(rows.stop), jnp.bool_(False))
    (end, _, _), played = jax.lax.scan(step, start, jax.random.split(play_key, steps))
    row, fails, seconds, dollars, alive = played
    return _Played(row, fails, seconds, dollars, alive, succeeded(end, params))


def _episode(scenario: Scenario, played: _Played, task: int, run: int) -> LoggedEpisode:
    """A run as a tracer sees it."""
    about = {"episode": f"{task}/{run}", "task": f"task {task}", "logger": "agent"}
    rows: list[dict[str, Any]] = []
    for t in np.flatnonzero(played.alive[task, run]).tolist():
        row, seconds = int(played.row[task, run, t]), float(played.seconds[task, run, t])
        kind, name = scenario.kinds[row], scenario.action_names[row]
        share = 1.0 if kind == STOP else 0.5
        turn = {"kind": "llm", "name": "reason", "latency_s": share * seconds}
        rows.append(turn | {"cost_usd": float(played.dollars[task, run, t])})
        if kind != STOP:
            ok = not played.failed[task, run, t]
            call = {"kind": kind, "name": _NAMES.get(kind, name), "ok": ok, "latency_s": (1 - share) * seconds}
            rows.append(call | ({} if ok else {"error": "error"}))
    steps = [about | {"t": t} | row for t, row in enumerate(rows)]
    end = about | {"kind": "end", "success": bool(played.success[task, run])}
    return LoggedEpisode(
        "a known world", f"{task}/{run}", f"task {task}", "agent", steps, end, range(1, len(steps) + 2)
    )
