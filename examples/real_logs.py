"""What logs of real agents can answer about their choice of tools, and what they cannot.

    python examples/real_logs.py TRACES [--only agentdojo|tau2] [--figure FILE.png] [--json FILE]

TRACES is the folder with agentdojo.jsonl.gz (27 pipelines on the same tasks) and tau2.jsonl.gz (5); they are read where
they lie. Nobody logged the probability with which an agent chose, so each pipeline's way of choosing is fitted first:

A. Which success has a pipeline's fitted way of choosing, judged from everybody's runs, its own among them?
B. The same judged from the other pipelines' runs alone, beside the success that it really had on those tasks.
C. What did the pipelines come to, domain by domain (τ²-bench): success, seconds, dollars?
D. What would a rule come to, such as never trying a failed tool again at once?

Last come the questions that these logs cannot answer, each with the number that shows it.
"""

import argparse
import dataclasses
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from aljax.drawing import pyplot
from aljax.errors import UserError, one_line
from aljax.host.files import write_json
from aljax.host.terminal import console, visible
from aljax.logs.episode import LoggedEpisode
from aljax.logs.moves import STOP, moves_of
from aljax.logs.readers import read_episodes
from aljax.offline import estimators
from aljax.offline.answer import Answer
from aljax.offline.behaviour import cross_fitted, folds_of
from aljax.offline.estimate import estimate
from aljax.offline.question import Question
from aljax.options import EstimateSettings
from aljax.statistics import Interval

# Choices that are weighed. What a longer run went on to do counts as the consequence of its last one: to leave such
# runs out would be to select by what came of them, as most of them failed.
HORIZONS = {"agentdojo": 12, "tau2": 40}
# 62 and 60 names of tools are more than 2,018 and 239 runs can bear, so tools count by what they do: read, or change
# something. Which call is called for, only the task's name tells: "more" says that the tool was already called as often
# as the other runs of this task call it (their median). "retry" calls the tool that failed just now, "ask" speaks
# to the user. A turn of the model is no choice of its own: one comes before each.
ACTIONS = ("look", "look more", "write", "write more", "retry", "ask", "hand over", "stop")
LOOKS = ("get_", "read_", "search_", "list_", "check_", "find_", "can_", "run_", "calculate", "think")
FOLDS = 5
PENALTIES = (3.0, 10.0, 30.0)  # the best by likelihood of held-out choices is taken; success plays no part in it
WEIGHTED = ("self_normalised", "weighted_doubly_robust")
JUDGES = ("direct", *WEIGHTED, *(f"balanced_{name}" for name in WEIGHTED))


@dataclasses.dataclass(frozen=True)
class Run:
    """One episode: what was called (or "ask", "hand over", "stop"), whether it went well, and what came of it all."""

    task: str
    logger: str
    choices: tuple[tuple[str, bool], ...]
    success: bool
    seconds: float
    dollars: float


@dataclasses.dataclass(frozen=True)
class Logs:
    """Runs as arrays, N of at most T choices, with F features; see `Question`."""

    loggers: tuple[str, ...]
    names: tuple[str, ...]
    raw: np.ndarray  # features as they are, [N, T, F]; phi: on one scale
    phi: np.ndarray
    action: np.ndarray
    alive: np.ndarray
    outcomes: Mapping[str, np.ndarray]  # at the last choice, [N, T] each
    logger: np.ndarray
    task: np.ndarray
    cut: float  # share of runs longer than T


def choices(episode: LoggedEpisode) -> tuple[tuple[str, bool], ...]:
    """What the agent chose, in order. What the user does, tools of their own included, is the world's answer."""
    found = []
    for move in moves_of(episode):
        if move.kind == "tool":
            found.append((move.name, move.ok))
        elif move.kind == "clarify" and move.turns and move.step > 1:  # the first step answers a canned greeting
            found.append(("ask", True))
        elif move.kind == "escalate":
            found.append(("hand over", True))
        elif move.kind == STOP and move.turns and (episode.end.get("reason") or "agent_stop") == "agent_stop":
            found.append(("stop", True))  # else the user or an error ended it
    return tuple(found)


