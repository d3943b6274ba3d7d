"""The kinds of input: how one is made of good ones, which reader gets it, and what an accepted one is held against."""

import contextlib
import io
import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import jax
import numpy as np
from flax import serialization

from aljax import runs
from aljax.checks import check as check_options
from aljax.commands.main import main
from aljax.errors import UserError
from aljax.offline.reading import read_logs
from aljax.options import Hyperparameters
from aljax.scenario import Scenario, load_scenario
from aljax.sweeps import repeat
from aljax.sweeps.execute import Watch, prepared
from aljax.sweeps.gathered import Gathered
from aljax.sweeps.hosts import recall
from aljax.sweeps.reader import parsed_setting, read_spec, restored_spec
from aljax.sweeps.resolve import Resolver
from aljax.sweeps.results import CURVE, FIGURES
from aljax.sweeps.run import sweep
from aljax.sweeps.space import MOST_RUNS, Spec
from aljax.sweeps.store import Store

from fuzzing import check, material, mutate
from fuzzing.cases import Case, Kind

_COLUMNS = (
    "latency", "money", "failure", "after_failed", "gain", "shift", "noise", "ends", "resolves", "reveals", "allowed",
    "kind",
)  # fmt: skip
_TRAINING = (
    "batch", "episodes", "hidden", "baseline", "normalise", "learning_rate", "entropy", "trace", "scenario",
)  # fmt: skip


_PATHS = (*mutate.TEXTS, "x" * 300, "y/" * 3000)
"""Paths that are no good file's."""


class Scenarios(Kind):
    """Scenario files."""

    name = "scenarios"

    def __init__(self, home: Path):
        del home
        self.texts = list(material.scenario_texts().values())

    def case(self, rng: Random) -> Case:
        """See `Kind.case`."""
        text = rng.choice(self.texts)
        if rng.random() < 0.02:
            other = rng.choice(self.texts)
            text = text[: rng.randrange(len(text))] + other[rng.randrange(len(other)) :]
        if rng.random() < 0.05:
            return Case({"it.toml": rng.choice(mutate.BYTES)(rng, text.encode())})
        if rng.random() < 0.005:
            return Case({}, options={"path": rng.choice(_PATHS)})
        if rng.random() < 0.002:
            return Case({}, links={"it.toml": rng.choice(("/dev/zero", "fifo", "it.toml", "/", "nowhere"))})
        return Case({"it.toml": mutate.toml(rng, text)})

    def read(self, case: Case, place: Path) -> Scenario:
        """See `Kind.read`."""
        return load_scenario(case.options.get("path") or place / "it.toml")

    def check(self, case: Case, found: Scenario) -> list[str]:
        """See `Kind.check`."""
        if "it.toml" not in case.files:
            return ["a path that is no file"] if found.text not in self.texts else []
        return _against_text(found, case.files["it.toml"], ())

    def environment(self, found: Scenario) -> Any:
        """See `Kind.environment`."""
        return found.params


