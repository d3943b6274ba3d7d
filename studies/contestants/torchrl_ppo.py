"""TorchRL's PPO: its own parts around the usual loop, on `aljax.adapters.gymnasium.VectorEnv`."""

import copy
import logging
from typing import Any

import numpy as np

from .common import Agent, TorchPPO, checkpoints, spending


class PPO(TorchPPO):
    """See `TorchPPO`."""

    name = "TorchRL PPO"
    modules = ("torchrl", "gymnasium", "torch")
    remark = "advantages are normalised, rewards are not: its normaliser of rewards takes their mean off"

    def one(self, scenario: str, steps: int, seed: int, options: dict[str, Any]) -> Agent:
        """See `OneByOne.one`."""
        import torch
        from tensordict import TensorDict
        from tensordict.nn import TensorDictModule
        from torchrl.collectors import Collector
        from torchrl.data import LazyTensorStorage, ReplayBuffer, SamplerWithoutReplacement
        from torchrl.envs import ExplorationType, GymWrapper, set_exploration_type
        from torchrl.modules import MLP, ProbabilisticActor, ValueOperator
        from torchrl.objectives import ClipPPOLoss
        from torchrl.objectives.value import GAE

        from aljax.adapters.gymnasium import VectorEnv

        logging.getLogger("torchrl").setLevel(logging.WARNING)
        torch.set_num_threads(1)  # these networks are too small for more
        torch.manual_seed(seed)
        played = VectorEnv(scenario, num_envs=options["num_envs"], autoreset_mode="SameStep")
        environment = GymWrapper(played, categorical_action_encoding=True)
        environment.set_seed(seed)
        seen, rows = played.single_observation_space.shape[0], int(played.single_action_space.n)

        def layers(out: int) -> Any:
            return MLP(in_features=seen, out_features=out, num_cells=[64, 64], activation_class=torch.nn.Tanh)

        actor = ProbabilisticActor(
            TensorDictModule(layers(rows), in_keys=["observation"], out_keys=["logits"]), in_keys=["logits"],
            distribution_class=torch.distributions.Categorical, return_log_prob=True,
        )  # fmt: skip
        critic = ValueOperator(layers(1), in_keys=["observation"])
        advantages = GAE(gamma=1.0, lmbda=0.95, value_network=critic)
        loss = ClipPPOLoss(actor, critic, entropy_coeff=options["ent_coef"], critic_coeff=0.5, normalize_advantage=True)
        optimiser = torch.optim.Adam(loss.parameters(), lr=options["learning_rate"])
        iteration = options["num_envs"] * options["num_steps"]
        count = -(-steps // iteration)
        falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, count)
        collector = Collector(
            environment, actor, frames_per_batch=iteration, total_frames=count * iteration,
            auto_register_policy_transforms=False,
        )  # fmt: skip
        kept = ReplayBuffer(
            storage=LazyTensorStorage(iteration), sampler=SamplerWithoutReplacement(), batch_size=options["batch_size"]
        )
        points: list[tuple[int, Any]] = []
        episodes = 0
        with spending() as spent:
            for number, batch in enumerate(collector, 1):
                episodes += int(batch["next", "done"].sum())
                for _ in range(options["epochs"]):
                    with torch.no_grad():
                        advantages(batch)
                    kept.extend(batch.reshape(-1))
                    for part in kept:
                        losses = loss(part)
                        optimiser.zero_grad()
                        (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()
                        torch.nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                        optimiser.step()
                falling.step()
                if number in checkpoints(count):
                    points.append((number * iteration, copy.deepcopy(actor)))
            collector.shutdown()

        def acting(actor: Any) -> Any:
            def act(seen: np.ndarray) -> np.ndarray:
                with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
                    return actor(TensorDict({"observation": torch.as_tensor(seen)}, [len(seen)]))["action"].numpy()

            return act

        looked = [(taken, acting(kept)) for taken, kept in points]
        return Agent(looked, count * iteration, episodes, spent.seconds, spent.cpu_seconds)
