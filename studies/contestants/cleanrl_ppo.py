"""cleanrl's PPO: its script as it is, run as a user runs it, from a folder that was fetched (``CLEANRL``)."""

import contextlib
import io
import runpy
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .common import Agent, OneByOne, spending


class PPO(OneByOne):
    """By the script's own command line."""

    name = "cleanrl PPO"
    modules = ("gymnasium", "torch", "tyro", "tensorboard")
    scripts = ("CLEANRL", "ppo.py")
    remark = "written for gymnasium before 1.0: since then, it takes each start of an episode for a step of its own"
    fixed: ClassVar[Mapping[str, Any]] = {"gamma": 1.0, "num-envs": 8, "num-steps": 64}
    settings: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"learning-rate": 2.5e-3, "update-epochs": 4, "num-minibatches": 2, "ent-coef": 0.01},
        {"learning-rate": 1e-3, "update-epochs": 4, "num-minibatches": 2, "ent-coef": 0.01},
        {"learning-rate": 5e-3, "update-epochs": 4, "num-minibatches": 2, "ent-coef": 0.01},
        {"learning-rate": 2.5e-3, "update-epochs": 4, "num-minibatches": 2, "ent-coef": 0.05},
    )

    def one(self, scenario: str, steps: int, seed: int, options: dict[str, Any]) -> Agent:
        """Runs the script once. See `OneByOne.one`."""
        import torch

        torch.set_num_threads(1)  # these networks are too small for more
        iteration = options["num-envs"] * options["num-steps"]
        total = iteration * -(-steps // iteration)
        options |= {"env-id": f"aljax.adapters.gymnasium:aljax/{scenario}-v0", "total-timesteps": total}
        script = self.folder / "ppo.py"
        given = [f"--{name}={value}" for name, value in {**options, "seed": seed}.items()]
        with _called([script.name, *given, "--no-cuda"]), spending() as spent:
            left = runpy.run_path(str(script), run_name="__main__")
        agent, envs, steps = left["agent"], left["envs"], left["global_step"]
        episodes = sum(environment.episode_count for environment in envs.envs)

        def act(seen: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return agent.actor(torch.as_tensor(seen)).argmax(1).numpy()

        return Agent([(steps, act)], steps, episodes, spent.seconds, spent.cpu_seconds)


@contextlib.contextmanager
def _called(arguments: list[str]) -> Iterator[None]:
    """With these on the command line, in a folder that is thrown away, and nothing printed."""
    before, nowhere = sys.argv, io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(nowhere):
        sys.argv = arguments
        try:
            yield
        finally:
            sys.argv = before
