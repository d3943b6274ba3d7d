"""The command line, mostly as a user meets it: a process of its own, real files, a real kill."""

import inspect
import json
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aljax import UserError, runs
from aljax.commands import bench, evaluate
from aljax.commands import main as cli
from aljax.commands.main import COMMANDS, main
from aljax.host.numerics import numerics

from shell import keeping
from tiny import TINY

ROOT = Path(__file__).parents[2]
SMALL = ["--episodes", "60", "--batch", "20", "--hidden", "4", "--seeds", "2", "--evaluation-episodes", "20"]


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return str(path)


def process(*args, **options):
    return subprocess.run(
        [sys.executable, "-m", "aljax", *args], capture_output=True, text=True, timeout=300, check=False, **options
    )


def test_train_then_evaluate_in_processes_of_their_own(tmp_path, monkeypatch, capsys):
    # Names that are markup, formulas and emoji to others, and an output that has only ASCII's characters.
    text = TINY.replace("Two tools", "[/] $a_$b :smile: 😀").replace('"error"', '"error[/x]_$b"')
    scenario, where = "run [v1].toml", {"cwd": tmp_path, "env": keeping(PYTHONIOENCODING="ascii")}
    (tmp_path / scenario).write_text(text.replace("actions.strong", 'actions."buy$a_$b"'), encoding="utf-8")
    done = process("train", "--scenario", scenario, *SMALL, "--json", "m.json", **where)
    assert done.returncode == 0 and not done.stderr, done.stderr
    run = tmp_path / "runs" / "run [v1]-1"
    assert "Table 1. Total cost and success: run [v1], mean ? std" in done.stdout and "Table 2" in done.stdout
    assert "Written to runs/run [v1]-1\n" in done.stdout
    assert "Total cost and success: run [v1], mean ± std" in (run / "tables.md").read_text(encoding="utf-8")
    assert {"config.json", "metrics.json", "tables.md", "checkpoint", "manifest.json"} <= {
        p.name for p in run.iterdir()
    }
    for name in ("learning_curves.png", "components.png", "choices.png"):
        assert (run / name).read_bytes().startswith(b"\x89PNG") and (run / name).stat().st_size > 10_000
    trained = json.loads((run / "metrics.json").read_text())
    assert json.loads((tmp_path / "m.json").read_text()) == trained

    again = process("evaluate", str(run), "--json", "e.json", **where)
    assert again.returncode == 0, again.stderr
    evaluated = json.loads((tmp_path / "e.json").read_text())
    assert evaluated["policies"] == trained["policies"]  # the same luck: the same figures, from the checkpoint

    shifted = process("evaluate", str(run), "--set", "actions.failure.weak=0.9", "--json", "s.json", **where)
    assert shifted.returncode == 0, shifted.stderr
    changed = json.loads((tmp_path / "s.json").read_text())
    assert (
        changed["policies"]["latency"]["components"]["failure"]["mean"]
        > 2 * (trained["policies"]["latency"]["components"]["failure"]["mean"])
    )

    note = "Not the run's own figures to the last bit: it was begun with platform cpu, this is abacus."
    assert "own figures" not in again.stdout + shifted.stdout
    monkeypatch.setattr(evaluate, "numerics", lambda: numerics() | {"platform": "abacus"})
    assert main(["evaluate", str(run)]) == 0 and note in capsys.readouterr().out
    assert "cannot be written: File name too long" in refused(capsys, "evaluate", str(run), "--out", "9" * 300)


