"""The gate: names, drafts, caching, refusals, and outputs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from core_kit import ANYTHING, NUMBER, read, spec

from agentrt.contract import Gate, Passed, Rejected, compile_schema
from agentrt.engines.scripted import call
from agentrt.errors import SchemaError
from agentrt.types import CheckedCall, ToolResult, ToolSpec

DRAFT_07 = "http://json-schema.org/draft-07/schema#"


def reason(gate: Gate, name: str, arguments: object = "{}") -> str:
    verdict = gate.check(call(name, arguments))
    assert isinstance(verdict, Rejected)
    return verdict.reason


def test_a_valid_call_passes_as_parsed_values_with_its_spec() -> None:
    number = spec("number", NUMBER)
    passed = Gate((number,)).check(call("number", {"n": 3}, call_id="c1"))
    assert passed == Passed(CheckedCall("c1", "number", {"n": 3}, number))


@pytest.mark.parametrize("given", ["[]", "3", '"text"', "null", "true", '[{"n": 1}]'])
def test_arguments_that_are_no_object_never_pass(given: str) -> None:
    assert "must be a JSON object" in reason(Gate((spec("tool", {}),)), "tool", given)


def test_an_unknown_tool_is_answered_with_the_nearest_names() -> None:
    gate = Gate((spec("read_file"), spec("write_file"), spec("github__search"), spec("clock")))
    assert reason(gate, "readfile") == "there is no tool called 'readfile'. Did you mean 'read_file' or 'write_file'?"
    assert "'github__search'" in reason(gate, "search")
    assert "'github__search'" in reason(gate, "github.search")
    assert reason(gate, "zzzz") == (
        "there is no tool called 'zzzz'. Known: ['clock', 'github__search', 'read_file', 'write_file']."
    )


def test_an_endless_name_is_not_repeated_endlessly() -> None:
    assert len(reason(Gate((spec("tool"),)), "t" * 1_000_000)) < 1000


def test_a_name_is_matched_exactly_or_not_at_all() -> None:
    gate = Gate((spec("tool"),))
    for name in ("Tool", "tool ", "", "tool\n", "t\u043eol"):
        assert "there is no tool called" in reason(gate, name)


def test_the_draft_is_the_one_that_the_schema_names() -> None:
    tuple_of_07 = {"type": "object", "properties": {"t": {"items": [{"type": "integer"}], "additionalItems": False}}}
    gate = Gate((spec("old", {"$schema": DRAFT_07, **tuple_of_07}),))
    assert isinstance(gate.check(call("old", {"t": [1]})), Passed)
    assert "/t/0" in reason(gate, "old", {"t": ["x"]})
    assert "additionalItems" in reason(gate, "old", {"t": [1, 2]})
    assert Gate((spec("new", tuple_of_07),)).refused  # in 2020-12 items is no list


def test_a_reference_hides_its_neighbours_in_draft_07_and_not_later() -> None:
    schema = {"definitions": {"any": True}, "properties": {"a": {"$ref": "#/definitions/any", "type": "integer"}}}
    assert isinstance(Gate((spec("tool", {"$schema": DRAFT_07, **schema}),)).check(call("tool", {"a": "x"})), Passed)
    assert "/a: type" in reason(Gate((spec("tool", schema, repair=False),)), "tool", {"a": "x"})


def test_format_is_an_annotation() -> None:
    gate = Gate((spec("tool", {"properties": {"when": {"type": "string", "format": "date-time"}}}),))
    assert isinstance(gate.check(call("tool", {"when": "tomorrow"})), Passed)


def test_equal_schemas_are_compiled_once_whatever_the_order_of_their_keys() -> None:
    assert compile_schema({"type": "object", "title": "a"}) is compile_schema({"title": "a", "type": "object"})
    assert compile_schema({"type": "object"}) is not compile_schema({"type": "array"})


def test_a_schema_that_is_changed_afterwards_changes_nothing() -> None:
    schema: dict[str, Any] = {"type": "object", "required": ["a"]}
    gate = Gate((spec("tool", schema),))
    schema["required"].clear()
    assert "required" in reason(gate, "tool", {})


def test_a_tool_with_an_unusable_schema_is_left_out_with_the_reason_and_the_others_stay() -> None:
    bad_output: ToolSpec = spec("out", output_schema={"type": "nonsense"})
    gate = Gate((spec("good"), spec("bad", {"type": 5}), bad_output))
    assert [item.name for item in gate.specs] == ["good"]
    assert [item.name for item, _ in gate.refused] == ["bad", "out"]
    assert all("can't be used" in why for _, why in gate.refused)
    assert "there is no tool called 'bad'" in reason(gate, "bad")


def test_the_gate_knows_its_specs_by_name() -> None:
    look = read("look")
    gate = Gate((look,))
    assert gate.spec("look") is look
    assert gate.spec("other") is None


@pytest.mark.parametrize("schema", [True, False, {}])
def test_boolean_and_empty_schemas_compile(schema: Any) -> None:
    assert compile_schema(schema).is_valid({}) == (schema is not False)


@pytest.mark.parametrize("draft", [DRAFT_07, "https://json-schema.org/draft/2020-12/schema"])
def test_a_schema_may_refer_to_the_metaschema_of_its_draft(draft: str) -> None:
    validator = compile_schema({"$schema": draft, "properties": {"schema": {"$ref": draft}}})
    assert validator.is_valid({"schema": {"type": "object"}})
    assert not validator.is_valid({"schema": {"type": 5}})


class TestOutputs:
    """What a tool answers is checked too; a violation is text for the model."""

    def wrong(self, data: Any, schema: Any = NUMBER, **rest: Any) -> str | None:
        gate = Gate((spec("tool", ANYTHING, output_schema=schema),))
        return gate.check_output(ToolResult("1", "tool", "text", data=data, **rest), "tool")

    def test_data_that_matches_is_fine(self) -> None:
        assert self.wrong({"n": 1}) is None

    def test_a_tool_without_an_output_schema_may_answer_anything(self) -> None:
        assert Gate((spec("tool"),)).check_output(ToolResult("1", "tool", "", data=object()), "tool") is None  # type: ignore[arg-type]

    def test_an_error_owes_nobody_data(self) -> None:
        assert self.wrong(None, error=True) is None

    def test_missing_data_is_a_violation(self) -> None:
        assert "expected object" in str(self.wrong(None))

    @pytest.mark.parametrize(
        "junk",
        [object(), {"n": {1, 2}}, {"n": b"bytes"}, {1: 2}, {"n": float("nan")}, {"n": float("inf")}, {"n": "\ud800"}],
        ids=["object", "set", "bytes", "number as a name", "nan", "infinity", "half a surrogate"],
    )
    def test_data_that_is_no_json_is_a_violation_and_no_crash(self, junk: Any) -> None:
        assert "not as its output schema says" in str(self.wrong(junk))

    def test_data_as_deep_as_the_stack_is_a_violation_and_no_crash(self) -> None:
        deep: Any = {}
        for _ in range(200_000):
            deep = {"n": deep}
        assert "not as its output schema says" in str(self.wrong(deep))
        while deep:
            deep = deep.pop("n")  # so that freeing it needs no stack either


def test_a_remote_reference_is_refused_in_one_line_that_names_it() -> None:
    with pytest.raises(SchemaError, match=r"https://example\.com/x\.json"):
        compile_schema({"$ref": "https://example.com/x.json"})


def test_what_the_tool_gets_is_json_again() -> None:
    text = '{"a": [1, 1.0, -0.0, 1e3, "\\u00e9\\ud83d\\ude00", null, true]}'
    verdict = Gate((spec("tool"),)).check(call("tool", text))
    assert isinstance(verdict, Passed)
    assert verdict.repairs == ()
    assert json.dumps(verdict.call.arguments) == json.dumps(json.loads(text))
