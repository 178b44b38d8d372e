"""``agentrt run``: one task, from the flags to the answer and the exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial

from agentrt.agent import Agent
from agentrt.cli import compose
from agentrt.cli.ask import AskedAfter
from agentrt.cli.build import agent_for, engine_name, opened
from agentrt.cli.door import asker_at
from agentrt.cli.flags import ConfigFlags, EngineFlags, OutputFlags, PermissionFlags, RunFlags, SessionFlags, ToolFlags
from agentrt.cli.guard import DONE, ENDED, report
from agentrt.cli.kept import Book, again, opened_book, prompt_of, shown
from agentrt.cli.person import Person, StoppedElsewhere
from agentrt.cli.render import ENDINGS, JsonLines, Live
from agentrt.cli.signals import Loop, Stopped
from agentrt.cli.terminal import Terminal, well_formed
from agentrt.errors import AgentrtError, ConfigError
from agentrt.events import Emit
from agentrt.journal.session import Session
from agentrt.loop import Result
from agentrt.policy.record import write_down
from agentrt.question import standing_at
from agentrt.secrets.streams import redacted
from agentrt.types import User


def run_task(
    task: str | None,
    *,
    engine: EngineFlags,
    run: RunFlags,
    tools: ToolFlags,
    permissions: PermissionFlags,
    session: SessionFlags,
    output: OutputFlags,
    config: ConfigFlags,
) -> int:
    """Run the task and return the exit code."""
    terminal = Terminal(quiet=output.quiet or output.json)
    prompt = _prompt(task, needed=not (session.go_on or session.resume))
    loaded = compose.configuration(config, tools, terminal)
    found = compose.sources(loaded, tools)
    emit = redacted((JsonLines if output.json else Live)(terminal, partial(compose.notes, found)))
    flags = again(session, run, tools, permissions, config)
    with Loop() as loop, loop.holding(opened_book(session, "run", flags)) as book:
        if book is not None and book.info is not None:
            engine = replace(engine, engine=engine.engine or book.info.engine or None)
        named = partial(engine_name, loaded, engine, terminal, loop, yes=permissions.yes)
        person = Person(terminal, session.wait)
        agent, name = agent_for(loaded, found, terminal, named, run=run, permissions=permissions, person=person)
        agent.toolset = AskedAfter(agent.toolset, terminal)
        job = _Job(agent, name, prompt, book, person, emit)
        loop.last_words = partial(job.say_how_to_go_on, "stopped")
        try:
            result = loop.run(job.drive)
        except Stopped:
            loop.last_words()
            raise
        except StoppedElsewhere as stopped:
            job.say_how_to_go_on(str(stopped))
            return ENDED
        except AgentrtError as error:
            terminal.end_line()
            code = report(error)
            job.say_how_to_go_on("")
            return code
        return job.ending(result)


def _prompt(task: str | None, *, needed: bool) -> User | None:
    """The task as it was given, or from stdin; ``None`` if there is none and none is needed.

    :raises ConfigError: if one is needed.
    """
    if task is not None and task != "-":
        return User(well_formed(task))
    if sys.stdin is not None and (task == "-" or not sys.stdin.isatty()):
        read = sys.stdin.buffer.read().decode(errors="replace").strip()
        if read:
            return User(read)
    if needed:
        raise ConfigError('there is no task; write it as agentrt run "…", or pipe it in')
    return None


@dataclass(frozen=True, slots=True)
class _Job:
    """One run, and where it is kept."""

    agent: Agent
    engine: str
    prompt: User | None
    book: Book | None
    person: Person
    emit: Emit

    async def drive(self) -> Result:
        """Begin or take up the session, open the tools, run."""
        if self.book is None:
            return await self._run(self.prompt, None)
        start = 0
        if self.book.info is None:
            assert self.prompt is not None, "a new session begins with words"
            session, prompt = await self.book.begin(self.prompt, self.engine), None
        else:
            self.terminal.note(shown(self.book.info), "dim")
            session = await self.book.take(self.book.info)
            start = session.written
            prompt = prompt_of(session, self.prompt)
        write_down(self.agent.permit, session.note)
        return await self.person.seated(self.book.store, session, start, partial(self._run, prompt, session))

    @property
    def terminal(self) -> Terminal:
        """Where it is shown."""
        return self.person.terminal

    async def _run(self, prompt: User | None, session: Session | None) -> Result:
        self.terminal.wait_for("opening the tools")
        async with self.terminal.spinner(), opened(self.agent):
            with standing_at(self.person.asker or asker_at(self.terminal)):
                return await self.agent.run(prompt, session=session, emit=self.emit)

    def ending(self, result: Result) -> int:
        """The exit code; if the task is not done, why, and how to go on."""
        if result.reason == "done":
            return DONE
        self.say_how_to_go_on(ENDINGS[result.reason])
        return ENDED

    def say_how_to_go_on(self, reason: str) -> None:
        """Why it ended, and the command that takes the session up, if there is one to take up."""
        how = f"to go on: {self.book.how}" if self.book is not None and self.book.how else ""
        said = "; ".join(part for part in (reason, how) if part)
        if said:
            self.terminal.note(said)
