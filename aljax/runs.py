"""Run folders: everything that one experiment leaves behind, written whole or not at all.

A folder is filled under another name, beside its place, and renamed when it is complete; its manifest, written last,
holds the size and hash of every file, so a damaged one is recognised before it is read.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import serialization

from aljax import folders
from aljax.errors import UserError, one_line, plain_path, short
from aljax.experiment import Compared, Protocol, Trained, abstract_policy
from aljax.files import check_digests, digests, read_json, write_json
from aljax.folders import Place
from aljax.numerics import numerics, versions
from aljax.policy import Learned
from aljax.scenario import Scenario, parse_scenario
from aljax.train import Curve, Hyperparameters, Losses, TrainConfig

_MANIFEST = "manifest.json"
_METRICS = "metrics.json"
_WEIGHTS = "checkpoint/policy.msgpack"
_NEEDED = ("config.json", "scenario.toml", "curves.npz", _METRICS, _WEIGHTS)
"""What is read of a run folder."""
_FORMAT = 2


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder, read back."""

    scenario: Scenario
    config: TrainConfig
    hyperparameters: Hyperparameters
    protocol: Protocol
    policy: Learned
    """Greedy, leading seed axis."""
    curve: Curve | Losses
    """Losses where it was learned from logs."""
    metrics: Mapping[str, Any]

    def check_fits(self, folder: str | Path, scenario: Scenario) -> None:
        """Refuses to play the run's policy where it has other actions or coordinates.

        Raises:
          UserError: one line naming both.
        """
        trained_on, asked = ((len(s.action_names), len(s.coordinate_names)) for s in (self.scenario, scenario))
        if trained_on != asked:
            raise UserError(
                f"{scenario.name}: {asked[0]} actions and {asked[1]} coordinates, but {folder} was trained on "
                f"{self.scenario.name} with {trained_on[0]} and {trained_on[1]}"
            )

    def changed(self, overrides: Sequence[str]) -> Scenario:
        """The run's scenario with further ``key=value`` changes."""
        scenario = self.scenario
        return parse_scenario(
            scenario.text, name=scenario.name, where=scenario.name, overrides=(*scenario.overrides, *overrides)
        )

    def as_seen(self, scenario: Scenario, overrides: Sequence[str] = ()) -> Scenario:
        """A scenario observed as the run's policy learned to: on the scales that it trained with.

        Scales that a file does not give follow from its other numbers, so a changed latency or horizon would change
        what the policy sees even where nothing has happened yet. A scale that an override names is left alone.
        """
        named = {override.partition("=")[0].partition(".")[0].strip() for override in overrides}
        scales = {
            name: getattr(self.scenario.params, name)
            for name in ("z_scale", "latency_scale", "money_scale")
            if name not in named
        }
        return dataclasses.replace(scenario, params=dataclasses.replace(scenario.params, **scales))