def runs_of(path: Path) -> list[Run]:
    """The runs in a file but those without any choice (AgentDojo has one, a failure)."""
    found = []
    for episode in read_episodes(path):
        episode.require_outcomes("tool")
        success, greets = episode.require_success(), [step["kind"] for step in episode.steps[1:2]] == ["clarify"]
        turns = [step for step in episode.steps[greets:] if step["kind"] == "llm"]  # a canned greeting costs nothing
        priced = [np.nan if step.get("cost_usd") is None else step["cost_usd"] for step in turns]
        seconds = np.nan if episode.end.get("duration_s") is None else episode.end["duration_s"]
        dollars = sum(priced) if priced else np.nan
        found.append(Run(episode.task, episode.logger, choices(episode), success, seconds, dollars))
    return [run for run in found if run.choices]


def usual(runs: Sequence[Run]) -> list[dict[str, int]]:
    """How often the other runs of a run's task usually call each tool with success."""
    calls = [Counter(name for name, ok in run.choices if ok and name not in ACTIONS) for run in runs]
    on_task, found = defaultdict(list), []
    for n, run in enumerate(runs):
        on_task[run.task].append(n)
    for n, run in enumerate(runs):
        others = [calls[k] for k in on_task[run.task] if k != n]
        found.append({name: int(np.median([c[name] for c in others])) for name in set().union(*others)})
    return found


def history(run: Run, often: Mapping[str, int], domains: Sequence[str]) -> list[tuple[dict[str, float], int]]:
    """At each choice what had happened so far, and which of `ACTIONS` was chosen."""
    found, done, chosen = [], Counter(), Counter()
    last, last_name, failed, failures = "", "", False, 0
    for step, (name, ok) in enumerate(run.choices):
        left = {name: max(count - done[name], 0) for name, count in often.items()}
        looks, calls = sum(count for name, count in left.items() if name.startswith(LOOKS)), sum(left.values())
        seen = {"constant": 1.0} | {f"domain {x}": float(run.task.startswith(f"{x}/")) for x in domains[1:]}
        seen |= {f"last {action}": float(last == action) for action in ACTIONS[:-1]}
        seen |= {f"count {action}": float(np.log1p(chosen[action])) for action in ACTIONS[:4]}
        seen |= {"first": float(step == 0), "failed": float(failed), "failures": float(min(failures, 4))}
        seen |= {"step": float(np.log1p(step))}
        for what, count in {"looks": looks, "writes": calls - looks, "calls": calls}.items():
            seen |= {f"{what} left": float(min(count, 4)), f"no {what} left": float(count == 0)}
        if name in ACTIONS:
            action = name
        elif failed and name == last_name:
            action = "retry"
        else:
            more = " more" if done[name] >= often.get(name, 0) else ""
            action = ("look" if name.startswith(LOOKS) else "write") + more
        found.append((seen, ACTIONS.index(action)))
        done[name] += ok
        chosen[action] += 1
        last, last_name, failed, failures = action, name, not ok, failures + (not ok)
    return found


def logs_of(runs: Sequence[Run], horizon: int) -> Logs:
    """Runs as arrays."""
    domains = sorted({run.task.split("/")[0] for run in runs})
    histories = [history(run, often, domains) for run, often in zip(runs, usual(runs), strict=True)]
    names = tuple(histories[0][0][0])
    raw, action = np.zeros((len(runs), horizon, len(names))), np.zeros((len(runs), horizon), np.int64)
    alive, outcomes = action > 0, {"success": 0.0 * action, "seconds": 0.0 * action}
    for n, (run, made) in enumerate(zip(runs, histories, strict=True)):
        steps = min(len(made), horizon)
        raw[n, :steps] = [list(seen.values()) for seen, _ in made[:steps]]
        action[n, :steps], alive[n, :steps] = [chosen for _, chosen in made[:steps]], True
        outcomes["success"][n, steps - 1], outcomes["seconds"][n, steps - 1] = run.success, run.seconds
    # Bounded, and rare ones not blown up to unit variance: else the regressions of values extrapolate, and diverge.
    scale = np.maximum(np.abs(raw[alive]).max(0), 1e-9) / 2
    phi = np.where(alive[..., None], (raw - raw[alive].mean(0)) / scale, 0.0)
    phi[..., 0] = 1.0
    loggers, logger = np.unique([run.logger for run in runs], return_inverse=True)
    task = np.unique([run.task for run in runs], return_inverse=True)[1]
    cut = float(np.mean([len(made) > horizon for made in histories]))
    return Logs(tuple(map(str, loggers)), names, raw, phi, action, alive, outcomes, logger, task, cut)


