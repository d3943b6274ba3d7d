"""aljax: tool orchestration for LLM agents, simulated and learned on the accelerator."""

from aljax.errors import UserError
from aljax.scenario import Scenario, load_scenario, scenario_names

__version__ = "0.1.0"
__all__ = ["Scenario", "UserError", "__version__", "load_scenario", "scenario_names"]
