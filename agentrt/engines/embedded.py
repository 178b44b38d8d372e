"""The embedded default: a small open model in this process, one constrained step at a time (llama.cpp).

A step is one call, or a reply in words, decided in the same decode. The grammar is made from the tools'
schemas, and the gate checks the whole schema afterwards as it does for any engine.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from agentrt.engine import CallDelta, Delta, Engine, Finished, Request, TextDelta
from agentrt.engines.llama import Llama, Setup, acquire, release
from agentrt.engines.step import NotAStepError, StepReader
from agentrt.errors import EngineError
from agentrt.models import resolve
from agentrt.types import Assistant, FinishReason, ToolResult, ToolSpec, Usage, User

CONTEXT_TOKENS = 8192
ANSWER_TOKENS = 1024
DEPTH = 6
_HEAD = "You help the user with tools. You write one JSON object at a time."
_RULES = """Write {"tool": NAME, "arguments": {...}} to use a tool; you then see its result.
Write {"tool": "REPLY", "text": "..."} to answer the user.
Take argument values from what the user said or from results. Use only a tool that does what the user asks for; \
otherwise use REPLY. One tool at a time; when you have all results that you need, use REPLY."""
_LAYOUT = {"x-guidance": {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", ", "lenient": True}}


class Embedded:
    """Answers on this machine's processors. Agents that name the same weights share one loaded model."""

    def __init__(self, name: str, setup: Setup) -> None:
        self._name = name
        self._setup = setup
        self._model: Llama | None = None

    @property
    def name(self) -> str:
        """As it was asked for, e.g. ``embedded:0.5b``."""
        return self._name

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream one step: a call's arguments as they are written, or words.

        :raises EngineError: if the weights can't be loaded, or the conversation exceeds the context.
        """
        self._model = self._model or acquire(self._setup)
        reply = reply_name(request.tools)
        reader = StepReader(reply) if request.tools else None
        finish: FinishReason = "cut"
        usage = Usage()
        try:
            async with aclosing(self._model.chat(body(request, reply))) as chunks:
                async for chunk in chunks:
                    usage = _usage(chunk) or usage
                    for choice in chunk.get("choices", ()):
                        text = choice.get("delta", {}).get("content")
                        for delta in _deltas(text, reader) if text else ():
                            yield delta
                        finish = _FINISH.get(choice.get("finish_reason"), finish)
        except NotAStepError as error:
            raise EngineError(f"the embedded model did not write a step: {error}") from error
        except EngineError as error:
            raise _too_long(error, self._setup) from error
        if reader is not None and finish == "stop":
            finish = ("tool_calls" if reader.is_call else "stop") if reader.whole else "cut"
        yield Finished(finish, usage)

    async def aclose(self) -> None:
        """Give the model back; the last one to do so frees its memory."""
        model, self._model = self._model, None
        if model is not None:
            await release(model)


_FINISH: dict[str | None, FinishReason] = {"stop": "stop", "length": "length"}


def engine_from_name(name: str, *, context: int = CONTEXT_TOKENS, threads: int = 0) -> Engine:
    """``embedded``, ``embedded:0.5b`` or ``embedded:/path/to/file.gguf``; ``context`` in tokens. Never downloads.

    :raises ConfigError: if the weights are not on this machine; the message says how to get them.
    """
    return Embedded(name, Setup(resolve(name.partition(":")[2]), context, threads))


def reply_name(tools: Sequence[ToolSpec]) -> str:
    """The name under which answering in words is offered, other than any tool's."""
    name = "reply"
    while any(tool.name == name for tool in tools):
        name += "_"
    return name


def body(request: Request, reply: str) -> dict[str, Any]:
    """The chat completion that asks for the next step. Its start stays the same, so llama.cpp reuses its cache."""
    asked: dict[str, Any] = {
        "messages": list(messages(request, reply)),
        "temperature": request.temperature or 0.0,
        "max_tokens": request.max_tokens or ANSWER_TOKENS,
        "cache_prompt": True,
    }
    if request.tools:
        asked["schema"] = step_schema(request.tools, reply)
    return asked


