"""``agentrt chat``: a conversation at the terminal, kept in one session."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from agentrt.agent import Agent
from agentrt.cli import compose
from agentrt.cli.ask import AskedAfter
from agentrt.cli.build import agent_for, engine_name, opened
from agentrt.cli.door import asker_at
from agentrt.cli.flags import ConfigFlags, EngineFlags, PermissionFlags, RunFlags, SessionFlags, ToolFlags
from agentrt.cli.guard import DONE, report
from agentrt.cli.kept import Book, again, opened_book, prompt_of, shown
from agentrt.cli.line import line_editing
from agentrt.cli.person import Person
from agentrt.cli.render import ENDINGS, Live, summary
from agentrt.cli.shelf import Shelf
from agentrt.cli.signals import Loop, Stopped
from agentrt.cli.terminal import Terminal, bounded, clean, well_formed
from agentrt.compaction.engine import BY_HAND
from agentrt.conversation import Conversation
from agentrt.errors import AgentrtError, ConfigError
from agentrt.events import Compacted, Event, RunFinished, RunStarted
from agentrt.journal.records import Record
from agentrt.journal.session import Session
from agentrt.loop import Result
from agentrt.policy.record import write_down
from agentrt.question import standing_at
from agentrt.secrets.streams import redacted
from agentrt.types import Assistant, Message, Usage, User

HELP = """\
/help    this list
/tools   the tools on offer
/prompts, /resources   what the MCP servers offer besides
/clear   begin a new conversation
/cost    what the conversation used
/compact shorten what the model is sent: a summary for all but the last turns
/quit    leave (so does Ctrl-D)
/SERVER:PROMPT NAME=VALUE starts with a server's prompt; @SERVER:URI anywhere takes a resource along.
A line that ends in \\ goes on in the next one. Ctrl-C stops the running turn and keeps the chat."""


def talk(
    *,
    engine: EngineFlags,
    run: RunFlags,
    tools: ToolFlags,
    permissions: PermissionFlags,
    session: SessionFlags,
    config: ConfigFlags,
) -> int:
    """Prompt until the person leaves."""
    terminal = Terminal()
    loaded = compose.configuration(config, tools, terminal)
    found = compose.sources(loaded, tools)
    view = Live(terminal, partial(compose.notes, found))
    flags = again(session, run, tools, permissions, config)
    with Loop() as loop, loop.holding(opened_book(session, "chat", flags)) as book:
        if book is not None and book.info is not None:
            engine = replace(engine, engine=engine.engine or book.info.engine or None)
        named = partial(engine_name, loaded, engine, terminal, loop, yes=permissions.yes)
        person = Person(terminal, session.wait)
        agent, name = agent_for(loaded, found, terminal, named, run=run, permissions=permissions, person=person)
        agent.toolset = AskedAfter(agent.toolset, terminal)
        with loop.holding(opened(agent)):
            _Chat(terminal, loop, agent, name, book, view, Shelf(found), person).until_left()
    return DONE


@dataclass(slots=True)
class _Chat:
    """The prompt loop."""

    terminal: Terminal
    loop: Loop
    agent: Agent
    engine: str
    book: Book | None
    view: Live
    shelf: Shelf
    person: Person
    talk: Conversation | None = None
    usage: Usage = field(default_factory=Usage)
    turns: int = 0
    calls: int = 0
    seconds: float = 0.0
    greeted: bool = False

    def until_left(self) -> None:
        """Prompt, answer, prompt again."""
        name = self.agent.engine.name if self.agent.engine else "no engine"
        self.terminal.note(f"{name} · /help lists the commands, Ctrl-D leaves", "dim")
        write_down(self.agent.permit, self._note)
        with line_editing(self._completions), self._kept():
            self._take_up()
            while (said := self._prompt()) is not None:
                if said.startswith("/"):
                    if self._command(said) == "quit":
                        return
                elif said:
                    self._answer(said)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self.book is not None and self.book.how:
                self.terminal.note(f"to go on: {self.book.how}", "dim")

    def _take_up(self) -> None:
        """Take up the session that was named, and finish what was interrupted in it."""
        if self.book is None or self.book.info is None:
            return
        self.terminal.note(shown(self.book.info), "dim")
        session = self.loop.run(partial(self.book.take, self.book.info))
        self.talk = session
        ended = len(session.transcript) and isinstance(session.transcript[-1], Assistant)
        if session.open_turn is not None or not ended:
            self._guarded(partial(self._turn, prompt_of(session, None)))

    def _prompt(self) -> str | None:
        """What the person typed, or ``None`` to leave. Ctrl-C drops the line."""
        lines: list[str] = []
        while True:
            try:
                line = self._line("… " if lines else "> ")
            except EOFError:
                self.terminal.line("")
                return None
            except Stopped as stopped:
                if stopped.signum != signal.SIGINT:
                    raise
                self.terminal.line("\n(Ctrl-D leaves)", "dim")
                lines.clear()
                continue
            if not line.endswith("\\"):
                return well_formed("\n".join([*lines, line])).strip()
            lines.append(line[:-1])

    def _line(self, prompt: str) -> str:
        """One line of input; edited where a person types and sees it on stdout."""
        if self.terminal.can_ask and self.terminal.answers_live:
            return input(prompt)
        if self.terminal.can_ask:
            print(prompt, end="", file=self.terminal.err, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def _command(self, said: str) -> Literal["quit", "stay"]:
        match said.split()[0]:
            case "/quit" | "/exit":
                return "quit"
            case "/help":
                self.terminal.line(HELP)
            case "/clear":
                self._clear()
                self.terminal.line("the conversation is forgotten", "dim")
            case "/cost":
                self.terminal.line(summary(self.turns, self.calls, self.usage, self.seconds))
            case "/compact":
                self._guarded(self._compact)
            case "/tools":
                self._guarded(self._tools)
            case "/prompts":
                self._guarded(partial(self._list, self.shelf.prompts, "there are no prompts"))
            case "/resources":
                self._guarded(partial(self._list, self.shelf.resources, "there are no resources"))
            case name if ":" in name:
                self._guarded(partial(self._start_with, said))
            case other:
                self.terminal.note(f"there is no command {other!r}; /help lists them")
        return "stay"

    def _compact(self) -> None:
        """Have the model sum up what is long past; the whole stays in the session."""
        talk = self.talk
        told = None if talk is None else self.loop.run(partial(self._shorten, talk), patient=True)
        if told is None:
            self.terminal.note(
                "there is nothing to compact yet: the last turns stay, the rest is as short as a summary"
            )

    async def _shorten(self, talk: Conversation) -> Compacted | None:
        self.terminal.wait_for("summing up")
        async with self.terminal.spinner():
            return await self.agent.compact(talk, emit=redacted(self._show))

    def _tools(self) -> None:
        specs = self.loop.run(self.agent.toolset.specs)
        for spec in specs:
            reads = "reads" if spec.read_only else "writes"
            self.terminal.line(f"{clean(spec.name)} ({clean(spec.source)}, {reads}): {bounded(spec.description, 100)}")
        if not specs:
            self.terminal.line("there are no tools; see agentrt chat --help for --mcp, --tool and --pack", "dim")

    def _note(self, record: Record) -> None:
        """Keep a record in the session of the moment, if there is one."""
        if isinstance(self.talk, Session):
            self.talk.note(record)

    def _clear(self) -> None:
        """Begin anew with the next line; what was said stays in its own session."""
        self.talk = None
        if self.book is not None:
            self.book.info = self.book.session = None

    def _list(self, lines: Callable[[], Awaitable[list[str]]], none: str) -> None:
        for line in self.loop.run(lines) or [none]:
            self.terminal.note(line, "plain")

    def _start_with(self, said: str) -> None:
        """Take a server's prompt for what the person says; what it needs to know and was not told is asked."""
        call = self.loop.run(partial(self.shelf.invoked, said))
        for item in call.missing:
            about = f" ({clean(item.description)})" if item.description else ""
            try:
                call.arguments[item.name] = self._line(f"  {clean(item.name)}{about}: ")
            except EOFError:
                raise ConfigError(f"the prompt needs {item.name!r}; write {item.name}=VALUE behind it") from None
        messages = self.loop.run(partial(self.shelf.messages, call))
        final = messages.pop() if messages and isinstance(messages[-1], User) else None
        self.loop.run(partial(self._tell, said, messages))
        if isinstance(final, User):
            self.terminal.note(final.text, "dim")
            self._turn(final)

    def _completions(self, line: str, begun: str) -> list[str]:
        commands = ["/clear", "/compact", "/cost", "/help", "/prompts", "/quit", "/resources", "/tools"]
        own = [name for name in commands if name.startswith(begun)] if line.startswith("/") and line == begun else []
        return own + self.loop.run(partial(self.shelf.completions, line, begun))

    def _answer(self, said: str) -> None:
        self._guarded(lambda: self._turn(self.loop.run(partial(self.shelf.attached, said))))

    def _turn(self, said: User | None) -> None:
        reason = self.loop.run(partial(self._drive, said), patient=True)
        if reason != "done":
            self.terminal.note(ENDINGS[reason])

    def _guarded(self, act: Callable[[], None]) -> None:
        """Do it; what goes wrong, and Ctrl-C, ends it but not the chat."""
        try:
            act()
        except Stopped as stopped:
            if stopped.signum != signal.SIGINT:
                raise
            self.terminal.note("stopped; the conversation goes on from here")
        except AgentrtError as error:
            self.terminal.end_line()
            report(error)

    async def _begin(self, said: User) -> User | None:
        """Begin a conversation if there is none; return ``said`` unless it is in there already."""
        if self.talk is None and self.book is not None:
            self.talk = await self.book.begin(said, self.engine)
            return None
        self.talk = self.talk or Conversation()
        return said

    async def _tell(self, said: str, messages: Sequence[Message]) -> None:
        """Put what a server's prompt has others say before the person's words; ``said`` is what the person typed."""
        for message in messages:
            if isinstance(message, User):
                left = await self._begin(message)
                if left is not None and self.talk is not None:
                    await self.talk.say(left)
            elif isinstance(message, Assistant):
                if self.talk is None:
                    await self._tell(said, [User(said)])
                assert self.talk is not None, "begun with what the person typed"
                self.talk.close(message, ())

    async def _drive(self, said: User | None) -> str:
        self.terminal.wait_for("thinking")
        start = self.talk.written if isinstance(self.talk, Session) else 0
        said = None if said is None else await self._begin(said)
        if self.book is None or not isinstance(self.talk, Session):
            return (await self._run(said)).reason
        return (await self.person.seated(self.book.store, self.talk, start, partial(self._run, said))).reason

    async def _run(self, said: User | None) -> Result:
        async with self.terminal.spinner():
            with standing_at(self.person.asker or asker_at(self.terminal)):
                return await self.agent.run(said, session=self.talk, emit=redacted(self._show))

    async def _show(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            if self.greeted:
                return
            self.greeted = True
        if isinstance(event, Compacted) and event.reason == BY_HAND:
            self.usage += event.usage
        if isinstance(event, RunFinished):
            self.usage += event.usage
            self.turns += event.turns
            self.calls += event.calls
            self.seconds += event.seconds
        await self.view(event)
