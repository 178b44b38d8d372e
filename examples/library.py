"""The library: Python functions and MCP servers are the same kind of thing, and a run is a stream of events.

Runs without a model: the answers are scripted. Give an engine to use a real one:
`python examples/library.py vllm:moonshotai/Kimi-K2.6`.
"""

import sys

import anyio
from flights import landing_time

from agentrt import Agent, Assistant, Limits, mcp
from agentrt.engines.scripted import ScriptedEngine, call, calls
from agentrt.events import CallFinished, CallRejected, CallStarted

SCRIPT: list[str | Assistant] = [
    calls(call("landing_time", {"flight": "TK52"}), text="I look the flight up."),
    # A model's slip: the time is not a string. It never reaches the server; the model is told what is wrong.
    calls(call("time__convert_time", {"source_timezone": "Europe/Istanbul", "time": 1405})),
    calls(
        call(
            "time__convert_time",
            {"source_timezone": "Europe/Istanbul", "time": "14:05", "target_timezone": "Asia/Tokyo"},
        )
    ),
    "Flight TK52 lands at 20:05 in Tokyo's time.",
]


async def main() -> None:
    """Ask one question and show what happens."""
    engine = sys.argv[1] if len(sys.argv) > 1 else ScriptedEngine(SCRIPT)
    agent = Agent(engine, tools=[landing_time, mcp([sys.executable, "-m", "mcp_server_time"])], limits=Limits(turns=10))
    async with agent.stream("At what time in Tokyo does flight TK52 land?") as events:
        async for event in events:
            match event:
                case CallStarted(call, source):
                    print(f"> {call.name} {call.arguments}  ({source})")
                case CallRejected(call, reason):
                    print(f"! {reason}")
                case CallFinished(result, seconds):
                    print(f"< {result.text[:100]!r}  {seconds * 1000:.0f} ms")
    if events.result is not None:
        print(f"{events.result.text}\n[{events.result.reason}, {events.result.turns} turns]")


if __name__ == "__main__":
    anyio.run(main)