def _against_text(found: Scenario, data: bytes, settings: Any) -> list[str]:
    """An accepted scenario against its file's bytes."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        raw = check.overridden(tomllib.loads(text), settings)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        return [f"accepted, but it is not to be read: {type(error).__name__} {str(error)[:100]}"]
    return check.scenario(found, raw)


class Overrides(Kind):
    """``--set`` of a scenario."""

    name = "overrides"

    def __init__(self, home: Path):
        del home
        self.texts = material.scenario_texts()
        self.raw = {name: tomllib.loads(text) for name, text in self.texts.items()}

    def case(self, rng: Random) -> Case:
        """See `Kind.case`."""
        name = rng.choice(list(self.texts))
        overrides = [self.override(rng, self.raw[name]) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
        return Case({"it.toml": self.texts[name].encode()}, options={"overrides": overrides})

    def override(self, rng: Random, raw: Mapping[str, Any]) -> str:
        """One ``key=value``, mostly by the grammar."""
        coordinate, action = rng.choice(raw["coordinates"]), rng.choice(list(raw["actions"]))
        column = rng.choice(_COLUMNS)
        vector = rng.choice(("drift", "start_low", "start_high", "misread", "tolerance", "z_scale"))
        parts = rng.choice((
            [rng.choice(("horizon", "latency_budget", "money_budget", "latency_scale", "money_scale"))],
            ["weights", rng.choice(("latency", "money", "violation", "failure", "divergence"))],
            [vector], [vector, coordinate], ["actions", column, action], ["actions", action, column],
            ["actions", rng.choice(("gain", "shift")), action, coordinate],
            [rng.choice(("actions", "weights", "title", "sources", "coordinates", "horizon", "nothing"))],
        ))  # fmt: skip
        if rng.random() < 0.12:
            place = rng.randrange(len(parts))
            parts[place] = rng.choice((*mutate.TEXTS[:40], "actions", "weights", coordinate, action, column))
        if rng.random() < 0.04:
            parts.insert(rng.randrange(len(parts) + 1), rng.choice((coordinate, action, "x", "")))
        if rng.random() < 0.01:
            parts *= rng.choice((2, 1000))
        chance = rng.random()
        if chance < 0.35:
            given = repr(round(rng.uniform(0, 2), 3)) if parts[0] != "horizon" else str(rng.randrange(1, 20))
        elif chance < 0.65:
            given = mutate.number(rng)
        else:
            given = mutate.value(rng)
        text = f"{'.'.join(parts)}{'=' if rng.random() < 0.98 else ''}{given}"
        return mutate.insert_character(rng, text) if rng.random() < 0.04 else text

    def read(self, case: Case, place: Path) -> Scenario:
        """See `Kind.read`."""
        return load_scenario(place / "it.toml", case.options["overrides"])

    def check(self, case: Case, found: Scenario) -> list[str]:
        """See `Kind.check`."""
        try:
            settings = [(key, _toml(text)) for key, _, text in (o.partition("=") for o in case.options["overrides"])]
        except ValueError as error:
            return [f"accepted, but it is not to be read: {type(error).__name__}"]
        return _against_text(found, case.files["it.toml"], settings)

    def environment(self, found: Scenario) -> Any:
        """See `Kind.environment`."""
        return found.params


def _toml(text: str) -> Any:
    """One TOML value."""
    return tomllib.loads(f"it = {text}")["it"]


class SweepFiles(Kind):
    """Sweep files, and what the command line puts in their place."""

    name = "sweep files"

    def __init__(self, home: Path):
        del home
        self.overrides = Overrides(Path())

    def case(self, rng: Random) -> Case:
        """See `Kind.case`."""
        text = rng.choice(material.SWEEPS)
        changes: list[str] = []
        if rng.random() < 0.2:
            changes = [self.setting(rng) for _ in range(rng.choice((1, 2)))]
        if changes and rng.random() < 0.7:
            return Case({"it.toml": text.encode()}, options={"set": changes})
        data = mutate.toml(rng, text) if rng.random() < 0.93 else rng.choice(mutate.BYTES)(rng, text.encode())
        return Case({"it.toml": data}, options={"set": changes})

    def setting(self, rng: Random) -> str:
        """One ``--set`` of ``aljax sweep``."""
        if rng.random() < 0.3:
            return self.overrides.override(rng, self.overrides.raw["escalation"])
        key = rng.choice(_TRAINING)
        text = f"{key}={rng.choice((mutate.number, mutate.value))(rng)}"
        return mutate.insert_character(rng, text) if rng.random() < 0.1 else text

    def read(self, case: Case, place: Path) -> Spec:
        """See `Kind.read`."""
        settings = dict(parsed_setting(text) for text in case.options["set"])
        spec = read_spec(place / "it.toml", {"set": settings} if settings else None)
        resolver = Resolver(spec)
        # What every sweep does next, as far as it is quick.
        if not spec.adaptive and spec.count <= 2000:
            for point in spec.points()[:3]:
                with contextlib.suppress(UserError):
                    resolver.job(point)
        return spec

    def check(self, case: Case, found: Spec) -> list[str]:
        """See `Kind.check`."""
        wrong = []
        if found.count < 1 or not 1 <= found.runs <= MOST_RUNS:
            wrong.append(f"{found.count} configurations, {found.runs} runs")
        keys = [axis.key for axis in found.axes]
        if not keys or len(set(keys)) < len(keys):
            wrong.append("no axes, or one twice")
        protocol = found.protocol
        if not (protocol.seeds >= 1 and protocol.evaluation_episodes >= 1 and 0 <= protocol.seed < 2**31):
            wrong.append("a protocol out of range")
        if wrong or found.adaptive or found.count > 2000:
            return wrong
        points = found.points()
        if len(points) != found.count:
            wrong.append("not as many points as it says")
        resolver = Resolver(found)
        for point in points[:3]:
            for axis, value in zip(found.axes, point, strict=True):
                endless = isinstance(value, float) and not math.isfinite(value)
                if endless and axis.key not in ("clip_norm", "latency_budget", "money_budget"):
                    wrong.append(f"a value of {axis.key} is not finite")
                if not axis.choices and not axis.low <= value <= axis.high:
                    wrong.append("a value is out of its range")
            with contextlib.suppress(UserError):
                job = resolver.job(point)
                wrong += check.environment(jax.tree.map(np.asarray, job.scenario.params))
                wrong += _hyperparameters(job.hyperparameters)
        return wrong


def _hyperparameters(found: Hyperparameters) -> list[str]:
    """Numbers of a training run that cannot be."""
    values = {name: float(value) for name, value in vars(found).items()}
    return [
        f"{name} is {value}"
        for name, value in values.items()
        if not value >= 0 or (math.isinf(value) and name != "clip_norm")
    ]


class Logs(Kind):
    """Logs, one or several pooled, gzipped or not."""

    name = "logs"

    def __init__(self, home: Path):
        self.logs = [(home / f"{name}.jsonl").read_bytes() for name in ("both", "one", "blind")]
        self.scenario = material.small()

    def case(self, rng: Random) -> Case:
        """See `Kind.case`."""
        files = {}
        for number in range(rng.choice((1, 1, 1, 1, 2))):
            data = rng.choice(self.logs)
            if number == 0 or rng.random() < 0.5:
                data = mutate.json_lines(rng, data) if rng.random() < 0.9 else rng.choice(mutate.BYTES)(rng, data)
            name = f"{number}.jsonl"
            if rng.random() < 0.15:
                data, name = mutate.gzipped(rng, data), rng.choice((name, name + ".gz"))
            files[name] = data
        if rng.random() < 0.002:
            return Case({}, links={"0.jsonl": rng.choice(("/dev/zero", "/", "nowhere", "0.jsonl"))})
        if rng.random() < 0.002:
            return Case({}, options={"path": rng.choice(_PATHS)})
        return Case(files)

    def read(self, case: Case, place: Path) -> Any:
        """See `Kind.read`."""
        if "path" in case.options:
            return read_logs([case.options["path"]], self.scenario)
        return read_logs([place / name for name in (*case.files, *case.links)], self.scenario)

    def check(self, case: Case, found: Any) -> list[str]:
        """See `Kind.check`."""
        return check.log(found, list(case.files.values()), self.scenario)


class Folders(Kind):
    """What run folders and sweep folders have in common: some files spoiled, the manifest to match or not."""

    bases: tuple[Mapping[str, bytes], ...]

    def case(self, rng: Random) -> Case:
        """See `Kind.case`."""
        base = rng.choice(self.bases)
        files, links, matching = dict(base), {}, False
        names = [name for name in base if not name.startswith(".")]
        for _ in range(rng.choice((1, 1, 1, 2))):
            name = rng.choice(names)
            chance = rng.random()
            if chance < 0.04:
                files.pop(name, None)
            elif chance < 0.05:
                files.pop(name, None)
                links[name] = rng.choice(("nowhere", "/", "/dev/null", name.rpartition("/")[2]))
            elif chance < 0.052:
                files.pop(name, None)
                links[name] = rng.choice(("/dev/zero", "fifo"))
            elif chance < 0.07:
                other = rng.choice(names)
                files[name], files[other] = base[other], base[name]
            elif name in files:
                files[name] = self.spoiled(rng, name, base[name])
                matching = name != "manifest.json" and rng.random() < 0.7
        links = {name: target for name, target in links.items() if name not in files}
        if matching:
            files = material.sealed(files)
        return Case(files, links, {"row": rng.choice((0, 0, 1, 5, -1, 6, 10**12)), "sealed": matching})

    def spoiled(self, rng: Random, name: str, data: bytes) -> bytes:
        """One file of other contents, by what it holds."""
        if rng.random() < 0.1:
            return mutate.several(rng, data, mutate.BYTES)
        if name.endswith(".json"):
            return mutate.json_file(rng, data)
        if name.endswith(".toml"):
            return mutate.toml(rng, data.decode())
        if name.endswith(".npz"):
            return mutate.npz(rng, data)
        if name.endswith(".parquet"):
            return mutate.parquet(rng, data)
        if name.endswith(".msgpack"):
            if rng.random() < 0.25:
                return mutate.several(rng, data, mutate.BYTES)
            return serialization.msgpack_serialize(mutate.tree(rng, serialization.msgpack_restore(data)))
        return mutate.several(rng, data, mutate.BYTES)


def _unlisted(files: Mapping[str, bytes], needed: tuple[str, ...]) -> list[str]:
    """Files that the manifest does not vouch for."""
    try:
        listed = json.loads(files["manifest.json"])["files"]
    except (KeyError, ValueError, TypeError) as error:
        return [f"accepted, but the manifest is not to be read: {type(error).__name__}"]
    fresh = {name: material.digest(data) for name, data in files.items()}
    vouched = [name for name in needed if name in listed and listed[name].items() >= fresh[name].items()]
    return [f"{name} is not what the manifest says" for name in needed if name not in vouched]


class Runs(Folders):
    """Run folders."""

    name = "run folders"

    def __init__(self, home: Path):
        self.bases = (material.read(home / "run"), material.read(home / "run"), material.read(home / "learned"))

    def case(self, rng: Random) -> Case:
        """See `Kind.case`."""
        if rng.random() < 0.003:
            return Case({}, options={"path": rng.choice(_PATHS)})
        return super().case(rng)

    def read(self, case: Case, place: Path) -> runs.Run:
        """See `Kind.read`."""
        run = runs.load(case.options.get("path", place))
        run.policy_in(place, run.scenario)
        return run

    def check(self, case: Case, found: runs.Run) -> list[str]:
        """See `Kind.check`."""
        read = ("config.json", "scenario.toml", "curves.npz", "metrics.json", "checkpoint/policy.msgpack")
        wrong = _unlisted(case.files, read)
        if wrong:
            return wrong
        said = json.loads(case.files["config.json"])
        settings = [(key, _toml(text)) for key, _, text in (o.partition("=") for o in said["scenario"]["overrides"])]
        wrong = _against_text(found.scenario, case.files["scenario.toml"], settings)
        wrong += check.weights(found.policy.variables, case.files["checkpoint/policy.msgpack"])
        seeds, length = found.protocol.seeds, -1
        curves = {runs.LOSS: found.losses} if found.curve is None else found.curve._asdict()
        curves = {name: values for name, values in curves.items() if values is not None}
        several = {"components": 5} | dict.fromkeys(("multipliers", "promised"), len(found.config.constraints))
        shapes = {name: (seeds, length, several[name]) if name in several else (seeds, length) for name in curves}
        wrong += check.arrays(curves, shapes)
        wrong += check.finite_json(found.metrics) + _hyperparameters(found.hyperparameters)
        for name in ("train", "protocol"):
            given = {key: list(v) if isinstance(v, tuple) else v for key, v in
                     vars(found.config if name == "train" else found.protocol).items()}  # fmt: skip
            for key, value in said[name].items():
                if given[key] != value or type(given[key]) is not type(value):
                    wrong.append(f"{name}.{key} is not what config.json says")
        try:
            check_options(found.config, found.hyperparameters, found.protocol)
        except (UserError, TypeError, ValueError, AttributeError) as error:
            wrong.append(f"options that training refuses: {str(error)[:100]}")
        if found.curve is not None and "regime" in said and said["regime"].get("name") not in (None, "online"):
            wrong.append("a curve where losses should be")
        if type(found.metrics) is not dict or type(found.metrics.get("episodes")) is not int:
            wrong.append("metrics without a number of episodes")
        return wrong


class _BegunError(Exception):
    """The sweep would begin to compile: its folder was accepted as one to go on with."""


class _Stopped(Watch):
    """Stops a sweep before it compiles anything."""

    def step(self, doing: str) -> None:
        """See `Watch.step`."""
        raise _BegunError


class SweepFolders(Folders):
    """Sweep folders, finished and not."""

    name = "sweep folders"

    def __init__(self, home: Path):
        self.bases = (material.read(home / "sweep"), material.read(home / "sweep"), material.read(home / "partial"))
        self.spec = restored_spec(json.loads(self.bases[0]["sweep.json"])["sweep"], "sweep")
        self.work = prepared(self.spec)

    def read(self, case: Case, place: Path) -> dict[str, Any]:
        """See `Kind.read`."""
        found: dict[str, Any] = {"row": repeat.read_row(place, case.options["row"] % 6)}
        found["recorded"] = repeat.recorded(found["row"])
        if case.options["row"] % 6 != case.options["row"]:
            with contextlib.suppress(UserError):
                found["odd"] = repeat.read_row(place, case.options["row"])
        with contextlib.suppress(_BegunError):
            found["results"] = sweep(self.spec, place, devices=1, watch=_Stopped())
        if "results" not in found:
            gathered = Gathered(self.work)
            recall(gathered, Store(place))
            found["gathered"] = gathered
        return found

    def check(self, case: Case, found: dict[str, Any]) -> list[str]:
        """See `Kind.check`."""
        wrong = check.environment(jax.tree.map(np.asarray, found["row"].job.scenario.params))
        wrong += _hyperparameters(found["row"].job.hyperparameters)
        if "odd" in found:
            wrong.append("a row that there is not")
        if "gathered" in found:
            gathered = found["gathered"]
            done = gathered.row_done
            for name, values in gathered.rows.items():
                if name != "finite" and not np.isfinite(values[done & gathered.rows["finite"]]).all():
                    wrong.append(f"{name} is not finite")
            wrong += self.unchanged(case, self.bases[2], "chunks/")
            return wrong
        results, rows = found["results"], self.spec.runs
        wrong += self.unchanged(case, self.bases[0], "")
        for name, values in results.table.items():
            if len(values) != rows:
                wrong.append(f"column {name} has {len(values)} rows")
        if wrong:
            return wrong
        for name in FIGURES:
            values = np.asarray(results.table[name])
            if values.dtype.kind != "f" or not np.isfinite(values[~np.asarray(results.table["diverged"], bool)]).all():
                wrong.append(f"column {name} is {values.dtype}, or not finite")
        for name in CURVE:
            if name not in results.curves or results.curves[name].shape[:1] != (rows,):
                wrong.append(f"curve {name} is missing or of another shape")
        return wrong

    def unchanged(self, case: Case, base: Mapping[str, bytes], under: str) -> list[str]:
        """Accepted files are those that were written, unless their hashes were made to match."""
        if case.options["sealed"]:
            return []
        names = [name for name in base if name.startswith(under) and name.endswith((".npz", ".parquet", "sweep.json"))]
        return [f"{Path(name).suffix} file changed without a word" for name in names
                if name in case.files and case.files[name] != base[name]]  # fmt: skip


_OPTIONS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("scenarios", "small.toml"): ("--set",),
    ("scenarios", "escalation"): ("--set",),
    ("baseline", "--json", "no/such/folder/f.json"): (
        "--set", "--scenario", "--seeds", "--seed", "--evaluation-episodes", "--first-seed",
    ),
    ("optimal", "--scenario", "service_desk", "--start", "1,1,1,1"): ("--start", "--set", "--figure"),
    ("evaluate", "no-such-run"): ("--scenario", "--set", "--seed", "--evaluation-episodes", "--out"),
    ("train", "--data", "no-such-log", "--regime", "offline"): (
        "--episodes", "--batch", "--hidden", "--baseline", "--schedule", "--learning-rate", "--entropy", "--clip-norm",
        "--trace", "--running-decay", "--seeds", "--seed", "--first-seed", "--evaluation-episodes", "--algorithm",
        "--updates", "--minibatch", "--step-size", "--pessimism", "--set", "--scenario", "--regime",
    ),
    ("train", "--from", "no-such-sweep"): ("--row",),
    ("sweep", "no-such-file.toml"): (
        "--lanes", "--devices", "--memory", "--seeds", "--episodes", "--set", "--processes",
    ),
    ("collect", "no/such/folder/log.jsonl"): ("--epsilon", "--episodes", "--seed", "--policy", "--scenario", "--set"),
    ("ope", "no-such-log", "--policy", "random"): (
        "--epsilon", "--resamples", "--folds", "--floor", "--penalty", "--seed", "--truth", "--policy", "--set",
        "--scenario",
    ),
}  # fmt: skip
"""Commands that end at once, whatever the options say, and options that they take."""


class Commands(Kind):
    """Command lines, through ``main``."""

    name = "command lines"

    def __init__(self, home: Path):
        del home
        self.overrides = Overrides(Path())

    def case(self, rng: Random) -> Case:
        """See `Kind.case`."""
        command = rng.choice([*_OPTIONS, *list(_OPTIONS)[:2] * 2])  # the first two are those that may be accepted
        words = list(command)
        for _ in range(rng.choice((1, 1, 1, 2))):
            option = rng.choice(_OPTIONS[command])
            words += [option, self.given(rng, option)]
        chance = rng.random()
        if chance < 0.05:
            odd = (*mutate.TEXTS, "--help", "-h", "--", "-", "--x", "--json")
            words.insert(rng.randrange(len(words) + 1), rng.choice(odd))
        elif chance < 0.07:
            del words[rng.randrange(1, len(words))]
        return Case(
            {"small.toml": material.SMALL.encode()}, options={"words": [w.replace("\ud800", "?") for w in words]}
        )

    def given(self, rng: Random, option: str) -> str:
        """A value of an option."""
        if option == "--set" and rng.random() < 0.9:
            return self.overrides.override(rng, self.overrides.raw[rng.choice(("small", "escalation"))])
        if option == "--start" and rng.random() < 0.5:
            return ",".join(mutate.number(rng) for _ in range(rng.choice((1, 4, 4))))
        return rng.choice((mutate.number(rng), mutate.number(rng), rng.choice(mutate.TEXTS), mutate.value(rng)))

    def read(self, case: Case, place: Path) -> str:
        """See `Kind.read`."""
        said, told = io.StringIO(), io.StringIO()
        words = [str(place / word) if word == "small.toml" else word for word in case.options["words"]]
        if "--json" in words:  # never anywhere else than where nothing can be written
            words = [str(place / "no/such/folder") if before == "--json" else word
                     for before, word in zip(["", *words], words, strict=False)]  # fmt: skip
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told), contextlib.chdir(place):
            try:
                status = main(words)
            except SystemExit as exit_:
                status = exit_.code or 0
        if status == 2:
            # The command line's own prefix is no part of the message.
            raise UserError(told.getvalue().removesuffix("\n"))
        if status != 0:
            raise RuntimeError(f"status {status}: {told.getvalue()[:300]}")
        return said.getvalue()

    def check(self, case: Case, found: str) -> list[str]:
        """See `Kind.check`."""
        del case
        return [] if found.strip() else ["nothing was said"]


KINDS: tuple[type[Any], ...] = (Scenarios, Overrides, SweepFiles, Logs, Runs, SweepFolders, Commands)
"""All of them; each is made with the folder that `material.make` filled."""