def metrics(
    scenario: Scenario, episodes: int, protocol: Protocol, compared: Compared, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """What ``metrics.json`` holds and ``--json`` writes."""
    return header(scenario, episodes, protocol) | {
        "policies": {name: summary.to_json() for name, summary in compared.summaries.items()},
        "seconds": {key: round(seconds.get(key, 0.0), 4) for key in ("compile", "train", "evaluate")},
    }


def header(scenario: Scenario, episodes: int, protocol: Protocol) -> dict[str, Any]:
    """What figures are about, and what made them."""
    device = jax.devices()[0]
    return {
        "scenario": scenario.name,
        "overrides": list(scenario.overrides),
        "episodes": episodes,
        "seeds": protocol.seeds,
        "evaluation_episodes": protocol.evaluation_episodes,
        "device": f"{device.platform}: {device.device_kind}",
        "versions": versions(),
    }


@contextlib.contextmanager
def new_folder(path: str | Path, *, numbered: bool = False, overwrite: bool = False) -> Iterator[Place]:
    """A run folder that appears under its name only when the block ends well. See `folders.new_folder`.

    Args:
      path: where it will stand.
      numbered: not there, but at the first of ``path-1``, ``path-2``, ... that is free.
      overwrite: replace a run folder that stands at `path`; anything else is never replaced.

    Yields:
      The folder to fill; after the block, where it stands.

    Raises:
      UserError: the place is taken or cannot be written.
    """

    def refusal(path: Path) -> str:
        if not is_run_folder(path):
            return "and it is not a run folder"
        return "" if overwrite else "use --overwrite to replace it"

    with folders.new_folder(path, numbered=numbered, refusal=refusal) as place:
        yield place
        write_json(place.folder / _MANIFEST, {"format": _FORMAT, "files": digests(place.folder)})


def is_run_folder(path: Path) -> bool:
    """What stands there was written by `new_folder`: by ``train`` or ``evaluate``."""
    try:
        found = read_json(path / _MANIFEST)
    except UserError:
        return False
    return found.get("format") == _FORMAT and isinstance(found.get("files"), dict) and _METRICS in found["files"]


def save(
    folder: Path, scenario: Scenario, config: TrainConfig, hyperparameters: Hyperparameters, protocol: Protocol,
    trained: Trained, regime: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Writes what reproduces a run, and what it learned, into a folder from `new_folder`.

    Args:
      folder: where.
      scenario: trained on.
      config: shape of the training, at least of its network.
      hyperparameters: its numbers.
      protocol: its seeds.
      trained: the result.
      regime: how it was learned, if not online from scratch: its ``name`` and everything that reproduces it.
    """
    (folder / "scenario.toml").write_text(scenario.text, encoding="utf-8")
    configuration = {
        "scenario": {"name": scenario.name, "overrides": list(scenario.overrides)},
        "train": dataclasses.asdict(config),
        "hyperparameters": {key: str(value) for key, value in dataclasses.asdict(hyperparameters).items()},
        "protocol": dataclasses.asdict(protocol),
        **numerics(),
    } | ({} if regime is None else {"regime": dict(regime)})
    write_json(folder / "config.json", configuration)
    np.savez(folder / "curves.npz", **trained.curve._asdict())
    (folder / "checkpoint").mkdir()
    weights = jax.tree.map(np.asarray, trained.policy.variables)
    (folder / _WEIGHTS).write_bytes(serialization.msgpack_serialize(weights))


def load(path: str | Path) -> Run:
    """Reads a run folder back.

    Raises:
      UserError: no run folder, or one that is damaged or from another version; one line naming the file.
    """
    path = Path(path)
    _verify(path)
    try:
        configuration = json.loads((path / "config.json").read_text())
        named = configuration["scenario"]
        scenario = parse_scenario(
            (path / "scenario.toml").read_text(encoding="utf-8"),
            name=named["name"],
            where=str(path / "scenario.toml"),
            overrides=named["overrides"],
        )
        shape = configuration["train"]
        config = TrainConfig(**(shape | {"hidden": tuple(shape["hidden"])}))
        numbers = {key: float(value) for key, value in configuration["hyperparameters"].items()}
        hyperparameters, protocol = Hyperparameters(**numbers), Protocol(**configuration["protocol"])
        kind = Curve if configuration.get("regime", {}).get("name", "online") == "online" else Losses
        with np.load(path / "curves.npz", allow_pickle=False) as arrays:
            curve = kind(**{name: arrays[name] for name in kind._fields})
        recorded = json.loads((path / "metrics.json").read_text())
    except (KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not a run folder of this version: {one_line(error)}") from None
    return Run(scenario, config, hyperparameters, protocol, _restore(path, scenario, config, protocol), curve, recorded)


def _restore(path: Path, scenario: Scenario, config: TrainConfig, protocol: Protocol) -> Learned:
    """The policy from its checkpoint."""
    abstract = abstract_policy(scenario, config, protocol)
    file = path / _WEIGHTS
    try:
        variables = serialization.msgpack_restore(file.read_bytes())
        found = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables)
    except Exception as error:  # msgpack raises a wide variety
        raise UserError(f"{file}: cannot be read: {one_line(error)[:200]}") from None
    if found != jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), abstract.variables):
        raise UserError(f"{file}: weights of another shape than {path / 'config.json'} says")
    return Learned(jax.device_put(variables), abstract.network)


def _verify(path: Path) -> None:
    """Compares a folder with its manifest."""
    if not path.is_dir():
        raise UserError(f"{path}: no such run folder")
    try:
        manifest = read_json(path / _MANIFEST)
        listed, version = manifest["files"], manifest["format"]
    except (UserError, KeyError):
        raise UserError(f"{plain_path(path)}: not a complete run folder: {_MANIFEST} is missing or damaged") from None
    if version != _FORMAT:
        raise UserError(f"{plain_path(path)}: run folder of format {short(version)}, expected {_FORMAT}")
    check_digests(path, listed, _NEEDED)
