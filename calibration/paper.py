"""Where the numbers of the scenario `paper` come from: a search for an environment that gives the paper's tables.

    python calibration/paper.py [FILE]              how near the shipped file (or FILE) comes; seconds
    python calibration/paper.py --search            the search again, from the family it starts in; a minute or two
    python calibration/paper.py --search --write F  and writes what it finds to F

The paper prints results, not parameters. Some numbers follow from its tables (`PUBLISHED`): the weights λ from
components and totals, the cheap tool's 0.5 s, $0.1 and failure 0.1 from ten calls of it. The rest is searched, so
that the heuristics' exact expectations and the *exact optimum* come near the published columns.

Nothing here imports the package: this is a second implementation, in NumPy's float64, of the environment's
arithmetic where every row only shifts (no gain, noise, stickiness, misread, budgets). There the task vector is the
start + Σ (successes of a row × its shift) + time × drift, so backward induction over (time, successes of each row)
is exact for each start. Exit status: 0 when all is within two published standard deviations, 1 when not, 2 when
the file cannot be read.
"""

import argparse
import itertools
import math
import sys
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray

SHIPPED = Path(__file__).resolve().parents[1] / "aljax" / "scenarios" / "paper.toml"
COMPONENTS = ("latency", "money", "violation", "failure", "divergence")

PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "latency": {
        "total": (69.5754, 0.4427),
        "latency": (5.0, 0.0),
        "money": (1.0, 0.0),
        "violation": (32.5507, 0.2378),
        "failure": (0.9992, 0.0317),
        "divergence": (4.5498, 0.0694),
    },
    "cost_aware": {"total": (69.2179, 0.2527)},
    "learned": {
        "total": (10.2262, 0.0309),
        "success": (0.9164, 0.0063),
        "latency": (25.2705, 2.5569),
        "money": (8.2974, 0.9205),
        "violation": (0.4607, 0.2436),
        "failure": (0.5896, 0.0497),
        "divergence": (3.3124, 0.0310),
    },
}
"""The paper's tables: mean and standard deviation over 5 seeds of 1,000 episodes each."""

SUCCESS_WITHIN = 0.012
"""How far from the published success the optimum may lie."""


# The environment ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A scenario of tools that only shift: A rows, d coordinates."""

    names: tuple[str, ...]
    """The rows' names, A of them."""
    latency: Array
    """Seconds. ``[A]``"""
    money: Array
    """Dollars. ``[A]``"""
    failure: Array
    """Probabilities. ``[A]``"""
    shift: Array
    """``[A, d]``"""
    drift: Array
    """``[d]``"""
    low: Array
    """Starts are uniform between `low` and `high`. ``[d]``"""
    high: Array
    """``[d]``"""
    tolerance: Array
    """``[d]``"""
    weights: Array
    """λ, in the order of `COMPONENTS`. ``[5]``"""
    horizon: int

    @property
    def divergence(self) -> Array:
        """A row's expected ‖ẑ' − z'‖: a success misses the plan by the drift, a failure by drift − shift. ``[A]``"""
        missed = np.linalg.norm(self.shift - self.drift, axis=1)
        return (1 - self.failure) * np.linalg.norm(self.drift) + self.failure * missed

    @property
    def immediate(self) -> Array:
        """A row's expected cost, the violation left out: what `cost_aware` looks at. ``[A]``"""
        parts = np.stack([self.latency, self.money, 0 * self.money, self.failure, self.divergence])
        return self.weights @ parts

    def only(self, rows: list[int]) -> "Model":
        """The same environment with these rows alone."""
        names = tuple(self.names[row] for row in rows)
        table = {field: getattr(self, field)[rows] for field in ("latency", "money", "failure", "shift")}
        return replace(self, names=names, **table)


