"""The picture of which rule forbids which row when, in episodes that a policy plays."""

import functools
from pathlib import Path

import jax
import numpy as np

from aljax import env
from aljax.drawing import label, pyplot, save
from aljax.episodes import Trajectory
from aljax.host.programs import Program
from aljax.policy import Policy
from aljax.rollout import rollout
from aljax.rules.chain import Chain
from aljax.scenario import Scenario
from aljax.target import here

EPISODES = 1000
"""That are played for a picture."""
TOGETHER = "several together"
"""What forbids a row that no rule alone does."""
_MOST_PANELS = 9


def forbidding(scenario: Scenario, played: Trajectory) -> dict[str, np.ndarray]:
    """How often each hard rule forbids each row at each step of the episodes that are not over.

    Where several rules forbid a row, each has its part of that.

    Args:
      scenario: with hard rules.
      played: B episodes in it.

    Returns:
      By the rule's name, or `TOGETHER`, shares on [0, 1]. ``[T, A]``
    """
    params, rules = scenario.params, scenario.params.rules
    assert rules is not None and played.legal is not None
    structure, at = rules.structure, env.places(params)
    alive, legal = np.asarray(played.alive), np.moveaxis(np.asarray(played.legal), 1, 0)
    seen = np.moveaxis(np.asarray(played.observation), 1, 0)
    sizes = [automaton.states for automaton in structure.automata]
    hots = np.split(seen[at["rules"]], np.cumsum(sizes)[:-1])
    remaining = np.arange(scenario.horizon, 0, -1)[: len(alive), None]
    says: dict[str, np.ndarray] = {}
    for digit, i in enumerate(structure.hard):
        state, rule = hots[i].argmax(0), structure.each[i]
        if rule.timed:
            left = seen[at["cooldowns"]][structure.timed.index(i)]
            found = (left > 0)[None] & (np.arange(len(legal)) == rule.a)[:, None, None]
        else:
            chain = Chain(structure, (digit,))
            table = chain.legal(structure.columns)[:, chain.class_of]  # [C, A, S]
            column = np.minimum(remaining - 1, structure.columns - 1)
            found = ~np.moveaxis(table[column, :, np.minimum(state, table.shape[2] - 1)], -1, 0)
        says[scenario.rule_names[i]] = found
    allowed = np.asarray(params.actions.allowed)[:, None, None]
    free = allowed & (seen[at["calls"]] < 1.0 if "calls" in at else True)
    forbidden = free & ~legal & alive
    many = np.add.reduce(list(says.values())).astype(float)
    count = np.maximum(alive.sum(1), 1)[:, None]
    shares = {
        name: np.where(forbidden & found, 1.0 / np.maximum(many, 1.0), 0.0).sum(2).T / count
        for name, found in says.items()
    }
    shares[TOGETHER] = (forbidden & (many == 0)).sum(2).T / count
    return {name: share for name, share in shares.items() if share.any()}


def forbidden(path: Path, scenario: Scenario, policy: Policy) -> None:
    """Draws for each row how often it is forbidden at each step, and by which rule.

    Args:
      path: the PNG file.
      scenario: with hard rules.
      policy: what plays.
    """
    plt = pyplot()
    shares = forbidding(scenario, _program(scenario.horizon)(jax.random.key(0), policy, scenario.params))
    total = np.add.reduce([*shares.values(), np.zeros((scenario.horizon, len(scenario.action_names)))])
    rows = sorted(np.argsort(-total.sum(0), kind="stable")[:_MOST_PANELS].tolist())
    rows = [row for row in rows if total[:, row].any()] or rows[:1]
    columns = min(3, len(rows))
    figure, axes = plt.subplots(
        -(-len(rows) // columns),
        columns,
        figsize=(3.7 * columns, 2.2 * -(-len(rows) // columns) + 1.0),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    steps = 1 + np.arange(scenario.horizon)
    for axis, row in zip(axes.flat, rows, strict=False):
        bottom = np.zeros(len(steps))
        for (name, share), colour in zip(shares.items(), plt.cm.tab20.colors * 4, strict=False):
            axis.bar(steps, share[:, row], 1.0, bottom=bottom, color=colour, linewidth=0, label=label(name))
            bottom += share[:, row]
        axis.set(title=label(scenario.action_names[row]), ylim=(0, 1), xlim=(0.5, len(steps) + 0.5))
    for axis in axes[-1]:
        axis.set_xlabel("step")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of episodes")
    for axis in list(axes.flat)[len(rows) :]:
        axis.set_axis_off()
    handles, names = axes.flat[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, ncols=min(3, len(names)), fontsize=8, loc="outside lower center")
    figure.suptitle(f"{label(scenario.name)}: which rule forbids which row, when {label(policy.name)} plays")
    save(figure, path, plt)


@functools.lru_cache(8)
def _program(steps: int) -> Program:
    """`rollout` for a picture."""
    play = functools.partial(rollout, episodes=EPISODES, steps=steps)
    return Program(play, ("forbidding", EPISODES, steps), compiler_options=here().compiler_options(once=True))
