import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pexpect
import pytest

from agentrt.journal import fold
from agentrt.journal.records import load

PROGRAM = [sys.executable, "-m", "agentrt.cli"]
SERVER = Path(__file__).parent / "server.py"
SERVER_COMMAND = f"{sys.executable} {SERVER}"

TOOLS = """
import time
from agentrt import Progress, tool

@tool(read_only=True)
def temperature(city: str) -> float:
    "The temperature in a city, in degrees Celsius."
    return 21.5

@tool
def keep(word: str) -> str:
    "Keep a word."
    return f"kept {word}"

@tool(read_only=True)
def fail() -> str:
    "Fail."
    raise OSError("no such luck")

@tool(read_only=True)
def hang() -> str:
    "Hang in a thread that nobody can cancel."
    time.sleep(1000)
    return "never"

def plain(word: str) -> str:
    "Not decorated."
    return word
"""


def call(name: str, **arguments: object) -> dict:
    return {"name": name, "arguments": arguments}


@dataclass
class Machine:
    """A person's machine: a home, a folder to work in, and the real command."""

    home: Path
    work: Path
    environ: dict[str, str] = field(default_factory=dict)
    spawned: list[pexpect.spawn] = field(default_factory=list)

    def script(self, *answers: object, name: str = "script.json") -> str:
        """The name of an engine that gives these answers; a list of calls is an answer too."""
        path = self.work / name
        path.write_text(json.dumps([{"calls": item} if isinstance(item, list) else item for item in answers]))
        return f"scripted:{path}"

    def write(self, name: str, text: str) -> Path:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *arguments: str, stdin: str = "", seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """The command in a pipe."""
        return subprocess.run(
            [*PROGRAM, *arguments],
            cwd=self.work,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def spawn(self, *arguments: str) -> pexpect.spawn:
        """The command at a terminal."""
        return self.shell(shlex.join([*PROGRAM, *arguments]))

    def shell(self, line: str) -> pexpect.spawn:
        """A line of shell at a terminal; its last command takes the shell's place."""
        child = pexpect.spawn(
            "/bin/sh",
            ["-c", line if "|" in line else f"exec {line}"],
            cwd=str(self.work),
            env=self.environ,
            encoding="utf-8",
            timeout=15,
            dimensions=(50, 200),
        )
        self.spawned.append(child)
        return child

    def texts(self) -> list[str]:
        """What was said and answered in the latest session of the machine."""
        latest = json.loads(self.run("sessions", "list", "--json", "--limit", "1").stdout)
        lines = self.run("sessions", "export", latest["id"]).stdout.splitlines()
        return [message.text for message in fold(map(load, lines[1:])).transcript]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    kept = ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    environ |= {"HOME": str(home), "TERM": "xterm", "PYTHONUTF8": "1", "NO_COLOR": "1"}
    made = Machine(home, work, environ)
    made.write("tools.py", TOOLS)
    yield made
    for child in made.spawned:
        if child.isalive():
            child.kill(signal.SIGKILL)
            child.wait()  # close() by itself waits a tenth of a second for a killed one, and no longer
        child.close()


def alive(pid: int) -> bool:
    """Whether a process still runs; one that has ended but was not waited for does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