def refused(capsys, *args):
    """The one line that a command is refused with."""
    assert main(list(args)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("aljax: ") and captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "--scenario", "papr"], "unknown scenario 'papr' (did you mean paper?)"),
        (["train", "--epsodes", "3"], "--epsodes"),
        (["train", "--episodes", "many"], "--episodes"),
        (["train", "--episodes", "0"], "episodes: expected a whole number of at least 1, got 0"),
        (["train", "--learning-rate", "nan"], "learning_rate: expected a number"),
        (["train", "--baseline", "best"], "--baseline"),
        (["train", "--set", "actions.failure.retrieve=1.2"], "a probability must lie in [0, 1], got 1.2"),
        (["baseline", "--set", "weights.latency=-1"], "weights.latency: must not be negative"),
        (["baseline", "--json", "/proc/no/such.json"], "/proc/no/such.json: cannot be written"),
        (["train", "--out", "/dev/null/run"], "/dev/null/run: cannot be written"),
        (["train", "--out", "."], ".: already exists"),
        (["evaluate", "nowhere"], "nowhere: no such run folder"),
        (["evaluate"], "RUN"),
        (["scenarios", "--set", "horizon=3"], "--set needs the name of a scenario"),
        (["optimal", "--start", "1,2"], "--start: expected 3 numbers with commas, focus,evidence,arithmetic; got 1,2"),
        (["optimal", "--start", "1,2,nan"], "--start: expected 3 numbers"),
        (["optimal", "--start", "1,2,1e39"], "--start: expected 3 numbers"),
        (["collect", "x.jsonl", "--episodes", "1000000000000"], "episodes: expected a whole number of at most"),
        (["collect", "x.jsonl", "--policy", "9" * 5_000], "policy '999"),
        (["collect", "x.jsonl", "--policy", "run:²"], "policy 'run:²': expected latency, cost_aware"),
        (["collect", "x.jsonl", "--policy", "run:" + "9" * 5_000], "policy 'run:999"),
        (["collect", "9" * 5_000], "cannot be written: File name too long"),
        (["collect", "x.jsonl", "--seed", "-1"], "seed: expected a whole number of at least 0, got -1"),
        (["train", "--hidden", "1000000000000"], "hidden: at most 1,000,000 units a layer"),
        (["optimal", "--scenario", "service_desk", "--start", "1,2,3,4"], "--start needs the exact optimum, but serv"),
        (["optimal", "--set", "horizon=99", "--set", "misread=1"], "paper: the bound would need"),
        (["optimal", "--figure", "o.xyz"], "figure: expected a file that ends in .png, got o.xyz"),
        (["optimal", "--figure", "/proc/no/o.png"], "/proc/no/o.png: cannot be written"),
        (["optimal", "--scenario", "service_desk", "--figure", "o.png"], "--figure needs the exact optimum"),
        (["optimal", "--scenario", "service_desk", "--from-run", "nowhere"], "nowhere: no such run folder"),
        (["tarin"], "tarin"),
        ([], "scenarios"),
        (["train", "--hidden", "0"], "hidden: every layer needs at least one unit"),
        (["train", "--hidden", "9" * 5_000], "--hidden: Could not find valid parse"),
        (["train", "--seeds", "9" * 5_000], "--seeds: Exceeds the limit (4300 digits)"),
        (["train", "--row", "9" * 5_000, "--from", "x"], "--row"),
        (["train", "--seed", "-1"], "seed: expected a whole number of at least 0, got -1"),
        (["train", "--seed", "9" * 20], "seed: expected a whole number of at most 2,147,483,647, got 9999"),
        (["train", "--seeds", "0"], "seeds: expected a whole number of at least 1, got 0"),
        (
            ["train", "--learning-rate", "1e400"],
            "learning_rate: expected a number that single precision holds, got inf",
        ),
        (["train", "--normalise", "False"], "Unrecognized options: False"),
        (["train", "--json", ""], "--json: expected a value, got none"),
        (["train", "--json="], "--json: expected a value, got none"),
        (["train", "--overwrite", "--out", ""], "--out: expected a value, got none"),
        (["evaluate", ""], "an argument: expected a value, got none"),
        (["optimal", "--start", ""], "--start: expected a value, got none"),
        (["collect", ""], "an argument: expected a value, got none"),
        (["optimal", "--seeds", "0"], "seeds: expected a whole number of at least 1, got 0"),
        (["train", "--hidden", "99999999999"], "hidden: at most 1,000,000 units a layer"),
        (["train", "--seeds", "1000000000000"], "seeds: expected a whole number of at most 1,000,000"),
        (["train", "--evaluation-episodes", "1" + "0" * 15], "evaluation_episodes: expected a whole number of at most"),
        (["train", "--entropy", "1e39"], "entropy: expected a number that single precision holds, got 1e+39"),
        (["train", "--json", "x" * 300], "cannot be written: File name too long"),
        (["train", "--json", "a\0b"], "a\\x00b': cannot be the name of a file"),
        (["train", "--scenario", "x" * 5_000], "unknown scenario 'xxx"),
        (["train", "--set", "horizon=" + "9" * 5_000], "horizon=99"),
        (["baseline", "--seeds", "0"], "seeds: expected a whole number of at least 1, got 0"),
        (["baseline", "--seed", "-1"], "seed: expected a whole number of at least 0, got -1"),
        (["evaluate", "x" * 300], "File name too long"),
        (["ope", "no-log", "--policy", "x" * 300], "expected latency, cost_aware, random, optimal or a run folder"),
        (["collect", "f", "--policy", "x" * 300 + ":1"], "expected latency, cost_aware, random, optimal or a run"),
        (["evaluate", "a\0b"], "a\\x00b: "),
        (["collect", "f", "--episodes", "0"], "episodes: expected a whole number of at least 1, got 0"),
        (
            ["collect", "f", "--episodes", "1000000000"],
            "episodes: the log would have 1,000,000,000",
        ),
        (["collect", "f", "--seed", "-1"], "seed: expected a whole number of at least 0, got -1"),
        (["collect", "f", "--epsilon", "nan"], "epsilon: expected a number in [0, 1], got nan"),
        (["ope", "x", "--policy", "random", "--truth", "-1"], "truth: expected a whole number of at least 0, got -1"),
        (
            ["ope", "x", "--policy", "random", "--folds", "1" + "0" * 9],
            "folds: expected a whole number of at most",
        ),
        (["ope", "x", "--policy", "random", "--floor", "nan"], "floor: expected a number not below 0, got nan"),
        (
            ["ope", "x", "--policy", "random", "--figure", "o.pdf"],
            "figure: expected a file that ends in .png, got",
        ),
        (["sweep", "x", "--memory", "nan"], "--memory: expected a number above 0, got nan"),
        (["scenarios", "\x1b[31m"], "unknown scenario '\\x1b[31m'"),
        # What would be without effect is refused, also where it is the default.
        (["train", "--updates", "3000"], "--updates: there is nothing to learn from: expected --data LOG"),
        (["train", "--start", "x", "--step-size=0.01"], "--step-size: there is nothing to learn from"),
        (["train", "--from", "x", "--row", "1", "--learning-rate", "0.02"], "--learning-rate: --from takes scenario"),
        (["train", "--from", "x", "--row=1", "--set", "horizon=3"], "--set: --from takes scenario"),
        (
            ["train", "--regime", "offline", "--data", "x", "--no-normalise", "--episodes", "12000"],
            "--episodes, --normalise: --regime offline does not train in the simulator",
        ),
        (["optimal", "--episodes", "120000"], "--episodes: paper has an exact optimum, which needs no policy"),
        (["optimal", "--from-run", "x"], "--from-run: paper has an exact optimum"),
        (["optimal", "--alpha", "0.2"], "--alpha: paper has an exact optimum"),
        (["optimal", "--scenario", "service_desk", "--objective", "cvar"], "--objective cvar needs the exact optimum"),
        (
            ["optimal", "--scenario", "service_desk", "--from-run", "x", "--batch=30"],
            "--batch: --from-run takes policies that are trained",
        ),
    ],
)
def test_bad_input_gives_one_line_and_status_2(args, message, capsys):
    assert message in refused(capsys, *args)


