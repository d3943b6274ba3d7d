"""Sweeps: rows equal single runs wherever they run, nothing that finished is lost, and the plan keeps its word."""

import collections
import contextlib
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pyarrow.parquet
import pytest

from aljax import UserError, sweep
from aljax.commands.main import main
from aljax.evaluate import evaluate
from aljax.exact.bracket import find_optimal
from aljax.host import files
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import Learned
from aljax.scenario import load_scenario
from aljax.seeds import EVALUATION, TRAINING, seed_keys
from aljax.sweeps import execute, plan, programs, repeat, run
from aljax.sweeps.execute import Watch, prepared
from aljax.sweeps.gathered import Gathered
from aljax.sweeps.identity import recorded_lanes
from aljax.sweeps.reader import make_spec
from aljax.sweeps.run import plan_only
from aljax.sweeps.store import Store
from aljax.target import Target
from aljax.train import policy_architecture, train

from tiny import TINY

LANES = 4
FLAGS = os.environ.get("XLA_FLAGS", "")  # of the whole suite


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenario") / "tiny.toml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture(scope="module")
def spec(scenario):
    """20 runs, so that neither 4 lanes nor 8 devices of them come out even."""
    return make_spec(
        {
            "scenario": scenario,
            "method": "sobol",
            "configurations": 10,
            "seeds": 2,
            "evaluation_episodes": 50,
            "set": {"episodes": 1200, "hidden": [4]},
            "axes": {
                "learning_rate": {"low": 0.01, "high": 0.1, "log": True},
                "weights": {"latency": {"low": 0.1, "high": 0.9}},
            },
        }
    )


class Told(Watch):
    """Keeps what a sweep tells."""

    def __init__(self):
        self.plan, self.there, self.steps = None, None, collections.defaultdict(list)

    def planned(self, plan, done):
        self.plan, self.there = plan, done

    def advanced(self, doing, done, total):
        self.steps[doing].append((done, total))


@pytest.fixture(scope="module")
def kept(spec, tmp_path_factory):
    """A sweep that nothing disturbed: its results, what it told, its folder, on one device."""
    folder, told = tmp_path_factory.mktemp("sweeps") / "whole", Told()
    return sweep(spec, folder, lanes=LANES, devices=1, watch=told), told, folder


def assert_same(found, expected):
    for name, values in expected.table.items():
        np.testing.assert_array_equal(found.table[name], values, name)
    for name, values in expected.curves.items():
        np.testing.assert_array_equal(found.curves[name], values, name)


def same_files(folder, expected):
    """Byte for byte; where they differ, the numbers that do are told."""
    whole = all(
        (folder / name).read_bytes() == (expected / name).read_bytes() for name in ("table.parquet", "curves.npz")
    )
    if not whole:
        found, wanted = (
            pyarrow.parquet.read_table(where / "table.parquet").to_pydict() for where in (folder, expected)
        )
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values, name)
        with np.load(folder / "curves.npz") as curves, np.load(expected / "curves.npz") as known:
            for name in known.files:
                np.testing.assert_array_equal(curves[name], known[name], name)
    return whole


