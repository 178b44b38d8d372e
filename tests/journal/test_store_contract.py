"""What every store promises, asked of each of them."""

import anyio
import pytest
from journal_samples import answered, ended, info, landed, said, turn

from agentrt.journal import JournalError, Session
from agentrt.journal.records import Closed
from agentrt.journal.store import Lease, NotFound
from agentrt.journal.transfer import export, fork, restore
from agentrt.types import Assistant, User

pytestmark = pytest.mark.anyio

LARGE = "long " * 30_000  # more than what SQLite keeps in its rows


async def test_what_is_appended_is_read_in_order_and_numbered_from_one(store):
    lease = await store.create(info("a"))
    assert await store.append(lease, [said("one"), said("two")]) == 2
    assert await store.append(lease, [said("three")]) == 3
    assert await store.read("a") == [said("one"), said("two"), said("three")]
    assert await store.read("a", after=2) == [said("three")]
    assert await store.read("a", after=3) == []


async def test_a_session_may_be_made_with_its_first_records(store):
    await store.create(info("a"), [said("one"), said("two")])
    assert await store.read("a") == [said("one"), said("two")]
    assert (await store.lookup("a")).records == 2


async def test_what_was_acknowledged_is_there_in_a_store_opened_afresh(place):
    first = place.open()
    await first.append(await first.create(info("a")), [said("one"), landed("c", LARGE)])
    assert await place.open().read("a") == [said("one"), landed("c", LARGE)]


@pytest.mark.parametrize("size", [1, 65_000, 66_000, 1_000_000])
async def test_a_record_may_be_of_any_size(store, size):
    lease = await store.create(info("a"))
    await store.append(lease, [landed("c", "ä" * size), landed("d", "ä" * size)])
    assert await store.read("a") == [landed("c", "ä" * size), landed("d", "ä" * size)]


async def test_texts_that_databases_dislike_are_kept_as_they_are(store):
    odd = "nul \0, surrogate \udc80, quote ' \" \\, percent %_!, line\nbreak, 漢字, 🙂"
    lease = await store.create(info("a", title=odd))
    await store.append(lease, [said(odd), landed("c", odd, data={odd: [odd]})])
    assert await store.read("a") == [said(odd), landed("c", odd, data={odd: [odd]})]
    assert "漢字" in (await store.lookup("a")).title


async def test_an_id_is_given_once(store):
    await store.create(info("a"), [said("one")])
    with pytest.raises(JournalError, match="there is a session 'a' already"):
        await store.create(info("a"))
    assert await store.read("a") == [said("one")]


async def test_whoever_takes_a_session_fences_off_the_one_that_had_it(place):
    first, second = place.open(), place.open()
    old = await first.create(info("a"))
    new = await second.take("a")
    with pytest.raises(JournalError, match=r"session 'a' was taken up by somebody else.*--resume a"):
        await first.append(old, [said("zombie")])
    assert await second.append(new, [said("alive")], after=0) == 1
    assert await first.read("a") == [said("alive")]


async def test_a_lease_on_a_deleted_session_does_not_fit_a_new_one_of_that_name(store):
    old = await store.create(info("a"))
    await store.delete("a")
    await store.create(info("a"))
    with pytest.raises(JournalError):
        await store.append(old, [said("zombie")])


@pytest.mark.parametrize("call", ["take", "read", "delete", "lookup"])
async def test_a_session_that_is_not_there_is_an_error_that_names_it(store, call):
    for _ in range(2):  # before anything was made, and after
        with pytest.raises(NotFound, match="there is no session 'nope'"):
            await getattr(store, call)("nope")
        if call != "create":
            await store.create(info(f"other-{_}"))
    with pytest.raises(NotFound):
        await store.append(Lease("nope", 1), [said("one")])


async def test_appending_again_what_is_there_already_writes_it_once(store):
    lease = await store.create(info("a"))
    await store.append(lease, [said("one")], after=0)
    await store.append(lease, [said("two"), landed("c", LARGE)], after=1)  # its answer is lost, say
    assert await store.append(lease, [said("two"), landed("c", LARGE)], after=1) == 3
    assert await store.append(lease, [said("two"), landed("c", LARGE), said("four")], after=1) == 4
    assert await store.read("a") == [said("one"), said("two"), landed("c", LARGE), said("four")]


