"""The A2A door against the clauses of the specification, over every binding, without our own client."""

import base64
import json
from contextlib import suppress
from datetime import datetime
from types import SimpleNamespace

import anyio
import grpc
import httpx
import jwt
import pytest
from a2a.types import AgentCard, a2a_pb2, a2a_pb2_grpc
from a2a.utils.signing import _canonicalize_agent_card
from a2a_kit import BINDINGS, running
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.json_format import ParseDict
from requirements import CLAUSES, PROOFS, proves, table
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from test_a2a_client import serving
from wire import CODES, REQUESTS, Refused, Wire, message

from agentrt.errors import ConfigError
from agentrt.serve.auth import Tokens
from agentrt.serve.turnstile import Turnstile
from agentrt_a2a.server.rpc import Gate, Listener

pytestmark = pytest.mark.anyio

ALICE, BOB = "alice-token-0123456789", "bob-token-0123456789"
VERSION = {"A2A-Version": "1.0"}
CARD = "/.well-known/agent-card.json"


def served(process, folder):
    card = httpx.get(process.url + CARD, trust_env=False).json()
    urls = {item["protocolBinding"]: item["url"] for item in card["supportedInterfaces"]}
    return SimpleNamespace(url=process.url, card=card, urls=urls, folder=folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    with running("our_server", folder, "--grpc") as process:
        yield served(process, folder)


@pytest.fixture(scope="module")
def key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def secured(tmp_path_factory, key):
    """A server that knows its callers and signs its card."""
    folder = tmp_path_factory.mktemp("secured")
    pem = folder / "key.pem"
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    tokens = ("--token", f"alice={ALICE}", "--token", f"bob={BOB}")
    with running("our_server", folder, "--grpc", *tokens, "--sign", pem) as process:
        yield served(process, folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A server without push notifications."""
    folder = tmp_path_factory.mktemp("plain")
    with running("our_server", folder, "--grpc", "--no-push") as process:
        yield served(process, folder)


@pytest.fixture(params=BINDINGS)
def binding(request):
    return request.param


def over(server, binding, headers=VERSION, token=""):
    auth = {"Authorization": f"Bearer {token}"} if token else {}
    return Wire(binding, server.urls[binding], {**headers, **auth})


@pytest.fixture
def wire(server, binding):
    return over(server, binding)


def status(event):
    found = event.get("task") or event.get("statusUpdate") or {}
    return found.get("status", {}).get("state", "").removeprefix("TASK_STATE_")


async def send(wire, text, *, at_once=False, **more):
    configuration = {"configuration": {"returnImmediately": True}} if at_once else {}
    return (await wire.call("SendMessage", {"message": message(text, **more), **configuration}))["task"]


async def refused(wire, operation, params):
    """The reason for which an operation is refused, after a look at the binding's code for it."""
    with pytest.raises(Refused) as error:
        await wire.call(operation, params)
    place = BINDINGS.index(wire.binding)
    rpc, grpc, http = CODES[error.value.reason]
    assert error.value.code == (rpc, http, grpc)[place]
    assert error.value.said
    return error.value.reason


@proves("3.1.1 task-or-message", "3.2.2 blocking", "3.4.1 context-made", "5.5 camel-case")
async def test_a_message_is_answered_with_its_task_once_that_has_ended(wire):
    task = await send(wire, "look here")
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    assert task["contextId"]
    assert datetime.fromisoformat(task["status"]["timestamp"])
    assert task["artifacts"][0]["parts"] == [{"text": "look: saw here", "mediaType": "text/plain"}]
    assert task["history"][0]["role"] == "ROLE_USER"


@proves("3.1.1 ended-takes-none", "5.4 codes")
async def test_a_task_that_has_ended_takes_no_message(wire):
    task = await send(wire, "hello")
    params = {"message": message("more", taskId=task["id"])}
    assert await refused(wire, "SendMessage", params) == "UNSUPPORTED_OPERATION"


@proves("3.1.1 strange-part")
async def test_a_part_that_we_cannot_read_is_refused(wire):
    strange = {"raw": base64.b64encode(b"tar").decode(), "mediaType": "application/x-tar"}
    params = {"message": message(parts=[strange])}
    assert await refused(wire, "SendMessage", params) == "CONTENT_TYPE_NOT_SUPPORTED"


@proves("3.1.2 stream", "3.1.2 stream-ends", "3.5.2 order")
async def test_a_stream_begins_with_the_task_and_ends_with_it(wire):
    events = [event async for event in wire.stream("SendStreamingMessage", {"message": message("look up")})]
    assert list(events[0]) == ["task"]
    assert all(set(event) <= {"statusUpdate", "artifactUpdate"} for event in events[1:])
    states = [status(event) for event in events if status(event)]
    assert states[0] == "SUBMITTED"
    assert states[-1] == "COMPLETED"
    assert states[1:-1] == ["WORKING", "WORKING"]
    assert "artifactUpdate" in events[-2]


@proves("3.1.3 get")
async def test_a_task_can_be_got(wire):
    task = await send(wire, "hello")
    assert await wire.call("GetTask", {"id": task["id"]}) == task


@proves("3.4.2 task-id")
async def test_each_task_has_an_id_of_its_own(wire):
    tasks = [await send(wire, "hello") for _ in range(3)]
    assert len({task["id"] for task in tasks}) == 3
    assert all(task["id"] for task in tasks)


@proves("3.4.2 task-unknown", "3.3.2 actionable")
async def test_a_message_for_a_task_that_is_not_there_says_so_and_which(wire):
    with pytest.raises(Refused) as error:
        await wire.call("SendMessage", {"message": message(taskId="nobody")})
    assert error.value.reason == "TASK_NOT_FOUND"
    assert error.value.said == "there is no task 'nobody'"


@proves("3.1.3 get-unknown", "3.1.5 cancel-unknown", "3.1.6 subscribe-unknown", "5.4 codes")
@pytest.mark.parametrize("operation", ["GetTask", "CancelTask", "SubscribeToTask"])
async def test_what_is_not_there_is_not_found(wire, operation):
    assert await refused(wire, operation, {"id": "nobody"}) == "TASK_NOT_FOUND"


@proves("3.1.4 list-cursor", "3.1.4 list-order", "3.1.4 list-token", "3.1.4 list-artifacts", "11.5 rest-query")
async def test_tasks_are_listed_page_by_page_the_latest_first(wire):
    context = (await send(wire, "hello"))["contextId"]
    ids = [(await send(wire, f"hello {number}", contextId=context))["id"] for number in range(4)]
    listed, token = [], ""
    for size in (2, 2, 1):
        params = {"contextId": context, "pageSize": 2, **({"pageToken": token} if token else {})}
        page = await wire.call("ListTasks", params)
        assert len(page["tasks"]) == size == page["pageSize"]
        assert page["totalSize"] == 5
        assert not any(task.get("artifacts") for task in page["tasks"])
        listed += [task["id"] for task in page["tasks"]]
        token = page["nextPageToken"]
    assert token == ""
    assert listed[:4] == ids[::-1]
    assert len(set(listed)) == 5
    whole = await wire.call(
        "ListTasks", {"contextId": context, "includeArtifacts": True, "status": "TASK_STATE_COMPLETED"}
    )
    assert all(task["artifacts"] for task in whole["tasks"])
    assert (await wire.call("ListTasks", {"contextId": context, "status": "TASK_STATE_FAILED"}))["tasks"] == []


@proves("3.1.4 list-page-size", "3.3.2 validation")
@pytest.mark.parametrize("params", [{"pageSize": 0}, {"pageSize": 101}, {"pageToken": "???"}, {"historyLength": -1}])
async def test_a_list_that_makes_no_sense_is_refused(wire, params):
    assert await refused(wire, "ListTasks", params) == "INVALID_PARAMS"


@proves("3.1.5 cancel", "3.2.2 immediately")
async def test_a_task_at_work_can_be_cancelled(wire):
    task = await send(wire, "slow never", at_once=True)
    assert task["status"]["state"] in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")
    assert (await wire.call("CancelTask", {"id": task["id"]}))["status"]["state"] == "TASK_STATE_CANCELED"
    assert (await wire.call("GetTask", {"id": task["id"]}))["status"]["state"] == "TASK_STATE_CANCELED"


@proves("3.1.5 cancel-ended", "5.4 codes")
async def test_a_task_that_has_ended_can_not_be_cancelled(wire):
    task = await send(wire, "hello")
    assert await refused(wire, "CancelTask", {"id": task["id"]}) == "TASK_NOT_CANCELABLE"


@proves("3.1.6 subscribe-first", "3.1.6 subscribe-ends", "3.5.2 every-stream", "3.5.2 own-stream")
async def test_every_stream_of_a_task_hears_the_same_though_one_is_closed(wire, server, binding):
    gate = f"gate-{binding.replace('+', '')}"
    task = await send(wire, f"slow {gate}", at_once=True)
    heard, ready = {"one": [], "two": []}, {"one": anyio.Event(), "two": anyio.Event(), "three": anyio.Event()}

    async def listen(name):
        async for event in wire.stream("SubscribeToTask", {"id": task["id"]}):
            heard[name].append(event)
            ready[name].set()

    async def leave():
        async for event in wire.stream("SubscribeToTask", {"id": task["id"]}):
            assert "task" in event
            ready["three"].set()
            return

    async with anyio.create_task_group() as group:
        group.start_soon(listen, "one")
        group.start_soon(listen, "two")
        group.start_soon(leave)
        for event in ready.values():
            await event.wait()
        (server.folder / gate).touch()
    assert [list(events[0]) for events in heard.values()] == [["task"], ["task"]]
    assert heard["one"][-3:] == heard["two"][-3:]
    assert status(heard["one"][-1]) == "COMPLETED"


@proves("3.1.6 subscribe-ended")
async def test_a_task_that_has_ended_can_not_be_subscribed_to(wire):
    task = await send(wire, "hello")
    assert await refused(wire, "SubscribeToTask", {"id": task["id"]}) == "UNSUPPORTED_OPERATION"


@proves("3.1.7 push-create", "3.1.8 push-get", "3.1.9 push-list", "3.1.10 push-delete")
async def test_push_notifications_can_be_made_read_listed_and_deleted(wire):
    task = (await send(wire, "hello"))["id"]
    hook = {"taskId": task, "url": "http://127.0.0.1:9/hook", "token": "t"}
    made = await wire.call("CreateTaskPushNotificationConfig", hook)
    assert made["id"]
    assert (made["url"], made["token"], made["taskId"]) == (hook["url"], "t", task)
    named = {"taskId": task, "id": made["id"]}
    assert await wire.call("GetTaskPushNotificationConfig", named) == made
    assert (await wire.call("ListTaskPushNotificationConfigs", {"taskId": task}))["configs"] == [made]
    for _ in range(2):
        await wire.call("DeleteTaskPushNotificationConfig", named)
    assert await refused(wire, "GetTaskPushNotificationConfig", named) == "TASK_NOT_FOUND"


@proves("13.2 webhooks")
@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "http://10.0.0.1/", "http://localhost/", "ftp://example.org/", "http://[::1]/"],
)
async def test_a_webhook_on_a_private_address_is_refused(wire, url):
    task = (await send(wire, "hello"))["id"]
    params = {"taskId": task, "url": url}
    assert await refused(wire, "CreateTaskPushNotificationConfig", params) == "INVALID_PARAMS"