def test_a_row_is_the_run_that_its_numbers_stand_for(kept, spec):
    """Against the plain training function, not the sweep's program: to rounding, while rounding has not grown."""
    results, _, _ = kept
    row = 7
    point = dict(zip(("learning_rate", "weights.latency"), spec.points()[row // 2], strict=True))
    scenario = load_scenario(spec.scenario, [f"weights.latency={point['weights.latency']}"])
    config = TrainConfig(episodes=1200, hidden=(4,))
    keys = [seed_keys(Protocol(seeds=2), stream)[row % 2] for stream in (TRAINING, EVALUATION)]
    numbers = Hyperparameters(learning_rate=point["learning_rate"])
    variables, curve = jax.jit(train, static_argnames=("config", "steps"))(
        keys[0], numbers, scenario.params, config=config, steps=scenario.horizon
    )
    for name in ("cost", "gradient_norm", "components"):
        np.testing.assert_allclose(results.curves[name][row], getattr(curve, name), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(results.curves["cost"][row][:10], curve.cost[:10], rtol=1e-5)
    policy = Learned(variables, policy_architecture(config, scenario.params))
    optimal, _ = find_optimal(scenario, Protocol(seeds=1, evaluation_episodes=50))
    played = evaluate(
        keys[1][None],
        {"learned": policy, "optimal": optimal},
        scenario.params,
        trained=frozenset(),
        episodes=50,
        steps=3,
    )
    for name, prefix in (("learned", ""), ("optimal", "optimal_")):
        outcome = played[name].outcome
        assert results.table[f"{prefix}cost"][row] == pytest.approx(float(outcome.total.mean()), rel=1e-5)
        assert results.table[f"{prefix}success"][row] == pytest.approx(float(outcome.success.mean()), rel=1e-5)
        assert results.table[f"{prefix}latency"][row] == pytest.approx(float(outcome.costs[0, 0].mean()), rel=1e-5)
    gap = 100 * (results.table["cost"][row] / results.table["optimal_cost"][row] - 1)
    assert results.table["gap_percent"][row] == pytest.approx(gap)


def test_a_row_trained_alone_is_the_same_bit_for_bit(kept, capsys, tmp_path):
    results, _, folder = kept
    row = repeat.read_row(folder, 13)
    trained, figures = repeat.train_row(row)
    assert figures == {name: results.table[name][13] for name in figures}
    np.testing.assert_array_equal(trained.curve.cost[0], results.curves["cost"][13])
    out = tmp_path / "run"
    assert main(["train", "--from", str(folder), "--row", "13", "--out", str(out), "--no-plots"]) == 0
    assert "the same to the last bit" in capsys.readouterr().out
    cost = json.loads((out / "metrics.json").read_text())["policies"]["learned"]["cost"]["mean"]
    assert cost == pytest.approx(results.table["cost"][13], rel=1e-5)


def test_eight_devices_give_what_one_gives(kept, spec):
    results, _, _ = kept
    assert_same(sweep(spec, lanes=LANES, devices=8), results)


def test_two_hosts_give_what_one_gives(kept, spec, tmp_path):
    _, _, expected = kept
    file = sweep_file(tmp_path, spec)
    joined = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", "2", "--process"]
    with_two = {"JAX_NUM_CPU_DEVICES": "2"}
    # Only the first host has a folder to write in.
    other = start(file, "/proc/none", *joined, "1", **with_two)
    first = start(file, tmp_path / "out", *joined, "0", **with_two)
    outputs = [process.communicate(timeout=240) for process in (first, other)]
    assert first.returncode == other.returncode == 0, outputs
    assert "2 hosts" in outputs[0][0] and "plan" not in outputs[1][0]
    assert same_files(tmp_path / "out", expected)

    # Once more, now that it is complete: both hosts are told, and nothing is done again.
    joined[1] = f"127.0.0.1:{free_port()}"
    again = [start(file, out, *joined, str(i), **with_two) for i, out in enumerate((tmp_path / "out", "/proc/none"))]
    outputs = [process.communicate(timeout=240) for process in again]
    assert again[0].returncode == again[1].returncode == 0, outputs
    assert "plan" not in outputs[0][0] and "best: configuration" in outputs[0][0]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def sweep_file(folder, spec):
    """The sweep as a file."""
    axes = [f'"{a.key}" = {{ low = {a.low}, high = {a.high}, log = {str(a.log).lower()} }}' for a in spec.axes]
    lines = [f'scenario = "{spec.scenario}"', f'method = "{spec.method}"', f"configurations = {spec.configurations}"]
    lines += [f"seeds = {spec.protocol.seeds}", f"evaluation_episodes = {spec.protocol.evaluation_episodes}"]
    lines += ["[set]", "episodes = 1200", "hidden = [4]", "[axes]", *axes]
    path = folder / "tiny-sweep.toml"
    path.write_text("\n".join(lines))
    return path


def start(file, out, *args, lanes=LANES, **environment):
    """``aljax sweep`` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "aljax",
        "sweep",
        str(file),
        "--out",
        str(out),
        "--lanes",
        str(lanes),
        "--no-plots",
    ]
    return subprocess.Popen(
        [*command, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


def test_killed_ten_times_and_resumed_it_ends_as_if_undisturbed(kept, spec, tmp_path):
    _, _, expected = kept
    file, out, dice = sweep_file(tmp_path, spec), tmp_path / "out", random.Random(0)
    chunks = 5 + 5  # of training and of optima
    kills = 0
    while kills < 10:
        process = Forked(file, out)
        wanted = min(chunks, finished(out) + dice.choice((0, 0, 1)))
        while process.alive and finished(out) < wanted:
            time.sleep(0.001)
        time.sleep(dice.random() * (0.02 if wanted else 3))
        ended = not process.alive  # it was quicker, and the next one begins anew
        process.kill(dice.choice((signal.SIGKILL, signal.SIGTERM)))
        kills += not ended
        assert not ended or process.status == 0, process.told
        assert not (out / "manifest.json").exists() or same_files(out, expected)
        if ended:
            shutil.rmtree(out)
    last = Forked(file, out)
    assert last.status == 0, last.told
    assert same_files(out, expected)
    left = {"sweep.json", "table.parquet", "curves.npz", "summary.md", "manifest.json", ".lock"}
    assert {path.name for path in out.iterdir()} == left


class Forked:
    """``aljax sweep`` in a process of its own, forked off one that has imported everything and begun nothing.

    It finds what this process compiled: it has as many devices, and uses one.
    """

    def __init__(self, file, out):
        self.file = file.parent / "told.txt"
        options = ["sweep", str(file), "--out", str(out), "--lanes", str(LANES), "--devices", "1", "--no-plots"]
        self.process = FORKS.Process(target=run_command, args=(options, str(self.file)))
        self.process.start()

    @property
    def alive(self):
        return self.process.is_alive()

    @property
    def status(self):
        """When it has ended."""
        self.process.join(240)
        return self.process.exitcode

    @property
    def told(self):
        return self.file.read_text()

    def kill(self, how):
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(self.process.pid, how)
        self.process.join(240)


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["aljax.commands.sweep", "pytest"])


def run_command(options, told):
    """A command; what it tells goes into a file."""
    with open(told, "w") as file:  # noqa: PTH123
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(main(options))


def finished(folder):
    return len(list((folder / "chunks").glob("[!.]*.npz")))


def test_what_is_done_is_not_done_again(kept, half, spec):
    results, _, whole = kept
    told = Told()
    assert_same(sweep(spec, whole, watch=told), results)
    assert told.plan is None  # complete: read, nothing compiled

    chunks = sorted(path.name.rpartition("-")[0] for path in (half / "chunks").iterdir())
    assert chunks == [f"train-{i:09d}" for i in (0, 4, 8)]
    assert_same(sweep(spec, half, devices=8, watch=told), results)  # the lanes are the recorded ones
    assert told.there == 12 and told.steps["training"] == [(20, 20)]
    assert same_files(half, whole)


def test_a_diverged_run_is_marked_and_hurts_no_other(spec, scenario):
    good = [point[0] for point in spec.points()[:3]]
    raw = {"scenario": scenario, "seeds": 2, "evaluation_episodes": 50, "set": {"episodes": 1200, "hidden": [4]}}
    rates = [good[0], 3e38, good[1], good[2]]
    found = sweep(raw | {"axes": {"learning_rate": rates}}, lanes=LANES, devices=1)
    assert found.diverged.tolist() == [2, 3]
    assert np.isnan(found.table["cost"][2:4]).all() and np.isnan(found.table["gap_percent"][2:4]).all()
    assert found.best()[0].configuration != 1 and found.best()[-1].configuration == 1
    alone = sweep(raw | {"axes": {"learning_rate": good}}, lanes=LANES, devices=1)
    others = [0, 1, 4, 5, 6, 7]
    for name in ("cost", "success", "optimal_cost"):
        np.testing.assert_array_equal(found.table[name][others], alone.table[name])
    np.testing.assert_array_equal(found.curves["cost"][others], alone.curves["cost"])


def test_the_compilations_promised_are_those_made(scenario, caplog):
    raw = {
        "scenario": scenario, "seeds": 2, "evaluation_episodes": 50, "set": {"episodes": 1200},
        "axes": {"hidden": [[3], [4]], "entropy": [0.1, 0.2, 0.3], "horizon": [3]},
    }  # fmt: skip
    told = Told()
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        sweep(raw, lanes=LANES, devices=1, watch=told)
    compiled = collections.Counter(
        record.getMessage().partition("jit(")[2].partition(")")[0]
        for record in caplog.records
        if record.getMessage().startswith("Finished XLA compilation")
    )
    assert compiled == {"train_rows": 2, "solve_rows": 1}
    assert told.plan.compilations == 3 and told.plan.shapes == 2
    assert told.plan.static == ("hidden", "horizon") and told.plan.traced == ("entropy",)


def test_the_plan_tells_numbers_before_anything_is_written(spec, tmp_path, capsys):
    plan = plan_only(spec, tmp_path / "out", lanes=LANES, devices=8)
    assert (plan.runs, plan.configurations, plan.seeds, plan.episodes) == (20, 10, 2, 20 * 1200)
    assert (plan.compilations, plan.lanes, plan.devices, plan.environments, plan.unsolved) == (2, LANES, 8, 10, 0)
    assert plan.device_bytes > 4 * 50 * 12 * LANES and plan.seconds > 0 and plan.rate > 0
    assert (
        main(["sweep", str(sweep_file(tmp_path, spec)), "--plan", "--out", str(tmp_path / "out"), "--lanes", "4"]) == 0
    )
    assert "20 = 10 configurations × 2 seeds" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_lanes_shrink_until_they_fit_or_it_says_why_not(scenario, monkeypatch):
    monkeypatch.setattr(Target, "lanes", 2 * LANES)
    raw = {"scenario": scenario, "seeds": 1, "optimum": False, "evaluation_episodes": 50}
    raw |= {"set": {"episodes": 1200, "hidden": [4]}, "axes": {"entropy": [0.1]}}
    needed = plan_only(raw, lanes=2 * LANES, devices=1).device_bytes
    fitted = plan_only(raw, devices=1, memory_limit=0.6 * needed)
    assert fitted.lanes == LANES and fitted.device_bytes < 0.6 * needed
    with pytest.raises(UserError, match=f"does not fit in memory: {2 * LANES} runs side by side need"):
        plan_only(raw, lanes=2 * LANES, devices=1, memory_limit=0.6 * needed)

    def place(shape, mesh, lanes, *given):
        """As a TPU's compiler, which places everything itself."""
        if lanes > LANES:
            raise RuntimeError("RESOURCE_EXHAUSTED: Ran out of memory on HBM")
        return training_program(shape, mesh, lanes, *given)

    training_program = programs.training_program
    monkeypatch.setattr(programs, "training_program", place)
    assert plan_only(raw, devices=1).lanes == LANES
    with pytest.raises(UserError, match=f"{2 * LANES} runs side by side need more than the compiler can place"):
        plan_only(raw, lanes=2 * LANES, devices=1)


def test_what_the_host_cannot_hold_is_refused_before_anything_is_made(spec, monkeypatch):
    monkeypatch.setattr(plan, "available_memory", lambda: 2**30)
    monkeypatch.setattr(execute, "Work", lambda *_: pytest.fail("at work"))
    many = dataclasses.replace(spec, configurations=100_000)
    message = r"does not fit in memory: 200,000 runs in up to 100,000 environments take about 1\.7 GiB of this host"
    for refused in (plan_only, sweep):
        with pytest.raises(UserError, match=message):
            refused(many)


@pytest.mark.parametrize(("lanes", "limit"), [(0, None), (-4, None), (10**30, None), (4, 0.0), (4, float("nan"))])
def test_lanes_and_limits_that_cannot_be_are_refused(spec, lanes, limit):
    with pytest.raises(UserError, match=r"^(lanes|memory): expected a "):
        sweep(spec, lanes=lanes, devices=1, memory_limit=limit)


def test_the_table_is_parquet_with_a_row_a_run(kept, spec):
    _, told, folder = kept
    table = pyarrow.parquet.read_table(folder / "table.parquet")
    assert table.num_rows == 20 == len(np.load(folder / "curves.npz")["cost"])
    assert table.column("configuration").to_pylist() == [i // 2 for i in range(20)]
    assert table.column("learning_rate").to_pylist() == [point[0] for point in spec.points() for _ in range(2)]
    assert {"weights.latency", "cost", "success", "violation", "diverged", "optimal_cost", "gap_percent"} <= set(
        table.column_names
    )
    assert min(table.column("gap_percent").to_pylist()) > -1e-3  # the optimum of the tiny scenario, on the same luck
    assert told.steps["training"] == [(done, 20) for done in (4, 8, 12, 16, 20)]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["compilations"] == told.plan.compilations == 2


def test_a_sweep_over_scenarios_of_different_shapes(scenario, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(TINY.replace('coordinates = ["error"]', 'coordinates = ["error", "doubt"]'))
    raw = {"seeds": 1, "evaluation_episodes": 50, "set": {"episodes": 1200, "hidden": [4]}}
    found = sweep(raw | {"axes": {"scenario": [scenario, str(other)]}, "optimum": False}, lanes=LANES, devices=1)
    assert found.table["scenario"].tolist() == [scenario, str(other)]
    assert found.table["cost"][1] != found.table["cost"][0] and np.isnan(found.table["optimal_cost"]).all()


def other_spec(spec, **changes):
    return dataclasses.replace(spec, **changes)


@pytest.fixture(scope="module")
def stopped(kept, spec, tmp_path_factory):
    """A sweep that was stopped with three of five chunks done."""
    told = Told()

    def stop(doing, done, total):
        if done >= 12:
            raise KeyboardInterrupt

    told.advanced = stop
    folder = tmp_path_factory.mktemp("stopped") / "half"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec, folder, lanes=LANES, devices=1, watch=told)
    return folder


@pytest.fixture
def half(stopped, tmp_path):
    """The same, to spoil."""
    return shutil.copytree(stopped, tmp_path / "half")


@pytest.fixture
def copied(kept, tmp_path):
    """A sweep folder to spoil."""
    return shutil.copytree(kept[2], tmp_path / "copied")


def test_another_sweep_s_folder_is_left_alone(copied, spec):
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="holds the results of another sweep \\(set differs\\)"):
        sweep(other_spec(spec, fixed={"episodes": 1230, "hidden": [4]}), copied)
    with pytest.raises(UserError, match="begun with 4 lanes, not 8"):
        sweep(spec, copied, lanes=8)
    assert before == {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}


def test_a_folder_of_other_versions_is_left_alone(copied, spec):
    about = json.loads((copied / "sweep.json").read_text())
    about["versions"]["jax"] = "0.0.1"
    (copied / "sweep.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"begun with .*jax 0\.0\.1.*rows would not be comparable"):
        sweep(spec, copied)


def in_double_precision(_):
    return jax.enable_x64(True)


def in_full_precision(_):
    return jax.default_matmul_precision("highest")


@contextlib.contextmanager
def with_flags(patch):
    patch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=512 --xla_force_host_platform_device_count=8")
    yield


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (in_double_precision, "begun with jax_enable_x64 False, this is True: rows would not be comparable"),
        (in_full_precision, "begun with jax_default_matmul_precision None, this is highest: rows would not be"),
        (with_flags, f"begun with XLA_FLAGS {FLAGS or 'not set'}, this is --xla_cpu_prefer_vector_width=512: rows"),
    ],
)
def test_a_sweep_does_not_go_on_where_numbers_come_out_otherwise(half, spec, monkeypatch, changed, message):
    """Not a sweep that was stopped, nor one of its rows, nor one that is complete."""
    before = {path: path.read_bytes() for path in half.rglob("*") if path.is_file()}
    with changed(monkeypatch):
        for goes_on in (lambda: sweep(spec, half), lambda: repeat.read_row(half, 0), lambda: plan_only(spec, half)):
            with pytest.raises(UserError, match=message):
                goes_on()
    assert before == {path: path.read_bytes() for path in half.rglob("*") if path.is_file()}
    monkeypatch.setenv("XLA_FLAGS", f"{FLAGS} --xla_force_host_platform_device_count=8 --xla_dump_to=/tmp")
    assert recorded_lanes(half, spec) == LANES  # these change no number


def test_a_sweep_in_double_precision_is_one_of_its_own(scenario, tmp_path):
    raw = {"scenario": scenario, "seeds": 2, "evaluation_episodes": 20, "set": {"episodes": 60, "hidden": [2]}}
    raw |= {"axes": {"entropy": [0.1, 0.5]}}
    with jax.enable_x64(True):
        found = sweep(raw, tmp_path / "double", lanes=2, devices=1)
        _, figures = repeat.train_row(repeat.read_row(tmp_path / "double", 1))
        assert figures == {name: found.table[name][1] for name in figures}
    with pytest.raises(UserError, match="begun with jax_enable_x64 True, this is False"):
        sweep(raw, tmp_path / "double")


def test_a_folder_that_is_no_sweep_s_is_left_alone(tmp_path, spec):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match="already exists, and it is not a sweep folder"):
        sweep(spec, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_folder_left_before_anything_was_recorded_is_free(tmp_path, spec):
    (tmp_path / ".lock").touch()
    (tmp_path / ".sweep.x1y2.json").write_text("{")
    assert recorded_lanes(tmp_path, spec) is None


def flipped(file, offset):
    """A file with a bit of it changed."""
    data = bytearray(file.read_bytes())
    data[offset] ^= 1 << (offset % 8)
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["table.parquet", "curves.npz", "sweep.json"])
def test_no_changed_byte_of_a_finished_sweep_is_read(copied, spec, name):
    file = copied / name
    whole = file.read_bytes()
    for offset in np.random.default_rng(0).choice(len(whole), 50, replace=False):
        flipped(file, int(offset))
        with pytest.raises(UserError) as refusal:
            sweep(spec, copied)
        assert "\n" not in str(refusal.value) and str(copied) in str(refusal.value)
        with pytest.raises(UserError):
            repeat.read_row(copied, 0)
        file.write_bytes(whole)
    for damaged in (b"", whole[:-1], whole + b"x"):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=name):
            sweep(spec, copied)


def test_no_changed_byte_of_a_chunk_is_read(half, spec):
    file = next((half / "chunks").glob("train-000000004-*.npz"))
    whole = file.read_bytes()
    for offset in np.random.default_rng(0).choice(len(whole), 50, replace=False):
        flipped(file, int(offset))
        with pytest.raises(UserError, match=r"train-000000004-.*\.npz: cannot be read .*delete it, and its runs"):
            recall(half, spec)
        file.write_bytes(whole)
    assert recall(half, spec) == 12


def recall(folder, spec):
    """How many rows a folder's chunks hold."""
    gathered = Gathered(prepared(spec))
    Store(folder).read_chunks("train", gathered.put_rows)
    return int(gathered.row_done.sum())


def spoiled(change):
    """Writes a chunk, with the right hash, that is not of this sweep."""

    def spoil(folder):
        (file,) = (folder / "chunks").glob("train-000000004-*.npz")
        with np.load(file) as arrays:
            found = dict(arrays)
        change(found)
        items = found.pop("items")
        file.unlink()
        Store(folder).write_chunk("train", items, found)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda found: found.pop("cost"), "cost is missing"),
        (lambda found: found.update(items=found["items"] + 17), "items are not some of 0 to 19"),
        (lambda found: found.update(items=found["items"] - 5), "items are not some of 0 to 19"),
        (lambda found: found.update(items=found["items"] * 0), "items are not some of 0 to 19"),
        (lambda found: found.update(items=found["items"] * 1.0), "items are not whole numbers"),
        (lambda found: found.update(cost=found["cost"][:1]), r"cost: float64 \[1\], expected float64 \[4\]"),
        (lambda found: found.update(cost=found["cost"].astype("U9")), r"cost: <U9 \[4\], expected float64 \[4\]"),
        (lambda found: found.update(curve_cost=np.zeros((4, 101), np.float32)), "no curves of at most 40 points"),
        (lambda found: found.update(curve_components=found["curve_cost"]), r"curve_components: float32 \[4, 40\], exp"),
    ],
)
def test_a_chunk_that_is_not_of_this_sweep_is_named(half, spec, spoil, message):
    spoiled(spoil)(half)
    with pytest.raises(UserError, match=rf"train-.*\.npz: cannot be read \(.*{message}.*delete it"):
        recall(half, spec)


