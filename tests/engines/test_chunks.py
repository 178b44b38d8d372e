import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.engine import Assembler, CallDelta, Finished, ReasoningDelta, TextDelta
from agentrt.engines.chunks import Chunks, ServerFault, fault_in, read_usage
from agentrt.engines.sse import EventStream
from agentrt.types import Assistant, ToolCall, Usage
from tests.model_server import call, call_chunk, chunk, event, usage, words


def fold(*steps: bytes, batch: bool = True) -> Assistant:
    """What comes of the chunks, taken together or one by one."""
    chunks, assembler = Chunks(), Assembler()
    for payload in EventStream().feed(b"".join(steps)):
        chunks.read(payload)
        if not batch:
            for delta in chunks.take():
                assembler.feed(delta)
    for delta in chunks.take():
        assembler.feed(delta)
    if chunks.finish:
        assembler.feed(Finished(chunks.finish, read_usage(chunks.usage)))
    return assembler.answer()


def calls(*steps: bytes) -> list[tuple[str, str, str]]:
    answer = fold(*steps)
    assert fold(*steps, batch=False) == answer
    return [(made.id, made.name, made.arguments) for made in answer.calls]


OSLO, ROME = '{"city":"Oslo"}', '{"city":"Rome"}'


def test_text_reasoning_and_calls_fold_into_one_answer() -> None:
    answer = fold(
        chunk({"role": "assistant", "content": None}),
        chunk({"reasoning_content": "Hm, "}),
        chunk({"reasoning": "weather."}),
        *words("Let me see."),
        *call(0, "a", "weather", OSLO),
        chunk(finish="tool_calls"),
        usage(7, 5, cached=3),
    )
    made = (ToolCall("a", "weather", OSLO),)
    assert answer == Assistant("Let me see.", made, "Hm, weather.", "tool_calls", Usage(7, 5, 3))


def test_a_server_that_says_its_reasoning_twice_is_heard_once() -> None:
    assert fold(chunk({"reasoning_content": "Hm", "reasoning": "Hm"})).reasoning == "Hm"


def test_interleaved_calls_fold_by_index() -> None:
    assert calls(
        call_chunk(0, call_id="a", name="weather"),
        call_chunk(1, call_id="b", name="weather"),
        call_chunk(1, ROME[:5]),
        call_chunk(0, OSLO[:7]),
        call_chunk(1, ROME[5:]),
        call_chunk(0, OSLO[7:]),
    ) == [("a", "weather", OSLO), ("b", "weather", ROME)]


def test_calls_that_come_out_of_order_keep_their_index() -> None:
    second, first = call(1, "b", "weather", ROME), call(0, "a", "weather", OSLO)
    assert calls(*second, *first) == [("a", "weather", OSLO), ("b", "weather", ROME)]


def test_a_new_id_and_name_at_a_used_index_is_a_new_call() -> None:
    assert calls(
        call_chunk(0, OSLO, call_id="a", name="weather"),
        call_chunk(0, ROME[:4], call_id="b", name="weather"),
        call_chunk(0, ROME[4:]),
        call_chunk(0, "{}", call_id="c", name="clock"),
        chunk(finish="tool_calls"),
    ) == [("a", "weather", OSLO), ("b", "weather", ROME), ("c", "clock", "{}")]


def test_whole_calls_without_ids_at_one_index_are_told_apart() -> None:
    assert calls(
        call_chunk(0, OSLO, name="weather"),
        call_chunk(0, ROME, name="weather"),
        call_chunk(0, "{}", name="clock"),
        call_chunk(0, "{}", name="clock"),
        chunk(finish="stop"),
    ) == [
        ("call_1", "weather", OSLO),
        ("call_2", "weather", ROME),
        ("call_3", "clock", "{}"),
        ("call_4", "clock", "{}"),
    ]


