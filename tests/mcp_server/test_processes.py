"""The commands as other programs meet them: over stdio and over HTTP, stopped, killed and started again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpx
import pytest
from mcp import Client, StdioServerParameters
from serving_kit import ERAS, Modern, says, text

pytestmark = pytest.mark.anyio

SERVERS = Path(__file__).parent.parent / "servers"
ADD = {"calls": [{"name": "add_note", "arguments": {"text": "milk"}}]}
WAIT = {"calls": [{"name": "wait", "arguments": {}}]}
TOKEN = "a-token-of-thirty-two-characters"


@pytest.fixture
def setting(tmp_path):
    """What a command needs: its environment, and flags for a script."""
    return Setting(tmp_path)


class Setting:
    def __init__(self, folder):
        self.folder = folder
        self.config = ["--no-config"]
        self.store = folder / "sessions.db"
        self.environ = {**os.environ, "NOTES": str(folder), "AGENTRT_HOME": str(folder / "home"), "TOKEN": TOKEN}

    def engine(self, *script):
        path = self.folder / "script.json"
        path.write_text(json.dumps(script))
        return ["--engine", f"scripted:{path}"]

    def argv(self, *command):
        tools = ["--tool", str(SERVERS / "note_tools.py")]
        return [sys.executable, "-m", "agentrt.cli", *command, *tools, *self.config, "--store", str(self.store)]

    def configure(self, text):
        path = self.folder / "own.toml"
        path.write_text(text)
        self.config = ["--config", str(path), "--trust-project"]

    def stdio(self, *command):
        first, *rest = self.argv(*command)
        return StdioServerParameters(command=first, args=rest, env=self.environ)

    @asynccontextmanager
    async def serving(self, *command):
        """The command in a process, once it says its address."""
        argv = self.argv(*command, "--port", "0")
        async with await anyio.open_process(argv, env=self.environ, stderr=subprocess.PIPE) as process:
            heard = ""
            try:
                with anyio.fail_after(60):
                    while not (found := re.search(r"serving on (http://\S+)", heard)):
                        heard += (await process.stderr.receive()).decode()
                async with httpx.AsyncClient(base_url=found[1], trust_env=False, timeout=30) as http:
                    yield process, http
            finally:
                if process.returncode is None:
                    process.kill()

    def notes(self):
        path = self.folder / "notes"
        return path.read_text().splitlines() if path.exists() else []

    async def until(self, name):
        with anyio.fail_after(30):
            while not (self.folder / name).exists():  # noqa: ASYNC110 - another process makes it
                await anyio.sleep(0.01)


@pytest.fixture
def agent(tmp_path):
    """An A2A agent in a process of its own: its folder and its URL."""
    folder = tmp_path / "agent"
    argv = [sys.executable, str(SERVERS.parent / "a2a" / "our_server.py"), str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        yield folder, f"http://127.0.0.1:{json.loads(process.stdout.readline())['http']}"
        process.kill()


async def test_a_task_at_an_agent_is_found_again_by_a_gateway_that_was_killed(setting, agent):
    folder, url = agent
    command = ("gateway", "--http", "--yes", "--a2a", url)
    async with setting.serving(*command) as (process, http):
        listed = await Modern(http).ask("tools/list")
        name = next(tool["name"] for tool in listed["tools"] if tool["name"].endswith("__send"))
        peer = Modern(http)
        slow = (await peer.ask("tools/call", name=name, arguments={"message": "slow later"}))["taskId"]
        asks = (await peer.ask("tools/call", name=name, arguments={"message": "pay 4"}))["taskId"]
        done = (await peer.ask("tools/call", name=name, arguments={"message": "hello"}))["taskId"]
        await peer.task(asks, "input_required")
        before = await peer.task(done)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with setting.serving(*command) as (process, http):
        peer = Modern(http)
        assert (await peer.ask("tasks/get", taskId=slow))["status"] == "working"
        ((key, question),) = (await peer.task(asks, "input_required"))["inputRequests"].items()
        assert "May I call pay" in question["params"]["message"]
        answer = {key: {"action": "accept", "content": {"answer": "yes"}}}
        await peer.ask("tasks/update", taskId=asks, inputResponses=answer)
        assert (await peer.task(asks))["result"]["content"][0]["text"] == "pay: paid 4"
        (folder / "later").touch()
        assert (await peer.task(slow))["result"]["content"][0]["text"] == "slow: waited for later"
        assert (await peer.task(done))["result"] == before["result"]
        assert (folder / "effects.txt").read_text().count(" 4\n") == 1


async def begin_session(http):
    """A session of the handshake era, begun by hand; its id."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    answer = await http.post("/mcp", json=body, headers={"Accept": "application/json, text/event-stream"})
    session = answer.headers["mcp-session-id"]
    body = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    headers = {"Accept": "application/json, text/event-stream", "Mcp-Session-Id": session}
    assert (await http.post("/mcp", json=body, headers=headers)).status_code == 202
    return session


