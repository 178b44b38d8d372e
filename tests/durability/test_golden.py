"""A journal gives back, byte by byte, what the model was asked; also one that an earlier version wrote."""

import json
from pathlib import Path

import pytest

from agentrt import Agent, Media, ToolResult, User, tool
from agentrt.engine import Request
from agentrt.engines.scripted import ScriptedEngine, call, calls
from agentrt.engines.wire import Dialect, Encoder
from agentrt.journal import Session, export, fold, fork, restore
from agentrt.journal.records import Asked, Closed, load
from agentrt.journal.sqlite import SqliteStore
from agentrt.types import Assistant

pytestmark = pytest.mark.anyio

DIALECTS = [Dialect(), Dialect(vision=True, reasoning_field="reasoning_content", strict_tools=True)]
PIXEL = Media("image/png", b"\x89PNG\r\n\x1a\n")


def encoded(request, encoder=None, dialect=DIALECTS[0]):
    return b"".join((encoder or Encoder(dialect)).body(request, "model", ask_usage=True))


class Recorded(ScriptedEngine):
    """Keeps the bytes that each dialect's endpoint would have been sent, made as an engine makes them: by adding."""

    def __init__(self, script):
        super().__init__(script)
        self.encoders = [Encoder(dialect) for dialect in DIALECTS]
        self.sent = []

    async def stream(self, request):
        self.sent.append([encoded(request, encoder) for encoder in self.encoders])
        async for delta in super().stream(request):
            yield delta


def tools():
    @tool(read_only=True)
    def look(at: str) -> list[str | Media]:
        """Look."""
        return [f"this is {at}", PIXEL]

    @tool(read_only=True)
    def again() -> dict[str, float]:
        """Say the same thing every time."""
        return {"Kälte": -0.0, "x": 1e300}

    @tool
    def pay(to: str) -> str:
        """Pay."""
        if to == "nobody":
            raise ValueError("nobody is no one\ud800")
        return f"paid {to}"

    return [look, again, pay]


SCRIPT = [
    calls(call("look", {"at": "the sky ☀"}), call("pay", {"to": "ann"}), call("pay", {"to": "nobody"}), text="so"),
    *[calls(call("again", {}))] * 4,  # the third time the model is told so
    calls(call("unheard", {}), call("pay", '{"to": 5}'), call("pay", '```json\n{"to": "bob",}\n```')),
    Assistant("half \udc80 of it", finish="length", reasoning="hm"),
    Assistant("all done", reasoning="thought about it"),
]


async def recorded(store):
    """A long conversation, and what the engine was sent in it."""
    engine = Recorded(SCRIPT)
    agent = Agent(engine, tools=tools(), instructions="Be brief. ✓")
    session = await Session.begin(store)
    await agent.run(User("go\u2028on", (PIXEL,)), session=session)
    await agent.run("and now?", session=session)
    return session, engine


async def test_every_prompt_is_found_again_in_the_journal_byte_by_byte(tmp_path):
    store = SqliteStore(tmp_path / "s.db", synchronous="NORMAL")
    session, engine = await recorded(store)
    await store.aclose()
    store = SqliteStore(tmp_path / "s.db")
    records = await store.read(session.id)
    asked = [at for at, record in enumerate(records) if isinstance(record, Asked)]
    assert len(asked) == len(engine.sent) == len(SCRIPT)
    specs = engine.requests[-1].tools
    for at, sent in zip(asked, engine.sent, strict=True):
        transcript = fold(records[:at]).transcript
        request = Request(transcript, "Be brief. ✓", specs)
        assert [encoded(request, dialect=dialect) for dialect in DIALECTS] == sent
    assert list(fold(records).transcript) == list(session.transcript)
    await store.aclose()


async def test_an_export_and_a_fork_give_the_same_prompt(tmp_path):
    store = SqliteStore(tmp_path / "s.db", synchronous="NORMAL")
    session, _ = await recorded(store)
    whole = encoded(Request(session.transcript))
    restored = await restore(store, await export(store, session.id))
    assert encoded(Request(fold(await store.read(restored.session_id)).transcript)) == whole
    forked = await fork(store, session.id)
    assert encoded(Request(fold(await store.read(forked.session_id)).transcript)) == whole
    turns = [await fork(store, session.id, turn) for turn in range(1, len(SCRIPT) + 1)]
    for turn, lease in enumerate(turns, 1):
        part = fold(await store.read(lease.session_id)).transcript
        assert whole.startswith(encoded(Request(part))[:-2])  # without the end of the list and of the object
        assert sum(isinstance(message, Assistant) for message in part) == turn
    await store.aclose()


GOLDEN = Path(__file__).with_name("golden.jsonl")
GOLDEN_MESSAGES = [
    {"role": "user", "content": "pay ann and bob"},
    {
        "role": "assistant",
        "content": "on it",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "pay", "arguments": '{"to": "ann"}'}},
            {"id": "call_2", "type": "function", "function": {"name": "pay", "arguments": '{"to": "bob"}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "name": "pay", "content": "paid ann"},
    {"role": "tool", "tool_call_id": "call_2", "name": "pay", "content": "who knows (again)"},
]


def test_a_journal_of_the_first_form_gives_the_prompt_that_it_always_gave():
    records = [load(line) for line in GOLDEN.read_text().splitlines()]
    assert len({type(record) for record in records}) == 10  # each kind but Landed, which has the form of others
    body = json.dumps({"model": "model", "stream": True, "messages": GOLDEN_MESSAGES}, separators=(",", ":"))
    transcript = fold(records).transcript
    assert b"".join(Encoder(Dialect()).body(Request(transcript), "model", ask_usage=False)) == body.encode()
    assert transcript[2] == ToolResult("call_1", "pay", "paid ann", data={"type": "receipt", "no": [1]})
    assert isinstance(records[-2], Closed)
