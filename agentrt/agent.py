"""The agent: an engine, its tools and its limits, and the two ways to run it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self

from agentrt.combine import Combined
from agentrt.compaction.agent import Compactor
from agentrt.compaction.plan import Compaction
from agentrt.context import Spill
from agentrt.conversation import Conversation
from agentrt.dispatch import Permit
from agentrt.engine import Engine
from agentrt.errors import ConfigError, EngineError
from agentrt.events import Compacted, Emit, nowhere
from agentrt.function import Function, gathered
from agentrt.limits import Limits, Watch
from agentrt.loop import Result, Run
from agentrt.plugins import engine_from
from agentrt.stream import Stream, streamed
from agentrt.toolset import Toolset
from agentrt.types import Transcript, User

Tool = Toolset | Function | Callable[..., Any]


class Agent:
    """An engine, its tools and its limits.

    ``tools`` mixes typed Python functions and toolsets (MCP servers, A2A peers). ``permit`` may refuse a
    call before it runs; without one every call that passed the gate runs. ``compaction`` (``None``: none) keeps
    what is sent within the model's context, where that is known.

    Used as ``async with agent:`` its tools stay open over several runs; otherwise each run opens them.
    """

    def __init__(
        self,
        engine: Engine | str,
        *,
        tools: Iterable[Tool] = (),
        instructions: str = "",
        limits: Limits | None = None,
        permit: Permit | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        compaction: Compaction | None = Compaction(),  # noqa: B008 - frozen, so it may be shared
    ) -> None:
        self._engine = engine
        self.instructions = instructions
        self.limits = limits or Limits()
        self.permit = permit
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.compactor = Compactor(compaction)
        self.toolset: Toolset = Combined(gathered(tools))
        self.engine: Engine | None = None if isinstance(engine, str) else engine
        self._open: AsyncExitStack | None = None
        self._kept: dict[str, str] = {}  # whole results of runs without a session, until the tools are closed
        self._lone_run = False  # a run opened the tools for itself and will close them

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if isinstance(self._engine, str):
                self.engine = engine_from(self._engine)
                stack.push_async_callback(self.engine.aclose)
            await stack.enter_async_context(self.toolset)
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._open = self._open, None
        self._kept.clear()
        if stack is not None:
            await stack.__aexit__(kind, error, trace)

    async def run(
        self,
        prompt: str | User | None,
        *,
        transcript: Transcript | None = None,
        session: Conversation | None = None,
        emit: Emit = nowhere,
    ) -> Result:
        """Work on ``prompt`` until the model answers in words or a limit is reached.

        ``transcript`` goes on where an earlier run ended; it is appended to, turn by turn. A ``session``
        (:class:`agentrt.journal.Session`) does so over the end of the process; without a prompt (``None``)
        what was interrupted is taken up where it was.

        :raises ConfigError: if another run of this agent is going on and the agent was not opened for both.
        :raises EngineError: if the engine can't be asked; the transcript has every turn before that.
        :raises ToolsetError: if a source of tools can't be opened.
        """
        async with self._ready():
            talk = session or Conversation(transcript, kept=self._kept)
            return await self._run(talk, emit).drive(User(prompt) if isinstance(prompt, str) else prompt)

    async def compact(self, session: Conversation, *, emit: Emit = nowhere) -> Compacted | None:
        """Have the model sum up all but the last turns of ``session`` now; ``None`` if there is nothing to leave out.

        :raises ConfigError: if the session was interrupted in the middle of a turn: take it up first.
        """
        async with self._ready():
            return await self.compactor.now(self._run(session, emit))

    @asynccontextmanager
    async def _ready(self) -> AsyncIterator[None]:
        if self._lone_run:
            raise ConfigError("the agent is in the middle of a run; open it first (`async with agent:`) to share it")
        async with AsyncExitStack() as stack:
            if self._open is None:
                self._lone_run = True
                stack.callback(setattr, self, "_lone_run", False)
                await stack.enter_async_context(self)
            yield

    def stream(
        self, prompt: str | User | None, *, transcript: Transcript | None = None, session: Conversation | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """Run and hand out the events. A slow reader slows the run; leaving the block cancels it."""
        return streamed(lambda emit: self.run(prompt, transcript=transcript, session=session, emit=emit))

    def _run(self, talk: Conversation, emit: Emit) -> Run:
        if self.engine is None:
            raise EngineError("the agent is not open: use `async with agent:` or `await agent.run(...)`")
        return Run(
            engine=self.compactor.around(self.engine, talk),
            toolset=Spill(self.toolset, self.limits.result_chars, talk),
            talk=talk,
            emit=emit,
            watch=Watch(self.limits),
            permit=self.permit,
            instructions=self.instructions,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )
