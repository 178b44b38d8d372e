"""A process that opens MCP servers, prints the ids of the processes that this caused, and stays until killed."""

import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from agentrt.contract import Gate
from agentrt.types import ToolCall
from agentrt_mcp import mcp


async def quiet(done, total, message):
    pass


async def main():
    hostile = Path(__file__).with_name("hostile_server.py")
    pids = []
    async with AsyncExitStack() as stack:
        for mode in sys.argv[1:]:
            toolset = await stack.enter_async_context(mcp([sys.executable, str(hostile), mode], name="h"))
            gate = Gate(await toolset.specs())
            for name in ("h__who", "h__go"):
                passed = gate.check(ToolCall("c", name, "{}"))
                pids.append(int((await toolset.call(passed.call, quiet)).text))
        print(json.dumps(pids), flush=True)
        await anyio.sleep_forever()


anyio.run(main)
