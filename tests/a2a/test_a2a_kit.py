"""The agent for A2A's compatibility kit does over each binding what the kit's scenarios ask of it."""

import uuid

import httpx
import pytest
from a2a_kit import BINDINGS, running
from requirements import proves
from wire import Wire, message

pytestmark = pytest.mark.anyio

TEXT = {"text": "Generated text content"}
FILE = {"raw": "dGNr", "filename": "output.txt", "mediaType": "text/plain"}
URL = {"url": "https://example.com/output.txt", "filename": "output.txt", "mediaType": "text/plain"}
DATA = {"data": {"key": "value", "count": 42}, "mediaType": "application/json"}
SCENARIOS = {
    "tck-complete-task": ("COMPLETED", []),
    "tck-delayed-complete": ("COMPLETED", []),
    "tck-reject-task": ("REJECTED", []),
    "tck-artifact-text": ("COMPLETED", [TEXT]),
    "tck-artifact-file": ("COMPLETED", [FILE]),
    "tck-artifact-file-url": ("COMPLETED", [URL]),
    "tck-artifact-data": ("COMPLETED", [DATA]),
    "tck-stream-001": ("COMPLETED", [{"text": "Stream hello from TCK"}]),
    "tck-stream-artifact-chunked": ("COMPLETED", [{"text": "chunk-1 "}, {"text": "chunk-2"}]),
    "tck-input-required": ("INPUT_REQUIRED", []),
}


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    with running("kit_agent", tmp_path_factory.mktemp("kit")) as process:
        card = httpx.get(f"{process.url}/.well-known/agent-card.json", trust_env=False).json()
        yield {item["protocolBinding"]: item["url"] for item in card["supportedInterfaces"]} | {"root": process.url}


@pytest.fixture(params=[*BINDINGS, "root"])
def wire(request, kit):
    binding = "JSONRPC" if request.param == "root" else request.param
    return Wire(binding, kit[request.param], {"A2A-Version": "1.0"})


@pytest.mark.parametrize("prefix", SCENARIOS)
async def test_what_a_message_asks_for_by_its_id_comes(wire, prefix):
    state, parts = SCENARIOS[prefix]
    sent = message("TCK", messageId=f"{prefix}-{uuid.uuid4().hex}")
    task = (await wire.call("SendMessage", {"message": sent}))["task"]
    assert task["status"]["state"] == f"TASK_STATE_{state}"
    assert [part for artifact in task.get("artifacts", []) for part in artifact["parts"]] == parts


@proves("7.6.1 auth-required", "3.2.2 blocking")
async def test_work_that_needs_an_authorization_waits_for_it_as_a_task(wire):
    sent = message("TCK", messageId=f"tck-auth-required-{uuid.uuid4().hex}")
    task = (await wire.call("SendMessage", {"message": sent}))["task"]
    assert (await wire.call("GetTask", {"id": task["id"]}))["status"]["state"] == "TASK_STATE_AUTH_REQUIRED"
    done = message("done", taskId=task["id"])
    task = (await wire.call("SendMessage", {"message": done}))["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_message_may_be_answered_with_a_message_alone(wire):
    sent = message("TCK", messageId=f"tck-message-response-{uuid.uuid4().hex}")
    answer = await wire.call("SendMessage", {"message": sent})
    assert list(answer) == ["message"]
    said = answer["message"]
    assert said["role"] == "ROLE_AGENT"
    assert said["messageId"]
    assert said["parts"] == [{"text": "Direct message response"}]


async def test_a_stream_of_a_message_alone_has_that_and_ends(wire):
    sent = message("TCK", messageId=f"tck-stream-002-{uuid.uuid4().hex}")
    events = [event async for event in wire.stream("SendStreamingMessage", {"message": sent})]
    assert [list(event) for event in events] == [["message"]]
    assert events[0]["message"]["parts"] == [{"text": "Stream message-only response"}]


async def test_a_streamed_message_begins_with_its_task_and_ends_with_its_end(wire):
    sent = message("TCK", messageId=f"tck-stream-ordering-001-{uuid.uuid4().hex}")
    events = [event async for event in wire.stream("SendStreamingMessage", {"message": sent})]
    assert "task" in events[0]
    assert events[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert sum("artifactUpdate" in event for event in events) <= 1
