"""The examples run as they stand, without a network."""

import os
import subprocess
import sys

import pytest

from players import ROUTER, needed

WORLD = {
    "in_langchain": ("langchain.agents", "langchain"),
    "in_pydantic_ai": ("pydantic_ai", "pydantic-ai"),
    "in_openai_agents": ("agents.tracing", "openai-agents"),
}


def shown(name, *options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(ROUTER.with_name(f"{name}.py")), *options]
    # From elsewhere, so that no folder of tests hides a package.
    done = subprocess.run(command, env=environment, cwd=ROUTER.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("mode", ["block", "mask", "force"])
@pytest.mark.parametrize("name", WORLD)
def test_the_agent_goes_to_the_archive_once_the_search_has_failed(name, mode):
    needed(*WORLD[name])
    found = shown(name, mode)
    assert found.count("what the archive says of routers") == 2 and "Done." in found
    assert found.count("Not now") == (2 if mode == "block" else 0)


def test_the_graph_goes_by_the_edge():
    needed("langgraph.graph", "langchain")
    assert shown("in_langgraph") == "{'visited': ['search', 'search']}\n"


def test_a_client_goes_by_the_server():
    needed("mcp", "mcp")
    assert [line.split()[0] for line in shown("over_mcp").splitlines()] == ["search", "archive", "archive", "terminate"]
