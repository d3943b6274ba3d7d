import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from aljax.errors import UserError
from aljax.sweeps import database
from aljax.sweeps import search as search_
from aljax.sweeps import study as study_
from aljax.sweeps.execute import Watch
from aljax.sweeps.reader import make_spec
from aljax.sweeps.run import plan_only, sweep
from aljax.sweeps.search import batch_size, first_points, search

from tiny import TINY

optuna = pytest.importorskip("optuna")
pytest.importorskip("cmaes")
pytest.importorskip("pyarrow")

RATE = {"low": 0.01, "high": 0.3, "log": True}
LATENCY = {"low": 0.1, "high": 2.0}
SEEDS, LANES = 2, 4
BATCH = LANES // SEEDS

WORKER = """
import sys, time
from pathlib import Path
import jax
from aljax.sweeps import database, reader, search as search_

raw, out, url, ready, go, cache = sys.argv[1:]
jax.config.update("jax_compilation_cache_dir", cache)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
database.HEARTBEAT_SECONDS, database.GRACE_SECONDS, search_.POLL_SECONDS = 1, 2, 0.1
batches, train = 0, search_.carry_out

def paused(work, *rest):
    global batches
    batches += 1
    if batches == 2:  # with one batch done and another begun
        Path(ready).touch()
        while not Path(go).exists():
            time.sleep(0.02)
    train(work, *rest)

search_.carry_out = paused
search_.search(reader.read_spec(raw), out, lanes=4, devices=1, study=url or None)
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Compilations are shared by all tests here and by the processes that they start."""
    was = {
        n: getattr(jax.config, n) for n in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    }
    folder = tmp_path_factory.mktemp("cache")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    yield folder
    for name, value in was.items():
        jax.config.update(name, value)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(database, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(database, "GRACE_SECONDS", 2)
    monkeypatch.setattr(search_, "POLL_SECONDS", 0.1)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenario") / "tiny.toml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture
def make(scenario):
    def make(method="tpe", configurations=6, axes=None, **changes):
        raw = {
            "scenario": scenario,
            "method": method,
            "configurations": configurations,
            "seeds": SEEDS,
            "evaluation_episodes": 50,
            "optimum": False,
            "set": {"episodes": 60, "batch": 10, "hidden": [4], "baseline": "none"},
            "axes": axes or {"learning_rate": RATE, "weights.latency": LATENCY},
        }
        return make_spec(raw | changes)

    return make


def run(spec, out=None, **options):
    return search(spec, out, lanes=LANES, devices=1, **options)


def same(one, other, *, curves=True):
    for name, values in one.table.items():
        np.testing.assert_array_equal(values, other.table[name], err_msg=name)
    for name, values in one.curves.items() if curves else ():
        np.testing.assert_array_equal(values, other.curves[name], err_msg=name)


def trials(url):
    (study,) = optuna.get_all_study_summaries(url)
    return optuna.load_study(study_name=study.study_name, storage=url).get_trials()


def states(url):
    return [trial.state.name for trial in trials(url)]


METHODS = ("tpe", "cma-es", "nsga-ii")


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_those_of_a_sweep_of_the_same_points(make, method):
    spec = make(method)
    found = run(spec)
    points = list(zip(*(found.values(axis.key).tolist() for axis in spec.axes), strict=True))
    rates, latencies = (sorted(set(values)) for values in zip(*points, strict=True))
    assert len(points) == spec.count
    grid = {"method": "grid", "axes": {"learning_rate": rates, "weights.latency": latencies}}
    raw = {"scenario": spec.scenario, "seeds": SEEDS, "evaluation_episodes": 50, "set": dict(spec.fixed)}
    whole = sweep(raw | grid | {"optimum": False}, lanes=LANES, devices=1)
    places = [rates.index(rate) * len(latencies) + latencies.index(latency) for rate, latency in points]
    rows = [place * SEEDS + seed for place in places for seed in range(SEEDS)]
    assert len(set(found.table["cost"])) > SEEDS
    for name in ("cost", "success", "latency", "learning_rate", "seed", "diverged"):
        np.testing.assert_array_equal(found.table[name], whole.table[name][rows], err_msg=name)
    for name, values in found.curves.items():
        np.testing.assert_array_equal(values, whole.curves[name][rows], err_msg=name)


def test_optima_are_found_for_every_environment(make):
    found = run(make(configurations=2, optimum=True, axes={"weights.latency": LATENCY}))
    optimal = found.by_configuration("optimal_cost")
    assert np.isfinite(optimal).all()
    assert (optimal[0] != optimal[1]).all()
    assert (found.table["gap_percent"] > -1e-3).all()


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(make, tmp_path):
    class Stopped(Watch):
        def advanced(self, doing, done, total):
            raise KeyboardInterrupt

    class Heard(Watch):
        plan, heard = None, []

        def planned(self, plan, done):
            self.plan, self.heard = plan, [done]

        def advanced(self, doing, done, total):
            self.heard.append(done)

    spec, out = make(configurations=16), tmp_path / "a?b {c} %41 #d"
    whole = run(spec)
    with pytest.raises(KeyboardInterrupt):
        run(spec, out, watch=Stopped())
    watch = Heard()
    same(run(spec, out, watch=watch), whole)
    assert watch.heard == list(range(BATCH * SEEDS, 16 * SEEDS + 1, BATCH * SEEDS))
    assert watch.plan is not None and watch.plan.configurations == 16 and watch.plan.episodes == 16 * SEEDS * 60
    same(run(spec, out), whole)
    assert states(database.sqlite_url(out / "study.db")) == ["COMPLETE"] * 16


def test_two_workers_share_the_trials_of_one_study(make, tmp_path, cache):
    spec, url = make(configurations=12), f"sqlite:///{tmp_path}/shared.db"

    class First(Watch):
        def advanced(self, doing, done, total):
            (tmp_path / "go").touch()

    with worker(spec, tmp_path, cache, tmp_path / "theirs", url) as process:
        mine = run(spec, tmp_path / "mine", study=url, watch=First())
        assert process.wait(60) == 0
    theirs = run(spec, tmp_path / "theirs", study=url)
    same(mine, theirs, curves=False)
    trained = [np.isfinite(found.curves["cost"][:, 0]) for found in (mine, theirs)]
    assert trained[0].any() and trained[1].any()
    np.testing.assert_array_equal(trained[0], ~trained[1])
    assert states(url)[:12] == ["COMPLETE"] * 12
    assert set(states(url)[12:]) <= {"FAIL"}  # of two that asked for the last one at once
    assert np.isfinite(mine.table["cost"]).all()


@pytest.mark.parametrize("shared", [True, False])
def test_what_a_killed_worker_left_is_done_again(make, tmp_path, cache, shared):
    """In the same folder, where nobody else is at work, at once; elsewhere when it has been silent for long enough."""
    spec, theirs = make(configurations=8), tmp_path / "theirs"
    url = f"sqlite:///{tmp_path}/{'theirs/study' if shared else 'shared'}.db"
    with worker(spec, tmp_path, cache, theirs, "" if shared else url) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert states(url) == ["COMPLETE"] * BATCH + ["RUNNING"] * BATCH
    found = run(spec, theirs) if shared else run(spec, tmp_path / "mine", study=url)
    done = [trial for trial in trials(url) if trial.state.name == "COMPLETE"]
    assert sorted(states(url)) == ["COMPLETE"] * 8 + ["FAIL"] * BATCH
    assert sorted(float(f"{t.params['learning_rate']:.7g}") for t in done) == sorted(found.values("learning_rate"))
    assert np.isfinite(found.table["cost"]).all()
    assert np.isfinite(found.curves["cost"]).any(1).sum() == (8 if shared else 8 - BATCH) * SEEDS
    same(found, run(spec), curves=shared)


class worker:  # noqa: N801
    """A process that has done one batch and begun another, and goes on when there is a file ``go``."""

    def __init__(self, spec, folder, cache, out, url):
        lines = [f"{key} = {{low = {axis.low}, high = {axis.high}, log = {str(axis.log).lower()}}}"
                 for key, axis in ((axis.key, axis) for axis in spec.axes)]  # fmt: skip
        (folder / "sweep.toml").write_text(
            f'scenario = "{spec.scenario}"\nmethod = "{spec.method}"\nconfigurations = {spec.count}\n'
            f"seeds = {SEEDS}\nevaluation_episodes = 50\noptimum = false\n[axes]\n" + "\n".join(lines)
            + '\n[set]\nepisodes = 60\nbatch = 10\nhidden = [4]\nbaseline = "none"\n'
        )  # fmt: skip
        given = [folder / "sweep.toml", out, url, folder / "ready", folder / "go", cache]
        environment = os.environ | {"PYTHONPATH": str(Path(search_.__file__).parents[2])}
        self.ready = folder / "ready"
        self.process = subprocess.Popen([sys.executable, "-c", WORKER, *map(str, given)], env=environment)

    def __enter__(self):
        begun = time.monotonic()
        while not self.ready.exists() and self.process.poll() is None and time.monotonic() < begun + 60:
            time.sleep(0.02)
        assert self.ready.exists()
        return self.process

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def figures(cost=1.0):
    names = ("cost", "success", "latency", "money", "violation", "failure", "divergence")
    found = {name: [cost] * SEEDS for name in names} | {"finite": [True] * SEEDS}
    return found | {"success": [1 / (1 + cost)] * SEEDS}


@pytest.fixture
def join(tmp_path):
    """Joins a study; several times, as several workers would."""
    with contextlib.ExitStack() as stack:
        yield lambda spec: stack.enter_context(study_.joined_study(spec, f"sqlite:///{tmp_path}/study.db"))


@pytest.mark.parametrize("method", METHODS)
def test_points_get_better_and_are_the_same_however_often_a_search_was_stopped(make, tmp_path, method):
    spec = make(method, configurations=60)

    def searched(url, stopped):
        asked = 0
        with study_.joined_study(spec, url) as joined:
            while not joined.finished():
                claims = joined.ask(6)
                if asked % 4 in stopped:
                    joined.tell(claims[:2], [figures(bowl(claim.point)) for claim in claims[:2]])
                    joined.abandon()
                else:
                    joined.tell(claims, [figures(bowl(claim.point)) for claim in claims])
                asked += 1
            return joined.table()[0]

    def bowl(point):
        return (np.log(point[0]) - np.log(0.03)) ** 2 + (point[1] - 1.5) ** 2

    points = searched(None, ())
    assert searched(f"sqlite:///{tmp_path}/study.db", (1, 2)) == points
    assert np.mean([bowl(point) for point in points[-20:]]) < 0.5 * np.mean([bowl(point) for point in points[:20]])


def test_no_more_is_asked_for_than_there_is(make, join):
    spec = make(configurations=3)
    one, other = join(spec), join(spec)
    first, second = one.ask(2), other.ask(2)
    assert [claim.index for claim in first + second] == [0, 1, 2]
    assert not one.ask(2) and not other.ask(2) and not one.finished()
    one.tell(first, [figures(1.0), figures(2.0)])
    other.tell(second, [figures(3.0)])
    assert one.finished() and not one.ask(2)
    points, found = other.table()
    assert points == [claim.point for claim in first + second]
    assert [each["cost"][0] for each in found] == [1.0, 2.0, 3.0]


def test_one_that_asked_at_the_same_time_as_the_last_one_gets_nothing(make, join, monkeypatch):
    spec = make(configurations=1)
    one, other = join(spec), join(spec)
    create, claimed = other.storage.create_new_trial, []

    def late(*given):
        claimed.extend(one.ask(1))
        return create(*given)

    monkeypatch.setattr(other.storage, "create_new_trial", late)
    assert other.ask(1) == []
    one.tell(claimed, [figures()])
    assert other.finished()
    assert [trial.state.name for trial in other.study.trials] == ["COMPLETE", "FAIL"]


def test_a_worker_that_comes_back_from_the_dead_changes_nothing(make, join):
    spec = make(configurations=2)
    one, other = join(spec), join(spec)
    lost = one.ask(2)
    other.abandon()
    again = other.ask(2)
    assert [(c.index, c.point) for c in again] == [(c.index, c.point) for c in lost]
    one.tell(lost, [figures(5.0), figures(5.0)])
    assert not one.finished()
    other.tell(again, [figures(1.0), figures(2.0)])
    assert one.finished()
    assert [found["cost"][0] for found in one.table()[1]] == [1.0, 2.0]


def test_a_retry_that_was_queued_twice_is_done_once(make, join):
    spec = make(configurations=1)
    one, other = join(spec), join(spec)
    one.ask(1)
    other.abandon()
    one.recover()
    (failed,) = [trial for trial in other.study.trials if trial.state.name == "FAIL"]
    with database.quiet(optuna):
        optuna.storages.RetryHeartbeatStaleTrialCallback()(other.study, failed)
    claims = other.ask(1) + one.ask(1)
    assert [claim.index for claim in claims] == [0]
    other.tell(claims, [figures()])
    assert one.finished() and not one.ask(1)


def test_a_trial_of_a_worker_that_died_before_its_first_heartbeat_is_done_again(make, join):
    spec = make(configurations=1)
    one, other = join(spec), join(spec)
    with database.quiet(optuna):
        one.study.ask()
    assert other.ask(1) == []
    for _ in range(100):
        claims = other.ask(1)
        if claims:
            break
        time.sleep(0.1)
    assert [claim.index for claim in claims] == [0]
    other.tell(claims, [figures()])
    assert other.finished()
    assert one.table()[0] == [claims[0].point] == first_points(spec, 1)


def test_a_beating_worker_is_not_taken_for_dead(make, join):
    spec = make(configurations=1)
    one, other = join(spec), join(spec)
    claims = one.ask(1)
    until = time.monotonic() + 3.5
    while time.monotonic() < until:
        assert not other.ask(1)
        time.sleep(0.2)
    one.tell(claims, [figures()])
    assert other.finished() and len(other.study.trials) == 1


def test_what_workers_die_of_is_tried_alone_and_then_given_up(make, tmp_path, join):
    """The first configuration ends whoever trains it; the second is in its batch at first."""
    spec = make(configurations=2)
    batches = []
    for _ in range(2 * study_.MOST_DEATHS):
        worker = join(spec)
        worker.abandon()  # as the only one in a folder does: what is at work was left by one that died
        claims = worker.ask(2)
        if worker.given_up:
            break
        batches.append([claim.index for claim in claims])
        if 0 not in batches[-1]:
            worker.tell(claims, [figures()])
    assert batches == [[0, 1], [0, 1], [0], [0], [0]]
    assert worker.given_up == {0: "5 workers died while they were at work on it"}
    worker.tell([claim for claim in worker.ask(2) or claims if claim.index == 1], [figures()])
    assert worker.finished() and worker.all_given_up() == [0]
    _, found = worker.table()
    assert found[0]["finite"] == [False] * SEEDS and np.isnan(found[0]["cost"]).all()
    assert found[1]["cost"] == [1.0] * SEEDS


def test_a_worker_that_is_interrupted_has_not_died(make, tmp_path):
    spec = make(configurations=1)
    for _ in range(2 * study_.MOST_DEATHS):
        with study_.joined_study(spec, f"sqlite:///{tmp_path}/study.db") as joined:
            (claim,) = joined.ask(1)
    assert claim.index == 0 and not joined.given_up


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A study of which three trials are done, as bytes, and what it came to."""
    folder = tmp_path_factory.mktemp("studied")
    raw = {"method": "tpe", "configurations": 4, "seeds": SEEDS, "axes": {"learning_rate": RATE}}
    spec = make_spec(raw)
    with study_.joined_study(spec, f"sqlite:///{folder}/study.db") as joined:
        joined.agree(LANES)
        joined.tell(joined.ask(3), [figures(1.25), figures(2.25), figures(3.25)])
        claims = joined.ask(1)
        joined.tell(claims, [figures(4.25)])
        table = joined.table()
    return spec, (folder / "study.db").read_bytes(), table


def test_no_changed_figure_of_a_study_is_read(studied, tmp_path):
    spec, whole, _ = studied
    path = tmp_path / "study.db"
    changed = whole.replace(b"2.25", b"2.26", 1)
    assert changed != whole
    path.write_bytes(changed)
    with pytest.raises(UserError, match=r"^study: trial 1 is changed or damaged: begin the search anew") as refusal:  # noqa: SIM117
        with study_.joined_study(spec, f"sqlite:///{path}") as joined:
            joined.table()
    assert "\n" not in str(refusal.value)


def test_a_damaged_study_is_one_line_or_changes_nothing(studied, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_ATTEMPTS", 1)
    spec, whole, table = studied
    dice, refused = np.random.default_rng(0), 0
    for number in range(16):
        path = tmp_path / f"{number}.db"
        data = bytearray(whole)
        for offset in dice.integers(0, len(data), 1 + 40 * (number % 2)):
            data[offset] ^= 1 << int(dice.integers(8))
        path.write_bytes(data[: len(data) if number % 4 else int(dice.integers(len(data)))])
        try:
            with study_.joined_study(spec, f"sqlite:///{path}") as joined:
                joined.recorded_lanes()
                if joined.finished():
                    assert joined.table() == table
        except UserError as error:
            refused += 1
            assert str(error).startswith("study: ") and "\n" not in str(error) and len(str(error)) < 500
    assert refused > 3


def test_a_diverged_configuration_has_failed_but_is_there(make, tmp_path):
    spec = make(configurations=6, axes={"learning_rate": [0.02, 1e38], "hidden": [[4]]}, set={
        "episodes": 60, "batch": 10, "baseline": "none"
    })  # fmt: skip
    found = run(spec, tmp_path / "out")
    diverged = found.by_configuration("diverged").any(1)
    np.testing.assert_array_equal(diverged, found.values("learning_rate") > 1)
    assert 0 < diverged.sum() < 6
    done = states(f"sqlite:///{tmp_path}/out/study.db")
    assert done == ["FAIL" if each else "COMPLETE" for each in diverged]


def test_points_are_values_of_the_axes(make):
    axes = {
        "hidden": [[4], [8, 8]],
        "normalise": [True, False],
        "schedule": ["linear", "cosine"],
        "clip_norm": [1, float("inf")],
        "batch": {"low": 5, "high": 20, "log": True},
        "learning_rate": RATE,
    }
    spec = make(axes=axes, configurations=40, set={"episodes": 60})
    points = first_points(spec, 40)
    assert points == first_points(spec, 40) and len(points) == 40
    for axis, values in zip(spec.axes, zip(*points, strict=True), strict=True):
        if axis.choices:
            assert {str(value) for value in values} == {str(value) for value in axis.choices}
            assert {type(value) for value in values} == {type(value) for value in axis.choices}
        else:
            assert all(axis.low <= value <= axis.high for value in values)
            assert all(type(value) is (int if axis.integer else float) for value in values)
    assert batch_size(spec, 16, 8) == min(40, 16 * 8 // SEEDS)


def test_the_plan_is_that_of_the_whole(make, tmp_path):
    plan = plan_only(make(configurations=100), tmp_path / "out", lanes=LANES, devices=1)
    assert (plan.configurations, plan.runs, plan.episodes, plan.compilations) == (100, 200, 200 * 60, 1)
    assert not (tmp_path / "out").exists()


def test_refusals(make, tmp_path, monkeypatch):
    spec = make("cma-es", axes={"learning_rate": RATE, "hidden": [[4], [8]]}, set={"episodes": 60, "batch": 10})
    for refused in (search, lambda spec: first_points(spec, 1)):
        with pytest.raises(UserError, match=r"^sweep: axes.hidden: cma-es needs ranges, not lists$"):
            refused(spec)
    for url in ("nonsense", "nonsense://there", f"sqlite:///{tmp_path}/nowhere/study.db"):
        with pytest.raises(UserError, match=r"^study: cannot be opened: .+$"):
            run(make(), study=url)
    url = f"sqlite:///{tmp_path}/study.db"
    with study_.joined_study(make(), url) as joined:
        joined.agree(8)
    with pytest.raises(UserError, match=r"^study: begun with 8 lanes, not 4: rows would not be comparable$"):
        run(make(), study=url)
    with study_.joined_study(make(), url) as joined:
        joined.study.set_user_attr("begun", {"lanes": LANES, "platform": "abacus", "versions": {}})
    with pytest.raises(UserError, match=r"^study: begun with platform abacus, this is cpu: rows would not"):
        run(make(), study=url)
    with monkeypatch.context() as patch:
        patch.setattr(jax, "process_count", lambda: 2)
        with pytest.raises(UserError, match="one worker a host"):
            run(make())
    for package, message in (("cmaes", "cma-es needs the package cmaes"), ("optuna", "adaptive search needs Optuna")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(UserError, match=rf"^{message}: pip install 'aljax\[search\]'$"):
                run(make("cma-es"))
