"""A run's policy as a router: the file of data, the module that reads it, and ten lines of what to do with them."""

import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env, router
from aljax.errors import UserError, listed, plain_path, short
from aljax.evaluate import evaluate, summarise
from aljax.host import folders
from aljax.host.folders import Place
from aljax.observation import blocks
from aljax.params import present
from aljax.policy import Learned, candidates, expected_immediate_cost
from aljax.routing.events import known_throughout, obstacle, read_at_start
from aljax.routing.examples import doubled, examples
from aljax.routing.rules import rules_of
from aljax.runs import Run
from aljax.scenario import Scenario
from aljax.seeds import EVALUATION, SELECTION, seed_keys
from aljax.version import __version__

FILE, MODULE, README = "router.json", "router.py", "README.md"
RULES = ("cost_aware", "latency")
"""What a fallback may go by, besides the name of a row that comes first."""
_EXAMPLES = 8
"""Episodes that a file brings along."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a router does beside what the policy says."""

    margin: float = 0.1
    """Calls are worth offering that are at least so many times as likely as the likeliest one."""
    fallback: str = "cost_aware"
    """Where training says nothing: cost_aware (the least expected cost first), latency (the quickest), or a row."""
    readings: bool = False
    """The agent says at the start what it reads of coordinates that no event tells."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was exported."""

    path: Path
    """The folder."""
    seed: int
    """Which of the run's seeds."""
    promise: Mapping[str, Any]
    """What the simulator promises: ``cost``, ``success`` and ``components``, on average."""


def export(
    run: Run, folder: str | Path, out: str | Path, settings: Settings, *, seed: int | None = None,
    overwrite: bool = False,
) -> Exported:  # fmt: skip
    """Writes a run's policy as a router, whole or not at all.

    Args:
      run: as `aljax.runs.load` gives it.
      folder: the run's, for messages.
      out: the folder to write.
      settings: of the router.
      seed: which of the run's seeds; None: the one of least cost in episodes of their own.
      overwrite: replace a router's folder that stands there.

    Returns:
      What was exported.

    Raises:
      UserError: the policy cannot run from events, there is no such seed, a setting is out of range, or the folder
        cannot be written; one line.
    """
    scenario, where = run.scenario, plain_path(folder)
    check_settings(settings, scenario)
    seeds = jax.tree.leaves(run.policy)[0].shape[0]
    if seed is not None and not 0 <= seed < seeds:
        raise UserError(f"{where}: seed: the run has seeds 0 to {seeds - 1}, got {seed}")
    reason = obstacle(scenario, run.policy, readings=settings.readings)
    if reason:
        raise UserError(f"{where}: cannot be exported: {reason}")
    chosen, promise = _chosen(run, seed)
    policy: Learned = jax.tree.map(lambda leaf: leaf[chosen], run.policy)
    text = router_text(scenario, policy, settings, about={"seed": chosen, "promise": promise})

    def refusal(path: Path) -> str:
        if not (path / FILE).is_file():
            return "and it is no router's folder"
        return "" if overwrite else "use --overwrite to replace it"

    with folders.new_folder(out, refusal=refusal) as place:
        _write(place, text, scenario, settings, promise)
    return Exported(place.path, chosen, promise)


def check_settings(settings: Settings, scenario: Scenario) -> None:
    """Refuses settings that mean nothing.

    Args:
      settings: of a router.
      scenario: of its policy.

    Raises:
      UserError: one line.
    """
    if not 0.0 <= settings.margin <= 1.0:
        raise UserError(f"margin: expected a number in [0, 1], got {settings.margin:g}")
    if settings.fallback not in (*RULES, *scenario.action_names):
        expected = listed([*RULES, *scenario.action_names])
        raise UserError(f"fallback: expected one of {expected}, got {short(settings.fallback)}")


