"""From a Python signature and docstring to a tool spec, and from checked arguments to a call and its result."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NotRequired, Required, get_args, get_origin, get_type_hints

from annotated_types import Unit
from anyio.to_thread import run_sync
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, to_jsonable_python
from typing_extensions import TypedDict

from agentrt.errors import ConfigError
from agentrt.function import Function
from agentrt.toolset import Progress
from agentrt.types import JSON, CheckedCall, Media, ToolResult, ToolSpec


@dataclass(frozen=True, slots=True)
class Bound:
    """A function, the spec made from it, and how to run it with checked arguments."""

    spec: ToolSpec
    call: Callable[..., Any]
    arguments: TypeAdapter[Any]
    returns: TypeAdapter[Any] | None
    progress_name: str | None

    async def run(self, call: CheckedCall, progress: Progress) -> ToolResult:
        """Convert the arguments to their Python types, call, and convert what comes back."""
        try:
            values = self.arguments.validate_python(call.arguments)
        except ValidationError as error:
            found = "; ".join(f"{'/'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            return ToolResult(call.id, call.name, f"{call.name} was not run: {found}", error=True)
        if self.progress_name is not None:
            values[self.progress_name] = progress
        if inspect.iscoroutinefunction(self.call):
            value = await self.call(**values)
        else:
            value = await run_sync(partial(self.call, **values), abandon_on_cancel=True)
        return self._result(call, value)

    def _result(self, call: CheckedCall, value: Any) -> ToolResult:
        match value:
            case str():
                return ToolResult(call.id, call.name, value, data=value if self.spec.output_schema else None)
            case Media(kind, content):
                return ToolResult(call.id, call.name, f"[{kind}, {len(content)} bytes]", media=(value,))
            case _:
                data = self._plain(value)
                return ToolResult(call.id, call.name, json.dumps(data, ensure_ascii=False), data=data)

    def _plain(self, value: Any) -> JSON:
        try:
            if self.returns is not None:
                return self.returns.dump_python(value, mode="json", warnings="none")  # type: ignore[no-any-return]
        except PydanticSerializationError:
            pass  # not what its annotation says: the output schema will tell
        return to_jsonable_python(value, fallback=str)  # type: ignore[no-any-return]


def bind(function: Function) -> Bound:
    """Read the signature.

    :raises ConfigError: if a parameter has no type, can't be passed by name, or has no JSON form.
    """
    call = function.call
    name = function.name or getattr(call, "__name__", type(call).__name__)
    try:
        hints = get_type_hints(call if inspect.isroutine(call) else type(call).__call__, include_extras=True)
        parameters = inspect.signature(call).parameters.values()
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"the types of tool {name!r} can't be read: {error}") from error
    summary, described = _docstring(inspect.getdoc(call) or "")
    progress_name = next((item.name for item in parameters if hints.get(item.name) == Progress), None)
    taken = [item for item in parameters if item.name != progress_name]
    fields = {item.name: _field(name, item, hints, described.get(item.name, "")) for item in taken}
    try:
        shape = with_config(ConfigDict(extra="forbid"))(TypedDict(f"{name}_arguments", fields))  # type: ignore[operator]
        arguments: TypeAdapter[Any] = TypeAdapter(shape)
        schema = _tidy(arguments.json_schema())
        returns = _returns(hints.get("return", Any))
        output = None if returns is None else _tidy(returns.json_schema(mode="serialization"))
    except PydanticUserError as error:
        raise ConfigError(f"the types of tool {name!r} have no JSON Schema: {error.message}") from error
    for item in taken:
        if item.default is not inspect.Parameter.empty:
            schema["properties"][item.name]["default"] = to_jsonable_python(item.default, fallback=str)
    spec = ToolSpec(
        name=name,
        description=summary,
        input_schema=schema,
        output_schema=output,
        read_only=function.read_only,
        idempotent=function.idempotent,
        repair=function.repair,
    )
    return Bound(spec, call, arguments, returns, progress_name)


def _field(tool: str, item: inspect.Parameter, hints: dict[str, Any], described: str) -> Any:
    if item.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
        raise ConfigError(f"tool {tool!r}: parameter {item.name!r} can't be passed by name")
    if item.name not in hints:
        raise ConfigError(f"tool {tool!r}: parameter {item.name!r} needs a type annotation")
    hint = hints[item.name]
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    words = [note for note in notes if isinstance(note, str)] or ([described] if described else [])
    words += [f"in {note.unit}" for note in notes if isinstance(note, Unit)]
    typed = Annotated[hint, Field(description=", ".join(words))] if words else hint
    return Required[typed] if item.default is inspect.Parameter.empty else NotRequired[typed]


def _returns(hint: Any) -> TypeAdapter[Any] | None:
    """An adapter for a structured return type; words, bytes for people, and no annotation have none."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return None if plain in (Any, str, type(None), Media) else TypeAdapter(hint)


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out the titles that pydantic makes from names: they cost tokens and say nothing."""
    plain = {key: value for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    for group in ("properties", "$defs"):
        if isinstance(plain.get(group), dict):
            plain[group] = {name: _tidy(inner) for name, inner in plain[group].items()}
    if isinstance(plain.get("items"), dict):
        plain["items"] = _tidy(plain["items"])
    for group in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(plain.get(group), list):
            plain[group] = [_tidy(inner) for inner in plain[group]]
    return plain


_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?)\s*:\s*$", re.MULTILINE)
_GOOGLE = re.compile(r"^(\s+)(\w+)(?:\s*\([^)]*\))?\s*:\s*(.+(?:\n\1\s+.+)*)", re.MULTILINE)
_SPHINX = re.compile(r"^:param\s+(?:[\w.\[\], |]+\s+)?(\w+)\s*:\s*(.+(?:\n\s+.+)*)", re.MULTILINE)


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """The words before any section, and what is said of each parameter (Google or Sphinx style)."""
    ends = [match.start() for match in (_SECTION.search(text), re.search(r"^:\w+", text, re.MULTILINE)) if match]
    summary = text[: min(ends)] if ends else text
    described = {name: " ".join(words.split()) for name, words in _SPHINX.findall(text)}
    heading = re.search(r"^(Args|Arguments|Parameters)\s*:\s*$", text, re.MULTILINE)
    if heading:
        body = text[heading.end() :]
        following = _SECTION.search(body)
        for _, name, words in _GOOGLE.findall(body[: following.start()] if following else body):
            described.setdefault(name, " ".join(words.split()))
    return summary.strip(), described