async def test_appending_behind_records_that_one_does_not_know_is_refused(store):
    lease = await store.create(info("a"))
    await store.append(lease, [said("one"), said("two")])
    with pytest.raises(JournalError, match=r"has 1 records after number 1 that its holder did not write"):
        await store.append(lease, [said("other")], after=1)
    with pytest.raises(JournalError, match="did not write"):
        await store.append(lease, [], after=1)
    with pytest.raises(JournalError, match=r"has 2 records, but 5 were acknowledged"):
        await store.append(lease, [said("six")], after=5)
    assert await store.read("a") == [said("one"), said("two")]


async def test_an_append_that_was_cancelled_is_there_once_after_it_is_repeated(store):
    lease = await store.create(info("a"))
    for number in range(20):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(lambda n=number: store.append(lease, [said(f"text {n}")], after=n))
                for _ in range(number % 7):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
        assert await store.append(lease, [said(f"text {number}")], after=number) == number + 1
    assert await store.read("a") == [said(f"text {number}") for number in range(20)]


async def test_many_sessions_append_at_once_without_a_gap(store):
    leases = [await store.create(info(f"s{number}")) for number in range(20)]
    numbers = {lease.session_id: [] for lease in leases}

    async def write(lease):
        for number in range(10):
            numbers[lease.session_id].append(await store.append(lease, [said(f"text {number}")], after=number))

    async with anyio.create_task_group() as group:
        for lease in leases:
            group.start_soon(write, lease)
    for lease in leases:
        assert numbers[lease.session_id] == list(range(1, 11))
        assert await store.read(lease.session_id) == [said(f"text {number}") for number in range(10)]


async def test_a_bad_append_does_not_harm_the_good_ones_beside_it(store):
    good = await store.create(info("good"))
    stale = await store.create(info("stale"))
    await store.take("stale")
    refused = []

    async def zombie():
        try:
            await store.append(stale, [said("zombie")])
        except JournalError as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(zombie)
            group.start_soon(lambda n=number: store.append(good, [said(f"text {n}")]))
    assert len(refused) == 10
    assert len(await store.read("good")) == 10
    assert await store.read("stale") == []


async def test_lists_show_the_latest_first_and_what_state_each_is_in(store):
    first = await store.create(info("first", title="the first"))
    await store.create(info("second"))
    await store.append(first, [said("one")])
    found = await store.find()
    assert [(item.id, item.title, item.records, item.state) for item in found] == [
        ("first", "the first", 1, "open"),
        ("second", "", 0, "idle"),
    ]
    assert found[0].created <= found[1].created <= found[0].updated
    await store.append(first, [ended()])
    assert [item.state for item in await store.find(limit=1)] == ["idle"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("sky", ["called", "said"]),
        ("SKY", ["called", "said"]),
        ("ärger", ["title"]),
        ("ÄRGER", ["title"]),
        ("straße 5", ["result"]),
        ('a "quoted" 100%', ["result"]),
        ("back\\slash", ["result"]),
        ("needle", ["large"]),
        ("id-of", ["id-of-this"]),
        ("100_", []),
        ("ToolResult", []),  # how records are written is not what they say
        ("call_1", []),
        ("nowhere", []),
    ],
)
async def test_sessions_are_found_by_id_title_and_what_was_said_called_or_answered(store, text, ids):
    await store.create(info("said"), [said("what colour is the Sky?")])
    await store.create(info("called"), turn(1))
    await store.create(info("title", title="Der große Ärger"))
    await store.create(info("result"), [landed("c", 'In der Straße 5: a "quoted" 100% back\\slash\n')])
    await store.create(info("large"), [landed("c", LARGE + "needle")])
    await store.create(info("id-of-this"))
    assert sorted(item.id for item in await store.find(text)) == sorted(ids)


async def test_finding_stops_at_its_limit_with_the_latest(store):
    for number in range(5):
        await store.create(info(f"s{number}"), [said("the same")])
    assert [item.id for item in await store.find("same", limit=2)] == ["s4", "s3"]


async def test_a_session_is_known_by_the_start_or_the_end_of_its_id(store):
    for name in ("20260101-aaa", "20260102-aab", "20260102-bbb", "2026"):
        await store.create(info(name))
    assert (await store.lookup("20260101")).id == "20260101-aaa"
    assert (await store.lookup("bbb")).id == "20260102-bbb"
    assert (await store.lookup("2026")).id == "2026"  # an id in full means itself
    with pytest.raises(NotFound, match=r"'20260102' could be several sessions .*: say more of it"):
        await store.lookup("20260102")
    for name in ("20260103", "a%", "", "\udc80\0"):
        with pytest.raises(NotFound):
            await store.lookup(name)


