"""The gate: every tool's schema compiled once, every call checked against it, every problem named for the model."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationError, ValidationErrorKind

from agentrt.errors import SchemaError
from agentrt.repair import Repair, decode, retype, unwrap
from agentrt.types import JSON, CheckedCall, ToolCall, ToolResult, ToolSpec

MAX_SCHEMA_CHARS = 1_000_000
MAX_PROBLEMS = 20
MAX_QUOTE_CHARS = 160
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)


class Validator:
    """One compiled JSON Schema: 2020-12, or the draft that its ``$schema`` names. Remote ``$ref`` is never fetched.

    ``format`` is an annotation and not checked, as JSON Schema 2020-12 section 7.2.1 has it by default.
    """

    __slots__ = ("_compiled", "is_valid")

    def __init__(self, schema: dict[str, Any] | bool) -> None:
        try:
            self._compiled = jsonschema_rs.validator_for(
                schema,
                offline=True,
                validate_formats=False,
                pattern_options=_PATTERNS,
            )
        except (ValidationError, ValueError, TypeError, OverflowError) as error:
            reason = error.message if isinstance(error, ValidationError) else str(error)
            raise SchemaError(f"the schema can't be used: {_quote(reason, plain=True)}") from error
        self.is_valid = self._compiled.is_valid

    def problems(self, value: JSON) -> list[ValidationError]:
        """Every violation, in the order of the schema."""
        return list(self._compiled.iter_errors(value))


def compile_schema(schema: Mapping[str, Any] | bool) -> Validator:
    """The validator for ``schema``, from the cache when its content was seen before.

    :raises SchemaError: if it is no valid schema, refers to a remote one, or is too large or too deep.
    """
    try:
        text = json.dumps(schema, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise SchemaError(f"the schema is not plain JSON, or nested too deep: {error}") from error
    if len(text) > MAX_SCHEMA_CHARS:
        raise SchemaError(f"the schema has {len(text)} characters, more than {MAX_SCHEMA_CHARS}")
    return _compile(text)


@lru_cache(maxsize=2048)
def _compile(text: str) -> Validator:
    return Validator(json.loads(text))


@dataclass(frozen=True, slots=True)
class Passed:
    """The call may be dispatched; ``repairs`` is what had to be undone first."""

    call: CheckedCall
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """The call must not be dispatched; ``reason`` is written for the model."""

    reason: str


class Gate:
    """The tools on offer, compiled. A tool whose schema can't be used is in ``refused``, with the reason."""

    def __init__(self, specs: Sequence[ToolSpec]) -> None:
        self._tools: dict[str, tuple[ToolSpec, Validator, Validator | None]] = {}
        self.refused: list[tuple[ToolSpec, str]] = []
        for spec in specs:
            try:
                output = None if spec.output_schema is None else compile_schema(spec.output_schema)
                self._tools[spec.name] = (spec, compile_schema(spec.input_schema), output)
            except SchemaError as error:
                self.refused.append((spec, str(error)))
        self.specs = tuple(spec for spec, _, _ in self._tools.values())

    def spec(self, name: str) -> ToolSpec | None:
        """The tool called ``name``, if there is one."""
        known = self._tools.get(name)
        return known[0] if known else None

    def check(self, call: ToolCall) -> Passed | Rejected:
        """Parse and validate one call, repairing only what loses no meaning (see :mod:`agentrt.repair`)."""
        known = self._tools.get(call.name)
        if known is None:
            return Rejected(self._unknown(call.name))
        spec, validator, _ = known
        try:
            value, repairs = decode(call.arguments, spec)
        except ValueError as error:
            return Rejected(f"{call.name} was not run: {error}. Call it again with one whole JSON object.")
        if not isinstance(value, dict) or not validator.is_valid(value):
            value, repairs = self._repair(value, repairs, spec, validator)
            if not isinstance(value, dict):
                got = _quote(value)
                return Rejected(f"{call.name} was not run: its arguments must be a JSON object, got {got}.")
            problems = validator.problems(value)
            if problems:
                return Rejected(
                    f"{call.name} was not run: its arguments do not match its schema.\n"
                    f"{explain(problems)}\nCall it again with corrected arguments."
                )
        return Passed(CheckedCall(call.id, call.name, value, spec), repairs)

    def _repair(
        self, value: JSON, repairs: tuple[Repair, ...], spec: ToolSpec, validator: Validator
    ) -> tuple[JSON, tuple[Repair, ...]]:
        if not spec.repair:
            return value, repairs
        value, repairs = unwrap(value, repairs)
        if isinstance(value, dict) and not validator.is_valid(value):
            wanted = {tuple(path): types for path, types in wanted_types(validator.problems(value))}
            changed = retype(value, wanted)
            if changed is not None and validator.is_valid(changed):
                return changed, (*repairs, Repair.of("typed value in a string", value, changed))
        return value, repairs

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._tools, n=3, cutoff=0.4)
        bare = name.rsplit("__", 1)[-1].rsplit(".", 1)[-1]
        near += [known for known in self._tools if known.rsplit("__", 1)[-1] == bare and known not in near]
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Known tools: {sorted(self._tools)[:50]}."
        return f"there is no tool called {name!r}. {hint}"

    def check_output(self, result: ToolResult, name: str) -> str | None:
        """What is wrong with a result's ``data`` by the tool's output schema, or ``None``."""
        validator = self._tools[name][2]
        if validator is None or result.error or validator.is_valid(result.data):
            return None
        return f"{name} answered, but not as its output schema says:\n{explain(validator.problems(result.data))}"