def rewritten(**columns):
    """Another table, which the manifest says is the right one."""

    def rewrite(folder):
        file = folder / "table.parquet"
        table = pyarrow.parquet.read_table(file).to_pydict() | columns
        pyarrow.parquet.write_table(pyarrow.table({k: v for k, v in table.items() if v is not None}), file)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"]["table.parquet"] = files.fingerprint(file)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return rewrite


def json_with(name, **changes):
    def change(folder):
        file = folder / name
        found = json.loads(file.read_text()) | changes
        file.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))

    return change


def sealed(**changes):
    """Another sweep in ``sweep.json``, with the right hash."""

    def change(folder):
        found = json.loads((folder / "sweep.json").read_text())
        found["sweep"] |= changes
        found["sha256"] = hashlib.sha256(
            json.dumps([found["sweep"], found["lanes"]], sort_keys=True).encode()
        ).hexdigest()
        (folder / "sweep.json").write_text(json.dumps(found))

    return change


def replaced(name, by):
    def replace(folder):
        (folder / name).unlink()
        if isinstance(by, str):
            (folder / name).symlink_to(by)
        else:
            (folder / name).write_bytes(by)

    return replace


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (replaced("sweep.json", b"{"), r"sweep\.json: no valid JSON"),
        (replaced("sweep.json", b"[" * 100_000), r"sweep\.json: no valid JSON"),
        (replaced("sweep.json", b"[]"), r"sweep\.json: expected a JSON object"),
        (replaced("sweep.json", "/dev/zero"), r"sweep\.json: expected a regular file"),
        (replaced("sweep.json", "/proc/none"), r"sweep\.json: cannot be read"),
        (json_with("sweep.json", format=1), "sweep folder of format 1, expected 2: give another --out, or use the ver"),
        (json_with("sweep.json", format=None), "sweep folder of format None, expected 2"),
        (json_with("sweep.json", sweep=None), r"sweep\.json: changed or damaged"),
        (json_with("sweep.json", sweep=[1]), r"sweep\.json: changed or damaged"),
        (json_with("sweep.json", lanes="many"), r"sweep\.json: changed or damaged"),
        (json_with("sweep.json", lanes=8), r"sweep\.json: changed or damaged"),
        (sealed(set={"entropy": {"float": "high"}}), r"sweep\.json: damaged: holds what no sweep has"),
        (sealed(set=[1]), "not a sweep folder of this version|holds the results of another sweep"),
        (sealed(scenarios=[1]), "not a sweep folder of this version|holds the results of another sweep"),
        (sealed(axes=[{"key": "entropy"}]), "not a sweep folder of this version|holds the results of another sweep"),
        (json_with("sweep.json", versions=None), "begun with aljax not set, this is"),
        (json_with("sweep.json", settings=7), "begun with jax_enable_x64 not set, this is False"),
        (json_with("sweep.json", platform={"a": 1}), "begun with platform not set, this is cpu"),
        (replaced("manifest.json", b"\xff"), r"manifest\.json: no valid JSON"),
        (
            replaced("manifest.json", "/dev/zero"),
            r"manifest\.json: expected a regular file; to do the sweep again",
        ),
        (json_with("manifest.json", files=None), "manifest lists no files"),
        (json_with("manifest.json", files={}), r"sweep\.json: not listed in the manifest"),
        (json_with("manifest.json", format=1), r"manifest\.json: of format 1"),
        (rewritten(cost=None), r"table\.parquet: cannot be read: cost is missing"),
        (rewritten(cost=["a"] * 20), r"table\.parquet: cannot be read: cost: <U1 \[20\], expected float64"),
        (
            rewritten(cost=[float("inf")] * 20),
            r"table\.parquet: cannot be read: cost: not finite in a run that did",
        ),
        (rewritten(row=[0] * 20), r"table\.parquet: cannot be read: row: not that of a sweep"),
        (rewritten(learning_rate=[0.02] * 20), r"table\.parquet: cannot be read: learning_rate: not the axis's values"),
        (rewritten(learning_rate=None), r"table\.parquet: cannot be read: learning_rate: expected a value a row"),
    ],
)
def test_a_damaged_folder_is_told_in_one_line(copied, spec, spoil, message):
    spoil(copied)
    for read in (lambda: sweep(spec, copied), lambda: repeat.recorded(repeat.read_row(copied, 0))):
        with pytest.raises(UserError, match=message) as refusal:
            read()
        assert "\n" not in str(refusal.value)


