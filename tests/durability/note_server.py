"""A small MCP server over stdio, without the SDK so that it starts at once: its two tools leave durable effects.

Run as ``note_server.py FILE``. ``note`` says that it is idempotent, ``send`` says nothing. With KILL_AT=N it kills
the process KILL_PID at its N-th boundary (each effect has one before and one after).
"""

import json
import os
import signal
import sys

KEY = "agentrt/idempotency-key"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS = [
    {"name": "note", "description": "Note it.", "inputSchema": SCHEMA, "annotations": {"idempotentHint": True}},
    {"name": "send", "description": "Send it.", "inputSchema": SCHEMA},
]


class Effects:
    """Lines appended to a file, each on the disk before anyone hears of it."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.left = int(os.environ.get("KILL_AT", "0"))

    def boundary(self):
        self.left -= 1
        if self.left == 0:
            os.kill(int(os.environ["KILL_PID"]), signal.SIGKILL)

    def add(self, tool, n, key):
        self.boundary()
        os.write(self.file, (json.dumps([tool, n, key]) + "\n").encode())
        os.fsync(self.file)
        self.boundary()


def answer(message, effects):
    params = message.get("params") or {}
    match message["method"]:
        case "initialize":
            info = {"name": "notes", "version": "1"}
            return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            n = params["arguments"]["n"]
            effects.add(params["name"], n, (params.get("_meta") or {}).get(KEY, ""))
            return {"content": [{"type": "text", "text": f"did {params['name']} {n}"}]}
        case "ping":
            return {}
    return None


def main():
    effects = Effects(sys.argv[1])
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" not in message:
            continue
        result = answer(message, effects)
        known = {"result": result} if result is not None else {"error": {"code": -32601, "message": "unknown method"}}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **known}) + "\n")
        sys.stdout.flush()


main()