async def test_another_tenants_session_is_as_if_it_were_not_there(store):
    await store.create(info("mine", tenant="me"), [said("secret")])
    await store.create(info("theirs", tenant="them"), [said("secret")])
    assert [item.id for item in await store.find("secret", tenant="me")] == ["mine"]
    assert [item.id for item in await store.find("theirs", tenant="me")] == []
    assert await store.find("secret") == []
    assert len(await store.find("secret", tenant=None)) == 2
    for call in (store.take, store.read, store.delete, store.lookup):
        with pytest.raises(NotFound):
            await call("theirs", tenant="me")
    with pytest.raises(NotFound):
        await fork(store, "theirs", tenant="me")
    with pytest.raises(NotFound):
        await export(store, "theirs", tenant="me")
    assert await store.read("theirs", tenant="them") == [said("secret")]
    assert await store.read("theirs") == [said("secret")]


async def test_a_deleted_session_is_gone_and_its_writer_is_refused(store):
    lease = await store.create(info("a"), [said("one"), landed("c", LARGE)])
    await store.create(info("b"), [landed("c", LARGE)])
    await store.delete("a")
    assert [item.id for item in await store.find()] == ["b"]
    with pytest.raises(NotFound):
        await store.append(lease, [said("two")])
    assert await store.read("b") == [landed("c", LARGE)]


async def test_a_fork_has_everything_up_to_its_turn_and_goes_its_own_way(store):
    lease = await store.create(info("a", title="Skies", tenant="me"))
    talk = [said("hi"), *turn(1, LARGE), answered("blue"), Closed(()), ended(), said("sure?"), *turn(3)]
    await store.append(lease, talk)
    second = await fork(store, "a", 2, tenant="me")
    made = await store.lookup(second.session_id)
    assert (made.title, made.parent, made.tenant, made.records) == ("Skies", "a", "me", 9)
    assert await store.append(second, [said("no")], after=9) == 10
    await store.delete("a")
    assert await store.read(second.session_id) == [*talk[:9], said("no")]


async def test_a_fork_is_at_the_last_finished_turn_unless_told_and_at_no_other(store):
    lease = await store.create(info("a"), [said("hi")])
    with pytest.raises(JournalError, match=r"session 'a' has no turn that is finished"):
        await fork(store, "a")
    await store.append(lease, [*turn(1), said("more"), *turn(2)[:-3]])
    assert len(await store.read((await fork(store, "a")).session_id)) == 7
    for number in (0, 2, -1):
        with pytest.raises(JournalError, match=r"has turns 1 to 1: it can't be forked at"):
            await fork(store, "a", number)


async def test_an_exported_session_is_restored_as_it_was_under_a_new_id(store):
    await store.create(info("a", title="Skies"), [said("hi\n"), *turn(1, LARGE)])
    lines = await export(store, "a")
    assert len(lines) == 8
    lease = await restore(store, lines, tenant="me")
    made = await store.lookup(lease.session_id, tenant="me")
    assert (made.title, made.parent) == ("Skies", "a")
    assert await store.read(lease.session_id) == await store.read("a")


@pytest.mark.parametrize("lines", [[], ["{}"], ["nonsense"], ['{"type":"SessionInfo","id":"a"}', '{"type":"Said"}']])
async def test_what_is_no_export_is_refused_whole(store, lines):
    with pytest.raises(JournalError, match="this is no exported session"):
        await restore(store, lines)
    assert await store.find(tenant=None) == []


async def test_a_session_is_resumed_with_the_same_transcript_and_goes_on(place):
    session = await Session.begin(place.open(), title="hi")
    await session.say(User("hi"))
    session.close(Assistant("hello"), ())
    await session.say(User("more"))
    resumed = await Session.resume(place.open(), session.id)
    assert list(resumed.transcript) == [User("hi"), Assistant("hello"), User("more")]
    await resumed.say(User("and more"))
    with pytest.raises(JournalError, match="taken up by somebody else"):
        await session.say(User("zombie"))


async def test_a_session_whose_commit_was_killed_half_way_does_not_write_twice(place):
    session = await Session.begin(place.open())
    session.note(said("one"))
    commit = session.store.append

    async def cut(*arguments, **named):
        await commit(*arguments, **named)
        raise OSError("the answer was lost")

    session.store.append = cut
    with pytest.raises(OSError, match="the answer was lost"):
        await session.commit()
    session.store.append = commit
    session.note(said("two"))
    await session.commit()
    assert await place.open().read(session.id) == [said("one"), said("two")]