def test_two_processes_do_not_work_on_one_sweep(spec, tmp_path, monkeypatch):
    """The folder is this process's from the start, before anything is compiled."""
    out, others = tmp_path / "out", []
    other = dataclasses.replace(spec, fixed={"episodes": 1230, "hidden": [4]})

    def meanwhile(*_):
        script = "import sys; from aljax.commands.main import main; sys.exit(main(sys.argv[1:]))"
        command = ["sweep", str(sweep_file(tmp_path, spec)), "--out", str(out), "--no-plots"]
        others.append(subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True))
        with pytest.raises(UserError, match="another process is at work on this sweep"):
            sweep(other, out)
        (out / "notes.txt").write_text("mine")
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "fitting", meanwhile)
    with pytest.raises(KeyboardInterrupt):
        sweep(spec, out)
    assert (others[0].returncode, others[0].stderr) == (2, f"aljax: {out}: another process is at work on this sweep\n")
    assert {path.name for path in out.iterdir()} == {"notes.txt"}  # nothing of the user's is removed
    with pytest.raises(UserError, match="already exists, and it is not a sweep folder"):
        sweep(spec, out)


def test_a_folder_made_for_nothing_is_removed(spec, tmp_path):
    with pytest.raises(UserError, match="does not fit in memory"):
        sweep(spec, tmp_path / "out", lanes=LANES, devices=1, memory_limit=1.0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda out: out.symlink_to("/proc/none/there"), "is a link to what is not there"),
        (lambda out: out.write_text("mine"), "already exists, and it is not a sweep folder"),
        (lambda out: out.parent.joinpath("up").symlink_to("/proc") or out.symlink_to("up/none"), "link to what is not"),
    ],
)
def test_a_place_that_cannot_be_a_folder_is_refused_before_the_work(spec, tmp_path, monkeypatch, make, message):
    monkeypatch.setattr(run, "fitting", lambda *_: pytest.fail("at work"))
    make(tmp_path / "out")
    with pytest.raises(UserError, match=message):
        sweep(spec, tmp_path / "out")
    with pytest.raises(UserError, match="/proc/none: cannot be written"):
        sweep(spec, "/proc/none")