def test_options_that_are_given_are_known_whatever_their_value():
    command = cli._parse(["train", "--learning_rate=0.02", "--seeds", "5", "--no-normalise", "--set", "horizon=3"])
    assert command.given == {"learning_rate", "seeds", "normalise", "set"}
    assert cli._parse(["train"]).given == frozenset()
    assert cli._parse(["train", "--hidden", "4", "8", "--clip-norm", "-0"]).given == {"hidden", "clip_norm"}
    assert cli._parse(["train", "--out=--seeds"]).given == {"out"}


CALL = re.compile(r"^(?:\S+=\S+ |srun |mpirun -n \d+ )*(aljax (?:(?!  |&| #).)+)")  # up to two blanks or a remark
SCHEME = re.compile(r"\b[A-Z]+\b|…|\.\.\.|\||--help|--from$")  # told of, not to be typed


def examples():
    """Every line that shows how to call the program: in the commands' help, the README and the pages."""
    for command in COMMANDS.values():
        for line in inspect.cleandoc(command.__doc__).partition("Try:")[2].splitlines():
            if found := CALL.match(line.strip()):
                yield command.__name__, found[1]
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text, fenced = page.read_text(encoding="utf-8").replace("\\\n", " "), False
        for line in text.splitlines():
            fenced ^= line.startswith("```")
            if (fenced or line.startswith("    ")) and (found := CALL.match(" ".join(line.strip().split(" ")))):
                yield page.name, found[1]
        for span in re.findall(r"`(aljax \w+ [^`]+)`", text):
            if not SCHEME.search(span):
                yield page.name, span


