"""The benchmark suite's own parts: rivals play as aljax does, statistics, the page, and what it says of bad options."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from aljax import load_scenario

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import bench

import receipts
from rivals import numpy_batched, same
from strategies import env_params, simple_environment
from suite import fractions, measure, page, rivals_here
from suite.environments import grown
from suite.options import Options
from suite.tables import tables


@pytest.mark.parametrize("name", ["paper", "escalation", "service_desk"])
def test_the_numpy_environment_plays_as_aljax_does(name):
    """With failures that are over at once: rivals know no statuses."""
    params = load_scenario(name).params
    params = dataclasses.replace(params, actions=dataclasses.replace(params.actions, after_ok=None, after_failed=None))
    batched = numpy_batched.Environment(jax.tree.map(np.array, params))
    assert same.difference(params, batched.play_given, episodes=128) < 1e-4


def test_rivals_refuse_what_they_do_not_play():
    with pytest.raises(ValueError, match="without optional fields, got after_failed"):
        numpy_batched.Environment(jax.tree.map(np.array, load_scenario("escalation").params))


def exactly_met():
    """Seven calls of 0.1 s in a budget of 0.7 s leave the tolerance to three coordinates: where all is met, it ends."""
    seven = {"horizon": 10, "start_low": 7.3, "start_high": 7.3, "shift": -1.0, "tolerance": 0.3}
    return env_params(simple_environment(2, 3, latency=0.1, latency_budget=0.7, **seven))


def test_the_numpy_environment_holds_bounds_that_are_exactly_met():
    params = exactly_met()
    batched = numpy_batched.Environment(jax.tree.map(np.array, params))
    assert same.difference(params, batched.play_given, episodes=4) < 1e-4
    drawn = same.luck(params, 4, 10)
    np.testing.assert_array_equal(batched.play_given(*drawn)["final"]["time"], 7)


def test_the_numba_loops_play_as_aljax_does():
    pytest.importorskip("numba", reason="a rival that only the benchmarks need")
    from rivals import numba_stepping as loops

    def difference(params):
        given = loops.arrays(jax.tree.map(np.array, params))
        return same.difference(params, lambda *drawn: loops.named(loops.play_given(*given, *drawn)), episodes=128)

    assert difference(load_scenario("paper").params) < 1e-4
    assert difference(exactly_met()) < 1e-4


def test_an_environment_that_differs_is_told():
    params = load_scenario("paper").params
    other = load_scenario("paper", ("actions.failure.compute=0.5",)).params
    batched = numpy_batched.Environment(jax.tree.map(np.array, other))
    with pytest.raises(RuntimeError):
        same.difference(params, batched.play_given, episodes=128)


def test_statistics_are_median_extremes_and_quartiles():
    found = measure.statistics([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (found["median"], found["min"], found["max"], found["quartiles"]) == (3.0, 1.0, 5.0, [2.0, 4.0])
    assert found["all"] == [4.0, 1.0, 2.0, 3.0, 5.0]


def test_repeats_that_differ_are_told():
    assert measure.repeated(lambda: np.ones(3), 3)["repeats_bitwise_equal"]
    numbers = iter(range(10))
    found = measure.repeated(lambda: np.full(3, next(numbers)), 3)
    assert not found["repeats_bitwise_equal"] and found["repeats"] == 3
    assert measure.repeated(lambda: np.ones(3), 50, seconds=0.0)["repeats"] == 2


def test_a_program_says_what_compiling_and_memory_it_took():
    program = measure.compiled(lambda x: (x @ x).sum(), np.ones((8, 8), np.float32))
    assert program.notes["compile_seconds"] > 0 and program.bytes > 0
    assert program.notes["compiler"]["flops"] >= 2 * 8**3
    assert float(program.call(np.ones((8, 8), np.float32))) == 512


def test_grown_environments_have_the_shapes_asked_for():
    params = grown(7, 5, 12)
    assert params.actions.gain.shape == (7, 5) and params.drift.shape == (5,) and int(params.horizon) == 12


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--parts", "stepping", "nowhere"], "nowhere"),
        (["--repeats", "1"], "--repeats"),
        (["--unknown"], "--unknown"),
        (["--quick", "--json", "no/such/folder/bench.json"], "no/such/folder"),
    ],
)
def test_a_bad_option_gives_one_line_and_status_2(arguments, text, capsys):
    try:
        status = bench.main(arguments)
    except SystemExit as error:
        status = error.code
    said = capsys.readouterr().err.strip()
    assert status == 2 and text in said and "\n" not in said


def test_a_rival_whose_import_fails_in_any_way_is_left_out_with_its_reason(tmp_path, monkeypatch):
    for name, text in (
        ("numba", "import types; types.Tracer"),  # as numba itself does beside a coverage that is too old
        ("torch", "import os; os.abort()"),
        ("gymnax", "raise SystemExit(0)"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setenv(f"ALJAX_BENCH_WITHOUT_{name.upper()}", "")
        monkeypatch.delenv(f"ALJAX_BENCH_WITHOUT_{name.upper()}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    assert not rivals_here.there("numba") and not rivals_here.there("torch") and not rivals_here.there("gymnax")
    assert "AttributeError: module 'types' has no attribute 'Tracer'" in rivals_here.missing("numba", "rows")["why"]
    assert "exit status" in rivals_here.missing("torch", "rows")["why"]


def test_a_broken_rival_does_not_stop_the_modules_that_time_it(tmp_path):
    (tmp_path / "torch.py").write_text("import types; types.Tracer")
    modules = "import training_speed, offline_speed; print(training_speed.torch, offline_speed.without)"
    benchmarks = str(Path(bench.__file__).parent)
    path = os.pathsep.join((str(tmp_path), benchmarks, os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, "-c", modules]
    said = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert said.stdout.startswith("None AttributeError: module 'types'")


def test_finished_parts_are_kept_only_for_the_same_options_and_code(tmp_path):
    file = tmp_path / "bench.json"
    folder = receipts.partial_folder(file, {"options": 1})
    (folder / "stepping.json").write_text("{}")
    assert (receipts.partial_folder(file, {"options": 1}) / "stepping.json").is_file()
    assert not (receipts.partial_folder(file, {"options": 2}) / "stepping.json").exists()
    assert (folder / "stepping.json").is_file()


def test_options_pass_to_another_process():
    options = Options(quick=True, devices=2, memory=5)
    assert Options.from_json(options.to_json()) == options


@pytest.fixture
def receipt():
    times = {"seconds": measure.statistics([0.01, 0.02, 0.03]), "cpu_seconds": measure.statistics([0.01, 0.02, 0.03])}
    times |= {"repeats": 3}
    row = {"variant": "", "where": "one core", "horizon": 10, "steps": 1000, "times_aljax": 1.0} | times
    stepping = {"episodes": 100, "horizons": [10], "rows": [{"name": "aljax", "random_words": 5600} | row]}
    floors = [
        {"name": "random", "where": "one core", "words": 9, "words_per_second": 1e6} | times,
        {"name": "copy", "where": "one core", "array_bytes": 4096, "bytes_per_second": 1e9} | times,
    ]
    point = {"axis": "episodes", "value": 64, "kind": "update"}
    measured = {"seconds_an_episode": 1e-5, "seconds_a_step": 1e-6, "compiler_bytes": 4096, "peak_bytes": 2**30}
    sections = {
        "stepping": stepping,
        "floors": {"floors": floors},
        "growth": {
            "default": {"episodes": 64},
            "points": [point | measured | times, point | {"value": 128, "left_out": "needs too much"}],
        },
        "startup": {"rows": [{"name": "import aljax"} | times]},
    }
    fractions.add(sections)
    return {
        "started": "now",
        "took_seconds": 60.0,
        "machine": {"processor": "P", "cpu_count": 2, "jax_device": "cpu: cpu", "load_before": [0.0],
                    "load_after": [1.0]},
        "versions": {"jax": "1"},
        "options": {"devices": 2, "repeats": 3, "quick": False},
        "skipped": [{"part": "stepping", "rows": "numba stepping", "why": "absent", "command": "pip install numba"}],
        "sections": sections,
    }  # fmt: skip


def test_a_row_stands_beside_its_floors(receipt):
    row = receipt["sections"]["stepping"]["rows"][0]
    assert row["floors"][fractions.WORDS]["fraction"] == pytest.approx(5600 / 1e6 / 0.02)
    assert row["floors"][fractions.BYTES]["fraction"] == pytest.approx(8 * 5600 / 1e9 / 0.02)


def test_the_page_comes_from_the_receipt_alone(receipt, tmp_path):
    receipt = json.loads(json.dumps(receipt))
    page.draw(receipt, tmp_path)
    page.write(receipt, tmp_path / "page.md", tmp_path)
    text = (tmp_path / "page.md").read_text()
    assert "(bench_stepping.png)" in text and "(bench_saturation.png)" not in text
    for words in ("## Stepping, 10 steps", "random numbers alone: 0.28", "needs too much", "pip install numba"):
        assert words in text
    assert all(len(row) == len(table.columns) for table in tables(receipt) for row in table.rows)
