"""Compaction in the journal: the same bytes after any crash, and nothing of the history lost."""

from __future__ import annotations

import pytest

from agentrt import Compaction, Request
from agentrt.compaction.price import Compacted
from agentrt.compaction.view import Rewrite
from agentrt.conversation import Conversation
from agentrt.journal import JournalError, Session, fold, fork
from agentrt.journal import records as kinds
from agentrt.journal.chaos import FailingStore
from agentrt.journal.memory import MemoryStore
from agentrt.journal.records import dump, load
from agentrt.journal.sqlite import SqliteStore
from tests.compaction.compaction_kit import SUMMARY, Heard, Model, World, agent, payments, prompt_text

pytestmark = pytest.mark.anyio

COUNT = 26
TIGHT = 2_600
ASKED = "Pay each person once."


def sent(session: Conversation) -> list[str]:
    return prompt_text(Request(session.view))


async def test_a_resumed_session_sends_the_very_bytes_of_before() -> None:
    store, model = MemoryStore(), Model(payments(COUNT), context=TIGHT)
    session = await Session.begin(store)
    await agent(model, World()).run(ASKED, session=session)
    assert model.summaries
    again = await Session.resume(store, session.id)
    assert sent(again) == sent(session) != prompt_text(Request(session.transcript))
    assert list(again.transcript) == list(session.transcript)


async def test_the_hash_of_the_prompt_is_that_of_what_was_sent() -> None:
    """What is asked next in a session that goes on, and in one that was resumed, has one hash."""
    hashes = []
    for resumed in (False, True):
        store, model, world = MemoryStore(), Model(payments(COUNT), context=TIGHT), World()
        session = await Session.begin(store)
        await agent(model, world).run(ASKED, session=session)
        if resumed:
            session = await Session.resume(store, session.id)
        await agent(model, world).run("Thank you.", session=session)
        records = await store.read(session.id)
        hashes.append([record.prompt_hash for record in records if isinstance(record, kinds.Asked)])
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == len(hashes[0])


async def test_the_whole_history_stays_and_a_fork_before_the_cut_is_uncut() -> None:
    store, model = MemoryStore(), Model(payments(COUNT), context=TIGHT)
    session = await Session.begin(store)
    await agent(model, World()).run(ASKED, session=session)
    records = await store.read(session.id)
    assert sum(isinstance(record, kinds.Landed) for record in records) == COUNT
    at = next(at for at, record in enumerate(records) if isinstance(record, kinds.Compaction))
    turns = sum(isinstance(record, kinds.Answered) for record in records[:at])
    before = await Session.held(store, await fork(store, session.id, turns))
    assert before.view is before.transcript
    after = await Session.held(store, await fork(store, session.id, turns + 1))
    assert len(after.view) < len(after.transcript) == len(before.transcript) + 2


@pytest.mark.parametrize("lost_answer", [False, True], ids=["not written", "answer lost"])
async def test_whichever_write_fails_nobody_is_paid_twice_and_the_summary_is_at_most_asked_again(
    lost_answer: bool,
) -> None:
    number, whole = 0, False
    while not whole:
        number += 1
        disk: dict[str, object] = {}
        world, model = World(), Model(payments(16), context=1_500)
        store = FailingStore(MemoryStore(disk), number, lost_answer=lost_answer)  # type: ignore[arg-type]
        try:
            await agent(model, world).run(ASKED, session=await Session.begin(store))
            whole = True
        except JournalError:
            pass
        sound = MemoryStore(disk)  # type: ignore[arg-type]
        found = await sound.find()
        if found and not whole:
            session = await Session.resume(sound, found[0].id)
            prompt = None if len(session.transcript) else ASKED
            result = await agent(model, world).run(prompt, session=session)
            assert result.reason == "done"
            assert sent(await Session.resume(sound, session.id)) == sent(session)
        if found:
            in_doubt = "whether it took effect is unknown" in "".join(prompt_text(model.requests[-1]))
            assert len(set(world.paid)) == len(world.paid)
            assert len(world.paid) >= 16 - in_doubt
            assert 1 <= model.summaries <= 3
    assert number > 16


async def test_a_process_that_dies_between_the_summary_and_its_record_asks_for_it_again() -> None:
    store, world, model = MemoryStore(), World(), Model(payments(COUNT), context=TIGHT)
    session = await Session.begin(store)

    class Died(BaseException):
        pass

    async def compact(rewrite: Rewrite, told: Compacted) -> None:
        raise Died

    session.compact = compact  # type: ignore[method-assign]
    with pytest.raises(Died):
        await agent(model, world).run(ASKED, session=session)
    assert model.summaries == 1
    again = await Session.resume(store, session.id)
    assert again.view is again.transcript
    assert (await agent(model, world).run(None, session=again)).reason == "done"
    assert world.paid == [step[1]["to"] for step in payments(COUNT)]


async def test_results_that_were_shortened_can_be_read_after_a_resume() -> None:
    store, heard = MemoryStore(), Heard()
    model = Model([("look", {"at": f"place number {number:02}"}) for number in range(12)])
    session = await Session.begin(store)
    ours = agent(model, World(2_000), Compaction(keep_turns=2, turns_ahead=200))
    await ours.run("Look at each.", session=session, emit=heard)
    assert heard.cuts[0].shortened
    again = await Session.resume(store, session.id)
    assert set(again.handles) == set(session.handles)
    texts = [await again.kept(handle) for handle in again.handles]
    assert all(text.startswith("place number") for text in texts)


async def test_by_hand_the_session_is_at_rest_again_and_its_tokens_are_in_the_journal() -> None:
    store, model = MemoryStore(), Model(payments(12), knows=False)
    session = await Session.begin(store)
    ours = agent(model, World())
    await ours.run(ASKED, session=session)
    told = await ours.compact(session)
    assert told is not None
    records = await store.read(session.id)
    ended = records[-1]
    assert isinstance(ended, kinds.Ended)
    assert (ended.reason, ended.usage) == ("compacted", told.usage)
    assert (await store.lookup(session.id)).state == "idle"


async def test_the_record_is_the_same_after_it_was_written_and_read(tmp_path: object) -> None:
    store, model = SqliteStore(tmp_path / "s.db"), Model(payments(COUNT), context=TIGHT)  # type: ignore[operator]
    session = await Session.begin(store)
    await agent(model, World()).run(ASKED, session=session)
    records = await store.read(session.id)
    cuts = [record for record in records if isinstance(record, kinds.Compaction)]
    assert cuts
    assert SUMMARY in cuts[0].rewrite.instead[0].text
    assert [load(dump(cut)) for cut in cuts] == cuts
    folded = fold(records)
    assert folded.view is not None
    assert prompt_text(Request(folded.view)) == sent(session)
    await store.aclose()
