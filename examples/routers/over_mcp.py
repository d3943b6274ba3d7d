"""A router over the Model Context Protocol: python over_mcp.py starts `aljax serve` and asks it, as an agent would."""

import asyncio
import sys
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main() -> None:
    """An episode: the search fails, the archive works."""
    serve = StdioServerParameters(command=sys.executable, args=["-m", "aljax", "serve", str(Path(__file__).parent)])
    async with stdio_client(serve) as (read, write), ClientSession(read, write) as session:
        await session.initialize()

        async def call(tool: str, **arguments: object) -> dict:
            result = await session.call_tool(tool, arguments)
            return getattr(result, "structuredContent", None) or result.structured_content

        works = {"search": False, "archive": True}
        while True:
            choice = await call("next_action", episode="demo")
            print(choice["action"], choice["probabilities"])
            ok = works.get(choice["action"], True)
            if (await call("record", name=choice["action"], ok=ok, episode="demo"))["over"]:
                return


asyncio.run(main())
