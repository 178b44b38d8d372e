"""Permissions: which checked calls run, which are asked about, and what the model is told of a refusal."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from anyio import Lock

from agentrt.types import CheckedCall, Transcript

Mode = Literal["read-only", "ask", "full"]
"""What happens to a call that may write: it is refused, asked about, or run."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A person's answer about one call. ``always`` lets the tool run from now on; ``word`` is for the model."""

    allow: bool
    always: bool = False
    word: str = ""


Ask = Callable[[CheckedCall, str], Awaitable[Reply]]
"""Asks the person about a call; the text says why it is asked. One question is open at a time."""

Ungrounded = Callable[[CheckedCall, Transcript], Sequence[str]]
"""JSON Pointers of the arguments that nobody said, as :func:`agentrt.policy.grounding.ungrounded` finds them."""

MAX_VALUE_CHARS = 80
MAX_VALUES = 5

_OWN_SOURCE = "agentrt"


class Permissions:
    """A :data:`agentrt.Permit`: deny, then allow, then the mode, then whether the arguments are grounded.

    ``allow`` and ``deny`` are globs over tool names, and ``deny`` wins. A tool that does not promise to be
    read-only counts as one that writes. Without ``ask`` nobody is there to ask: a write in mode ``ask`` is
    refused, and of a call whose arguments are ungrounded the model is asked once whether it means it.
    """

    def __init__(
        self,
        mode: Mode = "ask",
        *,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
        ask: Ask | None = None,
        ungrounded: Ungrounded | None = None,
    ) -> None:
        self.mode: Mode = mode
        self._allow = tuple(allow)
        self._deny = tuple(deny)
        self._ask = ask
        self._ungrounded = ungrounded
        self._always: set[str] = set()
        self._doubted: set[str] = set()
        self._asking = Lock()

    async def __call__(self, call: CheckedCall, transcript: Transcript) -> str | None:
        """``None`` if the call may run, else the refusal as the model reads it."""
        if call.spec.source == _OWN_SOURCE:
            return None
        if _matches(call.name, self._deny):
            return f"{call.name} was not run: the user's rules deny this tool. Do without it, or answer in words."
        allowed = self.mode == "full" or _matches(call.name, self._allow)
        writes = not call.spec.read_only and not allowed
        if writes and self.mode == "read-only":
            return (
                f"{call.name} was not run: only tools that read are allowed in this run, and it may write. "
                "Do what can be done by reading, and say what is left to do."
            )
        loose = self._ungrounded(call, transcript) if self._ungrounded else ()
        if writes and self._ask is None:
            return _nobody(call)
        if writes or (loose and self._ask is not None and not allowed):
            return await self._by_person(call, loose)
        return self._by_model(call, loose) if loose else None

    async def _by_person(self, call: CheckedCall, loose: Sequence[str]) -> str | None:
        assert self._ask is not None, "only called where somebody can be asked"
        async with self._asking:
            if call.name in self._always:
                return None
            reply = await self._ask(call, _why(call, loose))
        if not reply.allow:
            said = f" and said: {reply.word}" if reply.word else ""
            return f"{call.name} was not run: the user refused it{said}. Do not try it again unless the user asks."
        if reply.always:
            self._always.add(call.name)
        return None

    def _by_model(self, call: CheckedCall, loose: Sequence[str]) -> str | None:
        """A call that may run, but whose arguments came from nowhere: the model has to make it twice.

        It is not told so: small models take the hint for an order, and repeat what they made up.
        """
        key = json.dumps([call.name, call.arguments], sort_keys=True)
        if key in self._doubted:
            return None
        self._doubted.add(key)
        return (
            f"{call.name} was not run: neither the user nor a tool said {_values(call, loose)}. "
            "Answer the user in words, or call a tool with what you were told."
        )


def _nobody(call: CheckedCall) -> str:
    return (
        f"{call.name} was not run: it may write, and nobody is there to be asked. Do without it, and tell the user "
        f"that the call needs --allow {call.name!r} or --yes on the command line."
    )


def _why(call: CheckedCall, loose: Sequence[str]) -> str:
    reasons = [] if call.spec.read_only else ["it may write"]
    if loose:
        reasons.append(f"neither you nor a tool said {_values(call, loose)}")
    return " and ".join(reasons)


def _values(call: CheckedCall, pointers: Sequence[str]) -> str:
    """The values at ``pointers`` with their names, some of them and not too long."""
    named = [f"{pointer[1:]} {_value(call.arguments, pointer)}" for pointer in pointers[:MAX_VALUES]]
    return ", ".join(named) + (" and more" if len(pointers) > MAX_VALUES else "")


def _value(value: Any, pointer: str) -> str:
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
