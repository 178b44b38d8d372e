import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.engine import Request
from agentrt.engines.wire import Dialect, Encoder, ToolNames
from agentrt.types import Assistant, Media, ToolCall, ToolResult, ToolSpec, Transcript, User

PICTURE = Media("image/png", b"\x89PNG")


def encode(encoder: Encoder, request: Request, *, ask_usage: bool = True) -> Any:
    return json.loads(b"".join(encoder.body(request, "m", ask_usage=ask_usage)))


def sent(*messages: Any, dialect: Dialect | None = None, instructions: str = "") -> list[dict[str, Any]]:
    """The messages as they are sent."""
    request = Request(Transcript(messages), instructions)
    return encode(Encoder(dialect or Dialect()), request)["messages"]


def turn(arguments: str = "{}", *, name: str = "clock", result: ToolResult | None = None) -> tuple[Any, ...]:
    return Assistant(calls=(ToolCall("a", name, arguments),)), result or ToolResult("a", name, "noon")


def test_a_conversation_is_sent_in_order() -> None:
    said = sent(User("When?"), *turn('{"zone":"CET"}'), Assistant("At noon."), instructions="Be brief.")
    function = {"name": "clock", "arguments": '{"zone":"CET"}'}
    assert said == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "a", "name": "clock", "content": "noon"},
        {"role": "assistant", "content": "At noon."},
    ]


def test_the_head_says_what_is_wanted() -> None:
    request = Request(Transcript(), max_tokens=9, temperature=0.0)
    encoder = Encoder(Dialect("max_completion_tokens"), {"top_p": 0.5, "temperature": 0.2})
    assert encode(encoder, request) == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 9,
        "temperature": 0.2,
        "top_p": 0.5,
        "messages": [],
    }
    assert "stream_options" not in encode(encoder, request, ask_usage=False)


