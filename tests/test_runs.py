"""Run folders: whole or not there, checked before they are believed."""

import dataclasses
import io
import json
import os
import zipfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

from aljax import UserError, env, runs
from aljax.comparison import compare
from aljax.host import files
from aljax.host.numerics import difference, numerics
from aljax.learning.run_state import CURVES
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.scenario import parse_scenario
from aljax.training import train_seeds

from tiny import TINY, tiny_scenario

TWO = (
    TINY.replace('["error"]', '["error", "doubt"]')
    .replace("drift = 0.25", "drift = { error = 0.25, doubt = 0.0 }\nmisread = { error = 0.5, doubt = 0.0 }")
    .replace("start_low = 2.0", "start_low = { error = 1.0, doubt = 0.5 }")
    .replace("start_high = 2.0", "start_high = { error = 2.0, doubt = 3.0 }")
    .replace("shift = -0.5", "shift = { error = -0.5, doubt = -1.0 }\nnoise = 0.1")
)

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
        runs.save(place.folder, SCENARIO, CONFIG, HYPER, PROTOCOL, trained.policy, trained.curves)
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
    assert difference(run.numerics, numerics()) == ""
    with jax.enable_x64(True):
        assert difference(run.numerics, numerics()) == "begun with jax_enable_x64 False, this is True"


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
        for name in CURVES:
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
        ("config.json", of("train", "gradient", to="steepest"), "gradient: 'steepest' is none of"),
        ("config.json", of("train", "curriculum", to="uphill"), "curriculum: 'uphill' is none of"),
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


def test_a_run_from_before_an_option_is_what_its_default_says(folder):
    file = folder / "config.json"
    raw = json.loads(file.read_text())
    shape = ("gradient", "curriculum", "environments", "objective", "constraints")
    later = [raw["train"].pop(key) for key in (*shape, "replays", "replay_batches", "replay_last")]
    later += [raw["hyperparameters"].pop(key) for key in ("residual", "nearer", "alpha", "multiplier_rate")]
    file.write_text(json.dumps(raw))
    renew_manifest(folder)
    run = runs.load(folder)
    assert len(later) == 12 and (run.config, run.hyperparameters) == (CONFIG, HYPER)


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
    assert dataclasses.replace(changed, changes=()).params.actions.failure[0] == 0.75


def test_a_changed_scenario_is_observed_on_the_scales_of_training(folder):
    run = runs.load(folder)
    longer = run.changed(["horizon=9", "actions.latency.strong=20"])
    assert float(longer.params.latency_scale) != float(run.scenario.params.latency_scale)
    seen = run.as_seen(folder, longer)
    for name in ("z_scale", "latency_scale", "money_scale"):
        np.testing.assert_array_equal(getattr(seen.params, name), getattr(run.scenario.params, name))
    assert seen.horizon == 9
    assert float(run.as_seen(folder, run.changed(["latency_scale=3.0"])).params.latency_scale) == 3.0


