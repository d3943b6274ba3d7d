"""The known world of examples/routers/loop.py is one world, whichever framework plays in it."""

import importlib
import json
import sys

import pytest

from aljax.router import Router

from players import ROUTER, needed

pytestmark = pytest.mark.filterwarnings("default")

NEEDED = {
    "langchain": ("langchain.agents", "langchain"),
    "pydantic_ai": ("pydantic_ai", "pydantic-ai"),
    "openai_agents": ("agents.tracing", "openai-agents"),
}


@pytest.fixture(params=NEEDED)
def loop(request, monkeypatch):
    """The example, and a framework's part in it."""
    name = request.param
    needed(*NEEDED[name])
    if name == "pydantic_ai":
        needed("opentelemetry.sdk.trace", "pydantic-ai")
    monkeypatch.setattr(sys, "path", [str(ROUTER.parent), *sys.path])
    return importlib.import_module("loop"), importlib.import_module(f"loop_{name}")


def ended(office):
    return office.now, office.left, office.failures


def test_a_framework_plays_the_office_as_its_script_says_and_traces_every_call(loop, tmp_path):
    (loop, framework), traces = loop, tmp_path / "traces.jsonl"
    for number in range(6):
        expected, found = loop.Office(number), loop.Office(number)
        loop.bare(expected, None)
        with traces.open("w") as file:
            framework.play(found, file, None)
        assert ended(found) == ended(expected)
        lines = traces.read_text().splitlines()
        calls = sum(found.column[tool] != "failure" for tool in loop.TOOLS)
        assert len([json.loads(line) for line in lines]) > calls > 0
        assert all(tool in traces.read_text() for tool in loop.TOOLS if found.column[tool] != "failure")


@pytest.mark.parametrize("mode", ["force", "mask", "block"])
def test_an_episode_with_a_router_goes_in_the_framework_as_it_goes_without(loop, mode):
    (loop, framework), router = loop, Router.load(ROUTER)  # of searches; updates are unknown to it
    ends = set()
    for number in range(8):
        expected, found = loop.Office(number, mode, True), loop.Office(number, mode, True)
        loop.bare(expected, router)
        framework.play(found, None, router)
        assert ended(found) == ended(expected)
        ends.add(found.now)
    assert len(ends) > 1 and router.errors == 0