async def test_a_host_starts_an_agent_and_is_asked_for_its_persons_word(setting):
    server = setting.stdio("mcp", "serve", *setting.engine(ADD, "noted"), "--mode", "ask")
    async with Client(server, mode="legacy", elicitation_callback=says("allow")) as peer:
        assert (text(await peer.call_tool("run", {"task": "note milk"})), setting.notes()) == ("noted", ["milk"])


async def test_a_host_starts_the_gateway_in_front_of_other_servers(setting):
    time = ["--mcp", f"{sys.executable} -m mcp_server_time --local-timezone UTC"]
    async with Client(setting.stdio("gateway", *time, "--yes"), mode="2026-07-28") as peer:
        names = [item.name for item in (await peer.list_tools()).tools]
        assert names == ["add_note", "wait", "time__get_current_time", "time__convert_time"]
        zone = json.loads(text(await peer.call_tool("time__get_current_time", {"timezone": "Asia/Tokyo"})))["timezone"]
        wrong = await peer.call_tool("time__get_current_time", {"zone": "Asia/Tokyo"})
        assert (zone, wrong.is_error) == ("Asia/Tokyo", True)
        assert text(await peer.call_tool("add_note", {"text": "milk"})) == "kept milk"


async def test_both_eras_share_one_address_and_a_stopped_server_lets_work_end(setting):
    answers = []

    async def ask():
        made = await Modern(http, tasks=False).ask("tools/call", name="run", arguments={"task": "wait"})
        answers.append(made["content"][0]["text"])

    async with setting.serving("serve", *setting.engine("one", "two", WAIT, "waited")) as (process, http):
        for era, answer in zip(ERAS, ("one", "two"), strict=True):
            async with Client(f"{http.base_url}/mcp", mode=era) as peer:
                assert text(await peer.call_tool("run", {"task": "count"})) == answer
        listens = {"Accept": "text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
        session = {**listens, "Mcp-Session-Id": await begin_session(http)}
        async with http.stream("GET", "/mcp", headers=session) as idle, anyio.create_task_group() as group:
            assert idle.status_code == 200
            group.start_soon(ask)
            await setting.until("waiting")
            process.send_signal(signal.SIGTERM)
            (setting.folder / "release").touch()
            with suppress(httpx.HTTPError):  # it ends, one way or the other
                await idle.aread()
        with anyio.fail_after(15):
            assert (await process.wait(), answers) == (0, ["waited"])


async def test_the_gateway_is_a_service_too_and_lets_nobody_in_without_the_token(setting):
    async with setting.serving("gateway", "--http", "--yes", "--token", "ci=env:TOKEN") as (process, http):
        assert (await Modern(http).send("tools/list"))[0] == 401
        made = await Modern(http, token=TOKEN).ask("tools/call", name="add_note", arguments={"text": "milk"})
        assert (made["content"][0]["text"], setting.notes()) == ("kept milk", ["milk"])


async def test_an_address_of_the_network_without_auth_is_a_mistake(setting):
    argv = setting.argv("serve", *setting.engine("x"), "--host", "0.0.0.0")
    done = await anyio.run_process(argv, env=setting.environ, check=False)
    assert done.returncode == 2
    assert b"--token NAME=env:VARIABLE" in done.stderr


async def test_a_stopped_and_a_killed_server_lose_no_task_and_double_no_effect(setting):
    setting.configure("[serve.limits]\ndrain_seconds = 1")
    async with setting.serving("serve", *setting.engine(ADD, WAIT), "--yes") as (process, http):
        made = await Modern(http).ask("tools/call", name="run", arguments={"task": "note milk and wait"})
        await setting.until("waiting")
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(15):
            assert await process.wait() == 0
    (setting.folder / "waiting").unlink()
    async with setting.serving("serve", *setting.engine(), "--yes") as (process, http):
        assert (await Modern(http).ask("tasks/get", taskId=made["taskId"]))["status"] == "working"
        await setting.until("waiting")
        process.kill()
    (setting.folder / "release").touch()
    async with setting.serving("serve", *setting.engine("both done"), "--yes") as (process, http):
        found = await Modern(http).task(made["taskId"])
    assert (found["status"], found["result"]["content"][0]["text"]) == ("completed", "both done")
    assert setting.notes() == ["milk"]
