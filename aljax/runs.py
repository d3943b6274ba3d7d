"""Run folders: everything that one experiment leaves behind, written whole or not at all.

A folder is filled under another name, beside its place, and renamed when it is complete; its manifest, written last,
holds the size and hash of every file, so a damaged one is recognised before it is read.
"""

import contextlib
import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import serialization

from aljax import folders, toml
from aljax.env import COMPONENTS
from aljax.errors import UserError, listed, one_line, path_errors, plain, plain_path, short
from aljax.experiment import Compared, Protocol, Trained, abstract_policy, check
from aljax.files import check_digests, digests, read_json, write_json
from aljax.folders import Place
from aljax.numerics import numerics, versions
from aljax.policy import Learned
from aljax.scenario import Scenario, parse_scenario
from aljax.train import Baseline, Curve, Hyperparameters, Losses, Schedule, TrainConfig

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
    file = path / "config.json"
    said = _configuration(file)
    scenario = parse_scenario(
        toml.read(path / "scenario.toml"),
        name=said.name,
        where=plain_path(path / "scenario.toml"),
        overrides=said.overrides,
    )
    try:
        check(said.config, said.hyperparameters, said.protocol, scenario)
    except UserError as error:
        raise UserError(f"{plain_path(file)}: {error}") from None
    curve = _curve(path / "curves.npz", said.curve, said.protocol.seeds)
    recorded = read_json(path / _METRICS)
    if type(recorded.get("episodes")) is not int or recorded["episodes"] < 0:
        what = f"expected a whole number of at least 0, got {short(recorded.get('episodes'))}"
        raise UserError(f"{plain_path(path / _METRICS)}: episodes: {what}")
    policy = _restore(path, scenario, said.config, said.protocol)
    return Run(scenario, said.config, said.hyperparameters, said.protocol, policy, curve, recorded)


@dataclasses.dataclass(frozen=True)
class _Configuration:
    """What ``config.json`` says, of the right types; whether numbers are in range is not checked yet."""

    name: str
    overrides: tuple[str, ...]
    config: TrainConfig
    hyperparameters: Hyperparameters
    protocol: Protocol
    curve: type[Curve] | type[Losses]
    """Which of them such a run leaves."""


def _configuration(file: Path) -> _Configuration:
    """Reads ``config.json``."""
    raw = read_json(file)
    try:
        name, overrides, shape = raw["scenario"]["name"], raw["scenario"]["overrides"], raw["train"]
        if not isinstance(overrides, list) or not all(isinstance(text, str) for text in (name, *overrides)):
            raise TypeError("scenario: expected a name and a list of overrides")
        config = TrainConfig(**(shape | {"hidden": tuple(shape["hidden"])}))
        for key, kind in (("baseline", Baseline), ("schedule", Schedule)):
            if getattr(config, key) not in typing.get_args(kind):
                raise ValueError(f"{key}: {short(getattr(config, key))} is none of {listed(typing.get_args(kind))}")
        if not isinstance(config.normalise, bool):
            raise TypeError(f"normalise: expected true or false, got {short(config.normalise)}")
        numbers = {key: float(_text(value)) for key, value in raw["hyperparameters"].items()}
        regime = raw.get("regime", {"name": "online"})["name"]
        if regime not in ("online", "supervised", "offline"):
            raise ValueError(f"regime: unknown name {short(regime)}")
        curve = Curve if regime == "online" else Losses
        return _Configuration(
            name, tuple(overrides), config, Hyperparameters(**numbers), Protocol(**raw["protocol"]), curve
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else one_line(error)
        raise UserError(f"{plain_path(file)}: damaged, or of another version: {plain(reason, 160)}") from None


def _text(value: Any) -> str:
    """Numbers are written as text, so that infinity has a name."""
    if not isinstance(value, str):
        raise TypeError(f"hyperparameters: expected numbers as text, got {short(value)}")
    return value


def _curve(file: Path, kind: type[Curve] | type[Losses], seeds: int) -> Curve | Losses:
    """Learning curves, an array a figure, each with an entry a seed and update."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            found: dict[str, Any] = {name: np.asarray(arrays[name]) for name in kind._fields}
    except Exception as error:  # zipfile, zlib, tokenize and numpy raise a wide variety
        raise UserError(f"{plain_path(file)}: cannot be read: {plain(one_line(error), 160)}") from None
    first = found[kind._fields[0]]
    for name, values in found.items():
        shape = (seeds, *first.shape[1:2], *([len(COMPONENTS)] if name == "components" else []))
        if values.dtype.kind != "f" or values.shape != shape or first.ndim != 2:
            got = f"{values.dtype} of shape {values.shape}"
            raise UserError(
                f"{plain_path(file)}: {name}: expected numbers for {seeds} seeds and each update, got {got}"
            )
        if not np.isfinite(values).all():
            raise UserError(f"{plain_path(file)}: {name}: not finite")
    return kind(**found)


def _restore(path: Path, scenario: Scenario, config: TrainConfig, protocol: Protocol) -> Learned:
    """The policy from its checkpoint."""
    abstract = abstract_policy(scenario, config, protocol)
    file = path / _WEIGHTS
    try:
        variables = serialization.msgpack_restore(file.read_bytes())
        found = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables)
    except Exception as error:  # msgpack raises a wide variety
        raise UserError(f"{plain_path(file)}: cannot be read: {plain(one_line(error), 160)}") from None
    if found != jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), abstract.variables):
        raise UserError(f"{plain_path(file)}: weights of another shape than config.json says")
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables)):
        raise UserError(f"{plain_path(file)}: weights that are not finite")
    return Learned(jax.device_put(variables), abstract.network)


def _verify(path: Path) -> None:
    """Compares a folder with its manifest."""
    with path_errors(path):
        if not path.is_dir():
            raise UserError(f"{plain_path(path)}: no such run folder")
    try:
        manifest = read_json(path / _MANIFEST)
        listed, version = manifest["files"], manifest["format"]
    except (UserError, KeyError):
        raise UserError(f"{plain_path(path)}: not a complete run folder: {_MANIFEST} is missing or damaged") from None
    if version != _FORMAT:
        raise UserError(f"{plain_path(path)}: run folder of format {short(version)}, expected {_FORMAT}")
    check_digests(path, listed, _NEEDED)
