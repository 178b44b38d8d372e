"""The exceptions that a caller must handle. What the model must read is a value, never one of these.

::

    AgentrtError
    ├── ConfigError        the operator's file, flag or name is wrong (the command line exits with 2)
    ├── SchemaError        a tool's JSON Schema can't be used
    ├── ToolsetError       a source of tools can't be reached or opened
    ├── JournalError       the session can't be written or read (see agentrt/journal/store.py)
    └── EngineError        the model can't be asked
        └── EngineRefused  the endpoint said no (credentials, unknown model, bad request): trying again is no use
            └── ContextExceeded  the conversation is longer than the model's context
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import create_task_group
from anyio.abc import TaskGroup


class AgentrtError(Exception):
    """Whatever agentrt raises on purpose."""


class ConfigError(AgentrtError):
    """The operator asked for something that can't be; the message says what to change."""


class SchemaError(AgentrtError):
    """A tool's schema is not usable JSON Schema, or is larger or deeper than the gate accepts."""


class ToolsetError(AgentrtError):
    """A source of tools could not be reached or opened."""


class EngineError(AgentrtError):
    """The engine could not answer, even after its retries. The transcript holds every turn before this one."""


class EngineRefused(EngineError):
    """The endpoint refused the request: bad credentials, unknown model or a request it does not take."""


class ContextExceeded(EngineRefused):
    """The conversation is too long for the model. ``limit`` and ``tokens`` are its context and the prompt, if told."""

    limit: int | None = None
    tokens: int | None = None


@asynccontextmanager
async def lone_errors() -> AsyncIterator[TaskGroup]:
    """A task group out of which a single error comes as itself and not inside an exception group.

    Of several that agentrt raised on purpose only the first comes: the others met with the same trouble (a full
    disk, a lost lease) while the group was ending.
    """
    try:
        async with create_task_group() as group:
            yield group
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) > 1 and not all(isinstance(error, AgentrtError) for error in errors.exceptions):
            raise
        error = errors.exceptions[0]
        raise error from error.__cause__
