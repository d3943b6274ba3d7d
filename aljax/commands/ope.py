"""The command ``aljax ope``."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from aljax import env, limits, runs, tables
from aljax.commands.options.ope import Ope
from aljax.commands.start import start_jax
from aljax.drawing import check_figure, draw_all
from aljax.errors import UserError
from aljax.host import files
from aljax.host.terminal import bar, complain
from aljax.offline.answer import Answer
from aljax.offline.data import Log
from aljax.offline.estimate import check_settings, estimate
from aljax.offline.plots import estimates
from aljax.offline.policies import policies_of, true_values
from aljax.offline.question import question_of
from aljax.offline.reading import read_logs
from aljax.offline.report import answer_table, answer_words, log_table, log_words
from aljax.options import Protocol
from aljax.scenario import Scenario, load_scenario


def run(options: Ope, console: Console) -> None:
    """Reads, estimates, prints, writes what was asked for."""
    start_jax()
    scenario = load_scenario(options.scenario, options.overrides)
    if not options.data or not options.policy:
        raise UserError("ope: expected at least one LOG and one --policy")
    check_settings(options.settings)
    limits.check_whole("truth", options.truth)
    each = (len(env.COMPONENTS) + env.num_coordinates(scenario.params), "numbers")
    limits.check_size("truth", "playing", (options.truth, "episodes"), (scenario.horizon, "steps"), each)
    if options.figure is not None:
        check_figure(options.figure)
    for place in (options.json, options.figure):
        if place is not None:
            files.check_writable(place)
    protocol = Protocol(seeds=1, seed=options.settings.seed, evaluation_episodes=max(options.truth, 1))
    policies = policies_of(options.policy, scenario, protocol, options.epsilon, not options.sample)
    with bar(console, "reading", 1, "rows") as (shown, task):
        log = read_logs(
            options.data,
            scenario,
            lambda row: shown.update(task, total=None, completed=row),
            other_scenario=options.other_scenario,
        )
    answers, truths = {}, {}
    for name, policy in policies.items():
        answers[name] = estimate(question_of(log, policy, scenario.params, options.settings.seed), options.settings)
        if options.truth:
            truths[name] = true_values(policy, scenario, protocol)
    if options.json is not None:
        files.write_json(options.json, _figures(options, log, scenario, protocol, answers, truths))
    tables.show(console, [log_table(log, scenario)])
    for line in log_words(log):
        console.print(line, soft_wrap=True)
    for name, answer in answers.items():
        tables.show(console, [answer_table(name, answer, truths.get(name))])
        for line in answer_words(answer):
            console.print(line)
    if options.figure is not None:
        for line in draw_all({options.figure: lambda place: estimates(place, answers, truths)}):
            complain(line)


def _figures(
    options: Ope,
    log: Log,
    scenario: Scenario,
    protocol: Protocol,
    answers: Mapping[str, Answer],
    truths: Mapping[str, Any],
) -> dict[str, Any]:
    known = {name: {k: v.to_json() for k, v in found.items()} for name, found in truths.items()}
    return runs.header(scenario, len(log), protocol) | {
        "data": [dataclasses.asdict(source) for source in log.sources],
        "warnings": list(log.warnings),
        "notes": list(log.notes),
        "evaluation_episodes": options.truth,
        "policies": {
            name: answer.to_json() | ({"truth": known[name]} if name in known else {})
            for name, answer in answers.items()
        },
    }