def messages(request: Request, reply: str) -> Iterator[dict[str, str]]:
    """The conversation in the form that the model answers in."""
    system = system_prompt(request, reply)
    if system:
        yield {"role": "system", "content": system}
    for message in request.transcript:
        match message:
            case User(text):
                yield {"role": "user", "content": text}
            case ToolResult():
                yield {"role": "user", "content": f"Result of {message.name}:\n{message.text}"}
            case Assistant(text, calls):
                for call in calls:
                    yield {
                        "role": "assistant",
                        "content": f'{{"tool": {_json(call.name)}, "arguments": {call.arguments}}}',
                    }
                if not calls:
                    said = _json({"tool": reply, "text": text}) if request.tools else text
                    yield {"role": "assistant", "content": said}


def system_prompt(request: Request, reply: str) -> str:
    """The operator's instructions, the tools as one line each, and how a step is written."""
    if not request.tools:
        return request.instructions
    lines = [_line(tool) for tool in request.tools]
    lines.append(f"- {reply}(text: string): Say something to the user.")
    parts = [_HEAD, request.instructions, "Tools:\n" + "\n".join(lines), _RULES.replace("REPLY", reply)]
    return "\n\n".join(part for part in parts if part)


def _line(tool: ToolSpec) -> str:
    required = tool.input_schema.get("required", ())
    names = [
        f"{name}{'' if name in required else '?'}: {_type(schema)}{_words(schema)}"
        for name, schema in tool.input_schema.get("properties", {}).items()
    ]
    return f"- {tool.name}({', '.join(names)}): {' '.join(tool.description.split())}"


def _words(schema: Any) -> str:
    words = schema.get("description") if isinstance(schema, Mapping) else None
    return f" ({words.rstrip('.')})" if isinstance(words, str) else ""


def _type(schema: Any) -> str:
    """A JSON Schema as a type in a few characters, e.g. ``"C" | "F"`` or ``string[]``."""
    if not isinstance(schema, Mapping):
        return "any"
    if "enum" in schema:
        return " | ".join(map(_json, schema["enum"]))
    kind = schema.get("type", "any")
    if kind == "array":
        inner = _type(schema.get("items", {}))
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if kind == "object" and "properties" in schema:
        fields = schema["properties"].items()
        needed = schema.get("required", ())
        return "{" + ", ".join(f"{name}{'' if name in needed else '?'}: {_type(inner)}" for name, inner in fields) + "}"
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def step_schema(tools: Sequence[ToolSpec], reply: str) -> dict[str, Any]:
    """The schema of one step: a call of any of the tools, or the reply."""
    steps = [_object({"tool": {"const": tool.name}, "arguments": shape(tool.input_schema)}) for tool in tools]
    steps.append(_object({"tool": {"const": reply}, "text": {"type": "string"}}))
    return {"anyOf": steps, **_LAYOUT}


def shape(schema: Any, depth: int = DEPTH) -> dict[str, Any]:
    """What the grammar enforces of a schema: types, enums, properties and items. Whatever is left out is only
    checked by the gate, so that no schema can make the engine fail.
    """
    if not isinstance(schema, Mapping) or depth == 0:
        return {}
    if "const" in schema:
        return {"const": schema["const"]}
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return {"enum": schema["enum"]}
    found: dict[str, Any] = {"type": schema["type"]} if isinstance(schema.get("type"), str | list) else {}
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and found.get("type", "object") == "object":
        inner = {name: shape(part, depth - 1) for name, part in properties.items()}
        required = [name for name in schema.get("required", ()) if name in inner]
        found = {"type": "object", "properties": inner, "required": required, "additionalProperties": False}
    elif depth == DEPTH:
        found = {"type": "object"}
    if found.get("type") == "array":
        found["items"] = shape(schema.get("items"), depth - 1)
    return found


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _deltas(text: str, reader: StepReader | None) -> Sequence[TextDelta | CallDelta | Delta]:
    return reader.feed(text) if reader is not None else [TextDelta(text)]


def _usage(chunk: Mapping[str, Any]) -> Usage | None:
    said = chunk.get("usage")
    if not said:
        return None
    cached = (said.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(said.get("prompt_tokens", 0), said.get("completion_tokens", 0), cached)


def _too_long(error: EngineError, setup: Setup) -> EngineError:
    """Say what helps when the conversation does not fit the context."""
    if "context" not in str(error):
        return error
    return EngineError(
        f"the conversation does not fit the embedded model's context of {setup.context} tokens; start a new one, offer "
        f"fewer tools, or raise the engine option `context` (it costs memory). llama.cpp said: {error}"
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