def read(path: Path) -> Model:
    """Reads a scenario file.

    Raises:
      ValueError: it has what this solver does not cover, or lacks a key.
    """
    data: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    coordinates = data["coordinates"]

    def vector(value: Any) -> Array:
        if isinstance(value, dict):
            if unknown := set(value) - set(coordinates):
                raise ValueError(f"unknown coordinate {min(unknown)!r}")
            value = [value.get(name, 0.0) for name in coordinates]
        return np.array(np.broadcast_to(np.asarray(value, float), len(coordinates)))

    if beyond := {"misread", "latency_budget", "money_budget"} & set(data):
        raise ValueError(f"{min(beyond)} is beyond this solver")
    rows: dict[str, dict[str, Any]] = data["actions"]
    covered = {"kind", "latency", "money", "failure", "shift"}
    for name, row in rows.items():
        if beyond := set(row) - covered:
            raise ValueError(f"actions.{name}.{min(beyond)} is beyond this solver")
        if row["kind"] != "tool":
            raise ValueError(f"actions.{name}: kind {row['kind']!r} is beyond this solver")
    return Model(
        names=tuple(rows),
        latency=np.array([row["latency"] for row in rows.values()], float),
        money=np.array([row["money"] for row in rows.values()], float),
        failure=np.array([row["failure"] for row in rows.values()], float),
        shift=np.stack([vector(row["shift"]) for row in rows.values()]),
        drift=vector(data["drift"]),
        low=vector(data["start_low"]),
        high=vector(data["start_high"]),
        tolerance=vector(data["tolerance"]),
        weights=np.array([data["weights"][name] for name in COMPONENTS], float),
        horizon=int(data["horizon"]),
    )


def starts(model: Model, count: int, skip: int = 0) -> Array:
    """Quasi-random starts (an additive recurrence), spread far more evenly than random ones. ``[count, d]``"""
    d = len(model.low)
    ratio = 2.0
    for _ in range(60):  # the root of x^(d + 1) = x + 1, for d = 1 the golden ratio
        ratio = (1 + ratio) ** (1 / (d + 1))
    steps = np.arange(skip + 1, skip + count + 1)[:, None] * ratio ** -np.arange(1.0, d + 1)
    return model.low + (0.5 + steps) % 1.0 * (model.high - model.low)


# The heuristics, in closed form ---------------------------------------------------------------------------------


def always(model: Model, row: int) -> dict[str, float]:
    """Exact expectations of playing one row at every step, where that never ends an episode early.

    Raises:
      ValueError: the row might end an episode before the horizon.
    """
    steps, p = model.horizon, model.failure[row]
    untouched = (model.shift[row] == 0) & (model.low + np.minimum(0, steps * model.drift) > model.tolerance)
    if not untouched.any():
        raise ValueError(f"{model.names[row]} alone might end an episode: its expectation has no closed form here")
    violation = 0.0
    for successes in range(steps + 1):
        moved = steps * model.drift + successes * model.shift[row]
        chance = math.comb(steps, successes) * (1 - p) ** successes * p ** (steps - successes)
        violation += chance * _mean_excess(model.low + moved, model.high + moved, model.tolerance).sum()
    parts = [steps * model.latency[row], steps * model.money[row], violation, steps * p, steps * model.divergence[row]]
    totals = {"total": float(model.weights @ parts), "success": 0.0}
    return totals | dict(zip(COMPONENTS, map(float, parts), strict=True))


def _mean_excess(low: Array, high: Array, tolerance: Array) -> Array:
    """E[max(0, |x| − tolerance)], x ~ U(low, high), by its antiderivative. ``[d]``"""

    def integral(x: Array) -> Array:
        return np.sign(x) * np.maximum(0, np.abs(x) - tolerance) ** 2 / 2

    return (integral(high) - integral(low)) / (high - low)


# The optimum, by backward induction over counts of successes ----------------------------------------------------


