"""What is LangChain's and LangGraph's own."""

import asyncio
import json
from typing import TypedDict

import pytest

from aljax.errors import UserError
from aljax.router import Router

from players import ROUTER, Desk, _langchain, needed

pytestmark = pytest.mark.filterwarnings("default")


def rows(log):
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_a_tool_that_raises_has_failed_and_one_that_asks_the_user_has_not(tmp_path):
    needed("langchain.agents", "langchain")
    from langgraph.errors import GraphInterrupt

    class Raises(Desk):
        def works(self, name):
            raise self.failing

    for number, (error, found) in enumerate([(KeyError("no"), [("search", False)]), (GraphInterrupt(()), [])]):
        desk, log = Raises(["search", None]), tmp_path / str(number)
        desk.failing = error
        agent = _langchain(desk, Router.load(ROUTER, log=log), ["search"], mode="block", clock=desk.clock)
        try:
            agent.invoke({"messages": [("user", "Look it up")]})
        except KeyError:
            assert number == 0
        booked = rows(log) if log.exists() else []
        assert [(row["name"], row["ok"]) for row in booked if "name" in row] == found


def test_the_name_of_a_run_is_the_graphs_own(tmp_path):
    desk = Desk([None])
    agent = _langchain(desk, Router.load(ROUTER), ["search"], clock=desk.clock)
    assert set(agent.invoke({"messages": [("user", "Look it up")]})) == {"messages"}


class State(TypedDict):
    visited: list[str]


def graph(route, works):
    langgraph = needed("langgraph.graph", "langchain")

    def node(name):
        def visit(state: State) -> State:
            if not works(name):
                raise ConnectionError(name)
            return {"visited": [*state["visited"], name]}

        return visit

    found = langgraph.StateGraph(State)
    found.add_conditional_edges(langgraph.START, route, [*NODES, langgraph.END])
    for name in NODES:
        found.add_node(name, route.node(name, node(name)))
        found.add_conditional_edges(name, route, [*NODES, langgraph.END])
    return found.compile()


NODES = ["search", "archive"]


def test_the_edge_goes_where_the_router_would_and_ends_with_it(tmp_path):
    needed("langgraph.graph", "langchain")
    from aljax.integrations.langchain import edge

    route = edge(Router.load(ROUTER, log=tmp_path / "log"), NODES)
    with route.episode(task="papers"):
        assert graph(route, lambda name: True).invoke({"visited": []}) == {"visited": ["search", "search"]}
    found = rows(tmp_path / "log")
    assert [row.get("name") for row in found] == ["search", "search", "terminate", None]
    assert [row.get("probability") for row in found[:3]] == [1.0] * 3 and {row["task"] for row in found} == {"papers"}
    with pytest.raises(ConnectionError), route.episode():
        graph(route, lambda name: False).invoke({"visited": []})
    assert [row.get("ok") for row in rows(tmp_path / "log")[4:]] == [False, None]
    with pytest.raises(UserError, match="outside of an episode"):
        graph(route, lambda name: True).invoke({"visited": []})


def test_asynchronous_nodes_side_by_side_are_episodes_of_their_own(tmp_path):
    langgraph = needed("langgraph.graph", "langchain")
    from aljax.integrations.langchain import edge

    route = edge(Router.load(ROUTER, log=tmp_path / "log"), NODES)

    async def visit(state: State) -> State:
        await asyncio.sleep(0)
        return {"visited": [*state["visited"], "search"]}

    made = langgraph.StateGraph(State)
    made.add_conditional_edges(langgraph.START, route, ["search", langgraph.END])
    made.add_node("search", route.node("search", visit))
    made.add_conditional_edges("search", route, ["search", langgraph.END])
    compiled = made.compile()

    async def one():
        with route.episode():
            return await compiled.ainvoke({"visited": []})

    async def several():
        return await asyncio.gather(*(one() for _ in range(20)))

    assert asyncio.run(several()) == [{"visited": ["search"] * 2}] * 20
    assert sum(row["kind"] == "end" for row in rows(tmp_path / "log")) == 20
