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

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aljax import experiment, runs
    from aljax.env import ActionTable, EnvParams
    from aljax.errors import UserError
    from aljax.evaluate import Evaluation, Summary, evaluate, summarise
    from aljax.exact.bracket import find_optimal
    from aljax.experiment import RunResult
    from aljax.options import (
        EstimateSettings,
        Hyperparameters,
        LearnConfig,
        LearnHyperparameters,
        Protocol,
        TrainConfig,
    )
    from aljax.policy import Learned, Policy, heuristics
    from aljax.rollout import Trajectory, rollout
    from aljax.runs import Run
    from aljax.scenario import Scenario, load_scenario, scenario_names
    from aljax.sweeps.run import sweep
    from aljax.train import Curve, train

__version__ = "0.1.0"
__all__ = [
    "ActionTable",
    "Curve",
    "EnvParams",
    "EstimateSettings",
    "Evaluation",
    "Hyperparameters",
    "LearnConfig",
    "LearnHyperparameters",
    "Learned",
    "Policy",
    "Protocol",
    "Run",
    "RunResult",
    "Scenario",
    "Summary",
    "TrainConfig",
    "Trajectory",
    "UserError",
    "__version__",
    "evaluate",
    "experiment",
    "find_optimal",
    "heuristics",
    "load_scenario",
    "rollout",
    "runs",
    "scenario_names",
    "summarise",
    "sweep",
    "train",
]

_HOMES = {
    "ActionTable": "env",
    "Curve": "train",
    "EnvParams": "env",
    "EstimateSettings": "options",
    "Evaluation": "evaluate",
    "Hyperparameters": "options",
    "LearnConfig": "options",
    "LearnHyperparameters": "options",
    "Learned": "policy",
    "Policy": "policy",
    "Protocol": "options",
    "Run": "runs",
    "RunResult": "experiment",
    "Scenario": "scenario",
    "Summary": "evaluate",
    "TrainConfig": "options",
    "Trajectory": "rollout",
    "UserError": "errors",
    "find_optimal": "exact.bracket",
    "heuristics": "policy",
    "load_scenario": "scenario",
    "scenario_names": "scenario",
    "summarise": "evaluate",
    "sweep": "sweeps.run",
}
"""Which module has a public name; the names that are not here are modules."""


def __getattr__(name: str) -> Any:
    """Loads a public name where it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _HOMES:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