@proves("4.3.3 push-payload")
async def test_a_webhook_is_told_of_each_change_in_order(wire):
    told, done = [], anyio.Event()

    async def hook(request):
        told.append((dict(request.headers), await request.json()))
        if status(told[-1][1]) == "COMPLETED":
            done.set()
        return Response(status_code=204)

    async with serving(Starlette(routes=[Route("/hook", hook, methods=["POST"])])) as url:
        config = {"url": f"{url}/hook", "token": "tok", "authentication": {"scheme": "Bearer", "credentials": "secret"}}
        params = {"message": message("look at it"), "configuration": {"taskPushNotificationConfig": config}}
        await wire.call("SendMessage", params)
        with anyio.fail_after(10):
            await done.wait()
    assert [status(body) for _, body in told if status(body)] == ["WORKING", "WORKING", "COMPLETED"]
    headers = told[0][0]
    assert headers["x-a2a-notification-token"] == "tok"
    assert headers["authorization"] == "Bearer secret"
    assert headers["content-type"] == "application/a2a+json"


@proves("3.3.4 no-push", "5.4 codes")
async def test_without_push_notifications_every_operation_says_so(plain, binding):
    wire = over(plain, binding)
    task = (await send(wire, "hello"))["id"]
    assert "pushNotifications" not in plain.card["capabilities"] or not plain.card["capabilities"]["pushNotifications"]
    for operation in ("Create", "Get", "List", "Delete"):
        name = f"{operation}TaskPushNotificationConfig{'s' if operation == 'List' else ''}"
        params = {"taskId": task, "id": "x", "url": "https://example.org/"}
        params = params if operation == "Create" else {k: v for k, v in params.items() if k != "url"}
        params = {"taskId": task} if operation == "List" else params
        assert await refused(wire, name, params) == "PUSH_NOTIFICATION_NOT_SUPPORTED"