def ways_of(logs: Logs, penalty: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Probabilities of all actions: each logger's ``[N, T, L, A]``, the mean ``[N, T, A]``; and how likely logs are.

    A logger's runs are few for it, so its way of choosing is drawn towards the mean of all; and it is fitted without
    the tasks that it is used on, whether it acts (μ) or is asked about (π).
    """
    folds = folds_of(logs.task, FOLDS)
    found = cross_fitted(logs.phi, logs.action, logs.alive, logs.logger, folds, len(ACTIONS), penalty=penalty)
    each = np.stack([found.probabilities(logs.phi, n) for n in range(len(logs.loggers))], axis=2)
    mean = found.probabilities(logs.phi)
    n, t = np.nonzero(logs.alive)
    return each, mean, float(np.log(each[n, t, logs.logger[n], logs.action[n, t]]).mean())


def ask(logs: Logs, each: np.ndarray, target: np.ndarray, rows: np.ndarray, outcomes: Sequence[str]) -> Answer:
    """What the logs in these rows say about a target ``[N, T, A]``, on outcomes."""
    present, logger = np.unique(logs.logger[rows], return_inverse=True)
    action, used = logs.action[rows], {name: logs.outcomes[name][rows] for name in outcomes}
    probability = np.take_along_axis(each[rows][:, :, present], action[..., None, None], 3)[..., 0]
    question = Question(
        used, action, logs.alive[rows], target[rows], logs.phi[rows], probability, logger, logs.task[rows]
    )
    return estimate(question, EstimateSettings(resamples=500, experimental=True))


def by_pipeline(logs: Logs, each: np.ndarray) -> dict[str, dict[str, Any]]:
    """Questions A and B for every logger, on those of its tasks that others were given too."""
    found = {}
    for number, name in enumerate(logs.loggers):
        own = logs.logger == number
        shared = np.isin(logs.task, logs.task[own]) & np.isin(logs.task, logs.task[~own])
        real = mean_of(logs.outcomes["success"][own & shared].sum(1), logs.task[own & shared])
        everybody = ask(logs, each, each[:, :, number], shared, ["success"])
        others = ask(logs, each, each[:, :, number], shared & ~own, ["success"])
        found[name] = {"real": real, "all": everybody, "others": others}
    return found


def scores(cases: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """How each estimator's answers to B compare with the real success, where it answers."""
    table = {}
    for judge in JUDGES:
        asked = [(case["real"], case["others"].logged, case["others"].estimates["success"]) for case in cases.values()]
        if not any(judge in e for _, _, e in asked):
            continue  # weights against the logger that acted are not made where there are several
        given = [(r, o["success"], e[judge].interval) for r, o, e in asked if judge in e and e[judge].interval]
        table[judge] = {"answered": f"{len(given)} of {len(asked)}"}
        if given:
            real, trivial, guess = np.array([[x.estimate for x in case] for case in given]).T
            table[judge] |= {
                "contains real": sum(e.low <= r.estimate <= e.high for r, _, e in given),
                "mean abs. error": round(float(np.abs(guess - real).mean()), 3),
                "error of others' mean": round(float(np.abs(trivial - real).mean()), 3),
                "Spearman": round(float(spearmanr(guess, real).statistic), 2) if len(given) > 2 else None,
                "std of estimates": round(float(guess.std()), 3),
                "std of real": round(float(real.std()), 3),
            }
    return table


def repeated(runs: Sequence[Run]) -> dict[str, float]:
    """What names alone tell: runs of a task that two loggers played with the same tools, order and failures."""
    same, any_two, rows = [], [], []
    on_task = defaultdict(list)
    for run in runs:
        on_task[run.task].append(run)
    for a, b in itertools.chain.from_iterable(itertools.combinations(group, 2) for group in on_task.values()):
        if a.logger != b.logger:
            any_two.append(a.success != b.success)
            same += [a.success != b.success] if a.choices == b.choices else []
    for logger in sorted({run.logger for run in runs}):
        own = [run for run in runs if run.logger == logger]
        twins = [
            [x.success for x in on_task[run.task] if x.logger != logger and x.choices == run.choices] for run in own
        ]
        met = [(run.success, np.mean(others)) for run, others in zip(own, twins, strict=True) if others]
        rows += [(len(met), *np.mean(met, 0))] if met else []
    found = {"pairs": len(same), "pairs that differ": float(np.mean(same)), "of any pairs": float(np.mean(any_two))}
    count, own, others = np.array(rows).T
    rank = float(spearmanr(own, others).statistic) if len(rows) > 2 else None
    return found | {
        "repeated": float(count.sum() / len(runs)),
        "error": float(np.abs(own - others).mean()),
        "Spearman": rank,
    }


def rules(logs: Logs, mean: np.ndarray) -> dict[str, np.ndarray]:
    """Question D's targets: the loggers' mean way of choosing, altered. ``[N, T, A]`` each"""
    feature = {name: logs.raw[..., k] for k, name in enumerate(logs.names)}
    only = {name: np.eye(len(ACTIONS))[k] for k, name in enumerate(ACTIONS)}

    def without(action: str, where: np.ndarray) -> np.ndarray:
        left = mean * (1 - only[action])
        return np.where(where[..., None], left / np.maximum(left.sum(-1, keepdims=True), 1e-300), mean)

    return {
        "as the pipelines choose on average": mean,
        "never retry a failed tool at once": without("retry", feature["failed"] > 0),
        "always retry a failed tool at once": np.where(feature["failed"][..., None] > 0, only["retry"], mean),
        "stop after two failures": np.where(feature["failures"][..., None] > 1, only["stop"], mean),
        "hand over after two failures": np.where(feature["failures"][..., None] > 1, only["hand over"], mean),
        "no stop while usual calls are left": without("stop", feature["no calls left"] == 0),
        "begin by asking the user": np.where(feature["first"][..., None] > 0, only["ask"], mean),
        "never stop": without("stop", logs.alive),
    }


def mean_of(values: Any, task: np.ndarray) -> Interval:
    """A mean over runs with its interval by task."""
    values = np.asarray(values, np.float64)[:, None]
    return estimators.bootstrap_by_task(estimators.per_decision(np.ones_like(values), values), task, resamples=500)


def by_domain(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Question C."""
    groups, table = defaultdict(list), []
    for run in runs:
        groups[run.task.split("/")[0], run.logger].append(run)
    for (domain, logger), members in sorted(groups.items()):
        task = np.unique([run.task for run in members], return_inverse=True)[1]
        row = {"domain": domain, "pipeline": logger, "runs": str(len(members))}
        for name, digits in {"success": 2, "seconds": 1, "dollars": 4}.items():
            values = [getattr(run, name) for run in members]
            row[name] = "not logged" if np.isnan(values).any() else short(mean_of(values, task), digits)
        table.append(row)
    return table


def short(interval: Interval | None, digits: int = 2) -> str:
    """For tables."""
    if interval is None:
        return "refused"
    return f"{interval.estimate:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def cells(answer: Answer) -> dict[str, str]:
    """Estimates, and what tells whether to believe them."""
    found, kind = answer.estimates["success"], max(answer.mean_weight, key="balanced".__eq__)
    names = {name: f"balanced_{name}" if kind == "balanced" else name for name in WEIGHTED}
    weight = answer.mean_weight[kind].estimate
    return {
        "direct": short(found["direct"].interval),
        "self-normalised": short(found[names["self_normalised"]].interval),
        "doubly robust": short(found[names["weighted_doubly_robust"]].interval),
        "effective tasks": f"{answer.effective_tasks[kind]:.0f} of {answer.tasks}",
        "mean weight": f"{weight:.2f}" if weight < 100 else "> 100",
    }


def show(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """One table."""
    columns = max(rows, key=len)
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if row.get(name) is None else str(row[name]) for name in columns))
    console.print(table)


def study(source: str, runs: Sequence[Run], console: Console) -> dict[str, Any]:
    """Everything asked of one source: prints it, and returns it for files."""
    logs = logs_of(runs, HORIZONS[source])
    tried = {penalty: ways_of(logs, penalty) for penalty in PENALTIES}
    each, mean, _ = tried[max(tried, key=lambda penalty: tried[penalty][2])]
    likelihood = {f"{penalty:g}": round(way[2], 4) for penalty, way in tried.items()}
    counts = dict(zip(ACTIONS, map(int, np.bincount(logs.action[logs.alive], minlength=len(ACTIONS))), strict=True))
    console.print(f"\n{source}: {len(runs)} runs, {logs.task.max() + 1} tasks, {len(logs.loggers)} pipelines")
    console.print(f"chosen: {counts}; runs cut after {HORIZONS[source]} choices: {logs.cut:.1%}", soft_wrap=True)
    console.print(f"log-likelihood of held-out choices, by penalty: {likelihood}")

    cases = by_pipeline(logs, each)
    ranked = sorted(cases.items(), key=lambda case: -case[1]["real"].estimate)
    rows = []
    for name, case in ranked:
        average = {"others' mean": f"{case['others'].logged['success'].estimate:.2f}"}
        everybody = {"A: doubly robust, all logs": cells(case["all"])["doubly robust"]}
        rows.append({"pipeline": name, "real": short(case["real"])} | average | cells(case["others"]) | everybody)
    show(console, "B (and A). Success of each pipeline's way of choosing, from the others' runs", rows)
    table, twins, domains = scores(cases), repeated(runs), by_domain(runs)
    show(console, "B. Estimates against the real success", [{"estimator": name} | row for name, row in table.items()])
    console.print(f"runs that another pipeline repeated call by call: {twins}", soft_wrap=True)
    if source == "tau2":
        show(console, "C. By domain; dollars are the model's", domains)
    answers = {
        name: ask(logs, each, target, logs.alive[:, 0], tuple(logs.outcomes))
        for name, target in rules(logs, mean).items()
    }
    rows = [
        {"rule": name} | cells(answer) | {"hardly logged": f"{answer.unlogged:.1%}"} for name, answer in answers.items()
    ]
    show(console, "D. Success of the pipelines' mean way of choosing under a rule", rows)
    limits = cannot(runs, logs, twins, cases | answers)
    console.print("What these logs cannot answer:", *limits, sep="\n- ", soft_wrap=True)
    pipelines = {name: {key: value.to_json() for key, value in case.items()} for name, case in cases.items()}
    return {
        "chosen": counts, "likelihood": likelihood, "cut": logs.cut, "pipelines": pipelines, "scores": table,
        "repeated": twins,
        "domains": domains, "rules": {name: answer.to_json() for name, answer in answers.items()}, "cannot": limits,
    }  # fmt: skip


def cannot(runs: Sequence[Run], logs: Logs, twins: Mapping[str, float], asked: Mapping[str, Any]) -> list[str]:
    """Questions without an answer, each with the number that shows it."""
    unpriced, untimed = np.isnan([[run.dollars, run.seconds] for run in runs]).mean(0)
    lines = [
        f"other arguments: {twins['pairs that differ']:.0%} of {twins['pairs']} pairs of runs with equal calls differ",
        f"dollars: {unpriced:.0%} of runs lack a price; seconds: {untimed:.0%} lack their length, all lack a tool's",
    ]
    for name, case in asked.items():
        answer = case["others"] if isinstance(case, dict) else case
        refused = [
            found.refused for judge, found in answer.estimates["success"].items() if judge in JUDGES[-2:] + JUDGES[:1]
        ]
        if any(refused):
            lines.append(f"{name}: {max(refused, key=len)}; hardly logged: {answer.unlogged:.0%} of its choices")
    return lines


def draw(path: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Real success against what the others' runs say, one panel a source."""
    plt = pyplot()
    figure, axes = plt.subplots(1, len(results), figsize=(5 * len(results), 4.8), squeeze=False, layout="constrained")
    for axis, (source, result) in zip(axes[0], results.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        for judge, colour in {"direct": "tab:blue", "balanced_weighted_doubly_robust": "tab:orange"}.items():
            pairs = [
                (case["real"], case["others"]["estimates"]["success"].get(judge, {}))
                for case in result["pipelines"].values()
            ]
            points = [
                [interval[x] for interval in pair for x in ("estimate", "low", "high")]
                for pair in pairs
                if "low" in pair[1]
            ]
            x, left, right, y, low, high = np.array(points).reshape(-1, 6).T
            label, look = (
                f"{judge.replace('_', ' ')}: {len(points)} of {len(pairs)} answered",
                {"linewidth": 0.6, "markersize": 4},
            )
            axis.errorbar(
                x, y, [y - low, high - y], [x - left, right - x], "o", color=colour, alpha=0.7, label=label, **look
            )
        axis.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="real success",
            ylabel="judged from the other pipelines' runs",
            title=source,
        )
        axis.legend(fontsize=8, loc="upper left", frameon=False)
    figure.savefig(path)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 2, with one line, for what the user can put right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", type=Path, help="folder with the logs")
    parser.add_argument("--only", choices=tuple(HORIZONS))
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    try:
        found = {x: runs_of(options.traces / f"{x}.jsonl.gz") for x in HORIZONS if options.only in (None, x)}
        results = {source: study(source, runs, console()) for source, runs in found.items()}
        if options.json:
            write_json(options.json, results)
        if options.figure:
            draw(options.figure, results)
    except (OSError, UserError) as error:
        print(f"real_logs: {visible(one_line(error))}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
