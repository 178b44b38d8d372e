"""A tool that can be asked afterwards what came of a call, and one that is told the call's key."""

import anyio
import pytest

from agentrt import Agent, Combined, ConfigError, Limits, Prefixed, ToolResult, User, tool
from agentrt.combine import Classified
from agentrt.engines.scripted import ScriptedEngine, call, calls
from agentrt.function import Function, Local
from agentrt.journal import JournalError, Session, fold
from agentrt.journal.chaos import FailingStore
from agentrt.journal.memory import MemoryStore
from agentrt.journal.records import Answered, Cleared, InDoubt, Intended, Landed, Reconciled, Said, Started
from agentrt.journal.store import SessionInfo
from agentrt.toolset import NOT_RUN, Key, Progress

pytestmark = pytest.mark.anyio

PAY = call("pay", {"to": "ann", "amount": 5}, call_id="a")


class Bank:
    """Somewhere that money is sent, each payment under a key."""

    def __init__(self, *keys):
        self.payments = list(keys)

    def pay(self, to: str, key: Key, amount: int = 1) -> str:
        """Pay somebody."""
        self.payments.append(key)
        return f"paid {amount} to {to}"

    def find(self, key: str, to: str, amount: int = 1) -> object:
        return f"paid {amount} to {to}, it turned out" if key in self.payments else NOT_RUN


async def crashed(pay=PAY):
    """A store with a session that was killed while this call was in flight."""
    store = MemoryStore()
    intent = Intended(pay.id, pay.name, "python", "unsafe", "the key", "0" * 64)
    await store.create(
        SessionInfo("s", "", "", 0, 0, 0), [Said(User("go")), Answered(calls(pay)), intent, Started(pay.id)]
    )
    return store


async def resume(store, *tools, limits=None):
    session = await Session.resume(store, "s")
    result = await Agent(ScriptedEngine(["done"]), tools=tools, limits=limits).run(None, session=session)
    assert result.text == "done"
    assert list(fold(await store.read("s")).transcript) == list(result.transcript)
    return result.transcript[2], (await store.read("s"))[4:]


async def test_a_tool_gets_the_key_of_its_call_and_the_model_never_sees_it():
    bank, store = Bank(), MemoryStore()
    session = await Session.begin(store)
    pay = tool(bank.pay)
    assert set(pay.spec().input_schema["properties"]) == {"to", "amount"}
    await Agent(ScriptedEngine([calls(PAY), "done"]), tools=[pay]).run("go", session=session)
    intents = [record for record in await store.read(session.id) if isinstance(record, Intended)]
    assert bank.payments == [intent.key for intent in intents]
    assert len(bank.payments[0]) == 32


async def test_without_a_journal_the_key_is_empty():
    bank = Bank()
    await Agent(ScriptedEngine([calls(PAY), "done"]), tools=[tool(bank.pay)]).run("go")
    assert bank.payments == [""]


async def test_a_key_may_be_optional_and_stand_beside_a_progress_callback():
    seen = []

    @tool
    async def pay(progress: Progress, key: Key | None, to: str, amount: int) -> str:
        """Pay."""
        await progress(1, 1, "on it")
        seen.append(key)
        return "ok"

    await Agent(ScriptedEngine([calls(PAY), "done"]), tools=[pay]).run("go", session=await Session.begin(MemoryStore()))
    assert [len(key) for key in seen] == [32]


@pytest.mark.parametrize("in_loop", [False, True], ids=["sync", "async"])
async def test_what_had_happened_is_told_and_not_done_again(in_loop):
    bank = Bank("the key")

    async def find(key: str, to: str, amount: int = 1) -> object:
        return bank.find(key, to, amount)

    store = await crashed()
    result, records = await resume(store, tool(bank.pay, verify=find if in_loop else bank.find))
    assert result == ToolResult("a", "pay", "paid 5 to ann, it turned out")
    assert records[0] == Reconciled(result)
    assert bank.payments == ["the key"]


async def test_what_had_surely_not_happened_is_done_under_the_same_key():
    bank = Bank()
    result, records = await resume(await crashed(), tool(bank.pay, verify=bank.find))
    assert result == ToolResult("a", "pay", "paid 5 to ann")
    assert records[:3] == [Cleared("a"), Started("a"), Landed(result)]
    assert bank.payments == ["the key"]


async def nobody_knows(key, to, amount=1):
    return None


async def fails(key, to, amount=1):
    raise OSError("the bank is closed")


async def hangs(key, to, amount=1):
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("verify", "why"),
    [
        (nobody_knows, "nobody can tell what came of it"),
        (fails, "asking what came of it failed: OSError('the bank is closed')"),
        (hangs, "no answer within 0.01 s to what came of it"),
    ],
)
async def test_where_nobody_can_tell_the_call_is_in_doubt_and_not_repeated(verify, why):
    bank = Bank()
    result, records = await resume(await crashed(), tool(bank.pay, verify=verify), limits=Limits(call_seconds=0.01))
    assert records[0] == InDoubt(result)
    assert result.error
    assert "whether it took effect is unknown" in result.text
    assert result.details == why
    assert bank.payments == []


