"""Logged episodes into files: JSON lines as `aljax.logs.agent_log` reads them, with what learning needs besides.

A log to learn from also has what the policy is to see, ``observation``, and the plan's ``divergence``; its ``end`` has
``success`` and ``violation``, and says by ``scenario`` and ``digest`` which scenario all of that belongs to, the first
one in full (``environment``). Where several loggers' probabilities are known, ``probabilities`` has them by name. See
docs/reference/log_files.md.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import orjson

from aljax.errors import UserError, plain_path
from aljax.logs.lines import created
from aljax.offline.data import Log
from aljax.offline.identity import identity_of
from aljax.scenario import Scenario


class TakenError(UserError):
    """A file stands where one was to be written."""


def write_log(path: str | Path, log: Log, scenario: Scenario, *, overwrite: bool = True) -> None:
    """Writes a data set as JSON lines, gzipped if the name ends in ``.gz``, whole or not at all.

    Numbers are written so that reading gives the same float32.

    Args:
      path: where.
      log: the data set.
      scenario: whose it is.
      overwrite: replace a file that is there when this one is complete.

    Raises:
      UserError: the place cannot be written.
      TakenError: a file is there, and may not be replaced.
    """
    with created(path) as stream:
        stream.writelines(_lines(log, scenario))
        if not overwrite and Path(path).is_file():
            raise TakenError(f"{plain_path(path)}: already exists")


def _lines(log: Log, scenario: Scenario) -> Iterator[bytes]:
    """The rows of a file, with line ends."""
    episodes = jax.tree.map(np.asarray, log.episodes)
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
    identity = identity_of(scenario)
    used: dict[str, int] = {}
    for n in range(len(episodes)):
        logger, task = log.loggers[episodes.logger[n]], log.tasks[episodes.task[n]]
        name = f"{logger}/{task}"
        used[name] = used.get(name, 0) + 1
        about = {"episode": name if used[name] == 1 else f"{name}/{used[name]}", "task": task, "logger": logger}
        steps = int(episodes.alive[n].sum())
        for t in range(steps):
            action, costs, known = episodes.action[n, t], episodes.costs[n, t], episodes.probability[n, t]
            row = about | {
                "t": t,
                "kind": scenario.kinds[action],
                "name": scenario.action_names[action],
                "ok": bool(costs[3] == 0),
                "latency_s": costs[0],
                "cost_usd": costs[1],
                "divergence": costs[4],
                "observation": np.ascontiguousarray(episodes.observation[n, t]),
            }
            if costs[2] != 0 and t + 1 < steps:  # a soft rule was broken; what the last step cost, the end says
                row["violation"] = costs[2]
            if math.isfinite(known[episodes.logger[n]]):
                row["probability"] = known[episodes.logger[n]]
            if len(log.loggers) > 1 and np.isfinite(known).any():
                row["probabilities"] = {
                    name: value for name, value in zip(log.loggers, known, strict=True) if math.isfinite(value)
                }
            yield orjson.dumps(row, option=options)
        end = {
            "kind": "end",
            "success": bool(episodes.success[n]),
            "violation": episodes.costs[n, :steps, 2].sum(),
            "scenario": scenario.name,
            "digest": identity.digest,
        }
        if n == 0:
            end["environment"] = identity.to_json()
        yield orjson.dumps(about | end, option=options)