def wanted_types(problems: Iterable[ValidationError]) -> Iterable[tuple[Sequence[str | int], list[str]]]:
    """The places where a value has the wrong type, with the JSON types that the schema wants there."""
    for problem in problems:
        kind = problem.kind
        if isinstance(kind, ValidationErrorKind.Type):
            yield problem.instance_path, kind.types
        elif isinstance(kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
            branches: dict[tuple[str | int, ...], list[str]] = {}
            for branch in kind.context:
                for path, types in wanted_types(branch):
                    branches.setdefault(tuple(path), []).extend(types)
            yield from branches.items()


def explain(problems: Sequence[ValidationError]) -> str:
    """One line a problem: JSON Pointer, rule, what was expected, what came (bounded)."""
    lines = [line for problem in problems[:MAX_PROBLEMS] for line in _lines(problem, "- ")]
    more = len(problems) - MAX_PROBLEMS
    return "\n".join([*lines[: 2 * MAX_PROBLEMS], *([f"- and {more} more"] if more > 0 else [])])


def _lines(problem: ValidationError, bullet: str) -> list[str]:
    kind = problem.kind
    line = f"{bullet}{_pointer(problem.instance_path)}: {kind.name}: {_expected(problem)}, got {_got(problem)}"
    if not isinstance(kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
        return [line]
    branches = [branch for branch in kind.context if branch]
    if not branches:
        return [line]
    meant = min(branches, key=lambda branch: _distance(branch, len(problem.instance_path)))
    line += f"; the closest alternative is number {kind.context.index(meant) + 1}, in which"
    return [line, *(inner for item in meant[:MAX_PROBLEMS] for inner in _lines(item, "  " + bullet))]


def _distance(branch: list[ValidationError], depth: int) -> tuple[bool, bool, int]:
    """How far a value is from a branch: wrong as a whole, then a tag that names another branch, then the count."""
    kinds = ValidationErrorKind
    whole = any(isinstance(item.kind, kinds.Type) and len(item.instance_path) == depth for item in branch)
    tag = any(isinstance(item.kind, kinds.Constant | kinds.Enum) for item in branch)
    return whole, tag, len(branch)


def _pointer(path: Sequence[str | int]) -> str:
    """A JSON Pointer (RFC 6901); the empty one, which is the whole value, is shown in words."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path) or "the arguments"


def _got(problem: ValidationError) -> str:
    if isinstance(problem.kind, ValidationErrorKind.Required) and isinstance(problem.instance, dict):
        return f"only {_quote(sorted(problem.instance))}"
    return _quote(problem.instance)


def _expected(problem: ValidationError) -> str:
    kinds = ValidationErrorKind
    match problem.kind:
        case kinds.Type(types):
            return f"expected {' or '.join(types)}"
        case kinds.Required(name):
            return f"expected a property {name!r}"
        case kinds.AdditionalProperties(names) | kinds.UnevaluatedProperties(names):
            return f"expected no property {', '.join(map(repr, names))}"
        case kinds.Enum(options):
            return f"expected one of {_quote(options)}"
        case kinds.Constant(value):
            return f"expected {_quote(value)}"
        case kinds.AnyOf() | kinds.OneOfNotValid():
            return "expected one of the alternatives"
        case kinds.OneOfMultipleValid():
            return "expected exactly one of the alternatives to fit, several do"
        case kind if isinstance(kind.value, int | float | str):
            return f"expected {kind.name} {_quote(kind.value)}"
        case _:
            return f"expected otherwise ({_quote(problem.message, plain=True)})"


def _quote(value: Any, *, plain: bool = False) -> str:
    text = str(value) if plain else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_QUOTE_CHARS else f"{text[: MAX_QUOTE_CHARS - 20]}… ({len(text)} characters)"