@proves("3.3.4 no-extended")
async def test_without_an_extended_card_asking_for_it_is_unsupported(wire):
    assert await refused(wire, "GetExtendedAgentCard", {}) == "UNSUPPORTED_OPERATION"


@proves("3.1.11 extended-auth")
async def test_callers_who_prove_who_they_are_get_the_extended_card(secured, binding):
    card = await over(secured, binding, token=ALICE).call("GetExtendedAgentCard", {})
    assert {skill["id"] for skill in card["skills"]} >= {"agent", "pay", "look"}
    assert {skill["id"] for skill in secured.card["skills"]} == {"agent"}


@proves("3.2.4 history")
async def test_the_history_is_as_long_as_is_wished(wire):
    task = await send(wire, "hello")
    assert len((await wire.call("GetTask", {"id": task["id"], "historyLength": 5}))["history"]) == 1
    assert "history" not in await wire.call("GetTask", {"id": task["id"], "historyLength": 0})
    sent = await wire.call("SendMessage", {"message": message(), "configuration": {"historyLength": 0}})
    assert "history" not in sent["task"]


@proves("3.2.4 history-order")
async def test_the_history_has_what_was_said_in_order(wire):
    first = message("pay 4")
    task = (await wire.call("SendMessage", {"message": first}))["task"]
    answer = message("yes", taskId=task["id"])
    task = (await wire.call("SendMessage", {"message": answer}))["task"]
    said = [(item["messageId"], [part["text"] for part in item["parts"]]) for item in task["history"]]
    assert said == [(first["messageId"], ["pay 4"]), (answer["messageId"], ["yes"])]


