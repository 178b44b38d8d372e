"""The gate: every tool's schema compiled once, every call checked against it before anything runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationError

from agentrt.effort import ANY, Effort
from agentrt.errors import SchemaError
from agentrt.feedback import cut, explain, wanted_types
from agentrt.repair import NotJSON, Repair, decode, retype
from agentrt.types import JSON, CheckedCall, ToolCall, ToolResult, ToolSpec

MAX_SCHEMA_CHARS = 1_000_000
FREE_STEPS = 10_000_000  # subschema visits: a check that can't take more than this is not counted beforehand
MAX_SPREAD = 10_000
MAX_STEPS = 100_000
MAX_EXPLAIN_STEPS = 20_000
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000)


class Validator:
    """One compiled JSON Schema: 2020-12, or the draft that its ``$schema`` names. A remote ``$ref`` is never fetched.

    ``resources`` are other schemas that it may refer to, by URI. ``format`` is an annotation and not checked,
    as JSON Schema 2020-12 section 7.2.1 has it by default.
    """

    __slots__ = ("_compiled", "_effort", "_spread", "is_valid")

    def __init__(self, schema: Mapping[str, Any] | bool, resources: Mapping[str, Any] | None = None) -> None:
        known = resources or {}
        try:
            self._compiled = jsonschema_rs.validator_for(
                schema,  # type: ignore[arg-type]  # any mapping will do
                registry=jsonschema_rs.Registry(known.items(), retriever=_no_retrieval) if known else None,
                offline=True,
                validate_formats=False,
                pattern_options=_PATTERNS,
            )
        except (ValueError, TypeError, OverflowError, RecursionError, jsonschema_rs.ReferencingError) as error:
            reason = error.message if isinstance(error, ValidationError) else str(error)
            raise SchemaError(f"the schema can't be used: {cut(reason)}") from error
        self.is_valid = self._compiled.is_valid
        self._effort = Effort(schema, known)
        spread = self._effort.count(ANY, MAX_SPREAD)
        self._spread = spread if spread <= MAX_SPREAD else FREE_STEPS + 1

    def accepts(self, value: JSON, size: int) -> bool:
        """Whether ``value``, whose JSON text has ``size`` characters, is valid.

        :raises NotJSON: if finding that out takes too many steps.
        """
        if self._spread * size > FREE_STEPS and self._effort.count(value, MAX_STEPS) > MAX_STEPS:
            raise NotJSON("more was given than can be checked against its schema; send less, or nest it less deeply")
        return self.is_valid(value)

    def problems(self, value: JSON) -> list[ValidationError]:
        """Every violation, in the order of the schema; none at all if listing them takes too many steps."""
        listable = self._effort.count(value, MAX_EXPLAIN_STEPS) <= MAX_EXPLAIN_STEPS
        return list(self._compiled.iter_errors(value)) if listable else []


def _no_retrieval(uri: str) -> JSON:
    raise ValueError(f"{uri} is not among the resources, and nothing is fetched")


def compile_schema(schema: Mapping[str, Any] | bool) -> Validator:
    """The validator for ``schema``, from the cache when its content was seen before.

    :raises SchemaError: if it is no valid schema, refers to a remote one, or is too large or too deep.
    """
    if not isinstance(schema, Mapping | bool):
        raise SchemaError(f"a schema is an object or a boolean, not {type(schema).__name__}")
    try:
        text = json.dumps(schema, sort_keys=True, allow_nan=False)
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
            if spec.name in self._tools:
                self.refused.append((spec, f"{self._tools[spec.name][0].source} has a tool of this name already"))
                continue
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
            if not isinstance(value, dict):
                raise NotJSON(f"its arguments must be a JSON object, got {cut(call.arguments)}")
            size = len(call.arguments)
            if validator.accepts(value, size):
                return Passed(CheckedCall(call.id, call.name, value, spec), repairs)
            problems = validator.problems(value)
            fixed = retype(value, wanted_types(problems)) if spec.repair else None
            if isinstance(fixed, dict) and validator.accepts(fixed, size):
                repair = Repair.of("typed value in a string", value, fixed)
                return Passed(CheckedCall(call.id, call.name, fixed, spec), (*repairs, repair))
        except NotJSON as error:
            return Rejected(f"{call.name} was not run: {error}. Call it again with one whole JSON object.")
        what = f"its arguments do not match its schema.\n{explain(problems)}\nCall it again with corrected arguments."
        return Rejected(f"{call.name} was not run: {what}")

    def _unknown(self, name: str) -> str:
        short = name[:100]
        near = difflib.get_close_matches(short, self._tools, n=3, cutoff=0.4)
        bare = short.rsplit("__", 1)[-1].rsplit(".", 1)[-1]
        if not self._tools:
            return f"there is no tool called {short!r}: no tools are on offer."
        near += [known for known in self._tools if known.rsplit("__", 1)[-1] == bare and known not in near]
        hint = f"Did you mean {' or '.join(map(repr, near[:5]))}?" if near else f"Known: {sorted(self._tools)[:50]}."
        return f"there is no tool called {short!r}. {hint}"

    def check_output(self, result: ToolResult, name: str) -> str | None:
        """What is wrong with a result's ``data`` by the tool's output schema, or ``None``."""
        validator = self._tools[name][2]
        if validator is None or result.error:
            return None
        try:
            if validator.accepts(result.data, len(json.dumps(result.data, allow_nan=False))):
                return None
            what = explain(validator.problems(result.data))
        except (TypeError, ValueError, RecursionError) as error:
            what = f"- {error}"
        return f"{name} answered, but not as its output schema says:\n{what}"
