"""What the model is told of arguments that do not match: every problem, and of alternatives the one that it meant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from jsonschema_rs import ValidationError, ValidationErrorKind

MAX_PROBLEMS = 20
MAX_QUOTE_CHARS = 160

_WORDS: dict[type[ValidationErrorKind], str] = {
    ValidationErrorKind.AnyOf: "one of the alternatives",
    ValidationErrorKind.OneOfNotValid: "one of the alternatives",
    ValidationErrorKind.OneOfMultipleValid: "exactly one of the alternatives to fit, several do",
    ValidationErrorKind.FalseSchema: "nothing to be here",
    ValidationErrorKind.UniqueItems: "items that all differ",
    ValidationErrorKind.BacktrackLimitExceeded: "a shorter text, this one is too costly to check",
    ValidationErrorKind.RegexEngineFailure: "a shorter text, this one is too costly to check",
}

Branch = list[ValidationError]
"""What is wrong with a value by one alternative of an ``anyOf`` or ``oneOf``."""


def explain(problems: Sequence[ValidationError]) -> str:
    """One line a problem: JSON Pointer, rule, what was expected, what came (bounded)."""
    if not problems:
        return "- There is too much in it to say where. Send less, or nest it less deeply."
    lines = [line for problem in problems[:MAX_PROBLEMS] for line in _lines(problem, "- ")]
    more = len(problems) - MAX_PROBLEMS
    return "\n".join([*lines[: 2 * MAX_PROBLEMS], *([f"- and {more} more"] if more > 0 else [])])


def wanted_types(problems: Iterable[ValidationError]) -> dict[tuple[str | int, ...], list[str]]:
    """The JSON types that the schema wants where a value has the wrong one, by path.

    Of alternatives only what every one that the value may have meant wants elsewhere too: a value that one of
    them takes as it is must stay as it is.
    """
    wanted: dict[tuple[str | int, ...], list[str]] = {}
    for problem in problems:
        kind = problem.kind
        if isinstance(kind, ValidationErrorKind.Type):
            wanted[tuple(problem.instance_path)] = kind.types
        elif isinstance(kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
            meant = [wanted_types(branch) for branch in _meant(kind.context, len(problem.instance_path))]
            for path in set(meant[0]).intersection(*meant[1:]) if meant else ():
                wanted[path] = [name for branch in meant for name in branch[path]]
    return wanted


def _lines(problem: ValidationError, bullet: str) -> list[str]:
    kind = problem.kind
    line = f"{bullet}{_pointer(problem.instance_path)}: {kind.name}: {_expected(problem)}, got {_got(problem)}"
    if not isinstance(kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
        return [line]
    meant = min(_meant(kind.context, len(problem.instance_path)), key=len, default=None)
    if not meant:
        return [line]
    line += f"; the closest alternative is number {kind.context.index(meant) + 1}, in which"
    return [line, *(inner for item in meant[:MAX_PROBLEMS] for inner in _lines(item, "  " + bullet))]


def _meant(branches: Sequence[Branch], depth: int) -> list[Branch]:
    """The alternatives that are not ruled out by a wrong type of the whole, or by a tag that names another one."""
    distances = [_distance(branch, depth) for branch in branches]
    return [branch for branch, distance in zip(branches, distances, strict=True) if distance == min(distances)]


def _distance(branch: Branch, depth: int) -> tuple[bool, bool, bool]:
    kinds = ValidationErrorKind
    whole = any(isinstance(item.kind, kinds.Type) and len(item.instance_path) == depth for item in branch)
    tag = any(isinstance(item.kind, kinds.Constant) for item in branch)
    choice = any(isinstance(item.kind, kinds.Enum) for item in branch)
    return whole, tag, choice


def _pointer(path: Sequence[str | int]) -> str:
    """A JSON Pointer (RFC 6901); the empty one, which is the whole value, is shown in words."""
    pointer = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
    return cut(pointer) or "the whole value"


def _got(problem: ValidationError) -> str:
    if isinstance(problem.kind, ValidationErrorKind.Required) and isinstance(problem.instance, dict):
        return f"only {quote(sorted(problem.instance))}"
    return quote(problem.instance)


def _expected(problem: ValidationError) -> str:
    kinds = ValidationErrorKind
    match problem.kind:
        case kinds.Type(types):
            return f"expected {' or '.join(types)}"
        case kinds.Required(name):
            return f"expected a property {quote(name)}"
        case kinds.AdditionalProperties(names) | kinds.UnevaluatedProperties(names):
            return f"expected no property {cut(', '.join(map(quote, names[:MAX_PROBLEMS])))}"
        case kinds.Enum(options):
            return f"expected one of {quote(options)}"
        case kinds.Constant(value):
            return f"expected {quote(value)}"
        case kinds.Contains():
            return f"expected another number of items that match ({problem.schema_path[-1]})"
        case kind if type(kind) in _WORDS:
            return f"expected {_WORDS[type(kind)]}"
        case kind if isinstance(kind.value, int | float | str):
            return f"expected {kind.name} {quote(kind.value)}"
        case _:
            return f"expected otherwise ({cut(problem.message)})"


def quote(value: Any) -> str:
    """A value as JSON, or the head of it."""
    return cut(json.dumps(value, ensure_ascii=False, default=str))


def cut(text: str) -> str:
    """A text, or the head of it if it is long."""
    return text if len(text) <= MAX_QUOTE_CHARS else f"{text[: MAX_QUOTE_CHARS - 20]}… ({len(text)} characters)"
