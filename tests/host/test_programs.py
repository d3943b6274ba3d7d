"""Programs that are kept: found by the next process, the same bits as freshly compiled, never half read."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from aljax.comparison import compare
from aljax.host import executables, programs
from aljax.host.programs import ENDING, Program
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.scenario import load_scenario
from aljax.seeds import mesh_of, over_seeds, spread
from aljax.training import train_seeds, training_programs

CONFIG = TrainConfig(episodes=40, batch=20, hidden=(4,))
PROTOCOL = Protocol(seeds=3, evaluation_episodes=20)


class Pair(NamedTuple):
    total: jax.Array
    doubled: jax.Array


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Programs are kept here, for this test."""
    monkeypatch.setattr(programs, "_folder", [tmp_path])
    return tmp_path


@pytest.fixture
def traced():
    """What was traced, a name a trace."""
    return []


def pair_of(traced, factor=2.0):
    """A program that tells when it is traced."""

    def function(numbers, shift):
        traced.append(factor)
        return {"pair": Pair(numbers["x"].sum() + shift, factor * numbers["x"]), "shift": (shift,)}

    return Program(function, ("pair", factor))


GIVEN = ({"x": np.arange(5, dtype=np.float32)}, np.float32(3.0))


def kept(folder):
    return sorted(folder.glob(f"*{ENDING}"))


def same(one, other):
    leaves, tree = jax.tree.flatten(one)
    others, other_tree = jax.tree.flatten(other)
    return tree == other_tree and all(
        np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(leaves, others, strict=True)
    )


def test_nothing_is_kept_unless_it_is_asked_for(tmp_path, monkeypatch, traced):
    monkeypatch.chdir(tmp_path)
    assert pair_of(traced)(*GIVEN)["pair"].total == 13
    assert not [*tmp_path.iterdir()]


def test_what_one_traced_the_next_finds(folder, traced):
    first = pair_of(traced)(*GIVEN)
    assert isinstance(first["pair"], Pair) and traced == [2.0] and len(kept(folder)) == 1
    assert same(pair_of(traced)(*GIVEN), first) and traced == [2.0]
    jitted = jax.jit(pair_of([])._function)(*GIVEN)
    assert same(first, jitted)


def test_shapes_dtypes_and_keys_are_told_apart(folder, traced):
    numbers, shift = GIVEN
    for factor in (2.0, 3.0):
        program = pair_of(traced, factor)
        program(numbers, shift)
        program({"x": numbers["x"][:4]}, shift)
        program({"x": numbers["x"].astype(np.int32)}, shift)
        program(numbers, 3.0)  # a weak type
        program({"x": 2 * numbers["x"]}, np.float32(1.0))  # other values alone: the same program
    assert len(traced) == len(kept(folder)) == 8


def test_other_code_or_settings_are_other_programs(folder, traced, monkeypatch):
    pair_of(traced)(*GIVEN)
    monkeypatch.setattr(programs, "_surroundings", lambda: "another version")
    pair_of(traced)(*GIVEN)
    assert len(traced) == len(kept(folder)) == 2


def test_surroundings_have_code_versions_devices_and_settings():
    programs._surroundings.cache_clear()
    before = programs._surroundings()
    assert '"jaxlib"' in before and '"jax_enable_x64"' in before and "jax_compilation_cache_dir" not in before
    programs._surroundings.cache_clear()
    with jax.default_matmul_precision("highest"):
        assert programs._surroundings() != before
    programs._surroundings.cache_clear()
    assert programs._surroundings() == before


BESIDE = """
import sys
import jax
import numpy as np
from aljax.host import programs

folder = sys.argv[1]
jax.config.update("jax_compilation_cache_dir", folder)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
programs.keep_in(programs.Path(folder))
found = programs.Program(lambda x: (np.float32(2.0) * x.sum() + x, x.astype("int32") @ x.astype("int32")), "beside")
print(*map(np.asarray, found(np.arange(5, dtype=np.float32))))
"""


