"""The agent that A2A's compatibility kit (its line 1.0-dev) drives: what it does is the prefix of a message's id.

Usage: kit_agent.py FOLDER [--port N]; then, in a checkout of the kit: run_tck.py --sut-host http://127.0.0.1:N
Prints ``{"http": PORT}`` once it listens. JSON-RPC answers at the root too, as the kit wants it.
"""

import argparse
import json
from contextlib import aclosing
from pathlib import Path

import anyio
from a2a.types.a2a_pb2 import Artifact, Part, TaskState
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from agentrt.journal import open_store
from agentrt.serve.app import Host
from agentrt.serve.door import Served
from agentrt.serve.listen import Bind, serve
from agentrt_a2a.server.door import make
from agentrt_a2a.server.job import ANSWER

WAIT_SECONDS = 2.0
MESSAGES = ("tck-message-response", "tck-stream-002")
PARTS = {
    "tck-artifact-text": [Part(text="Generated text content")],
    "tck-artifact-file-url": [
        Part(url="https://example.com/output.txt", filename="output.txt", media_type="text/plain")
    ],
    "tck-artifact-file": [Part(raw=b"tck", filename="output.txt", media_type="text/plain")],
    "tck-artifact-data": [Part(data=ParseDict({"key": "value", "count": 42}, Value()), media_type="application/json")],
    "tck-stream-artifact-text": [Part(text="Streamed text content")],
    "tck-stream-artifact-file": [Part(raw=b"tck", filename="output.txt", media_type="text/plain")],
    "tck-message-response": [Part(text="Direct message response")],
    "tck-stream-002": [Part(text="Stream message-only response")],
    "tck-stream-001": [Part(text="Stream hello from TCK")],
    "tck-stream-003": [Part(text="Stream task lifecycle")],
    "tck-stream-ordering-001": [Part(text="Ordered output")],
}


async def work(job):
    """One task, by the id of the message that began it."""
    name = job.request.message.message_id
    if name.startswith("tck-reject-task"):
        await job.status(TaskState.TASK_STATE_REJECTED, "rejected")
        return
    await job.status(TaskState.TASK_STATE_WORKING)
    if name.startswith(("tck-input-required", "tck-auth-required")):
        await job.ask("What is your name?", auth="auth" in name)
    if name.startswith(("tck-delayed-complete", "test-resubscribe-message-id")):
        await anyio.sleep(WAIT_SECONDS * (2 if name.startswith("test") else 1))
    if name.startswith("tck-stream-artifact-chunked"):
        for number, text in enumerate(("chunk-1 ", "chunk-2")):
            chunk = Artifact(artifact_id="a", parts=[Part(text=text)])
            await job.artifact(chunk, append=number > 0, last=number == 1)
    parts = next((parts for prefix, parts in PARTS.items() if name.startswith(prefix)), None)
    if parts is not None:
        await job.artifact(Artifact(artifact_id=ANSWER, name="output", parts=parts), last=True)
    await job.status(TaskState.TASK_STATE_COMPLETED, "" if parts else "Hello from TCK")


def is_brief(request):
    return request.message.message_id.startswith(MESSAGES)


def no_agent(ask):
    raise AssertionError("this door works without an agent")


async def main(flags):
    bind = Bind(port=flags.port)
    with bind.socket() as bound:
        port = bound.getsockname()[1]
        async with aclosing(open_store(str(Path(flags.folder) / "sessions.db"))) as store:
            options = {"grpc": "127.0.0.1:0", "push_hosts": ["127.0.0.1", "localhost"]}
            served = Served(no_agent, store, name="kit", url=f"http://127.0.0.1:{port}", options=options)
            door = make(served, lambda desk: work, is_brief)

            def up():
                print(json.dumps({"http": port}), flush=True)

            await serve(Host(served, [door]), bind, bound, anyio.Event(), up)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, default=0)
    anyio.run(main, parser.parse_args())
