"""What a journal holds: one append-only list of records a session, and their form as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, get_args

import orjson

from agentrt.compaction.price import Compacted
from agentrt.compaction.view import Rewrite
from agentrt.engine import Traced
from agentrt.plain import from_json, to_json
from agentrt.secrets import KNOWN
from agentrt.types import Assistant, Effect, Media, ToolCall, ToolResult, ToolSpec, Usage, User


@dataclass(frozen=True, slots=True)
class Said:
    """The user spoke."""

    message: User


@dataclass(frozen=True, slots=True)
class Asked:
    """The engine was asked; ``prompt_hash`` is the SHA-256 of what it was asked with."""

    turn: int
    prompt_hash: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The model's whole answer. A cut one is never written: it has run nothing but reads."""

    answer: Assistant


@dataclass(frozen=True, slots=True)
class Intended:
    """A call passed the gate and is to run. ``key`` is its idempotency key, ``arguments_hash`` a SHA-256."""

    call_id: str
    tool: str
    source: str
    effect: Effect
    key: str
    arguments_hash: str


@dataclass(frozen=True, slots=True)
class Started:
    """The call is about to be handed to its tool. An intent without this has had no effect."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The call's peer has taken it over and names the work ``handle``: it can be asked for it after a crash."""

    call_id: str
    handle: str


@dataclass(frozen=True, slots=True)
class Spilled:
    """The whole text of a result that the model got the ends of; ``handle`` names it."""

    handle: str
    text: str


@dataclass(frozen=True, slots=True)
class Landed:
    """A call has its result, or its error."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The process died while an unsafe call ran, and nobody could tell whether it took effect."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A call in flight at a crash, whose outcome its tool could tell afterwards."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class Cleared:
    """A call in flight at a crash that, as its tool could tell, did nothing and never will: it may run."""

    call_id: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A person, or a ``grant`` that one gave before, let a call run or did not. ``granted`` is what was allowed
    from then on, in words, if anything; ``why`` is what was asked, ``word`` what the person said to the model.
    """

    call_id: str
    tool: str
    allow: bool
    by: str
    why: str
    word: str = ""
    granted: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """The turn is whole. ``results`` are those that the transcript holds otherwise than they landed."""

    results: tuple[ToolResult, ...]


@dataclass(frozen=True, slots=True)
class Compaction:
    """The conversation is sent otherwise from here on; ``told`` says why and at which price."""

    rewrite: Rewrite
    told: Compacted


@dataclass(frozen=True, slots=True)
class Ended:
    """The run ended, for ``reason``; the session may be taken up again.

    ``engine_seconds`` is the part of its ``seconds`` in which the engine worked on answers.
    """

    reason: str
    turns: int
    calls: int
    usage: Usage
    seconds: float
    engine_seconds: float = 0.0


Record = (
    Said
    | Asked
    | Traced
    | Answered
    | Intended
    | Decided
    | Started
    | Accepted
    | Spilled
    | Landed
    | InDoubt
    | Reconciled
    | Cleared
    | Closed
    | Compaction
    | Ended
)

_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (*get_args(Record), User, Assistant, ToolCall, ToolResult, Media, Usage, Rewrite, Compacted)
}


def effect_of(spec: ToolSpec) -> Effect:
    """The class of a tool's calls by what its owner promises; without a promise they are unsafe."""
    if spec.read_only:
        return "read"
    return "idempotent" if spec.idempotent else "unsafe"


def dump(record: Record) -> bytes:
    """The record as one line of compact JSON (UTF-8, no newline). Equal records give equal bytes."""
    return encode(record)


def encode(value: object) -> bytes:
    """Any value of ours as :func:`dump` writes records, without the secrets that this process knows."""
    value = KNOWN.value(value)
    try:
        return orjson.dumps(value, default=_quickly, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    except TypeError:  # what orjson does not take: lone surrogates, integers over 64 bits
        return _encode(value).encode("utf-8", "backslashreplace")  # a lone surrogate becomes the JSON escape for it


def _quickly(value: Any) -> Any:
    """As :func:`_plain`, but not for a tool's own JSON: orjson would make ``null`` of a NaN in it."""
    if isinstance(value, ToolResult) and value.data is not None:
        raise TypeError
    return _plain(value)


def _plain(value: Any) -> Any:
    """One level of :func:`agentrt.plain.to_json`; the encoder goes into the rest itself, several times as fast."""
    names = getattr(value, "__dataclass_fields__", None)
    if names is None:
        return to_json(value)
    plain = {"type": type(value).__name__}
    for name in names:
        plain[name] = getattr(value, name)
    return plain


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def load(line: bytes | str) -> Record:
    """The record that :func:`dump` wrote.

    :raises ValueError: if it is no record, or one of a kind that this version does not know.
    """
    record = from_json(json.loads(line), _KINDS)  # not orjson's, which makes floats of large integers
    if not isinstance(record, Record):
        raise ValueError(f"not a journal record: {line[:80]!r}")
    return record
