"""An agentrt agent behind the A2A door, as a process: a scripted engine that reacts to the words of a message.

Usage: our_server.py FOLDER [--port N] [--grpc] [--legacy] [--token NAME=TOKEN] [--peer URL] [--lease SECONDS]
       [--answer message]
Prints ``{"http": PORT}`` once it listens; sessions, tasks and the file of effects are in FOLDER.
"""

import argparse
import json
import os
from contextlib import aclosing
from copy import copy
from pathlib import Path

import anyio

from agentrt import NOT_RUN, Agent, Key, Limits, tool
from agentrt.engines.scripted import ScriptedEngine, call, calls
from agentrt.journal import open_store
from agentrt.policy.permissions import Permissions
from agentrt.serve.app import Host
from agentrt.serve.auth import Tokens
from agentrt.serve.door import Served, doors_for
from agentrt.serve.listen import Bind, serve
from agentrt.serve.turnstile import Quota, Turnstile
from agentrt.types import ToolResult, User


def react(request):
    """The next answer, by what was said last; the same after any restart."""
    last = request.transcript[-1]
    if isinstance(last, ToolResult):
        return f"{last.name}: {last.text}"
    word, _, rest = last.text.partition("\n")[0].partition(" ")
    tools = [spec.name for spec in request.tools]
    match word:
        case "pay" | "look" | "slow":
            return calls(call(word, {"what": rest}))
        case "both":
            return calls(*(call("pay", {"what": what}) for what in rest.split()))
        case "delegate":
            name, _, words = rest.partition(" ")
            found = next(known for known in tools if known.endswith(f"{name}__send"))
            return calls(call(found, {"message": words}))
        case "json":
            return json.dumps({"said": rest, "heard": sum(isinstance(item, User) for item in request.transcript)})
        case "count":
            return f"heard {sum(isinstance(item, User) for item in request.transcript)} messages"
        case "break":
            raise RuntimeError("the engine broke")
        case _:
            return f"you said {last.text}"


def toolbox(folder: Path):
    effects = folder / "effects.txt"

    def paid(key: str, what: str):
        lines = effects.read_text().splitlines() if effects.exists() else []
        return f"paid {what}" if f"{key} {what}" in lines else NOT_RUN

    @tool(verify=paid)
    def pay(what: str, key: Key) -> str:
        """Have an effect that must not happen twice."""
        with effects.open("a") as file:
            file.write(f"{key} {what}\n")
            file.flush()
            os.fsync(file.fileno())
        return f"paid {what}"

    @tool(read_only=True)
    def look(what: str) -> str:
        """Read."""
        return f"saw {what}"

    @tool(read_only=True)
    async def slow(what: str) -> str:
        """Wait for a file called WHAT in the folder."""
        while not (folder / what).exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.02)
        return f"waited for {what}"

    return [pay, look, slow]


async def main(flags):
    folder = Path(flags.folder)
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything runs
    tools = toolbox(folder)
    if flags.peer:
        from agentrt_a2a import a2a

        tools += [a2a(url, name=name) for name, _, url in (peer.partition("=") for peer in flags.peer)]
    agent = Agent(ScriptedEngine(react), tools=tools, limits=Limits(call_seconds=60))
    auth = Tokens.of(dict(token.split("=", 1) for token in flags.token)) if flags.token else None
    bind = Bind(port=flags.port)
    options = {
        "push_hosts": ["127.0.0.1"],
        "told": True,
        "legacy": flags.legacy,
        "lease_seconds": flags.lease,
        "push": not flags.no_push,
    }
    if flags.answer:
        named = {"name": "Brief", "description": "Answers at once.", "tags": ["brief"], "answer": "message"}
        lasting = {"name": "Long", "description": "Takes its time.", "tags": ["long"]}
        options |= {"answer": flags.answer} if flags.answer != "skill" else {}
        options["skills"] = [{"id": "brief", **named}, {"id": "long", **lasting, "answer": "task"}]
    if flags.sign:
        options |= {"signing_key": flags.sign, "signing_key_id": "k1"}
    if flags.grpc:
        options["grpc"] = "127.0.0.1:0"

    def agent_for(ask):
        own = copy(agent)
        own.permit = Permissions("ask", allow=["*"] if flags.yes else ["look", "slow", "*__*"], ask_all=ask)
        return own

    with bind.socket() as bound:
        port = bound.getsockname()[1]
        async with aclosing(open_store(flags.store or str(folder / "sessions.db"))) as store, agent:
            served = Served(
                agent_for,
                store,
                name="ours",
                description="Does what it is told.",
                url=f"http://127.0.0.1:{port}",
                schemes=auth.schemes if auth else (),
                auth=auth,
                turnstile=Turnstile(Quota(rate=0.001, burst=flags.burst) if flags.burst else Quota()),
            )
            doors = doors_for(served, {"a2a": options}, ["a2a"])
            stop = anyio.Event()

            def up():
                print(json.dumps({"http": port}), flush=True)

            await serve(Host(served, doors, auth), bind, bound, stop, up)


def flags():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--lease", type=float, default=1.0)
    parser.add_argument("--answer", default="", help="'message', or 'skill': the skill 'brief' alone answers so")
    parser.add_argument("--store", default="")
    parser.add_argument("--burst", type=int, default=0, help="so many requests of a caller, and then none")
    parser.add_argument("--token", action="append", default=[])
    parser.add_argument("--peer", action="append", default=[], help="NAME=URL")
    parser.add_argument("--sign", default="", help="PEM of a private key")
    for name in ("grpc", "legacy", "yes", "no-push"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    anyio.run(main, flags())