@cache
def _counts(rows: int, horizon: int) -> tuple[Array, list[int], Array]:
    """Every vector of success counts with sum ≤ horizon, by sum: the vectors ``[N, rows]``; how many have a
    sum ≤ t, for each t; and the index of each vector with one success of a row more ``[rows, N(horizon − 1)]``.
    """
    vectors = [v for v in itertools.product(range(horizon + 1), repeat=rows) if sum(v) <= horizon]
    vectors.sort(key=sum)
    index = {v: i for i, v in enumerate(vectors)}
    within = [sum(sum(v) <= t for v in vectors) for t in range(horizon + 1)]
    inner = vectors[: within[horizon - 1]]
    more = [[index[(*v[:row], v[row] + 1, *v[row + 1 :])] for v in inner] for row in range(rows)]
    return np.array(vectors), within, np.array(more)


@dataclass(frozen=True)
class Optimum:
    """The best policy's exact expectations, one entry a start."""

    value: Array
    """Least expected total cost, from the recursion. ``[B]``"""
    components: Array
    """Unweighted, from the distribution that the policy induces. ``[5, B]``"""
    success: Array
    """Probability. ``[B]``"""
    calls: Array
    """Expected calls of each row. ``[A, B]``"""
    choices: list[Array]
    """The row to play at each time, for each vector of counts: ``[N(t), B]``, t < horizon."""

    def means(self, weights: Array) -> dict[str, float]:
        """Averages over the starts, by name."""
        parts = self.components.mean(1)
        means = {"total": float(weights @ parts), "success": float(self.success.mean())}
        return means | dict(zip(COMPONENTS, map(float, parts), strict=True))


def _over(x: Array, bound: Array) -> Array:
    """By how much a bound is exceeded: with slack, so that what meets it exactly is within it in any precision."""
    return np.where(x > bound + 1e-5 * np.maximum(1, np.abs(bound)), x - bound, 0.0)


def _violation(model: Model, start: Array, time: int) -> Array:
    """What is violated at a time, for each vector of counts that it allows and each start. ``[N(t), B]``"""
    counts, within, _ = _counts(len(model.names), model.horizon)
    moved = counts[: within[time]] @ model.shift + time * model.drift
    total = np.zeros((within[time], len(start)))
    for coordinate in range(start.shape[1]):
        places, inverse = np.unique(moved[:, coordinate], return_inverse=True)
        total += _over(np.abs(places[:, None] + start[:, coordinate]), model.tolerance[coordinate])[inverse]
    return total


def solve(model: Model, start: Array) -> Optimum:
    """Solves each start ``[B, d]`` exactly: first the choices, backward, then what they lead to, forward."""
    rows, horizon, p = len(model.names), model.horizon, model.failure
    _, within, more = _counts(rows, horizon)
    violations = [_violation(model, start, time) for time in range(horizon + 1)]

    ahead = model.weights[2] * violations[horizon]  # what is still to be paid, for the state entered
    value = ahead
    choices = []
    for time in reversed(range(horizon)):
        n = within[time]
        costs = np.stack(
            [model.immediate[row] + p[row] * ahead[:n] + (1 - p[row]) * ahead[more[row, :n]] for row in range(rows)]
        )
        choices.append(costs.argmin(0).astype(np.int8))
        value = costs.min(0)
        ahead = value if time == 0 else np.where(violations[time] == 0, 0.0, value)
    choices.reverse()

    alive = np.ones((1, len(start)))  # probability of each vector of counts, with the episode still running
    calls, success, violation = np.zeros((rows, len(start))), np.zeros(len(start)), np.zeros(len(start))
    for time in range(horizon):
        n = within[time]
        after = np.zeros((within[time + 1], len(start)))
        for row in range(rows):
            played = np.where(choices[time] == row, alive, 0.0)
            calls[row] += played.sum(0)
            after[:n] += p[row] * played
            after[more[row, :n]] += (1 - p[row]) * played
        ended = violations[time + 1] == 0
        success += np.where(ended, after, 0.0).sum(0)
        alive = np.where(ended, 0.0, after)
    violation = (alive * violations[horizon]).sum(0)
    components = np.stack([model.latency @ calls, model.money @ calls, violation, p @ calls, model.divergence @ calls])
    return Optimum(value[0], components, success, calls, choices)


