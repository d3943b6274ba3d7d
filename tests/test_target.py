"""What programs are compiled for, and what follows from it."""

import dataclasses
import functools
import re
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

import aljax
from aljax import train
from aljax.errors import UserError
from aljax.evaluate import evaluate
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import heuristics, learned_of
from aljax.rollout import rollout
from aljax.scenario import load_scenario
from aljax.seeds import mesh_of, target_on
from aljax.target import Target, here, target_of

from tiny import tiny_scenario

CPU, GPU, TPU = map(target_of, ("cpu", "gpu", "tpu"))
PLAIN = Target("gpu", kernels="none")
"""An accelerator that steps are launched on one by one, without kernels of ours."""
ROOT = Path(aljax.__file__).parents[1]


def test_a_target_is_made_of_any_of_a_platforms_names():
    assert target_of("cuda") == target_of("rocm") == GPU == Target("gpu")
    assert len({CPU, GPU, TPU, PLAIN}) == 4 and CPU != GPU
    with pytest.raises(UserError, match="platform: expected one of cpu, gpu, cuda, rocm, tpu, got abacus"):
        target_of("abacus")


def test_without_a_word_it_is_that_of_the_devices_at_hand():
    assert here() == target_on(mesh_of(1)) == target_of(jax.devices()[0].platform)


def test_what_pays_on_a_cpu_is_left_on_accelerators():
    assert CPU.seeds_in_turn and CPU.stores_by_division and CPU.product_of_rows and CPU.shares_memory
    assert CPU.compiler_options() and CPU.compiler_options(once=True)
    for target in (GPU, TPU):
        assert not (target.seeds_in_turn or target.stores_by_division or target.product_of_rows)
        assert not target.shares_memory and target.compiler_options(once=True) is None
        assert target.block > CPU.block and target.lanes > CPU.lanes and target.starts > CPU.starts


def test_nothing_else_asks_what_the_default_backend_is():
    asking = [
        str(file.relative_to(ROOT))
        for room in ("aljax", "benchmarks", "studies")
        for file in (ROOT / room).rglob("*.py")
        if re.search(r"\bdefault_backend\(", file.read_text(encoding="utf-8"))
    ]
    assert asking == ["aljax/target.py"]


# An accelerator's programs on this machine's CPU: those that are made of nothing but XLA's own operations


close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-5)


compiled = functools.partial(jax.jit, compiler_options=CPU.compiler_options(once=True))


@pytest.mark.parametrize(("name", "policy"), [("outage", "gru"), ("service_desk", "mlp")])
def test_episodes_are_those_of_a_cpu(name, policy):
    params, steps = load_scenario(name).params, 3
    config = TrainConfig(policy=policy, hidden=(8,))
    weights = train.init(jax.random.key(0), params, config=config, steps=steps).variables
    sampler = learned_of(config, params, weights, greedy=False)
    play = compiled(rollout, static_argnames=("episodes", "steps", "target"))
    one, other = (play(jax.random.key(1), sampler, params, episodes=64, steps=steps, target=x) for x in (CPU, PLAIN))
    np.testing.assert_array_equal(one.action, other.action)
    chex.assert_trees_all_equal_shapes_and_dtypes(one, other)
    close(one, other)


@pytest.mark.parametrize("changed", [{}, {"baseline": "none", "policy": "gru"}])
def test_training_is_that_of_a_cpu_and_goes_on_where_it_was(changed):
    scenario = tiny_scenario()
    config = dataclasses.replace(TrainConfig(episodes=80, batch=16, hidden=(8,)), **changed)
    static = {"config": config, "steps": scenario.horizon}
    numbers = jax.tree.map(np.float32, Hyperparameters())
    state = train.init(jax.random.key(0), scenario.params, **static)
    further = compiled(train.advance, static_argnames=("config", "steps", "target"))

    def run(target, *stops):
        found = state
        for start, stop in zip((0, *stops), stops, strict=False):
            found = further(found, start, stop, numbers, scenario.params, **static, target=target)
        return found._replace(key=jax.random.key_data(found.key))

    whole = run(PLAIN, 5)
    chex.assert_trees_all_equal_shapes_and_dtypes(whole, run(CPU, 5))
    close(whole, run(CPU, 5), rtol=1e-4)
    chex.assert_trees_all_equal(whole, run(PLAIN, 2, 5))


def test_evaluation_is_that_of_a_cpu():
    scenario = load_scenario("escalation")
    run = compiled(evaluate, static_argnames=("trained", "episodes", "steps", "target"))
    keys, static = jax.random.split(jax.random.key(3), 2), {"trained": frozenset(), "episodes": 50, "steps": 3}
    one, other = (run(keys, heuristics(scenario), scenario.params, **static, target=x) for x in (CPU, TPU))
    close(one, other)


def waits(jaxpr):
    """Conditions of a traced program, and its loops that are not written out, in what these hold too."""
    found = []
    for equation in jaxpr.eqns:
        name, given = equation.primitive.name, equation.params
        if name in ("cond", "while") or (name == "scan" and given["unroll"] < given["length"]):
            found.append(name)
        if name == "pallas_call":  # one launch, whatever it holds
            continue
        for value in jax.tree.leaves(list(given.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            found += waits(inner) if hasattr(inner, "eqns") else []
    return found


def test_an_accelerator_waits_for_no_condition_and_loops_over_no_step():
    scenario, config = load_scenario("paper"), TrainConfig(hidden=(8,))
    static = {"config": config, "steps": scenario.horizon}
    state = jax.eval_shape(lambda: train.init(jax.random.key(0), scenario.params, **static))
    numbers = jax.tree.map(np.float32, Hyperparameters())
    advance = functools.partial(train.advance, **static)
    found = {
        target: waits(jax.make_jaxpr(functools.partial(advance, target=target))(state, 0, 9, numbers, scenario.params))
        for target in (CPU, GPU, PLAIN)
    }
    assert sorted(found[CPU]) == ["cond", "cond", "scan", "scan", "while"]
    assert found[GPU] == found[PLAIN] == ["while"], "that over updates"
