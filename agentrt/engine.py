"""The engine protocol, the deltas that an engine streams, and the Assembler that folds them into one answer."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from agentrt.compaction.price import Compacted
from agentrt.types import Assistant, FinishReason, ToolCall, ToolSpec, Transcript, Usage


@dataclass(frozen=True, slots=True)
class Request:
    """What an engine is asked: the whole conversation and the tools on offer.

    ``transcript`` is append-only, so an engine may keep what it encoded of it and add only what is new.
    ``words_only``: the tools stay in the prompt as they are, but the answer is to be words, and no call in it is run.
    """

    transcript: Transcript
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    words_only: bool = False


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer's words."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class CallDelta:
    """The next piece of the call at ``index``. ``id`` and ``name`` come whole, ``arguments`` in fragments."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Retrying:
    """The engine failed before it said anything and tries again after ``wait_seconds``."""

    reason: str
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Prompted:
    """What a prompt is made of, from an engine that keeps token ids: of ``tokens``, the first ``kept`` are as before.

    ``rewritten`` says where a chat template changed what had been said, so that all from there is paid for again;
    ``defused`` is how many control markers stood in data and were made plain text.
    """

    tokens: int
    kept: int
    rewritten: str = ""
    defused: int = 0


@dataclass(frozen=True, slots=True)
class Traced:
    """The ids of a turn, when asked for: the prompt's after the first ``kept``, which are as before, and the answer's.

    A loss mask is 0 for each of ``prompt`` and 1 for each of ``answer``; ``logprobs`` are those of ``answer``.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    logprobs: tuple[float, ...] = ()
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The engine's last delta. Without one, or with ``cut``, the answer is not whole and nothing of it runs."""

    reason: FinishReason
    usage: Usage = field(default_factory=Usage)


Delta = TextDelta | ReasoningDelta | CallDelta | Retrying | Prompted | Traced | Compacted | Finished


class Engine(Protocol):
    """Something that answers a conversation. Streaming is the only way to ask it."""

    @property
    def name(self) -> str:
        """What people call it, e.g. ``vllm:moonshotai/Kimi-K2.6``."""
        ...

    def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream one answer, ending with :class:`Finished`. The caller closes the generator.

        :raises EngineError: if the model can't be asked, after the engine's own retries.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and memory. Must not fail if called twice."""
        ...


_MARK = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)
_DEPTH = {"{": 1, "[": 1, "}": -1, "]": -1}


class _OpenCall:
    """One call while it streams: its fragments, and a scanner that knows when its JSON value has closed."""

    __slots__ = ("_depth", "_escaping", "_in_string", "closed", "final_id", "fragments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.final_id = ""
        self.name = ""
        self.fragments: list[str] = []
        self.closed = False
        self._depth = 0
        self._in_string = False
        self._escaping = False

    def add(self, fragment: str) -> bool:
        """Take a fragment that is not empty; return whether the arguments closed with it for the first time."""
        self.fragments.append(fragment)
        if self.closed:
            return False
        start, self._escaping = int(self._escaping), False
        for match in _MARK.finditer(fragment, start):
            mark = match.group()
            self._escaping = mark == "\\"  # the end of the fragment: what it escapes is still to come
            if self._in_string:
                self._in_string = mark != '"'
            elif mark == '"':
                self._in_string = True
            elif mark in _DEPTH:
                self._depth += _DEPTH[mark]
                if self._depth <= 0:
                    self.closed = True
                    return True
        return False


class Assembler:
    """Folds deltas into one :class:`Assistant`, whatever the chunking and however parallel calls interleave.

    Every call gets an id that is unique in the conversation, once and for all when it is first asked for.
    """

    def __init__(self, transcript: Transcript | None = None) -> None:
        """An id that ``transcript`` has already, or that is empty, becomes one of ours."""
        self._transcript = Transcript() if transcript is None else transcript
        self._ids: set[str] = set()
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _OpenCall] = {}
        self._finished: Finished | None = None

    def feed(self, delta: Delta) -> int | None:
        """Take one delta; return the index of the call whose arguments closed with it, if one did."""
        match delta:
            case TextDelta(text):
                self._text.append(text)
            case ReasoningDelta(text):
                self._reasoning.append(text)
            case CallDelta(index, call_id, name, arguments):
                call = self._calls.get(index)
                if call is None:
                    call = self._calls[index] = _OpenCall()
                call.id = call.id or call_id
                call.name = call.name or name
                if arguments and call.add(arguments):
                    return index
            case Retrying() | Prompted() | Traced() | Compacted():
                pass
            case Finished():
                self._finished = delta
        return None

    def call(self, index: int) -> ToolCall:
        """The call at ``index`` as far as it has come."""
        call = self._calls[index]
        call.final_id = call.final_id or self._own(call.id)
        return ToolCall(call.final_id, call.name, "".join(call.fragments))

    def _own(self, call_id: str) -> str:
        """``call_id`` if it is free, else a fresh one."""
        free = call_id
        number = self._transcript.calls + len(self._ids)
        while not free or free in self._ids or self._transcript.knows(free):
            number += 1
            free = f"{call_id or 'call'}_{number}"
        self._ids.add(free)
        return free

    def names_before(self, index: int) -> Iterator[str]:
        """The tool names of the calls with a smaller index, empty where a call or its name has not come yet."""
        before = 0
        for at, call in self._calls.items():
            if at < index:
                before += 1
                yield call.name
        if before < index:
            yield ""

    def answer(self) -> Assistant:
        """The answer as far as it has come; ``finish`` is ``cut`` until :class:`Finished` was fed."""
        finished = self._finished or Finished("cut")
        return Assistant(
            text="".join(self._text),
            calls=tuple(self.call(index) for index in sorted(self._calls)),
            reasoning="".join(self._reasoning),
            finish=finished.reason,
            usage=finished.usage,
        )
