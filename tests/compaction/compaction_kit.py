"""A model that counts its tokens and refuses what is too long, and a person's long task for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from agentrt import Agent, Assistant, Compaction, ContextExceeded, Request, ToolResult, Usage, tool
from agentrt.compaction.price import Compacted
from agentrt.engines.scripted import ScriptedEngine, call, calls
from agentrt.events import Event
from agentrt.limits import Limits

CONTEXT = 4_000
SUMMARY = "Some people were paid, as was asked."


def prompt_text(request: Request) -> list[str]:
    """The prompt as the model reads it, a text for each part of it: the head, then each message."""
    tools = [[spec.name, spec.description, spec.input_schema] for spec in request.tools]
    parts = [json.dumps([request.instructions, tools])]
    for message in request.transcript:
        called = [[call.name, call.arguments] for call in message.calls] if isinstance(message, Assistant) else []
        parts.append(json.dumps([type(message).__name__, message.text, called]))
    return parts


def tokens(request: Request) -> int:
    return sum(len(part) for part in prompt_text(request)) // 4


class Model(ScriptedEngine):
    """Makes the calls of ``steps``, one a turn, then says that it is done; sums up when it is asked to.

    Its next step depends on what it reads alone: the calls that stand in the prompt, as calls or in a note.
    ``sent`` and ``prefilled`` are the tokens of all prompts, and those that a prefix cache did not hold.
    """

    def __init__(self, steps: Sequence[tuple[str, dict[str, object]]], *, context: int = CONTEXT, knows: bool = True):
        super().__init__(self._step)
        self.steps = steps
        self.context = context
        self.context_tokens = context if knows else None
        self.longest = self.sent = self.prefilled = self.summaries = 0
        self._last: list[str] = []

    def _step(self, request: Request) -> Assistant:
        size, parts = tokens(request), prompt_text(request)
        if size > self.context:
            refused = ContextExceeded(f"maximum context length is {self.context} tokens")
            refused.limit = self.context
            raise refused
        self.longest = max(self.longest, size)
        same = 0
        while same < min(len(parts), len(self._last)) and parts[same] == self._last[same]:
            same += 1
        self.sent += size
        self.prefilled += sum(map(len, parts[same:])) // 4
        self._last = parts
        if request.words_only:
            self.summaries += 1
            return Assistant(SUMMARY, usage=Usage(size, 10))
        read = "\n".join(parts).replace("\\", "")
        left = [step for step in self.steps if json.dumps(step[1])[1:-1] not in read]
        if not left:
            return Assistant("all done", usage=Usage(size, 5))
        name, arguments = left[0]
        return Assistant("", calls(call(name, arguments)).calls, finish="tool_calls", usage=Usage(size, 20))


class World:
    """What was done outside."""

    def __init__(self, result_chars: int = 300) -> None:
        self.paid: list[str] = []
        self.result_chars = result_chars

    def tools(self) -> list[Callable[..., object]]:
        @tool
        def pay(to: str) -> str:
            """Pay somebody."""
            self.paid.append(to)
            return f"{to} was paid. " + "x" * self.result_chars

        @tool(read_only=True)
        def look(at: str) -> str:
            """Look at something."""
            return f"{at} looks fine. " + "y" * self.result_chars

        return [pay, look]


def payments(count: int) -> list[tuple[str, dict[str, object]]]:
    return [("pay", {"to": f"person number {number:03}"}) for number in range(count)]


def agent(model: Model, world: World, compaction: Compaction | None = Compaction()) -> Agent:  # noqa: B008
    return Agent(
        model,
        tools=world.tools(),
        instructions="Do what is asked, each thing once.",
        limits=Limits(turns=None, calls=None, identical_calls=None),
        compaction=compaction,
    )


class Heard:
    """The events of a run."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def cuts(self) -> list[Compacted]:
        return [event for event in self.events if isinstance(event, Compacted)]


def results(request: Request) -> list[ToolResult]:
    return [message for message in request.transcript if isinstance(message, ToolResult)]
