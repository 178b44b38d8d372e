"""What a run takes from outside and can't compute: time, chance, and whatever carries bytes. One seam for all of it."""

from __future__ import annotations

import secrets
import time
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def _itself(kind: str, thing: Any) -> Any:
    return thing


@dataclass(frozen=True, slots=True)
class Outside:
    """The outside of a run; the default is the world as it is, and :mod:`agentrt.lab` has others.

    ``now`` is in seconds since 1970, ``token`` gives so many random bytes, ``tap`` may put something around a thing
    that carries bytes or has effects (see :func:`tapped`), ``loop`` makes the event loop to run in, whose clock says
    how long something takes (:func:`clock`).
    """

    now: Callable[[], float] = time.time
    token: Callable[[int], bytes] = secrets.token_bytes
    tap: Callable[[str, Any], Any] = _itself
    loop: Callable[[], AbstractEventLoop] | None = None


WORLD = Outside()
OUTSIDE: ContextVar[Outside] = ContextVar("agentrt_outside", default=WORLD)


def now() -> float:
    """The time, in seconds since 1970."""
    return OUTSIDE.get().now()


def clock() -> float:
    """The event loop's clock, in seconds since some moment: for how long something takes.

    It is asked some five times a turn, and ``anyio.current_time``, which says the same, costs seven times as much.
    """
    return get_running_loop().time()


def token_hex(size_bytes: int) -> str:
    """So many random bytes, as hexadecimal digits."""
    return OUTSIDE.get().token(size_bytes).hex()


def random_number(bits: int) -> int:
    """A random number of so many bits."""
    return int.from_bytes(OUTSIDE.get().token((bits + 7) // 8)) >> (-bits % 8)


def tapped(kind: str, thing: T) -> T:
    """``thing``, or what stands around it and is used as it is.

    Kinds: ``model`` (a transport of engines), ``process`` (a function whose block has an MCP server's), ``http`` (a
    client of httpx or httpx2), ``resolve`` (what finds a host's addresses), ``function`` (what runs a Python
    function), ``store`` (of a journal), ``engine`` (one that runs in this process), ``grpc`` (a function that makes
    a channel).
    """
    made: T = OUTSIDE.get().tap(kind, thing)
    return made