def solve_in_chunks(model: Model, start: Array, chunk: int = 512) -> Optimum:
    """`solve`, in little memory, without the choices."""
    parts = [solve(model, start[i : i + chunk]) for i in range(0, len(start), chunk)]
    fields = {
        name: np.concatenate([getattr(part, name) for part in parts], -1)
        for name in ("value", "components", "success", "calls")
    }
    return Optimum(**fields, choices=[])


def play(model: Model, rng: np.random.Generator, episodes: int) -> tuple[Array, Array]:
    """Plays the exact optimum: components ``[5, episodes]`` and success ``[episodes]`` of single episodes."""
    start = rng.uniform(model.low, model.high, (episodes, len(model.low)))
    choices = solve(model, start).choices
    _, _, more = _counts(len(model.names), model.horizon)
    here, z, each = np.zeros(episodes, int), start.copy(), np.arange(episodes)
    running, success = np.ones(episodes, bool), np.zeros(episodes, bool)
    costs = np.zeros((5, episodes))
    for time in range(model.horizon):
        row = choices[time][np.where(running, here, 0), each]
        failed = rng.random(episodes) < model.failure[row]
        planned = z + model.shift[row]
        realized = np.where(failed[:, None], z, planned) + model.drift
        missed = np.linalg.norm(planned - realized, axis=1)
        paid = np.stack([model.latency[row], model.money[row], np.zeros(episodes), failed, missed])
        costs += np.where(running, paid, 0.0)
        here = np.where(running & ~failed, more[row, np.where(running, here, 0)], here)
        z = np.where(running[:, None], realized, z)
        mended = (_over(np.abs(z), model.tolerance) == 0).all(1)
        success |= running & mended
        running &= ~mended
    costs[2] = np.where(running, _over(np.abs(z), model.tolerance).sum(1), 0.0)
    return costs, success


# How near it comes ----------------------------------------------------------------------------------------------


def pick(model: Model, heuristic: str) -> int:
    """The row that a heuristic plays at every step; ties go to the first."""
    return int(np.argmin(model.latency if heuristic == "latency" else model.immediate))


def table(title: str, published: dict[str, tuple[float, float]], ours: dict[str, float]) -> bool:
    """Prints published beside ours; whether all of it is near enough."""
    print(f"\n{title}\n  {'':<12}{'published':>20}{'ours':>12}{'distance in published sd':>28}")
    good = True
    for name, (mean, spread) in published.items():
        away = ours[name] - mean
        if name == "success":
            near, note = abs(away) <= SUCCESS_WITHIN, f"{away / spread:+.2f}  (off by {away:+.4f})"
        elif title.startswith("optimum") and name == "total":
            near, note = away <= 0, f"{away:+.4f}, at most 0 wanted"
        elif spread == 0:
            near, note = abs(away) < 1e-9, "exact" if abs(away) < 1e-9 else f"off by {away:+.4f}"
        else:
            near, note = abs(away) <= 2 * spread, f"{away / spread:+.2f}"
        good &= near
        print(f"  {name:<12}{mean:>11.4f} ± {spread:.4f}{ours[name]:>12.4f}{note:>28}{'' if near else '  TOO FAR'}")
    return good


