"""An argument that nobody mentioned is found, and one that somebody did is left alone, however it is written."""

import pytest

from agentrt import Assistant, ToolCall, ToolResult, ToolSpec, Transcript, User
from agentrt.policy.grounding import ungrounded


def said(text: str) -> Transcript:
    return Transcript([User(text)])


def looked_up(arguments: str, result: str) -> Transcript:
    call = ToolCall("1", "look", arguments)
    return Transcript([User("go"), Assistant(calls=(call,), finish="tool_calls"), ToolResult("1", "look", result)])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("What's the weather in new york?", "New York"),
        ("At what time in Tokyo does it land?", "Asia/Tokyo"),
        ("How many euros are 250 dollars?", "EUR"),
        ("26.2 miles please", "mile"),
        ("Book it for 14 February 2027", "2027-02-14"),
        ("Zürich, bitte", "Zurich"),
        ("今天東京的天氣", "東京"),
        ("read notes/todo.md", "notes/todo.md"),
        ("it costs 1,000 dollars", 1000),
        ("it costs 1.000 euros", 1000),
        ("it costs 12 000 crowns", 12000),
        ("it costs 19,90", 19.9),
        ("it costs $19.90.", 19.9),
        ("a table for four", 4),
        ("at most ten rows", 10),
        ("at most ten rows", "10"),
        ("25 minutes", 25.0),
        ("between 3 and 5, or 7.", 5),
        ("it is -3 there", -3),
    ],
)
def test_what_the_user_said_is_grounded(text, value):
    assert ungrounded({"x": value}, said(text)) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Who wrote Hamlet?", "London"),
        ("Please order me a pizza.", "New York"),
        ("Send Maria an email.", "maria@example.com"),
        ("What is the capital of Japan?", "cities"),
        ("Cancel my subscription", 10),
        ("fifteen", 15),
        ("1000", 100),
        ("Write a poem", "5 + 5"),
    ],
)
def test_what_nobody_said_is_told(text, value):
    assert ungrounded({"x": value}, said(text)) == ["/x"]


def test_values_are_told_by_their_pointers_and_true_false_and_null_are_nobodys_invention():
    arguments = {"a/b": ["Oslo", "Rome"], "c": {"d~": 7, "e": True, "f": None}, "": ""}
    assert ungrounded(arguments, said("Oslo")) == ["/a~1b/1", "/c/d~0"]


def test_what_the_schema_offers_is_no_invention():
    spec = ToolSpec(
        "look",
        "",
        {
            "type": "object",
            "properties": {
                "unit": {"$ref": "#/$defs/Unit"},
                "limit": {"type": "integer", "default": 20},
                "order": {"anyOf": [{"const": "up"}, {"type": "string"}]},
                "rows": {"type": "array", "items": {"properties": {"op": {"enum": ["<", "like"]}}}},
            },
            "$defs": {"Unit": {"enum": ["celsius", "kelvin"]}},
        },
    )
    offered = {"unit": "kelvin", "limit": 20, "order": "up", "rows": [{"op": "like"}]}
    invented = {"unit": "rankine", "limit": 21, "order": "down", "rows": [{"op": "between"}]}
    assert ungrounded(offered, said("hi"), spec=spec) == []
    assert ungrounded(invented, said("hi"), spec=spec) == ["/unit", "/limit", "/order", "/rows/0/op"]
    assert ungrounded({"limit": 20}, said("hi")) == ["/limit"]


def test_instructions_and_results_vouch_but_the_models_own_words_do_not():
    assert ungrounded({"x": "Oslo"}, said("hi"), "The user lives in Oslo.") == []
    assert ungrounded({"x": "Oslo"}, looked_up("{}", "the nearest city is Oslo")) == []
    assert ungrounded({"x": "Oslo"}, Transcript([User("hi"), Assistant("Shall I look at Oslo?")])) == ["/x"]


def test_a_result_does_not_vouch_for_what_its_own_call_brought_in():
    assert ungrounded({"x": "Oslo"}, looked_up('{"x": "Oslo"}', "no flight goes to Oslo")) == ["/x"]
    assert ungrounded({"x": "Rome"}, looked_up('{"x": "Oslo"}', "no flight to Oslo, known is Rome")) == []


def test_nothing_to_ground_is_grounded():
    assert ungrounded({}, Transcript()) == []
    assert ungrounded({"x": True, "y": []}, Transcript()) == []
