"""From a Python signature and docstring to a tool spec, and from checked arguments to a call and its result."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NotRequired, Required, get_args, get_origin, get_type_hints

from annotated_types import Unit
from anyio import from_thread
from anyio.to_thread import run_sync
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python
from typing_extensions import TypedDict

from agentrt.errors import ConfigError
from agentrt.function import Function
from agentrt.toolset import NOT_RUN, Key, Outcome, Progress
from agentrt.types import JSON, CheckedCall, Media, ToolResult, ToolSpec

_typed_dict: Any = TypedDict  # called as a function, which type checkers know only with literal names
_NO_DEFAULT = inspect.Parameter.empty
_STREAMS = (AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator)


@dataclass(frozen=True, slots=True)
class Bound:
    """A function, the spec made from it, and how to run it, and its ``verify``, with checked arguments."""

    spec: ToolSpec
    call: Callable[..., Any]
    verify: Callable[..., Any] | None
    arguments: TypeAdapter[Any]
    returns: TypeAdapter[Any] | None
    progress_name: str | None
    key_name: str | None

    async def run(self, call: CheckedCall, progress: Progress) -> ToolResult:
        """Convert the arguments to their Python types, call, and convert what comes back."""
        try:
            values = self.arguments.validate_python(call.arguments)
        except ValidationError as error:
            found = "; ".join(f"{'/'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            return ToolResult(call.id, call.name, f"{call.name} was not run: {found}", error=True)
        if self.progress_name is not None:
            values[self.progress_name] = progress if _in_loop(self.call) else _from_thread(progress)
        if self.key_name is not None:
            values[self.key_name] = call.key
        return self._result(call, await _value(partial(self.call, **values)))

    async def outcome(self, call: CheckedCall) -> Outcome:
        """Ask ``verify`` what came of the call, with the same arguments."""
        if self.verify is None:
            return None
        value = await _value(partial(self.verify, call.key, **self.arguments.validate_python(call.arguments)))
        return value if value is None or value is NOT_RUN else self._result(call, value)

    def _result(self, call: CheckedCall, value: Any) -> ToolResult:
        match value:
            case str():
                return ToolResult(call.id, call.name, value, data=value if self.spec.output_schema else None)
            case bytes():
                return _shown(call, [Media("application/octet-stream", value)])
            case Media():
                return _shown(call, [value])
            case list() | tuple() if any(isinstance(item, Media) for item in value):
                return _shown(call, value)
            case _:
                data = self._plain(value)
                return ToolResult(call.id, call.name, json.dumps(data, ensure_ascii=False), data=data)

    def _plain(self, value: Any) -> JSON:
        try:
            if self.returns is not None:
                return self.returns.dump_python(value, mode="json", warnings="none")  # type: ignore[no-any-return]
        except (PydanticSerializationError, UnicodeDecodeError):
            pass  # not what its annotation says: the output schema will tell
        return _jsonable(value)


def _in_loop(call: Callable[..., Any]) -> bool:
    """Whether it is async and runs in the event loop; anything else runs in a worker thread."""
    source = _source(call)
    return inspect.iscoroutinefunction(source) or inspect.isasyncgenfunction(source)


async def _value(call: Callable[[], Any]) -> Any:
    value = call() if _in_loop(call) else await run_sync(_drained, call, abandon_on_cancel=True)
    if inspect.isawaitable(value):
        value = await value
    if isinstance(value, AsyncGenerator):
        async with aclosing(value) as items:
            return [item async for item in items]
    return value


def _jsonable(value: Any) -> JSON:
    return to_jsonable_python(value, fallback=str, bytes_mode="base64", inf_nan_mode="null")  # type: ignore[no-any-return]


def _from_thread(progress: Progress) -> Callable[[float, float | None, str], None]:
    """The callback as a plain function, for tools that run in a worker thread."""

    async def report(done: float, total: float | None, message: str) -> None:
        await progress(done, total, message)

    return lambda done, total, message: from_thread.run(report, done, total, message)


def _drained(call: Callable[[], Any]) -> Any:
    """Call in a worker thread. A generator is run to its end here too, so that it never blocks the event loop."""
    value = call()
    if not isinstance(value, Generator):
        return value
    items = []
    for item in value:
        from_thread.check_cancelled()
        items.append(item)
    return items


def _shown(call: CheckedCall, parts: Iterable[Any]) -> ToolResult:
    """A result with media among its parts; each one leaves a word in the text."""
    words, media = [], []
    for part in parts:
        if isinstance(part, Media):
            media.append(part)
            words.append(f"[{part.mime_type}, {len(part.data)} bytes]")
        else:
            words.append(part if isinstance(part, str) else json.dumps(_jsonable(part), ensure_ascii=False))
    return ToolResult(call.id, call.name, "\n".join(words), media=tuple(media))


def bind(function: Function) -> Bound:
    """Read the signature.

    :raises ConfigError: if a parameter has no type, can't be passed by name, or has no JSON form.
    """
    call = function.call
    source = _source(call)
    name = function.name or _name(call)
    try:
        hints = get_type_hints(source, include_extras=True)
        parameters = inspect.signature(call).parameters.values()
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"the types of tool {name!r} can't be read: {error}") from error
    summary, described = _docstring(inspect.getdoc(_documented(call)) or "")
    progress_name = next((item.name for item in parameters if _is(hints.get(item.name), Progress)), None)
    key_name = next((item.name for item in parameters if _is(hints.get(item.name), Key)), None)
    given = {progress_name, key_name, *(call.keywords if isinstance(call, partial) else ())}
    taken = [item for item in parameters if item.name not in given]
    fields = {item.name: _field(name, item, hints, described.get(item.name, "")) for item in taken}
    if function.verify is not None:
        _check_verify(name, function.verify, taken)
    try:
        shape = with_config(ConfigDict(extra="forbid"))(_typed_dict(f"{name}_arguments", fields))
        arguments: TypeAdapter[Any] = TypeAdapter(shape)
        returns = _returns(hints.get("return", Any))
        spec = ToolSpec(
            name=name,
            description=summary,
            input_schema=_tidy(arguments.json_schema()),
            output_schema=None if returns is None else _tidy(returns.json_schema(mode="serialization")),
            read_only=function.read_only,
            idempotent=function.idempotent,
            repair=function.repair,
        )
    except PydanticUserError as error:
        raise ConfigError(f"the types of tool {name!r} have no JSON Schema: {error.message}") from error
    return Bound(spec, call, function.verify, arguments, returns, progress_name, key_name)


def _source(call: Callable[..., Any]) -> Callable[..., Any]:
    """The function that carries the annotations: inside a partial, a decorator or a callable object."""
    while isinstance(call, partial):
        call = call.func
    call = inspect.unwrap(call)
    return call if inspect.isroutine(call) else type(call).__call__


def _documented(call: Callable[..., Any]) -> Any:
    """What carries the docstring: a callable object's ``__call__``, or its class if that has none."""
    source = _source(call)
    return source if inspect.getdoc(source) else call


