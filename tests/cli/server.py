"""A stdio MCP server for the command line's tests: reads, writes, reports progress, and hangs, deaf to SIGTERM."""

import json
import signal
import sys
import time

WORD = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
TOOLS = [
    {"name": "shout", "description": "Say a word loudly.", "inputSchema": WORD, "annotations": {"readOnlyHint": True}},
    {"name": "keep", "description": "Keep a word.", "inputSchema": WORD},
    {"name": "count", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
    {"name": "hang", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
]


def send(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def call(request):
    params = request["params"]
    if params["name"] == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("hanging", file=sys.stderr, flush=True)
        time.sleep(1000)
    if params["name"] == "count":
        token = params["_meta"]["progressToken"]
        progress = {"progressToken": token, "progress": 1, "total": 2, "message": "half way"}
        send({"method": "notifications/progress", "params": progress})
        time.sleep(0.5)
    text = params["arguments"].get("word", "done").upper()
    return {"content": [{"type": "text", "text": text}]}


def answer(request):
    match request["method"]:
        case "initialize":
            info = {"name": "test-server", "version": "1.2"}
            return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            return call(request)
        case _:
            return None


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request and "method" in request:
        result = answer(request)
        error = {"error": {"code": -32601, "message": "no such method"}}
        send({"id": request["id"], **(error if result is None else {"result": result})})