@proves("3.3.2 validation", "5.4 codes")
@pytest.mark.parametrize("field", ["messageId", "role", "parts"])
async def test_a_message_that_is_not_whole_is_refused(wire, field):
    whole = message()
    del whole[field]
    assert await refused(wire, "SendMessage", {"message": whole}) == "INVALID_PARAMS"


@proves("3.1.4 list-own", "3.3.2 no-oracle", "13.1 scope")
async def test_another_caller_sees_nothing_of_a_task(secured, binding):
    alice, bob = over(secured, binding, token=ALICE), over(secured, binding, token=BOB)
    task = await send(alice, "hello")
    assert [item["id"] for item in (await alice.call("ListTasks", {"contextId": task["contextId"]}))["tasks"]] == [
        task["id"]
    ]
    assert task["id"] not in [item["id"] for item in (await bob.call("ListTasks", {}))["tasks"]]
    for operation in ("GetTask", "CancelTask", "SubscribeToTask"):
        assert await refused(bob, operation, {"id": task["id"]}) == "TASK_NOT_FOUND"
    for operation in ("Create", "Get", "Delete"):
        params = {"taskId": task["id"], "id": "x"} | ({"url": "https://example.org/"} if operation == "Create" else {})
        assert await refused(bob, f"{operation}TaskPushNotificationConfig", params) == "TASK_NOT_FOUND"
    more = {"message": message("more", taskId=task["id"])}
    assert await refused(bob, "SendMessage", more) == "TASK_NOT_FOUND"
    other = await send(bob, "count", contextId=task["contextId"])
    assert other["artifacts"][0]["parts"][0]["text"] == "heard 1 messages", "a context is its caller's own"
    assert await refused(bob, "GetTask", {"id": task["id"], "tenant": "alice"}) in ("INVALID_PARAMS", "TASK_NOT_FOUND")


