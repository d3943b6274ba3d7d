"""Run folders: whole or not there, checked before they are believed."""

import dataclasses
import json
import zipfile

import chex
import numpy as np
import pytest
from flax import serialization

from aljax import UserError, files, runs
from aljax.experiment import Protocol, compare, train_seeds
from aljax.train import Curve, Hyperparameters, TrainConfig

from tiny import tiny_scenario

CONFIG = TrainConfig(episodes=40, batch=20, hidden=(4,), baseline="running")
HYPER = Hyperparameters(learning_rate=0.1 + 0.2, clip_norm=float("inf"))
PROTOCOL = Protocol(seeds=2, evaluation_episodes=20, seed=7)
SCENARIO = tiny_scenario("drift=0.5")


@pytest.fixture(scope="module")
def trained():
    return train_seeds(SCENARIO, CONFIG, HYPER, PROTOCOL)


@pytest.fixture(scope="module")
def figures(trained):
    compared = compare(SCENARIO, PROTOCOL, trained.policy)
    return runs.metrics(SCENARIO, 40, PROTOCOL, compared, {**trained.seconds, **compared.seconds})


@pytest.fixture
def folder(trained, figures, tmp_path):
    with runs.new_folder(tmp_path / "run") as place:
        runs.save(place.folder, SCENARIO, CONFIG, HYPER, PROTOCOL, trained)
        files.write_json(place.folder / "metrics.json", figures)
    assert place.path == tmp_path / "run"
    return place.path


def test_what_was_saved_comes_back(folder, trained, figures):
    run = runs.load(folder)
    assert (run.config, run.hyperparameters, run.protocol) == (CONFIG, HYPER, PROTOCOL)
    assert run.scenario.overrides == ("drift=0.5",)
    chex.assert_trees_all_equal(run.scenario.params, SCENARIO.params)
    chex.assert_trees_all_equal(run.policy, trained.policy)
    chex.assert_trees_all_equal(run.curve, trained.curve)
    assert run.metrics == figures


def test_metrics_have_the_agreed_shape(figures):
    assert list(figures["policies"]) == ["learned", "latency", "cost_aware", "random"]
    components = {"latency", "money", "violation", "failure", "divergence"}
    for row in figures["policies"].values():
        assert set(row) == {"cost", "success", "components", "cost_iqm"}
        assert set(row["components"]) == components
        assert set(row["cost"]) == {"mean", "std"}
    assert set(figures["seconds"]) == {"compile", "train", "evaluate"}
    assert {"scenario", "episodes", "seeds", "evaluation_episodes", "device", "versions"} <= set(figures)
    json.dumps(figures, allow_nan=False)


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def renew_manifest(folder):
    """As if the files had been written as they are now."""
    (folder / "manifest.json").unlink()
    files.write_json(folder / "manifest.json", {"format": 2, "files": files.digests(folder)})


def test_any_file_cut_short_or_changed_is_named_and_refused(folder):
    for path in files_in(folder):
        whole = path.read_bytes()
        if not whole:
            continue
        for damaged in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1])):
            path.write_bytes(damaged)
            with pytest.raises(UserError) as caught:
                runs.load(folder)
            assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
            if path.name != "manifest.json":
                assert str(path) in str(caught.value)
        path.write_bytes(whole)
    runs.load(folder)


def test_a_missing_file_is_named(folder):
    for path in files_in(folder):
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(UserError, match=path.name):
            runs.load(folder)
        path.write_bytes(whole)


def test_a_damaged_checkpoint_with_a_matching_manifest_is_still_one_line(folder):
    """As from a disk that lied before the manifest was written."""
    for path in sorted((folder / "checkpoint").rglob("*")):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:3])
    renew_manifest(folder)
    with pytest.raises(UserError, match="checkpoint") as caught:
        runs.load(folder)
    assert "\n" not in str(caught.value)


def of(*keys, to):
    """Another value for a key of a JSON file."""

    def change(path):
        whole = json.loads(path.read_text())
        inner = whole
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        path.write_text(json.dumps(whole))

    return change


def curves(**changes):
    """Other learning curves."""

    def change(path):
        with np.load(path) as arrays:
            held = dict(arrays)
        np.savez(path, **{name: changes.get(name, lambda values: values)(values) for name, values in held.items()})

    return change


