"""Puts a conversation to a small model as a choice of the next step: call one of the tools, or reply in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentrt.engine import Request
from agentrt.engines.shape import resolved, shape, written
from agentrt.types import Assistant, Message, ToolResult, ToolSpec, User

REPLY = "reply"
# Nudges towards the reply, in log-odds, set where the right first steps and the right ends of the tuning half of
# benchmarks/prompts part best: a model this small calls when it should answer, and stops before it is done.
FIRST_BIAS = 1.2
LATER_BIAS = -1.4
MAX_TOOL_CHARS = 400
MAX_ARGUMENT_CHARS = 140
MAX_WISH_CHARS = 200
SHORTEST_SENTENCE = 20

_HEAD = "You help the user with tools. You write one JSON object at a time."
_RULES = """Write {"tool": NAME, "arguments": {...}} to use a tool; you then see its result.
Write {"tool": "REPLY", "text": "..."} to answer the user.
Take argument values from what the user said or from results. Use only a tool that does what the user asks for; \
otherwise use REPLY. One tool at a time; when you have all results that you need, use REPLY."""
_EXAMPLES = (
    ("Hi!", "Hello! What can I do for you?"),
    ("Who composed The Magic Flute?", "Wolfgang Amadeus Mozart."),
    ("Call me a taxi.", "I have no tool that can do that."),
)
# few tokens a step: no white space but one blank behind a colon and a comma, as the model writes by itself
_LAYOUT = {"x-guidance": {"whitespace_flexible": False, "key_separator": ": ", "item_separator": ", ", "lenient": True}}
# a model this small copies a sample rather than write what was asked for
_SAMPLES = re.compile(r"\s*\((?:e\.g\.|for example|for instance|such as)[^()]*\)", re.IGNORECASE)
_SENTENCE = re.compile(r"(.+?[.!?])\s+(?=[A-Z])")


def reply_name(tools: Sequence[ToolSpec]) -> str:
    """The name under which answering in words is offered, other than any tool's."""
    name = REPLY
    while any(tool.name == name for tool in tools):
        name += "_"
    return name


def messages(request: Request, reply: str) -> list[dict[str, str]]:
    """The conversation as the model reads it.

    It only grows at its end from turn to turn, so that llama.cpp need not read again what it has read.
    """
    if not request.tools:
        system = [{"role": "system", "content": request.instructions}] if request.instructions else []
    else:
        system = [{"role": "system", "content": system_prompt(request, reply)}]
        for said, answer in _EXAMPLES:
            system += [_user(said), _assistant(_spoken(reply, answer))]
    return _alternating([*system, *_turns(request, reply)])


def system_prompt(request: Request, reply: str) -> str:
    """How a step is written, the tools as one line each, and the operator's instructions."""
    lines = [tool_line(tool) for tool in request.tools]
    lines.append(f"- {reply}(text: string): Say something to the user.")
    parts = [_HEAD, "Tools:\n" + "\n".join(lines), _RULES.replace("REPLY", reply), request.instructions]
    return "\n\n".join(part for part in parts if part)


def reply_bias(transcript: Sequence[Message] | Any) -> float:
    """The log-odds to add to the reply: the user spoke last, or a tool did."""
    last = transcript[len(transcript) - 1] if len(transcript) else None
    return LATER_BIAS if isinstance(last, ToolResult) else FIRST_BIAS


def step_schema(tools: Sequence[ToolSpec], reply: str, *, shaped: bool = True) -> dict[str, Any]:
    """The schema of one step: a call of any of the tools, or the reply. Not ``shaped``, arguments may be any object."""
    plain = {"type": "object"}
    steps = [
        _exactly({"tool": {"enum": [tool.name]}, "arguments": shape(tool.input_schema) if shaped else plain})
        for tool in tools
    ]
    steps.append(_exactly({"tool": {"enum": [reply]}, "text": {"type": "string"}}))
    return {"anyOf": steps, **_LAYOUT}


def tool_line(tool: ToolSpec) -> str:
    """A tool in one line: reading its schema as JSON would take this model three times as long."""
    needed = shape(tool.input_schema)
    required = needed.get("required", ())
    described = resolved(tool.input_schema, tool.input_schema).get("properties", {})
    arguments = ", ".join(
        f"{name}{'' if name in required else '?'}: {written(part)}{_words(described.get(name), tool)}"
        for name, part in needed.get("properties", {}).items()
    )
    said = _cut(tool.description, MAX_TOOL_CHARS)
    return f"- {tool.name}({arguments}): {said}" if said else f"- {tool.name}({arguments})"


def _words(schema: Any, tool: ToolSpec) -> str:
    said = resolved(schema, tool.input_schema).get("description")
    if not isinstance(said, str) or not said.strip():
        return ""
    said = _SAMPLES.sub("", said)
    first = _SENTENCE.match(" ".join(said.split()))
    whole = first.group(1) if first and len(first.group(1)) >= SHORTEST_SENTENCE else said
    return f" ({_cut(whole, MAX_ARGUMENT_CHARS).rstrip('.')})"


def _cut(text: str, most: int) -> str:
    """``text`` in one line of at most about ``most`` characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[:most].rpartition(" ")[0] + " …"


def _turns(request: Request, reply: str) -> Iterator[dict[str, str]]:
    """Each answer in the very form that the model is to write; a call of an older turn is followed by its result."""
    results = {message.call_id: message for message in request.transcript if isinstance(message, ToolResult)}
    wish, notes = "", getattr(request.transcript, "notes", {})
    for at, message in enumerate(request.transcript):
        match message:
            case User(text, media):
                wish = wish if at in notes else text
                seen = "".join(f"\n[{item.mime_type}, which can't be shown to this model]" for item in media)
                yield _user(text + seen)
            case Assistant(text, calls) if calls:
                if text:
                    yield _assistant(_spoken(reply, text))
                for call in calls:
                    yield _assistant(f'{{"tool": {_json(call.name)}, "arguments": {call.arguments}}}')
                    if call.id in results:
                        yield _user(_result(results[call.id], wish))
            case Assistant(text):
                yield _assistant(_spoken(reply, text) if request.tools else text)


def _result(result: ToolResult, wish: str) -> str:
    """A result, with what the user wants of it: a few results later this model has lost sight of it."""
    title = "Error" if result.error else "Result"
    return f"{title} of {result.name}:\n{result.text}\n(The user asked: {_cut(wish, MAX_WISH_CHARS)})"


def _spoken(reply: str, text: str) -> str:
    return _json({"tool": reply, "text": text})


def _alternating(said: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Messages of the same side in a row as one: many models' templates take nothing else."""
    joined: list[dict[str, str]] = []
    for message in said:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = {**message, "content": f"{joined[-1]['content']}\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _exactly(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