@proves("3.4.1 context-kept")
async def test_a_context_goes_on_where_it_was(wire):
    context = f"ours-{wire.binding}"
    first = await send(wire, "count", contextId=context)
    second = await send(wire, "count", contextId=context)
    assert first["contextId"] == second["contextId"] == context
    assert first["artifacts"][0]["parts"][0]["text"] == "heard 1 messages"
    assert second["artifacts"][0]["parts"][0]["text"] == "heard 2 messages"


@proves("3.4.2 context-inferred", "3.4.2 context-mismatch", "3.4.2 input-required")
async def test_a_task_that_asks_goes_on_with_the_answer(wire):
    asks = await send(wire, "pay 5")
    assert asks["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert "May I call pay" in asks["status"]["message"]["parts"][0]["text"]
    wrong = {"message": message("yes", taskId=asks["id"], contextId="another")}
    assert await refused(wire, "SendMessage", wrong) == "INVALID_PARAMS"
    done = await send(wire, "yes", taskId=asks["id"])
    assert (done["id"], done["contextId"]) == (asks["id"], asks["contextId"])
    assert done["artifacts"][0]["parts"][0]["text"] == "pay: paid 5"
    assert [said["parts"][0]["text"] for said in done["history"]] == ["pay 5", "yes"]


async def test_calls_of_one_turn_are_asked_about_together_and_some_may_run(wire):
    asks = await send(wire, "both 5 6")
    text = asks["status"]["message"]["parts"][0]["text"]
    assert "1. pay (python), and it may write" in text
    assert "what: you said it (user)" in text
    done = await send(wire, "1", taskId=asks["id"])
    assert "pay was not run: the user refused it" in done["artifacts"][0]["parts"][0]["text"]
    assert done["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_no_reaches_the_model_and_nothing_is_done(wire):
    asks = await send(wire, "pay 6")
    done = await send(wire, "no, too much", taskId=asks["id"])
    assert done["status"]["state"] == "TASK_STATE_COMPLETED"
    assert "too much" in done["artifacts"][0]["parts"][0]["text"]


@proves("11.2 rest-parameters", "3.6.2 version", "5.4 codes", "10.2 grpc-metadata")
@pytest.mark.parametrize("version", ["99.0", "0.3", "nonsense", ""])
async def test_a_version_that_is_not_spoken_is_refused(server, binding, version):
    wire = over(server, binding, {"A2A-Version": version} if version else {})
    for operation, params in (("SendMessage", {"message": message()}), ("GetTask", {"id": "x"})):
        assert await refused(wire, operation, params) == "VERSION_NOT_SUPPORTED"


@proves("3.6.2 version")
async def test_a_patch_version_is_the_same_version(server, binding):
    assert (await send(over(server, binding, {"A2A-Version": "1.0.1"}), "hello"))["id"]


@proves("4.4.1 card-fields", "8.2 well-known", "5.5 camel-case")
def test_the_card_is_whole_and_for_anybody(secured):
    card = secured.card
    for name in (
        "name",
        "description",
        "version",
        "supportedInterfaces",
        "capabilities",
        "defaultInputModes",
        "skills",
    ):
        assert card[name], name
    for skill in card["skills"]:
        assert skill["id"] and skill["name"] and skill["description"] and skill["tags"]  # noqa: PT018
    assert card["securitySchemes"]["bearer"]["httpAuthSecurityScheme"]["scheme"] == "Bearer"
    assert card["securityRequirements"]
    assert card["capabilities"]["extendedAgentCard"] is True
    known = ParseDict(card, AgentCard())
    assert known.capabilities.streaming


@proves("8.3 interfaces")
async def test_each_interface_that_the_card_names_answers(server, wire):
    assert {item["protocolVersion"] for item in server.card["supportedInterfaces"]} == {"1.0"}
    assert (await send(wire, "hello"))["status"]["state"] == "TASK_STATE_COMPLETED"


@proves("8.6.1 card-cache", "8.6.1 card-modified")
def test_the_card_may_be_kept_and_asked_about_again(server):
    with httpx.Client(trust_env=False) as http:
        first = http.get(server.url + CARD)
        assert "max-age=" in first.headers["cache-control"]
        for name, value in (
            ("If-None-Match", first.headers["etag"]),
            ("If-None-Match", "*"),
            ("If-Modified-Since", first.headers["last-modified"]),
        ):
            again = http.get(server.url + CARD, headers={name: value})
            assert (again.status_code, again.content) == (304, b"")
        other = {"If-None-Match": '"other"', "If-Modified-Since": first.headers["last-modified"]}
        assert http.get(server.url + CARD, headers=other).status_code == 200


@proves("8.4.1 signed-content", "8.4.2 signed-header")
def test_the_signature_is_over_the_canonical_card(secured, key):
    (signature,) = secured.card["signatures"]
    header = json.loads(base64.urlsafe_b64decode(signature["protected"] + "=="))
    assert (header["alg"], header["kid"], header["typ"]) == ("ES256", "k1", "JOSE")
    content = _canonicalize_agent_card(ParseDict(secured.card, AgentCard()))
    assert "signatures" not in json.loads(content)
    payload = base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")
    jwt.api_jws.decode(f"{signature['protected']}.{payload}.{signature['signature']}", key.public_key(), ["ES256"])


@proves("7.4 auth")
@pytest.mark.parametrize("token", ["", "wrong-token-0123456789"])
async def test_who_does_not_prove_who_it_is_gets_nothing(secured, binding, token):
    if binding == "GRPC":
        with pytest.raises(Refused) as error:
            await over(secured, binding, token=token).call("SendMessage", {"message": message()})
        assert error.value.code == "UNAUTHENTICATED"
        return
    path = {"JSONRPC": "", "HTTP+JSON": "/message:send"}[binding]
    headers = VERSION | ({"Authorization": f"Bearer {token}"} if token else {})
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(secured.urls[binding] + path, json={}, headers=headers)
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]


def test_peers_may_post_to_our_inbox_without_a_token_of_the_host_and_nothing_else(secured):
    answers = [httpx.post(secured.url + path, json={}, trust_env=False).status_code for path in ("/a2a/told", "/a2a")]
    assert answers == [404, 401]  # nobody waits with the token that is not there


@proves("13.4 rate")
async def test_who_asks_too_much_is_told_to_come_back_whichever_the_binding(tmp_path):
    with running("our_server", tmp_path, "--grpc", "--burst", 3) as process:
        ways = served(process, tmp_path)
        async with grpc.aio.insecure_channel(ways.urls["GRPC"]) as channel:
            stub = a2a_pb2_grpc.A2AServiceStub(channel)
            await stub.ListTasks(a2a_pb2.ListTasksRequest(), metadata=[("a2a-version", "1.0")])
            await over(ways, "JSONRPC").call("ListTasks", {})
            await over(ways, "HTTP+JSON").call("ListTasks", {})
            with pytest.raises(grpc.aio.AioRpcError) as busy:
                await stub.ListTasks(a2a_pb2.ListTasksRequest(), metadata=[("a2a-version", "1.0")])
        assert busy.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(busy.value.trailing_metadata())["retry-after"]) > 1
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(f"{process.url}/a2a", json={}, headers=VERSION)
        assert (answer.status_code, "retry-after" in answer.headers) == (429, True)


