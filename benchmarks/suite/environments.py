"""Environments of any number of actions and coordinates, made of the scenario `paper` for measuring growth."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from aljax import load_scenario
from aljax.env import ActionTable, EnvParams


def grown(actions: int, coordinates: int, horizon: int, seed: int = 0) -> EnvParams:
    """The scenario's rows and coordinates, repeated until there are enough, every number changed by a few percent.

    Args:
      actions: A.
      coordinates: d.
      horizon: H.
      seed: of the changes.
    """
    params, rng = load_scenario("paper").params, np.random.default_rng(seed)

    def wide(values: np.ndarray, size: int, axis: int) -> np.ndarray:
        return np.take(values, np.arange(size) % values.shape[axis], axis=axis)

    def changed(values: np.ndarray) -> np.ndarray:
        if not np.issubdtype(values.dtype, np.floating):
            return values
        return (values * rng.uniform(0.95, 1.05, values.shape)).astype(values.dtype)

    columns = {}
    for field in dataclasses.fields(ActionTable):
        if getattr(params.actions, field.name) is None:
            continue
        column = wide(np.asarray(getattr(params.actions, field.name)), actions, 0)
        columns[field.name] = jnp.asarray(changed(wide(column, coordinates, 1) if column.ndim == 2 else column))
    vectors = {
        name: jnp.asarray(wide(np.asarray(getattr(params, name)), coordinates, 0))
        for name in ("drift", "start_low", "start_high", "misread", "tolerance", "z_scale")
    }
    return dataclasses.replace(
        params, actions=ActionTable(**columns), horizon=jnp.asarray(horizon, params.horizon.dtype), **vectors
    )
