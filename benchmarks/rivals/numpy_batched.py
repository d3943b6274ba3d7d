"""The environment in NumPy: single precision, episodes side by side along the last axis."""

from typing import Any

import numpy as np

from aljax.env import EnvParams

from rivals.bounds import check_plain, limit, over

State = dict[str, np.ndarray]


class Environment:
    """The same transition as `aljax.env`, one batch of episodes a call."""

    def __init__(self, params: EnvParams) -> None:
        """Takes parameters whose leaves are NumPy arrays."""
        check_plain(params)
        table = params.actions
        self.d, self.actions = params.drift.size, table.latency.size
        self.p, self.table = params, table
        self.gain, self.shift = np.ascontiguousarray(table.gain.T), np.ascontiguousarray(table.shift.T)
        self.drift, self.tolerance = params.drift[:, None], params.tolerance[:, None]
        self.z_scale, self.widest = params.z_scale[:, None], limit(self.tolerance)
        self.budgets = [(budget, limit(budget)) for budget in (params.latency_budget, params.money_budget)]
        self.noisy, self.misreads = bool(table.noise.any()), bool(params.misread.any())

    def begin(self, uniform: np.ndarray, normal: np.ndarray | None) -> State:
        """Starts episodes; `uniform` and `normal` are ``[d, B]``."""
        low, high = self.p.start_low[:, None], self.p.start_high[:, None]
        batch = uniform.shape[1]
        return {
            "z": low + (high - low) * uniform,
            "misread": np.zeros_like(uniform) if normal is None else self.p.misread[:, None] * normal,
            "latency": np.zeros(batch, np.float32),
            "money": np.zeros(batch, np.float32),
            "time": np.zeros(batch, np.int32),
            "done": np.zeros(batch, bool),
        }

    def step(
        self, state: State, action: np.ndarray, u: np.ndarray, epsilon: np.ndarray | None
    ) -> tuple[State, np.ndarray]:
        """Plays rows ``[B]``; `u` is ``[B]``, `epsilon` ``[d, B]``. Returns the state and the costs ``[5, B]``."""
        table, z, was = self.table, state["z"], state["done"]
        ends, resolves = table.ends[action], table.resolves[action]
        latency_cost, money_cost = table.latency[action], table.money[action]
        failed = (u < table.failure[action]) | ~table.allowed[action]
        worked = self.gain[:, action] * z + self.shift[:, action]
        planned = np.where(resolves, np.float32(0), np.where(ends, z, worked))
        after = worked + self.drift
        if epsilon is not None:
            after += table.noise[action] * epsilon
        after = np.where(ends, np.where(resolves, np.float32(0), z), after)
        after = np.where(failed, z + self.drift, after)
        latency, money = state["latency"] + latency_cost, state["money"] + money_cost
        time = state["time"] + 1
        excess = over(np.abs(after), self.tolerance, self.widest).sum(0)
        for spent, (budget, most) in zip((latency, money), self.budgets, strict=True):
            excess += over(spent, budget, most) / budget
        done = (excess == 0) | (ends & ~failed) | (time >= self.p.horizon)
        divergence = np.sqrt(((planned - after) ** 2).sum(0))
        costs = np.stack([latency_cost, money_cost, np.where(done, excess, np.float32(0)), failed, divergence])
        misread = state["misread"]
        if self.misreads:
            misread = np.where(was | failed | ~table.reveals[action], misread, np.float32(0))
        moved = {
            "z": np.where(was, z, after),
            "misread": misread,
            "latency": np.where(was, state["latency"], latency),
            "money": np.where(was, state["money"], money),
            "time": np.where(was, state["time"], time),
            "done": was | done,
        }
        return moved, np.where(was, np.float32(0), costs)

    def observe(self, state: State) -> np.ndarray:
        """What the policy sees, ``[2 d + 3, B]``."""
        seen = state["z"] + state["misread"] if self.misreads else state["z"]
        out = np.empty((2 * self.d + 3, seen.shape[1]), np.float32)
        np.divide(seen, self.z_scale, out=out[: self.d])
        out[self.d] = state["latency"] / self.p.latency_scale
        out[self.d + 1] = state["money"] / self.p.money_scale
        out[self.d + 2 : 2 * self.d + 2] = np.abs(seen) > self.widest
        out[2 * self.d + 2] = state["time"] / self.p.horizon
        return out

    def play(self, rng: np.random.Generator, episodes: int, steps: int) -> dict[str, Any]:
        """Plays random actions, all chance drawn as it is needed: end states, and sums of what was seen and paid."""

        def draw(*shape: int) -> np.ndarray:
            return rng.random(shape, np.float32)

        normal = rng.standard_normal((self.d, episodes), np.float32) if self.misreads else None
        state = self.begin(draw(self.d, episodes), normal)
        seen, paid = self.observe(state), np.zeros((5, episodes), np.float32)
        for _ in range(steps):
            action = (draw(episodes) * self.actions).astype(np.int32)
            epsilon = rng.standard_normal((self.d, episodes), np.float32) if self.noisy else None
            state, costs = self.step(state, action, draw(episodes), epsilon)
            seen += self.observe(state)
            paid += costs
        return {"final": state, "seen": seen, "paid": paid}

    def play_given(
        self,
        uniform: np.ndarray,
        normal: np.ndarray,
        actions: np.ndarray,
        u: np.ndarray,
        epsilon: np.ndarray,
    ) -> dict[str, Any]:
        """Plays given actions ``[T, B]`` with given luck, to be compared with another environment."""
        state = self.begin(uniform, normal)
        seen, paid = self.observe(state), np.zeros((5, uniform.shape[1]), np.float32)
        for t in range(len(actions)):
            state, costs = self.step(state, actions[t], u[t], epsilon[t])
            seen += self.observe(state)
            paid += costs
        return {"final": state, "seen": seen, "paid": paid}