class Counted(Transcript):
    """A transcript that notes from where it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[int] = []

    def since(self, start: int) -> Any:
        self.reads.append(start)
        return super().since(start)


def test_each_message_is_encoded_once_and_the_rest_is_appended() -> None:
    encoder, transcript, whole = Encoder(Dialect()), Counted(), []
    for at in range(3):
        transcript.say(User(f"{at}"))
        whole.append({"role": "user", "content": f"{at}"})
        assert encode(encoder, Request(transcript))["messages"] == whole
        assert encode(encoder, Request(transcript))["messages"] == whole
    assert transcript.reads == [0, 1, 2]


def test_an_encoder_keeps_nothing_of_a_transcript_that_is_gone() -> None:
    encoder = Encoder(Dialect())
    encode(encoder, Request(Transcript([User("x")])))
    assert len(encoder._messages) == 0


@pytest.mark.parametrize("raw", ['{"b" : 1,\n "a":1.50e3, "c":"\\u00e9"}', "{}", ' {"x": 12345678901234567890123} '])
def test_arguments_are_sent_back_as_the_model_wrote_them(raw: str) -> None:
    assert sent(*turn(raw))[0]["tool_calls"][0]["function"]["arguments"] == raw


@pytest.mark.parametrize("raw", ["", '{"city": "Os', "[1]", "null", "{'a': 1}", '{"a": NaN}', '"{}"', "\ud800"])
def test_arguments_that_a_server_could_not_parse_are_sent_as_an_empty_object(raw: str) -> None:
    assert sent(*turn(raw))[0]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert sent(User("a\ud800b"))[0]["content"] == "a?b"


def test_reasoning_goes_back_only_where_it_is_wanted() -> None:
    answer = Assistant("Yes.", reasoning="Hm.")
    assert sent(answer) == [{"role": "assistant", "content": "Yes."}]
    dialect = Dialect(reasoning_field="reasoning_content")
    assert sent(answer, dialect=dialect) == [{"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}]


def test_media_are_shown_to_an_endpoint_that_sees() -> None:
    sound = Media("audio/wav", b"RIFF")
    said = sent(User("What is it?", (PICTURE, sound, Media("video/mp4", b"1"))), dialect=Dialect(vision=True))
    assert said[0]["content"] == [
        {"type": "text", "text": "What is it?\n[video/mp4, 1 bytes, which can't be shown to this model]"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()}},
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}},
    ]


def test_media_are_named_to_an_endpoint_that_does_not_see() -> None:
    assert sent(User("", (PICTURE,)))[0]["content"] == "[image/png, 4 bytes, which can't be shown to this model]"
    (_, result) = sent(*turn(result=ToolResult("a", "clock", "", media=(PICTURE,))))
    assert "can't be shown" in result["content"]


def test_media_of_results_follow_all_results_of_the_turn() -> None:
    answer = Assistant(calls=(ToolCall("a", "shot", "{}"), ToolCall("b", "shot", "{}")))
    results = [ToolResult("a", "shot", "one", media=(PICTURE,)), ToolResult("b", "shot", "two", media=(PICTURE,))]
    said = sent(answer, *results, Assistant("Nice."), dialect=Dialect(vision=True))
    assert [message["role"] for message in said] == ["assistant", "tool", "tool", "user", "assistant"]
    assert [part["type"] for part in said[3]["content"]] == ["text", "image_url", "text", "image_url"]


def tools(*specs: ToolSpec, dialect: Dialect | None = None) -> list[dict[str, Any]]:
    return [
        tool["function"] for tool in encode(Encoder(dialect or Dialect()), Request(Transcript(), "", specs))["tools"]
    ]


def test_a_tool_is_sent_with_its_schema_and_without_noise() -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {"a": {}}}
    assert tools(ToolSpec("f", "Does f.", schema)) == [
        {"name": "f", "description": "Does f.", "parameters": {"type": "object", "properties": {"a": {}}}}
    ]
    assert "$schema" in schema


def test_a_schema_without_type_is_sent_as_the_object_that_it_is() -> None:
    assert tools(ToolSpec("f", "", {}))[0]["parameters"] == {"type": "object", "properties": {}}
    assert tools(ToolSpec("f", "", {"maximum": 10**30}))[0]["parameters"]["maximum"] == 10**30


def test_strict_tools_are_asked_for_where_wanted() -> None:
    assert tools(ToolSpec("f", "", {}), dialect=Dialect(strict_tools=True))[0]["strict"] is True


def test_tools_are_encoded_once_for_each_set() -> None:
    encoder, offered = Encoder(Dialect()), (ToolSpec("f", "", {"type": "object"}),)
    first = encoder.body(Request(Transcript(), "", offered), "m", ask_usage=True)
    again = encoder.body(Request(Transcript(), "", offered), "m", ask_usage=True)
    other = encoder.body(Request(Transcript(), "", (ToolSpec("g", "", {}),)), "m", ask_usage=True)
    assert first[-2] is again[-2]
    assert b'"g"' in other[-2]
    for at in range(2000):
        encoder.body(Request(Transcript(), "", (ToolSpec(f"t{at}", "", {}),)), "m", ask_usage=True)
    assert len(encoder._tools) <= 512


@given(st.lists(st.text(max_size=80), max_size=12, unique=True))
def test_every_name_is_sendable_distinct_stable_and_mapped_back(names: list[str]) -> None:
    one, other = ToolNames(), ToolNames()
    wires = [one.wire(name) for name in names]
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", wire) for wire in wires)
    assert len(set(wires)) == len(names)
    assert [one.real(wire) for wire in wires] == names
    assert [one.wire(name) for name in names] == wires
    assert sorted(other.wire(name) for name in reversed(names)) == sorted(wires)


def test_a_good_name_is_sent_as_it_is_and_a_bad_one_keeps_its_good_part() -> None:
    names = ToolNames()
    assert names.wire("files__read") == "files__read"
    assert re.fullmatch(r"files_read_[0-9a-f]{8}", names.wire("files.read"))
    assert names.real("never_sent") == "never_sent"


def test_a_name_that_looks_like_a_mapped_one_does_not_take_its_place() -> None:
    names = ToolNames()
    mapped = names.wire("files.read")
    assert names.wire(mapped) != mapped
    assert names.real(names.wire(mapped)) == mapped


def test_a_bad_name_is_mapped_in_tools_and_history_alike() -> None:
    body = encode(
        Encoder(Dialect()),
        Request(Transcript(turn(name="a.b")), "", (ToolSpec("a.b", "", {}), ToolSpec("a_b", "", {}))),
    )
    wire = body["tools"][0]["function"]["name"]
    assert wire not in ("a.b", "a_b")
    assert body["messages"][0]["tool_calls"][0]["function"]["name"] == wire
    assert body["messages"][1]["name"] == wire


def test_what_a_server_wants_to_see_again_goes_back_with_its_call() -> None:
    encoder = Encoder(Dialect())
    encoder.extras["a"] = {"google": {"thought_signature": "abc"}}
    encoder.extras |= {f"old{at}": 1 for at in range(10_000)}
    call = encode(encoder, Request(Transcript(turn())))["messages"][0]["tool_calls"][0]
    assert call["extra_content"] == {"google": {"thought_signature": "abc"}}
    encoder.trim_extras()
    assert len(encoder.extras) == 10_000
