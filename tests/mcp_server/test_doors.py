"""One run behind several doors: begun at one, it is seen, answered and cancelled at any other, under one id."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from serving_kit import ADD, TOKENS, WAIT, Modern, Notes, agents

from agentrt.journal.sqlite import SqliteStore
from agentrt.question import Answer
from agentrt.serve.app import Host
from agentrt.serve.auth import Tokens
from agentrt.serve.board import Board, NoSuchQuestion
from agentrt.serve.door import Served, doors_for

pytestmark = pytest.mark.anyio

ALLOW = {"action": "accept", "content": {"decision": "allow"}}
STATES = {
    "working": "TASK_STATE_WORKING",
    "input_required": "TASK_STATE_INPUT_REQUIRED",
    "completed": "TASK_STATE_COMPLETED",
    "failed": "TASK_STATE_FAILED",
    "cancelled": "TASK_STATE_CANCELED",
}


class A2a:
    """A client that speaks JSON-RPC by itself."""

    def __init__(self, http, token=None):
        self.http = http
        self.headers = {"A2A-Version": "1.0"} | ({"Authorization": f"Bearer {token}"} if token else {})

    async def send(self, method, **params):
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return (await self.http.post("/a2a", json=body, headers=self.headers)).json()

    async def ask(self, method, **params):
        answer = await self.send(method, **params)
        assert "result" in answer, answer
        return answer["result"]

    async def say(self, text, **more):
        message = {"messageId": uuid.uuid4().hex, "role": "ROLE_USER", "parts": [{"text": text}], **more}
        return (await self.ask("SendMessage", message=message, configuration={"returnImmediately": True}))["task"]

    async def task(self, task_id, state):
        with anyio.fail_after(20):
            while True:
                task = await self.ask("GetTask", id=task_id)
                if task["status"]["state"] == STATES[state]:
                    return task
                await anyio.sleep(0.02)


@asynccontextmanager
async def house(folder, script, *, notes=None, auth=False):
    """A host with both doors; yields a client of each, and what they share."""
    notes = notes or Notes()
    store = SqliteStore(folder / "sessions.db")
    async with agents(script, notes) as agent_for:
        served = Served(agent_for, store, url="http://localhost")
        doors = doors_for(served, {"a2a": {"lease_seconds": 1}}, ["a2a", "mcp"])
        host = Host(served, doors, Tokens.of(TOKENS) if auth else None)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://localhost", timeout=30)
        async with host.open(), client as http:
            yield http, notes, served
    await store.aclose()


async def test_an_a2a_task_is_an_mcp_task_and_can_be_approved_there(tmp_path):
    async with house(tmp_path, [ADD, "done"]) as (http, notes, served):
        a2a, mcp = A2a(http), Modern(http)
        begun = await a2a.say("note milk")
        await a2a.task(begun["id"], "input_required")
        waiting = await mcp.task(begun["id"], "input_required")
        ((key, question),) = waiting["inputRequests"].items()
        assert question["params"]["message"].startswith("The agent wants to call add_note")
        await mcp.ask("tasks/update", taskId=begun["id"], inputResponses={key: ALLOW})
        ended = await a2a.task(begun["id"], "completed")
        assert (ended["artifacts"][0]["parts"], notes.kept) == ([{"text": "done", "mediaType": "text/plain"}], ["milk"])
        assert (await mcp.task(begun["id"]))["result"]["content"][0]["text"] == "done"


async def test_an_mcp_task_is_an_a2a_task_and_can_be_approved_there(tmp_path):
    async with house(tmp_path, [ADD, "done"]) as (http, notes, served):
        a2a, mcp = A2a(http), Modern(http)
        task_id = (await mcp.ask("tools/call", name="run", arguments={"task": "note milk"}))["taskId"]
        await mcp.task(task_id, "input_required")
        assert [task["id"] for task in (await a2a.ask("ListTasks"))["tasks"]] == [task_id]
        waiting = await a2a.task(task_id, "input_required")
        assert [part["text"] for part in waiting["history"][0]["parts"]] == ["note milk"]
        await a2a.say("yes", taskId=task_id)
        assert (await mcp.task(task_id))["result"]["content"][0]["text"] == "done"
        ended = await a2a.task(task_id, "completed")
        assert (ended["artifacts"][0]["parts"][0]["text"], notes.kept) == ("done", ["milk"])


async def test_what_was_answered_at_one_door_is_asked_at_no_other(tmp_path):
    notes = Notes()
    async with house(tmp_path, [ADD, WAIT, "done"], notes=notes) as (http, _, served):
        a2a, mcp = A2a(http), Modern(http)
        task_id = (await mcp.ask("tools/call", name="run", arguments={"task": "note milk"}))["taskId"]
        ((key, _),) = (await mcp.task(task_id, "input_required"))["inputRequests"].items()
        await a2a.task(task_id, "input_required")
        await mcp.ask("tasks/update", taskId=task_id, inputResponses={key: ALLOW})
        await notes.waiting.wait()
        assert (await a2a.task(task_id, "working"))["id"] == task_id
        notes.release.set()
        await a2a.task(task_id, "completed")


@pytest.mark.parametrize("begun_at", ["a2a", "mcp"])
async def test_a_run_can_be_cancelled_at_the_other_door(tmp_path, begun_at):
    notes = Notes()
    async with house(tmp_path, [WAIT], notes=notes) as (http, _, served):
        a2a, mcp = A2a(http), Modern(http)
        if begun_at == "a2a":
            task_id = (await a2a.say("wait"))["id"]
            await notes.waiting.wait()
            await mcp.ask("tasks/cancel", taskId=task_id)
        else:
            task_id = (await mcp.ask("tools/call", name="run", arguments={"task": "wait"}))["taskId"]
            await notes.waiting.wait()
            await a2a.task(task_id, "working")
            await a2a.ask("CancelTask", id=task_id)
        await a2a.task(task_id, "cancelled")
        assert (await mcp.task(task_id))["status"] == "cancelled"
        assert notes.cancelled


async def test_what_came_of_a_run_is_found_at_the_other_door_after_a_restart(tmp_path):
    async with house(tmp_path, ["four", "five"]) as (http, notes, served):
        ours = (await A2a(http).say("2+2?"))["id"]
        await A2a(http).task(ours, "completed")
        theirs = (await Modern(http).ask("tools/call", name="run", arguments={"task": "2+3?"}))["taskId"]
        await Modern(http).task(theirs)
    async with house(tmp_path, []) as (http, notes, served):
        assert (await Modern(http).task(ours))["result"]["content"][0]["text"] == "four"
        assert (await A2a(http).ask("GetTask", id=theirs))["artifacts"][0]["parts"][0]["text"] == "five"


async def test_a_run_that_its_door_left_is_taken_up_at_the_other(tmp_path):
    async with house(tmp_path, [WAIT], notes=Notes()) as (http, notes, served):
        task_id = (await Modern(http).ask("tools/call", name="run", arguments={"task": "wait"}))["taskId"]
        await notes.waiting.wait()
    later = Notes()
    later.release.set()
    async with house(tmp_path, ["waited enough"], notes=later) as (http, notes, served):
        ended = await A2a(http).task(task_id, "completed")
        assert ended["artifacts"][0]["parts"][0]["text"] == "waited enough"
        assert (await Modern(http).task(task_id))["result"]["content"][0]["text"] == "waited enough"


async def test_a_run_whose_session_was_taken_away_has_not_failed(tmp_path):
    async with house(tmp_path, [WAIT, "not heard"], notes=Notes()) as (http, notes, served):
        task_id = (await Modern(http).ask("tools/call", name="run", arguments={"task": "wait"}))["taskId"]
        await notes.waiting.wait()
        (run,) = await served.board.going_on()
        await served.store.take(run.session)
        notes.release.set()
        with anyio.fail_after(20):
            while True:
                run = await served.board.find(task_id, run.tenant)
                if not run.held:
                    break
                await anyio.sleep(0.02)
        assert (run.state, run.ended) == ("working", False)
    later = Notes()
    later.release.set()
    async with house(tmp_path, ["waited enough"], notes=later) as (http, notes, served):
        ended = await A2a(http).task(task_id, "completed")
        assert ended["artifacts"][0]["parts"][0]["text"] == "waited enough"


async def test_a_run_is_nobody_elses_at_any_door(tmp_path):
    async with house(tmp_path, [ADD, "done"], auth=True) as (http, notes, served):
        alice, bob = A2a(http, TOKENS["alice"]), A2a(http, TOKENS["bob"])
        task_id = (await alice.say("note milk"))["id"]
        await alice.task(task_id, "input_required")
        assert (await Modern(http, token=TOKENS["alice"]).task(task_id, "input_required"))["taskId"] == task_id
        assert (await Modern(http, token=TOKENS["bob"]).error("tasks/get", taskId=task_id))["code"] == -32602
        assert (await bob.send("GetTask", id=task_id))["error"]["code"] == -32001
        assert (await bob.ask("ListTasks"))["tasks"] == []


async def test_another_process_sees_what_waits_and_answers_it(tmp_path):
    async with house(tmp_path, [ADD, "done"]) as (http, notes, served):
        task_id = (await A2a(http).say("note milk"))["id"]
        await A2a(http).task(task_id, "input_required")
        elsewhere = Board.of(SqliteStore(tmp_path / "sessions.db"))
        (run,) = await elsewhere.going_on()
        ((name, question),) = run.questions.items()
        with pytest.raises(NoSuchQuestion, match="does not fit"):
            await elsewhere.answer(run, name, Answer("accept", {"decision": "perhaps"}))
        await elsewhere.answer(run, name, Answer("accept", {"decision": "allow"}))
        await A2a(http).task(task_id, "completed")
        with pytest.raises(NoSuchQuestion, match="does not ask"):
            await elsewhere.answer(run, name, Answer("accept", {"decision": "allow"}))
        await elsewhere.aclose()
        assert (run.id, notes.kept) == (task_id, ["milk"])


async def test_the_command_line_shows_what_waits_and_answers_it(tmp_path):
    def agentrt(*words):
        argv = [sys.executable, "-m", "agentrt.cli", "sessions", *words, "--store", str(tmp_path / "sessions.db")]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, env={**os.environ, "NO_COLOR": "1"})

    async with house(tmp_path, [ADD, "done"]) as (http, notes, served):
        task_id = (await A2a(http).say("note milk"))["id"]
        await A2a(http).task(task_id, "input_required")
        shown = await anyio.to_thread.run_sync(agentrt, "waiting")
        assert "The agent wants to call add_note" in shown.stdout
        assert f"agentrt sessions answer {task_id} yes" in shown.stdout
        assert (await anyio.to_thread.run_sync(agentrt, "answer", task_id, "maybe")).returncode == 2
        assert (await anyio.to_thread.run_sync(agentrt, "answer", task_id[:8], "yes")).returncode == 0
        await A2a(http).task(task_id, "completed")
        assert notes.kept == ["milk"]
        assert (await anyio.to_thread.run_sync(agentrt, "answer", task_id, "yes")).returncode == 2
        assert (await anyio.to_thread.run_sync(agentrt, "list")).stdout.count("note milk") == 1
