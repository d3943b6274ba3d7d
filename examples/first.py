"""A first experiment: train a policy, compare it with the best there is, and draw what it does.

    python examples/first.py                                          the paper's experiment
    python examples/first.py --scenario escalation --episodes 60000   where stopping and handing over are choices, too

It prints a line a policy, writes a run folder, and draws a picture of its own beside it.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import aljax


def experiment(scenario: str, episodes: int, seeds: int, out: Path) -> aljax.RunResult:
    """Trains all seeds at once, and plays every policy on the same tasks with the same luck."""
    result = aljax.experiment.run(scenario, episodes=episodes, seeds=seeds, out=out, overwrite=True)
    for name, summary in result.summaries.items():
        above = "" if summary.gap is None else f", {summary.gap} % above the optimum"
        print(f"{name:10} costs {summary.cost}, succeeds in {summary.success}{above}")
    return result


def draw(result: aljax.RunResult, file: Path) -> None:
    """Draws the cost while learning, and what the learned policy plays at each step."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    cost = result.curves["cost"]  # [seeds, updates]
    episodes = result.config.batch * np.arange(1, cost.shape[1] + 1)
    left.fill_between(episodes, cost.min(0), cost.max(0), alpha=0.3)
    left.plot(episodes, np.median(cost, axis=0), label="learned, while it trains")
    for name in ("optimal", "cost_aware", "random"):
        if name in result.summaries:
            left.axhline(result.summaries[name].cost.mean, linestyle="--", color="grey")
            left.annotate(name, (episodes[-1], result.summaries[name].cost.mean), ha="right", va="bottom")
    left.set(xlabel="episodes", ylabel="cost of an episode", title=result.scenario.name)
    left.legend()

    plays = np.asarray(result.evaluations["learned"].plays).mean(0)  # [steps, actions], the mean over seeds
    steps = np.arange(1, len(plays) + 1)
    right.stackplot(steps, plays.T, labels=result.scenario.action_names)
    right.set(xlabel="step", ylabel="share of episodes", title="what the learned policy plays", ylim=(0, 1))
    right.legend(fontsize=7)
    figure.savefig(file)


def main() -> None:
    """Reads the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenario", default="paper", help="a name (aljax scenarios), or a TOML file of your own")
    parser.add_argument("--episodes", type=int, default=12_000, help="to train on, a seed")
    parser.add_argument("--seeds", type=int, default=5, help="independent runs")
    parser.add_argument("--out", type=Path, default=Path("runs/first"), help="the run folder")
    options = parser.parse_args()
    result = experiment(options.scenario, options.episodes, options.seeds, options.out)
    draw(result, options.out.with_suffix(".png"))
    print(f"\nEverything is in {result.folder}; read it back with aljax.runs.load, or: aljax evaluate {result.folder}")


if __name__ == "__main__":
    main()
