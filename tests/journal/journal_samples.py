"""Records and sessions to test with."""

from hypothesis import strategies as st

from agentrt.compaction.price import Compacted
from agentrt.compaction.view import Rewrite
from agentrt.engine import Traced
from agentrt.journal.records import (
    Accepted,
    Answered,
    Asked,
    Cleared,
    Closed,
    Compaction,
    Ended,
    InDoubt,
    Intended,
    Landed,
    Reconciled,
    Said,
    Spilled,
    Started,
)
from agentrt.journal.store import SessionInfo
from agentrt.types import Assistant, Media, ToolCall, ToolResult, Usage, User


def info(name, *, title="", tenant=""):
    return SessionInfo(name, title, "scripted", 0.0, 0.0, 0, tenant=tenant)


def said(text):
    return Said(User(text))


def answered(text, *calls):
    return Answered(Assistant(text, calls, finish="tool_calls" if calls else "stop"))


def landed(call_id, text="ok", **more):
    return Landed(ToolResult(call_id, "look", text, **more))


def ended(reason="done"):
    return Ended(reason, 1, 0, Usage(), 0.5)


def turn(number, text="ok"):
    """A whole turn with one call."""
    name = f"call_{number}"
    return [
        Asked(number, "0" * 64),
        answered("", ToolCall(name, "look", '{"at": "the sky"}')),
        Intended(name, "look", "python", "unsafe", "k" * 32, "0" * 64),
        Started(name),
        landed(name, text),
        Closed(()),
    ]


texts = st.text(st.characters(codec=None), max_size=20)  # lone surrogates and NULs included
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
media = st.builds(Media, texts, st.binary(max_size=20))
usages = st.builds(Usage, st.integers(0), st.integers(0), st.integers(0), st.none() | st.floats(0, 10))
users = st.builds(User, texts, st.lists(media, max_size=2).map(tuple))
tool_calls = st.builds(ToolCall, texts, texts, texts)
results = st.builds(
    ToolResult, texts, texts, texts, st.booleans(), json_values, st.lists(media, max_size=2).map(tuple), texts
)
assistants = st.builds(
    Assistant,
    texts,
    st.lists(tool_calls, max_size=2).map(tuple),
    texts,
    st.sampled_from(["stop", "tool_calls", "length", "content_filter"]),
    usages,
)
token_ids = st.lists(st.integers(0, 2**18), max_size=3).map(tuple)
rewrites = st.builds(
    Rewrite, st.integers(0), st.integers(0), st.lists(users).map(tuple), st.lists(results, max_size=2).map(tuple)
)
cuts = st.builds(Compacted, *[st.integers(0)] * 6, st.floats(0, 1e6), st.floats(-1e6, 1e6), texts, usages)
records = st.one_of(
    st.builds(Said, users),
    st.builds(Asked, st.integers(1), texts),
    st.builds(Answered, assistants),
    st.builds(Intended, texts, texts, texts, st.sampled_from(["read", "idempotent", "unsafe"]), texts, texts),
    st.builds(Traced, token_ids, token_ids, st.lists(st.floats(-1e3, 0), max_size=3).map(tuple), st.integers(0)),
    st.builds(Started, texts),
    st.builds(Spilled, texts, texts),
    st.builds(Accepted, texts, texts),
    st.builds(Landed, results),
    st.builds(InDoubt, results),
    st.builds(Reconciled, results),
    st.builds(Cleared, texts),
    st.builds(Closed, st.lists(results, max_size=2).map(tuple)),
    st.builds(Compaction, rewrites, cuts),
    st.builds(Ended, texts, st.integers(0), st.integers(0), usages, st.floats(0, 1e6)),
)
