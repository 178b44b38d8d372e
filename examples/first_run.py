"""The main job on the embedded default: a real local model, a Python tool and a real MCP server, one right answer.

`python examples/first_run.py` downloads the model's weights when they are not here yet (it says how much first).
"""

import sys

import anyio
from flights import landing_time
from rich.console import Console

from agentrt import Agent, mcp
from agentrt.cli.models import ensure_default_model
from agentrt.events import CallFinished, CallRejected, CallStarted

QUESTION = "At what time in Tokyo does flight TK52 land?"
INSTRUCTIONS = (
    "Look up the flight first. Its result gives the source_timezone and the time; "
    "convert them to the time zone of the city that the user names."
)


async def main() -> None:
    """Ask one question that needs both tools."""
    time_server = mcp([sys.executable, "-m", "mcp_server_time"])
    agent = Agent("embedded", tools=[landing_time, time_server], instructions=INSTRUCTIONS)
    print(QUESTION)
    async with agent.stream(QUESTION) as events:
        async for event in events:
            match event:
                case CallStarted(call, source):
                    print(f"  > {call.name} {call.arguments}  ({source})")
                case CallRejected(_, reason):
                    print(f"  ! {reason}")
                case CallFinished(result):
                    print(f"  < {' '.join(result.text.split())[:110]}")
    if events.result is not None:
        done = events.result
        print(f"{done.text}\n[{done.reason}: {done.turns} turns, {done.calls} calls, {done.usage.tokens} tokens]")


if __name__ == "__main__":
    ensure_default_model(Console(stderr=True), ask=None)
    anyio.run(main)
