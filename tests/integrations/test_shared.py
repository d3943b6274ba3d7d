"""A run of an agent under a router, without any framework."""

import gc
import json
import subprocess
import sys

import pytest

from aljax.errors import UserError
from aljax.integrations import langchain, mcp, openai_agents, pydantic_ai, shared
from aljax.integrations.shared import Run, Runs, routing
from aljax.router import Router, RouterError

from players import ROUTER, Desk


@pytest.fixture
def desk():
    return Desk([])


def begun(desk, log, mode="block"):
    return Run(routing(Router.load(ROUTER, log=log), mode, (1.0, 1.0), desk.clock))


def rows(log):
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_calls_of_one_turn_share_its_seconds_and_the_first_pays_for_it(desk, tmp_path):
    run = begun(desk, tmp_path / "log")
    run.turn(["search", "archive"])
    desk.now = 2.0
    run.spend(300_000, 200_000)
    desk.now = 3.0
    assert run.record("search", True) == 3.0
    desk.now = 5.0
    assert run.record("archive", True) == 2.0
    desk.now = 100.0  # what lies between turns is nobody's
    run.turn(["search", "archive"])
    desk.now = 101.0
    run.end()
    assert [row.get("cost_usd") for row in rows(tmp_path / "log")] == [0.5, 0.0, 0.0, None]
    assert [row["name"] for row in rows(tmp_path / "log")[:3]] == ["search", "archive", "terminate"]
    assert rows(tmp_path / "log")[-1]["duration_s"] == pytest.approx(6.0)


def test_dollars_of_unknown_tokens_are_unknown(desk, tmp_path):
    run = begun(desk, tmp_path / "log")
    for tokens in (None, 1000):
        run.turn(["search"])
        run.spend(tokens, 1000)
        run.record("search", True)
    run.end("tired", answered=False)
    found = rows(tmp_path / "log")
    assert "cost_usd" not in found[0] and found[1]["cost_usd"] == 0.002
    assert [row["kind"] for row in found] == ["tool", "tool", "end"] and found[-1]["reason"] == "tired"


def test_a_tool_that_ends_the_episode_is_booked_once(desk, tmp_path):
    run = begun(desk, tmp_path / "log")
    assert run.turn(["search", "terminate"]).shut == {"terminate"}
    run.record("terminate", True)
    run.turn(["search", "terminate"])
    run.end()
    assert [row.get("name") for row in rows(tmp_path / "log")] == ["terminate", None]
    assert run.over


def test_a_run_that_is_forgotten_is_closed_in_the_log(desk, tmp_path):
    run = begun(desk, tmp_path / "log")
    run.record("search", False)
    del run
    gc.collect()
    assert [row.get("reason") for row in rows(tmp_path / "log")] == [None, "abandoned"]


def test_of_too_many_runs_the_oldest_are_taken_for_abandoned(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "MOST_RUNS", 3)
    runs = Runs(routing(Router.load(ROUTER, log=tmp_path / "log"), "mask", None, desk.clock))
    names = [runs.begin() for _ in range(5)]
    assert [row["episode"] for row in rows(tmp_path / "log")] == names[:2]
    assert runs.close(names[0]) is None and runs.close(names[4]) is not None


def test_what_is_wrong_is_one_line():
    with pytest.raises(UserError, match="mode: expected one of block, mask, force, got 'cut'"):
        routing(ROUTER, "cut")
    for prices in (3, (1.0,), ("a", "b"), (1.0, 2.0, 3.0)):
        with pytest.raises(UserError, match="prices: expected dollars a million tokens"):
            routing(ROUTER, "mask", prices)
    with pytest.raises(RouterError, match="cannot be read"):
        routing(ROUTER.parent / "absent.json", "mask")


@pytest.mark.parametrize(
    ("make", "module", "extra"),
    [
        (langchain.middleware, "langchain", "langchain"),
        (pydantic_ai.capability, "pydantic_ai", "pydantic-ai"),
        (lambda router: openai_agents.routed(None, router), "agents", "openai-agents"),
        (mcp.server, "mcp", "mcp"),
    ],
)
def test_a_framework_that_is_missing_is_one_line_that_says_what_to_install(make, module, extra, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as missing:
        make(ROUTER)
    told = str(missing.value)
    assert "\n" not in told and f"pip install 'aljax[{extra}]'" in told


def test_importing_integrations_loads_no_framework_no_jax_and_no_numpy():
    names = "langchain, mcp, openai_agents, pydantic_ai, shared"
    script = (
        f"import sys; from aljax.integrations import {names}; heavy = "
        "{'jax', 'numpy', 'langchain', 'langgraph', 'pydantic_ai', 'pydantic', 'agents', 'mcp'}; "
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.fixture
def ruled():
    """The examples' router, but that the archive is not to be asked before the index has answered."""
    data = json.loads(ROUTER.read_bytes())
    places = {row["name"]: number for number, row in enumerate(data["rows"])}
    symbols = [1] * (len(places) + 1)
    symbols[places["search"]], symbols[places["archive"]] = 2, 3
    bars = [[False] * 5, [False] * 5]
    bars[0][3] = True
    rule = {"name": "order", "says": "no archive before the first search", "hard": True, "on_call": False}
    rule |= {"symbols": symbols, "moves": [[0, 0, 1, 0, 0], [1] * 5], "broken": [False] * 2, "accepting": [True] * 2}
    table = [[(1 << len(places)) - 1 - (1 << places["archive"]), (1 << len(places)) - 1]]
    joint = {"classes": list(range(len(places))), "tables": [[[[1, 0, 1]], table]]}
    data |= {"rules": [rule | {"bars": [bars, bars]}], "joint": joint}
    data["features"] = [name for name in data["features"] if name != "rules"]
    return lambda log=None: Router(data, log, False, None, "router.json")


@pytest.mark.parametrize("mode", ["block", "mask", "force"])
def test_what_a_rule_forbids_is_not_called_in_any_mode(ruled, desk, mode):
    run = Run(routing(ruled(), mode, None, desk.clock))
    turn = run.turn(["search", "archive"])
    assert turn.shut == {"archive"} and turn.forced == ("search" if mode == "force" else None)
    assert run.refusal("archive") == (
        "Not now: archive was not called: no archive before the first search (rule order). Worth calling now: search."
    )
    run.record("search", ok=False)
    assert run.refusal("archive") is not None and run.turn(["search", "archive", "think"]).shut == {"archive"}
    run.record("search", ok=True)
    assert run.refusal("archive") is not None  # the turn's word stands until the next
    run.turn(["archive"])
    assert run.refusal("archive") is None


def test_where_rules_forbid_all_tools_the_list_stays_and_no_call_is_made(ruled, desk):
    run = Run(routing(ruled(), "mask", None, desk.clock))
    assert run.turn(["archive"]).shut == frozenset()
    assert "no archive before the first search" in run.refusal("archive")