def test_an_id_and_name_repeated_with_every_fragment_stay_one_call() -> None:
    fragments = [call_chunk(0, part, call_id="a", name="weather") for part in (OSLO[:3], OSLO[3:], "")]
    assert calls(*fragments) == [("a", "weather", OSLO)]
    fragments = [call_chunk(0, part, name="weather") for part in (OSLO[:3], OSLO[3:], "")]
    assert [made[1:] for made in calls(*fragments)] == [("weather", OSLO)]


def test_a_fresh_id_on_a_fragment_without_a_name_goes_on_with_the_call() -> None:
    assert calls(call_chunk(0, OSLO[:3], call_id="a", name="weather"), call_chunk(0, OSLO[3:], call_id="z")) == [
        ("a", "weather", OSLO)
    ]


def test_a_missing_index_follows_the_ids() -> None:
    assert calls(
        call_chunk(None, OSLO[:3], call_id="a", name="weather"),
        call_chunk(None, OSLO[3:]),
        call_chunk(None, ROME[:3], call_id="b", name="weather"),
        call_chunk(None, ROME[3:], call_id="b"),
    ) == [("a", "weather", OSLO), ("b", "weather", ROME)]


@pytest.mark.parametrize("parts", [("{}", OSLO), ("{}", OSLO[:4], OSLO[4:]), ("", "{}", OSLO)])
def test_real_arguments_replace_an_empty_object_that_held_their_place(parts: tuple[str, ...]) -> None:
    steps = [call_chunk(0, parts[0], call_id="a", name="weather"), *(call_chunk(0, part) for part in parts[1:])]
    assert calls(*steps, chunk(finish="tool_calls")) == [("a", "weather", OSLO)]


def test_an_empty_object_counts_when_nothing_else_comes() -> None:
    steps = [call_chunk(0, "{}", call_id="a", name="clock"), call_chunk(1, OSLO, call_id="b", name="weather")]
    assert calls(*steps, chunk(finish="tool_calls")) == [("a", "clock", "{}"), ("b", "weather", OSLO)]


def test_arguments_that_are_an_object_already_become_text() -> None:
    assert calls(call_chunk(0, {"city": "Oslo"}, call_id="a", name="weather")) == [("a", "weather", OSLO)]


def test_the_function_call_of_old_is_a_call() -> None:
    answer = fold(
        chunk({"function_call": {"name": "weather", "arguments": OSLO[:3]}}),
        chunk({"function_call": {"arguments": OSLO[3:]}}),
        chunk(finish="function_call"),
    )
    assert (answer.calls, answer.finish) == ((ToolCall("call_1", "weather", OSLO),), "tool_calls")


def whole(message: dict[str, Any]) -> bytes:
    return event({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


def test_a_whole_message_counts_where_no_delta_came() -> None:
    made = [{"id": "a", "type": "function", "function": {"name": "weather", "arguments": OSLO}}]
    answer = fold(whole({"role": "assistant", "content": "See:", "tool_calls": made}))
    assert answer == Assistant("See:", (ToolCall("a", "weather", OSLO),), finish="stop")
    assert fold(*words("See:"), whole({"role": "assistant", "content": "See:"})).text == "See:"


def test_content_in_parts_is_text_and_reasoning() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    answer = fold(chunk({"content": [thinking, {"type": "text", "text": "Yes."}, 5]}))
    assert (answer.reasoning, answer.text) == ("Hm.", "Yes.")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("STOP", "stop"),
        ("end_turn", "stop"),
        ("tool_calls", "tool_calls"),
        ("tool_use", "tool_calls"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("content_filter", "content_filter"),
        ("abort", "cut"),
        ("", "cut"),
        (7, "cut"),
    ],
)
def test_the_reason_to_stop_is_understood(said: object, meant: str) -> None:
    assert fold(*words("Yes."), event({"choices": [{"delta": {}, "finish_reason": said}]})).finish == meant


def test_usage_may_come_with_any_chunk_and_the_last_counts() -> None:
    steps = [chunk({"content": "Y"}, usage={"prompt_tokens": 3, "completion_tokens": 1}), chunk(finish="stop")]
    assert fold(*steps, usage(3, 2)).usage == Usage(3, 2)


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (None, Usage()),
        ({"prompt_tokens": 9, "completion_tokens": 2, "cached_tokens": 4}, Usage(9, 2, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}, Usage(9, 2, 4)),
        ({"prompt_tokens": "many", "completion_tokens": -1, "prompt_tokens_details": None}, Usage()),
    ],
)
def test_usage_is_read_wherever_it_stands(raw: dict[str, Any] | None, read: Usage) -> None:
    assert read_usage(raw) == read