def rpc(server, body, *, path="/a2a", **headers):
    content = body if isinstance(body, str) else json.dumps(body)
    sent = {"Content-Type": "application/json", **VERSION, **headers}
    return httpx.post(server.url + path, content=content, headers=sent, trust_env=False)


@proves("9.1 rpc-format")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{not json", -32700),
        ([{"jsonrpc": "2.0", "id": 1, "method": "GetTask"}], -32600),
        ({"id": 1, "method": "GetTask", "params": {"id": "x"}}, -32600),
        ({"jsonrpc": "2.0", "id": 1}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "DoWhat"}, -32601),
        ({"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {}}, -32601),
        ({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": {"a": 1}}}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": [1]}, -32602),
    ],
)
def test_what_is_no_json_rpc_gets_the_standard_codes(server, body, code):
    said = rpc(server, body).json()
    assert said["error"]["code"] == code
    assert said["jsonrpc"] == "2.0"


@proves("9.1 rpc-format")
@pytest.mark.parametrize("path", ["/", "/a2a", "/a2a/"])
def test_json_rpc_answers_at_the_root_too(server, path):
    body = {"jsonrpc": "2.0", "id": "seven", "method": "SendMessage", "params": {"message": message()}}
    answer = rpc(server, body, path=path)
    assert answer.json()["id"] == "seven"
    assert answer.headers["content-type"] == "application/json"


