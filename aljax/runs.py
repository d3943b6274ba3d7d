"""Run folders: everything that one experiment leaves behind, written whole or not at all.

A folder is filled under another name, beside its place, and renamed when it is complete; its manifest, written last,
holds the size and hash of every file, so a damaged one is recognised before it is read.
"""

import contextlib
import dataclasses
import importlib
import typing
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax import transfer
from aljax.checks import check
from aljax.comparison import Compared
from aljax.env import COMPONENTS
from aljax.errors import UserError, listed, one_line, path_errors, plain, plain_path, short
from aljax.host import folders, modules, toml
from aljax.host.files import check_digests, digests, open_regular, read_json, write_json
from aljax.host.folders import Place
from aljax.host.hidden import sweep
from aljax.host.numerics import numerics, versions
from aljax.learning.run_state import CURVES, Curve
from aljax.options import (
    Baseline,
    Curriculum,
    Environments,
    Gradient,
    Hyperparameters,
    InputsName,
    Objective,
    PolicyName,
    Protocol,
    Schedule,
    TrainConfig,
)
from aljax.policy import Learned
from aljax.scenario import Scenario, parse_scenario
from aljax.training import abstract_policy

_MANIFEST = "manifest.json"
_METRICS = "metrics.json"
_WEIGHTS = "checkpoint/policy.msgpack"
_SERIALIZATION = "flax.serialization"
"""How Flax writes weights. It takes long to load, and most commands write none."""
_NEEDED = ("config.json", "scenario.toml", "curves.npz", _METRICS, _WEIGHTS)
"""What is read of a run folder."""
_FORMAT = 2
_LATER = {
    "gradient", "residual", "curriculum", "nearer", "objective", "constraints", "alpha", "multiplier_rate",
    "environments", "replays", "replay_batches", "replay_last",
}  # fmt: skip
"""Options that came after others: without them a run was what their defaults say."""
LOSS = "loss"
"""The one curve of a run that learned from logs alone."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder, read back."""

    scenario: Scenario
    config: TrainConfig
    hyperparameters: Hyperparameters
    protocol: Protocol
    policy: Learned
    """Greedy, leading seed axis."""
    curve: Curve | None
    """Learning curves, leading seed axis; None where it was learned from logs alone."""
    losses: np.ndarray | None
    """What learning from logs minimised, where there is no curve. ``[S, updates]``"""
    metrics: Mapping[str, Any]
    numerics: Mapping[str, Any]
    """What its numbers depend on beside all that (`aljax.host.numerics`); empty where it was not recorded."""

    def changed(self, overrides: Sequence[str]) -> Scenario:
        """The run's scenario with further ``key=value`` changes."""
        scenario = self.scenario
        return parse_scenario(
            scenario.text, name=scenario.name, where=scenario.name, overrides=(*scenario.changes, *overrides)
        )

    def as_seen(self, folder: str | Path, scenario: Scenario) -> Scenario:
        """A scenario as the run's policy learned to see it: rows and coordinates in its order, on its scales.

        Args:
          folder: the run's, for messages.
          scenario: of the same actions and coordinates, in any order.

        Returns:
          See `aljax.transfer.as_seen`.

        Raises:
          UserError: it has others.
        """
        return transfer.as_seen(self.scenario, plain_path(folder), scenario)

    def policy_in(self, folder: str | Path, scenario: Scenario) -> Learned:
        """The policy as it plays in a scenario as it is: in its order, on its scales. Arguments as for `as_seen`."""
        return transfer.policy_in(self.policy, self.scenario, plain_path(folder), scenario)


