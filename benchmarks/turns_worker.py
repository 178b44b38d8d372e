"""One worker of ``turns.py``: the same conversation by agentrt or by a bare loop, measured from inside.

``turns_worker.py KIND URL MODEL SESSIONS TURNS ROUNDS WARM`` runs, ROUNDS times in a row, SESSIONS sessions at once,
each of TURNS turns with one tool call and a last one in words, after WARM sessions that are not measured. It prints
a line of JSON: CPU seconds (user and system, all threads), wall seconds, turns, and the CPU time at each tool call.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

INSTRUCTIONS = "You are a helpful assistant. Use the tools."
PROMPT = "How will the weather be in Oslo, day by day?"
DESCRIPTION = "The weather forecast for a city."
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "The city's name."},
        "days": {"type": "integer", "minimum": 1, "maximum": 366, "description": "How many days ahead."},
        "unit": {"enum": ["celsius", "fahrenheit"], "type": "string", "default": "celsius"},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
Session = Callable[[Callable[[], None]], Awaitable[int]]
Close = Callable[[], Awaitable[None]]


def weather(city: str, days: int) -> str:
    return f"{city}, day {days}: sunny, 20 degrees, light wind from the west, no rain expected."


async def agentrt_session(url: str, model: str, turns: int, *, read_only: bool = False) -> tuple[Session, Close]:
    from pydantic import Field

    from agentrt import Agent, Limits, tool
    from agentrt.engines.openai_chat import OpenAIChat

    marks: list[Callable[[], None]] = []

    @tool(read_only=read_only)
    async def forecast(
        city: Annotated[str, "The city's name."],
        days: Annotated[int, Field(ge=1, le=366, description="How many days ahead.")],
        unit: Literal["celsius", "fahrenheit"] = "celsius",
    ) -> str:
        """The weather forecast for a city."""
        marks[0]()
        return weather(city, days)

    engine = OpenAIChat(url, model)
    agent = Agent(engine, tools=[forecast], instructions=INSTRUCTIONS, limits=Limits(turns=None, calls=None))
    await agent.__aenter__()

    async def session(mark: Callable[[], None]) -> int:
        marks[:] = [mark]
        result = await agent.run(PROMPT)
        assert result.reason == "done", result
        assert result.calls == turns, result
        return result.turns

    async def close() -> None:
        await agent.__aexit__(None, None, None)
        await engine.aclose()

    return session, close


async def fold(pieces: Any) -> tuple[str, list[list[str]]]:
    """What a careful bare loop does with a stream: words, and calls folded by index."""
    import orjson

    rest, text, calls = b"", [], {}
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if not line.startswith(b"data: ") or line == b"data: [DONE]":
                continue
            chunk = orjson.loads(line[6:])
            for choice in chunk["choices"]:
                delta = choice["delta"]
                if delta.get("content"):
                    text.append(delta["content"])
                for call in delta.get("tool_calls", ()):
                    known = calls.setdefault(call["index"], ["", "", ""])
                    known[0] = known[0] or call.get("id", "")
                    known[1] = known[1] or call["function"].get("name", "")
                    known[2] += call["function"].get("arguments", "")
    return "".join(text), list(calls.values())


def bare_session(post: Callable[[bytes], Any], model: str, turns: int) -> Session:
    import orjson

    tools = [{"type": "function", "function": {"name": "forecast", "description": DESCRIPTION, "parameters": SCHEMA}}]

    async def session(mark: Callable[[], None]) -> int:
        messages: list[Any] = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": PROMPT}]
        for turn in range(turns + 1):
            head = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
            text, calls = await post(orjson.dumps({**head, "messages": messages, "tools": tools}))
            if not calls:
                assert turn == turns, turn
                break
            made = [
                {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
                for call_id, name, arguments in calls
            ]
            messages.append({"role": "assistant", "content": text, "tool_calls": made})
            for call_id, _, arguments in calls:
                values = orjson.loads(arguments)
                mark()
                result = weather(values["city"], values["days"])
                messages.append({"role": "tool", "tool_call_id": call_id, "content": result})
        return turns + 1

    return session


HEADERS = {"content-type": "application/json"}


async def aiohttp_session(url: str, model: str, turns: int) -> tuple[Session, Close]:
    import aiohttp

    client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def post(body: bytes) -> Any:
        async with client.post(f"{url}/chat/completions", data=body, headers=HEADERS) as response:
            return await fold(response.content.iter_any())

    return bare_session(post, model, turns), client.close


async def httpx_session(url: str, model: str, turns: int) -> tuple[Session, Close]:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    client = httpx.AsyncClient(limits=limits, timeout=120)

    async def post(body: bytes) -> Any:
        async with client.stream("POST", f"{url}/chat/completions", content=body, headers=HEADERS) as response:
            return await fold(response.aiter_bytes())

    return bare_session(post, model, turns), client.aclose


async def agentrt_reading_session(url: str, model: str, turns: int) -> tuple[Session, Close]:
    return await agentrt_session(url, model, turns, read_only=True)


KINDS = {
    "agentrt": agentrt_session,
    "agentrt-reading": agentrt_reading_session,
    "aiohttp": aiohttp_session,
    "httpx": httpx_session,
}


async def main(kind: str, url: str, model: str, sessions: int, turns: int, rounds: int, warm: int) -> None:
    session, close = await KINDS[kind](url, model, turns)
    for _ in range(warm):
        await session(lambda: None)
    marks: list[float] = []
    done = 0
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(session(lambda: marks.append(time.process_time()))) for _ in range(sessions)]
        done += sum(task.result() for task in tasks)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    await close()
    print(json.dumps({"cpu": cpu, "wall": wall, "turns": done, "marks": marks}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], *map(int, sys.argv[4:])))
