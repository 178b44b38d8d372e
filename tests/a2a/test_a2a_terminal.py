"""A run at a terminal is a task at the A2A door of a server that shares its data: seen, answered and stopped there."""

import json
import os
import sys

import pexpect
import pytest
from a2a_kit import running
from wire import Wire, message

pytestmark = pytest.mark.anyio

TOOLS = """
from agentrt import tool

@tool
def keep(word: str) -> str:
    "Keep a word."
    return f"kept {word}"
"""


@pytest.fixture
def terminal(tmp_path):
    """``agentrt run`` at a terminal, which asks whether it may keep a word."""
    (tmp_path / "tools.py").write_text(TOOLS)
    script = [{"calls": [{"name": "keep", "arguments": {"word": "a"}}]}, "It is kept."]
    (tmp_path / "script.json").write_text(json.dumps(script))
    flags = ["--tool", f"{tmp_path}/tools.py", "--mode", "ask", "--store", f"{tmp_path}/sessions.db", "--no-config"]
    argv = ["-m", "agentrt.cli", "run", "Keep a.", "--engine", f"scripted:{tmp_path}/script.json", *flags]
    environ = {**os.environ, "NO_COLOR": "1", "TERM": "xterm", "HOME": str(tmp_path)}
    child = pexpect.spawn(sys.executable, argv, env=environ, encoding="utf-8", timeout=30, dimensions=(50, 200))
    child.expect("run it")
    yield child
    child.close(force=True)


@pytest.fixture
def wire(terminal, tmp_path):
    with running("our_server", tmp_path) as server:
        yield Wire("JSONRPC", f"{server.url}/a2a", {"A2A-Version": "1.0"})


async def asked(wire):
    """The one task that is seen, once it asks."""
    while True:
        [task] = (await wire.call("ListTasks", {}))["tasks"]
        if task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED":
            return task


async def test_a_call_that_waits_at_a_terminal_is_allowed_over_a2a(terminal, wire):
    task = await asked(wire)
    assert "keep" in task["status"]["message"]["parts"][0]["text"]
    done = (await wire.call("SendMessage", {"message": message("yes", taskId=task["id"])}))["task"]
    terminal.expect("answered elsewhere: yes")
    terminal.expect("It is kept")
    assert done["status"]["state"] == "TASK_STATE_COMPLETED"
    assert done["artifacts"][0]["parts"][0]["text"] == "It is kept."


async def test_what_the_terminal_answers_first_ends_the_question_over_a2a(terminal, wire):
    task = await asked(wire)
    terminal.sendline("y")
    terminal.expect("It is kept")
    events = [event async for event in _followed(wire, task["id"])]
    assert events[-1]["status"]["state"] == "TASK_STATE_COMPLETED"


async def _followed(wire, task_id):
    while True:
        task = await wire.call("GetTask", {"id": task_id})
        yield task
        if task["status"]["state"] == "TASK_STATE_COMPLETED":
            return


async def test_a_run_at_a_terminal_is_stopped_over_a2a(terminal, wire):
    task = await asked(wire)
    stopped = await wire.call("CancelTask", {"id": task["id"]})
    terminal.expect("the run was stopped from elsewhere; to go on: agentrt run --resume")
    terminal.wait()
    assert (stopped["status"]["state"], terminal.exitstatus) == ("TASK_STATE_CANCELED", 1)
