"""The runs of a host as all its doors see them: whoever works on one, any may look, answer what it asks, or stop it."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from anyio import CancelScope, Event, move_on_after, sleep

from agentrt import outside
from agentrt.errors import ConfigError, lone_errors
from agentrt.journal.beside import Database, Row, SqliteDatabase, beside
from agentrt.journal.store import JournalError, Store
from agentrt.question import Answer, Consent, Form, Question, Visit, misfit

State = Literal["working", "input_required", "completed", "failed", "cancelled"]
"""How a run is: MCP's task states, to which A2A's map (:data:`agentrt_a2a.server.agent.STATES`)."""

TERMINAL = "terminal"
"""The door of ``agentrt run`` and ``chat``: its runs are taken up there and nowhere else."""
HELD_SECONDS = 10.0
BEAT_SECONDS = 3.0
POLL_SECONDS = 0.3
KEPT_SECONDS = 7 * 24 * 3600.0
"""How long it is known of a run that has ended which session it was; the session itself stays."""

_LOG = logging.getLogger("agentrt.serve")
_KINDS: dict[str, type[Form | Visit | Consent]] = {kind.__name__: kind for kind in (Form, Visit, Consent)}
_TABLES = (
    """CREATE TABLE IF NOT EXISTS serve_runs (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, door TEXT NOT NULL, owner TEXT NOT NULL, session TEXT NOT NULL,
        start INTEGER NOT NULL, state TEXT NOT NULL, stop INTEGER NOT NULL,
        held REAL NOT NULL, updated REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS serve_questions (
        run TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (run, name))""",
)


class Held(Exception):
    """Another door works on the run."""


class NoSuchQuestion(ValueError):
    """Nobody asks this, or not any more; or the answer does not fit."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run: the records of ``session`` from the record ``start`` (from 0) on. ``id`` is its name at every door.

    ``held``: a process works on it now. Otherwise it ended, or whoever asks for it next may take it up.
    ``questions`` are what it waits with, by name.
    """

    id: str
    tenant: str
    door: str
    session: str
    start: int
    state: State = "working"
    held: bool = True
    questions: Mapping[str, Question] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self.state in ("completed", "failed", "cancelled")


@dataclass(slots=True)
class Seat:
    """A run at the door that works on it. ``end`` says how it ended; without, it was put down."""

    run: Run
    board: Board
    stop: Callable[[], None]
    open: dict[str, Callable[[Answer], None]] = field(default_factory=dict)
    ended: State | None = None
    stirred: Event = field(default_factory=Event)

    def end(self, state: State) -> None:
        """It has ended so."""
        self.ended = state

    @asynccontextmanager
    async def asking(self, name: str, question: Question, deliver: Callable[[Answer], None]) -> AsyncIterator[None]:
        """Inside, every door shows the question; ``deliver`` gets an answer that came by another than our own.

        ``name`` tells it from the run's other questions, also after a restart: an answer to the same question that
        came meanwhile counts.
        """
        given: list[Answer] = []

        def once(answer: Answer) -> None:
            if not given:
                given.append(answer)
                deliver(answer)

        self.open[name] = once
        self.stirred.set()
        await self.board.post(self.run.id, name, question)
        try:
            yield
        finally:
            del self.open[name]
            with CancelScope(shield=True), suppress(JournalError):
                await self.board.withdraw(self.run.id, name)


@dataclass(slots=True)
class Board:
    """The board of a host; one that shares its database sees the same runs. A tenant sees its own alone."""

    database: Database
    owner: str = field(default_factory=lambda: secrets.token_hex(8))
    _seats: dict[str, Seat] = field(default_factory=dict)
    _is_made: bool = False

    @classmethod
    def of(cls, store: Store | None) -> Self:
        """The board beside the sessions in ``store``; in memory where these are."""
        try:
            return cls(beside(store, "runs.db", synchronous="NORMAL"))
        except ConfigError:
            return cls(SqliteDatabase(Path(":memory:")))

    async def _run(self, *statements: tuple[str, Any]) -> list[Row]:
        if not self._is_made:
            old = outside.now() - KEPT_SECONDS
            over = "DELETE FROM serve_runs WHERE (state <> 'working' OR door = ?) AND updated < ? AND held < ?"
            await self.database.run(*[(table, ()) for table in _TABLES], (over, (TERMINAL, old, old)))
            self._is_made = True
        return await self.database.run(*statements)

    async def aclose(self) -> None:
        """Release the database."""
        self._is_made = False  # one in memory begins anew
        await self.database.aclose()

    async def find(self, run_id: str, tenant: str) -> Run | None:
        """The tenant's run."""
        found = await self._runs("id = ? AND tenant = ?", (run_id, tenant))
        return found[0] if found else None

    async def going_on(self, tenant: str | None = None) -> list[Run]:
        """The tenant's runs that have not ended, the oldest first; everybody's for the operator (``None``)."""
        if tenant is None:
            found = await self._runs("state = 'working'", ())
        else:
            found = await self._runs("state = 'working' AND tenant = ?", (tenant,))
        return [run for run in found if not run.ended]

    async def _runs(self, where: str, values: tuple[Any, ...]) -> list[Run]:
        sql = f"""SELECT id, tenant, door, session, start, state, held FROM serve_runs WHERE {where}
            ORDER BY updated, id LIMIT 1000"""
        rows = await self._run((sql, values))
        return [await self._with_questions(row) for row in rows]

    async def _with_questions(self, row: Row) -> Run:
        run_id, tenant, door, session, start, state, held = row
        if state != "working":
            return Run(run_id, tenant, door, session, start, state, held=False)
        if door == TERMINAL and held <= outside.now():  # its process died
            return Run(run_id, tenant, door, session, start, "failed", held=False)
        asked = await self._run(("SELECT name, body FROM serve_questions WHERE run = ? AND answer = ''", (run_id,)))
        questions = {str(name): _question(body) for name, body in asked}
        now: State = "input_required" if questions else "working"
        return Run(run_id, tenant, door, session, start, now, held > outside.now(), questions)

    async def is_at_work(self, session: str) -> bool:
        """Whether some process works on a run of this session."""
        sql = "SELECT 1 FROM serve_runs WHERE session = ? AND state = 'working' AND held > ?"
        return bool(await self._run((sql, (session, outside.now()))))

    @asynccontextmanager
    async def working(self, run: Run, stop: Callable[[], None]) -> AsyncIterator[Seat]:
        """Work on a run inside the block; ``stop`` is called if another door wants it stopped.

        :raises Held: if another door works on it already.
        """
        seat = Seat(run, self, stop)
        await self._take(run)
        self._seats[run.id] = seat
        try:
            async with lone_errors() as group:
                group.start_soon(self._keep, seat)
                yield seat
                group.cancel_scope.cancel()
        finally:
            self._seats.pop(run.id, None)
            with CancelScope(shield=True), suppress(JournalError):
                await self._leave(seat)

    async def _take(self, run: Run) -> None:
        now = outside.now()
        sql = """INSERT INTO serve_runs (id, tenant, door, owner, session, start, state, stop, held, updated)
            VALUES (?, ?, ?, ?, ?, ?, 'working', 0, ?, ?)
            ON CONFLICT (id) DO UPDATE SET door = excluded.door, owner = excluded.owner, session = excluded.session,
                state = 'working', held = excluded.held, updated = excluded.updated
            WHERE serve_runs.tenant = excluded.tenant AND (serve_runs.door = excluded.door OR serve_runs.held < ?)
            RETURNING 1"""
        values = (run.id, run.tenant, run.door, self.owner, run.session, run.start, now + HELD_SECONDS, now, now)
        if not await self._run((sql, values)):
            raise Held(run.id)

    async def _leave(self, seat: Seat) -> None:
        sql = "UPDATE serve_runs SET state = ?, held = 0, updated = ? WHERE id = ? AND owner = ?"
        await self._run(
            ("DELETE FROM serve_questions WHERE run = ?", (seat.run.id,)),
            (sql, (seat.ended or "working", outside.now(), seat.run.id, self.owner)),
        )

    async def _keep(self, seat: Seat) -> None:
        """Hold on to the run, and hear what other processes want of it."""
        hold = "UPDATE serve_runs SET held = ? WHERE id = ? AND owner = ? RETURNING stop"
        heard = "SELECT name, answer FROM serve_questions WHERE run = ? AND answer <> ''"
        while True:
            with move_on_after(POLL_SECONDS if seat.open else BEAT_SECONDS):
                await seat.stirred.wait()
            seat.stirred = Event()
            try:
                rows = await self._run((hold, (outside.now() + HELD_SECONDS, seat.run.id, self.owner)))
                if rows and rows[0][0]:
                    seat.stop()
                for name, answer in await self._run((heard, (seat.run.id,))) if seat.open else ():
                    if name in seat.open:
                        seat.open[name](_answer(answer))
            except JournalError as error:
                _LOG.warning("the runs of this host can't be looked after now: %s", error)

    async def post(self, run_id: str, name: str, question: Question) -> None:
        """Show a question of a run that we work on; an answer that it has already stays."""
        sql = """INSERT INTO serve_questions (run, name, body, answer) VALUES (?, ?, ?, '')
            ON CONFLICT (run, name) DO UPDATE SET body = excluded.body,
                answer = CASE WHEN serve_questions.body = excluded.body THEN serve_questions.answer ELSE '' END"""
        body = {"kind": type(question).__name__, **{item: getattr(question, item) for item in question.__slots__}}
        await self._run((sql, (run_id, name, json.dumps(body, default=dict))))

    async def withdraw(self, run_id: str, name: str) -> Answer | None:
        """Show it no more; the answer that came before that, if one did."""
        sql = "DELETE FROM serve_questions WHERE run = ? AND name = ? RETURNING answer"
        found = await self._run((sql, (run_id, name)))
        return _answer(found[0][0]) if found and found[0][0] else None

    async def answer(self, run: Run, name: str, answer: Answer) -> None:
        """Answer a question of a run, wherever it is worked on.

        :raises NoSuchQuestion: if it does not ask that, or not this way.
        """
        question = run.questions.get(name)
        if question is None:
            raise NoSuchQuestion(f"the run {run.id} does not ask {name!r}")
        schema = question.schema if isinstance(question, Form) and answer.action == "accept" else {}
        if wrong := misfit(schema, answer.content):
            raise NoSuchQuestion(f"the answer does not fit: {wrong}")
        sql = "UPDATE serve_questions SET answer = ? WHERE run = ? AND name = ? AND answer = '' RETURNING 1"
        said = json.dumps({"action": answer.action, "content": dict(answer.content)})
        if not await self._run((sql, (said, run.id, name))):
            raise NoSuchQuestion(f"the run {run.id} does not ask {name!r} any more")
        seat = self._seats.get(run.id)
        if seat is not None and name in seat.open:
            seat.open[name](answer)

    async def cancel(self, run: Run) -> None:
        """Have a run stopped, wherever it is worked on."""
        seat = self._seats.get(run.id)
        if seat is not None:
            seat.stop()
            return
        await self._run(("UPDATE serve_runs SET stop = 1 WHERE id = ?", (run.id,)))

    async def follow(
        self, run_id: str, tenant: str, door: str, ask: Callable[[str, Question], Awaitable[Answer]]
    ) -> Run | None:
        """Look after a run that another door works on, until it has ended or nobody holds it; ask what it asks.

        ``ask`` is cancelled when the answer came by another way. ``None`` at once if there is no such run, or it is
        ``door``'s own.
        """
        while True:
            run = await self.find(run_id, tenant)
            if run is None or (run.door == door and not run.ended):
                return None
            if run.ended or not run.held:
                return run
            for name, question in run.questions.items():
                with suppress(NoSuchQuestion):  # if it was answered meanwhile, or not as it should be: look again
                    await self._ask(run, name, question, ask)
                break
            else:
                await sleep(POLL_SECONDS)

    async def _ask(
        self, run: Run, name: str, question: Question, ask: Callable[[str, Question], Awaitable[Answer]]
    ) -> None:
        answer: Answer | None = None
        async with lone_errors() as group:

            async def watch() -> None:
                while True:
                    await sleep(POLL_SECONDS)
                    now = await self.find(run.id, run.tenant)
                    if now is None or not now.held or name not in now.questions:
                        group.cancel_scope.cancel()

            group.start_soon(watch)
            answer = await ask(name, question)
            group.cancel_scope.cancel()
        if answer is not None:
            await self.answer(run, name, answer)


def _question(body: str) -> Question:
    said = json.loads(body)
    return _KINDS[said.pop("kind")](**said)


def _answer(text: str) -> Answer:
    said = json.loads(text)
    return Answer(said["action"], said["content"])
