"""agentrt: an agentic tool-calling runtime that never sends a bad call and never loses a good one."""

from __future__ import annotations

from typing import Any

from agentrt.agent import Agent
from agentrt.combine import Classified, Combined, Filtered, Prefixed
from agentrt.compaction.plan import Compaction
from agentrt.compaction.price import Compacted
from agentrt.contract import Gate
from agentrt.dispatch import Permit
from agentrt.engine import Engine, Request
from agentrt.errors import (
    AgentrtError,
    ConfigError,
    ContextExceeded,
    EngineError,
    EngineRefused,
    SchemaError,
    ToolsetError,
)
from agentrt.events import Event
from agentrt.function import Sensitive, tool
from agentrt.handover import accepted
from agentrt.limits import Limits
from agentrt.loop import Result
from agentrt.toolset import NOT_RUN, Key, Progress, Toolset
from agentrt.types import (
    Assistant,
    Media,
    Message,
    ToolCall,
    ToolResult,
    ToolSpec,
    Transcript,
    Usage,
    User,
)

__all__ = [
    "NOT_RUN",
    "Agent",
    "AgentrtError",
    "Assistant",
    "Classified",
    "Combined",
    "Compacted",
    "Compaction",
    "ConfigError",
    "ContextExceeded",
    "Engine",
    "EngineError",
    "EngineRefused",
    "Event",
    "Filtered",
    "Gate",
    "Key",
    "Limits",
    "Media",
    "Message",
    "Permit",
    "Prefixed",
    "Progress",
    "Request",
    "Result",
    "SchemaError",
    "Sensitive",
    "ToolCall",
    "ToolResult",
    "ToolSpec",
    "Toolset",
    "ToolsetError",
    "Transcript",
    "Usage",
    "User",
    "accepted",
    "mcp",
    "tool",
]


def __getattr__(name: str) -> Any:
    """Connectors (``mcp``) are loaded when they are first named: their SDKs take a second to import."""
    if name == "mcp":
        from agentrt.plugins import connector

        return connector(name)
    raise AttributeError(f"module 'agentrt' has no attribute {name!r}")
