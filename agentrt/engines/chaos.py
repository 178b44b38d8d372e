"""The chaos engine: another engine's answers with faults put in from a seed. A public test double."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, get_args

from anyio.lowlevel import checkpoint

from agentrt.engine import CallDelta, Delta, Engine, Finished, ReasoningDelta, Request, Retrying, TextDelta
from agentrt.errors import ConfigError, EngineError
from agentrt.types import JSON, ToolResult

Kind = Literal[
    "error", "retrying", "empty", "cut", "no_finish", "interleaved",
    "unknown_name", "repeated_id", "empty_id", "duplicated_call",
    "truncated_arguments", "malformed_arguments", "code_fence", "trailing_tokens", "double_encoded",
    "wrong_type", "extra_property", "missing_property",
]  # fmt: skip
"""What can go wrong with an answer, from refusing it to one property of one call."""

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that was put in: in which answer (counted from 1), and what was there before and after."""

    turn: int
    kind: Kind
    before: str = ""
    after: str = ""


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class _Draft:
    """An answer that faults are put into, and what streams it afterwards."""

    request: Request
    random: random.Random
    lead: list[Delta] = field(default_factory=list)
    calls: dict[int, _Call] = field(default_factory=dict)
    finish: Finished | None = None
    interleaved: bool = False

    def take(self, delta: Delta) -> None:
        """Fold in one delta of the engine inside."""
        match delta:
            case CallDelta(index, call_id, name, arguments):
                call = self.calls.setdefault(index, _Call("", "", ""))
                call.id = call.id or call_id
                call.name = call.name or name
                call.arguments += arguments
            case Finished():
                self.finish = delta
            case _:
                self.lead.append(delta)

    def deltas(self) -> list[Delta]:
        """The answer in fragments: each call in two, or in many that come in turns."""
        streams: list[list[Delta]] = []
        for index, call in self.calls.items():
            size = self.random.randint(1, 8) if self.interleaved else len(call.arguments) // 2 + 1
            cuts = range(0, len(call.arguments), size)
            head = CallDelta(index, call.id, call.name)
            streams.append([head, *(CallDelta(index, arguments=call.arguments[at : at + size]) for at in cuts)])
        finish = [] if self.finish is None else [self.finish]
        if not self.interleaved:
            return [*self.lead, *(delta for stream in streams for delta in stream), *finish]
        mixed: list[Delta] = []
        while streams:
            stream = self.random.choice(streams)
            mixed.append(stream.pop(0))
            streams = [left for left in streams if left]
        return [*self.lead, *mixed, *finish]

    def some_call(self) -> _Call | None:
        """One of the calls by chance."""
        return self.random.choice(list(self.calls.values())) if self.calls else None


