"""What a router does inside an agent, the same in every framework."""

import asyncio
import collections
import gc
import json
import threading

import pytest

from aljax.integrations import shared
from aljax.router import Router

from players import PLAYERS, ROUTER, Desk, reads_its_start

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(params=PLAYERS)
def play(request):
    """Plays a script; gives what happened, and the rows of the router's log."""

    def played(script, log, *, router=None, failing=("search",), **options):
        desk = Desk(script, failing)
        router = router or Router.load(ROUTER, log=log)
        asyncio.run(PLAYERS[request.param](desk, router, clock=desk.clock, **options))
        return desk, rows(log) if log.exists() else []

    played.player = PLAYERS[request.param]
    return played


def rows(log):
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def calls(found):
    return [(row["name"], row["ok"]) for row in found if row["kind"] != "end"]


ALL = ["archive", "search", "think"]
DONE = ("terminate", True)


def test_block_leaves_the_list_and_answers_not_now(play, tmp_path):
    desk, found = play(["search", "search", "archive", None], tmp_path / "log", mode="block")
    assert desk.offered == [ALL] * 4 and desk.forced == [None] * 4
    assert desk.called == ["search", "archive"]
    assert desk.told[1].startswith("Not now: search was not called. Worth calling now: archive. (Router: ")
    assert calls(found) == [("search", False), ("archive", True), DONE]
    assert found[-1]["kind"] == "end" and not any("probability" in row for row in found)


def test_mask_cuts_the_list_and_leaves_what_the_router_does_not_know(play, tmp_path):
    desk, found = play(["search", "archive", "think", "archive", None], tmp_path / "log", mode="mask")
    assert desk.offered == [["search", "think"], *[["archive", "think"]] * 3, ALL]  # at last: the router would end
    assert desk.called == ["search", "archive", "think", "archive"]
    assert calls(found) == [("search", False), ("archive", True), ("archive", True), DONE]


def test_a_call_of_what_is_masked_is_answered_and_not_made(play, tmp_path):
    desk, found = play(["search", "search", "archive", None], tmp_path / "log", mode="mask")
    assert desk.called == ["search", "archive"] and len(desk.told) == 3
    assert calls(found) == [("search", False), ("archive", True), DONE]


def test_force_has_the_model_call_what_the_router_chose_and_logs_its_probability(play, tmp_path):
    desk, found = play(["search", "archive", "archive", None], tmp_path / "log", mode="force")
    assert desk.offered == [ALL] * 4
    assert desk.forced == ["search", "archive", "archive", None]  # then the router would end: the model is free
    assert [row.get("probability") for row in found[:3]] == [1.0] * 3
    assert calls(found) == [("search", False), ("archive", True), ("archive", True), DONE]


def test_seconds_are_those_since_the_choice_and_dollars_those_of_tokens(play, tmp_path):
    script = ["search", "search", "think", "archive", None]
    found = play(script, tmp_path / "log", mode="block", prices=(2.0, 6.0))[1]
    turn = 1000 * 2e-6 + 500 * 6e-6
    # A turn that was refused counts with the next call; what the router does not know counts with nothing.
    assert [row["latency_s"] for row in found[:3]] == [3.0, 5.0, 1.0]
    assert [row["cost_usd"] for row in found[:3]] == pytest.approx([turn, turn, turn])
    unknown = play(["search", None], tmp_path / "other", mode="block")[1]
    assert not any("cost_usd" in row for row in unknown)


def test_tools_that_the_router_does_not_know_are_left_alone(play, tmp_path):
    for mode in ("block", "mask", "force"):
        desk, found = play(["think", "think", None], tmp_path / mode, mode=mode, names=["think"])
        assert desk.called == ["think", "think"] and desk.forced == [None] * 3 and calls(found) == []


def test_the_list_is_never_empty(play, tmp_path):
    for mode in ("block", "mask"):
        desk, found = play(["search"] * 3 + [None], tmp_path / mode, mode=mode, names=["search"])
        assert desk.offered == [["search"]] * 4 and desk.called == ["search"] * 3
        assert calls(found) == [("search", False)] * 3 + [DONE]


def test_an_error_inside_offers_everything_and_reaches_nobody(play, tmp_path, monkeypatch):
    def broken(*_):
        raise ArithmeticError("broken")

    monkeypatch.setattr(shared.Run, "_asked", broken)
    for mode in ("block", "mask", "force"):
        router = Router.load(ROUTER, log=tmp_path / mode)
        desk, found = play(["search", "search", "archive", None], tmp_path / mode, router=router, mode=mode)
        assert desk.offered == [ALL] * 4 and desk.called == ["search", "search", "archive"]
        assert router.errors > 0 and [row.get("name") for row in found[:3]] == desk.called


def test_what_the_agent_knows_of_a_task_goes_to_the_router_and_into_its_log(play, tmp_path):
    path, known = reads_its_start(tmp_path)
    whole = play.player is PLAYERS["openai-agents"]  # there a router is for one run, so no function need read it

    def played(log, readings, success):
        router = Router.load(path, log=tmp_path / log)
        told = {"task": "papers", "readings": readings} if whole else {"task": lambda _: "papers"}
        told |= {} if whole else {"readings": lambda _: readings}
        options = {"router": router, "mode": "mask", "success": success}
        desk, found = play(["search", "archive", None], tmp_path / log, **options, **told)
        return desk.offered[0], found[-1].get("success"), {row["task"] for row in found}, router.errors

    assert played("log", known, lambda _: True) == (["search", "think"], True, {"papers"}, 0)
    assert played("no", known, lambda _: False)[1] is False
    assert played("none", known, lambda _: None)[1] is None
    assert played("less", {}, None) == (ALL, None, {"papers"}, 0)  # without a reading, the fallback
    assert played("broken", known, lambda _: 1 / 0) == (["search", "think"], None, {"papers"}, 1)


def test_runs_side_by_side_do_not_mix(play, tmp_path):
    scripts = [["search", "archive", None], ["archive", "archive", "search", None], ["search", "search", None]]
    failing = [("search",), (), ("search", "archive")]
    router = Router.load(ROUTER, log=tmp_path / "log")

    def desks(many):
        return [Desk(scripts[n % 3], failing[n % 3]) for n in range(many)]

    async def together(found):
        await asyncio.gather(*(play.player(desk, router, mode="mask", clock=desk.clock) for desk in found))

    alone, side, threaded = desks(3), desks(30), desks(24)
    for desk in alone:
        asyncio.run(together([desk]))
    asyncio.run(together(side))
    threads = [threading.Thread(target=asyncio.run, args=(together(threaded[n::8]),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, desk in enumerate([*side, *threaded]):
        wanted = alone[number % 3]
        assert (desk.offered, desk.called, desk.told) == (wanted.offered, wanted.called, wanted.told)
    episodes = collections.defaultdict(list)
    for row in rows(tmp_path / "log"):
        episodes[row["episode"]].append((row.get("name"), row.get("ok")))
    counts = collections.Counter(map(tuple, episodes.values()))
    assert sorted(counts.values()) == [1 + 10 + 8] * 3  # alone, side by side, in threads


def test_a_run_that_breaks_off_is_closed_in_the_log(play, tmp_path):
    router = Router.load(ROUTER, log=tmp_path / "log")
    with pytest.raises((StopIteration, RuntimeError)):
        play(["search"], tmp_path / "log", router=router, mode="block")
    gc.collect()
    found = rows(tmp_path / "log")
    assert calls(found) == [("search", False)] and found[-1]["kind"] == "end" and found[-1]["reason"]