@proves("9.2 rpc-content-type", "5.4 codes")
def test_another_content_type_has_an_error_of_its_own(server):
    said = rpc(server, "<xml/>", **{"Content-Type": "application/xml"}).json()
    assert said["error"]["code"] == -32005
    rest = httpx.post(
        server.urls["HTTP+JSON"] + "/message:send", content="<xml/>", headers={"Content-Type": "text/xml"}
    )
    assert rest.status_code == 400
    assert rest.json()["error"]["details"][0]["reason"] == "CONTENT_TYPE_NOT_SUPPORTED"


@proves("9.4 rpc-stream", "11.7 rest-stream")
@pytest.mark.parametrize("way", ["JSONRPC", "HTTP+JSON"])
def test_streams_are_server_sent_events(server, way):
    params = {"message": message("look")}
    body = (
        {"jsonrpc": "2.0", "id": 3, "method": "SendStreamingMessage", "params": params} if way == "JSONRPC" else params
    )
    url = server.urls[way] + ("" if way == "JSONRPC" else "/message:stream")
    answer = httpx.post(url, json=body, headers=VERSION, trust_env=False)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
    if way == "JSONRPC":
        assert all((event["jsonrpc"], event["id"]) == ("2.0", 3) for event in events)
        events = [event["result"] for event in events]
    assert list(events[0]) == ["task"]
    assert status(events[-1]) == "COMPLETED"