def test_locks_need_no_fcntl(tmp_path):
    """As on Windows: everything can be imported, and folders are locked by other means."""
    script = """
import sys, warnings
sys.modules["fcntl"] = None
warnings.simplefilter("ignore")  # filelock's, about file systems
from pathlib import Path
from aljax import UserError
from aljax.commands import main as cli
from aljax.sweeps import locks
from aljax.sweeps.reader import make_spec

spec = make_spec({"axes": {"entropy": [0.1]}})
with locks.opened(Path("out"), spec) as one:
    one.begin(spec, 4)
    try:
        locks.opened(Path("out"), spec).__enter__()
    except UserError as error:
        print(error)
with locks.shared(Path("out"), spec) as one:
    with one.joined(lambda: print("first")), one.joined(lambda: print("never")):
        pass
    with one.joined(lambda: print("again")):
        pass
sys.exit(cli.main(["scenarios"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[:3] == ["out: another process is at work on this sweep", "first", "again"]
    assert any("service_desk" in line for line in told[3:])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--from", "FOLDER"], "--from and --row go together"),
        (["--row", "1"], "--from and --row go together"),
        (["--from", "FOLDER", "--row", "20"], "--row: FOLDER has rows 0 to 19, got 20"),
        (["--from", "FOLDER", "--row", "1", "--batch", "60"], "--from takes scenario, numbers and seed from the sweep"),
        (["--from", "/proc/none", "--row", "1"], "not a sweep folder"),
    ],
)
def test_bad_rows_are_refused_in_one_line(kept, capsys, args, message):
    folder = str(kept[2])
    assert main(["train", *(folder if arg == "FOLDER" else arg for arg in args)]) == 2
    captured = capsys.readouterr()
    assert message.replace("FOLDER", folder) in captured.err and captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--set", "batch"], "expected key=value"),
        (["--set", "batch=many"], "is not a TOML value"),
        (["--set", "learning_rate=0.1"], "set.learning_rate: is an axis as well"),
        (["--episodes", "0"], "episodes: expected a whole number of at least 1, got 0"),
        (["--lanes", "0"], "--lanes: expected a number above 0"),
        (["--devices", "9"], "--devices: there are 8, asked for 9"),
        (["--lanes", "-1"], "--lanes: expected a number above 0, got -1"),
        (["--lanes", str(10**30)], "--lanes: expected at most 1,000,000, got 1"),
        (["--lanes", "1000000", "--set", "batch=1200"], "lanes: a program would have 1,000,000 runs side by side × "),
        (["--devices", str(10**30)], "--devices: there are 8, asked for 1"),
        (["--memory", "nan"], "--memory: expected a number above 0, got nan"),
        (["--memory", "0"], "--memory: expected a number above 0, got 0.0"),
        (["--seeds", "0"], "seeds: expected a whole number of at least 1, got 0"),
        (["--seeds", "-1"], "seeds: expected a whole number of at least 1, got -1"),
        (["--episodes", "-5"], "episodes: expected a whole number of at least 1, got -5"),
        (["--coordinator", "here:1", "--processes", "2", "--process", "2"], "--process: expected a number from 0 to 1"),
        (["--coordinator", "here:1", "--processes", "2", "--process", "-1"], "--process: expected a number from 0 to"),
        (["--coordinator", "here:1", "--processes", "0", "--process", "0"], "--processes: expected a number above 0"),
        (["--coordinator", "here:1"], "go together"),
        (["--distributed", "--coordinator", "here:1", "--processes", "2", "--process", "0"], "--distributed finds"),
        (["--study", "sqlite:///x.db"], "--study is for adaptive methods"),
        (["--json", "/proc/no/x.json"], "cannot be written"),
    ],
)
def test_bad_options_are_refused_in_one_line(spec, tmp_path, capsys, args, message):
    out = tmp_path / "out"
    assert main(["sweep", str(sweep_file(tmp_path, spec)), "--out", str(out), *args]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not out.exists()
