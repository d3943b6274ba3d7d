"""Policies side by side: the learned one, the optimum and the heuristics on shared starts and luck."""

import dataclasses
import functools
import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from aljax.breaker import Tuned, best_breaker
from aljax.checks import check_protocol
from aljax.env import EnvParams
from aljax.evaluate import Evaluation, Summary, check_finite, evaluate, summarise
from aljax.exact.policy import Optimal
from aljax.host.modules import interpreter
from aljax.host.programs import Program
from aljax.options import Protocol
from aljax.policy import Learned, Policy, heuristics
from aljax.scenario import Scenario
from aljax.seeds import EVALUATION, keys_of, seed_numbers
from aljax.target import here


@dataclasses.dataclass(frozen=True)
class Compared:
    """What evaluating policies side by side gave."""

    evaluations: Mapping[str, Evaluation]
    summaries: Mapping[str, Summary]
    seconds: Mapping[str, float]
    """``compile`` and ``evaluate``."""
    breaker: Tuned | None = None
    """How the circuit breaker among the policies was chosen; None where nothing ever goes down."""


def prepare(
    scenario: Scenario, protocol: Protocol, learned: Learned | None = None, optimal: Optimal | None = None
) -> Callable[[Learned | None], Compared]:
    """Compiles the comparison of policies. See `compare`.

    Args:
      scenario: where.
      protocol: seeds and episodes.
      learned: shapes are enough (`abstract_policy`), so that this can run while the policy is trained.
      optimal: the exact optimum.

    Returns:
      The comparison, which takes the learned policy itself.
    """
    check_protocol(protocol, scenario)
    # The learned policy's row comes first, then what it is measured from.
    others: dict[str, Policy] = ({} if optimal is None else {optimal.name: optimal}) | dict(heuristics(scenario))
    begun = time.perf_counter()
    breaker = None if scenario.params.actions.mean_uptime is None else best_breaker(scenario, protocol)
    if breaker is not None:
        others[breaker.policy.name] = breaker.policy
    trained = frozenset({learned.name} if learned is not None else ())
    numbers = (np.int32(protocol.seed), seed_numbers(protocol))
    target = here()
    static = {"episodes": protocol.evaluation_episodes, "steps": scenario.horizon, "target": target}
    evaluation = functools.partial(_evaluate_seeds, trained=trained, **static)
    run = Program(
        evaluation, ("evaluate", sorted(trained), static), compiler_options=target.compiler_options(once=True)
    )
    given: dict[str, Policy] = {} if learned is None else {learned.name: learned}
    compiled = run.compiled(*numbers, given | others, scenario.params)
    compiled_in = time.perf_counter() - begun
    if optimal is not None:  # gaps need it, and here it loads while the policy is trained
        with interpreter:
            importlib.import_module("scipy.special")

    def comparison(learned: Learned | None) -> Compared:
        policies = ({} if learned is None else {learned.name: learned}) | others
        begun = time.perf_counter()
        found = jax.device_get(compiled(*numbers, policies, scenario.params))
        seconds = {"compile": compiled_in, "evaluate": time.perf_counter() - begun}
        for name in policies:
            check_finite(found[name], f"costs of policy {name}")
        reference = found.get(Optimal.name)
        summaries = {
            name: summarise(found[name], None if name == Optimal.name else reference, trained=name in trained)
            for name in policies
        }
        return Compared({name: found[name] for name in policies}, summaries, seconds, breaker)

    return comparison


def _evaluate_seeds(
    seed: jax.Array, numbers: jax.Array, policies: Mapping[str, Policy], params: EnvParams, **static: Any
) -> dict[str, Evaluation]:
    """`evaluate` on the keys of an evaluation, which a program of its own would take longer to fold."""
    return evaluate(keys_of(seed, EVALUATION, numbers), policies, params, **static)


def compare(
    scenario: Scenario, protocol: Protocol, learned: Learned | None = None, optimal: Optimal | None = None
) -> Compared:
    """Evaluates the learned policy, if there is one, beside the optimum and the heuristics on shared starts and luck.

    Where something goes down, the best circuit breaker of a grid is among the heuristics (`aljax.breaker`).

    Args:
      scenario: where; it need not be the one of training, but must have as many actions and coordinates.
      protocol: seeds and episodes.
      learned: with a leading seed axis of `protocol.seeds`.
      optimal: the exact optimum (`aljax.exact.bracket.find_optimal`), from which the others' gaps are measured.

    Returns:
      Evaluations and their summaries, the learned policy first.
    """
    return prepare(scenario, protocol, learned, optimal)(learned)
