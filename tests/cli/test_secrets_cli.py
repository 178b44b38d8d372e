"""Two hundred secrets go through everything that the command line has, and are in nothing that it leaves behind."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from cli.conftest import PROGRAM, call

ME = {"name": "test", "version": "1"}
SERVER = Path(__file__).parent / "leaky_server.py"
COUNT = 200

RAISING = """
import logging, os
from agentrt import tool

@tool
def explode() -> str:
    "Raise with a secret in the message."
    secrets = [value for name, value in sorted(os.environ.items()) if name.startswith("CANARY_")]
    logging.getLogger("tools").error("about to fail with %s", secrets[3])
    print("on stdout:", secrets[4])
    raise RuntimeError(f"could not log in as {secrets}")
"""


def canaries() -> dict[str, str]:
    odd = ('a"b\\c', "ü/+&", "p@ss word", "%41$x", "tok-en_")
    return {f"CANARY_{number:03}": f"canary{number:03}{odd[number % 5]}{number * 7919:06}" for number in range(COUNT)}


def forms(secret: str) -> list[str]:
    escaped = json.dumps(secret)[1:-1]
    whole = base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]
    return [secret, escaped, json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe=""), quote(secret), whole]


def left_behind(*folders: Path) -> bytes:
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return b"".join(path.read_bytes() for path in files)


def found_in(text: bytes, secrets: dict[str, str]) -> list[str]:
    return [name for name, secret in secrets.items() if any(form.encode() in text for form in forms(secret))]


def served_over_stdio(machine, messages, *arguments):
    """What a server of ours says to each message: its line of stdout, and all of its stderr in the end."""
    command = [*PROGRAM, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    said = []
    with subprocess.Popen(command, cwd=machine.work, env=machine.environ, text=True, **pipes) as process:
        for number, message in enumerate(messages):
            wants_answer = not message["method"].startswith("notifications/")
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **({"id": number} if wants_answer else {}), **message}))
            process.stdin.write("\n")
            process.stdin.flush()
            if wants_answer:
                said.append(process.stdout.readline())
        rest, errors = process.communicate(timeout=60)
    return [*said, rest + errors]


@pytest.fixture
def secrets(machine):
    """The secrets of a machine whose tools say them whenever they can."""
    secrets = canaries()
    machine.environ |= secrets
    machine.write("raising.py", RAISING)
    env = "\n".join(f'{name} = "env:{name}"' for name in secrets)
    machine.write(
        "agentrt.toml",
        f"tool_files = ['raising.py']\n[mcp_servers.leaky]\n"
        f"command = {json.dumps([sys.executable, str(SERVER)])}\n[mcp_servers.leaky.env]\n{env}\n",
    )
    return secrets


def test_no_secret_is_in_what_is_said_of_servers_and_sessions_or_served_to_others(machine, secrets):
    asked = [
        {"method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": ME}},
        {"method": "notifications/initialized"},
        {"method": "tools/list", "params": {}},
        {"method": "tools/call", "params": {"name": "leaky__leak", "arguments": {}}},
    ]
    served = served_over_stdio(machine, asked, "gateway", "--trust-project", "--yes", "--store", "gateway.db")
    store = ("--store", "gateway.db")
    session = json.loads(machine.run("sessions", "list", "--json", *store).stdout)["id"]
    shown = [
        machine.run("lock", "--trust-project"),
        machine.run("lock", "diff", "--trust-project", "--json"),
        machine.run("mcp", "list", "--trust-project", "--json"),
        machine.run("mcp", "inspect", "leaky", "--trust-project", "--json"),
        machine.run("sessions", "show", session, *store),
        machine.run("sessions", "export", session, *store),
    ]
    assert [item.returncode for item in shown] == [0] * len(shown), shown
    assert b"[redacted]" in (machine.work / "agentrt.lock").read_bytes()
    for text in (*served[1:3], *(item.stdout + item.stderr for item in (shown[3], *shown[5:]))):
        assert "[redacted]" in text
    written = "".join([*served, *(item.stdout + item.stderr for item in shown)]).encode()
    assert found_in(written + left_behind(machine.home), secrets) == []
    kept = [path for path in machine.work.iterdir() if path.name not in ("agentrt.toml", "script.json")]
    assert found_in(b"".join(path.read_bytes() for path in kept if path.is_file()), secrets) == []


def test_no_secret_is_in_anything_that_is_shown_or_kept(machine, secrets):
    said = " and ".join(list(secrets.values())[:3])
    engine = machine.script(
        [call("leaky__leak"), call("leaky__leak", fail=True), call("explode")],
        [call("leaky__leak", how="die")],
        [call("leaky__leak", password=said)],
        f"the keys are {said}",
        name="../script.json",
    )
    common = ["--trust-project", "--yes"]
    machine.write("tasks.jsonl", json.dumps({"id": "one", "task": f"remember {said}"}))
    store, results = machine.work / "store.db", machine.work / "results.jsonl"
    shown = [
        machine.run("run", "go", "-e", engine, *common),
        machine.run("run", f"go with {said}", "-e", engine, *common, "--json", "--max-turns", "3"),
        machine.run("run", "go", "-e", engine, *common, "--continue", "--quiet"),
        machine.run("batch", "tasks.jsonl", "-e", engine, *common, "--store", str(store), "--out", str(results)),
        machine.run("tools", "--trust-project", "--servers"),
        machine.run("call", "leaky__leak", "--trust-project"),
        machine.run("call", "explode", "--trust-project", "--json"),
        machine.run("config", "--trust-project"),
        machine.run("doctor", "--no-ask", "--trust-project", "-e", engine),
    ]
    machine.environ["AGENTRT_DEBUG"] = "1"
    shown.append(machine.run("run", f"my key is {said}", "-e", "scripted:/nonexistent", *common))
    written = "".join(item.stdout + item.stderr for item in shown).encode()
    assert b"[redacted]" in shown[0].stdout.encode()
    assert shown[0].returncode == 0, shown[0].stderr
    assert b"could not log in as" in written
    assert found_in(written, secrets) == []
    assert [item.returncode for item in shown[:4]] == [0, 1, 0, 0], written.decode()
    for kept in (left_behind(machine.home), b"".join(path.read_bytes() for path in machine.work.glob("store.db*"))):
        assert b"[redacted]" in kept
        assert found_in(kept, secrets) == []
    assert found_in(results.read_bytes(), secrets) == []
