"""The paper's stability claim: REINFORCE without a baseline depends on the seed, with one every seed converges.

Trains every baseline on many seeds, all seeds of a kind in one vmapped program, and measures how much the gradient
estimates of each baseline scatter, at the start of training and halfway. Prints tables; writes a JSON receipt and a
figure if asked.

    python studies/stability.py --json studies/results/stability.json --figure docs/figures/stability.png
"""

import argparse
import dataclasses
import functools
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # receipts, rivals

from aljax import runs, train
from aljax.comparison import compare
from aljax.drawing import label, pyplot
from aljax.host import files, terminal
from aljax.learning import baselines, gradients, returns
from aljax.options import Baseline, Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned
from aljax.rollout import rollout
from aljax.scenario import Scenario, load_scenario
from aljax.training import Trained, train_seeds

from receipts import status_of

BASELINES: tuple[Baseline, ...] = ("none", "running", "batch", "leave_one_out", "critic")
CONVERGED = 1.05  # times the best seed's cost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", default="paper")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--episodes", type=int, default=12_000)
    parser.add_argument("--batch", type=int, default=10, help="episodes an update")
    parser.add_argument("--learning-rate", type=float, default=2e-2)
    parser.add_argument("--baselines", nargs="+", default=BASELINES, choices=BASELINES)
    parser.add_argument("--gradients", type=int, default=400, help="gradient estimates a baseline for the variance")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    return status_of(lambda: study(options))


def study(options: argparse.Namespace) -> None:
    """Trains, measures, prints, writes."""
    console, scenario = terminal.console(), load_scenario(options.scenario)
    protocol = Protocol(seeds=options.seeds)
    # Plain REINFORCE: no entropy bonus, no normalisation of advantages, no clipping, a constant step size.
    plain = TrainConfig(
        episodes=options.episodes, batch=options.batch, hidden=(64, 64), normalise=False, schedule="constant"
    )
    hyper = Hyperparameters(learning_rate=options.learning_rate, entropy=0.0, clip_norm=float("inf"), trace=1.0)
    trained: dict[str, Trained] = {}
    results: dict[str, dict[str, object]] = {}
    for kind in options.baselines:
        config = dataclasses.replace(plain, baseline=kind)
        trained[kind] = train_seeds(scenario, config, hyper, protocol)
        outcome = compare(scenario, protocol, trained[kind].policy).evaluations["learned"].outcome
        results[kind] = {
            "cost_by_seed": np.asarray(outcome.total).mean(1).tolist(),
            "success_by_seed": np.asarray(outcome.success).mean(1).tolist(),
        }
    best = min(min(result["cost_by_seed"]) for result in results.values())
    for kind, result in results.items():
        cost = np.array(result["cost_by_seed"])
        result["converged"] = int((cost < CONVERGED * best).sum())
        result["episodes_to_converge"] = _episodes_to_converge(trained[kind].curve.cost, CONVERGED * best, plain.batch)

    table = Table(title=f"{scenario.name}: {options.seeds} seeds of {options.episodes} episodes, plain REINFORCE")
    near = f"within {CONVERGED - 1:.0%} of best seed"
    for column in (
        "baseline",
        "cost: mean ± std",
        "best",
        "worst",
        "success",
        near,
        "episodes to it: median (worst)",
    ):
        table.add_column(column, justify="left" if column == "baseline" else "right")
    for kind, result in results.items():
        cost, reached = np.array(result["cost_by_seed"]), _numbers(result["episodes_to_converge"])
        table.add_row(
            kind, f"{cost.mean():.3f} ± {cost.std():.3f}", f"{cost.min():.3f}", f"{cost.max():.3f}",
            f"{np.mean(result['success_by_seed']):.4f}", f"{result['converged']} of {options.seeds}",
            f"{np.median(reached):.0f} ({reached.max():.0f})",
        )  # fmt: skip
    console.print(table)

    variance = gradient_variance(scenario, plain, hyper, options.gradients)
    table = Table(title="Total variance of the gradient estimate, and relative to no baseline")
    table.add_column("baseline")
    for moment in variance:
        table.add_column(moment, justify="right")
    for kind in BASELINES:
        entries = (f"{rows[kind]:.4g} ({rows[kind] / rows['none']:.3f})" for rows in variance.values())
        table.add_row(kind, *entries)
    console.print(table)
    if options.json:
        receipt = {
            "scenario": scenario.name, "seeds": options.seeds, "episodes": options.episodes,
            "config": dataclasses.asdict(plain), "learning_rate": hyper.learning_rate,
            "results": results, "gradient_variance": variance, "versions": runs.versions(),
        }  # fmt: skip
        files.write_json(options.json, json.loads(json.dumps(receipt, default=float)))
    if options.figure:
        _draw(options.figure, trained, results, plain.batch, scenario.name)