def router_text(
    scenario: Scenario, policy: Learned, settings: Settings, *, about: Mapping[str, Any], episodes: int = _EXAMPLES
) -> bytes:
    """A router file's contents.

    Args:
      scenario: that the policy was trained in, without `aljax.routing.events.obstacle`.
      policy: one seed's.
      settings: of the router.
      about: further things to tell; nothing reads them.
      episodes: how many examples it brings along.

    Returns:
      JSON, its first entry the digest of what follows.
    """
    data = router_data(scenario, policy, settings) | dict(about)
    data["examples"] = examples(scenario, policy, read_at_start(scenario), episodes=episodes, seed=0)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in data.items())
    rest = f'",\n{lines}}}\n'.encode()
    return b'{"digest": "' + hashlib.sha256(rest).hexdigest().encode() + rest


def _chosen(run: Run, seed: int | None) -> tuple[int, dict[str, Any]]:
    """The seed to export, and what it comes to: chosen and judged on episodes of their own."""
    scenario, protocol = run.scenario, run.protocol
    static = {"episodes": protocol.evaluation_episodes, "steps": scenario.horizon, "trained": frozenset({"it"})}
    play = jax.jit(functools.partial(evaluate, **static))
    seeds = jax.tree.leaves(run.policy)[0].shape[0]
    if seed is None:
        key = jnp.repeat(seed_keys(protocol, SELECTION)[:1], seeds)  # the same episodes for every seed
        costs = np.asarray(play(key, {"it": run.policy}, scenario.params)["it"].outcome.total, np.float64)
        seed = int(np.argmin(costs.mean(1)))
    keys = seed_keys(dataclasses.replace(protocol, seeds=seeds), EVALUATION)
    same = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[seed], leaf.shape), run.policy)
    summary = summarise(play(keys, {"it": same}, scenario.params)["it"])
    means = {name: round(spread.mean, 6) for name, spread in summary.components.items()}
    return seed, {
        "cost": round(summary.cost.mean, 6),
        "success": round(summary.success.mean, 6),
        "components": means,
    }


def router_data(scenario: Scenario, policy: Learned, settings: Settings) -> dict[str, Any]:
    """A router file but for its digest and examples, in the order in which people read it.

    Args:
      scenario: that the policy was trained in, without `aljax.routing.events.obstacle`.
      policy: one seed's.
      settings: of the router.

    Returns:
      What JSON can hold.
    """
    params = scenario.params
    inputs, architecture = policy.inputs, policy.architecture
    features = [*blocks(present(params))] + ["up"] * (inputs.kind == "belief") + ["last"] * inputs.last
    layers = {
        name: {
            "kernel": np.asarray(layer["kernel"], np.float64).T.tolist(),
            "bias": np.asarray(layer.get("bias", np.zeros(layer["kernel"].shape[1])), np.float64).tolist(),
        }
        for name, layer in policy.variables["params"].items()
    }
    digest = hashlib.sha256("\n".join([scenario.text, *scenario.overrides]).encode()).hexdigest()
    return {
        "format": router.FORMAT,
        "version": router.VERSION,
        "made_by": f"aljax {__version__}",
        "scenario": {"name": scenario.name, "overrides": list(scenario.overrides), "digest": digest},
        "margin": settings.margin,
        "fallback": {"rule": settings.fallback, "order": fallback_order(scenario, settings.fallback)},
        "horizon": scenario.horizon,
        **_finite(
            {name: getattr(params, name) for name in ("latency_budget", "money_budget", "latency_limit", "money_limit")}
        ),
        "auto_end": bool(params.auto_end) and known_throughout(scenario),
        "weights": _plain(params.weights),
        "latency_scale": _plain(params.latency_scale),
        "money_scale": _plain(params.money_scale),
        "coordinates": _coordinates(scenario, read_at_start(scenario)),
        "rows": _rows(scenario),
        **rules_of(scenario),
        "features": features,
        "network": {
            "architecture": "gru" if architecture.recurrent else "mlp",
            "hidden": list(getattr(architecture, "hidden")),  # noqa: B009
            "layers": layers,
        },
    }


