"""The MCP connector: :func:`mcp` makes a toolset of any MCP server."""

from __future__ import annotations

from agentrt_mcp.client import McpToolset, mcp

__all__ = ["McpToolset", "mcp"]