def report(model: Model, count: int = 4096) -> bool:
    """Prints how near a model comes to the paper, everything exact but the last table; whether it is near enough."""
    good = True
    published = PUBLISHED["latency"]
    for heuristic in ("latency", "cost_aware"):
        row = pick(model, heuristic)
        ours = always(model, row)
        good &= table(f"{heuristic}: {model.names[row]} at every step", published | PUBLISHED[heuristic], ours)
        if heuristic == "cost_aware":
            print("  (components are compared with the latency baseline's: the paper prints none here)")
    order = np.argsort(model.immediate)
    costs = ", ".join(f"{model.names[row]} {model.immediate[row]:.4f}" for row in order)
    print(f"\nexpected immediate cost, what cost_aware compares: {costs}")

    optimum = solve_in_chunks(model, starts(model, count))
    ours = optimum.means(model.weights)
    good &= table(f"optimum, exact, over {count} quasi-random starts", PUBLISHED["learned"], ours)
    print("\ncalls of the optimum an episode: ", end="")
    print(", ".join(f"{name} {calls:.4f}" for name, calls in zip(model.names, optimum.calls.mean(1), strict=True)))
    failed = 1 - ours["success"]
    print(f"violation left by an episode that fails: {ours['violation'] / failed:.3f}")
    print(f"recursion against distribution: values differ by {abs(optimum.value.mean() - ours['total']):.1e}")

    print("\nthe optimum played, 5 seeds of 1,000 episodes: mean ± standard deviation over seeds")
    seeds = []
    for seed in range(5):
        costs, success = play(model, np.random.default_rng(seed), 1000)
        seeds.append([model.weights @ costs.mean(1), success.mean(), *costs.mean(1)])
    for name, mean, spread in zip(ours, np.mean(seeds, 0), np.std(seeds, 0), strict=True):
        print(f"  {name:<12}{mean:>10.4f} ± {spread:.4f}")
    print(f"\n{'near enough' if good else 'NOT near enough'}")
    return good


# The search -----------------------------------------------------------------------------------------------------

FREE = (
    ("drift", 0.26, 0.01, 3),
    ("failure", 0.07, 0.01, 3),
    ("latency", 3.0, 0.3, 2),
    ("retrieve", 2.0, 0.3, 2),
    ("compute", 2.0, 0.3, 2),
    ("evidence_low", 4.5, 1.0, 2),
    ("evidence_width", 3.0, 1.5, 2),
    ("arithmetic_low", 4.0, 1.0, 2),
    ("arithmetic_width", 5.0, 1.5, 2),
)
"""What the search varies: name, where it starts, how far it looks at first, decimals that are kept."""

TOLERANCE = 1.2
DOLLARS_A_SECOND = PUBLISHED["learned"]["money"][0] / PUBLISHED["learned"]["latency"][0]
CHEAP = (0.5, 0.1, 0.1)
"""Seconds, dollars and probability of failing of the tool that the latency baseline plays: a tenth of its column."""
CACHED_FAILURE = 0.099
"""The other cheap tool's: it must win the cost-aware rule, and its failures must stay near the same column."""

AIMS = {
    "latency": (25.2705, 1.0),
    "money": (8.2974, 0.35),
    "violation": (0.4607, 0.12),
    "failure": (0.5896, 0.02),
    "divergence": (3.3124, 0.008),
    "success": (0.9225, 0.0025),
    "baseline violation": (32.5507, 0.1),
    "standard error": (0.0, 0.0063),
}
"""The loss is Σ ((ours − aim) / scale)². The aims are the published means, but success a little above it, since
a trained policy stays below the optimum. The scales are tighter than the published spread where it is cheap to
come near. The last keeps the mean divergence of 5,000 episodes repeatable: its published band is narrow."""


def pushes(drift: Array, failure: float) -> float:
    """The push along coordinate 0 that gives a cheap tool the published divergence: (1 − p)‖drift‖ +
    p‖push − drift‖ = a tenth of it, where the drift lies along another coordinate.
    """
    size = float(np.linalg.norm(drift))
    missed = (PUBLISHED["latency"]["divergence"][0] / 10 - (1 - failure) * size) / failure
    return math.sqrt(max(0.0, missed**2 - size**2))


