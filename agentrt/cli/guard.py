"""From what went wrong to a line for people and an exit code; a stack trace only where it was asked for."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NoReturn

from agentrt.cli.signals import BROKEN_PIPE, Stopped, end_now, leave
from agentrt.cli.terminal import clean
from agentrt.errors import AgentrtError, ConfigError, EngineError, EngineRefused, SchemaError, ToolsetError

DONE, ENDED, MISTAKE, UNREACHABLE = 0, 1, 2, 3


def guarded(command: Callable[..., int | None]) -> Callable[..., None]:
    """``command`` with its exit code (0 if it returns none), and its errors as one line on stderr."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> NoReturn:
        try:
            code = command(*args, **kwargs)
        except Stopped as stopped:
            code = stopped.exit_code
        except KeyboardInterrupt:
            end_now(130)
        except Exception as error:  # noqa: BLE001 - the last boundary: what nobody handled becomes a line
            code = report(error)
        leave(code or DONE)

    return run


def report(error: BaseException) -> int:
    """Say on stderr what went wrong and return the exit code for it."""
    known = next((leaf for leaf in leaves(error) if isinstance(leaf, AgentrtError)), None)
    if any(isinstance(leaf, BrokenPipeError) for leaf in leaves(error)):
        return BROKEN_PIPE
    if os.environ.get("AGENTRT_DEBUG"):
        traceback.print_exception(error)
    if known is None:
        hint = "" if os.environ.get("AGENTRT_DEBUG") else " (AGENTRT_DEBUG=1 shows where)"
        _say(f"agentrt failed: {type(error).__name__}: {error}{hint}")
        return ENDED
    _say(f"{_kind(known)}: {known}")
    return MISTAKE if isinstance(known, ConfigError | SchemaError) else UNREACHABLE


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in an exception group, however deep, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def _kind(error: AgentrtError) -> str:
    kinds = {EngineRefused: "the engine refused", EngineError: "the engine failed", ToolsetError: "no tools"}
    return next((words for kind, words in kinds.items() if isinstance(error, kind)), "error")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(clean(text), file=sys.stderr, flush=True)