@proves("10.1 grpc-service", "10.7 grpc-stream")
async def test_the_whole_service_is_served_over_grpc(server):
    service = a2a_pb2.DESCRIPTOR.services_by_name["A2AService"]
    async with grpc.aio.insecure_channel(server.urls["GRPC"]) as channel:
        for method in service.methods:
            call = getattr(a2a_pb2_grpc.A2AServiceStub(channel), method.name)
            request = REQUESTS[method.name]()
            streams = method.name in ("SendStreamingMessage", "SubscribeToTask")
            assert streams == isinstance(call, grpc.aio.UnaryStreamMultiCallable), method.name
            answer = call(request, metadata=[("a2a-version", "1.0")], timeout=30)
            with suppress(grpc.aio.AioRpcError):  # most requests name no task
                _ = [item async for item in answer] if streams else await answer
            assert await answer.code() is not grpc.StatusCode.UNIMPLEMENTED, method.name


@proves("10.1 grpc-tls")
@pytest.mark.parametrize("auth", [None, Tokens.of({"alice": ALICE})])
def test_grpc_for_others_must_be_encrypted_and_know_its_callers(auth):
    gate = Gate(auth, frozenset(), Turnstile(), lambda: False)
    with pytest.raises(ConfigError, match="would be open to the network"):
        Listener("0.0.0.0:8701", gate)
    assert Listener("127.0.0.1:8701", gate).address == "127.0.0.1:8701"


@proves("10.6 grpc-errors")
async def test_grpc_errors_say_their_reason(server):
    with pytest.raises(Refused) as error:  # the domain is looked at where the reason is read
        await over(server, "GRPC").call("GetTask", {"id": "nobody"})
    assert (error.value.reason, error.value.code) == ("TASK_NOT_FOUND", "NOT_FOUND")


@proves("11.3 rest-paths", "11.1 rest-media-type")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/message:send"),
        ("GET", "/tasks"),
        ("GET", "/tasks/{id}"),
        ("GET", "/tasks/{id}/pushNotificationConfigs"),
    ],
)
def test_http_json_has_the_paths_of_the_specification(server, method, path):
    with httpx.Client(base_url=server.urls["HTTP+JSON"], headers=VERSION, trust_env=False) as http:
        task = http.post("/message:send", json={"message": message()}).json()["task"]["id"]
        answer = http.request(method, path.format(id=task), json={"message": message()} if method == "POST" else None)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/a2a+json"


@proves("11.6 rest-errors")
def test_http_json_errors_are_a_status_with_its_reason(server):
    answer = httpx.get(server.urls["HTTP+JSON"] + "/tasks/nobody", headers=VERSION, trust_env=False)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (404, 404, "NOT_FOUND")
    detail = error["details"][0]
    assert detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert (detail["reason"], detail["domain"]) == ("TASK_NOT_FOUND", "a2a-protocol.org")


@proves("5.7 unknown-fields")
@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_a_field_that_is_not_known_is_passed_over(server, binding):
    sent = {"message": message("hello", strange="x"), "odd": 42}
    assert status(await over(server, binding).call("SendMessage", sent)) == "COMPLETED"


@proves("3.3.1 duplicate")
async def test_a_message_that_is_sent_again_is_worked_on_once(wire, server):
    same = message(f"pay {wire.binding}")
    first = (await wire.call("SendMessage", {"message": same}))["task"]
    again = (await wire.call("SendMessage", {"message": same}))["task"]
    assert first["id"] == again["id"]
    answer = message("yes", taskId=first["id"])
    for _ in range(2):
        done = (await wire.call("SendMessage", {"message": answer}))["task"]
        assert done["status"]["state"] == "TASK_STATE_COMPLETED"
    effects = (server.folder / "effects.txt").read_text()
    assert effects.count(f" {wire.binding}\n") == 1


def test_every_clause_has_a_test_and_every_test_a_clause():
    import test_a2a_kit  # noqa: F401 - they bring clauses of their own
    import test_a2a_messages  # noqa: F401

    print("\n" + table())
    assert set(PROOFS) == set(CLAUSES)
