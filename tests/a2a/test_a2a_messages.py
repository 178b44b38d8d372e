"""An agent, or a skill of it, whose answers are plain messages: what is brief is told so, and all else is a task."""

import json
import uuid

import httpx
import pytest
from a2a_kit import BINDINGS, ask, running
from requirements import proves
from test_a2a_spec import over, send, served, status
from wire import Refused, message

from agentrt import ConfigError
from agentrt.serve.door import Served
from agentrt_a2a import a2a
from agentrt_a2a.delegation import URI
from agentrt_a2a.server.door import make

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    """A server whose answers are messages."""
    folder = tmp_path_factory.mktemp("brief")
    with running("our_server", folder, "--grpc", "--legacy", "--answer", "message") as process:
        yield served(process, folder)


@pytest.fixture(scope="module")
def by_skill(tmp_path_factory):
    """A server of which one skill's answers are messages."""
    folder = tmp_path_factory.mktemp("by-skill")
    with running("our_server", folder, "--grpc", "--answer", "skill") as process:
        yield served(process, folder)


@pytest.fixture(params=BINDINGS)
def wire(request, brief):
    return over(brief, request.param)


async def tasks_of(wire, context):
    return (await wire.call("ListTasks", {"contextId": context}))["tasks"]


@proves("3.1.1 message", "3.1.1 task-or-message", "3.4.1 context-made", "5.5 camel-case")
async def test_a_brief_answer_is_a_message_and_no_task(wire):
    answer = await wire.call("SendMessage", {"message": message("look round")})
    assert list(answer) == ["message"]
    said = answer["message"]
    assert said.pop("contextId")
    found = said.pop("messageId")
    assert said == {"role": "ROLE_AGENT", "parts": [{"text": "look: saw round", "mediaType": "text/plain"}]}
    with pytest.raises(Refused, match="TASK_NOT_FOUND"):
        await wire.call("GetTask", {"id": found})


@proves("3.1.2 message-only")
async def test_a_stream_of_a_brief_answer_has_that_message_alone(wire):
    context = uuid.uuid4().hex
    sent = {"message": message("hello", contextId=context)}
    events = [event async for event in wire.stream("SendStreamingMessage", sent)]
    assert [list(event) for event in events] == [["message"]]
    assert events[0]["message"]["contextId"] == context
    assert events[0]["message"]["parts"][0]["text"] == "you said hello"
    assert await tasks_of(wire, context) == []


async def test_a_context_goes_on_though_its_answers_are_messages(wire):
    context = uuid.uuid4().hex
    for number in (1, 2):
        answer = await wire.call("SendMessage", {"message": message("json x", contextId=context)})
        assert answer["message"]["parts"][0]["data"] == {"said": "x", "heard": number}


@proves("3.3.1 duplicate")
@pytest.mark.parametrize("operation", ["SendMessage", "SendStreamingMessage"])
async def test_a_message_that_is_sent_again_gets_the_same_answer(wire, operation):
    sent = {"message": message("hello")}
    first = await wire.call(operation, sent)
    assert "message" in first
    assert await wire.call(operation, sent) == first


async def test_a_run_that_asks_is_a_task_and_stays_one(wire):
    sent = message("pay 5")
    task = (await wire.call("SendMessage", {"message": sent}))["task"]
    assert status({"task": task}) == "INPUT_REQUIRED"
    task = await send(wire, "yes", taskId=task["id"])
    assert status({"task": task}) == "COMPLETED"
    assert (await wire.call("SendMessage", {"message": sent}))["task"]["id"] == task["id"]
    assert [known["id"] for known in await tasks_of(wire, task["contextId"])] == [task["id"]]


async def test_a_stream_of_a_run_that_asks_begins_with_its_task(wire):
    events = [event async for event in wire.stream("SendStreamingMessage", {"message": message("pay 5")})]
    assert status(events[0]) == "INPUT_REQUIRED"
    assert "task" in events[0]


async def test_a_run_that_fails_is_a_task_that_says_so(wire):
    task = (await wire.call("SendMessage", {"message": message("break")}))["task"]
    assert status({"task": task}) == "FAILED"
    assert (await wire.call("GetTask", {"id": task["id"]}))["id"] == task["id"]


@proves("3.2.2 immediately")
async def test_who_does_not_wait_for_the_answer_gets_a_task(wire, brief):
    task = await send(wire, "slow later", at_once=True)
    assert status({"task": task}) in ("SUBMITTED", "WORKING")
    (brief.folder / "later").touch()
    [event] = [event async for event in _ends(wire, task["id"])]
    assert event["artifacts"][0]["parts"][0]["text"] == "slow: waited for later"


async def _ends(wire, task_id):
    while True:
        task = await wire.call("GetTask", {"id": task_id})
        if status({"task": task}) == "COMPLETED":
            yield task
            return


async def test_who_wants_to_be_told_of_a_task_gets_one(wire):
    hook = {"taskPushNotificationConfig": {"url": "http://127.0.0.1:9/told"}}
    task = (await wire.call("SendMessage", {"message": message("hello"), "configuration": hook}))["task"]
    assert (await wire.call("GetTask", {"id": task["id"]}))["id"] == task["id"]


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize(("skill", "kind"), [("brief", "message"), ("long", "task"), ("", "task")])
async def test_each_skill_answers_in_its_own_way(by_skill, binding, skill, kind):
    sent = message("hello", metadata={URI: {"skill": skill}})
    answer = await over(by_skill, binding).call("SendMessage", {"message": sent})
    assert list(answer) == [kind]


def test_the_card_says_nothing_of_how_a_skill_answers(by_skill):
    assert [(skill["id"], "answer" in skill) for skill in by_skill.card["skills"]] == [
        ("brief", False),
        ("long", False),
    ]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_our_own_client_takes_a_message_for_an_answer(brief, binding):
    async with a2a(brief.url, name="p", bindings=(binding,)) as peer:
        result = await ask(peer, "hello")
    assert not result.error
    assert result.text == "you said hello"


def test_a_client_of_0_3_gets_a_message_as_it_knows_it(brief):
    said = {"kind": "message", "messageId": uuid.uuid4().hex, "role": "user", "parts": [{"kind": "text", "text": "hi"}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": said}}
    answer = httpx.post(brief.url + "/a2a", json=body, trust_env=False).json()["result"]
    assert (answer["kind"], answer["role"]) == ("message", "agent")
    assert answer["parts"][0]["text"] == "you said hi"
    said["messageId"] = uuid.uuid4().hex
    streamed = httpx.post(brief.url + "/a2a", json=body | {"method": "message/stream"}, trust_env=False)
    events = [json.loads(line[5:])["result"] for line in streamed.text.splitlines() if line.startswith("data:")]
    assert [event["kind"] for event in events] == ["message"]


def test_an_answer_of_another_kind_is_refused_when_the_door_is_made():
    with pytest.raises(ConfigError, match=r"answer = 'words'; use 'task' or 'message'"):
        make(Served(lambda ask: None, None, name="x", options={"answer": "words"}))
