"""aljax: tool orchestration for LLM agents, simulated and learned on the accelerator.

Everything that a program needs is here by name, and loaded when it is first used: ``import aljax`` loads neither JAX
nor anything else that takes time.

- Whole experiments: `experiment` (``experiment.run`` gives a `RunResult`), `sweep`; `runs` reads run folders
  (``runs.load`` gives a `Run`).
- Their options: `TrainConfig`, `Hyperparameters`, `Protocol`; of learning and estimating from logs `LearnConfig`,
  `LearnHyperparameters`, `EstimateSettings`.
- Environments: `scenario_names`, `load_scenario`, `Scenario`, whose ``params`` are `EnvParams` with an `ActionTable`.
- Policies: `Policy`, `heuristics`, `Learned`, `find_optimal`.
- Parts of an experiment, as pure functions to jit and vmap: `train` gives weights and a `Curve`, `rollout` a
  `Trajectory`, `evaluate` an `Evaluation` a policy, of which `summarise` makes a `Summary`. `train`, `rollout` and
  `evaluate` are the modules of these names, and are called as their functions.
- `UserError`: all bad input, in one line.
"""

from aljax.host.modules import lazy_names
from aljax.version import __version__ as __version__

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    modules="evaluate experiment rollout runs train",
    names={
        "env": "ActionTable EnvParams",
        "errors": "UserError",
        "evaluate": "Evaluation Summary summarise",
        "exact.bracket": "find_optimal",
        "experiment": "RunResult",
        "options": "EstimateSettings Hyperparameters LearnConfig LearnHyperparameters Protocol TrainConfig",
        "policy": "Learned Policy heuristics",
        "rollout": "Trajectory",
        "runs": "Run",
        "scenario": "Scenario load_scenario scenario_names",
        "sweeps.run": "sweep",
        "train": "Curve",
    },
)
