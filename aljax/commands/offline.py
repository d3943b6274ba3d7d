"""The commands ``collect`` and ``ope``: thin faces over the modules beside this one."""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from tyro.conf import Positional, UseAppendAction, arg

from aljax import env, limits, plots, report, runs
from aljax.errors import UserError, plain_path, short
from aljax.evaluate import evaluate
from aljax.exact.bracket import find_optimal
from aljax.host import files
from aljax.host.terminal import Overrides, bar, complain, styled
from aljax.offline.data import Log, collect
from aljax.offline.estimate import Answer, estimate, question_of
from aljax.offline.files import TakenError, read_logs, write_log
from aljax.offline.report import answer_table, answer_words, log_table, log_words
from aljax.options import EstimateSettings, Protocol
from aljax.policy import Learned, Mixture, Policy, Random, heuristics
from aljax.scenario import Scenario, load_scenario
from aljax.seeds import COLLECTION, EVALUATION, seed_keys
from aljax.statistics import mean_interval

Policies = Annotated[UseAppendAction[tuple[str, ...]], arg(name="policy", metavar="POLICY")]
"""An option that names a policy, and may be repeated."""


@dataclasses.dataclass(frozen=True)
class Collect:
    """Write a log: what policies did, step by step, with the probability of each choice.

    All policies meet the same tasks, each with luck of its own. A run's policy draws its actions, as in training.

    Try:
      aljax collect log.jsonl.gz --policy random --episodes 5000
      aljax collect log.jsonl.gz --scenario escalation --policy runs/escalation-1 --policy cost_aware --epsilon 0.2
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """The file to write, one JSON object a row; gzipped if it ends in .gz."""
    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, e.g. actions.failure.search=0.3; repeat for more."""
    policy: Policies = ()
    """latency, cost_aware, random, optimal, a run folder, or a run folder and a seed as RUN:2; repeat for several
    loggers. Default: latency."""
    epsilon: float = 0.0
    """With this probability play any allowed row instead: without it, logs of a fixed rule cover nothing else."""
    greedy: bool = False
    """Runs' policies play their likeliest row instead of drawing."""
    episodes: int = 1_000
    """Episodes a policy."""
    seed: int = 0
    """The same number, with as many episodes, gives the same tasks, whichever policies play them."""
    overwrite: bool = False
    """Replace the file if there is one."""

    def run(self, console: Console) -> None:
        """Plays and writes."""
        scenario = load_scenario(self.scenario, self.overrides)
        limits.check_whole("episodes", self.episodes)
        limits.check_whole("seed", self.seed)
        shown = env.observation_size(scenario.params) + env.num_actions(scenario.params)
        limits.check_size(
            "episodes", "the log", (self.episodes, "episodes"), (scenario.horizon, "steps"), (shown, "numbers")
        )
        files.check_writable(self.file)
        if self.file.is_file() and not self.overwrite:
            raise UserError(f"{plain_path(self.file)}: already exists (use --overwrite to replace it)")
        protocol = Protocol(seeds=1, seed=self.seed, evaluation_episodes=self.episodes)
        loggers = policies_of(self.policy or ("latency",), scenario, protocol, self.epsilon, self.greedy)
        key = seed_keys(protocol, COLLECTION)[0]
        log = collect(
            key, loggers, scenario.params, episodes=self.episodes, steps=scenario.horizon, tasks=f"seed{self.seed}"
        )
        place = self._write(log, scenario)
        report.show(console, [log_table(log, scenario)])
        console.print("Written to", styled(place, "bold"), soft_wrap=True)

    def _write(self, log: Log, scenario: Scenario) -> Path:
        """Where it was written: beside the file's place, if another process took that in the meantime."""
        place, number = self.file, 0
        while True:
            try:
                write_log(place, log, scenario, overwrite=self.overwrite)
                return place
            except TakenError:
                number += 1
                name, dot, ending = self.file.name.partition(".")
                place = self.file.with_name(f"{name}-{number}{dot}{ending}")


