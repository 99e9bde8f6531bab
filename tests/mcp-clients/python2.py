"""A client out of the Python SDK 2: a call a line on standard input, its result a line on standard output.

Arguments: `http URL TOKEN MODE` or `stdio MODE COMMAND...`; the mode is the SDK's: auto, legacy or a revision.
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    kind, *rest = sys.argv[1:]
    if kind == "http":
        url, token, mode = rest
        http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60)
        client = Client(streamable_http_client(url, http_client=http), mode=mode)
    else:
        mode, command, *args = rest
        client = Client(StdioServerParameters(command=command, args=args), mode=mode)
    async with client:
        tools = (await client.list_tools()).tools
        print(json.dumps({"protocol": client.protocol_version, "tools": [tool.name for tool in tools]}), flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            call = json.loads(line)
            result = await client.call_tool(call["tool"], call["arguments"])
            print(result.model_dump_json(by_alias=True), flush=True)


asyncio.run(main())
