"""The known world of examples/routers/loop.py is one world, whichever framework plays in it."""

import importlib
import json
import sys

import pytest

from players import ROUTER, needed

pytestmark = pytest.mark.filterwarnings("default")

NEEDED = {
    "langchain": ("langchain.agents", "langchain"),
    "pydantic_ai": ("pydantic_ai", "pydantic-ai"),
    "openai_agents": ("agents.tracing", "openai-agents"),
}


@pytest.mark.parametrize("name", NEEDED)
def test_a_framework_plays_the_office_as_its_script_says_and_traces_every_call(name, tmp_path, monkeypatch):
    needed(*NEEDED[name])
    if name == "pydantic_ai":
        needed("opentelemetry.sdk.trace", "pydantic-ai")
    monkeypatch.setattr(sys, "path", [str(ROUTER.parent), *sys.path])
    office, loop = importlib.import_module("office"), importlib.import_module("loop")
    framework, traces = importlib.import_module(f"loop_{name}"), tmp_path / "traces.jsonl"
    for number in range(6):
        expected, found = office.Office(number), office.Office(number)
        loop.bare(expected, None)
        with traces.open("w") as file:
            framework.play(found, file, None)
        assert (found.now, found.left, found.failures) == (expected.now, expected.left, expected.failures)
        lines = traces.read_text().splitlines()
        calls = sum(found.column[tool] != "failure" for tool in office.TOOLS)
        assert len([json.loads(line) for line in lines]) > calls > 0
        assert all(tool in traces.read_text() for tool in office.TOOLS if found.column[tool] != "failure")
