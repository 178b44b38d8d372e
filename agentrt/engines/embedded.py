"""The embedded default: a small open model in this process, one constrained step at a time (llama.cpp).

A step is one call, or a reply in words, decided in the same decode. The grammar is made from the tools'
schemas, and the gate checks the whole schema afterwards as it does for any engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from agentrt.engine import Delta, Engine, Finished, Request, TextDelta
from agentrt.engines.choice import messages, reply_bias, reply_name, step_schema
from agentrt.engines.llama import Llama, Setup, acquire, release
from agentrt.engines.step import NotAStepError, StepReader
from agentrt.errors import ConfigError, ContextExceeded, EngineError
from agentrt.models import resolve
from agentrt.outside import tapped
from agentrt.types import FinishReason, Usage

CONTEXT_TOKENS = 8192
ANSWER_TOKENS = 2048
_FINISH: dict[str | None, FinishReason] = {"stop": "stop", "length": "length"}


class Embedded:
    """Answers on this machine's processors. Agents that name the same weights share one loaded model."""

    def __init__(self, name: str, setup: Setup) -> None:
        self._name = name
        self._setup = setup
        self._model: Llama | None = None

    @property
    def context_tokens(self) -> int:
        """The tokens that prompt and answer may have together."""
        return self._setup.context

    @property
    def name(self) -> str:
        """As it was asked for, e.g. ``embedded:0.5b``."""
        return self._name

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream one step: a call's arguments as they are written, or words. Closing it stops the model.

        :raises EngineError: if the weights can't be loaded, or the conversation exceeds the context.
        """
        self._model = self._model or acquire(self._setup)
        if not request.tools:
            async with aclosing(self._answer(self._model, request)) as deltas:
                async for delta in deltas:
                    yield delta
            return
        # A grammar that llama.cpp can't use is dropped without a word, so the second one has hardly anything in it.
        for shaped in (True, False):
            spoke = False
            try:
                async with aclosing(self._step(self._model, request, shaped=shaped)) as deltas:
                    async for delta in deltas:
                        spoke = True
                        yield delta
                return
            except NotAStepError:
                if spoke:
                    break
        yield Finished("cut")

    async def _answer(self, model: Llama, request: Request) -> AsyncGenerator[Delta, None]:
        """Words alone, for a request without tools."""
        reading = _Reading()
        async with aclosing(self._chat(model, _body(request, ""))) as chunks:
            async for chunk in chunks:
                text = reading.take(chunk)
                if text:
                    yield TextDelta(text)
        yield Finished(reading.finish, reading.usage)

    async def _step(self, model: Llama, request: Request, *, shaped: bool) -> AsyncGenerator[Delta, None]:
        """One step under the grammar of the tools on offer.

        :raises NotAStepError: if the model writes something else.
        """
        reply = reply_name(request.tools)
        body = _body(request, reply) | {
            "schema": step_schema(() if request.words_only else request.tools, reply, shaped=shaped),
            "logit_bias": [[reply, reply_bias(request.transcript)]],
        }
        reader, reading = StepReader(reply), _Reading()
        async with aclosing(self._chat(model, body)) as chunks:
            async for chunk in chunks:
                for delta in reader.feed(reading.take(chunk)):
                    yield delta
        finish = reading.finish
        if finish == "stop":
            finish = ("tool_calls" if reader.is_call else "stop") if reader.whole else "cut"
        yield Finished(finish, reading.usage)

    async def _chat(self, model: Llama, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        async with aclosing(model.chat(body)) as chunks:
            async for chunk in chunks:
                if "error" in chunk:
                    raise self._error(chunk["error"])
                yield chunk

    def _error(self, said: Any) -> EngineError:
        """What llama.cpp refused, with what helps."""
        said = said if isinstance(said, Mapping) else {"message": str(said)}
        if said.get("type") != "exceed_context_size_error":
            return EngineError(f"{self._name} could not answer: {said.get('message', said)}")
        refused = ContextExceeded(
            f"the conversation has {said.get('n_prompt_tokens', 'more')} tokens and does not fit the context of "
            f"{self._setup.context} of {self._name}; start a new one, offer fewer tools, or raise the engine option "
            "`context` (it costs memory)"
        )
        tokens = said.get("n_prompt_tokens")
        refused.limit, refused.tokens = self._setup.context, tokens if isinstance(tokens, int) else None
        return refused

    async def aclose(self) -> None:
        """Give the model back; the last one to do so frees its memory."""
        model, self._model = self._model, None
        if model is not None:
            await release(model)


class _Reading:
    """What the chunks of one answer have told so far, apart from its text."""

    def __init__(self) -> None:
        self.finish: FinishReason = "cut"
        self.usage = Usage()

    def take(self, chunk: Mapping[str, Any]) -> str:
        """Take a chunk; return its text."""
        said = chunk.get("usage")
        if said:
            cached = (said.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            self.usage = Usage(said.get("prompt_tokens", 0), said.get("completion_tokens", 0), cached)
        choices: Sequence[Mapping[str, Any]] = chunk.get("choices") or ()
        for choice in choices:
            self.finish = _FINISH.get(choice.get("finish_reason"), self.finish)
        return "".join(choice.get("delta", {}).get("content") or "" for choice in choices)


def _body(request: Request, reply: str) -> dict[str, Any]:
    return {
        "messages": messages(request, reply),
        "temperature": request.temperature or 0.0,
        "max_tokens": request.max_tokens or ANSWER_TOKENS,
        "cache_prompt": True,
    }


def engine_from_name(name: str, *, context: int = CONTEXT_TOKENS, threads: int = 0) -> Engine:
    """``embedded``, ``embedded:0.5b`` or ``embedded:/path/to/file.gguf``. Never downloads.

    ``context`` is in tokens; more of it costs memory. ``threads`` 0 is one for each core.

    :raises ConfigError: if the weights are not on this machine; the message says how to get them.
    """
    if context < 1 or threads < 0:
        raise ConfigError(f"the embedded engine needs a context of at least 1 token, got {context}, threads {threads}")
    made: Engine = Embedded(name, Setup(resolve(name.partition(":")[2]), context, threads))
    return tapped("engine", made)
