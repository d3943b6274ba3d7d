"""Times environments stepped from the host through Gymnasium's interface, and compares them to the last bit.

Stepping: our `VectorEnv`, Gymnasium's `SyncVectorEnv` of our `Env`, and CartPole as Gymnasium itself has it, in NumPy
and one after the other. They take turns, so that whatever else the machine does meets all of them. Comparing:
`VectorEnv` beside `SyncVectorEnv` in all three modes over many steps of every scenario. See ``benchmarks/README.md``.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from aljax.adapters.gymnasium import Env, VectorEnv
from aljax.errors import UserError
from aljax.host.files import check_writable, write_json
from aljax.scenario import scenario_names

from receipts import machine, versions

SCENARIO = "paper"


def contestants(size: int) -> dict[str, Any]:
    """Vector environments by name, each with how many steps of it are timed at a time."""
    cartpole = {
        mode: gymnasium.make_vec("CartPole-v1", size, vectorization_mode=mode)
        for mode in ("sync", "vector_entry_point")
    }
    return {
        "aljax VectorEnv": (VectorEnv(SCENARIO, num_envs=size), 20),
        "aljax VectorEnv, same step": (
            VectorEnv(SCENARIO, num_envs=size, autoreset_mode=AutoresetMode.SAME_STEP), 20
        ),
        "aljax Env in SyncVectorEnv": (SyncVectorEnv([lambda: Env(SCENARIO)] * size), 1),
        "CartPole in SyncVectorEnv": (cartpole["sync"], 2),
        "CartPole's own VectorEnv": (cartpole["vector_entry_point"], 20),
    }  # fmt: skip


def stepping(size: int, repeats: int) -> dict[str, Any]:
    """Seconds a step of all environments, contestant by contestant."""
    envs, rng = contestants(size), np.random.default_rng(0)
    spent: dict[str, list[float]] = {name: [] for name in envs}
    for env, _ in envs.values():
        env.reset(seed=0)
    for repeat in range(repeats + 1):
        for name, (env, steps) in envs.items():
            actions = rng.integers(0, env.single_action_space.n, (steps, size))
            begin = time.perf_counter()
            for action in actions:
                env.step(action)
            if repeat:  # the first compiles
                spent[name].append((time.perf_counter() - begin) / steps)
    ours = np.array(spent["aljax VectorEnv"])
    return {
        name: {
            "us_a_step": round(1e6 * float(np.median(seconds)), 1),
            "us_at_best": round(1e6 * min(seconds), 1),
            "steps_a_second": round(size / float(np.median(seconds))),
            "times_as_long_as_ours": round(float(np.median(np.array(seconds) / ours)), 3),
            "seconds": seconds,
        }
        for name, seconds in spent.items()
    }


def difference(found: Any, wanted: Any) -> str | None:
    """Where two results differ in type, key or bit; None: nowhere."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict) or found.keys() != wanted.keys():
            return "keys"
        pairs = {str(key): (found[key], wanted[key]) for key in wanted}
    elif isinstance(wanted, tuple) or (isinstance(wanted, np.ndarray) and wanted.dtype == object):
        if type(found) is not type(wanted) or len(found) != len(wanted):
            return "length"
        pairs = {str(i): pair for i, pair in enumerate(zip(found, wanted, strict=True))}
    elif isinstance(wanted, np.ndarray):
        same = isinstance(found, np.ndarray) and (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        return None if same and found.tobytes() == wanted.tobytes() else "bits"
    else:
        return None if type(found) is type(wanted) and found == wanted else "value"
    deeper = ((key, difference(*pair)) for key, pair in pairs.items())
    return next((f"{key}: {what}" for key, what in deeper if what), None)


def compared(name: str, mode: AutoresetMode, size: int, steps: int) -> dict[str, int]:
    """Steps and ends of a scenario's environments, alike to the last bit.

    Raises:
      UserError: they are not.
    """
    many = VectorEnv(name, num_envs=size, autoreset_mode=mode)
    single = SyncVectorEnv([lambda: Env(name)] * size, autoreset_mode=mode)
    rng, ends = np.random.default_rng(0), 0

    def check(what: str, of: Callable[[Any], Any]) -> Any:
        found = of(many)
        where = difference(found, of(single))
        if where:
            raise UserError(f"{name}, {mode.value}, {what}: {where} differ")
        return found

    check("reset", lambda env: env.reset(seed=1))
    for step in range(steps):
        actions = rng.integers(0, many.single_action_space.n, size)
        ended = check(f"step {step}", lambda env, actions=actions: env.step(actions))[2]
        ends += int(ended.sum())
        if mode == AutoresetMode.DISABLED and ended.any():
            check(f"reset {step}", lambda env, ended=ended: env.reset(options={"reset_mask": ended.copy()}))
    return {"steps": steps * size, "episodes_ended": ends}


def main() -> None:
    """Compares, times, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--compared-envs", type=int, default=20)
    parser.add_argument("--compared-steps", type=int, default=500, help="of each environment, in each mode")
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.json:
        check_writable(options.json)
    given = {name: value for name, value in vars(options).items() if name != "json"}
    found: dict[str, Any] = {"machine": machine(), "versions": versions(("gymnasium",)), "options": given}
    found["stepping"] = stepping(options.envs, options.repeats)
    for name, row in found["stepping"].items():
        print(f"{name:28} {row['us_a_step']:>10} us a step, {row['times_as_long_as_ours']:>8} times as long as ours")
    found["compared"] = {}
    for name in scenario_names():
        for mode in AutoresetMode:
            row = compared(name, mode, options.compared_envs, options.compared_steps)
            found["compared"][f"{name}, {mode.value}"] = row
            print(f"{name:14} {mode.value:10} alike to the last bit: {row}", flush=True)
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
