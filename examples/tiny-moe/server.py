"""The simulated world as MCP servers over stdio: `server.py [PART ...] [--seed N]`, all parts by default."""

from __future__ import annotations

import argparse

import anyio
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from tiny_moe.world import SERVERS, TOOLS, Tool, ToolError, World

Context = ServerRequestContext[dict[str, object]]


def _listed(tool: Tool) -> types.Tool:
    hints = types.ToolAnnotations(read_only_hint=tool.read_only)
    return types.Tool(name=tool.name, description=tool.description, input_schema=dict(tool.schema), annotations=hints)


def make_server(names: list[str], world: World) -> Server[dict[str, object]]:
    """A server that offers the tools of the named parts of ``world``."""
    tools = [_listed(tool) for tool in TOOLS if tool.server in names]

    async def listed(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def called(_: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            text, failed = world.call(params.name, params.arguments or {}), False
        except ToolError as error:
            text, failed = str(error), True
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=failed)

    return Server(f"tiny-world-{'-'.join(names)}", version="1", on_list_tools=listed, on_call_tool=called)


async def serve(names: list[str], seed: int) -> None:
    """Serve over stdin and stdout until they close."""
    server = make_server(names, World(seed))
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SERVERS, []], help="which parts to serve (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="the world's seed")
    asked = parser.parse_args()
    anyio.run(serve, asked.names or list(SERVERS), asked.seed)


if __name__ == "__main__":
    main()
