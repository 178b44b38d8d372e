"""What the tests of the MCP connector share: our servers, and a way to call through the gate."""

import json
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import anyio
import pytest

from agentrt.contract import Gate, Passed
from agentrt.types import ToolCall

SERVERS = Path(__file__).parent.parent / "servers"


class Log:
    """The messages that the logging server has received since this was made, in order."""

    def __init__(self, path):
        self.path = path
        self.start = len(self.lines())

    def lines(self):
        return self.path.read_text().splitlines() if self.path.exists() else []

    def messages(self):
        return [json.loads(line)["message"] for line in self.lines()[self.start :]]

    def methods(self):
        return [message.get("method") for message in self.messages()]

    def calls(self):
        return [message["params"] for message in self.messages() if message.get("method") == "tools/call"]

    async def until(self, method, times=1):
        """Wait until the server received ``method`` so many times."""
        await until(lambda: self.methods().count(method) >= times)


async def until(condition):
    """Wait until ``condition()`` is true, which another process brings about."""
    with anyio.fail_after(15):
        while not condition():  # noqa: ASYNC110 - no event reaches us from another process
            await anyio.sleep(0.005)


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "log.jsonl")


@pytest.fixture
def logging_server(log):
    """The argv of the logging server, with more options if needed."""

    def argv(*options):
        return [sys.executable, str(SERVERS / "logging_server.py"), str(log.path), *options]

    return argv


@pytest.fixture(scope="session")
def web(tmp_path_factory):
    """The logging server over HTTP, one for all tests: its URLs by kind, and the path of its log."""
    path = tmp_path_factory.mktemp("web") / "log.jsonl"
    argv = [sys.executable, str(SERVERS / "logging_server.py"), str(path), "--http"]
    with Popen(argv, stdout=PIPE) as process:
        yield json.loads(process.stdout.readline()), path
        process.kill()


@pytest.fixture
def web_log(web):
    return Log(web[1])


@pytest.fixture
def hostile_server():
    """The argv of the hostile server in a mode."""

    def argv(mode, *more):
        return [sys.executable, str(SERVERS / "hostile_server.py"), mode, *map(str, more)]

    return argv


async def quiet(done, total, message):
    pass


@pytest.fixture
def ask():
    """Calls a tool of a toolset the way the loop does: through the gate."""

    async def call(toolset, name, *, progress=quiet, **arguments):
        passed = Gate(await toolset.specs()).check(ToolCall("c1", name, json.dumps(arguments)))
        assert isinstance(passed, Passed), passed
        return await toolset.call(passed.call, progress)

    return call


def gone(pid):
    """Whether a process has ended; one that nobody has collected yet has."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0] == "Z" and fields[17] == "1"  # none of its threads is on its way out any more
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def until_gone():
    """Waits until all these processes have ended."""
    if not Path("/proc/self").exists():
        pytest.skip("the test reads /proc to see processes end")

    async def wait(*pids):
        await until(lambda: all(gone(pid) for pid in pids))

    return wait