def not_arrays(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in Curve._fields:
            archive.writestr(f"{name}.npy", b"no array")


def weights_not_finite(path):
    held = serialization.msgpack_restore(path.read_bytes())
    held["params"]["Dense_0"]["bias"] = np.full_like(held["params"]["Dense_0"]["bias"], np.nan)
    path.write_bytes(serialization.msgpack_serialize(held))


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("checkpoint/policy.msgpack", weights_not_finite, "weights that are not finite"),
        ("curves.npz", lambda path: path.write_bytes(b"no archive"), "cannot be read"),
        ("curves.npz", not_arrays, "cost: expected numbers"),
        ("curves.npz", curves(cost=lambda values: values * np.nan), "cost: not finite"),
        ("curves.npz", curves(success=lambda values: values[:1]), "success: expected numbers for 2 seeds"),
        ("curves.npz", curves(entropy=lambda values: values.astype(int)), "entropy: expected numbers"),
        ("metrics.json", of("episodes", to="many"), "episodes: expected a whole number"),
        ("metrics.json", of("policies", "learned", "cost", "mean", to=np.inf), "is not finite"),
        ("config.json", of("protocol", "seeds", to=0), "seeds: expected a whole number of at least 1"),
        ("config.json", of("protocol", "seeds", to=10**12), "seeds: expected a whole number of at most"),
        ("config.json", of("protocol", to=5), "damaged, or of another version"),
        ("config.json", of("train", "batch", to="20"), "batch: expected a whole number"),
        ("config.json", of("train", "baseline", to="best"), "baseline: 'best' is none of"),
        ("config.json", of("train", "normalise", to=1), "normalise: expected true or false"),
        ("config.json", of("hyperparameters", "trace", to="2"), "trace: expected a number in"),
        ("config.json", of("hyperparameters", "trace", to=0.5), "expected numbers as text"),
        ("config.json", of("scenario", "overrides", to="drift=0.5"), "expected a name and a list of overrides"),
        ("config.json", of("regime", to={"name": "sideways"}), "regime: unknown name"),
        ("scenario.toml", lambda path: path.write_text("horizon = 3"), "coordinates"),
    ],
)
def test_contents_that_cannot_be_are_refused_though_the_manifest_vouches_for_them(folder, name, change, text):
    change(folder / name)
    renew_manifest(folder)
    with pytest.raises(UserError) as caught:
        runs.load(folder)
    assert str(folder / name) in str(caught.value) and text in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_something_that_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such run folder"):
        runs.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="not a complete run folder"):
        runs.load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99, "files": {}}')
    with pytest.raises(UserError, match="format 99"):
        runs.load(tmp_path)


def test_a_folder_appears_only_when_its_block_ends_well(tmp_path):
    with pytest.raises(RuntimeError), runs.new_folder(tmp_path / "run") as place:
        (place.folder / "half").write_text("x")
        assert not (tmp_path / "run").exists()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_stands_there_is_overwritten_unasked(folder, tmp_path):
    before = {path: path.read_bytes() for path in files_in(folder)}
    with pytest.raises(UserError, match="already exists"), runs.new_folder(folder):
        pass
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.txt").write_text("years")
    with pytest.raises(UserError, match="not a run folder"), runs.new_folder(other, overwrite=True):
        pass
    assert {path: path.read_bytes() for path in files_in(folder)} == before
    with runs.new_folder(folder, overwrite=True) as place:
        (place.folder / "new").write_text("x")
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious", "run"]


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"), runs.new_folder(tmp_path / "file" / "run"):
        raise AssertionError("the block must not run")
    for bad in (tmp_path / "file" / "a.json", tmp_path / "no" / "a.json", tmp_path):
        with pytest.raises(UserError):
            files.check_writable(bad)
        with pytest.raises(UserError):
            files.write_json(bad, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_json_refuses_what_is_no_number_and_leaves_the_old_file(tmp_path):
    files.write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(UserError, match=r"a.json: not written: policies.1.cost is inf, not finite$"):
        files.write_json(tmp_path / "a.json", {"policies": [{"cost": 1.5}, {"cost": np.inf, "std": np.nan}]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


def test_folders_are_numbered_from_the_first_that_is_free(tmp_path):
    (tmp_path / "paper-1").mkdir()
    with runs.new_folder(tmp_path / "paper", numbered=True) as first:
        with runs.new_folder(tmp_path / "paper", numbered=True) as second:
            (second.folder / "it").write_text("second")
        (first.folder / "it").write_text("first")
    assert (first.path, second.path) == (tmp_path / "paper-2", tmp_path / "paper-3")
    assert (first.path / "it").read_text() == "first" and (second.path / "it").read_text() == "second"


def test_a_configuration_of_another_version_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["train"]["new_option"] = 1
    (folder / "config.json").write_text(json.dumps(config))
    renew_manifest(folder)
    with pytest.raises(UserError, match=r"config\.json: damaged, or of another version"):
        runs.load(folder)


def test_a_runs_scenario_can_be_changed_on_top_of_its_own_changes(folder):
    changed = runs.load(folder).changed(["actions.failure.weak=0.75"])
    assert changed.overrides == ("drift=0.5", "actions.failure.weak=0.75")
    assert float(changed.params.drift[0]) == 0.5
    assert dataclasses.replace(changed, overrides=()).params.actions.failure[0] == 0.75


def test_a_changed_scenario_is_observed_on_the_scales_of_training(folder):
    run = runs.load(folder)
    longer = run.changed(["horizon=9", "actions.latency.strong=20"])
    assert float(longer.params.latency_scale) != float(run.scenario.params.latency_scale)
    for name in ("z_scale", "latency_scale", "money_scale"):
        np.testing.assert_array_equal(getattr(run.as_seen(longer).params, name), getattr(run.scenario.params, name))
    asked = ["latency_scale=3.0"]
    assert float(run.as_seen(run.changed(asked), asked).params.latency_scale) == 3.0
    assert run.as_seen(longer).horizon == 9
