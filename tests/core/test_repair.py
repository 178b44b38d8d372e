"""The repair ladder, rung by rung: what is undone, what is not, and what is recorded."""

from __future__ import annotations

from typing import Any

import pytest
from core_kit import spec

from agentrt.contract import Gate, Passed, Rejected
from agentrt.engines.scripted import call
from agentrt.repair import Repair

TOOL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "x": {"type": "number"},
        "flag": {"type": "boolean"},
        "nothing": {"type": "null"},
        "items": {"type": "array", "items": {"type": "integer"}},
        "inner": {"type": "object", "properties": {"n": {"type": "integer"}}},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "text": {"type": "string"},
    },
}


def check(text: str, schema: dict[str, Any] = TOOL, **rest: Any) -> Passed | Rejected:
    return Gate((spec("tool", schema, **rest),)).check(call("tool", text))


def repaired(text: str, schema: dict[str, Any] = TOOL) -> tuple[Any, list[str]]:
    """The arguments that are dispatched, and the rules that were applied."""
    verdict = check(text, schema)
    assert isinstance(verdict, Passed), verdict
    return verdict.call.arguments, [repair.rule for repair in verdict.repairs]


@pytest.mark.parametrize(
    ("text", "arguments", "rules"),
    [
        ('{"n": 1}', {"n": 1}, []),
        (' \n{"n": 1}\t', {"n": 1}, []),
        ('```json\n{"n": 1}\n```', {"n": 1}, ["code fence"]),
        ('```\n{"n": 1}```', {"n": 1}, ["code fence"]),
        ('{"n": 1,}', {"n": 1}, ["trailing comma"]),
        ('{"items": [1, 2, ], }', {"items": [1, 2]}, ["trailing comma"]),
        ('{"text": "a, ]",}', {"text": "a, ]"}, ["trailing comma"]),
        ('{"n": 1};', {"n": 1}, ["trailing token"]),
        ('{"n": 1}</tool_call>', {"n": 1}, ["trailing token"]),
        ('{"n": 1}<|im_end|>', {"n": 1}, ["trailing token"]),
        ('{"n": 1}\n```', {"n": 1}, ["trailing token"]),
        ('"{\\"n\\": 1}"', {"n": 1}, ["object in a string"]),
        ('{"n": "1"}', {"n": 1}, ["typed value in a string"]),
        ('{"x": "-2.5e1"}', {"x": -25.0}, ["typed value in a string"]),
        ('{"flag": "true"}', {"flag": True}, ["typed value in a string"]),
        ('{"nothing": "null"}', {"nothing": None}, ["typed value in a string"]),
        ('{"items": "[1, 2]"}', {"items": [1, 2]}, ["typed value in a string"]),
        ('{"inner": "{\\"n\\": 2}"}', {"inner": {"n": 2}}, ["typed value in a string"]),
        ('{"items": ["1", 2]}', {"items": [1, 2]}, ["typed value in a string"]),
        ('{"maybe": "7"}', {"maybe": 7}, ["typed value in a string"]),
        ('{"maybe": "null"}', {"maybe": None}, ["typed value in a string"]),
        ('{"text": "two\nlines"}', {"text": "two\nlines"}, ["raw control character in a string"]),
        ('```json\n{"n": "1",}\n```', {"n": 1}, ["trailing comma", "typed value in a string"]),
    ],
)  # fmt: skip
def test_a_slip_without_loss_of_meaning_is_undone(text: str, arguments: Any, rules: list[str]) -> None:
    assert repaired(text) == (arguments, rules)


@pytest.mark.parametrize(
    "text",
    [
        '{"n": 1',  # cut
        '{"n": ',
        '{"text": "half a te',
        '```json\n{"n": 1',
        '```json\n{"n": 1}',  # a fence that was not closed may have been cut too
        '{"n": 1}{"n": 2}',  # two values
        '{"n": 1} and {"n": 2}',
        'Sure! {"n": 1}',
        "{'n': 1}",
        "{n: 1}",
        '{"n": 1, "n": 2}',  # which one?
        '{"n": 1, "n": 1}',
        '{"items": [1,, 2]}',  # a hole is a missing value
        '{"items": [,]}',
        '{"items": [ , ]}',
        "{,}",
        '{"n":,}',
        '{"x": NaN}',
        '{"x": Infinity}',
        '{"x": -Infinity}',
        '{"x": 1e400}',
        '{"x": "1e400"}',
        '{"x": "NaN"}',
        '{"text": "\\ud800"}',
        '{"text": "\ud800"}',
        '{"n": "1.5"}',
        '{"n": "one"}',
        '{"n": "1 apple"}',
        '{"n": ""}',
        '{"n": "0x10"}',
        '{"n": true}',
        '{"n": [1]}',
        '{"flag": "yes"}',
        '{"flag": 1}',
        '{"flag": "1"}',
        '{"text": 1}',  # a number where a text is wanted is not a text
        '{"inner": "{\\"n\\": 1, \\"n\\": 2}"}',
        '{"inner": "{\\"n\\": 1"}',
        '"\\"{}\\""',
        '"{\\"n\\": 1"',
        '{"n": ' + "1" * 5000 + "}",
        "",
        "   ",
        "undefined",
    ],
)  # fmt: skip
def test_what_could_mean_something_else_is_left_alone(text: str) -> None:
    assert isinstance(check(text), Rejected)


