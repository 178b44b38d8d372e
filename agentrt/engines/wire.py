"""Encodes a conversation as a Chat Completions request: each message once, then only what is new is added."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import orjson

from agentrt.engine import Request
from agentrt.engines.grammar import sound
from agentrt.engines.plain_schema import plain_schema
from agentrt.types import Assistant, Media, Message, ToolCall, ToolResult, ToolSpec, Transcript, User

MAX_EXTRAS = 10_000
MAX_TOOL_SETS = 512
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_ALIEN = re.compile(r"[^a-zA-Z0-9_-]+")
_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_NOISE = ("$schema", "$comment")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an endpoint likes to be sent.

    ``max_tokens_field``: the name of the token limit. ``vision``: it takes images and sound. ``ask_usage``: it is
    asked for a usage report at the end of the stream. ``reasoning_field``: the name under which earlier reasoning
    goes back to it, ``""`` for not at all. ``strict_tools``: it is asked to constrain calls to what of their schemas
    a grammar holds soundly; if it refuses, it is asked again without, and from then on.
    ``plain_schemas``: it knows only a part of JSON Schema (:func:`agentrt.engines.plain_schema.plain_schema`).
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    vision: bool = False
    ask_usage: bool = True
    reasoning_field: str = ""
    strict_tools: bool = False
    plain_schemas: bool = False


class ToolNames:
    """Tool names as an endpoint takes them (``[a-zA-Z0-9_-]{1,64}``), and back.

    A name that it would reject keeps its good characters and gets a hash of the whole, so that the same name is
    always sent the same way and two names never are.
    """

    def __init__(self) -> None:
        self._wire: dict[str, str] = {}
        self._real: dict[str, str] = {}

    def wire(self, name: str) -> str:
        """The name to send for ``name``."""
        known = self._wire.get(name)
        if known is not None:
            return known
        wire, length = name, 0
        while not _NAME.match(wire) or self._real.get(wire, name) != name:
            length += 8
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:length]
            wire = f"{_ALIEN.sub('_', name)[: 63 - length]}_{digest}"
        self._wire[name], self._real[wire] = wire, name
        return wire

    def real(self, wire: str) -> str:
        """The tool that is sent as ``wire``; a name never sent is left as it is."""
        return self._real.get(wire, wire)


class Encoder:
    """Makes request bodies for one endpoint, and remembers what it encoded for as long as the transcript lives."""

    def __init__(self, dialect: Dialect, extra_body: Mapping[str, Any] | None = None) -> None:
        self.dialect = dialect
        self.strict = dialect.strict_tools
        self.names = ToolNames()
        self.extras: dict[str, Any] = {}
        self._extra_body = dict(extra_body or {})
        self._messages: WeakKeyDictionary[Transcript, tuple[bytearray, int]] = WeakKeyDictionary()
        self._tools: dict[int, tuple[tuple[ToolSpec, ...], bytes]] = {}

    def body(self, request: Request, model: str, *, ask_usage: bool) -> Sequence[bytes | bytearray]:
        """The request's body in pieces; joined they are one JSON object. Costs what is new in the transcript.

        The messages are the encoder's own and grow with the next request: join the pieces before that.
        """
        tools = self._encode_tools(request.tools) if request.tools else b""
        system = dumps({"role": "system", "content": request.instructions}) if request.instructions else b""
        messages = self._encode_messages(request.transcript)
        comma = b"," if system and messages else b""
        head = self._head(request, model, ask_usage=ask_usage)
        return (head, b',"messages":[', system, comma, messages, b"]", tools, b"}")

    def _head(self, request: Request, model: str, *, ask_usage: bool) -> bytes:
        """The body up to its messages, without the closing brace."""
        head: dict[str, Any] = {"model": model, "stream": True}
        if ask_usage:
            head["stream_options"] = {"include_usage": True}
        if request.max_tokens is not None:
            head[self.dialect.max_tokens_field] = request.max_tokens
        if request.temperature is not None:
            head["temperature"] = request.temperature
        if request.words_only and request.tools:
            head["tool_choice"] = "none"  # the tools stay, so that the prompt's beginning is as it was
        head.update(self._extra_body)
        return dumps(head)[:-1]

    def _encode_messages(self, transcript: Transcript) -> bytearray:
        done, count = self._messages.get(transcript) or (bytearray(), 0)
        if len(transcript) > count:
            added = b",".join(self._encode_each(transcript.since(count)))
            done += b"," + added if done else added
            self._messages[transcript] = (done, len(transcript))
        return done

    def _encode_each(self, messages: Iterable[Message]) -> Iterable[bytes]:
        """Media that tools returned follow the turn's results in a message of their own: results hold text only."""
        shown: list[dict[str, Any]] = []
        for message in messages:
            if shown and not isinstance(message, ToolResult):
                yield dumps({"role": "user", "content": shown})
                shown = []
            match message:
                case User(text, media):
                    yield self._user(text, media)
                case Assistant():
                    yield self._assistant(message)
                case ToolResult():
                    text, parts = self._result_parts(message)
                    shown += parts
                    fields = {"tool_call_id": message.call_id, "name": self.names.wire(message.name), "content": text}
                    yield dumps({"role": "tool", **fields})
        if shown:
            yield dumps({"role": "user", "content": shown})

    def _user(self, text: str, media: tuple[Media, ...]) -> bytes:
        if not media:
            return dumps({"role": "user", "content": text})
        parts = [part for item in media if (part := self._part(item))]
        unseen = [_unseen(item) for item in media if self._part(item) is None]
        text = "\n".join([text, *unseen] if text else unseen)
        if not parts:
            return dumps({"role": "user", "content": text})
        lead = [{"type": "text", "text": text}] if text else []
        return dumps({"role": "user", "content": [*lead, *parts]})

    def _result_parts(self, result: ToolResult) -> tuple[str, list[dict[str, Any]]]:
        """The result's text, and the parts that show its media."""
        if not result.media:
            return result.text, []
        parts = [part for item in result.media if (part := self._part(item))]
        unseen = [_unseen(item) for item in result.media if self._part(item) is None]
        text = "\n".join([result.text, *unseen])
        lead = [{"type": "text", "text": f"[returned by {result.name}, call {result.call_id}]"}] if parts else []
        return text, [*lead, *parts]

    def _part(self, media: Media) -> dict[str, Any] | None:
        """How to show ``media``, or ``None`` if the endpoint can't see it."""
        if not self.dialect.vision:
            return None
        data = b64encode(media.data).decode()
        if media.mime_type.startswith("image/"):
            return {"type": "image_url", "image_url": {"url": f"data:{media.mime_type};base64,{data}"}}
        kind = _AUDIO.get(media.mime_type)
        return None if kind is None else {"type": "input_audio", "input_audio": {"data": data, "format": kind}}

    def _assistant(self, answer: Assistant) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or (None if answer.calls else "")}
        if answer.reasoning and self.dialect.reasoning_field:
            message[self.dialect.reasoning_field] = answer.reasoning
        if answer.calls:
            message["tool_calls"] = [self._call(call) for call in answer.calls]
        return dumps(message)

    def _call(self, call: ToolCall) -> dict[str, Any]:
        function = {"name": self.names.wire(call.name), "arguments": _sendable(call.arguments)}
        encoded: dict[str, Any] = {"id": call.id, "type": "function", "function": function}
        if extra := self.extras.get(call.id):
            encoded["extra_content"] = extra
        return encoded

    def loosen(self) -> None:
        """Stop asking for constrained calls: the endpoint can't do it."""
        self.strict = False
        self._tools.clear()

    def trim_extras(self) -> None:
        """Forget the oldest of what servers wanted to see again, beyond ``MAX_EXTRAS`` calls."""
        while len(self.extras) > MAX_EXTRAS:
            self.extras.pop(next(iter(self.extras)))

    def _encode_tools(self, tools: tuple[ToolSpec, ...]) -> bytes:
        """The body's ``tools``. Kept by identity, together with the tuple, so that no other can have its ``id``."""
        known = self._tools.get(id(tools))
        if known is not None:
            return known[1]
        encoded = b',"tools":' + dumps([self._tool(spec) for spec in tools])
        if len(self._tools) >= MAX_TOOL_SETS:
            self._tools.pop(next(iter(self._tools)))
        self._tools[id(tools)] = (tools, encoded)
        return encoded

    def _tool(self, spec: ToolSpec) -> dict[str, Any]:
        given = plain_schema(spec.input_schema) if self.dialect.plain_schemas else spec.input_schema
        schema = {key: value for key, value in given.items() if key not in _NOISE}
        schema.setdefault("type", "object")
        if schema["type"] == "object":
            schema.setdefault("properties", {})  # some endpoints insist, and it says nothing new
        function: dict[str, Any] = {
            "name": self.names.wire(spec.name),
            "description": spec.description,
            "parameters": schema,
        }
        if self.strict:
            function |= {"parameters": sound(spec.input_schema), "strict": True}
        return {"type": "function", "function": function}


def dumps(value: Any) -> bytes:
    """Compact JSON. Half surrogate pairs, which are no text and which JSON can't carry, become question marks."""
    try:
        return orjson.dumps(value, default=_plain)
    except TypeError:
        return json.dumps(_clean(value), default=_plain, separators=(",", ":")).encode()  # takes integers of any size


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value


def _sendable(arguments: str) -> str:
    """The arguments as the model wrote them; ``{}`` if they are no JSON object, because servers parse them again."""
    try:
        return arguments if isinstance(orjson.loads(arguments), dict) else "{}"
    except orjson.JSONDecodeError:
        return "{}"


def _unseen(media: Media) -> str:
    return f"[{media.mime_type}, {len(media.data)} bytes, which can't be shown to this model]"
