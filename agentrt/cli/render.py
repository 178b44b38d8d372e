"""Events as people and programs read them: a live view, or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from agentrt.cli.terminal import Style, Terminal, bounded, clean
from agentrt.compaction.price import Compacted
from agentrt.engine import CallDelta, Prompted, ReasoningDelta, Retrying, TextDelta
from agentrt.events import (
    CallFinished,
    CallProgress,
    CallRejected,
    CallRepaired,
    CallStarted,
    Event,
    Nudged,
    RunFinished,
    RunStarted,
    ToolRefused,
    TurnFinished,
    TurnStarted,
    to_json,
)
from agentrt.types import ToolCall, ToolResult, Usage

ARGUMENT_CHARS = 160
RESULT_CHARS = 120
REASON_CHARS = 400

ENDINGS = {
    "turns": "reached the limit of turns (--max-turns)",
    "calls": "reached the limit of tool calls (--max-calls)",
    "tokens": "reached the limit of tokens (--max-tokens)",
    "cost": "reached the limit of cost (--max-cost)",
    "time": "reached the limit of time (--max-seconds)",
    "identical_calls": "the model kept making the same call with the same result",
    "invalid_calls": "the model made no valid call for several turns",
    "length": "the answer was cut at the engine's length limit",
    "content_filter": "the engine filtered the answer",
    "cut": "the answer broke off",
    "empty": "the model answered nothing",
}
"""Why a run ended that did not end with an answer, for people."""


def summary(turns: int, calls: int, usage: Usage, seconds: float) -> str:
    """``2 turns · 1 call · 345 tokens · 1.2 s · $0.0031``."""
    cost = "no price known" if usage.cost is None else f"${usage.cost:.4f}"
    return " · ".join(
        [_count(turns, "turn"), _count(calls, "call"), _count(usage.tokens, "token"), f"{seconds:.1f} s", cost]
    )


def compacted(told: Compacted) -> str:
    """``compacted 2,711 → 794 tokens: 34 messages for a summary of 20 tokens; 729 prefilled again, …``."""
    what = f"{_count(told.dropped, 'message')} for a summary of {_count(told.summary_tokens, 'token')}"
    what = what if told.dropped else f"{_count(told.shortened, 'long result')} for handles"
    price = f"it costs {told.cost:,.0f} prefilled tokens and is worth {told.worth:+,.0f}"
    sizes = f"{told.before:,} → {told.after:,} tokens"
    return f"compacted {sizes}: {what}; {told.prefilled:,} prefilled again; {price} ({told.reason})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


class Live:
    """Shows a run as it happens. Without a person at stdout, the answer is written there whole at the end.

    ``notes`` are lines that opening the tools may have left; they are shown when the run has started.
    """

    def __init__(self, terminal: Terminal, notes: Callable[[], Iterable[str]] = tuple) -> None:
        self.terminal = terminal
        self.notes = notes
        self._calls: dict[str, ToolCall] = {}

    async def __call__(self, event: Event) -> None:
        """Show one event; waits while a question is open."""
        async with self.terminal.lock:
            self._warn(event)
            if not self.terminal.quiet:
                self._show(event)
            self._answer(event)

    def _answer(self, event: Event) -> None:
        """The answer's words, which also the quiet see."""
        terminal = self.terminal
        match event:
            case TextDelta(text) if terminal.answers_live:
                terminal.flow(text, answer=True)
            case TurnFinished():
                terminal.end_line()
            case RunFinished(text=text) if text and not terminal.answers_live:
                terminal.end_line()
                print(text, file=terminal.out, flush=True)

    def _warn(self, event: Event) -> None:
        """What also the quiet must know: not all is as it was asked for."""
        match event:
            case RunStarted():
                for note in self.notes():
                    self.terminal.note(note)
            case ToolRefused(name, source, reason):
                self.terminal.note(f"tool {name!r} of {source} is left out: {bounded(reason, REASON_CHARS)}")

    def _show(self, event: Event) -> None:
        terminal = self.terminal
        match event:
            case RunStarted(engine, tools):
                terminal.line(f"{clean(engine)} · {_count(len(tools), 'tool')}", "dim")
            case TurnStarted():
                terminal.wait_for("thinking")
            case ReasoningDelta(text):
                terminal.flow(text, "dim")
            case CallDelta(name=name) if name:
                terminal.end_line()
                terminal.wait_for(f"writing a call of {name}")
            case Retrying(reason, wait_seconds):
                wait = f" in {wait_seconds:.1f} s" if wait_seconds else ""
                terminal.note(f"asking again{wait}: {bounded(reason, REASON_CHARS)}")
            case Compacted():
                terminal.note(compacted(event), "dim")
            case RunFinished(_, _, turns, calls, usage, seconds):
                terminal.wait_for("")
                terminal.line(summary(turns, calls, usage, seconds), "dim")
            case _:
                self._show_call(event)

    def _show_call(self, event: Event) -> None:
        terminal = self.terminal
        match event:
            case Prompted(tokens, kept, rewritten, defused):
                if rewritten:
                    terminal.note(
                        f"{tokens - kept} of {tokens} prompt tokens are new: {bounded(rewritten, REASON_CHARS)}"
                    )
                if defused:
                    terminal.note(f"{_count(defused, 'control marker')} in what tools or people said: made plain text")
            case CallRepaired(call, rule, before, after):
                self._mark("~", "warn", call.name, f"repaired: {rule}: {_short(before)} → {_short(after)}")
            case CallRejected(call, reason):
                self._mark("✗", "bad", call.name, f"{_short(call.arguments)} rejected: {bounded(reason, REASON_CHARS)}")
            case CallStarted(call):
                self._calls[call.id] = call
                self._mark("▸", "name", call.name, _short(call.arguments))
                terminal.wait_for(call.name)
            case CallProgress(call_id, done, total, message):
                name = self._calls[call_id].name if call_id in self._calls else "tool"
                terminal.wait_for(f"{name} {_progress(done, total)} {message}")
            case CallFinished(result, seconds):
                self._calls.pop(result.call_id, None)
                terminal.wait_for(", ".join(call.name for call in self._calls.values()) or "thinking")
                self._finished(result, seconds)
            case Nudged(call, times):
                terminal.note(f"told the model that it made the same call of {call.name} {times} times")

    def _finished(self, result: ToolResult, seconds: float) -> None:
        said = bounded(result.text, RESULT_CHARS)
        words = f"{seconds:.2f} s{' failed' if result.error else ''}{f': {said}' if said else ''}"
        self._mark("✗" if result.error else "✓", "bad" if result.error else "good", result.name, words)

    def _mark(self, mark: str, style: Style, name: str, words: str) -> None:
        terminal = self.terminal
        terminal.line(f"{terminal.styled(mark, style)} {clean(name)} {terminal.styled(words, 'dim')}")


class JsonLines:
    """Writes each event as one line of JSON to stdout."""

    def __init__(self, terminal: Terminal, notes: Callable[[], Iterable[str]] = tuple) -> None:
        self.terminal = terminal
        self.notes = notes

    async def __call__(self, event: Event) -> None:
        """Write one event."""
        async with self.terminal.lock:
            if isinstance(event, RunStarted):
                for note in self.notes():
                    self.terminal.note(note)
            print(json.dumps(to_json(event)), file=self.terminal.out, flush=True)


def _short(arguments: str) -> str:
    return bounded(arguments, ARGUMENT_CHARS)


def _progress(done: float, total: float | None) -> str:
    return f"{done:g}" if total is None else f"{done:g}/{total:g}"
