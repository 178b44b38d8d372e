import pytest
from anyio import Event, create_task_group

from agentrt import ToolSpec, Transcript, User
from agentrt.policy.grounding import ungrounded
from agentrt.policy.permissions import Permissions, Reply
from agentrt.types import CheckedCall

pytestmark = pytest.mark.anyio

ROWS = Transcript([User("Keep the word fox.")])


def _call(name="keep", *, read_only=False, source="python", **arguments):
    spec = ToolSpec(name, "", {"type": "object"}, read_only=read_only, source=source)
    return CheckedCall("call_1", name, arguments, spec)


class Person:
    """Gives the replies of a list and keeps what was asked."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked = []

    async def __call__(self, call, why):
        self.asked.append((call.name, why))
        return self.replies.pop(0)


YES, NO, ALWAYS = Reply(allow=True), Reply(allow=False), Reply(allow=True, always=True)


@pytest.mark.parametrize("mode", ["read-only", "ask", "full"])
async def test_a_call_that_only_reads_runs_in_every_mode_without_a_question(mode):
    assert await Permissions(mode)(_call(read_only=True), ROWS) is None


async def test_a_call_that_may_write_is_refused_asked_about_or_run_by_mode():
    person = Person(YES)
    assert "only tools that read are allowed" in await Permissions("read-only", ask=person)(_call(), ROWS)
    assert person.asked == []
    assert await Permissions("ask", ask=person)(_call(), ROWS) is None
    assert person.asked == [("keep", "it may write")]
    assert await Permissions("full", ask=person)(_call(), ROWS) is None


async def test_without_anybody_to_ask_a_write_is_refused_with_the_flags_that_allow_it():
    refusal = await Permissions("ask")(_call(), ROWS)
    assert "--allow 'keep' or --yes" in refusal


async def test_deny_stands_above_allow_and_allow_above_the_mode():
    permit = Permissions("read-only", allow=["k*"], deny=["*secret*"])
    assert await permit(_call("keep"), ROWS) is None
    assert "deny this tool" in await permit(_call("keep_secret"), ROWS)
    assert "deny this tool" in await permit(_call("read_secret", read_only=True), ROWS)


async def test_a_refusal_carries_the_persons_word_to_the_model():
    permit = Permissions("ask", ask=Person(Reply(allow=False, word="too dear")))
    assert "the user refused it and said: too dear." in await permit(_call(), ROWS)


async def test_always_holds_for_that_tool_and_no_other():
    person = Person(ALWAYS, NO)
    permit = Permissions("ask", ask=person)
    assert await permit(_call("keep"), ROWS) is None
    assert await permit(_call("keep", word="other"), ROWS) is None
    assert "refused" in await permit(_call("drop"), ROWS)
    assert [name for name, _ in person.asked] == ["keep", "drop"]


async def test_one_question_at_a_time_and_always_answers_those_that_wait():
    asked, answer = Event(), Event()
    open_questions = []

    async def person(call, why):
        open_questions.append(call.name)
        assert len(open_questions) == 1
        asked.set()
        await answer.wait()
        return ALWAYS

    permit = Permissions("ask", ask=person)
    refusals = []

    async def run():
        refusals.append(await permit(_call(), ROWS))

    async with create_task_group() as group:
        for _ in range(3):
            group.start_soon(run)
        await asked.wait()
        answer.set()
    assert refusals == [None, None, None]


def _nobody_said(call, transcript):
    return ungrounded(call.arguments, transcript, "", spec=call.spec)


async def test_arguments_that_nobody_said_are_asked_about_even_of_a_read():
    person = Person(NO)
    permit = Permissions("ask", ask=person, ungrounded=_nobody_said)
    assert await permit(_call(read_only=True, city="fox"), ROWS) is None
    assert "refused" in await permit(_call("weather", read_only=True, city="London"), ROWS)
    assert person.asked == [("weather", 'neither you nor a tool said city "London"')]


async def test_with_nobody_to_ask_the_model_is_asked_once_whether_it_means_it():
    permit = Permissions("ask", ungrounded=_nobody_said)
    first = await permit(_call("weather", read_only=True, city="London"), ROWS)
    assert 'neither the user nor a tool said city "London"' in first
    assert "Answer the user in words" in first
    assert await permit(_call("weather", read_only=True, city="London"), ROWS) is None


async def test_full_and_allow_do_not_ask_the_person_about_ungrounded_arguments_but_the_model():
    person = Person()
    for permit in (
        Permissions("full", ask=person, ungrounded=_nobody_said),
        Permissions("ask", allow=["keep"], ask=person, ungrounded=_nobody_said),
    ):
        assert "was not run" in await permit(_call(city="London"), ROWS)
        assert await permit(_call(city="London"), ROWS) is None


async def test_an_ungrounded_write_is_one_question_with_both_reasons():
    person = Person(YES)
    permit = Permissions("ask", ask=person, ungrounded=_nobody_said)
    assert await permit(_call(city="London"), ROWS) is None
    assert person.asked == [("keep", 'it may write and neither you nor a tool said city "London"')]


async def test_agentrts_own_tools_are_always_allowed():
    assert await Permissions("read-only", deny=["*"])(_call("read_result", source="agentrt"), ROWS) is None


async def test_values_that_nobody_said_are_named_wherever_they_are_and_kept_short():
    person = Person(YES)
    permit = Permissions("ask", ask=person, ungrounded=_nobody_said)
    values = {"to": [{"a/b": "Zed"}], "word": "fox", "text": "q" * 500}
    assert await permit(_call(read_only=True, **values), ROWS) is None
    ((_, why),) = person.asked
    assert 'to/0/a~1b "Zed"' in why
    assert "fox" not in why
    assert len(why) < 200
