"""The scripted engine: answers written beforehand. A public test double, for your tests and ours."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from pathlib import Path

from anyio.lowlevel import checkpoint

from agentrt.engine import CallDelta, Delta, Finished, ReasoningDelta, Request, TextDelta
from agentrt.errors import ConfigError, EngineError
from agentrt.types import Assistant, FinishReason, ToolCall

Answer = str | Assistant | Sequence[Delta]
"""Words, a whole answer, or the very deltas to stream (which need not end well)."""


def call(name: str, arguments: object, *, call_id: str = "") -> ToolCall:
    """A call for a script; ``arguments`` that are no text are written as JSON."""
    return ToolCall(call_id, name, arguments if isinstance(arguments, str) else json.dumps(arguments))


def calls(*items: ToolCall, text: str = "", finish: FinishReason = "tool_calls") -> Assistant:
    """An answer that makes these calls."""
    return Assistant(text, items, finish=finish)


def deltas(answer: Answer) -> Sequence[Delta]:
    """The deltas that stream ``answer``."""
    if isinstance(answer, str):
        answer = Assistant(answer)
    if not isinstance(answer, Assistant):
        return answer
    pieces: list[Delta] = []
    if answer.reasoning:
        pieces.append(ReasoningDelta(answer.reasoning))
    if answer.text:
        pieces.append(TextDelta(answer.text))
    for index, item in enumerate(answer.calls):
        half = len(item.arguments) // 2
        pieces.append(CallDelta(index, item.id, item.name, item.arguments[:half]))
        pieces.append(CallDelta(index, arguments=item.arguments[half:]))
    if answer.finish != "cut":
        pieces.append(Finished(answer.finish, answer.usage))
    return pieces


class ScriptedEngine:
    """Gives the answers of its script, one a turn, and keeps the requests that it got in ``requests``.

    A script may also be a function from the request to an answer, for scripts that react.
    """

    def __init__(self, script: Iterable[Answer] | Callable[[Request], Answer], *, name: str = "scripted") -> None:
        self._name = name
        self._next = script if callable(script) else None
        self._answers = iter(()) if callable(script) else iter(script)
        self.requests: list[Request] = []

    @property
    def name(self) -> str:
        """``scripted``, or the name it was given."""
        return self._name

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream the next answer.

        :raises EngineError: if the script is at its end.
        """
        self.requests.append(request)
        answer = self._next(request) if self._next else next(self._answers, None)
        if answer is None:
            raise EngineError(f"the script has no answer for turn {len(self.requests)}")
        for delta in deltas(answer):
            await checkpoint()
            yield delta

    async def aclose(self) -> None:
        """Nothing to release."""


def engine_from_name(name: str) -> ScriptedEngine:
    """``scripted:FILE.json``: a JSON array of answers, each a text or ``{"text", "calls": [{"name", "arguments"}]}``.

    :raises ConfigError: if the file can't be read as that.
    """
    path = Path(name.partition(":")[2])
    try:
        script = [_answer(item) for item in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"no script can be read from {str(path)!r}: {error}") from error
    return ScriptedEngine(script, name=name)


def _answer(item: str | dict[str, object]) -> Answer:
    if isinstance(item, str):
        return item
    made = item.get("calls", [])
    if not isinstance(made, list):
        raise TypeError("'calls' must be a list")
    return Assistant(
        text=str(item.get("text", "")),
        calls=tuple(call(one["name"], one["arguments"]) for one in made),
        finish="tool_calls" if made else "stop",
    )