REORDERED = TWO.replace('["error", "doubt"]', '["doubt", "error"]')
REORDERED = REORDERED[: REORDERED.index("[actions.weak]")] + "".join(
    f"[actions.{part}" for part in reversed(REORDERED.split("[actions.")[1:])
)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run on two coordinates that differ in everything."""
    scenario = parse_scenario(TWO, name="two", where="two.toml")
    config = dataclasses.replace(CONFIG, episodes=200)
    found = train_seeds(scenario, config, HYPER, PROTOCOL)
    compared = compare(scenario, PROTOCOL, found.policy)
    with runs.new_folder(tmp_path_factory.mktemp("runs") / "two") as place:
        runs.save(place.folder, scenario, config, HYPER, PROTOCOL, found.policy, found.curves)
        files.write_json(place.folder / "metrics.json", runs.metrics(scenario, 200, PROTOCOL, compared, {}))
    return place.path


def test_a_scenario_in_another_order_is_put_in_the_order_of_training(two):
    folder, run, other = two, runs.load(two), parse_scenario(REORDERED, name="other", where="other.toml")
    assert other.action_names == ("stop", "strong", "weak") and other.coordinate_names == ("doubt", "error")
    seen = run.as_seen(folder, other)
    assert seen.action_names == run.scenario.action_names and seen.kinds == run.scenario.kinds
    assert seen.coordinate_names == run.scenario.coordinate_names
    chex.assert_trees_all_equal(seen.params, run.scenario.params)


def test_a_policy_chooses_the_same_in_any_order_and_on_any_scales(two):
    folder, run = two, runs.load(two)
    mine = run.scenario.params
    other = parse_scenario(REORDERED, name="other", where="other.toml", overrides=["horizon=7"])
    other = dataclasses.replace(
        other, params=dataclasses.replace(other.params, z_scale=jnp.array([0.25, 8.0]), money_scale=jnp.float32(9.0))
    )
    theirs = other.params
    assert float(theirs.latency_scale) != float(mine.latency_scale)
    rows, coordinates = np.array([2, 1, 0]), np.array([1, 0])  # of the other, in the run's order
    key, batch = jax.random.key(0), (500,)
    _, state = env.reset(key, mine, batch)
    status = (jnp.arange(500) // 3 ** jnp.arange(3)[:, None]) % 3
    state = dataclasses.replace(state, z=3 * state.z, latency=state.z[0] ** 2, money=state.z[1] ** 2, status=status)
    turned = dataclasses.replace(
        state, z=state.z[coordinates], misread=state.misread[coordinates], status=state.status[rows]
    )
    # The run's own time and horizon, which have no scale.
    theirs = dataclasses.replace(theirs, horizon=mine.horizon)
    for seed in range(2):
        own, moved = (
            jax.tree.map(lambda leaf, seed=seed: leaf[seed], policy)
            for policy in (run.policy, run.policy_in(folder, other))
        )
        before = own.architecture.output(own.variables, env.observe(state, mine))
        after = moved.architecture.output(moved.variables, env.observe(turned, theirs))
        np.testing.assert_allclose(after[rows], before, rtol=1e-4, atol=1e-4)
        assert np.abs(np.diff(before, axis=0)).max() > 0.1


def test_what_a_policy_was_never_shown_changes_nothing_and_what_it_was_shown_may_be_gone(two):
    folder, run = two, runs.load(two)
    without = "".join(line for line in TWO.splitlines(True) if not line.startswith("after_failed"))
    others = {
        3: run.changed(["actions.after_ok.weak=0.5"]),
        6: run.changed(["actions.after_ok.weak=0.5", "actions.max_calls.weak=2"]),
        -3: parse_scenario(without, name="other", where="other.toml"),
    }
    for more, other in others.items():
        assert env.observation_size(other.params) == env.observation_size(run.scenario.params) + more
        (_, mine), (seen, _) = (env.reset(jax.random.key(0), each.params, (500,)) for each in (run.scenario, other))
        own, moved = (
            jax.tree.map(lambda leaf: leaf[0], policy)
            for policy in (run.policy, run.policy_in(folder, run.as_seen(folder, other)))
        )
        before = own.architecture.output(own.variables, env.observe(mine, run.scenario.params))
        np.testing.assert_allclose(moved.architecture.output(moved.variables, seen), before, rtol=1e-4, atol=1e-5)


def test_a_policy_where_it_was_trained_is_the_same_to_the_last_bit(two):
    folder, run = two, runs.load(two)
    assert run.policy_in(folder, run.scenario) is run.policy


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("[actions.weak]", "[actions.mild]", "actions mild, strong, stop"),
        ("doubt", "fear", "coordinates error, fear"),
    ],
)
def test_other_names_are_refused_though_there_are_as_many(old, new, named, two):
    folder, run, other = two, runs.load(two), parse_scenario(TWO.replace(old, new), name="other", where="other.toml")
    for fit in (run.as_seen, run.policy_in):
        with pytest.raises(UserError, match=named) as caught:
            fit(folder, other)
        assert "trained on two, with" in str(caught.value) and "\n" not in str(caught.value)


def change(folder, name, value):
    """A file with other contents, and the right digest."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    (folder / name).write_bytes(data)
    renew_manifest(folder)


def one_line_about(folder, name):
    with pytest.raises(UserError) as caught:
        runs.load(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / name}: ") and "\n" not in message and len(message) < 600, message
    return message


def set_in(found, key, value):
    *path, last = key.split(".")
    for part in path:
        found = found[part]
    if value is None:
        del found[last]
    else:
        found[last] = value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scenario", None),
        ("scenario", "tiny"),
        ("scenario.name", 3),
        ("scenario.name", "../../etc"),
        ("scenario.overrides", {"drift": 1}),
        ("scenario.overrides", [["drift=1"]]),
        ("train", []),
        ("train.hidden", None),
        ("train.hidden", "many"),
        ("train.hidden", [4.5]),
        ("train.hidden", [10**12]),
        ("train.batch", None),
        ("train.batch", True),
        ("train.batch", 0),
        ("train.episodes", 10**400),
        ("train.baseline", "best"),
        ("train.normalise", 1),
        ("hyperparameters.trace", None),
        ("hyperparameters.trace", "much"),
        ("hyperparameters.trace", "nan"),
        ("hyperparameters.trace", []),
        ("protocol", 5),
        ("protocol.seeds", 10**15),
        ("protocol.seeds", "2"),
        ("regime", "online"),
        ("regime", {}),
    ],
)
def test_a_configuration_that_makes_no_sense_is_one_line(key, value, folder):
    found = json.loads((folder / "config.json").read_text())
    set_in(found, key, value)
    change(folder, "config.json", found)
    one_line_about(folder, "config.json")


