"""The policy gradient of a tiny scenario by enumeration of every path, and whether estimates average to it."""

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env, train
from aljax.networks.inputs import Inputs, inputs_of
from aljax.options import TrainConfig
from aljax.policy import masked

from tiny import branches, start_of, tiny_scenario

OBSERVATION = Inputs()
CONFIG = TrainConfig(episodes=160, batch=8, hidden=(8,))


def paths(scenario):
    """Every path of an episode: the probability of its luck, its cost, its observations and actions."""
    params = scenario.params
    found = []

    def walk(state, chance, cost, seen, played):
        if bool(state.done):
            found.append((chance, cost, seen, played))
            return
        observation = np.asarray(env.observe(state, params))
        for action in np.flatnonzero(params.actions.allowed):
            for probability, moved, paid in branches(state, int(action), params):
                walk(moved, chance * probability, cost + paid, [*seen, observation], [*played, int(action)])

    walk(start_of(params), 1.0, 0.0, [], [])
    return found


def exact_gradient(variables, network, scenario, inputs=OBSERVATION):
    """∇J(π) from the enumeration, J = Σ over paths of luck's probability × Π π(a | o) × cost."""
    found, steps = paths(scenario), scenario.horizon
    chances, costs = (jnp.array([path[k] for path in found]) for k in (0, 1))
    size = env.observation_size(scenario.params)
    seen = np.zeros((len(found), steps, size), np.float32)
    played = np.full((len(found), steps), -1)
    for i, (_, _, observations, actions) in enumerate(found):
        seen[i, : len(actions)], played[i, : len(actions)] = observations, actions

    rows = jnp.asarray(played).T
    shown = inputs.along(scenario.params, jnp.moveaxis(jnp.asarray(seen), 0, 2), rows, rows < 0)

    @jax.jit
    def cost(variables):
        logits = masked(network.unroll(variables, jnp.moveaxis(shown, 1, 0)), legal)
        log = jax.nn.log_softmax(logits, axis=0).T  # [paths, steps, A]
        chosen = jnp.take_along_axis(log, jnp.maximum(jnp.asarray(played), 0)[..., None], -1)[..., 0]
        chosen = jnp.where(played >= 0, chosen, 0.0).sum(1)
        return (chances * jnp.exp(chosen) * costs).sum(), (chances * jnp.exp(chosen)).sum()

    legal = env.always_legal(scenario.params)[:, None, None]
    gradient, certainty = jax.grad(cost, has_aux=True)(variables)
    np.testing.assert_allclose(certainty, 1.0, atol=1e-5)
    return jax.flatten_util.ravel_pytree(gradient)[0]


def enumeration(config):
    """A tiny scenario, weights away from uniform, and the exact gradient there."""
    scenario = tiny_scenario()
    network = train.policy_architecture(config, scenario.params)
    state = train.init(jax.random.key(3), scenario.params, config=config, steps=scenario.horizon)
    leaves, tree = jax.tree.flatten(state.variables)
    keys = jax.random.split(jax.random.key(4), len(leaves))
    variables = tree.unflatten(
        [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    )
    return scenario, network, variables, exact_gradient(variables, network, scenario, inputs_of(config))


def averages_to(found, exact):
    """Holds independent estimates of a gradient, ``[N, weights]``, against the exact one."""
    exact = np.asarray(exact, np.float64)
    directions = np.random.default_rng(0).normal(size=(30, exact.size))
    directions = np.vstack([directions, exact / np.linalg.norm(exact)])
    along = found @ directions.T
    z = (along.mean(0) - directions @ exact) / (along.std(0) / np.sqrt(len(along)))
    assert np.abs(z).max() < 4.5  # 31 correlated normal scores: p < 1e-4
    assert np.abs(along[:, -1].mean() / np.linalg.norm(exact) - 1) < 0.1
