"""Moves: what an agent chose, with the turns of the model that led to it and the user's whole answer."""

from typing import Any

from aljax.logs.episode import LoggedEpisode
from aljax.logs.moves import NOTHING, STOP, Move, Spent, moves_of


def moves(*steps: dict[str, Any]) -> list[Move]:
    return moves_of(LoggedEpisode("log", "e", "t", "agent", steps, {"kind": "end"}, range(len(steps) + 1)))


def turn(**known: Any) -> dict[str, Any]:
    return {"kind": "llm", "name": "reason"} | known


def tool(name: str, ok: bool | None = True, **known: Any) -> dict[str, Any]:
    return {"kind": "tool", "name": name, "ok": ok} | known


ASK = {"kind": "clarify", "name": "user_turn", "ok": True, "latency_s": 5.0}


def test_turns_before_a_call_belong_to_it_and_those_after_the_last_to_the_stop():
    found = moves(
        turn(latency_s=1.0, cost_usd=0.1),
        turn(latency_s=2.0, cost_usd=0.2),
        tool("search", False, latency_s=0.5),
        tool("search", latency_s=0.25, cost_usd=0.0),
        turn(latency_s=4.0),
    )
    assert found == [
        Move("tool", "search", False, 2, Spent(3.0, 0.1 + 0.2), Spent(0.5, None), 2),
        Move("tool", "search", True, 0, NOTHING, Spent(0.25, 0.0), 3),
        Move(STOP, STOP, True, 1, Spent(4.0, None), NOTHING, 5),
    ]


def test_one_unknown_turn_leaves_the_sum_unknown():
    assert moves(turn(latency_s=1.0), turn(), tool("search"))[0].before == Spent(None, None)


def test_what_the_user_does_in_answer_is_one_move():
    """τ²-bench's users run tools of their own between two messages."""
    run = tool("toggle", latency_s=0.5) | {"by": "user"}
    found = moves(turn(latency_s=1.0), ASK, run, ASK, turn(latency_s=2.0), tool("search", latency_s=1.0), run)
    assert [(move.kind, move.own.seconds, move.before.seconds) for move in found] == [
        ("clarify", 10.5, 1.0), ("tool", 1.0, 2.0), (STOP, 0.0, 0.5),
    ]  # fmt: skip


def test_a_hand_over_that_is_the_last_call_ends_the_episode_by_itself():
    hand_over = {"kind": "escalate", "name": "transfer_to_human", "ok": True}
    assert [move.kind for move in moves(turn(), hand_over)] == ["escalate"]
    assert [move.kind for move in moves(turn(), hand_over, turn())] == ["escalate", STOP]
    assert [move.kind for move in moves()] == [STOP]