@pytest.mark.parametrize(
    "value", [[], {}, {"episodes": "many", "policies": {}}, {"episodes": 3}, b"{", b"\xff", b"[" * 10**5]
)
@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_json_of_another_shape_is_one_line(name, value, folder):
    change(folder, name, value)
    one_line_about(folder, name)


def arrays(**changes):
    """Learning curves as they are, but for those that are given."""
    whole = {name: np.ones((2, 2, 5) if name == "components" else (2, 2), np.float32) for name in CURVES}
    return {name: value for name, value in (whole | changes).items() if value is not None}


@pytest.mark.parametrize(
    "found",
    [
        arrays(cost=None),
        arrays(cost=np.ones((3, 2), np.float32)),
        arrays(cost=np.ones((2, 3), np.float32)),
        arrays(cost=np.array([["a", "b"]] * 2)),
        arrays(cost=np.array([[{}, 1], [2, 3]], object)),
        arrays(cost=np.float32(1)),
        arrays(components=np.ones((2, 2, 4), np.float32)),
    ],
)
def test_curves_of_another_shape_are_one_line(found, folder):
    written = io.BytesIO()
    np.savez(written, **found)
    change(folder, "curves.npz", written.getvalue())
    one_line_about(folder, "curves.npz")


def test_curves_that_would_unpack_to_any_size_are_refused(folder):
    written = io.BytesIO()
    np.savez_compressed(written, **arrays(cost=np.zeros((2, 50_000_000), np.float32)))
    assert len(written.getvalue()) < 1_000_000
    change(folder, "curves.npz", written.getvalue())
    assert "compressed" in one_line_about(folder, "curves.npz")
    change(folder, "curves.npz", b"PK\x03\x04 no archive")
    one_line_about(folder, "curves.npz")


def test_weights_that_are_not_finite_are_refused(folder, trained):
    weights = jax.tree.map(np.array, trained.policy.variables)
    weights["params"]["Dense_0"]["bias"][1, 2] = np.nan
    change(folder, "checkpoint/policy.msgpack", serialization.msgpack_serialize(weights))
    assert "weights that are not finite" in one_line_about(folder, "checkpoint/policy.msgpack")


def test_weights_of_another_shape_or_precision_are_refused(folder, trained):
    for change_of in (lambda leaf: leaf[:1], lambda leaf: leaf.astype(np.float16)):
        weights = jax.tree.map(lambda leaf, f=change_of: f(np.array(leaf)), trained.policy.variables)
        change(folder, "checkpoint/policy.msgpack", serialization.msgpack_serialize(weights))
        assert "another shape or precision" in one_line_about(folder, "checkpoint/policy.msgpack")


@pytest.mark.parametrize(
    "name", ["config.json", "scenario.toml", "curves.npz", "metrics.json", "checkpoint/policy.msgpack"]
)
def test_a_file_that_the_manifest_does_not_list_is_not_believed(name, folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    one_line_about(folder, name)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"format": 2}', '{"format": 2, "files": {"metrics.json": 1}}', "[" * 100_000,
        '{"format": 2, "files": {"config.json": {"bytes": "many", "sha256": 5}}}', '{"format": {}, "files": {}}',
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_one_line(text, folder):
    """Among them one whose entry for metrics.json became a number."""
    whole = json.loads((folder / "manifest.json").read_text())
    if '"metrics.json": 1' in text:
        whole["files"]["metrics.json"] = 1
        text = json.dumps(whole)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(UserError) as caught:
        runs.load(folder)
    assert str(caught.value).startswith(str(folder)) and "\n" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="devices of POSIX")
def test_a_run_folder_with_links_to_what_never_ends_is_one_line(folder):
    for name in ("manifest.json", "metrics.json"):
        before = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")
        with pytest.raises(UserError) as caught:
            runs.load(folder)
        assert name in str(caught.value)
        (folder / name).unlink()
        (folder / name).write_bytes(before)
