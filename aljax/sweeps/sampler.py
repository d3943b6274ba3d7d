"""Draws the points of a search: an Optuna sampler for a sweep, told what is known of earlier configurations."""

import importlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aljax.errors import UserError
from aljax.sweeps.database import load_optuna
from aljax.sweeps.space import Axis, Spec
from aljax.sweeps.trials import RETRY_OF, figures_of, result


def check_method(spec: Spec) -> None:
    """Refuses what a method cannot do.

    Args:
      spec: an adaptive sweep.

    Raises:
      UserError: that, or a package is missing.
    """
    load_optuna()
    if spec.method == "cma-es":
        for axis in spec.axes:
            if axis.choices:
                raise UserError(f"{spec.where}: axes.{axis.key}: cma-es needs ranges, not lists")
        try:
            importlib.import_module("cmaes")
        except ModuleNotFoundError:
            raise UserError("cma-es needs the package cmaes: pip install 'aljax[search]'") from None


def draw(spec: Spec, chains: Sequence[Sequence[Any]], many: int, batch: int, seed: int) -> list[Any]:
    """Draws configurations by what is known of earlier ones.

    That is done in memory, where an attempt is not told from a retry: what is drawn does not depend on how often the
    search was stopped, and the database is not asked at every step.

    Args:
      spec: an adaptive sweep.
      chains: the trials of each earlier configuration, first attempt first.
      many: how many to draw.
      batch: how many a worker asks for at a time.
      seed: of this draw; no other draw of the search has it.

    Returns:
      Optuna's trials, of a study in memory: parameters, and what the sampler noted.
    """
    optuna = load_optuna()
    states = optuna.trial.TrialState
    study = optuna.create_study(sampler=_sampler(spec, optuna, seed, batch), directions=directions(spec))
    for chain in chains:
        trial = result(chain) or chain[-1]
        known: dict[str, Any] = {"state": states.FAIL}
        if trial.params:
            known |= {"params": trial.params, "distributions": trial.distributions}
            values = objectives(spec, figures_of(spec, trial)) if result(chain) is not None else None
            if values is not None:
                known |= {"state": states.COMPLETE, "values": values}
            elif result(chain) is None:
                known["state"] = states.RUNNING
        study.add_trial(optuna.create_trial(system_attrs=_noted(trial), **known))
    over = distributions(spec)
    asked = [study.ask(over).number for _ in range(many)]
    trials = study.get_trials(deepcopy=False)
    return [trials[number] for number in asked]


def directions(spec: Spec) -> list[str]:
    """Of the objectives: cost, and for nsga-ii success.

    Args:
      spec: the search.

    Returns:
      As Optuna names them: ``minimize``, ``maximize``.
    """
    return ["minimize", "maximize"] if spec.method == "nsga-ii" else ["minimize"]


def objectives(spec: Spec, figures: Mapping[str, Sequence[Any]]) -> list[float] | None:
    """What a configuration is judged by.

    Args:
      spec: an adaptive sweep.
      figures: of the configuration, a list over seeds for each.

    Returns:
      The objectives, means over seeds; None: a run diverged.
    """
    values = [float(np.mean(figures[name])) for name in ("cost", "success")]
    if not np.all(figures["finite"]) or not math.isfinite(values[0]):
        return None
    return values[: len(directions(spec))]


def distributions(spec: Spec) -> dict[str, Any]:
    """Optuna's distribution of each axis, by its key.

    Args:
      spec: the search.

    Returns:
      Distributions, in the order of the axes.
    """
    optuna = load_optuna()
    return {axis.key: _distribution(axis, optuna) for axis in spec.axes}


def _distribution(axis: Axis, optuna: Any) -> Any:
    """An axis for Optuna. Choices are their JSON texts: it takes no lists, and to it true is 1."""
    kinds = optuna.distributions
    if axis.choices:
        return kinds.CategoricalDistribution([json.dumps(value) for value in axis.choices])
    if axis.integer:
        return kinds.IntDistribution(math.ceil(axis.low), math.floor(axis.high), log=axis.log)
    return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)


def _sampler(spec: Spec, optuna: Any, seed: int, batch: int) -> Any:
    """A sampler for the next batch, of a seed that no other batch has."""
    seed = (spec.protocol.seed + seed) % 2**32
    if spec.method == "tpe":
        # The liar keeps the points of a batch apart.
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    if spec.method == "nsga-ii":
        # A few generations at least.
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=min(50, max(4, spec.count // 4)))
    # Points of a batch beyond the population would be lost on the sampler.
    usual = 4 + math.floor(3 * math.log(len(spec.axes)))
    population = max(usual, min(batch, spec.count // 5))
    return optuna.samplers.CmaEsSampler(seed=seed, popsize=population, warn_independent_sampling=False)


def _noted(trial: Any) -> dict[str, Any]:
    """What a sampler noted at a trial."""
    return {key: value for key, value in trial.system_attrs.items() if key not in (RETRY_OF, "retry_history")}