@pytest.mark.parametrize(
    "text", ['```json\n{"n": 1}\n```', '{"n": 1,}', '{"n": 1};', '"{\\"n\\": 1}"', '{"n": "1"}', '{"text": "a\nb"}']
)
def test_repairs_are_switched_off_per_tool(text: str) -> None:
    assert isinstance(check(text, repair=False), Rejected)


def test_each_repair_is_recorded_with_the_text_before_and_after() -> None:
    verdict = check('{"n": "1",}')
    assert isinstance(verdict, Passed)
    assert verdict.repairs == (
        Repair("trailing comma", '{"n": "1",}', '{"n": "1"}'),
        Repair("typed value in a string", '{"n": "1"}', '{"n": 1}'),
    )


def test_no_text_is_no_arguments_for_a_tool_that_takes_none_and_a_guess_for_others() -> None:
    assert repaired("", {"type": "object", "properties": {}}) == ({}, ["empty arguments"])
    assert repaired(" \n", {"type": "object"}) == ({}, ["empty arguments"])
    assert isinstance(check("", {"type": "object", "required": ["a"]}), Rejected)


class TestAlternatives:
    """A string is read as another type only where every alternative that it may be for would want that."""

    def test_a_string_that_one_alternative_takes_stays_a_string(self) -> None:
        schema = {
            "anyOf": [
                {"properties": {"v": {"type": "integer"}}, "required": ["v"]},
                {"properties": {"v": {"type": "string"}, "w": {"type": "integer"}}, "required": ["v", "w"]},
            ]
        }
        assert isinstance(check('{"v": "5", "w": "6"}', schema), Rejected)
        assert repaired('{"v": "5", "w": 6}', schema) == ({"v": "5", "w": 6}, [])

    def test_the_tag_says_which_alternative_a_string_is_for(self) -> None:
        schema = {
            "oneOf": [
                {"properties": {"kind": {"const": "a"}, "v": {"type": "integer"}}, "required": ["kind", "v"]},
                {
                    "properties": {"kind": {"const": "b"}, "v": {"type": "string"}, "w": {"type": "integer"}},
                    "required": ["kind"],
                },
            ]
        }
        wanted = {"kind": "b", "v": "5", "w": 6}
        assert repaired('{"kind": "b", "v": "5", "w": "6"}', schema) == (wanted, ["typed value in a string"])

    def test_inside_an_optional_object_strings_are_read(self) -> None:
        inner = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        schema = {"properties": {"inner": {"anyOf": [{"type": "null"}, inner]}}}
        assert repaired('{"inner": {"n": "3"}}', schema) == ({"inner": {"n": 3}}, ["typed value in a string"])

    def test_a_repair_that_does_not_lead_to_valid_arguments_is_dropped(self) -> None:
        schema = {"properties": {"n": {"type": "integer", "maximum": 3}}}
        assert isinstance(check('{"n": "4"}', schema), Rejected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"n": 1', "is cut off or not JSON"),
        ("{'n': 1}", "is not JSON (Expecting property name enclosed in double quotes at character 1 of 8)"),
        ('{"n": 1, "n": 2}', "name 'n' twice, so what is meant is unclear"),
        ('{"x": NaN}', "contain NaN, which is not JSON"),
        ('{"x": 1e400}', "contain 1e400, which is larger than a number can be"),
        ('{"text": "\\ud800"}', "contain half a surrogate pair"),
        ('{"n": ' + "1" * 5000 + "}", "contain a number with too many digits"),
        ("[" * 5000, "are nested deeper than 100"),
        ('{"inner":' * 101 + "1" + "}" * 101, "are nested deeper than 100"),
        ('{"text": "' + "x" * 8_000_000 + '"}', "have 8000012 characters, more than 8000000"),
    ],
    ids=lambda value: value[:20],
)
def test_the_model_is_told_why_its_text_could_not_be_read(text: str, words: str) -> None:
    verdict = check(text)
    assert isinstance(verdict, Rejected)
    assert words in verdict.reason
    assert len(verdict.reason) < 400


def test_a_hundred_levels_are_read_and_one_more_is_not() -> None:
    assert isinstance(check('{"a":' * 100 + "1" + "}" * 100), Passed)
    assert isinstance(check('{"a":' * 101 + "1" + "}" * 101), Rejected)
    assert isinstance(check('{"a":' + "[" * 99 + "]" * 99 + "}"), Passed)
    assert isinstance(check('{"a":' + "[" * 100 + "]" * 100 + "}"), Rejected)


def test_many_brackets_side_by_side_are_not_depth() -> None:
    assert repaired('{"a": [' + ", ".join("[]" for _ in range(500)) + "]}")[1] == []
