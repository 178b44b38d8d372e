import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.engines.http1_parse import body_of, parse_head
from agentrt.engines.transport import BadResponse

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(data) + 1) for cut in cuts})
    return [piece for start, end in zip([0, *at], [*at, len(data)], strict=True) if (piece := data[start:end])]


def read(head: bytes, pieces: list[bytes]) -> tuple[bytes, bytes, bool]:
    """The content, the bytes behind the body, and whether the body is whole."""
    body = body_of(parse_head(head))
    content, rest = b"", b""
    for piece in pieces:
        if body.done:
            rest += piece
            continue
        got, rest = body.feed(piece)
        content += got
    return content, rest, body.done


def test_a_head_gives_status_and_fields_in_lower_case() -> None:
    head = parse_head(b"HTTP/1.1 429 Too Many\r\nRetry-After:  7\r\nX-A: 1\r\nx-a: 2")
    assert (head.status, dict(head.headers), head.keep_alive) == (429, {"retry-after": "7", "x-a": "1, 2"}, True)


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close", False),
        (b"HTTP/1.0 200 OK", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive", True),
        (b"HTTP/1.1 200", True),
    ],
)
def test_a_connection_is_kept_as_the_answer_says(head: bytes, keeps: bool) -> None:
    assert parse_head(head).keep_alive is keeps


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 200 OK\r\n folded: x",
        b"HTTP/1.1 200 OK\r\nbad name: x",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\n: empty",
    ],
)
def test_what_is_not_http_is_refused(head: bytes) -> None:
    with pytest.raises(BadResponse):
        parse_head(head)


@pytest.mark.parametrize(
    "field", [b"Content-Length: -1", b"Content-Length: 1, 2", b"Transfer-Encoding: gzip", b"Content-Encoding: br"]
)
def test_a_framing_that_is_not_understood_is_refused(field: bytes) -> None:
    with pytest.raises(BadResponse):
        body_of(parse_head(b"HTTP/1.1 200 OK\r\n" + field))


@given(st.lists(st.binary(min_size=1, max_size=40) | st.just(b"a\r\n0\r\n\r\n"), max_size=6), st.lists(st.integers(0)))
def test_any_cutting_of_a_chunked_body_gives_the_same_content(contents: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(b"%x;note=1\r\n%b\r\n" % (len(content), content) for content in contents) + b"0\r\nA: b\r\n\r\nrest"
    assert read(CHUNKED, in_pieces(wire, cuts)) == (b"".join(contents), b"rest", True)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0)))
def test_a_chunked_body_that_is_cut_is_not_whole(contents: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(b"%X\r\n%b\r\n" % (len(content), content) for content in contents) + b"0\r\n\r\n"
    content, rest, whole = read(CHUNKED, in_pieces(wire[:-1], cuts))
    assert (content, rest, whole) == (b"".join(contents), b"", False)


@pytest.mark.parametrize(
    "wire",
    [
        b"0x1\r\na\r\n",
        b"+1\r\na\r\n",
        b"1_0\r\naaaaaaaaaaaaaaaa\r\n",
        b"1\r\nab\r\n",
        b"\r\n",
        b"1" * 20_000,
        b"ffffffffffffffff\r\n",
        b"0\r\n" + b"x" * 20_000,
    ],
)
def test_a_chunk_that_is_none_is_refused(wire: bytes) -> None:
    with pytest.raises(BadResponse):
        read(CHUNKED, [wire])
    with pytest.raises(BadResponse):
        read(CHUNKED, [wire[at : at + 1] for at in range(len(wire))])


@given(st.binary(max_size=40), st.lists(st.integers(0)))
def test_a_body_of_known_length_ends_there(content: bytes, cuts: list[int]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d" % len(content)
    assert read(head, in_pieces(content + b"rest", cuts)) == (content, b"rest", True)


def test_a_body_of_unknown_length_ends_with_the_connection() -> None:
    body = body_of(parse_head(b"HTTP/1.0 200 OK"))
    assert (body.feed(b"abc"), body.done, body.ends_here()) == ((b"abc", b""), False, True)


def test_answers_without_a_body_are_whole_at_once() -> None:
    assert body_of(parse_head(b"HTTP/1.1 204 No Content")).done
    assert body_of(parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 0")).done