def family(x: Array) -> Model:
    """The environment that `FREE`'s numbers stand for: two cheap tools that push coordinate 0 (focus), two repair
    tools for coordinate 1 (evidence), along which the task drifts, and coordinate 2 (arithmetic).
    """
    drift, failure, latency, retrieve, compute, low_1, width_1, low_2, width_2 = np.abs(x)
    along = np.array([0.0, drift, 0.0])
    push = round(pushes(along, CHEAP[2]), 2)
    money = round(latency * DOLLARS_A_SECOND, 2)
    return Model(
        names=("quick_search", "cached_lookup", "retrieve", "compute"),
        latency=np.array([CHEAP[0], CHEAP[0], latency, latency]),
        money=np.array([CHEAP[1], CHEAP[1], money, money]),
        failure=np.array([CHEAP[2], CACHED_FAILURE, failure, failure]),
        shift=np.array([[push, 0, 0], [push, 0, 0], [0, -retrieve, 0], [0, 0, -compute]]),
        drift=along,
        low=np.array([TOLERANCE / 2, low_1, low_2]),
        high=np.array([TOLERANCE, low_1 + width_1, low_2 + width_2]),
        tolerance=np.full(3, TOLERANCE),
        weights=np.array([0.18, 0.3, 2.0, 1.0, 0.5]),
        horizon=10,
    )


def weaken_cached(model: Model) -> Model:
    """Gives the second cheap tool the push, in hundredths, that brings its total nearest to the published one."""

    def with_push(push: float) -> Model:
        shift = model.shift.copy()
        shift[1, 0] = push
        return replace(model, shift=shift)

    weaker = [with_push(round(model.shift[0, 0] - step / 100, 2)) for step in range(1, 15)]
    wanted = PUBLISHED["cost_aware"]["total"][0]
    return min(weaker, key=lambda candidate: abs(always(candidate, 1)["total"] - wanted))


def loss(x: Array, count: int) -> float:
    """How far the family's member is from the aims. Only the repair tools are solved: `report` checks the rest."""
    model = family(x)
    drift, failure, latency, *rest = np.abs(x)
    if not (0.01 < failure < 0.5 and latency > 0.5 and min(rest) > 0.05 and model.shift[0, 0] > 0.2):
        return 1e4
    if min(model.low[1:]) <= TOLERANCE:  # an untouched coordinate must stay violated under the baselines
        return 1e4
    if -model.shift.min() > 2 * TOLERANCE:  # a repair must not jump across the band: nothing would mend that
        return 1e4
    repair = model.only([2, 3])
    optimum = solve(repair, starts(repair, count))
    ours = optimum.means(model.weights)
    ours["baseline violation"] = always(model, 0)["violation"]
    # Variance of an episode's divergence: between starts, and from the luck of each call.
    jump = np.linalg.norm(repair.shift - repair.drift, axis=1) - drift
    luck = repair.failure * (1 - repair.failure) * jump**2
    ours["standard error"] = math.sqrt((optimum.components[4].var() + luck @ optimum.calls.mean(1)) / 5000)
    return sum(((ours[name] - aim) / scale) ** 2 for name, (aim, scale) in AIMS.items())