@pytest.mark.parametrize(
    ("value", "message", "status"),
    [
        ({"error": {"message": "no memory", "code": 500}}, "no memory", 500),
        ({"error": {"message": "no key", "code": "401"}}, "no key", 401),
        ({"error": {"message": "busy", "code": "rate_limit"}}, "busy", 0),
        ({"error": "no memory"}, "no memory", 0),
        ({"object": "error", "message": "too long", "code": 400}, "too long", 400),
        ({"message": "too long", "type": "x", "code": 400}, "too long", 400),
        ({"detail": "Not Found"}, "Not Found", 0),
        ({"error": {"message": "late"}, "choices": [{"delta": {}, "finish_reason": "error"}]}, "late", 0),
        ({"error": {}}, "{}", 0),
    ],
)
def test_an_error_is_heard_in_any_shape(value: Any, message: str, status: int) -> None:
    with pytest.raises(ServerFault) as caught:
        Chunks().read(orjson.dumps(value))
    assert (str(caught.value), caught.value.status) == (message, status)


@pytest.mark.parametrize("value", [{"choices": []}, {"choices": [], "error": None}, {"type": "ping"}])
def test_chunks_that_say_nothing_are_no_error(value: dict[str, Any]) -> None:
    assert fault_in(value) is None
    assert fold(event(value)) == Assistant(finish="cut")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "index", "id"]
                + ["usage", "error", "code", "finish_reason", "function_call", "reasoning", "thinking", "extra_content"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.lists(JSON, max_size=3))
def test_no_json_whatever_breaks_the_reader(value: Any, deltas: list[Any]) -> None:
    chunks = Chunks()
    for raw in [value, *({"choices": [{"delta": delta}]} for delta in deltas)]:
        with suppress(ServerFault):
            chunks.read(orjson.dumps(raw))
        for delta in chunks.take():
            assert isinstance(delta, TextDelta | ReasoningDelta | CallDelta)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.text(min_size=1, max_size=4)), max_size=20),
    st.lists(st.integers(0), max_size=10),
)
def test_any_interleaving_and_batching_folds_to_the_same_calls(fragments, cuts) -> None:
    expected: dict[int, str] = {}
    steps = [call_chunk(index, call_id=f"id{index}", name=f"tool{index}") for index in range(4)]
    for index, text in fragments:
        expected[index] = expected.get(index, "") + text
        steps.append(call_chunk(index, text))
    steps.append(chunk(finish="tool_calls"))
    assert calls(*steps) == [(f"id{at}", f"tool{at}", expected.get(at, "")) for at in range(4)]


def test_a_fragment_of_a_call_is_one_delta_and_neighbours_in_one_read_are_joined() -> None:
    chunks = Chunks()
    for step in call(0, "a", "weather", OSLO, size=4):
        chunks.read(step[6:])
    assert chunks.take() == [CallDelta(0, "a", "weather", OSLO)]
    chunks.read(chunk({"content": "x"})[6:])
    assert chunks.take() == [TextDelta("x")]
    assert chunks.take() == []


def test_names_are_mapped_back_and_extras_are_kept() -> None:
    extras: dict[str, Any] = {}
    chunks = Chunks({"files_read_1a": "files.read"}.get, extras)
    signed = {"google": {"thought_signature": "abc"}}
    made = {"index": 0, "id": "a", "function": {"name": "files_read_1a", "arguments": ""}, "extra_content": signed}
    chunks.read(json.dumps({"choices": [{"delta": {"tool_calls": [made]}}]}).encode())
    assert chunks.take() == [CallDelta(0, "a", "files.read")]
    assert extras == {"a": signed}
