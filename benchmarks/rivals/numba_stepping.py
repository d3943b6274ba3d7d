"""The environment in Numba: loops over episodes in machine code, for environments of three coordinates.

``advance`` is `aljax.env.transition` and what `aljax.env.observe` shows, written out in scalars so that an episode
stays in registers. Every other function plays whole batches with it: on given luck, to be compared; drawing
everything that aljax draws, with NumPy's generators as Numba provides them (`play_all`); and as fast as we could
make it (`play_fast`): an inlined xorshift generator of a few instructions, normal numbers only for rows that have
noise, and finished episodes left at once.

Infinite budgets are passed as reciprocals, 0, for ``fastmath`` supposes that nothing is infinite.
"""

from typing import Any

import numba
import numpy as np
from numba import float32, int32, njit, prange, uint32

from aljax.env import SLACK, EnvParams

from rivals.bounds import check_plain, limit

LATENCY, MONEY, FAILURE, NOISE, ENDS, RESOLVES, REVEALS, ALLOWED, GAIN, SHIFT = 0, 1, 2, 3, 4, 5, 6, 7, 8, 11
BLOCK = 256  # episodes that one thread takes at a time


def arrays(params: EnvParams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An environment, its leaves NumPy arrays, as the loops take it: table ``[A, 14]``, vectors, numbers.

    Raises:
      ValueError: the task has not three coordinates.
    """
    check_plain(params)
    if params.drift.size != 3:
        raise ValueError(f"the Numba loops are written out for 3 coordinates, got {params.drift.size}")
    t = params.actions
    columns = (t.latency, t.money, t.failure, t.noise, t.ends, t.resolves, t.reveals, t.allowed)
    table = np.concatenate([np.stack(columns, 1), t.gain, t.shift], 1)
    vectors = np.stack(
        [params.drift, params.start_low, params.start_high - params.start_low, params.misread, params.tolerance,
         1 / params.z_scale, limit(params.tolerance)]
    )  # fmt: skip
    budgets = np.stack([params.latency_budget, params.money_budget])
    shares = 1 + SLACK * np.maximum(1, 1 / budgets)  # their limits over themselves
    numbers = np.array([*1 / budgets, 1 / params.latency_scale, 1 / params.money_scale, params.horizon, *shares])
    return table.astype(np.float32), vectors.astype(np.float32), numbers.astype(np.float32)


@njit(fastmath=True, inline="always")
def _over(x, bound, limit):
    return x - bound if x > limit else float32(0)


@njit(fastmath=True, inline="always")
def _squared(x):
    return x * x


@njit(fastmath=True)
def advance(table, v, n, z0, z1, z2, latency, money, time, a, u, e0, e1, e2):
    """One step of an episode that is not over.

    Returns:
      z (three), latency, money, time, done, whether misreading is cleared, and the costs of
      violation, failure and divergence.
    """
    failed = u < table[a, FAILURE] or table[a, ALLOWED] == float32(0)
    ends, resolves, noise = table[a, ENDS] != float32(0), table[a, RESOLVES] != float32(0), table[a, NOISE]
    w0 = table[a, GAIN] * z0 + table[a, SHIFT]
    w1 = table[a, GAIN + 1] * z1 + table[a, SHIFT + 1]
    w2 = table[a, GAIN + 2] * z2 + table[a, SHIFT + 2]
    if resolves:
        p0 = p1 = p2 = float32(0)
    elif ends:
        p0, p1, p2 = z0, z1, z2
    else:
        p0, p1, p2 = w0, w1, w2
    if failed:
        x0, x1, x2 = z0 + v[0, 0], z1 + v[0, 1], z2 + v[0, 2]
    elif ends:
        if resolves:
            x0 = x1 = x2 = float32(0)
        else:
            x0, x1, x2 = z0, z1, z2
    else:
        x0, x1, x2 = w0 + noise * e0 + v[0, 0], w1 + noise * e1 + v[0, 1], w2 + noise * e2 + v[0, 2]
    latency, money, time = latency + table[a, LATENCY], money + table[a, MONEY], time + int32(1)
    excess = _over(abs(x0), v[4, 0], v[6, 0]) + _over(abs(x1), v[4, 1], v[6, 1]) + _over(abs(x2), v[4, 2], v[6, 2])
    excess += _over(latency * n[0], float32(1), n[5]) + _over(money * n[1], float32(1), n[6])
    done = excess == float32(0) or (ends and not failed) or float32(time) >= n[4]
    divergence = np.sqrt(_squared(p0 - x0) + _squared(p1 - x1) + _squared(p2 - x2))
    cleared = not failed and table[a, REVEALS] != float32(0)
    return (
        x0, x1, x2, latency, money, time, done, cleared,
        excess if done else float32(0), float32(1) if failed else float32(0), divergence,
    )  # fmt: skip


@njit(fastmath=True, inline="always")
def _see(seen, v, n, z0, z1, z2, m0, m1, m2, latency, money, time):
    """Adds an observation to the sums of one episode."""
    s0, s1, s2 = z0 + m0, z1 + m1, z2 + m2
    seen[0] += s0 * v[5, 0]
    seen[1] += s1 * v[5, 1]
    seen[2] += s2 * v[5, 2]
    seen[3] += latency * n[2]
    seen[4] += money * n[3]
    seen[5] += float32(1) if abs(s0) > v[6, 0] else float32(0)
    seen[6] += float32(1) if abs(s1) > v[6, 1] else float32(0)
    seen[7] += float32(1) if abs(s2) > v[6, 2] else float32(0)
    seen[8] += float32(time) / n[4]


@njit(fastmath=True, inline="always")
def _pay(paid, table, a, violation, failure, divergence):
    """Adds a step's costs to the sums of one episode."""
    paid[0] += table[a, LATENCY]
    paid[1] += table[a, MONEY]
    paid[2] += violation
    paid[3] += failure
    paid[4] += divergence


@njit(fastmath=True, inline="always")
def _keep(final, z0, z1, z2, m0, m1, m2, latency, money, time, done):
    """Stores the state in which an episode ended."""
    final[0], final[1], final[2], final[3], final[4], final[5] = z0, z1, z2, m0, m1, m2
    final[6], final[7], final[8] = latency, money, time
    final[9] = float32(1) if done else float32(0)


@njit(fastmath=True, parallel=True, cache=True)
def play_given(table, v, n, uniform, normal, actions, us, epsilon):
    """Plays given actions ``[T, B]`` with given luck. Returns end states, sums of observations and of costs."""
    T, B = actions.shape
    final, seen, paid = (
        np.zeros((B, 10), np.float32),
        np.zeros((B, 9), np.float32),
        np.zeros((B, 5), np.float32),
    )
    for b in prange(B):
        z0, z1, z2 = (
            v[1, 0] + v[2, 0] * uniform[0, b],
            v[1, 1] + v[2, 1] * uniform[1, b],
            v[1, 2] + v[2, 2] * uniform[2, b],
        )
        m0, m1, m2 = v[3, 0] * normal[0, b], v[3, 1] * normal[1, b], v[3, 2] * normal[2, b]
        latency = money = float32(0)
        time, done = int32(0), False
        _see(seen[b], v, n, z0, z1, z2, m0, m1, m2, latency, money, time)
        for t in range(T):
            if not done:
                a = actions[t, b]
                z0, z1, z2, latency, money, time, done, cleared, violation, failure, divergence = advance(
                    table, v, n, z0, z1, z2, latency, money, time, a, us[t, b],
                    epsilon[t, 0, b], epsilon[t, 1, b], epsilon[t, 2, b],
                )  # fmt: skip
                if cleared:
                    m0 = m1 = m2 = float32(0)
                _pay(paid[b], table, a, violation, failure, divergence)
            _see(seen[b], v, n, z0, z1, z2, m0, m1, m2, latency, money, time)
        _keep(final[b], z0, z1, z2, m0, m1, m2, latency, money, time, done)
    return final, seen, paid


@njit(fastmath=True, parallel=True, cache=True)
def play_all(table, v, n, B, T, seed):
    """Plays random actions, drawing all that aljax draws, whether it is used or not. Returns as `play_given`."""
    A = len(table)
    final, seen, paid = np.zeros((B, 10), np.float32), np.zeros((B, 9), np.float32), np.zeros((B, 5), np.float32)
    for block in prange((B + BLOCK - 1) // BLOCK):
        np.random.seed(seed + block)
        for b in range(block * BLOCK, min(B, (block + 1) * BLOCK)):
            z0 = v[1, 0] + v[2, 0] * float32(np.random.random())
            z1 = v[1, 1] + v[2, 1] * float32(np.random.random())
            z2 = v[1, 2] + v[2, 2] * float32(np.random.random())
            m0 = v[3, 0] * float32(np.random.standard_normal())
            m1 = v[3, 1] * float32(np.random.standard_normal())
            m2 = v[3, 2] * float32(np.random.standard_normal())
            latency = money = float32(0)
            time, done = int32(0), False
            _see(seen[b], v, n, z0, z1, z2, m0, m1, m2, latency, money, time)
            for _ in range(T):
                a, u = int32(np.random.random() * A), float32(np.random.random())
                e0 = float32(np.random.standard_normal())
                e1 = float32(np.random.standard_normal())
                e2 = float32(np.random.standard_normal())
                if not done:
                    z0, z1, z2, latency, money, time, done, cleared, violation, failure, divergence = advance(
                        table, v, n, z0, z1, z2, latency, money, time, a, u, e0, e1, e2
                    )
                    if cleared:
                        m0 = m1 = m2 = float32(0)
                    _pay(paid[b], table, a, violation, failure, divergence)
                _see(seen[b], v, n, z0, z1, z2, m0, m1, m2, latency, money, time)
            _keep(final[b], z0, z1, z2, m0, m1, m2, latency, money, time, done)
    return final, seen, paid


@njit(fastmath=True, inline="always")
def _shift(x):
    """The next state of a 32-bit xorshift generator."""
    x ^= uint32(x << uint32(13))
    x ^= uint32(x >> uint32(17))
    x ^= uint32(x << uint32(5))
    return uint32(x)


@njit(fastmath=True, inline="always")
def _unit(x):
    """A number on [0, 1) from 24 bits."""
    return float32(x >> uint32(8)) * float32(1 / 16777216)


@njit(fastmath=True, inline="always")
def _mixed(x):
    """A start for the generator, well mixed and not 0, from a counter."""
    x = uint32((uint32(x) ^ uint32(x >> uint32(16))) * uint32(0x7FEB352D))
    x = uint32((x ^ uint32(x >> uint32(15))) * uint32(0x846CA68B))
    return uint32(x ^ uint32(x >> uint32(16))) | uint32(1)


@njit(fastmath=True)
def _normal(x, y):
    """A standard normal number from two generator states (Box and Muller)."""
    radius = np.sqrt(float32(-2) * np.log(_unit(x) + float32(6e-8)))
    return radius * np.cos(float32(6.2831855) * _unit(y))


@njit(fastmath=True, parallel=True, cache=True)
def play_fast(table, v, n, B, T, seed):
    """Plays random actions, drawing no more than is needed and leaving an episode when it ends.

    Returns:
      As `play_given`, but that what is seen after an episode's end is not added again.
    """
    A = len(table)
    final, seen, paid = np.zeros((B, 10), np.float32), np.zeros((B, 9), np.float32), np.zeros((B, 5), np.float32)
    misreads = v[3, 0] != float32(0) or v[3, 1] != float32(0) or v[3, 2] != float32(0)
    rows = uint32(A)
    for block in prange((B + BLOCK - 1) // BLOCK):
        sums, costs = np.empty(9, np.float32), np.empty(5, np.float32)
        for b in range(block * BLOCK, min(B, (block + 1) * BLOCK)):
            r0 = _shift(_mixed(uint32(seed + b)))
            r1 = _shift(r0)
            r2 = _shift(r1)
            z0, z1, z2 = v[1, 0] + v[2, 0] * _unit(r0), v[1, 1] + v[2, 1] * _unit(r1), v[1, 2] + v[2, 2] * _unit(r2)
            m0 = m1 = m2 = float32(0)
            if misreads:
                r0 = _shift(r2)
                r1 = _shift(r0)
                m0 = v[3, 0] * _normal(r0, r1)
                r0 = _shift(r1)
                r1 = _shift(r0)
                m1 = v[3, 1] * _normal(r0, r1)
                r0 = _shift(r1)
                r2 = _shift(r0)
                m2 = v[3, 2] * _normal(r0, r2)
            x = r2
            latency = money = float32(0)
            time, done = int32(0), False
            sums[:] = float32(0)
            costs[:] = float32(0)
            _see(sums, v, n, z0, z1, z2, m0, m1, m2, latency, money, time)
            for _ in range(T):
                x = _shift(x)
                a = int32(uint32(x >> uint32(16)) * rows >> uint32(16))
                x = _shift(x)
                u = _unit(x)
                e0 = e1 = e2 = float32(0)
                if table[a, NOISE] != float32(0):
                    r0 = _shift(x)
                    r1 = _shift(r0)
                    e0 = _normal(r0, r1)
                    r0 = _shift(r1)
                    r1 = _shift(r0)
                    e1 = _normal(r0, r1)
                    r0 = _shift(r1)
                    x = _shift(r0)
                    e2 = _normal(r0, x)
                z0, z1, z2, latency, money, time, done, cleared, violation, failure, divergence = advance(
                    table, v, n, z0, z1, z2, latency, money, time, a, u, e0, e1, e2
                )
                if cleared:
                    m0 = m1 = m2 = float32(0)
                _pay(costs, table, a, violation, failure, divergence)
                _see(sums, v, n, z0, z1, z2, m0, m1, m2, latency, money, time)
                if done:
                    break
            _keep(final[b], z0, z1, z2, m0, m1, m2, latency, money, time, done)
            seen[b, :] = sums
            paid[b, :] = costs
    return final, seen, paid


def set_threads(threads: int) -> int:
    """Uses so many threads, or as many as Numba started with; returns how many."""
    found = min(threads, numba.config.NUMBA_NUM_THREADS)
    numba.set_num_threads(found)
    return found


def named(result: Any) -> dict[str, Any]:
    """What a function above returned, under the names and in the shapes of the NumPy environment."""
    final, seen, paid = result
    state = {
        "z": final[:, :3].T,
        "misread": final[:, 3:6].T,
        "latency": final[:, 6],
        "money": final[:, 7],
        "time": final[:, 8].astype(np.int32),
        "done": final[:, 9] != 0,
    }
    return {"final": state, "seen": seen.T, "paid": paid.T}