def search(seed: int, iterations: int, count: int = 512, population: int = 16) -> Array:
    """Minimises `loss` by CMA-ES (Hansen, arXiv:1604.00772) on one set of starts; the best x that it met."""
    rng = np.random.default_rng(seed)
    centre = np.array([begin for _, begin, _, _ in FREE])
    reach = np.array([far for _, _, far, _ in FREE])
    n, parents = len(FREE), population // 2
    share = np.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
    share /= share.sum()
    effective = 1 / (share**2).sum()
    path_rate = (4 + effective / n) / (n + 4 + 2 * effective / n)
    step_rate = (effective + 2) / (n + effective + 5)
    rank_one = 2 / ((n + 1.3) ** 2 + effective)
    rank_many = min(1 - rank_one, 2 * (effective - 2 + 1 / effective) / ((n + 2) ** 2 + effective))
    damping = 1 + 2 * max(0.0, math.sqrt((effective - 1) / (n + 1)) - 1) + step_rate
    length = math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n))

    mean, step, covariance = np.zeros(n), 1.0, np.eye(n)
    path, step_path = np.zeros(n), np.zeros(n)
    best, best_loss = centre, loss(centre, count)
    for iteration in range(iterations):
        squares, axes = np.linalg.eigh(covariance)
        sizes = np.sqrt(np.maximum(squares, 1e-20))
        moves = (rng.standard_normal((population, n)) * sizes) @ axes.T
        candidates = centre + reach * (mean + step * moves)
        losses = np.array([loss(x, count) for x in candidates])
        order = np.argsort(losses)
        if losses[order[0]] < best_loss:
            best, best_loss = candidates[order[0]], losses[order[0]]
        chosen = moves[order[:parents]]
        move = share @ chosen
        mean = mean + step * move
        whitened = axes @ ((axes.T @ move) / sizes)
        step_path = (1 - step_rate) * step_path + math.sqrt(step_rate * (2 - step_rate) * effective) * whitened
        norm = np.linalg.norm(step_path) / math.sqrt(1 - (1 - step_rate) ** (2 * iteration + 2))
        steady = norm / length < 1.4 + 2 / (n + 1)
        path = (1 - path_rate) * path + steady * math.sqrt(path_rate * (2 - path_rate) * effective) * move
        covariance = (
            (1 - rank_one - rank_many) * covariance
            + rank_one * (np.outer(path, path) + (not steady) * path_rate * (2 - path_rate) * covariance)
            + rank_many * (chosen.T * share) @ chosen
        )
        step *= math.exp(step_rate / damping * (np.linalg.norm(step_path) / length - 1))
        if iteration % 20 == 0 or iteration == iterations - 1:
            print(f"  iteration {iteration:>3}: loss {best_loss:.3f}", flush=True)
    return best


def round_off(x: Array, count: int = 1024) -> Array:
    """Rounds to the decimals of `FREE`, then walks the grid, one number or two at a time, while the loss falls."""
    grid = np.array([10.0**-decimals for *_, decimals in FREE])
    places = np.round(x / grid)

    def at(places: Array) -> float:
        return loss(places * grid, count)

    lowest = at(places)
    unit = np.eye(len(FREE))
    single = [sign * unit[i] for i in range(len(FREE)) for sign in (1, -1)]
    double = [a + b for a, b in itertools.combinations(single, 2) if (a + b).any()]
    moves = single + double
    improved = True
    while improved:
        improved = False
        for move in moves:
            if (now := at(places + move)) < lowest - 1e-9:
                places, lowest, improved = places + move, now, True
    print(f"  rounded: loss {lowest:.3f}")
    return places * grid


