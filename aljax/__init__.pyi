# For type checkers: the names of aljax/__init__.py, where they come from.

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

__version__: str
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
