"""One answer decoded token by token: read, and its arguments decoded again where they did not pass the gate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from agentrt.contract import Gate, Rejected
from agentrt.engine import CallDelta, Delta, Finished, Retrying, Traced
from agentrt.engines.grammar.tags import Tags
from agentrt.engines.tokens.source import Generates, Sampling
from agentrt.engines.toolparse import Reading
from agentrt.types import FinishReason, ToolCall, Usage

AGAIN_TEMPERATURE = 0.7
_ARGUMENTS, _CALL_END = "<|tool_call_argument_begin|>", "<|tool_call_end|>"
_SECTION_END = "<|tool_calls_section_end|>"
Tokenwise = Reading[Iterable[int]]


@dataclass(slots=True)
class _Call:
    """A call as far as it was read: ``held`` deltas wait for its end; ``start`` is where its arguments begin."""

    name: str
    id: str
    start: int
    held: list[Delta] | None
    before: Tokenwise
    arguments: str = ""
    tries: int = 0


class _Redecode(Exception):
    """The arguments of this call are to be decoded again."""

    def __init__(self, call: _Call, reason: str) -> None:
        super().__init__(reason)
        self.call = call


@dataclass(slots=True)
class Turn:
    """Decodes one answer to ``prompt``. ``first`` is the number of its first call, counted over the conversation.

    ``tags`` are there if the model is held to a grammar. ``tries`` is how often the arguments of a call that the
    gate would reject are decoded again (where the format lets them stand alone). ``ids`` and ``calls`` are what was
    written in the end.
    """

    source: Generates
    gate: Gate
    sampling: Sampling
    prompt: tuple[int, ...]
    reading: Tokenwise
    marks: dict[str, int]
    tags: Tags | None
    first: int
    tries: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)
    decoded: int = 0
    _alone: bool = False
    _cached: int | None = None
    _finish: FinishReason = "cut"

    async def run(self, *, kept: int, trace: bool) -> AsyncGenerator[Delta, None]:
        """The answer's deltas, :class:`Finished` last.

        :raises GrammarRefused: before any delta, if the backend does not take the tag.
        :raises EngineError: if the source fails.
        """
        sampling = replace(self.sampling, tag=self._whole_tag())
        while True:
            try:
                async with aclosing(self._decode(sampling)) as deltas:
                    async for delta in deltas:
                        yield delta
                break
            except _Redecode as again:
                yield Retrying(f"the arguments of {again.call.name} did not pass the gate", 0.0)
                async with aclosing(self._again(again.call)) as deltas:
                    async for delta in deltas:
                        yield delta
                if self._finish != "stop" or self.reading.open_call:
                    break
                if self.tags is not None and len(self.calls) >= self.tags.parallel:
                    self._take(self.marks[_SECTION_END])  # there is nothing left for the model to decide
                    break
                sampling = replace(self.sampling, tag=self._rest_tag())
        last, reason = self.reading.finish(self._finish)
        for delta in self._release(last):
            yield delta
        if trace:
            yield Traced(self.prompt[kept:], tuple(self.ids), tuple(self.logprobs), kept)
        yield Finished(reason, Usage(len(self.prompt), self.decoded, self._cached or 0))

    def _whole_tag(self) -> str:
        return self.tags.calls(self.gate.specs, self.first) if self.tags else ""

    def _rest_tag(self) -> str:
        if self.tags is None:
            return ""
        count = len(self.calls)
        return self.tags.rest(self.gate.specs, self.first + count, self.tags.parallel - count)

    async def _decode(self, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Go on from what there is until the model stops.

        :raises _Redecode: if a call has ended whose arguments are to be decoded again.
        """
        left = None if sampling.max_tokens is None else max(sampling.max_tokens - len(self.ids), 1)
        sampling = replace(sampling, max_tokens=left)
        async with aclosing(self.source.generate([*self.prompt, *self.ids], sampling)) as pieces:
            async for piece in pieces:
                self._cached = piece.cached if self._cached is None else self._cached
                self.decoded += len(piece.ids)
                for at, token in enumerate(piece.ids):
                    token = self._meant(token, held=bool(sampling.tag))
                    self.logprobs += piece.logprobs[at : at + 1]
                    for delta in self._take(token):
                        yield delta
                if piece.finish is not None:
                    self._finish = piece.finish

    def _meant(self, token: int, *, held: bool) -> int:
        """A token that stops the model, where it can only have ended a call, is that call's end."""
        if token not in self.sampling.stop_token_ids:
            return token
        if self._alone:  # arguments alone may end with the answer's end as well
            return self.marks[_CALL_END]
        # under a grammar that leaves the end to the stop tokens, arguments that are not whole can't be stopped
        closing = self.tags.closing if self.tags and held else None
        return closing if closing is not None and self.reading.open_call else token

    def _take(self, token: int) -> list[Delta]:
        self.ids.append(token)
        ended = self.reading.ended
        deltas = self._release(self.reading.feed((token,)))
        if self.reading.ended > ended and self.calls:
            deltas += self._check(self.calls[-1])
        return deltas

    def _release(self, deltas: list[Delta]) -> list[Delta]:
        """The deltas that may go out now; those of a call that may yet be decoded again wait for its end."""
        out: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, CallDelta):
                if delta.index == len(self.calls):
                    self._begin(delta)
                call = self.calls[delta.index]
                call.arguments += delta.arguments
                (out if call.held is None else call.held).append(delta)
            else:
                out.append(delta)
        return out

    def _begin(self, delta: CallDelta) -> None:
        alone = self.ids[-1:] == [self.marks.get(_ARGUMENTS)]
        spec = self.gate.spec(delta.name)
        doubted = spec is not None and (self.tags is None or self.tags.contract(spec).level != "enforced")
        held: list[Delta] | None = [] if alone and doubted and self.tries else None
        before = self.reading.copy() if held is not None else self.reading
        self.calls.append(_Call(delta.name, delta.id, len(self.ids), held, before))

    def _check(self, call: _Call) -> list[Delta]:
        """What was held of a call that has ended.

        :raises _Redecode: if the gate would reject it and tries are left.
        """
        held, spec = call.held, self.gate.spec(call.name)
        if held is None or spec is None:
            return []
        if call.tries < self.tries:
            verdict = self.gate.check(ToolCall("", call.name, call.arguments))
            if isinstance(verdict, Rejected):
                raise _Redecode(call, verdict.reason)
        call.held = None
        return held

    async def _again(self, call: _Call) -> AsyncGenerator[Delta, None]:
        """Decode the arguments of ``call``, and nothing else, from the exact prefix under their own grammar."""
        spec = self.gate.spec(call.name)
        assert spec is not None, "only a known tool's call is checked"
        assert call.held is not None, "what was let go can't be taken back"
        while True:
            call.tries += 1
            del self.ids[call.start :], self.logprobs[call.start :]
            self.reading, call.held[1:], call.arguments = call.before.copy(), [], ""
            tag = self.tags.arguments(spec) if self.tags else ""
            hot = max(self.sampling.temperature or 0.0, AGAIN_TEMPERATURE)
            sampling = replace(self.sampling, tag=tag, temperature=hot, stop_token_ids=(self.marks[_CALL_END],))
            self._alone = True
            try:
                async with aclosing(self._decode(sampling)) as deltas:
                    async for delta in deltas:
                        yield delta
            except _Redecode:
                continue
            finally:
                self._alone = False
            return