TEXT = '''\
title = "The paper's experiment: two cheap tools that lead astray, two dear ones that repair"
description = """
A task with three things wrong with it: `focus` (how far the work has strayed from the question), `evidence` (what is
still to be looked up; sources go stale, so that it drifts up at every step) and `arithmetic` (what is still to be
computed). Ten steps, tools only. Two tools are quick and cheap, and all that they do is to lead astray; two are slow
and dear, and each repairs one thing. A myopic rule never pays for the dear ones: the question is whether a policy
learns to, and which repair to leave undone when failures have eaten up the steps.

Calibrated against the paper's published tables, not published: the paper prints results, no parameters. The
heuristics' exact expectations and the exact optimum come near its columns, least so in the violation, of which the
optimum leaves far less than the published learned policy did; calibration/paper.py says how near. A real
system need not look like this one to give the same table.
"""
coordinates = ["focus", "evidence", "arithmetic"]
horizon = {horizon}
drift = {{ evidence = {drift} }}
start_low = {low}
start_high = {high}
tolerance = {tolerance}

[weights]
latency = 0.18
money = 0.3
violation = 2.0
failure = 1.0
divergence = 0.5
{rows}
[sources]
"coordinates" = "assumed: the paper names none"
"horizon" = "from the published table: the latency baseline's column is ten calls of one tool"
"weights" = "inferred: they turn published components into published totals, 69.5754 (to 0.0001), 10.2262 (to 0.021)"
"drift" = "calibrated against the published tables, not published"
"start_low" = "calibrated against the published tables, not published; focus: assumed, half the tolerance"
"start_high" = "calibrated against the published tables, not published; focus: assumed, the tolerance"
"tolerance" = "assumed; starts and shifts are calibrated given it"
"actions" = "calibrated against the published tables, not published"
"actions.quick_search.latency" = "from the published table: the latency baseline's 5.0 s are ten calls"
"actions.quick_search.money" = "from the published table: the latency baseline's $1.0 is ten calls"
"actions.quick_search.failure" = "from the published table: the latency baseline's 0.9992 failures in ten calls"
"actions.quick_search.shift" = "from the published divergence of the latency baseline, given the calibrated drift"
"actions.cached_lookup.latency" = "as quick_search: the paper prints no components for the cost-aware baseline"
"actions.cached_lookup.money" = "as quick_search"
"actions.cached_lookup.failure" = "assumed a little below quick_search's, so that the cost-aware rule picks it"
"actions.cached_lookup.shift" = "calibrated to the cost-aware baseline's published total"
"actions.retrieve.money" = "calibrated latency × the published ratio of dollars to seconds in the learned column"
"actions.compute.money" = "calibrated latency × the published ratio of dollars to seconds in the learned column"
'''


def to_toml(model: Model) -> str:
    """The scenario file of a member of the family."""
    coordinates = ("focus", "evidence", "arithmetic")

    def plain(value: float) -> str:
        return repr(round(float(value), 4))

    rows = ""
    for row, name in enumerate(model.names):
        axis = int(np.flatnonzero(model.shift[row])[0])
        rows += f'\n[actions.{name}]\nkind = "tool"\nlatency = {plain(model.latency[row])}\n'
        rows += f"money = {plain(model.money[row])}\nfailure = {plain(model.failure[row])}\n"
        rows += f"shift = {{ {coordinates[axis]} = {plain(model.shift[row, axis])} }}\n"
    return TEXT.format(
        horizon=model.horizon,
        drift=plain(model.drift[1]),
        low="[" + ", ".join(map(plain, model.low)) + "]",
        high="[" + ", ".join(map(plain, model.high)) + "]",
        tolerance=plain(model.tolerance[0]),
        rows=rows,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="How near the scenario `paper` comes to the paper's tables.")
    parser.add_argument("file", nargs="?", type=Path, default=SHIPPED, help="a scenario file (default: shipped)")
    parser.add_argument("--search", action="store_true", help="search for the numbers again instead of reading a file")
    parser.add_argument("--seed", type=int, default=3, help="the search's seed (default: 3, the shipped file's)")
    parser.add_argument("--iterations", type=int, default=120, help="the search's length (default: 120)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="with --search: write the scenario that it finds")
    options = parser.parse_args()
    if options.write and not options.search:
        parser.error("--write needs --search")
    if options.search:
        names = ", ".join(name for name, *_ in FREE)
        print(f"searching over {names}\nloss = Σ ((ours − aim) / scale)² with (aim, scale) = {AIMS}")
        model = weaken_cached(family(round_off(search(options.seed, options.iterations))))
        print("\n" + to_toml(model).split("[sources]")[0])
        if options.write:
            options.write.write_text(to_toml(model), "utf-8")
    else:
        try:
            model = read(options.file)
        except (OSError, KeyError, ValueError, tomllib.TOMLDecodeError) as error:
            print(f"{options.file}: {error}", file=sys.stderr)
            return 2
    return 0 if report(model) else 1


if __name__ == "__main__":
    sys.exit(main())