def metrics(
    scenario: Scenario, episodes: int, protocol: Protocol, compared: Compared, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """What ``metrics.json`` holds and ``--json`` writes.

    Args:
      scenario: where the policies played.
      episodes: that each seed trained on.
      protocol: seeds and episodes of evaluation.
      compared: their evaluations.
      seconds: ``compile``, ``train``, ``evaluate``, as far as there are any.

    Returns:
      What JSON can say.
    """
    found = header(scenario, episodes, protocol) | {
        "policies": {name: summary.to_json() for name, summary in compared.summaries.items()},
        "seconds": {key: round(seconds.get(key, 0.0), 4) for key in ("compile", "train", "evaluate")},
    }
    return found if compared.breaker is None else found | {"breaker": compared.breaker.to_json()}


def header(scenario: Scenario, episodes: int, protocol: Protocol) -> dict[str, Any]:
    """What figures are about, and what made them.

    Args:
      scenario: where.
      episodes: that each seed trained on.
      protocol: seeds and episodes of evaluation.

    Returns:
      What JSON can say.
    """
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
        for manifest in place.path.parent.glob(f"*/{_MANIFEST}"):
            sweep(manifest.parent)  # of pictures that a killed process was drawing into a folder that was complete
        yield place
        write_json(place.folder / _MANIFEST, {"format": _FORMAT, "files": digests(place.folder)})


def is_run_folder(path: Path) -> bool:
    """What stands there was written by `new_folder`: by ``train`` or ``evaluate``.

    Args:
      path: of a folder, or of anything.

    Returns:
      Whether it was.
    """
    try:
        found = read_json(path / _MANIFEST)
    except UserError:
        return False
    return found.get("format") == _FORMAT and isinstance(found.get("files"), dict) and _METRICS in found["files"]


def save(
    folder: Path, scenario: Scenario, config: TrainConfig, hyperparameters: Hyperparameters, protocol: Protocol,
    policy: Learned, curves: Mapping[str, np.ndarray], regime: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Writes what reproduces a run, and what it learned, into a folder from `new_folder`.

    Args:
      folder: where.
      scenario: trained on.
      config: shape of the training, at least of its network.
      hyperparameters: its numbers.
      protocol: its seeds.
      policy: what was learned, a leading seed axis.
      curves: what there is to show of how, by name; a leading seed axis.
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
    np.savez(folder / "curves.npz", allow_pickle=False, **curves)
    (folder / "checkpoint").mkdir()
    weights = jax.tree.map(np.asarray, policy.variables)
    (folder / _WEIGHTS).write_bytes(_serialization().msgpack_serialize(weights))


def load_ahead() -> None:
    """Loads what `save` needs, while something else goes on; see `aljax.host.modules.load_ahead`."""
    modules.load_ahead(_SERIALIZATION)


def _serialization() -> Any:
    modules.wait_loaded(_SERIALIZATION)
    return importlib.import_module(_SERIALIZATION)


def load(path: str | Path) -> Run:
    """Reads a run folder back.

    Args:
      path: of the folder.

    Returns:
      Everything that is in it, checked.

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
    curves = _curves(path / "curves.npz", said.curves, said.protocol.seeds, len(said.config.constraints))
    curve = Curve(**curves) if said.curves == CURVES else None
    recorded = read_json(path / _METRICS)
    if type(recorded.get("episodes")) is not int or recorded["episodes"] < 0:
        what = f"expected a whole number of at least 0, got {short(recorded.get('episodes'))}"
        raise UserError(f"{plain_path(path / _METRICS)}: episodes: {what}")
    if not isinstance(recorded.get("policies"), dict):
        raise UserError(f"{plain_path(path / _METRICS)}: policies: expected a table of figures")
    policy = _restore(path, scenario, said.config, said.protocol)
    return Run(
        scenario,
        said.config,
        said.hyperparameters,
        said.protocol,
        policy,
        curve,
        curves.get(LOSS),
        recorded,
        said.numerics,
    )


@dataclasses.dataclass(frozen=True)
class _Configuration:
    """What ``config.json`` says, of the right types; whether numbers are in range is not checked yet."""

    name: str
    overrides: tuple[str, ...]
    config: TrainConfig
    hyperparameters: Hyperparameters
    protocol: Protocol
    curves: tuple[str, ...]
    """Names of those that such a run leaves."""
    numerics: Mapping[str, Any]
    """Empty where they were not recorded."""


def _configuration(file: Path) -> _Configuration:
    """Reads ``config.json``."""
    raw = read_json(file)
    try:
        name, overrides, shape = raw["scenario"]["name"], raw["scenario"]["overrides"], raw["train"]
        if not isinstance(overrides, list) or not all(isinstance(text, str) for text in (name, *overrides)):
            raise TypeError("scenario: expected a name and a list of overrides")
        if Path(name).name != name:
            raise ValueError(f"scenario: {short(name)} cannot be the name of a file")
        for kind, key in ((TrainConfig, "train"), (Hyperparameters, "hyperparameters"), (Protocol, "protocol")):
            missing = {field.name for field in dataclasses.fields(kind)} - set(raw[key]) - _LATER
            if missing:  # a default would be another run's
                raise ValueError(f"{key}: {listed(sorted(missing))} missing")
        lists = {key: tuple(shape[key]) for key in ("hidden", "constraints") if key in shape}
        config = TrainConfig(**(shape | lists))
        choices = {
            "policy": PolicyName, "inputs": InputsName, "baseline": Baseline, "schedule": Schedule,
            "gradient": Gradient, "curriculum": Curriculum, "objective": Objective,
            "environments": Environments,
        }  # fmt: skip
        for key, kind in choices.items():
            if getattr(config, key) not in typing.get_args(kind):
                raise ValueError(f"{key}: {short(getattr(config, key))} is none of {listed(typing.get_args(kind))}")
        if not isinstance(config.normalise, bool):
            raise TypeError(f"normalise: expected true or false, got {short(config.normalise)}")
        numbers = {key: float(_text(value)) for key, value in raw["hyperparameters"].items()}
        regime = raw.get("regime", {"name": "online"})["name"]
        if regime not in ("online", "supervised", "offline"):
            raise ValueError(f"regime: unknown name {short(regime)}")
        curves = CURVES if regime == "online" else (LOSS,)
        protocol = Protocol(**raw["protocol"])
        made_with = {key: raw.get(key) for key in numerics()} if "settings" in raw else {}
        return _Configuration(name, tuple(overrides), config, Hyperparameters(**numbers), protocol, curves, made_with)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else one_line(error)
        raise UserError(f"{plain_path(file)}: damaged, or of another version: {plain(reason, 160)}") from None


def _text(value: Any) -> str:
    """Numbers are written as text, so that infinity has a name."""
    if not isinstance(value, str):
        raise TypeError(f"hyperparameters: expected numbers as text, got {short(value)}")
    return value


def _curves(file: Path, names: Sequence[str], seeds: int, promises: int) -> dict[str, Any]:
    """Learning curves, an array a figure, each with an entry a seed and update; those of promises where it has them."""
    try:
        with open_regular(file) as opened, np.load(opened, allow_pickle=False) as arrays:
            if any(item.compress_type != zipfile.ZIP_STORED for item in arrays.zip.infolist()):
                raise ValueError("compressed, so it is none of ours, and may unpack to any size")
            kept = bool(promises) and names == CURVES and "multipliers" in arrays  # runs of old have none
            every = (*names, *Curve._field_defaults) if kept else names
            found: dict[str, Any] = {name: np.asarray(arrays[name]) for name in every}
    except Exception as error:  # zipfile, zlib, tokenize and numpy raise a wide variety
        raise UserError(f"{plain_path(file)}: cannot be read: {plain(one_line(error), 160)}") from None
    first = found[names[0]]
    for name, values in found.items():
        several = {"components": [len(COMPONENTS)]} | {key: [promises] for key in Curve._field_defaults}
        shape = (seeds, *first.shape[1:2], *several.get(name, []))
        if values.dtype.kind != "f" or values.shape != shape or first.ndim != 2:
            got = f"{values.dtype} of shape {values.shape}"
            raise UserError(
                f"{plain_path(file)}: {name}: expected numbers for {seeds} seeds and each update, got {got}"
            )
        if not np.isfinite(values).all():
            raise UserError(f"{plain_path(file)}: {name}: not finite")
    return found


def _restore(path: Path, scenario: Scenario, config: TrainConfig, protocol: Protocol) -> Learned:
    """The policy from its checkpoint."""
    abstract = abstract_policy(scenario, config, protocol)
    file = path / _WEIGHTS
    try:
        with open_regular(file) as opened:
            variables = _serialization().msgpack_restore(opened.read())
        found = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables)
    except Exception as error:  # msgpack raises a wide variety
        raise UserError(f"{plain_path(file)}: cannot be read: {plain(one_line(error), 160)}") from None
    if found != jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), abstract.variables):
        raise UserError(f"{plain_path(file)}: weights of another shape or precision than config.json says")
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables)):
        raise UserError(f"{plain_path(file)}: weights that are not finite")
    return dataclasses.replace(abstract, variables=jax.device_put(variables))


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