@pytest.mark.parametrize(("where", "line"), sorted(set(examples())))
def test_every_example_is_one_that_the_parser_takes(where, line):
    cli._parse(shlex.split(line)[1:])


def test_there_are_examples_of_every_command_and_of_the_pages():
    found = {where for where, _ in examples()}
    commands = {options.__name__ for options in COMMANDS.values()}
    assert found >= commands | {"first_steps.md", "learn_from_logs.md", "optimal.md", "sweep.md"}
    assert len(set(examples())) > 40


def test_a_refusal_in_a_real_process_has_no_traceback(tmp_path):
    (tmp_path / "broken.toml").write_text("horizon = ")
    done = process("train", "--scenario", "broken.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("aljax: broken.toml: not valid TOML: ") and done.stderr.count("\n") == 1
    assert done.stdout == "" and not (tmp_path / "runs").exists()


def test_a_policy_is_not_evaluated_where_it_does_not_fit(scenario, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--scenario", scenario, *SMALL, "--no-plots", "--out", "run"]) == 0
    capsys.readouterr()
    assert "run was trained on tiny, with weak, strong, stop" in refused(
        capsys, "evaluate", "run", "--scenario", "paper"
    )
    assert "already exists" in refused(capsys, "train", "--scenario", scenario, *SMALL, "--out", "run")
    assert "the run itself" in refused(capsys, "evaluate", "run", "--out", "run", "--overwrite")
    assert main(["evaluate", "run", "--set", "horizon=5", "--out", "longer", "--seed", "3", "--no-plots"]) == 0
    assert json.loads((tmp_path / "longer" / "metrics.json").read_text())["overrides"] == ["horizon=5"]
    with pytest.raises(UserError):
        runs.load("longer")  # an evaluation, not a run


def test_actions_are_matched_by_name_and_not_by_place(scenario, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head, *actions = TINY.split("[actions.")
    (tmp_path / "turned.toml").write_text("[actions.".join([head, *(action + "\n" for action in reversed(actions))]))
    assert main(["train", "--scenario", scenario, *SMALL, "--no-plots", "--out", "run"]) == 0
    assert main(["evaluate", "run", "--scenario", "turned.toml", "--json", "turned.json"]) == 0
    trained, turned = (json.loads((tmp_path / name).read_text()) for name in ("run/metrics.json", "turned.json"))
    assert turned["policies"] == trained["policies"]

    def shares(named, policy):
        """How often each action was logged."""
        assert main(["collect", "log.jsonl", "--scenario", named, "--policy", policy, "--episodes", "500"]) == 0
        lines = (tmp_path / "log.jsonl").read_text().splitlines()
        (tmp_path / "log.jsonl").unlink()
        steps = [row["name"] for row in map(json.loads, lines) if "name" in row]
        return {name: steps.count(name) / len(steps) for name in ("weak", "strong", "stop")}

    assert shares("turned.toml", "run") == pytest.approx(shares(scenario, "run"), abs=0.08)


def test_without_matplotlib_everything_is_done_but_pictures(scenario, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for command in (["train", "--scenario", scenario, *SMALL], ["evaluate", "run"]):
        assert main([*command, "--out", "run" if command[0] == "train" else "again"]) == 0
        shown = capsys.readouterr()
        assert "Table 1" in shown.out and "Written to" in shown.out
        assert shown.err == (
            "aljax: no pictures: plots need matplotlib: pip install 'aljax[plot]', or leave them out with --no-plots\n"
        )
    runs.load("run")
    assert not [*tmp_path.rglob("*.png")] and (tmp_path / "again" / "metrics.json").exists()
    asked = "plots need matplotlib: pip install 'aljax[plot]'"
    assert asked in refused(capsys, "optimal", "--figure", "o.png")
    assert asked in refused(capsys, "ope", "x", "--policy", "random", "--figure", "o.png")


def test_scenarios_are_listed_and_shown(capsys):
    assert main(["scenarios"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("paper", "escalation", "service_desk"))
    assert main(["scenarios", "service_desk", "--set", "horizon=99"]) == 0
    shown = capsys.readouterr().out
    assert "clarify" in shown and "99" in shown and "Where the numbers come from" in shown


def test_optimal_prints_value_and_actions_and_writes_them(scenario, tmp_path, capsys):
    written = tmp_path / "o.json"
    few = ["--seeds", "2", "--evaluation-episodes", "50"]
    dear = ["--set", "weights.violation=8"]  # so dear that stopping at once is not the best
    assert "needs two coordinates" in refused(capsys, "optimal", "--scenario", scenario, "--figure", "o.png")
    assert main(["optimal", "--scenario", scenario, *dear, *few, "--start", "2.5", "--json", str(written)]) == 0
    shown = capsys.readouterr().out
    assert "expected" in shown and "rolled out" in shown
    assert "Optimal actions from error 2.5" in shown and "strong" in shown
    figures = json.loads(written.read_text())
    # Every episode starts at 2, so the exact value does not vary; rollouts do.
    assert figures["exact"]["cost"]["std"] == 0 and figures["policies"]["optimal"]["cost"]["std"] > 0
    assert figures["policies"]["random"]["gap_percent"]["estimate"] > 0
    assert set(figures["seconds"]) == {"compile", "train", "evaluate", "in_all"}


def test_optimal_says_what_tails_and_promises_cost_at_least(scenario, tmp_path, capsys):
    written = tmp_path / "o.json"
    asked = ["--objective", "cvar", "--alpha", "0.5", "--constraint", "P(failure>0)<=0.9"]
    few = ["--seeds", "1", "--evaluation-episodes", "2"]
    assert main(["optimal", "--scenario", scenario, *few, *asked, "--json", str(written)]) == 0
    shown, figures = capsys.readouterr().out, json.loads(written.read_text())
    assert "The mean cost of the worst 50 % of episodes" in shown and "no policy's is less" in shown
    assert "No policy that keeps these promises costs less than" in shown and "P(failure > 0) ≤ 0.9" in shown
    assert figures["cvar"]["alpha"] == 0.5
    assert figures["cvar"]["bound"]["estimate"] >= figures["exact"]["cost"]["mean"] > 0  # the worst half costs more
    assert figures["constrained"]["constraints"]["P(failure > 0)"]["reached"] <= 0.9


def test_optimal_draws_the_first_action_over_the_starts(tmp_path, capsys):
    place = tmp_path / "o.png"
    few = ["--seeds", "1", "--evaluation-episodes", "20", "--set", "horizon=3"]
    assert main(["optimal", *few, "--figure", str(place)]) == 0
    assert place.read_bytes().startswith(b"\x89PNG") and place.stat().st_size > 10_000
    assert [item.name for item in tmp_path.iterdir()] == ["o.png"]  # nothing is left beside it


def test_optimal_gives_bounds_where_there_is_no_exact_value(scenario, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noisy = ["--set", "actions.noise.strong=0.25", "--set", "weights.violation=8"]
    options = [*SMALL, "--scenario", scenario, *noisy]
    assert main(["train", *options, "--no-plots", "--out", "run"]) == 0
    assert "No gap to the optimum: tiny: the exact solver needs rows without noise" in capsys.readouterr().out
    assert "run was trained on tiny" in refused(capsys, "optimal", "--scenario", "service_desk", "--from-run", "run")
    command = ["optimal", "--scenario", scenario, *noisy, "--seeds", "3", "--evaluation-episodes", "50"]
    assert main([*command, "--from-run", "run", "--json", "b.json"]) == 0
    shown = capsys.readouterr().out
    assert "No exact optimum: tiny: the exact solver needs rows without noise" in shown and "no policy costs" in shown
    written = json.loads((tmp_path / "b.json").read_text())
    found = written["bounds"]
    (policy,) = written["policies"].values()
    assert policy["cost"]["mean"] == pytest.approx(found["upper"]["estimate"])
    assert found["lower"]["estimate"] < found["upper"]["estimate"]
    assert found["gap_percent"]["low"] < found["gap_percent"]["estimate"] < found["gap_percent"]["high"]


def test_help_teaches(capsys):
    for command in ("scenarios", "baseline", "train", "evaluate", "optimal", "bench"):
        with pytest.raises(SystemExit) as exit_:
            main([command, "--help"])
        assert exit_.value.code == 0
        shown = capsys.readouterr().out
        assert "Try:" in shown and "aljax " + command in shown
        assert "--set" in shown or command == "bench"
    assert "--learning-rate" in _help(capsys, "train") and "--hidden" in _help(capsys, "train")


def _help(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    return capsys.readouterr().out


def test_killed_at_any_moment_train_leaves_no_folder_that_reads_as_whole(scenario, tmp_path):
    command = [sys.executable, "-m", "aljax", "train", "--scenario", scenario, *SMALL, "--out", "run"]
    for place in ("first", "run"):  # the second finds what it runs, as those that are killed do
        begun = time.perf_counter()
        subprocess.run([*command[:-1], place], cwd=tmp_path, check=True, capture_output=True, env=keeping())
        whole = time.perf_counter() - begun
    runs.load(tmp_path / "run")
    rng = random.Random(0)
    for attempt in range(3):
        place = f"killed-{attempt}"
        child = subprocess.Popen(
            [*command[:-1], place], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=keeping()
        )
        time.sleep(whole * rng.uniform(0.5, 1.0))
        child.send_signal(signal.SIGKILL)
        child.wait()
        if (tmp_path / place).exists():
            runs.load(tmp_path / place)  # it had finished: then all of it is there
        else:
            with pytest.raises(UserError):
                runs.load(tmp_path / place)
            for partial in tmp_path.glob(f".{place}.partial-*"):
                if not (partial / "manifest.json").exists():
                    with pytest.raises(UserError):
                        runs.load(partial)
    runs.load(tmp_path / "run")


def test_bench_hands_its_options_to_the_suite_and_returns_its_status(capfd):
    assert main(["bench", "--parts", "stepping", "nonsense", "--repeats", "3"]) == 2
    assert capfd.readouterr().err.splitlines() == [
        "bench: --parts: no part 'nonsense', expected some of stepping, rollouts, training, floors, growth, startup"
    ]


def test_bench_says_that_it_needs_the_source_tree(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "site-packages" / "aljax" / "commands" / "bench.py"))
    assert main(["bench"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "in the source tree" in line
