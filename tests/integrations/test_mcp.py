"""The server: typed results, episodes by name, over standard input and output as clients start it."""

import asyncio
import json
import sys

import pytest

from players import ROUTER, needed, reads_its_start

pytestmark = pytest.mark.filterwarnings("default")


def talk(conversation, *options, folder=ROUTER.parent):
    """What a client gets from `aljax serve`."""
    needed("mcp", "mcp")
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def main():
        command = ["-m", "aljax", "serve", str(folder), *options]
        server = StdioServerParameters(command=sys.executable, args=command, env={"PYTHONPATH": ":".join(sys.path)})
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            await session.initialize()

            async def call(tool, **arguments):
                result = await session.call_tool(tool, arguments)
                return getattr(result, "structuredContent", None) or result.structured_content

            return await conversation(session, call)

    return asyncio.run(main())


def test_a_client_gets_typed_answers_and_episodes_are_kept_apart(tmp_path):
    log = tmp_path / "log"

    async def conversation(session, call):
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert set(tools) == {"next_action", "record"}
        for tool in tools.values():
            schema = getattr(tool, "outputSchema", None) or tool.output_schema
            assert schema["type"] == "object" and schema["properties"]
        names = ["search", "archive", "fly"]
        first = await call("next_action", available=names, episode="a", task="papers")
        assert first["action"] == "search" and first["allowed"] == ["search", "fly"] and not first["fallback"]
        assert first["probabilities"].keys() == {"search", "archive"}
        assert await call("record", name="search", ok=False, seconds=1.5, dollars=0.02, episode="a") == {
            "seconds": 1.5,
            "over": False,
        }
        assert (await call("next_action", available=names, episode="a"))["allowed"] == ["archive", "fly"]
        assert (await call("next_action", available=names, episode="b"))["allowed"] == ["search", "fly"]
        alone = await call("next_action", available=["fly"], episode="b")
        assert alone["action"] is None and alone["allowed"] == ["fly"] and alone["fallback"]
        last = await call("record", name="archive", ok=True, episode="a", done=True, success=True)
        assert 0.0 < last["seconds"] < 60.0

    talk(conversation, "--log", str(log))
    found = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    mine = [row for row in found if row["episode"] == "a"]
    assert [(row.get("name"), row.get("ok"), row.get("cost_usd")) for row in mine[:1]] == [("search", False, 0.02)]
    assert mine[-1]["success"] and {row["task"] for row in mine} == {"papers"}
    assert [row["reason"] for row in found if row["episode"] == "b"] == ["abandoned"]


def test_force_leaves_the_choice_and_what_the_router_does_not_know():
    async def conversation(session, call):
        del session
        return await call("next_action", available=["archive", "search", "fly"])

    found = talk(conversation, "--mode", "force")
    assert found["allowed"] == ["search", "fly"]


def test_what_the_agent_knows_of_a_task_goes_to_the_router(tmp_path):
    _, known = reads_its_start(tmp_path)

    async def conversation(session, call):
        del session
        told = await call("next_action", available=["search", "archive"], episode="told", readings=known)
        return told, await call("next_action", available=["search", "archive"], episode="untold")

    told, untold = talk(conversation, folder=tmp_path)
    assert told["allowed"] == ["search"] and not told["fallback"]
    assert untold["fallback"] and f"without a reading of {next(iter(known))!r}" in untold["reason"]
