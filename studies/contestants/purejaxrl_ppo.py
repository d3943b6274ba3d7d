"""purejaxrl's PPO: its script as it is, from a folder that a user fetched (``PUREJAXRL``)."""

import importlib
import importlib.util
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .common import Agent, Contestant, Network, spending

UNUSED: Mapping[str, Sequence[str]] = {
    "brax": (), "brax.envs": (), "brax.envs.wrappers.training": ("EpisodeWrapper", "AutoResetWrapper"), "navix": (),
}  # fmt: skip
"""What its `wrappers` import for environments that are not played here; where it is not installed, empty modules do."""


class PPO(Contestant):
    """One program, a seed after the other."""

    name = "purejaxrl PPO"
    modules = ("gymnax", "distrax")
    scripts = ("PUREJAXRL", "ppo.py", "wrappers.py")
    remark = "its script gives the last weights only, so it is looked at once"
    fixed: ClassVar[Mapping[str, Any]] = {
        "UPDATE_EPOCHS": 4, "NUM_MINIBATCHES": 4, "GAMMA": 1.0, "GAE_LAMBDA": 0.95, "CLIP_EPS": 0.2, "VF_COEF": 0.5,
        "MAX_GRAD_NORM": 0.5, "ACTIVATION": "tanh", "ANNEAL_LR": True,
    }  # fmt: skip
    settings: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"LR": 2.5e-3, "NUM_ENVS": 64, "NUM_STEPS": 10, "ENT_COEF": 0.01},
        {"LR": 5e-3, "NUM_ENVS": 64, "NUM_STEPS": 10, "ENT_COEF": 0.01},
        {"LR": 2.5e-3, "NUM_ENVS": 32, "NUM_STEPS": 10, "ENT_COEF": 0.01},
        {"LR": 2.5e-3, "NUM_ENVS": 64, "NUM_STEPS": 10, "ENT_COEF": 0.05},
    )

    def train(self, scenario: str, steps: int, seeds: Sequence[int], settings: Mapping[str, Any]) -> list[Agent]:
        """See `Contestant.train`."""
        import aljax.adapters.gymnax  # noqa: F401  # registers the names

        script = _script(self.folder)
        iteration = settings["NUM_ENVS"] * settings["NUM_STEPS"]
        total = iteration * -(-steps // iteration)
        run = script.make_train({**self.fixed, **settings, "ENV_NAME": f"{scenario}-aljax-5", "TOTAL_TIMESTEPS": total})

        def kept(key: jax.Array) -> Any:
            found = run(key)
            return found["runner_state"][0].params, found["metrics"]["returned_episode"].sum()

        keys = jnp.stack([jax.random.PRNGKey(seed) for seed in seeds])
        with spending() as compiling:
            compiled = jax.jit(lambda keys: jax.lax.map(kept, keys)).lower(keys).compile()
        with spending() as spent:
            weights, episodes = jax.block_until_ready(compiled(keys))
        rows = weights["params"]["Dense_2"]["bias"].shape[-1]
        network = script.ActorCritic(rows, activation=self.fixed["ACTIVATION"])

        act = jax.jit(lambda own, seen: jnp.argmax(network.apply(own, seen)[0].logits, axis=1))

        share = 1 / len(seeds)
        took = spent.seconds * share, spent.cpu_seconds * share, compiling.seconds
        agents = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], weights) for seed in range(len(seeds))]
        return [
            Agent([(total, Network(act, own))], total, int(ended), *took)
            for own, ended in zip(agents, np.asarray(episodes), strict=True)
        ]


def _script(folder: Path) -> Any:
    """Its ``ppo.py`` as a module, unmodified."""
    for name, classes in UNUSED.items():
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = types.ModuleType(name)
            vars(sys.modules[name]).update(dict.fromkeys(classes, object))
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location("purejaxrl_ppo_script", folder / "ppo.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module
