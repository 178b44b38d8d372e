"""A session's records as people read them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from agentrt.cli.render import compacted
from agentrt.cli.terminal import Style, clean
from agentrt.journal.records import Answered, Closed, Compaction, Ended, InDoubt, Landed, Reconciled, Record, Said
from agentrt.journal.store import SessionInfo
from agentrt.types import Assistant, ToolResult

Styled = Callable[[str, Style], str]

SHOWN_CHARS = 2_000


def transcript(info: SessionInfo, records: Sequence[Record], styled: Styled, *, full: bool = False) -> Iterator[str]:
    """Lines: what the session is, then each message, with the turns counted as a fork counts them."""
    yield from _head(info, styled)
    turn = 0
    for record in records:
        match record:
            case Said(message):
                yield from _block(styled("you", "bold"), message.text)
                yield from (f"    ({item.mime_type}, {len(item.data)} bytes)" for item in message.media)
            case Answered(answer):
                turn += 1
                yield from _answer(turn, answer, styled)
            case Landed(result):
                yield from _result(
                    styled("x" if result.error else "=", "bad" if result.error else "good"), result, full
                )
            case InDoubt(result):
                yield from _result(styled("?", "warn"), result, full)
            case Reconciled(result):
                yield from _result(styled("= (found out after a crash)", "warn"), result, full)
            case Closed(results):
                for result in results:
                    yield from _result(styled("= (as the model read it)", "dim"), result, full)
            case _:
                yield from _aside(record, styled, full)


def _head(info: SessionInfo, styled: Styled) -> Iterator[str]:
    yield styled(clean(f"{info.id}  {info.title}"), "bold")
    times = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) for seconds in (info.created, info.updated)]
    facts = [f"engine {info.engine}" if info.engine else "", f"began {times[0]}", f"last {times[1]}", info.state]
    facts.append(f"forked from {info.parent}" if info.parent else "")
    yield styled(clean(", ".join(filter(None, facts))), "dim")


def _answer(turn: int, answer: Assistant, styled: Styled) -> Iterator[str]:
    finish = "" if answer.finish in ("stop", "tool_calls") else f" ({answer.finish})"
    yield from _block(styled(f"turn {turn}{finish}", "bold"), answer.text)
    for call in answer.calls:
        yield f"  {styled('>', 'name')} {styled(clean(call.name), 'name')} {clean(call.arguments)}"


def _result(mark: str, result: ToolResult, full: bool) -> Iterator[str]:
    text = result.text if full or len(result.text) <= SHOWN_CHARS else result.text[:SHOWN_CHARS]
    lines = clean(text).splitlines() or [""]
    yield f"  {mark} {clean(result.name)}: {lines[0]}"
    yield from (f"    {line}" for line in lines[1:])
    if len(text) < len(result.text):
        yield f"    … {len(result.text) - len(text)} more characters; --full shows them"
    yield from (f"    ({item.mime_type}, {len(item.data)} bytes)" for item in result.media)


def _aside(record: Record, styled: Styled, full: bool) -> Iterator[str]:
    """What is no message."""
    match record:
        case Compaction(rewrite, told):
            yield ""
            yield styled(clean(compacted(told)), "dim")
            if full and rewrite.instead:
                yield from _block(styled("the note, as the model reads it", "dim"), rewrite.instead[0].text)
        case Ended():
            yield from _end(record, styled)


def _end(record: Ended, styled: Styled) -> Iterator[str]:
    cost = "" if record.usage.cost is None else f", ${record.usage.cost:.4f}"
    told = f"{record.turns} turns, {record.calls} calls, {record.usage.tokens} tokens{cost}, {record.seconds:.1f} s"
    yield styled(clean(f"ended: {record.reason} ({told})"), "dim")


def _block(head: str, text: str) -> Iterator[str]:
    yield ""
    yield head
    yield from (f"  {line}" for line in clean(text).splitlines())
