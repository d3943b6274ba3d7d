"""The worked example on real logs: what it takes for a choice, what it remembers, and whether its answers are right."""

import gzip
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve()
TRACES = HERE.parents[3] / "shared" / "traces"

spec = importlib.util.spec_from_file_location("real_logs", HERE.parents[2] / "examples" / "real_logs.py")
real_logs = importlib.util.module_from_spec(spec)
sys.modules["real_logs"] = real_logs
spec.loader.exec_module(real_logs)


def row(kind, name="", ok=True, **more):
    return {"kind": kind, "name": name, "ok": ok} | more


def episode(logger, task, rows, success, **end):
    about = {"episode": f"{logger}/{task}", "task": task, "logger": logger}
    return [about | {"t": t} | step for t, step in enumerate(rows)] + [
        about | {"kind": "end", "success": success} | end
    ]


def write(folder, episodes, name="agentdojo"):
    path = folder / f"{name}.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for rows in episodes for line in rows)
    return path


MODEL = row("llm", "reason")


def test_choices_are_the_agents_and_the_rest_is_the_worlds(tmp_path):
    rows = [
        MODEL, row("clarify", "user_turn"),  # a greeting
        MODEL, row("tool", "get_details"), row("tool", "get_bill", False),
        MODEL, row("clarify", "user_turn"), row("tool", "toggle_data", by="user"), row("clarify", "user_turn"),
        MODEL, row("escalate", "transfer"),
        MODEL,
    ]  # fmt: skip
    expected = (("get_details", True), ("get_bill", False), ("ask", True), ("hand over", True))
    ends = {"x/1": {"reason": "agent_stop"}, "x/2": {}, "x/3": {"reason": "max_steps"}}
    path = write(
        tmp_path,
        [*(episode("a", task, rows, True, **end) for task, end in ends.items()), episode("a", "x/4", [], False)],
    )
    runs = real_logs.runs_of(path)
    assert [(run.task, run.logger, run.success) for run in runs] == [(task, "a", True) for task in ends]
    stop = ("stop", True)
    assert [run.choices for run in runs] == [(*expected, stop), (*expected, stop), expected]


def test_what_is_null_is_unknown(tmp_path):
    priced = MODEL | {"cost_usd": 0.5}
    for prices, dollars in ([priced, priced], 1.0), ([priced, MODEL | {"cost_usd": None}], np.nan):
        path = write(tmp_path, [episode("a", "x/1", prices, True, duration_s=None)])
        (run,) = real_logs.runs_of(path)
        np.testing.assert_equal((run.dollars, run.seconds), (dollars, np.nan))


def run(logger, names, success=True, task="x/1", seconds=1.0):
    made = tuple((name.rstrip("!"), not name.endswith("!")) for name in names)
    return real_logs.Run(task, logger, made, success, seconds, float("nan"))


def test_actions_say_what_a_call_does_and_whether_the_others_would_call_it_once_more():
    others = [run(name, ["get_a", "get_a", "send_b", "stop"]) for name in "pqr"]
    mine = run("me", ["get_a", "get_b", "get_a", "send_b!", "send_b", "send_b", "stop"])
    often = real_logs.usual([mine, *others])
    assert often[0] == {"get_a": 2, "send_b": 1}
    made = real_logs.history(mine, often[0], ["x"])
    assert [real_logs.ACTIONS[action] for _, action in made] == [
        "look", "look more", "look", "write", "retry", "write more", "stop",
    ]  # fmt: skip
    seen = [features for features, _ in made]
    assert [x["calls left"] for x in seen] == [3, 2, 2, 1, 1, 0, 0]
    assert [x["no looks left"] for x in seen] == [0, 0, 0, 1, 1, 1, 1]
    assert [x["failed"] for x in seen] == [0, 0, 0, 0, 1, 0, 0]
    assert [x["failures"] for x in seen] == [0, 0, 0, 0, 1, 1, 1]
    assert [x["first"] for x in seen] == [1, 0, 0, 0, 0, 0, 0]
    assert seen[4]["last write"] == 1 and seen[5]["last retry"] == 1


def test_a_longer_run_counts_with_what_came_of_it():
    logs = real_logs.logs_of([run("a", ["get_a"] * 5, seconds=3.0), run("b", ["get_a", "stop"], False)], 3)
    assert logs.alive.sum(1).tolist() == [3, 2] and logs.cut == 0.5
    assert logs.outcomes["success"].tolist() == [[0, 0, 1], [0, 0, 0]]
    assert logs.outcomes["seconds"].tolist() == [[0, 0, 3], [0, 1, 0]]


def names_only(rng, tasks=40, repeats=6):
    """Two loggers that write before they stop in 80 % and in 50 % of runs; only who wrote may succeed, and 90 % do."""
    found = []
    for task in range(tasks):
        for logger, share in {"careful": 0.8, "hasty": 0.5}.items():
            for _ in range(repeats):
                wrote = rng.random() < share
                rows = [MODEL, row("tool", "get_a")] + [MODEL, row("tool", "send_b")] * wrote + [MODEL]
                success = bool(wrote and rng.random() < 0.9)
                found.append(episode(logger, f"x/{task}", rows, success, duration_s=float(len(rows))))
    return found