def _coordinates(scenario: Scenario, read: Sequence[str]) -> list[dict[str, Any]]:
    """What a router must know of each coordinate."""
    params = scenario.params
    with jax.enable_x64(True):
        start = np.asarray(env.expected_start(jax.tree.map(doubled, params)))
    below = params.tolerance if params.tolerance_low is None else params.tolerance_low
    return [
        {"name": name}
        | ({} if name in read else {"start": float(start[place])})
        | {"scale": _plain(params.z_scale[place]), "drift": _plain(params.drift[place])}
        | _finite({"tolerance": params.tolerance[place], "tolerance_low": below[place]})
        for place, name in enumerate(scenario.coordinate_names)
    ]


_COLUMNS = (
    "latency", "money", "failure", "after_ok", "after_failed", "failure_latency", "failure_money", "latency_growth",
    "money_growth", "latency_spread", "timeout", "mean_uptime", "mean_downtime", "rate_limit", "rate_burst",
    "max_calls", "requires", "gain", "shift", "ends", "resolves", "allowed",
)  # fmt: skip
_TOGETHER = {"mean_downtime": "mean_uptime", "rate_burst": "rate_limit"}
"""Columns that say nothing without another."""


def _rows(scenario: Scenario) -> list[dict[str, Any]]:
    """What a router must know of each row: its columns, without those that say nothing."""
    table, rows = scenario.params.actions, []
    for place, name in enumerate(scenario.action_names):
        columns = {key: getattr(table, key) for key in _COLUMNS if getattr(table, key) is not None}
        found = _finite({key: column[place] for key, column in columns.items()})
        for key, other in _TOGETHER.items():
            if other not in found:
                found.pop(key, None)
        if "mean_uptime" in found:  # the share of time that it is down
            found["down"] = found["mean_downtime"] / (found["mean_uptime"] + found["mean_downtime"])
        rows.append({"name": name, "kind": scenario.kinds[place]} | found)
    return rows


def fallback_order(scenario: Scenario, rule: str) -> list[str]:
    """In which order the fallback takes rows: tools first, by the rule; a row that is named comes before all.

    Args:
      scenario: of the policy.
      rule: one of `RULES`, or a row.

    Returns:
      All rows by name.
    """
    params, names = scenario.params, scenario.action_names
    observation = env.observe(env.reset(jax.random.key(0), params)[1], params)
    costs = params.actions.latency if rule == "latency" else expected_immediate_cost(params, observation)
    tools = np.asarray(candidates(jnp.asarray(scenario.tools), params.actions.allowed))
    order = np.lexsort((np.asarray(costs), ~tools))
    found = [names[row] for row in order]
    return sorted(found, key=lambda name: name != rule)


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has them, without those that are absent or infinite."""
    found = {key: _plain(value) for key, value in values.items() if value is not None}
    return {key: value for key, value in found.items() if value != float("inf")}


def _plain(value: Any) -> Any:
    """An array as JSON has it: single precision exactly, as double."""
    array = np.asarray(value)
    return (array.astype(np.float64) if array.dtype.kind == "f" else array).tolist()


def _write(place: Place, text: bytes, scenario: Scenario, settings: Settings, promise: Mapping[str, Any]) -> None:
    """Fills the folder."""
    source = inspect.getsource(router)
    (place.folder / FILE).write_bytes(text)
    (place.folder / MODULE).write_text(source, encoding="utf-8")
    (place.folder / README).write_text(_readme(scenario, settings, promise), encoding="utf-8")


def _readme(scenario: Scenario, settings: Settings, promise: Mapping[str, Any]) -> str:
    """Ten lines for who finds the folder."""
    read = read_at_start(scenario)
    start = f"readings={{{', '.join(f'{json.dumps(name)}: ...' for name in read)}}}" if read else ""
    first = scenario.action_names[0]
    return f"""# A router for {scenario.name}: which tool next

    from router import Router
    router = Router.load("router.json", log="router.jsonl")  # the log may be left out
    episode = router.start({start})
    choice = episode.choose(available=[...])  # .action .probabilities .allowed .reason
    episode.record({json.dumps(first)}, ok=True, seconds=1.0, dollars=0.0)  # what came of each call
    episode.end(success=True)

Rows: {", ".join(scenario.action_names)}.
Promised on average: cost {promise["cost"]:g}, success {promise["success"]:.1%}. Fallback: {settings.fallback}.
`python router.py --check` replays examples. Made by aljax {__version__}.
"""
