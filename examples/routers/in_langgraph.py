"""A router as a conditional edge of a LangGraph graph: python in_langgraph.py. No model at all: nodes are the tools."""

from pathlib import Path
from typing import TypedDict

from langgraph.graph import END, START, StateGraph

from aljax.integrations.langchain import edge


class State(TypedDict):
    """What the graph carries."""

    visited: list[str]


def search(state: State) -> State:
    """Works."""
    return {"visited": [*state["visited"], "search"]}


def archive(state: State) -> State:
    """Works, too."""
    return {"visited": [*state["visited"], "archive"]}


route = edge(Path(__file__).with_name("router.json"), ["search", "archive"])
graph = StateGraph(State)
graph.add_conditional_edges(START, route, ["search", "archive", END])
for name, function in (("search", search), ("archive", archive)):
    graph.add_node(name, route.node(name, function))
    graph.add_conditional_edges(name, route, ["search", "archive", END])
with route.episode():
    print(graph.compile().invoke({"visited": []}))
