"""What an accepted input must be: worked out from the file once more, by other means than the library's own.

Each function returns what is wrong, a sentence a fault; none: the library was right to accept.
"""

import gzip
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import msgpack
import numpy as np

from aljax import env
from aljax.env import EnvParams
from aljax.offline.data import Log
from aljax.scenario import Scenario

_ROUNDED = 1e-5
"""What may be an effect of rounding where somebody else wrote the log."""
LEAST = float(np.finfo(np.float32).tiny)
"""What is divided by must be a normal number: processors take smaller ones for 0."""

_FLAGS = {"reveals": ("clarify",), "ends": ("escalate", "terminate"), "resolves": ("escalate",)}
_ROW_FLAGS = ("ends", "resolves", "reveals", "allowed", "requires", "blind", "auto_end")
_VECTORS = ("drift", "start_low", "start_high", "misread", "tolerance", "tolerance_low", "blind", "z_scale")
_CHANCES = ("failure", "after_ok", "after_failed")
_COLUMNS = {
    "after_ok": "failure", "after_failed": "failure", "failure_latency": "latency", "failure_money": "money",
    "latency_growth": 0.0, "money_growth": 0.0, "latency_spread": 0.0, "timeout": math.inf, "mean_uptime": math.inf,
    "mean_downtime": 0.0, "rate_limit": math.inf, "rate_burst": 1.0, "max_calls": math.inf,
}  # fmt: skip
"""Columns that are there where a row gives them: what another row has then, or the column that says it."""
_TOGETHER = (("mean_uptime", "mean_downtime"), ("rate_limit", "rate_burst"))
_NOT_NEGATIVE = (
    "misread", "tolerance", "tolerance_low", "weights", "latency", "money", "noise", *_CHANCES, "failure_latency",
    "failure_money", "latency_growth", "money_growth", "latency_spread", "mean_downtime", "start_weights",
)  # fmt: skip
_POSITIVE = (
    "z_scale", "latency_scale", "money_scale", "latency_budget", "money_budget", "latency_limit", "money_limit",
    "timeout", "mean_uptime", "rate_limit", "rate_burst", "max_calls",
)  # fmt: skip
_ENDLESS = (
    "latency_budget", "money_budget", "latency_limit", "money_limit", "timeout", "mean_uptime", "rate_limit",
    "max_calls", "tolerance_low",
)  # fmt: skip


class UnexpectedError(Exception):
    """The file does not say what the library took from it."""


