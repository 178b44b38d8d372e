"""A step is read the same however it is cut into pieces, and what is no step is told at once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.engine import Assembler, CallDelta, Finished, TextDelta
from agentrt.engines.step import NotAStepError, StepReader

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def pieces(text: str, cuts: list[int]) -> list[str]:
    marks = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in zip(marks, marks[1:], strict=False)]


def read(parts: list[str]) -> tuple[StepReader, list]:
    reader = StepReader("reply")
    return reader, [delta for part in parts for delta in reader.feed(part)]


@given(
    name=TEXT.filter(lambda name: name != "reply" and len(json.dumps(name)) < 300),
    arguments=st.dictionaries(st.text(), JSON, max_size=5),
    cuts=st.lists(st.integers(min_value=0), max_size=40),
    layout=st.sampled_from([None, 2]),
    plain=st.booleans(),
)
def test_any_cutting_of_a_call_folds_to_the_call_as_written(name, arguments, cuts, layout, plain):
    raw = json.dumps(arguments, indent=layout, ensure_ascii=plain)
    text = f'{{"tool": {json.dumps(name, ensure_ascii=plain)}, "arguments": {raw}}}\n'
    reader, deltas = read(pieces(text, cuts))
    assembler = Assembler()
    closed = [at for at in map(assembler.feed, [*deltas, Finished("tool_calls")]) if at is not None]
    call = assembler.answer().calls[0]
    assert (call.name, call.arguments, reader.whole, reader.is_call) == (name, raw, True, True)
    assert closed == [0]


@given(text=TEXT, cuts=st.lists(st.integers(min_value=0), max_size=60), plain=st.booleans())
def test_any_cutting_of_a_reply_decodes_to_its_text(text, cuts, plain):
    written = json.dumps({"tool": "reply", "text": text}, ensure_ascii=plain)
    reader, deltas = read(pieces(written, cuts))
    assert all(isinstance(delta, TextDelta) for delta in deltas)
    assert "".join(delta.text for delta in deltas) == text
    assert (reader.whole, reader.is_call) == (True, False)


def test_a_call_is_told_as_soon_as_its_name_and_its_arguments_come():
    reader = StepReader("reply")
    assert reader.feed('{"tool": "look", "argu') == []
    assert reader.feed('ments": {"a"') == [CallDelta(0, name="look"), CallDelta(0, arguments='{"a"')]
    assert reader.feed(": 1}") == [CallDelta(0, arguments=": 1}")]
    assert not reader.whole
    assert reader.feed("}") == []
    assert reader.whole


def test_a_surrogate_without_its_other_half_does_not_reach_the_text():
    _, deltas = read(['{"tool": "reply", "text": "a\\ud83d', "b\\ude00", '\\ud83d\\u0041 \\ud83d"}'])
    assert "".join(delta.text for delta in deltas) == "a\ufffdb\ufffd\ufffdA \ufffd"


@pytest.mark.parametrize(
    "text",
    [
        "```json\n{}",
        "Hello!",
        "[1]",
        '{"tool": "reply", "arguments": {}}',
        '{"tool": "look", "text": "a"}',
        '{"tool": "look", "arguments": {}} and more',
        '{"tool": "reply", "text": "a"}}',
        '{"tool": "reply", "text": "a\\x"}',
        '{"text": "' + "a" * 500,
    ],
)
def test_what_is_no_step_is_told(text):
    with pytest.raises(NotAStepError):
        read(list(text))


@pytest.mark.parametrize(
    "text", ["", "  ", '{"tool": "look"', '{"tool": "look", "arguments": {"a": "}"', '{"tool": "reply", "text": "a']
)
def test_half_a_step_is_not_whole(text):
    reader, _ = read([text])
    assert not reader.whole
