"""One vLLM request per conversation, kept with its KV cache while tools run, where that gives the same answers.

vLLM 0.32 goes on with a request whose prompt is a stream of pieces. It drops the last token that it sampled, so that
one is sent again, and it never looks at a later piece's grammar: a request with one is never kept.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from anyio import CancelScope, Event, current_time

from agentrt.engines.tokens.source import Sampling, Tokens
from agentrt.errors import ConfigError

Read = Callable[[Any, Sampling], AsyncGenerator[Tokens, None]]
"""Asks vLLM with a prompt, or with a stream of pieces of one."""

SHARE = 2
"""Kept requests may have one part in so many of the cache and of the batch's places: vLLM takes neither from them."""


class Shelf:
    """The requests that are kept while nobody asks them, longest first. ``tokens`` and ``places`` are what vLLM has."""

    def __init__(self, tokens: int, places: int) -> None:
        self._tokens = tokens
        self._places = places
        self._resting: WeakKeyDictionary[Held, int] = WeakKeyDictionary()

    @property
    def resting(self) -> int:
        """How many requests are kept."""
        self._sweep()
        return len(self._resting)

    def take(self, held: Held) -> None:
        """It is asked again, or let go."""
        self._resting.pop(held, None)

    async def put(self, held: Held, tokens: int) -> None:
        """Keep it, and let go of others, or of it, if that is too much."""
        self._resting[held] = tokens
        while sum(self._resting.values()) > self._tokens // SHARE or len(self._resting) > self._places // SHARE:
            await next(iter(self._resting)).release()

    async def make_room(self, tokens: int) -> None:
        """Let go of what has rested longest until a request of so many tokens fits beside the rest."""
        self._sweep()
        while self._resting and sum(self._resting.values()) + tokens > self._tokens:
            await next(iter(self._resting)).release()

    async def clear(self) -> None:
        """Let go of all."""
        while self._resting:
            await next(iter(self._resting)).release()

    def _sweep(self) -> None:
        for held in [held for held in self._resting if held.over]:
            self.take(held)


class _Pieces:
    """The stream of a request's pieces. Once it ends vLLM lets go of the request."""

    def __init__(self, piece: Any) -> None:
        self._piece = piece
        self._given = Event()
        self._given.set()
        self._deadline = math.inf
        self._wait: CancelScope | None = None

    @property
    def over(self) -> bool:
        """Whether it waited too long for the next piece."""
        return self._wait is not None and self._wait.cancel_called

    def until(self, deadline: float) -> None:
        """Wait for the next piece until then; ``inf`` while an answer is being generated."""
        self._deadline = deadline
        if self._wait is not None:
            self._wait.deadline = deadline

    def give(self, piece: Any) -> None:
        """The next piece; only while it is not over."""
        self._piece = piece
        self.until(math.inf)
        self._given.set()

    async def stream(self) -> AsyncGenerator[Any, None]:
        """Runs in vLLM's own task, which is why the time limit needs none of ours."""
        while True:
            with CancelScope(deadline=self._deadline) as self._wait:
                await self._given.wait()
            if self.over:
                return
            self._given = Event()
            yield self._piece


class Held:
    """Goes on for one conversation: in the request of its last answer if it can, else in a new one.

    Dropping it lets go of the request: the event loop closes the generator (PEP 525), and vLLM aborts.
    """

    def __init__(self, read: Read, piece: Callable[[Sequence[int], Sampling], Any], shelf: Shelf, idle: float) -> None:
        """``piece`` makes one of vLLM's pieces; ``idle`` is for how many seconds a request is kept."""
        self._read = read
        self._piece = piece
        self._shelf = shelf
        self._idle = idle
        self._ids: list[int] = []
        self._busy = False
        self._pieces: _Pieces | None = None
        self._answers: AsyncGenerator[Tokens, None] | None = None

    @property
    def over(self) -> bool:
        """Whether there is no request (any more)."""
        return self._pieces is None or self._pieces.over

    async def generate(self, ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[Tokens, None]:
        """Go on from ``ids``; :meth:`agentrt.engines.tokens.source.Source.generate` says the rest."""
        await self._shelf.make_room(len(ids) + (sampling.max_tokens or 0))
        # a seed's random numbers would go on where the last answer left them
        if self._busy or sampling.tag or sampling.options.get("seed") is not None:
            if not self._busy:
                await self.release()
            going = self._read({"prompt_token_ids": list(ids)}, sampling)
        else:
            going = self._go_on(ids, sampling)
        async with aclosing(going) as pieces:
            async for tokens in pieces:
                yield tokens

    async def _go_on(self, ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[Tokens, None]:
        self._busy, ended = True, False
        try:
            kept = await self._ask(ids, sampling)
            assert self._answers is not None, "it has just been asked"
            async for tokens in self._answers:
                self._ids += tokens.ids
                ended = tokens.finish in ("stop", "length")
                if ended:
                    await self._rest()
                yield tokens if kept is None else replace(tokens, cached=kept)
                if ended:
                    break
        finally:
            self._busy = False
            if not ended:
                await self.release()

    async def _ask(self, ids: Sequence[int], sampling: Sampling) -> int | None:
        """Give vLLM what is new; how many tokens its cache still had, ``None`` if it is a new request."""
        self._shelf.take(self)
        has = len(self._ids)
        if self._pieces is not None and not self._pieces.over and self._ids == list(ids[:has]) and len(ids) > has:
            self._ids = list(ids)
            self._pieces.give(self._piece(ids[has:], sampling))
            return has
        await self.release()
        self._ids = list(ids)
        self._pieces = _Pieces(self._piece(ids, sampling))
        self._answers = self._read(self._pieces.stream(), sampling)
        return None

    async def _rest(self) -> None:
        """An answer has ended. Its last token was sampled and not computed: vLLM drops it."""
        assert self._pieces is not None, "it was asked"
        del self._ids[-1:]
        self._pieces.until(current_time() + self._idle)
        await self._shelf.put(self, len(self._ids))

    async def release(self) -> None:
        """Let go of the request, if there is one."""
        self._shelf.take(self)
        pieces, answers = self._pieces, self._answers
        self._pieces = self._answers = None
        if pieces is None or answers is None:
            return
        with CancelScope(shield=True):
            if pieces.over:  # vLLM is ending it already; to abort it meanwhile would start it anew
                async for _ in answers:
                    pass
            else:
                pieces.until(math.inf)
                await answers.aclose()


def refuse_where_unsound(config: Any) -> None:
    """What of vLLM's settings would make a request that goes on give other answers.

    :raises ConfigError: if there is such a setting.
    """
    why = ""
    if config.speculative_config is not None:
        why = "speculative decoding, where it may keep one token more than it says"
    elif config.model_config.has_inner_state:
        why = "a model with a recurrent state, which can't be taken back by a token"
    if why:
        raise ConfigError(f"vLLM can't go on with a request under {why}: leave out the engine option `resumable`")