def _episodes_to_converge(cost: np.ndarray, level: float, batch: int) -> list[float | None]:
    """After how many episodes each seed's moving average of the training cost goes under a level; None if never."""
    smooth = _smoothed(cost, batch)
    window = cost.shape[1] - smooth.shape[1] + 1
    reached = smooth < 1.03 * level  # sampled actions cost a little more than greedy ones
    first = np.where(reached.any(1), reached.argmax(1) + window, np.inf)
    return [float(x) if np.isfinite(x) else None for x in first * batch]


def _smoothed(cost: np.ndarray, batch: int) -> np.ndarray:
    """Each seed's moving average over 600 episodes. ``[S, about updates]``."""
    window = min(-(-600 // batch), cost.shape[1])
    return np.apply_along_axis(lambda row: np.convolve(row, np.ones(window) / window, "valid"), 1, cost)


def _numbers(episodes: list[float | None]) -> np.ndarray:
    """With inf for never."""
    return np.array([np.inf if x is None else x for x in episodes])


def gradient_variance(
    scenario: Scenario, config: TrainConfig, hyper: Hyperparameters, count: int
) -> dict[str, dict[str, float]]:
    """Trace of the covariance of gradient estimates under each baseline, same weights and batches for all."""
    static = {"config": dataclasses.replace(config, baseline="critic"), "steps": scenario.horizon}
    start = jax.jit(functools.partial(train.init, **static))(jax.random.key(0), scenario.params)
    piece = jax.jit(functools.partial(train.advance, **static))
    # With a critic's run, critic and running averages are those that belong to the weights.
    moments = {"at the start": 2, "after 1/4 of the run": config.updates // 4, "at the end": config.updates}
    found: dict[str, dict[str, float]] = {}
    state, done = start, 0
    for name, until in moments.items():
        state, done = piece(state, done, until, hyper, scenario.params), until
        found[name] = {kind: _variance(state, scenario, config, kind, count) for kind in BASELINES}
    return found


def _variance(state: train.TrainState, scenario: Scenario, config: TrainConfig, kind: Baseline, count: int) -> float:
    network, params = train.policy_architecture(config, scenario.params), scenario.params

    def one(key: jax.Array) -> jax.Array:
        sampler = Learned(state.variables, network, greedy=False)
        played = rollout(key, sampler, params, episodes=config.batch, steps=scenario.horizon)
        togo = returns.costs_to_go(played, params)
        values = gradients.critic_values(state.critic, state.running, played, config)
        advantages = baselines.baselined(kind, togo, played.alive, state.running, values)
        gradient, _ = jax.grad(gradients.surrogate, has_aux=True)(
            state.variables, network, played, advantages, 0.0, params
        )
        return jax.flatten_util.ravel_pytree(gradient)[0]

    keys = jax.random.split(jax.random.key(1), count)
    estimates = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=20))(keys)
    return float(jnp.var(estimates, axis=0).sum())


def _draw(path: Path, trained: dict[str, Trained], results: dict, batch: int, name: str) -> None:
    plt = pyplot()
    figure, grid = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
    axes = list(grid.ravel())
    for axis, (kind, result) in zip(axes, trained.items(), strict=False):
        cost = _smoothed(np.asarray(result.curve.cost), batch)
        episodes = (1 + np.arange(cost.shape[1])) * batch
        axis.plot(episodes, cost.T, linewidth=0.8, alpha=0.7)
        axis.set(title=f"{kind}: {cost.shape[0]} seeds", xlabel="episodes", ylabel="training cost", yscale="log")
        axis.sharey(axes[0])
    last = axes[len(trained)]
    last.boxplot([results[kind]["cost_by_seed"] for kind in trained], tick_labels=list(trained), whis=(0, 100))
    last.tick_params(axis="x", rotation=20, labelsize=8)
    last.set(title="greedy cost after training, by seed", yscale="log")
    figure.suptitle(f"{label(name)}: plain REINFORCE with each baseline")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