async def test_a_crash_between_looking_and_doing_looks_again():
    bank, store = Bank(), await crashed()
    session = await Session.resume(FailingStore(store, 2), "s")
    with pytest.raises(JournalError):
        await Agent(ScriptedEngine(["done"]), tools=[tool(bank.pay, verify=bank.find)]).run(None, session=session)
    assert bank.payments == []
    assert len(await store.read("s")) == 4
    _, records = await resume(store, tool(bank.pay, verify=bank.find))
    assert [type(record) for record in records[:3]] == [Cleared, Started, Landed]
    assert bank.payments == ["the key"]


async def test_a_crash_after_a_cleared_call_started_puts_it_in_question_again():
    bank, store = Bank("the key"), await crashed()
    await store.append(await store.take("s"), [Cleared("a"), Started("a")])
    result, records = await resume(store, tool(bank.pay, verify=bank.find))
    assert records[2] == Reconciled(result)
    assert bank.payments == ["the key"]


async def test_a_method_is_verified_by_a_method():
    class Branch(Bank):
        @staticmethod
        def unused() -> None: ...

        def look(self, key: str, to: str, amount: int) -> object:
            return self.find(key, to, amount)

        @tool(verify=look)
        def send(self, to: str, amount: int) -> str:
            """Send."""
            return "sent"

    branch = Branch("the key")
    send = call("send", {"to": "ann", "amount": 5}, call_id="a")
    result, _ = await resume(await crashed(send), branch.send)
    assert result.text == "paid 5 to ann, it turned out"


async def test_arguments_come_to_verify_as_their_python_types_and_results_go_as_the_tools_own():
    from datetime import date

    seen = []

    async def find(key: str, on: date) -> object:
        seen.append(on)
        return {"day": on}

    @tool(verify=find)
    async def book(on: date) -> dict[str, date]:
        """Book."""
        return {"day": on}

    booked = call("book", {"on": "2026-01-02"}, call_id="a")
    result, _ = await resume(await crashed(booked), book)
    assert seen == [date(2026, 1, 2)]
    assert result.data == {"day": "2026-01-02"}


async def test_what_a_toolset_says_of_another_call_is_filed_under_the_one_that_was_asked_about():
    class Mixed(Local):
        async def outcome(self, call):
            return ToolResult("another", "name", "it did")

    result, _ = await resume(await crashed(), Mixed([Bank().pay]))
    assert result == ToolResult("a", "pay", "it did")


async def test_a_long_outcome_is_spilled_as_a_long_result_is():
    def find(key: str, to: str, amount: int = 1) -> str:
        return "x" * 5_000

    result, _ = await resume(await crashed(), tool(Bank().pay, verify=find), limits=Limits(result_chars=1_000))
    assert len(result.text) < 1_500
    assert "Read on with read_result" in result.text


async def test_the_question_goes_through_prefixes_and_combinations():
    bank = Bank("the key")
    pay = call("bank__pay", {"to": "ann", "amount": 5}, call_id="a")
    tools = Combined([Prefixed(Local([tool(bank.pay, verify=bank.find)]), "bank"), Local([])])
    result, records = await resume(await crashed(pay), tools)
    assert result.name == "bank__pay"
    assert records[0] == Reconciled(result)


def wrong_names(key, whom):
    return None


def needs_all(key, to, amount):
    return None


@pytest.mark.parametrize(
    ("verify", "says"),
    [(wrong_names, "missing a required argument: 'whom'"), (needs_all, "missing a required argument: 'amount'")],
)
def test_a_verify_that_can_not_be_called_is_refused_when_the_tool_is_offered(verify, says):
    with pytest.raises(ConfigError, match=rf"(?s)verify of tool 'pay' .*verify\(key, to, amount\): {says}"):
        tool(Bank().pay, verify=verify).spec()


@pytest.mark.parametrize(
    ("effect", "payments", "doubt"), [("idempotent", ["the key"], False), ("read", ["the key"], False)]
)
async def test_the_class_at_the_time_of_the_crash_counts_if_it_was_the_stricter_one(effect, payments, doubt):
    bank = Bank()
    result, records = await resume(await crashed(), Classified(Local([bank.pay]), {"pay": effect}))
    assert isinstance(records[0], InDoubt)
    assert bank.payments == []
    assert "is unknown" in result.text


def promised(**promises):
    def f() -> None: ...

    return Function(f, **promises)


@pytest.mark.parametrize("source", [{}, {"read_only": True}, {"idempotent": True}])
async def test_the_operator_has_the_last_word_on_a_tools_class(source):
    names = ["mail__send", "mail__list", "files_read", "other"]
    inner = Local([promised(name=name, **source) for name in names])
    classes = {"mail__list": "read", "mail__*": "unsafe", "*_read": "idempotent"}
    async with Classified(inner, classes) as classified:
        specs = {spec.name: spec for spec in await classified.specs()}
        assert await classified.specs() is await classified.specs()
    promises = {name: (spec.read_only, spec.idempotent) for name, spec in specs.items()}
    given = (source.get("read_only", False), source.get("idempotent", False))
    assert promises == {
        "mail__send": (False, False),
        "mail__list": (True, True),
        "files_read": (False, True),
        "other": given,
    }


def test_an_unknown_class_is_refused_by_name():
    with pytest.raises(ConfigError, match="tools 'x': 'safe' is no class of effects; known: .*'idempotent'"):
        Classified(Local([]), {"x": "safe"})