def _name(call: Callable[..., Any]) -> str:
    while isinstance(call, partial):
        call = call.func
    name = getattr(call, "__name__", type(call).__name__)
    if not name.isidentifier():
        raise ConfigError(f"a tool needs a name, {name!r} is none: give one with @tool(name=...)")
    return str(name)


def _is(hint: Any, wanted: Any) -> bool:
    """Whether a parameter is not the model's to fill but takes what is ``wanted``, or that or nothing."""
    return bool(hint == wanted or hint == wanted | None)


def _check_verify(name: str, verify: Callable[..., Any], parameters: Iterable[inspect.Parameter]) -> None:
    names = [item.name for item in parameters]
    needed = [item.name for item in parameters if item.default is _NO_DEFAULT]
    try:
        signature = inspect.signature(verify)
        for given in (names, needed):
            signature.bind("key", **dict.fromkeys(given))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"verify of tool {name!r} can't be called as verify(key, {', '.join(names)}): {error}; "
            "give it the tool's parameters and their defaults after the key"
        ) from error


def _field(tool: str, item: inspect.Parameter, hints: dict[str, Any], described: str) -> Any:
    if item.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
        raise ConfigError(f"tool {tool!r}: parameter {item.name!r} can't be passed by name")
    if item.name not in hints:
        raise ConfigError(f"tool {tool!r}: parameter {item.name!r} needs a type annotation")
    if isinstance(item.default, FieldInfo):
        raise ConfigError(
            f"tool {tool!r}: parameter {item.name!r} has Field(...) as its default; "
            "write `name: Annotated[type, Field(...)] = default`"
        )
    extra: dict[str, Any] = {}
    words = _words(hints[item.name], described)
    if words:
        extra["description"] = words
    if item.default is _NO_DEFAULT:
        return Required[Annotated[hints[item.name], Field(**extra)]]
    extra["json_schema_extra"] = {"default": _jsonable(item.default)}
    return NotRequired[Annotated[hints[item.name], Field(**extra)]]


