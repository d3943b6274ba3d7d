"""tianshou's PPO, on `aljax.adapters.gymnasium`'s names."""

import copy
from typing import Any

import numpy as np

from .common import Agent, TorchPPO, rounds, spending


class PPO(TorchPPO):
    """See `TorchPPO`."""

    name = "tianshou PPO"
    modules = ("tianshou", "gymnasium", "torch")

    def one(self, scenario: str, steps: int, seed: int, options: dict[str, Any]) -> Agent:
        """See `OneByOne.one`."""
        import gymnasium
        import tianshou.algorithm
        import torch
        from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
        from tianshou.algorithm.optim import AdamOptimizerFactory, LRSchedulerFactoryLinear
        from tianshou.data import Batch, Collector, VectorReplayBuffer
        from tianshou.env import DummyVectorEnv
        from tianshou.trainer import OnPolicyTrainerParams
        from tianshou.utils.net.common import Net
        from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

        torch.set_num_threads(1)  # these networks are too small for more
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  # the generator by which it shuffles
        iteration = options["num_envs"] * options["num_steps"]
        looks, between = rounds(steps, iteration)
        between *= iteration
        made = [lambda: gymnasium.make(f"aljax.adapters.gymnasium:aljax/{scenario}-v0")] * options["num_envs"]
        played = DummyVectorEnv(made)
        played.seed(seed)
        space, rows = played.observation_space[0], played.action_space[0]

        def layers() -> Any:
            return Net(state_shape=space.shape, hidden_sizes=(64, 64), activation=torch.nn.Tanh)

        policy = DiscreteActorPolicy(
            actor=DiscreteActor(preprocess_net=layers(), action_shape=rows.n, softmax_output=False),
            action_space=rows, observation_space=space, deterministic_eval=True,
        )  # fmt: skip
        falling = LRSchedulerFactoryLinear(looks, between, iteration)
        algorithm = tianshou.algorithm.PPO(
            policy=policy, critic=DiscreteCritic(preprocess_net=layers()), gamma=1.0, gae_lambda=0.95,
            return_scaling=True, max_grad_norm=0.5, ent_coef=options["ent_coef"],
            optim=AdamOptimizerFactory(lr=options["learning_rate"]).with_lr_scheduler_factory(falling),
        )  # fmt: skip
        points: list[tuple[int, Any]] = []

        def looked_at(epoch: int, taken: int) -> None:
            if taken and taken % between == 0:
                points.append((taken, copy.deepcopy(policy)))

        training = OnPolicyTrainerParams(
            training_collector=Collector(algorithm, played, VectorReplayBuffer(iteration, options["num_envs"])),
            max_epochs=looks, epoch_num_steps=between, collection_step_num_env_steps=iteration,
            batch_size=options["batch_size"], update_step_num_repetitions=options["epochs"],
            training_fn=looked_at, show_progress=False, verbose=False,
        )  # fmt: skip
        with spending() as spent:
            done = algorithm.run_training(training)
        points.append((done.train_step, policy))

        def acting(policy: Any) -> Any:
            policy.eval()
            return lambda seen: np.asarray(policy(Batch(obs=seen, info=Batch())).act)

        looked = [(taken, acting(kept)) for taken, kept in points]
        return Agent(looked, done.train_step, int(done.train_episode), spent.seconds, spent.cpu_seconds)
