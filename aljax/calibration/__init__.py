"""From an agent log to a scenario that predicts its agents, every number with where it comes from.

Episodes become runs of the simulator's steps (`runs`), whose failures are counted (`counts`) and fitted (`failing`),
like seconds and dollars (`amounts`) and what tasks need (`needs`); `fitting` puts them together, `writing` writes
them down. How the loggers chose (`behaviour`) is what the scenario is played by (`playing`) to see how well tasks are
predicted that no fit has seen (`prediction`).
"""

from aljax.calibration.fitting import Calibration, fit
from aljax.options import CalibrationSettings

__all__ = ["Calibration", "CalibrationSettings", "fit"]
