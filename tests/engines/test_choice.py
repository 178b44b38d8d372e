"""How a conversation is put to a small model: it only grows at its end, and every template can take it."""

import json

from agentrt import Assistant, Media, Request, ToolCall, ToolResult, ToolSpec, Transcript, User
from agentrt.engines.choice import messages, reply_bias, reply_name, step_schema, system_prompt, tool_line

LOOK = ToolSpec(
    "look",
    "Look at a place.\nSlowly.",
    {
        "type": "object",
        "properties": {
            "place": {
                "type": "string",
                "description": "Name of the place (e.g., 'Oslo', 'Rome'), as people say it. Use 'here' if unsure.",
            },
            "unit": {"$ref": "#/$defs/Unit"},
        },
        "required": ["place"],
        "$defs": {"Unit": {"enum": ["C", "F"], "description": "Unit."}},
    },
)


def asked(transcript: Transcript, tools=(LOOK,), instructions: str = "") -> list[dict[str, str]]:
    return messages(Request(transcript, instructions, tuple(tools)), reply_name(tools))


def called(text: str = "", *arguments: str) -> Assistant:
    return Assistant(text, tuple(ToolCall(str(at), "look", raw) for at, raw in enumerate(arguments)))


def test_a_tool_is_one_line_with_the_first_sentence_of_what_each_argument_is_and_no_samples():
    line = (
        '- look(place: string (Name of the place, as people say it), unit?: "C" | "F" (Unit)): Look at a place. Slowly.'
    )
    assert tool_line(LOOK) == line


def test_a_long_description_is_cut():
    assert len(tool_line(ToolSpec("look", "word " * 1000, {"type": "object"}))) < 450


def test_the_conversation_only_grows_at_its_end():
    transcript = Transcript([User("Look at Oslo.")])
    first = asked(transcript)
    transcript.close_turn(called("", '{"place": "Oslo"}'), [ToolResult("0", "look", "snow")])
    second = asked(transcript)
    transcript.close_turn(Assistant("Snow."), [])
    transcript.say(User("Thanks"))
    third = asked(transcript)
    assert second[: len(first)] == first
    assert third[: len(second)] == second
    assert [message["role"] for message in third[1:]] == ["user", "assistant"] * (len(third) // 2 - 1) + ["user"]
    assert third[-4:] == [
        {"role": "assistant", "content": '{"tool": "look", "arguments": {"place": "Oslo"}}'},
        {"role": "user", "content": "Result of look:\nsnow\n(The user asked: Look at Oslo.)"},
        {"role": "assistant", "content": '{"tool": "reply", "text": "Snow."}'},
        {"role": "user", "content": "Thanks"},
    ]


def test_calls_side_by_side_are_shown_one_after_another_with_their_results():
    transcript = Transcript([User("Oslo and Rome")])
    answer = called("I look.", '{"place": "Oslo"}', '{"place": "Rome"}')
    transcript.close_turn(answer, [ToolResult("0", "look", "snow"), ToolResult("1", "look", "lost", error=True)])
    assert [message["content"] for message in asked(transcript)[-4:]] == [
        '{"tool": "reply", "text": "I look."}\n{"tool": "look", "arguments": {"place": "Oslo"}}',
        "Result of look:\nsnow\n(The user asked: Oslo and Rome)",
        '{"tool": "look", "arguments": {"place": "Rome"}}',
        "Error of look:\nlost\n(The user asked: Oslo and Rome)",
    ]


def test_roles_alternate_whatever_the_transcript():
    transcript = Transcript(
        [User("a"), User("b"), Assistant("c"), Assistant("d"), User("e", (Media("image/png", b""),))]
    )
    for tools in ((LOOK,), ()):
        roles = [message["role"] for message in asked(transcript, tools, "Be kind.")]
        assert roles[0] == "system"
        assert all(one != other for one, other in zip(roles, roles[1:], strict=False))
    assert "image/png" in asked(transcript)[-1]["content"]


def test_without_tools_the_model_sees_plain_words_alone():
    assert asked(Transcript([User("Hi")]), ()) == [{"role": "user", "content": "Hi"}]
    assert asked(Transcript([User("Hi")]), (), "Be kind.")[0] == {"role": "system", "content": "Be kind."}


def test_the_instructions_and_the_tools_are_in_the_system_prompt():
    prompt = system_prompt(Request(Transcript(), "Be kind.", (LOOK,)), "reply")
    assert prompt.endswith("Be kind.")
    assert tool_line(LOOK) in prompt


def test_a_tool_called_reply_keeps_its_name():
    tools = (ToolSpec("reply", "Post a reply.", {"type": "object", "properties": {"id": {"type": "string"}}}),)
    assert reply_name(tools) == "reply_"
    options = step_schema(tools, "reply_")["anyOf"]
    assert [option["properties"]["tool"]["enum"] for option in options] == [["reply"], ["reply_"]]
    assert [list(option["properties"]) for option in options] == [["tool", "arguments"], ["tool", "text"]]


def test_the_step_can_be_asked_for_with_hardly_any_schema():
    plain = step_schema((LOOK,), "reply", shaped=False)
    assert plain["anyOf"][0]["properties"]["arguments"] == {"type": "object"}
    assert json.dumps(step_schema((LOOK,), "reply")).count("place") == 2


def test_the_reply_is_favoured_when_the_user_spoke_and_not_when_a_tool_did():
    transcript = Transcript([User("Look")])
    assert (
        reply_bias(transcript)
        > 0
        > reply_bias(Transcript([User("Look"), called("", "{}"), ToolResult("0", "look", "snow")]))
    )
    assert reply_bias(Transcript()) > 0