def test_what_the_cache_of_jax_has_is_not_kept_in_its_stead(tmp_path):
    """What was loaded from there lacks what it needs, once it is written again."""

    def run():
        command = [sys.executable, "-c", BESIDE, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    first = run()
    assert not list(tmp_path.glob("*-cache")) and len(kept(tmp_path)) == 1
    kept(tmp_path)[0].unlink()
    assert [run(), run(), run()] == [first] * 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: b"",
        lambda whole: whole[:-1],
        lambda whole: whole[:40] + bytes([whole[40] ^ 1]) + whole[41:],
        lambda whole: programs.hashlib.sha256(b"nonsense").digest() + b"nonsense",
    ],
)
def test_what_is_damaged_or_foreign_is_traced_anew(folder, traced, spoil):
    first = pair_of(traced)(*GIVEN)
    (file,) = kept(folder)
    file.write_bytes(spoil(file.read_bytes()))
    for _ in range(2):  # the first keeps it anew
        assert same(pair_of(traced)(*GIVEN), first) and len(traced) == 2


def test_what_is_traced_ahead_is_not_traced_again(folder, traced):
    program = pair_of(traced)
    shapes = program.traced(*GIVEN)
    assert traced == [2.0] and not kept(folder)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), shapes) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), program(*GIVEN)
    )
    assert traced == [2.0] and len(kept(folder)) == 1
    assert pair_of(traced).traced(*GIVEN) is None and traced == [2.0]  # it is found


def test_nothing_is_traced_ahead_where_nothing_is_kept(traced):
    assert pair_of(traced).traced(*GIVEN) is None and not traced


def test_a_program_that_cannot_be_kept_is_run_all_the_same(folder, traced, monkeypatch):
    def refuse(tree):
        raise TypeError("cannot be kept")

    monkeypatch.setattr(executables, "_spelled", refuse)
    assert pair_of(traced)(*GIVEN)["pair"].total == 13 and not kept(folder)


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, traced):
    monkeypatch.setattr(programs, "_folder", [tmp_path / "not there"])
    assert pair_of(traced)(*GIVEN)["pair"].total == 13


def test_programs_over_devices_give_their_first_argument_s_memory(folder):
    mesh = mesh_of(2)

    def program():
        return spread(lambda x, y: x * y, mesh, 1, "product", donate=True)

    for _ in range(2):
        given = jax.device_put(np.arange(4, dtype=np.float32), over_seeds(mesh))
        found = program()(given, np.float32(3.0))
        np.testing.assert_array_equal(found, [0, 3, 6, 9])
        assert found.sharding.is_equivalent_to(over_seeds(mesh), 1) and given.is_deleted()
    assert len(kept(folder)) == 1


def test_training_and_comparison_have_the_same_bits_traced_kept_and_found(folder, monkeypatch):
    scenario = load_scenario("escalation")

    def run():
        training_programs.cache_clear()
        trained = train_seeds(scenario, CONFIG, Hyperparameters(), PROTOCOL)
        return trained.curve, trained.policy.variables, compare(scenario, PROTOCOL, trained.policy).evaluations

    found = {}
    for way in ("kept", "found"):
        found[way] = run()
        assert len(kept(folder)) == 3  # the start of training, its updates, the evaluation
    monkeypatch.setattr(programs, "_folder", [])
    found["traced"] = run()
    training_programs.cache_clear()
    assert same(found["kept"], found["traced"]) and same(found["found"], found["traced"])


def test_nothing_in_the_package_unpickles():
    package = Path(programs.__file__).parents[1]
    assert not [file for file in package.rglob("*.py") if "import pickle" in file.read_text()]


def test_keys_go_in_and_come_out_as_keys(folder):
    key = jax.random.key(3)
    for _ in range(2):  # compiled, then found
        found = Program(lambda key: {"next": jax.random.fold_in(key, 1)}, "keys")(key)
        assert found["next"].dtype == key.dtype
        assert np.array_equal(jax.random.key_data(found["next"]), jax.random.key_data(jax.random.fold_in(key, 1)))
    assert len(kept(folder)) == 1