def _words(hint: Any, described: str) -> str:
    """A parameter's description and its unit, from the annotation or else the docstring."""
    notes = list(_notes(hint))
    told = [note.description for note in notes if isinstance(note, FieldInfo) and note.description]
    words = told or [note for note in notes if type(note) is str] or ([described] if described else [])
    return ", ".join([*words, *(f"in {note.unit}" for note in notes if isinstance(note, Unit))])


def _notes(hint: Any) -> Iterator[Any]:
    """What ``Annotated`` says of a type, also inside ``Annotated[...] | None``."""
    if get_origin(hint) is Annotated:
        yield from get_args(hint)[1:]
        yield from _notes(get_args(hint)[0])
    elif type(None) in get_args(hint):
        for option in get_args(hint):
            yield from _notes(option)


def _returns(hint: Any) -> TypeAdapter[Any] | None:
    """An adapter for a structured return type; words, bytes for people, and no annotation have none."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(plain) in _STREAMS:
        hint = plain = list[get_args(plain)[0]]  # type: ignore[misc]
    return None if plain in (Any, str, bytes, type(None)) or _shows(plain) else TypeAdapter(hint)


def _shows(hint: Any) -> bool:
    return hint is Media or any(_shows(inner) for inner in get_args(hint))


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out the titles that pydantic makes from names: they cost tokens and say nothing."""
    plain = {key: value for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    for group in ("properties", "$defs"):
        if isinstance(plain.get(group), dict):
            plain[group] = {name: _tidy(inner) for name, inner in plain[group].items()}
    for group in ("items", "additionalProperties"):
        if isinstance(plain.get(group), dict):
            plain[group] = _tidy(plain[group])
    for group in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(plain.get(group), list):
            plain[group] = [_tidy(inner) for inner in plain[group]]
    return plain


_HEADING = r"^(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?)"
_SECTION = re.compile(_HEADING + r"[ \t]*(?::[ \t]*$|\n-{3,}[ \t]*$)", re.MULTILINE)
_GOOGLE = re.compile(r"^([ \t]+)(\w+)(?:[ \t]*\([^)]*\))?[ \t]*:[ \t]*(.+(?:\n\1[ \t]+.+)*)", re.MULTILINE)
_NUMPY = re.compile(r"^(\w+)[ \t]*(?::.*)?\n((?:[ \t]+.+(?:\n|\Z))+)", re.MULTILINE)
_SPHINX = re.compile(r"^:param\s+(?:[\w.\[\], |]+\s+)?(\w+)\s*:\s*(.+(?:\n\s+.+)*)", re.MULTILINE)


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """The words before any section, and what is said of each parameter (Google, NumPy or Sphinx style)."""
    sections = list(_SECTION.finditer(text))
    ends = [match.start() for match in (*sections[:1], re.search(r"^:\w+", text, re.MULTILINE)) if match]
    described = {name: " ".join(words.split()) for name, words in _SPHINX.findall(text)}
    for at, section in enumerate(sections):
        if section.group(1) not in ("Args", "Arguments", "Parameters"):
            continue
        body = text[section.end() : sections[at + 1].start() if at + 1 < len(sections) else len(text)]
        if section.group().rstrip().endswith("-"):
            found = _NUMPY.findall(body)
        else:
            found = [(name, words) for _, name, words in _GOOGLE.findall(body)]
        for name, words in found:
            described.setdefault(name, " ".join(words.split()))
    return (text[: min(ends)] if ends else text).strip(), described