class ChaosEngine:
    """Passes another engine's answers on, some of them spoiled, and keeps the :class:`Fault` s in ``faults``.

    The same ``seed`` spoils the same answers in the same way. ``rates`` are the chances of each kind of fault
    per answer, by default ``rate`` for all; several may strike one answer. A fault that finds nothing to
    spoil (no call, say) leaves no trace. An answer that is not spoiled is streamed just as it came; a spoiled
    one is gathered first.
    """

    def __init__(
        self, inner: Engine, *, seed: int, rates: Mapping[Kind, float] | None = None, rate: float = 0.08
    ) -> None:
        self.inner = inner
        self.seed = seed
        self.rates = dict.fromkeys(KINDS, rate) if rates is None else dict(rates)
        self.faults: list[Fault] = []
        self._turn = 0
        unknown = self.rates.keys() - set(KINDS)
        if unknown:
            raise ConfigError(f"unknown faults {sorted(unknown)!r}; known: {', '.join(KINDS)}")

    @property
    def name(self) -> str:
        """``chaos:SEED:`` and the name of the engine inside."""
        return f"chaos:{self.seed}:{self.inner.name}"

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream the next answer of the engine inside, or what became of it.

        :raises EngineError: from the engine inside, or as the fault ``error``.
        """
        self._turn += 1
        turn = self._turn
        chance = random.Random(f"{self.seed}/{turn}")
        chosen = [kind for kind in KINDS if chance.random() < self.rates.get(kind, 0.0)]
        if "error" in chosen:
            self.faults.append(Fault(turn, "error"))
            raise EngineError("chaos: the engine failed before it said anything")
        async with aclosing(self.inner.stream(request)) as deltas:
            if not chosen:
                async for delta in deltas:
                    yield delta
                return
            draft = _Draft(request, chance)
            async for delta in deltas:
                draft.take(delta)
        for delta in self._spoiled(draft, chosen, turn):
            await checkpoint()
            yield delta

    def _spoiled(self, draft: _Draft, chosen: list[Kind], turn: int) -> list[Delta]:
        for kind in (kind for kind in chosen if kind in _FAULTS):
            change = _FAULTS[kind](draft)
            if change is not None:
                self.faults.append(Fault(turn, kind, *change))
        deltas = draft.deltas()
        if "no_finish" in chosen and draft.finish is not None:
            deltas.remove(draft.finish)
            self.faults.append(Fault(turn, "no_finish", repr(draft.finish)))
        if "cut" in chosen and deltas:
            left = draft.random.randrange(len(deltas))
            self.faults.append(Fault(turn, "cut", f"{len(deltas)} deltas", f"{left} deltas"))
            deltas = deltas[:left]
        return deltas

    async def aclose(self) -> None:
        """Close the engine inside."""
        await self.inner.aclose()


Change = tuple[str, str] | None
"""Before and after, or ``None`` if there was nothing to spoil."""


def _retrying(draft: _Draft) -> Change:
    draft.lead.insert(0, Retrying("chaos: the engine failed at first", 0.0))
    return "", "retried"


def _empty(draft: _Draft) -> Change:
    before = f"{len(draft.lead)} deltas and {len(draft.calls)} calls"
    draft.lead = [delta for delta in draft.lead if not isinstance(delta, TextDelta | ReasoningDelta)]
    draft.calls = {}
    draft.finish = Finished("stop", draft.finish.usage) if draft.finish else None
    return before, "nothing"


def _interleaved(draft: _Draft) -> Change:
    draft.interleaved = len(draft.calls) > 1
    return ("", f"{len(draft.calls)} calls in turns") if draft.interleaved else None


def _duplicated_call(draft: _Draft) -> Change:
    call = draft.some_call()
    if call is None:
        return None
    draft.calls[max(draft.calls) + 1] = _Call(call.id, call.name, call.arguments)
    return call.name, f"{call.name} twice"


def _unknown_name(draft: _Draft) -> Change:
    return _renamed(
        draft, lambda name: draft.random.choice([f"{name}s", name[:-1], f"functions.{name}", "", "rm -rf /"])
    )


def _renamed(draft: _Draft, new: Callable[[str], str]) -> Change:
    call = draft.some_call()
    if call is None:
        return None
    before, call.name = call.name, new(call.name)
    return before, call.name


def _repeated_id(draft: _Draft) -> Change:
    call = draft.some_call()
    taken = [item.call_id for item in draft.request.transcript if isinstance(item, ToolResult)]
    taken += [other.id for other in draft.calls.values() if other is not call and other.id]
    if call is None or not taken:
        return None
    before, call.id = call.id, draft.random.choice(taken)
    return before, call.id


def _empty_id(draft: _Draft) -> Change:
    call = draft.some_call()
    if call is None:
        return None
    before, call.id = call.id, ""
    return before, ""


def _on_text(spoil: Callable[[str, random.Random], str]) -> Callable[[_Draft], Change]:
    """A fault in the argument text of one call."""

    def fault(draft: _Draft) -> Change:
        call = draft.some_call()
        if call is None:
            return None
        before, call.arguments = call.arguments, spoil(call.arguments, draft.random)
        return (before, call.arguments) if call.arguments != before else None

    return fault


def _on_value(spoil: Callable[[dict[str, JSON], random.Random], None]) -> Callable[[_Draft], Change]:
    """A fault in the arguments of one call, as long as they are a JSON object."""

    def spoiled(text: str, chance: random.Random) -> str:
        try:
            value = json.loads(text)
        except ValueError:
            return text
        if isinstance(value, dict):
            spoil(value, chance)
        return json.dumps(value)

    return _on_text(spoiled)


def _truncated(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(len(text))] if text else text


def _malformed(text: str, chance: random.Random) -> str:
    at = chance.randint(0, len(text))
    stray = chance.choice(["{", "}", "[", "]", ",", ":", '"', "x"])
    broken = [text.replace('"', "'"), text[:at] + stray + text[at:], f"({text})", text + text]
    return chance.choice(broken)


def _fenced(text: str, chance: random.Random) -> str:
    return f"```{chance.choice(['json', ''])}\n{text}\n```"


def _trailed(text: str, chance: random.Random) -> str:
    return text + chance.choice(["<|im_end|>", ",", "</tool_call>", "\n```", ";", " done", "<|eot|>\n"])


def _wrong_type(value: dict[str, JSON], chance: random.Random) -> None:
    if value:
        name = chance.choice(sorted(value))
        value[name] = chance.choice(
            [None, True, -1e9, "chaos", [value[name]], {"value": value[name]}, str(value[name])]
        )


def _extra(value: dict[str, JSON], chance: random.Random) -> None:
    value[f"chaos_{chance.randint(0, 9)}"] = 1


def _missing(value: dict[str, JSON], chance: random.Random) -> None:
    if value:
        del value[chance.choice(sorted(value))]


_FAULTS: dict[Kind, Callable[[_Draft], Change]] = {
    "retrying": _retrying,
    "empty": _empty,
    "interleaved": _interleaved,
    "unknown_name": _unknown_name,
    "repeated_id": _repeated_id,
    "empty_id": _empty_id,
    "duplicated_call": _duplicated_call,
    "truncated_arguments": _on_text(_truncated),
    "malformed_arguments": _on_text(_malformed),
    "code_fence": _on_text(_fenced),
    "trailing_tokens": _on_text(_trailed),
    "double_encoded": _on_text(lambda text, chance: json.dumps(text)),
    "wrong_type": _on_value(_wrong_type),
    "extra_property": _on_value(_extra),
    "missing_property": _on_value(_missing),
}
