"""aljax: tool orchestration for LLM agents, simulated and learned on the accelerator."""

from typing import TYPE_CHECKING, Any

from aljax.errors import UserError
from aljax.scenario import Scenario, load_scenario, scenario_names

if TYPE_CHECKING:
    from aljax.sweeps.run import sweep

__version__ = "0.1.0"
__all__ = ["Scenario", "UserError", "__version__", "load_scenario", "scenario_names", "sweep"]


def __getattr__(name: str) -> Any:
    """Loads `sweep`, which needs all of the package, only where it is used."""
    if name == "sweep":
        from aljax.sweeps.run import sweep

        return sweep
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