def scenario(found: Scenario, raw: Mapping[str, Any]) -> list[str]:
    """A scenario against its parsed file, overrides applied."""
    params = jax.tree.map(np.asarray, found.params)
    wrong = environment(params)
    if len(set(found.action_names)) < len(found.action_names) or not all(found.action_names):
        wrong.append("action names are not different and not empty")
    if len(set(found.coordinate_names)) < len(found.coordinate_names) or not all(found.coordinate_names):
        wrong.append("coordinate names are not different and not empty")
    sizes = (env.num_actions(params), env.num_coordinates(params))
    if sizes != (len(found.action_names), len(found.coordinate_names)) or len(found.kinds) != sizes[0]:
        wrong.append("names do not count what arrays do")
    try:
        expected = _numbers(raw)
    except (UnexpectedError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        return [*wrong, f"accepted, but the file does not say so: {type(error).__name__} {str(error)[:100]}"]
    given = {**vars(params.actions), **{name: value for name, value in vars(params).items() if name != "actions"}}
    wrong += ruled(params, raw, found.action_names)
    for name, value in expected.items():
        with np.errstate(over="ignore", under="ignore"):
            wanted = np.asarray(value).astype(given[name].dtype)
        if wanted.shape != given[name].shape or not np.array_equal(wanted, given[name]):
            wrong.append(f"{name} is not what the file says")
    return wrong


def environment(params: EnvParams) -> list[str]:
    """Shapes, types and ranges of an environment's arrays."""
    A, d = env.num_actions(params), env.num_coordinates(params)
    table, wrong = params.actions, []
    shapes = dict.fromkeys(vars(table), (A,)) | dict.fromkeys(("gain", "shift", "requires"), (A, d))
    shapes |= dict.fromkeys(_VECTORS, (d,)) | {"weights": (5,)}
    if params.start_points is not None:
        shapes |= {"start_points": (len(params.start_points), d), "start_weights": (len(params.start_points),)}
    values = {**vars(table), **{name: value for name, value in vars(params).items() if name != "actions"}}
    for name, value in values.items():
        if value is None or name == "rules":  # a field that the scenario does not have; and see `ruled`
            continue
        kind = bool if name in _ROW_FLAGS else np.int32 if name == "horizon" else np.float32
        if value.dtype != kind or value.shape != shapes.get(name, ()):
            wrong.append(f"{name} is {value.dtype} of shape {value.shape}")
        if kind is not np.float32:
            continue
        if np.isnan(value).any() or (
            np.isinf(value).any() and not (name in _ENDLESS and (value > 0)[np.isinf(value)].all())
        ):
            wrong.append(f"{name} is not finite")
        if name in _NOT_NEGATIVE and (value < 0).any():
            wrong.append(f"{name} is negative")
        if name in _POSITIVE and (value < LEAST).any():
            wrong.append(f"{name} is too small to divide by")
        if name in _CHANCES and (value > 1).any():
            wrong.append(f"{name} is above 1")
    if not 1 <= params.horizon <= 100_000:
        wrong.append("horizon is out of range")
    if (params.start_low > params.start_high).any():
        wrong.append("start_low is above start_high")
    if not table.allowed.any():
        wrong.append("no action is allowed")
    if (table.resolves & ~table.ends).any():
        wrong.append("a row resolves and does not end")
    return wrong


def ruled(params: EnvParams, raw: Mapping[str, Any], rows: Sequence[str]) -> list[str]:
    """The rules against those of the file."""
    said = raw.get("rules", [])
    if params.rules is None or not said:
        return (
            [] if params.rules is None and not said else ["rules that the file does not have, or none of those it has"]
        )
    wrong, each = [], params.rules.structure.each
    if len(each) != len(said):
        return [f"{len(each)} rules, and {len(said)} in the file"]
    seconds = []
    for number, (rule, body) in enumerate(zip(each, said, strict=True)):
        hard, on_call = body.get("mode", "hard") == "hard", body.get("on", "success") == "call"
        names = rows[rule.a], None if rule.b is None else rows[rule.b]
        if (rule.template, *names) != (body.get("template"), body.get("a"), body.get("b")):
            wrong.append(f"rule {number} is of another template or of other rows")
        if (rule.hard, rule.on_call, rule.timed) != (hard, on_call, "seconds" in body):
            wrong.append(f"rule {number} has another mode, other occurrences, or counts otherwise")
        if not rule.timed and rule.n != body.get("steps", body.get("n", 1)):
            wrong.append(f"rule {number} has another number")
        if params.rules.weight[number] != np.float32(1.0 if hard else body.get("weight", 1.0)):
            wrong.append(f"rule {number} has another weight")
        seconds += [body["seconds"]] if rule.timed else []
    lasting = np.zeros(0, np.float32) if params.rules.seconds is None else params.rules.seconds
    if not np.array_equal(lasting, np.asarray(seconds, np.float32)):
        wrong.append("cooldowns last otherwise than the file says")
    for name, value in (("weight", params.rules.weight), ("seconds", lasting)):
        if value.dtype != np.float32 or not np.isfinite(value).all() or (value < 0).any():
            wrong.append(f"rules.{name} is {value.dtype}, not finite or negative")
    return wrong


def _numbers(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Every array of an environment, as a file's tables say, in double precision."""
    names = raw["coordinates"]
    if not isinstance(names, list):
        raise UnexpectedError("coordinates are no list")

    def number(value: Any) -> float:
        if type(value) not in (int, float):
            raise UnexpectedError(f"no number: {value!r}"[:80])
        return float(value)

    def vector(value: Any, absent: float | None = None) -> list[float]:
        if isinstance(value, dict):
            if set(value) - set(names) or (absent is None and set(names) - set(value)):
                raise UnexpectedError("a table of other coordinates")
            return [number(value.get(name, absent)) for name in names]
        if isinstance(value, list):
            if len(value) != len(names):
                raise UnexpectedError("a list of another length")
            return [number(x) for x in value]
        return [number(value)] * len(names)

    def flags(value: Any) -> list[bool]:
        if isinstance(value, dict):
            value = [value.get(name, False) for name in names]
        elif isinstance(value, list) and value and all(isinstance(name, str) for name in value):
            value = [name in value for name in names]
        found = value if isinstance(value, list) else [value] * len(names)
        if any(type(each) is not bool for each in found):
            raise UnexpectedError("a flag is no truth")
        return found

    if type(raw["horizon"]) is not int or not isinstance(raw["actions"], dict):
        raise UnexpectedError("no horizon or no actions")
    rows, found = list(raw["actions"].values()), {}
    for column in ("latency", "money"):
        found[column] = [number(row[column]) for row in rows]
    found["failure"] = [number(row.get("failure", 0.0)) for row in rows]
    given = {name for row in rows for name in row}
    given |= {name for both in _TOGETHER for name in both if given & {*both}}
    for column in given & _COLUMNS.keys():
        usual = _COLUMNS[column]
        same = found[usual] if isinstance(usual, str) else [usual] * len(rows)
        found[column] = [number(row.get(column, value)) for row, value in zip(rows, same, strict=True)]
    for column in given & {"requires"}:
        found[column] = [flags(row.get(column, False)) for row in rows]
    found["noise"] = [number(row.get("noise", 0.0)) for row in rows]
    for column, absent in (("gain", 1.0), ("shift", 0.0)):
        found[column] = [vector(row.get(column, absent), absent) for row in rows]
    for flag in ("ends", "resolves", "reveals", "allowed"):
        usual = [flag == "allowed" or row.get("kind", "tool") in _FLAGS.get(flag, ()) for row in rows]
        found[flag] = [row.get(flag, value) for row, value in zip(rows, usual, strict=True)]
        if any(type(value) is not bool for value in found[flag]):
            raise UnexpectedError(f"{flag} is no truth")
    found["tolerance"] = vector(raw["tolerance"])
    pointed = "start_points" in raw
    for name in ("start_low", "start_high"):
        found[name] = vector(raw.get(name, 0.0) if pointed else raw[name])
    if pointed:
        found["start_points"] = [vector(point) for point in raw["start_points"]]
    for name in ("drift", "misread"):
        found[name] = vector(raw.get(name, 0.0), 0.0)
    if "tolerance_low" in raw:
        low = raw["tolerance_low"]
        usual = dict(zip(names, found["tolerance"], strict=True))
        found["tolerance_low"] = vector(usual | low if isinstance(low, dict) else low)
    for name in ("latency_limit", "money_limit"):
        if name in raw:
            found[name] = number(raw[name])
    found["auto_end"] = raw.get("auto_end", True)
    if type(found["auto_end"]) is not bool:
        raise UnexpectedError("auto_end is no truth")
    low, high = (np.asarray(found[name]) for name in ("start_low", "start_high"))
    if pointed:
        low, high = low + np.min(found["start_points"], 0), high + np.max(found["start_points"], 0)
    reach = zip(low, high, found["tolerance"], strict=True)
    reach = [_scale(max(map(abs, each))) for each in reach]
    found["z_scale"] = vector(raw["z_scale"]) if "z_scale" in raw else reach
    for name in ("latency", "money"):
        found[f"{name}_budget"] = number(raw.get(f"{name}_budget", math.inf))
        growth = found.get(f"{name}_growth", [0.0] * len(rows))
        calls = zip(found[name], found.get(f"failure_{name}", found[name]), growth, strict=True)
        dearest = max(max(call[:2]) + call[2] * (raw["horizon"] - 1) / 2 for call in calls)
        found[f"{name}_scale"] = number(raw.get(f"{name}_scale", _scale(dearest * raw["horizon"])))
    weights = raw["weights"]
    if isinstance(weights, list):
        weights = dict(zip(env.COMPONENTS, weights, strict=True))
    if set(weights) != set(env.COMPONENTS):
        raise UnexpectedError("weights of other components")
    found["weights"] = [number(weights[name]) for name in env.COMPONENTS]
    return found | {"horizon": raw["horizon"]}


def _scale(reach: float) -> float:
    """A scale that the file leaves to what a number can come to; 1 where that is next to nothing."""
    return reach if reach >= 1e-9 else 1.0


def overridden(raw: dict[str, Any], settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A parsed file with ``key=value`` changes, keys split at dots and values parsed already."""
    names = raw["coordinates"]
    for key, value in settings:
        parts = key.strip().split(".")
        if parts[0] == "actions" and parts[1] not in raw["actions"]:
            parts[1], parts[2] = parts[2], parts[1]
        if parts[0] == "rules" and len(parts) == 3:
            raw["rules"] = [rule | {parts[2]: value} if _named(rule) == parts[1] else rule for rule in raw["rules"]]
            continue
        target = raw
        for depth, part in enumerate(parts[:-1]):
            inner = target.get(part, {})
            vector = part in _VECTORS or (depth == 2 and part in ("gain", "shift"))
            if vector and not isinstance(inner, dict):
                inner = dict(zip(names, inner if isinstance(inner, list) else [inner] * len(names), strict=True))
            if part == "weights" and isinstance(inner, list):
                inner = dict(zip(env.COMPONENTS, inner, strict=True))
            target[part] = inner
            target = inner
        target[parts[-1]] = value
    return raw


def _named(rule: Mapping[str, Any]) -> str:
    """A rule's name: its own, or what it is."""
    return rule.get("name") or "_".join(rule[key] for key in ("template", "a", "b") if key in rule)


# Logs.


def log(found: Log, files: Sequence[bytes], scenario: Scenario) -> list[str]:
    """A data set against the rows of its files."""
    episodes = jax.tree.map(np.asarray, found.episodes)
    expected = [episode for data in files for episode in _episodes(data)]
    wrong = []
    if len(expected) != len(episodes.action):
        return [f"{len(episodes.action)} episodes, the files have {len(expected)}"]
    T = max((len(steps) for steps, _ in expected), default=0)
    size, A, L = env.observation_size(scenario.params), len(scenario.action_names), len(found.loggers)
    shapes = {"observation": (T, size), "action": (T,), "costs": (T, 5), "alive": (T,), "probability": (T, L)}
    for name, value in vars(episodes).items():
        if value.shape != (len(expected), *shapes.get(name, ())):
            wrong.append(f"{name} is of shape {value.shape}")
    for name, count in (("loggers", episodes.logger), ("tasks", episodes.task)):
        names = getattr(found, name)
        if len(set(names)) < len(names) or not ((count >= 0) & (count < len(names))).all():
            wrong.append(f"{name} are not different names, or numbers of none")
    if not np.isfinite(episodes.observation).all() or not np.isfinite(episodes.costs).all():
        wrong.append("observations or costs are not finite")
    if (episodes.costs < 0).any():
        wrong.append("costs are negative")
    known = np.nan_to_num(episodes.probability, nan=0.5)
    if (known < 0).any() or (known > 1).any():
        wrong.append("probabilities are not in [0, 1]")
    if not ((episodes.action >= 0) & (episodes.action < A)).all():
        wrong.append("actions are none of the scenario's")
    if wrong:
        return wrong
    for n, (steps, end) in enumerate(expected):
        try:
            wrong += _episode(episodes, n, steps, end, found, scenario)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            wrong.append(f"accepted, but the rows do not say so: {type(error).__name__} {str(error)[:100]}")
        if wrong:
            break
    return wrong


def _episode(
    episodes: Any, n: int, steps: Sequence[Mapping[str, Any]], end: Mapping[str, Any], found: Log, scenario: Scenario
) -> list[str]:
    """One episode against its rows."""
    count, T, wrong = len(steps), episodes.alive.shape[1], []
    if not 1 <= count <= scenario.horizon or not np.array_equal(episodes.alive[n], np.arange(T) < count):
        return ["alive is not the steps of the rows"]
    observation = _single([row["observation"] for row in steps])
    if any(type(x) not in (int, float) for row in steps for x in row["observation"]):
        wrong.append("an observation holds what is no number")
    if not np.array_equal(episodes.observation[n, :count], observation):
        wrong.append("observations are not the rows'")
    if [scenario.action_names[a] for a in episodes.action[n, :count]] != [row["name"] for row in steps]:
        wrong.append("actions are not the rows'")
    costs = np.zeros((T, 5), np.float32)
    for t, row in enumerate(steps):
        if any(type(row[field]) not in (int, float) for field in ("latency_s", "cost_usd", "divergence")):
            wrong.append("a cost is no number")
        if type(row["ok"]) is not bool or type(row["t"]) not in (int, float) or row["t"] != t:
            wrong.append("ok or t is not what it should be")
        costs[t] = _single([row["latency_s"], row["cost_usd"], 0.0, not row["ok"], row["divergence"]])
    costs[count - 1, 2] = _single(end["violation"])
    if not np.array_equal(episodes.costs[n], costs):
        wrong.append("costs are not the rows'")
    if bool(episodes.success[n]) is not end["success"] or (end["success"] and end["violation"] > _ROUNDED):
        wrong.append("success is not the end's, or goes with a violation")
    own = int(episodes.logger[n])
    if any(row["logger"] != found.loggers[own] for row in (*steps, end)):
        wrong.append("the logger is not that of all rows")
    tasks = {row.get("task") for row in (*steps, end)}
    if len(tasks) > 1:
        wrong.append("the rows are of several tasks")
    for t, row in enumerate(steps):
        given = {**(row.get("probabilities") or {})}
        if row.get("probability") is not None:
            other = given.get(found.loggers[own])
            if other is not None and not math.isclose(other, row["probability"], rel_tol=_ROUNDED):
                wrong.append("probability and probabilities differ")
            given[found.loggers[own]] = row["probability"]
        said = episodes.probability[n, t]
        # What a hair above 1 is rounded to, 1, is right.
        wanted = _single([math.nan if given.get(name) is None else given[name] for name in found.loggers])
        wanted = np.minimum(wanted, 1)
        if not np.array_equal(said, wanted, equal_nan=True):
            wrong.append("probabilities are not the rows'")
        if not (np.isnan(said[own]) or said[own] > 0):
            wrong.append("the logger played what it never plays")
    return wrong


def _single(values: Any) -> np.ndarray:
    """In single precision, what is too large infinite."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(values, np.float64).astype(np.float32)


def _episodes(data: bytes) -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Steps and end of each episode, in the order of the ends."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    found, steps = [], {}
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if not line.strip():
            continue
        row = json.loads(line)
        if row.get("kind") == "end":
            found.append((steps.pop(row["episode"], []), row))
        elif "episode" in row:
            steps.setdefault(row["episode"], []).append(row)
    return found


# Folders.


def weights(variables: Any, stored: bytes) -> list[str]:
    """A policy's weights against the bytes of its checkpoint."""
    wrong = []
    paths = jax.tree_util.tree_leaves_with_path(variables)
    leaves = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in paths}
    for name, leaf in leaves.items():
        if leaf.dtype != np.float32 or not np.isfinite(leaf).all():
            wrong.append(f"weights {name} are {leaf.dtype}, or not finite")
    expected: dict[str, np.ndarray] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{path}['{key}']")
        elif isinstance(value, msgpack.ExtType):
            shape, kind, data = msgpack.unpackb(value.data, raw=False)
            expected[path] = np.frombuffer(data, kind).reshape(shape)

    walk(msgpack.unpackb(stored, raw=False, strict_map_key=False), "")
    if set(expected) != set(leaves) or not all(np.array_equal(leaves[name], value) for name, value in expected.items()):
        wrong.append("weights are not the checkpoint's")
    return wrong


def arrays(found: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Arrays are real numbers, finite, and of these shapes; −1: any length."""
    wrong = []
    for name, shape in shapes.items():
        value = np.asarray(found[name])
        fits = value.ndim == len(shape) and all(b in (-1, a) for a, b in zip(value.shape, shape, strict=True))
        if not fits or value.dtype.kind != "f":
            wrong.append(f"{name} is {value.dtype} of shape {value.shape}")
        elif not np.isfinite(value).all():
            wrong.append(f"{name} is not finite")
    return wrong


def finite_json(whole: Any) -> list[str]:
    """Numbers in a JSON value that JSON does not have."""
    left, wrong = [whole], []
    while left:
        value = left.pop()
        if isinstance(value, float) and not math.isfinite(value):
            wrong.append("a number of a JSON file is not finite")
        left += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return wrong
