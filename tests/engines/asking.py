"""Asks an engine over real HTTP and keeps what it said."""

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from agentrt.engine import Assembler, Delta, Request, Retrying
from agentrt.engines.openai_chat import OpenAIChat
from agentrt.engines.retry import Patience
from agentrt.types import Assistant, Transcript, Usage, User
from tests.model_server import ModelServer

QUICK = Patience(idle_seconds=0.05, first_token_seconds=0.2, backoff_seconds=0.0, tries=3)
CALM = Patience(backoff_seconds=0.0, tries=3, connect_tries=2)
OSLO = '{"city":"Oslo","days":3}'
SUNNY = Assistant("It is sunny in Oslo.", usage=Usage(100, 20))


@dataclass
class Heard:
    """What an engine said: all deltas, and the answer that they fold to."""

    deltas: list[Delta]
    answer: Assistant

    @property
    def retries(self) -> list[Retrying]:
        return [delta for delta in self.deltas if isinstance(delta, Retrying)]


async def hear(engine: OpenAIChat, request: Request | None = None) -> Heard:
    assembler, deltas = Assembler(), []
    async with aclosing(engine.stream(request or Request(Transcript([User("How is it?")])))) as stream:
        async for delta in stream:
            deltas.append(delta)
            assembler.feed(delta)
    return Heard(deltas, assembler.answer())


async def ask(script: Any, *, patience: Patience = CALM, requests: int | None = 1, **options: Any) -> Heard:
    """One answer of a fresh engine to a server with this script, which must see so many requests."""
    async with ModelServer(script) as server:
        engine = OpenAIChat(server.url, "m", patience=patience, **options)
        try:
            return await hear(engine)
        finally:
            await engine.aclose()
            assert requests is None or len(server.asks) == requests
