"""Commands as processes: signals, broken environments, readers that go away; saved, then shown, then drawn."""

import gc
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import UserError, learner, plots, runs
from aljax.commands.main import entry, main
from aljax.host import process

from shell import keeping
from tiny import TINY

SMALL = ["--episodes", "60", "--batch", "20", "--hidden", "4", "--seeds", "2", "--evaluation-episodes", "20"]
TRAIN = ["train", "--scenario", "tiny.toml", *SMALL]
BASELINE = ["baseline", "--scenario", "tiny.toml", "--seeds", "2", "--evaluation-episodes", "20"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of its own with a scenario, and in it the current one."""
    (tmp_path / "tiny.toml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*args, **environment):
    return subprocess.run(
        [sys.executable, "-m", "aljax", *args],
        env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def started(*args, **environment):
    """A command that heeds Ctrl-C, also where these tests are a background job, which hands on that it ignores it."""
    given: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    given |= {"env": environment or None}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen([sys.executable, "-m", "aljax", *args], **given)
    finally:
        signal.signal(signal.SIGINT, before)


def reserved(child, place):
    """Waits until a process has reserved a place, which it does before it trains."""
    while not place.exists():
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_training_with_one_line_and_nothing_left(number, status, here):
    child = started(*TRAIN, "--no-plots")
    reserved(child, here / "runs" / ".tiny-1.partial")
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == status, err
    assert out == "" and err.startswith("aljax: ") and err.count("\n") == 1 and "nothing is half-written" in err
    assert names(here / "runs") == []


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_what_is_killed_reads_as_nothing_and_the_next_start_removes_it(here):
    child = started(*TRAIN, "--no-plots", "--out", "run")
    reserved(child, here / ".run.partial")
    child.kill()
    child.communicate()
    assert names(here) == [".run.partial", "tiny.toml"]
    with pytest.raises(UserError):
        runs.load(here / "run")
    assert main([*TRAIN, "--no-plots", "--out", "run"]) == 0
    assert names(here) == ["run", "tiny.toml"]
    runs.load(here / "run")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_that_was_set_to_be_ignored_is(capfd):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with process.ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(process.Terminated) as ended:
                os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # the second does not disturb what cleans up
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended.value.status == 143 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_two_commands_that_train_at_once_leave_two_runs(here):
    """The default folder, and the same --out."""
    for options, first, second in (([], "runs/tiny-1", "runs/tiny-2"), (["--out", "run"], "run", "run-2")):
        children = [started(*TRAIN, "--no-plots", *options, **keeping()) for _ in range(2)]
        said = [child.communicate(timeout=300) for child in children]
        assert [child.returncode for child in children] == [0, 0], said
        written = sorted(out.split("Written to ")[1].split()[0] for out, _ in said)
        assert written == [first, second]
        for place in written:
            runs.load(here / place)
    assert names(here) == ["run", "run-2", "runs", "tiny.toml"] and names(here / "runs") == ["tiny-1", "tiny-2"]


@pytest.mark.parametrize(
    ("options", "taken", "beside"), [([], "runs/tiny-1", "runs/tiny-2"), (["--out", "run"], "run", "run-2")]
)
def test_a_folder_that_the_user_makes_while_training_runs_stays(options, taken, beside, here, capsys, monkeypatch):
    train = learner.train_seeds

    def train_meanwhile(*args):
        (here / taken).mkdir()
        (here / taken / "thesis.txt").write_text("years")
        return train(*args)

    monkeypatch.setattr(learner, "train_seeds", train_meanwhile)
    assert main([*TRAIN, "--no-plots", *options]) == 0
    assert (here / taken / "thesis.txt").read_text() == "years"
    runs.load(here / beside)
    assert f"Written to {beside} ({taken} was taken meanwhile)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("JAX_PLATFORMS", "foo", "aljax: JAX_PLATFORMS=foo: "),
        ("JAX_PLATFORMS", "cuda", "aljax: JAX_PLATFORMS=cuda: "),
        ("JAX_DISABLE_JIT", "1", "aljax: JAX_DISABLE_JIT is set"),
    ],
)
def test_an_environment_in_which_jax_cannot_work_is_one_line(name, value, line, here):
    if value == "cuda" and any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("there is one")
    done = command(*BASELINE, **{name: value})
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(line) and "Traceback" not in done.stderr


def test_a_plugin_that_does_not_work_is_one_line_and_the_work_goes_on(capfd, monkeypatch):
    """JAX tells of it with a traceback, and goes on without it."""
    found = jax.devices()

    def devices():
        try:
            raise RuntimeError("Unable to load cuDNN. Is it installed?")
        except RuntimeError:
            logging.getLogger("jax._src.xla_bridge").exception("error when calling %s.initialize()", "xla_cuda13")
        return found

    monkeypatch.setattr(jax, "devices", devices)
    (line,) = process.check_jax()
    assert line.startswith("xla_cuda13: Unable to load cuDNN. Is it installed?: computes on cpu; ")
    assert "aljax[cuda13]" in line and capfd.readouterr().err == ""


def test_a_missing_driver_is_one_line_that_says_what_to_do(monkeypatch):
    def devices():
        raise RuntimeError("Unable to initialize backend 'cuda':\n FAILED_PRECONDITION: No visible GPU devices.")

    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(UserError, match=r"No visible GPU devices.*needs its driver.*aljax\[cuda13\]") as refused:
        process.check_jax()
    assert "\n" not in str(refused.value)


def test_warnings_that_are_errors_to_python_are_none_here(here):
    done = command(*TRAIN, PYTHONWARNINGS="error")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Ran on cpu: {len(jax.local_devices())} × cpu.\n" in done.stdout
    assert "learning_curves.png" in names(here / "runs" / "tiny-1")


def test_commands_work_where_there_are_no_posix_locks(here):
    """As on Windows: the module fcntl cannot be imported."""
    script = (
        "import sys; sys.modules['fcntl'] = None\nfrom aljax.commands.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    for args in (["scenarios"], [*BASELINE, "--json", "b.json"], [*TRAIN, "--no-plots"]):
        done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert names(here) == ["b.json", "runs", "tiny.toml"] and names(here / "runs") == ["tiny-1"]


def test_a_whole_process_looks_for_garbage_rarely(monkeypatch):
    before, told = gc.get_threshold(), []
    gc.set_threshold(700, 10, 10)  # as Python starts
    monkeypatch.setattr("aljax.commands.main.main", lambda: told.append(gc.get_threshold()) or 3)
    try:
        with pytest.raises(SystemExit) as ended:
            entry()
    finally:
        gc.set_threshold(*before)
    assert ended.value.code == 3 and told[0][0] > 7_000


def test_memory_that_ran_out_is_one_line():
    for demand in (lambda: np.zeros(2**50), lambda: jnp.zeros(2**48).block_until_ready()):
        with pytest.raises(UserError, match=r"^out of memory: "), process.limits_in_one_line():
            demand()


def test_a_number_that_jax_was_asked_to_stop_at_is_one_line():
    with jax.debug_nans(True), pytest.raises(UserError, match="JAX_DEBUG_NANS"), process.limits_in_one_line():
        jax.jit(jnp.log)(-1.0)
    with pytest.raises(FloatingPointError), process.limits_in_one_line():
        raise FloatingPointError("our own")  # no one line for what nobody asked for: it would hide a mistake


def test_a_reader_without_the_characters_and_that_goes_away_costs_nothing(here):
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$0" -m aljax {" ".join(TRAIN)} --json m.json | head -1', sys.executable],
        env=keeping(PYTHONIOENCODING="ascii"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("\n") == 1
    run = here / "runs" / "tiny-1"
    assert json.loads((here / "m.json").read_text()) == runs.load(run).metrics
    assert {"components.png", "choices.png", "learning_curves.png"} <= set(names(run))


def test_json_goes_before_tables_where_both_go_to_standard_output(here):
    done = command(*BASELINE, "--json", "/dev/stdout")
    figures, end = json.JSONDecoder().raw_decode(done.stdout)
    assert set(figures["policies"]) == {"optimal", "latency", "cost_aware", "random"}
    assert done.stdout[end:].lstrip().startswith("Table 1") and done.returncode == 0


def test_pictures_come_last_and_one_that_fails_costs_itself_only(here, capsys, monkeypatch):
    shown_before = []

    def fail(*_):
        shown_before.append((capsys.readouterr().out, names(here / "run")))
        raise RuntimeError("no font")

    monkeypatch.setattr(plots, "choices", fail)
    assert main([*TRAIN, "--out", "run", "--json", "m.json"]) == 0
    ((out, standing),) = shown_before
    assert "Table 1" in out and "Written to run" in out and "manifest.json" in standing and (here / "m.json").exists()
    assert capsys.readouterr().err.count("\n") == 1
    assert {"components.png", "learning_curves.png"} <= set(names(here / "run"))
    assert "choices.png" not in names(here / "run")
    runs.load(here / "run")


def test_what_cannot_be_saved_is_shown_all_the_same(here, capsys, monkeypatch):
    assert main([*TRAIN, "--no-plots", "--out", "run", "--json", "/dev/full"]) == 2
    captured = capsys.readouterr()
    assert "Table 1" in captured.out and "Written to run" in captured.out
    assert captured.err == "aljax: /dev/full: cannot be written: No space left on device\n"
    before, train = (here / "run" / "metrics.json").read_bytes(), learner.train_seeds

    def lose_the_place(*args):
        shutil.rmtree(here / ".run.partial" / "new")
        return train(*args)

    monkeypatch.setattr(learner, "train_seeds", lose_the_place)
    assert main([*TRAIN, "--out", "run", "--overwrite", "--json", "m.json"]) == 2
    captured = capsys.readouterr()
    assert "Table 1" in captured.out and "Nothing was written" in captured.out
    assert captured.err.startswith("aljax: run: cannot be written: ") and captured.err.count("\n") == 1
    assert (here / "run" / "metrics.json").read_bytes() == before and (here / "m.json").exists()
    assert names(here) == ["m.json", "run", "tiny.toml"]
