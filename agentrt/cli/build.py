"""The agent of a run or chat: which engine answers, and everything that the flags and files say of it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from importlib.metadata import entry_points
from inspect import signature

from anyio import current_time, move_on_after

from agentrt.agent import Agent
from agentrt.cli import compose
from agentrt.cli.door import welcome
from agentrt.cli.flags import EngineFlags, PermissionFlags, RunFlags
from agentrt.cli.person import Person
from agentrt.cli.signals import Loop
from agentrt.cli.sources import Sources
from agentrt.cli.terminal import Terminal
from agentrt.config import Loaded
from agentrt.config.references import resolve_options
from agentrt.config.schema import PriceConfig
from agentrt.engine import Delta, Engine, Finished, Request
from agentrt.errors import ConfigError
from agentrt.plugins import engine_from
from agentrt.policy.extract import Extraction
from agentrt.policy.permissions import Ungrounded

EMBEDDED = "embedded"
CLOSE_SECONDS = 1.0


def agent_for(
    loaded: Loaded,
    found: Sources,
    terminal: Terminal,
    engine: Callable[[], str],
    *,
    run: RunFlags,
    permissions: PermissionFlags,
    person: Person | None = None,
) -> tuple[Agent, str]:
    """The agent, not opened yet, and its engine's name: what ``engine`` says once all else is found to be right.

    ``person`` answers what it asks; by default whoever is at the terminal.

    :raises ConfigError: if a flag or a file is wrong, or there is no engine.
    """
    rules = compose.rules(loaded, permissions)
    said = compose.instructions(loaded, run)
    limits = compose.limits(loaded, run)
    compaction = loaded.config.compaction.compaction()
    name = engine()
    made = make_engine(name, loaded)
    person = person or Person(terminal)
    welcome(found, terminal, made, person.asker)
    answers = _priced(made, loaded.config.price(name))
    agent = Agent(
        answers,
        tools=[*found.tools, *([Extraction(answers)] if loaded.config.permissions.extraction else [])],
        instructions=said,
        limits=limits,
        permit=rules.permit(
            ask_all=person.calls,
            instructions=said,
            ungrounded=grounding(said) if rules.grounds(embedded=is_embedded(name)) else None,
            preview=found.preview,
        ),
        max_tokens=loaded.config.max_answer_tokens,
        temperature=compose.temperature(loaded, run),
        compaction=compaction,
    )
    return agent, name


class _Priced:
    """An engine whose answers cost what the operator says, where it names no cost itself."""

    def __init__(self, inner: Engine, price: PriceConfig) -> None:
        self.inner = inner
        self.price = price

    @property
    def name(self) -> str:
        """The inner engine's."""
        return self.inner.name

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream the inner answer; its end comes with the cost."""
        start = current_time()
        async with aclosing(self.inner.stream(request)) as deltas:
            async for delta in deltas:
                if isinstance(delta, Finished) and delta.usage.cost is None:
                    cost = self.price.cost(delta.usage, current_time() - start)
                    delta = replace(delta, usage=replace(delta.usage, cost=cost))
                yield delta

    async def aclose(self) -> None:
        """Close the inner engine."""
        await self.inner.aclose()


def _priced(engine: Engine, price: PriceConfig | None) -> Engine:
    return engine if price is None else _Priced(engine, price)


@asynccontextmanager
async def opened(agent: Agent) -> AsyncIterator[Agent]:
    """The agent with its tools open; in the end its engine is closed too."""
    try:
        async with agent:
            yield agent
    finally:
        if agent.engine is not None:
            with move_on_after(CLOSE_SECONDS, shield=True):
                await agent.engine.aclose()


def make_engine(name: str, loaded: Loaded) -> Engine:
    """The engine called ``name``, with the configured options if the configuration names that very one.

    :raises ConfigError: if there is no such engine, or it does not take the options.
    """
    config = loaded.config
    if not config.engine_options or config.engine != name:
        return engine_from(name)
    options = resolve_options(config.engine_options, os.environ, loaded.base("engine"))
    for found in entry_points(group="agentrt.engines", name=name.partition(":")[0]):
        factory = found.load()
        try:
            signature(factory).bind(name, **options)
        except TypeError as error:
            raise ConfigError(f"the engine {name!r} does not take these engine_options: {error}") from error
        made: Engine = factory(name, **options)
        return made
    return engine_from(name)


def engine_name(loaded: Loaded, flags: EngineFlags, terminal: Terminal, loop: Loop, *, yes: bool) -> str:
    """The named engine, else a model server on this machine, else the embedded default; said in one line.

    :raises ConfigError: if there is none, and nobody who can be asked to download one.
    """
    name = find_engine(loaded, flags, loop)
    if name is None:
        return _embedded(terminal, "no engine is named, no model server runs on this machine, and ", yes=yes)
    if name == EMBEDDED:
        return _embedded(terminal, "", yes=yes)
    if name not in (flags.engine, loaded.config.engine):
        terminal.note(f"using {name}, which runs on this machine; --engine names another", "dim")
    return name


def find_engine(loaded: Loaded, flags: EngineFlags, loop: Loop) -> str | None:
    """The named engine, or a model server that runs on this machine, if there is one."""
    named = flags.engine or loaded.config.engine
    if named:
        return named
    from agentrt.engines.discover import local_engine

    return loop.run(local_engine)


def _embedded(terminal: Terminal, why: str, *, yes: bool) -> str:
    """The embedded engine, once its weights are here: the person is asked before they are downloaded.

    :raises ConfigError: if the answer is no, or nobody can be asked.
    :raises EngineError: if the weights can't be got.
    """
    from rich.console import Console

    from agentrt.cli.models import ensure_default_model

    def ask(question: str) -> bool:
        if not terminal.can_ask:
            raise ConfigError(
                f"{why}the embedded model is not on this machine, and nobody can be asked about its download: "
                "add --yes, run `agentrt models pull` first, or name another engine with --engine"
            )
        return (terminal.question_sync(f"{question} [y/n] ") or "").lower() in ("y", "yes")

    ensure_default_model(Console(file=terminal.err), None if yes else ask)
    return EMBEDDED


def is_embedded(name: str) -> bool:
    """Whether the engine runs in this process on the small default model, whose calls deserve a second look."""
    return name.partition(":")[0] == EMBEDDED


def grounding(instructions: str) -> Ungrounded:
    """Finds the arguments that neither the user, nor a tool, nor the instructions said."""
    from agentrt.policy.grounding import ungrounded

    return lambda call, transcript: ungrounded(call.arguments, transcript, instructions, spec=call.spec)
