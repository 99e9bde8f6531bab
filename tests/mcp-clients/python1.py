"""A client out of the Python SDK 1: a call a line on standard input, its result a line on standard output.

Arguments: `http URL TOKEN` or `stdio COMMAND...`.
"""

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client


def transport():
    kind, *rest = sys.argv[1:]
    if kind == "http":
        url, token = rest
        return streamablehttp_client(url, headers={"Authorization": f"Bearer {token}"})
    command, *args = rest
    return stdio_client(StdioServerParameters(command=command, args=args))


async def main() -> None:
    async with transport() as streams, ClientSession(streams[0], streams[1]) as session:
        begun = await session.initialize()
        tools = (await session.list_tools()).tools
        print(json.dumps({"protocol": begun.protocolVersion, "tools": [tool.name for tool in tools]}), flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            call = json.loads(line)
            result = await session.call_tool(call["tool"], call["arguments"])
            print(result.model_dump_json(by_alias=True), flush=True)


asyncio.run(main())
