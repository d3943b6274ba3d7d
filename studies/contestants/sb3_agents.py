"""Stable-Baselines3's PPO and DQN, and sb3-contrib's MaskablePPO and RecurrentPPO, through `aljax.adapters.sb3`.

All play without a discount: an episode's costs count alike whenever they fall due. Rewards are normalised by
Stable-Baselines3's own wrapper.
"""

import copy
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .common import LOOKS, Agent, OneByOne, spending


class StableBaselines(OneByOne):
    """What the four have in common."""

    modules = ("stable_baselines3", "gymnasium")
    library: ClassVar[str] = "stable_baselines3"
    algorithm: ClassVar[str]
    network: ClassVar[str] = "MlpPolicy"

    def one(self, scenario: str, steps: int, seed: int, options: dict[str, Any]) -> Agent:
        """See `OneByOne.one`."""
        import torch
        from stable_baselines3.common.callbacks import BaseCallback
        from stable_baselines3.common.vec_env import VecNormalize

        from aljax.adapters.sb3 import VecEnv

        torch.set_num_threads(1)  # these networks are too small for more
        played = VecEnv(scenario, num_envs=options.pop("num_envs"))
        played.seed(seed)
        normalised = VecNormalize(played, norm_obs=False, norm_reward=True, clip_reward=np.inf, gamma=1.0)
        if options.pop("falling", False):
            first = options["learning_rate"]
            options["learning_rate"] = lambda remaining: first * (0.02 + 0.98 * remaining)
        points: list[tuple[int, Any]] = []

        class Watching(BaseCallback):
            """Counts episodes, and keeps how the agent acts now and then."""

            episodes = 0

            def _on_step(self) -> bool:
                self.episodes += int(self.locals["dones"].sum())
                if self.num_timesteps * LOOKS >= (len(points) + 1) * steps and len(points) < LOOKS - 1:
                    points.append((self.num_timesteps, copy.deepcopy(self.model.policy)))
                return True

        algorithm = getattr(importlib.import_module(self.library), self.algorithm)
        model = algorithm(self.network, normalised, seed=seed, gamma=1.0, device="cpu", **options)
        watching = Watching()
        with spending() as spent:
            model.learn(steps, callback=watching)
        points.append((model.num_timesteps, model.policy))
        acting = [(taken, self.acting(policy)) for taken, policy in points]
        return Agent(acting, model.num_timesteps, watching.episodes, spent.seconds, spent.cpu_seconds)

    def acting(self, policy: Any) -> Any:
        """How it acts, without exploration."""
        policy.set_training_mode(False)
        return lambda seen: policy.predict(seen, deterministic=True)[0]


class PPO(StableBaselines):
    """Proximal policy optimisation."""

    name = "SB3 PPO"
    algorithm = "PPO"
    fixed: ClassVar[Mapping[str, Any]] = {"num_envs": 16, "n_steps": 64, "gae_lambda": 0.95}
    settings: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"learning_rate": 1e-3, "n_epochs": 8, "batch_size": 256, "ent_coef": 0.01},
        {"learning_rate": 3e-3, "n_epochs": 4, "batch_size": 256, "ent_coef": 0.01, "falling": True},
        {"learning_rate": 1e-3, "n_epochs": 8, "batch_size": 128, "ent_coef": 0.0, "falling": True},
        {"learning_rate": 3e-3, "n_epochs": 4, "batch_size": 256, "ent_coef": 0.05, "falling": True},
    )


class DQN(StableBaselines):
    """Deep Q-learning, exploring for half of the run."""

    name = "SB3 DQN"
    algorithm = "DQN"
    remark = "fails with its defaults: it needs γ = 1, more exploration and normalised rewards"
    fixed = {
        "num_envs": 8, "buffer_size": 30_000, "learning_starts": 1_000, "batch_size": 128, "train_freq": 1,
        "target_update_interval": 500, "exploration_fraction": 0.5, "exploration_final_eps": 0.05,
    }  # fmt: skip
    settings = (
        {"learning_rate": 1e-3, "gradient_steps": 2},
        {"learning_rate": 5e-4, "gradient_steps": 2},
        {"learning_rate": 2e-3, "gradient_steps": 1},
        {"learning_rate": 1e-3, "gradient_steps": 2, "falling": True},
    )


class MaskablePPO(PPO):
    """PPO that is told which rows may be chosen."""

    name = "sb3-contrib MaskablePPO"
    modules = ("sb3_contrib", "gymnasium")
    library = "sb3_contrib"
    algorithm = "MaskablePPO"
    remark = "is PPO where every row may always be chosen"

    def acting(self, policy: Any) -> Any:
        """See `StableBaselines.acting`."""
        policy.set_training_mode(False)

        def act(seen: np.ndarray, action_masks: np.ndarray) -> np.ndarray:
            return policy.predict(seen, deterministic=True, action_masks=action_masks)[0]

        return act


class RecurrentPPO(PPO):
    """PPO with an LSTM, for the scenario in which what is up must be remembered."""

    name = "sb3-contrib RecurrentPPO"
    modules = ("sb3_contrib", "gymnasium")
    library = "sb3_contrib"
    algorithm = "RecurrentPPO"
    network = "MlpLstmPolicy"
    scenarios = ("outage",)
    fixed = PPO.fixed | {"policy_kwargs": {"lstm_hidden_size": 64}}

    def acting(self, policy: Any) -> Any:
        """See `StableBaselines.acting`."""
        policy.set_training_mode(False)
        carried: list[Any] = [None]

        def act(seen: np.ndarray, episode_start: np.ndarray) -> np.ndarray:
            before = None if episode_start.all() else carried[0]
            rows, carried[0] = policy.predict(seen, before, episode_start, deterministic=True)
            return rows

        return act