def test_where_only_names_matter_the_others_runs_tell_the_real_success(tmp_path):
    runs = real_logs.runs_of(write(tmp_path, names_only(np.random.default_rng(0))))
    logs = real_logs.logs_of(runs, 4)
    each, mean, _ = real_logs.ways_of(logs, 0.1)
    cases = real_logs.by_pipeline(logs, each)
    assert set(cases) == {"careful", "hasty"}
    for name, truth in {"careful": 0.72, "hasty": 0.45}.items():
        others = cases[name]["others"]
        assert abs(others.logged["success"].estimate - truth) > 0.15
        for judge in ("direct", "self_normalised", "weighted_doubly_robust"):
            interval = others.estimates["success"][judge].interval
            assert interval.low < truth < interval.high
            assert interval.high - interval.low < 0.25
    twins = real_logs.repeated(runs)
    assert twins["pairs that differ"] < 0.2 < 0.4 < twins["of any pairs"]

    always = real_logs.ask(logs, each, real_logs.rules(logs, mean)["never stop"], logs.alive[:, 0], ["success"])
    assert all(always.estimates["success"][judge].refused for judge in real_logs.JUDGES[-2:])
    begin = real_logs.rules(logs, mean)["begin by asking the user"]
    assert begin[:, 0, real_logs.ACTIONS.index("ask")].min() == 1
    refused = real_logs.ask(logs, each, begin, logs.alive[:, 0], ["success"])
    assert all(found.refused for found in refused.estimates["success"].values() if found.interval is None)
    assert refused.unlogged > 0.2 and refused.estimates["success"]["direct"].interval is None


def test_weights_worth_few_tasks_before_the_end_are_refused(monkeypatch):
    runs = [run(name, ["get_a", "stop"], task=f"x/{k}") for k in range(40) for name in "pq"]
    logs = real_logs.logs_of(runs, 2)
    each, mean, _ = real_logs.ways_of(logs, 3.0)
    fair = real_logs.ask(logs, each, mean, logs.alive[:, 0], ["success"])
    assert fair.effective_tasks["balanced"] > 39 and fair.estimates["success"]["balanced_self_normalised"].interval
    target = mean.copy()
    target[5:, 0] *= 1e-6
    narrow = real_logs.ask(logs, each, target, logs.alive[:, 0], ["success"])
    assert narrow.effective_tasks["balanced"] < 5
    assert "expected at least 30" in narrow.estimates["success"]["balanced_self_normalised"].refused


def test_what_the_user_can_put_right_is_one_line(tmp_path, capsys):
    def refused():
        assert real_logs.main([str(tmp_path), "--only", "agentdojo"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "No such file" in refused()
    path = tmp_path / "agentdojo.jsonl.gz"
    path.write_bytes(b"no gzip")
    assert "row 1: not JSON" in refused()
    whole = episode("a", "x/1", [MODEL], True)
    write(tmp_path, [whole, whole[:-1]])
    assert "row 3: episode 'a/x/1' is cut short" in refused()
    write(tmp_path, [whole, [["no object"]]])
    assert "row 3: expected a JSON object" in refused()
    write(tmp_path, [whole, episode("a", "x/1", [row("tool", "get_a", None)], True)])
    assert "row 3: ok: expected true or false" in refused()
    for field, value in {"cost_usd": "much", "latency_s": -1}.items():
        write(tmp_path, [whole, episode("a", "x/1", [MODEL | {field: value}], True)])
        assert f"row 3: {field}: expected a number not below 0" in refused()
    write(tmp_path, [whole, episode("a", "x/1", [MODEL], True, duration_s=[1])])
    assert "row 4: duration_s: expected a number not below 0, got [1]" in refused()
    path.write_bytes(write(tmp_path, [whole] * 50).read_bytes()[:-20])
    assert "truncated gzip" in refused()


def test_a_source_from_file_to_table_figure_and_receipt(tmp_path, capsys):
    write(tmp_path, names_only(np.random.default_rng(1), repeats=2))
    figure, receipt = tmp_path / "figure.png", tmp_path / "receipt.json"
    asked = [str(tmp_path), "--only", "agentdojo", "--figure", str(figure), "--json", str(receipt)]
    assert real_logs.main(asked) == 0
    shown = capsys.readouterr().out
    assert "careful" in shown and "never retry" in shown and "cannot answer" in shown
    assert figure.stat().st_size > 1_000
    found = json.loads(receipt.read_text())["agentdojo"]
    assert set(found["pipelines"]) == {"careful", "hasty"} and found["chosen"]["write"] > 0


@pytest.mark.skipif(not (TRACES / "tau2.jsonl.gz").is_file(), reason=f"no logs of real agents in {TRACES}")
def test_real_logs_give_the_figures_in_the_docs():
    runs = real_logs.runs_of(TRACES / "agentdojo.jsonl.gz")
    assert len(runs) == 2017 and len({x.logger for x in runs}) == 27 and len({x.task for x in runs}) == 71
    twins = real_logs.repeated(runs)
    assert twins["pairs"] == 8299
    found = [twins[key] for key in ("pairs that differ", "of any pairs", "repeated", "error", "Spearman")]
    np.testing.assert_allclose(found, [0.124, 0.372, 0.735, 0.047, 0.955], atol=6e-4)

    logs = real_logs.logs_of(real_logs.runs_of(TRACES / "tau2.jsonl.gz"), real_logs.HORIZONS["tau2"])
    each, _, likelihood = real_logs.ways_of(logs, 10.0)
    assert likelihood == pytest.approx(-0.888, abs=2e-3)
    cases = real_logs.by_pipeline(logs, each)
    weighted = [case["others"].estimates["success"].get(x) for case in cases.values() for x in real_logs.JUDGES[1:]]
    assert all(found is None or found.interval is None for found in weighted)
