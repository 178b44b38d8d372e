import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.engines import sse
from agentrt.engines.sse import EventStream


def read(pieces: list[bytes]) -> list[bytes]:
    stream = EventStream()
    return [event for piece in pieces for event in stream.feed(piece)] + stream.close()


TEXT = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)), max_size=12)
BLOCK = st.one_of(
    TEXT.map(lambda text: ([f"data: {text}"], [text])),
    TEXT.map(lambda text: ([f"data:{text}"], [text.removeprefix(" ")])),
    st.tuples(TEXT, TEXT).map(lambda two: ([f"data: {two[0]}", f"data: {two[1]}"], ["\n".join(two)])),
    TEXT.map(lambda text: ([f": {text}"], [])),
    TEXT.map(lambda text: (["event: message", "id: 1", f"data: {text}", "retry: 3"], [text])),
    TEXT.map(lambda text: ([f"error: {text}"], [text])),
)


@given(
    st.lists(BLOCK, max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0), max_size=12),
    st.booleans(),
    st.booleans(),
)
def test_any_cutting_of_a_stream_gives_the_same_events(blocks, newline, cuts, bom, closed) -> None:
    lines = [line for block, _ in blocks for line in [*block, ""]]
    wire = newline.join([*lines, ""] if closed else lines).encode()
    wire = (b"\xef\xbb\xbf" if bom else b"") + wire
    at = sorted({cut % (len(wire) + 1) for cut in cuts})
    pieces = [wire[start:end] for start, end in zip([0, *at], [*at, len(wire)], strict=True)]
    expected = [event.encode() for _, events in blocks for event in events]
    assert read(pieces) == expected
    assert read([wire[at : at + 1] for at in range(len(wire))]) == expected


def test_an_event_comes_out_as_soon_as_it_is_whole() -> None:
    stream = EventStream()
    assert stream.feed(b"data: 1\n") == []
    assert stream.feed(b"\ndata: 2\n\ndata: 3") == [b"1", b"2"]
    assert stream.feed(b"\n\n") == [b"3"]


def test_the_last_event_needs_no_empty_line() -> None:
    assert read([b"data: 1\n\ndata: [DONE]"]) == [b"1", b"[DONE]"]


def test_comments_without_end_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    stream = EventStream()
    for _ in range(1000):
        assert stream.feed(b": keep-alive\n\n") == []
        assert stream.feed(b": keep-alive\n") == []


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: " + b"x" * 90 + b"\n"])
def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, piece: bytes) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    stream = EventStream()
    for _ in range(10):
        stream.feed(piece)
    with pytest.raises(ValueError, match="larger"):
        stream.feed(piece)