@dataclasses.dataclass(frozen=True)
class Ope:
    """Estimate from a log what policies would have cost, without playing them, and say whether to believe it.

    Try:
      aljax ope log.jsonl.gz --policy runs/paper-1
      aljax ope log.jsonl.gz other.jsonl.gz --policy cost_aware --epsilon 0.1 --truth 20000
    """

    data: Annotated[Positional[tuple[Path, ...]], arg(metavar="LOG")]
    """Logs of the scenario's episodes, as aljax collect writes them; several are pooled."""
    scenario: str = "paper"
    """A scenario's name, or the path of a TOML file."""
    overrides: Overrides = ()
    """Change a number first, such as a weight λ; repeat for more."""
    other_scenario: bool = False
    """Take logs that say that they were logged under another scenario, with a warning."""
    policy: Policies = ()
    """The policies in question: latency, cost_aware, random, optimal, a run folder, or RUN:2 for its third seed."""
    epsilon: float = 0.0
    """With this probability they play any allowed row instead."""
    sample: bool = False
    """Runs' policies draw their actions instead of playing the likeliest."""
    settings: Annotated[EstimateSettings, arg(name="")] = EstimateSettings()
    truth: int = 0
    """Also play each policy this many times in the simulator, to hold the estimates against."""
    figure: Path | None = None
    """Draw the intervals to this PNG file."""
    json: Path | None = None
    """Write the figures to this file."""

    def run(self, console: Console) -> None:
        """Reads, estimates, prints, writes what was asked for."""
        scenario = load_scenario(self.scenario, self.overrides)
        if not self.data or not self.policy:
            raise UserError("ope: expected at least one LOG and one --policy")
        check_settings(self.settings)
        limits.check_whole("truth", self.truth)
        each = (len(env.COMPONENTS) + env.num_coordinates(scenario.params), "numbers")
        limits.check_size("truth", "playing", (self.truth, "episodes"), (scenario.horizon, "steps"), each)
        if self.figure is not None:
            plots.check_figure(self.figure)
        for place in (self.json, self.figure):
            if place is not None:
                files.check_writable(place)
        protocol = Protocol(seeds=1, seed=self.settings.seed, evaluation_episodes=max(self.truth, 1))
        policies = policies_of(self.policy, scenario, protocol, self.epsilon, not self.sample)
        with bar(console, "reading", 1, "rows") as (shown, task):
            log = read_logs(
                self.data,
                scenario,
                lambda row: shown.update(task, total=None, completed=row),
                other_scenario=self.other_scenario,
            )
        answers, truths = {}, {}
        for name, policy in policies.items():
            answers[name] = estimate(question_of(log, policy, scenario.params, self.settings.seed), self.settings)
            if self.truth:
                truths[name] = true_values(policy, scenario, protocol)
        if self.json is not None:
            files.write_json(self.json, self._figures(log, scenario, protocol, answers, truths))
        report.show(console, [log_table(log, scenario)])
        for line in log_words(log):
            console.print(line, soft_wrap=True)
        for name, answer in answers.items():
            report.show(console, [answer_table(name, answer, truths.get(name))])
            for line in answer_words(answer):
                console.print(line)
        if self.figure is not None:
            for line in plots.draw_all({self.figure: lambda place: plots.estimates(place, answers, truths)}):
                complain(line)

    def _figures(
        self, log: Log, scenario: Scenario, protocol: Protocol, answers: Mapping[str, Answer], truths: Mapping[str, Any]
    ) -> dict[str, Any]:
        known = {name: {k: v.to_json() for k, v in found.items()} for name, found in truths.items()}
        return runs.header(scenario, len(log), protocol) | {
            "data": [dataclasses.asdict(source) for source in log.sources],
            "warnings": list(log.warnings),
            "evaluation_episodes": self.truth,
            "policies": {
                name: answer.to_json() | ({"truth": known[name]} if name in known else {})
                for name, answer in answers.items()
            },
        }


def check_settings(settings: EstimateSettings) -> None:
    """Refuses settings out of range.

    Raises:
      UserError: one line naming the option.
    """
    for name in ("resamples", "folds", "seed"):
        limits.check_whole(name, getattr(settings, name))
    if not settings.floor >= 0:
        raise UserError(f"floor: expected a number not below 0, got {settings.floor}")
    if settings.penalty is not None and not 0 <= settings.penalty < np.inf:
        raise UserError(f"penalty: expected a finite number not below 0, got {settings.penalty}")


def policies_of(
    names: tuple[str, ...], scenario: Scenario, protocol: Protocol, epsilon: float, greedy: bool
) -> dict[str, Policy]:
    """Policies by what the user calls them.

    Args:
      names: heuristics, ``optimal``, run folders, or ``RUN:seed``.
      scenario: where they are to play.
      protocol: for what the exact optimum may take.
      epsilon: share of choices that are any allowed row.
      greedy: of runs' policies.

    Returns:
      A policy a name.

    Raises:
      UserError: no such policy, a run on other actions, a seed that the run does not have, an epsilon out of range.
    """
    if not 0 <= epsilon <= 1:
        raise UserError(f"epsilon: expected a number in [0, 1], got {epsilon}")
    found = {name: _policy_of(name, scenario, protocol, greedy) for name in names}
    if epsilon == 0:
        return found
    weights = jnp.array([1 - epsilon, epsilon])
    return {name: Mixture((policy, Random()), weights) for name, policy in found.items()}


def _policy_of(name: str, scenario: Scenario, protocol: Protocol, greedy: bool) -> Policy:
    simple = heuristics(scenario)
    if name in simple:
        return simple[name]
    if name == "optimal":
        optimal, reason = find_optimal(scenario, protocol)
        if optimal is None:
            raise UserError(f"policy optimal: {reason}")
        return optimal
    folder, colon, number = name.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,9}", number):
        folder, number = name, "0"
    if not os.path.isdir(folder):  # noqa: PTH112  (Path.is_dir raises where no folder could have this name)
        raise UserError(f"policy {short(name, 200)}: expected {', '.join(simple)}, optimal or a run folder")
    run = runs.load(folder)
    stacked = run.policy_in(folder, scenario)
    seeds = jax.tree.leaves(stacked)[0].shape[0]
    if int(number) >= seeds:
        raise UserError(f"policy {short(name, 200)}: the run has seeds 0 to {seeds - 1}")
    policy: Learned = jax.tree.map(lambda leaf: leaf[int(number)], stacked)
    return dataclasses.replace(policy, greedy=greedy)


def true_values(policy: Policy, scenario: Scenario, protocol: Protocol) -> dict[str, Any]:
    """A policy's cost and success in the simulator, with intervals."""
    static = {"trained": frozenset(), "episodes": protocol.evaluation_episodes, "steps": scenario.horizon}
    play = jax.jit(evaluate, static_argnames=("trained", "episodes", "steps"))
    found = play(seed_keys(protocol, EVALUATION), {"it": policy}, scenario.params, **static)["it"].outcome
    return {"cost": mean_interval(found.total), "success": mean_interval(np.asarray(found.success, np.float64))}
