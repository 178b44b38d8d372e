"""The durable task store: what was asked, how far it is, who works on it, and whom to tell."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from a2a.types.a2a_pb2 import (
    ListTasksRequest,
    Message,
    Role,
    SendMessageRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import InvalidParamsError

from agentrt.journal.beside import Database, Row
from agentrt_a2a.delegation import fresh_name
from agentrt_a2a.exchange import ENDED

_TABLES = (
    """CREATE TABLE IF NOT EXISTS a2a_tasks (
        id TEXT PRIMARY KEY, tenant TEXT NOT NULL, context TEXT NOT NULL, state INTEGER NOT NULL,
        ended INTEGER NOT NULL, updated REAL NOT NULL, body BLOB NOT NULL, request BLOB NOT NULL,
        session TEXT NOT NULL, said INTEGER NOT NULL, answer TEXT NOT NULL, attempts INTEGER NOT NULL,
        owner TEXT NOT NULL, lease REAL NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS a2a_tasks_listed ON a2a_tasks (tenant, updated, id)",
    "CREATE INDEX IF NOT EXISTS a2a_tasks_unfinished ON a2a_tasks (ended, lease)",
    """CREATE TABLE IF NOT EXISTS a2a_messages (
        tenant TEXT NOT NULL, message TEXT NOT NULL, task TEXT NOT NULL, PRIMARY KEY (tenant, message))""",
    """CREATE TABLE IF NOT EXISTS a2a_hooks (
        tenant TEXT NOT NULL, task TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tenant, task, id))""",
    """CREATE TABLE IF NOT EXISTS a2a_letters (
        task TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (task, id))""",
    "CREATE TABLE IF NOT EXISTS a2a_about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
_KEPT = "tenant, body, request, session, said, answer, attempts"
_TOLD_AS_MESSAGE = 2
"""In the column ``ended``, where 0 is a task that goes on and 1 one that has ended."""
MAX_PAGE = 100
PAGE = 50


@dataclass(frozen=True, slots=True)
class Kept:
    """A task with what is needed to take it up again.

    ``session`` is its conversation in the journal (empty until there is one) and ``said`` how many messages that had
    before the task's own words; ``answer`` is the last answer that came, as JSON; ``attempts`` counts how often the
    task was taken up.
    """

    tenant: str
    task: Task
    request: SendMessageRequest
    session: str
    said: int
    answer: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of tasks, the latest first; ``token`` is for the next one, empty at the end."""

    tasks: tuple[Task, ...]
    token: str
    total: int


@dataclass(slots=True)
class Tasks:
    """The tasks of a host. ``owner`` names this process among those that share the database.

    A task that has not ended is held by its owner for ``lease_seconds`` at a time; when nobody renews that, another
    takes it up. Where a method takes a ``tenant``, another tenant's task does not exist.
    """

    database: Database
    owner: str
    lease_seconds: float

    async def open(self) -> str:
        """Make what is missing, and return the name by which other agents know this one; it is kept."""
        await self.database.run(*[(table, ()) for table in _TABLES])
        name = "INSERT INTO a2a_about (name, value) VALUES ('agent', ?) ON CONFLICT (name) DO NOTHING"
        found = await self.database.run(
            (name, (fresh_name("agent"),)), ("SELECT value FROM a2a_about WHERE name = 'agent'", ())
        )
        return str(found[0][0])

    async def add(self, tenant: str, task: Task, request: SendMessageRequest) -> str | None:
        """Keep a new task, held by us; or return the id of the task that its message made before."""
        message = request.message.message_id
        claim = "INSERT INTO a2a_messages (tenant, message, task) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        insert = f"""INSERT INTO a2a_tasks (id, context, state, ended, updated, owner, lease, {_KEPT})
            SELECT ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, '', 0, '', 1
            WHERE EXISTS (SELECT 1 FROM a2a_messages WHERE tenant = ? AND message = ? AND task = ?)"""
        now = time.time()
        row = (task.id, task.context_id, int(task.status.state), now, self.owner, now + self.lease_seconds, tenant)
        bodies = (task.SerializeToString(), request.SerializeToString())
        found = await self.database.run(
            (claim, (tenant, message, task.id)),
            (insert, (*row, *bodies, tenant, message, task.id)),
            ("SELECT task FROM a2a_messages WHERE tenant = ? AND message = ?", (tenant, message)),
        )
        known = str(found[0][0])
        return None if known == task.id else known

    async def hear(self, tenant: str, task_id: str, message_id: str) -> bool:
        """Note a further message of a task; false if it came before."""
        claim = "INSERT INTO a2a_messages (tenant, message, task) VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1"
        return bool(await self.database.run((claim, (tenant, message_id, task_id))))

    async def known(self, tenant: str, message_id: str) -> str | None:
        """The task that a message belongs to, if it came before."""
        sql = "SELECT task FROM a2a_messages WHERE tenant = ? AND message = ?"
        found = await self.database.run((sql, (tenant, message_id)))
        return str(found[0][0]) if found else None

    async def get(self, tenant: str, task_id: str) -> Task | None:
        """The task as it was last saved."""
        sql = "SELECT body FROM a2a_tasks WHERE id = ? AND tenant = ? AND ended <> ?"
        found = await self.database.run((sql, (task_id, tenant, _TOLD_AS_MESSAGE)))
        return Task.FromString(bytes(found[0][0])) if found else None

    async def message(self, tenant: str, task_id: str) -> Message | None:
        """The message that is told in place of a task (A2A 1.0 section 3.1.1), if that is so; its id is the run's."""
        sql = "SELECT body FROM a2a_tasks WHERE id = ? AND tenant = ? AND ended = ?"
        found = await self.database.run((sql, (task_id, tenant, _TOLD_AS_MESSAGE)))
        if not found:
            return None
        task = Task.FromString(bytes(found[0][0]))
        parts = [part for artifact in task.artifacts for part in artifact.parts]
        return Message(message_id=task.id, context_id=task.context_id, role=Role.ROLE_AGENT, parts=parts)

    async def save(self, task: Task) -> bool:
        """Save how a task is; false if it is not ours any more, and then nothing is changed."""
        return await self._save(task, int(task.status.state in ENDED))

    async def save_as_message(self, task: Task) -> bool:
        """As :meth:`save`, for one that has ended and is told as a plain message: nobody sees it as a task then."""
        return await self._save(task, _TOLD_AS_MESSAGE)

    async def _save(self, task: Task, ended: int) -> bool:
        sql = "UPDATE a2a_tasks SET body = ?, state = ?, ended = ?, updated = ? WHERE id = ? AND owner = ? RETURNING 1"
        values = (task.SerializeToString(), int(task.status.state), ended, time.time(), task.id, self.owner)
        return bool(await self.database.run((sql, values)))

    async def place(self, task_id: str, session: str, said: int) -> None:
        """Note in which session the task is worked on."""
        sql = "UPDATE a2a_tasks SET session = ?, said = ? WHERE id = ? AND owner = ?"
        await self.database.run((sql, (session, said, task_id, self.owner)))

    async def answered(self, task_id: str, answer: str) -> None:
        """Keep the answer to a question, for a run that has to ask again."""
        await self.database.run(("UPDATE a2a_tasks SET answer = ? WHERE id = ?", (answer, task_id)))

    async def post(self, task_id: str, letter: Message) -> None:
        """Leave a message for whoever works on a task; one without parts asks to cancel it."""
        sql = "INSERT INTO a2a_letters (task, id, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        await self.database.run((sql, (task_id, letter.message_id, letter.SerializeToString())))

    async def letters(self) -> list[tuple[str, Message]]:
        """What was left for our tasks, with the ids of these; it stays until it is dropped."""
        sql = """SELECT task, body FROM a2a_letters
            WHERE task IN (SELECT id FROM a2a_tasks WHERE owner = ? AND ended = 0)"""
        found = await self.database.run((sql, (self.owner,)))
        return [(str(task), Message.FromString(bytes(body))) for task, body in found]

    async def waits(self, task_id: str, letter_id: str) -> bool:
        """Whether a letter was not taken yet."""
        sql = "SELECT 1 FROM a2a_letters WHERE task = ? AND id = ?"
        return bool(await self.database.run((sql, (task_id, letter_id))))

    async def drop_letter(self, task_id: str, letter_id: str) -> None:
        """The letter was taken."""
        await self.database.run(("DELETE FROM a2a_letters WHERE task = ? AND id = ?", (task_id, letter_id)))

    async def session_of(self, tenant: str, context: str) -> str:
        """The session in which the context goes on; empty if there is none, or it is at work."""
        sql = "SELECT session, ended FROM a2a_tasks WHERE tenant = ? AND context = ? AND session <> '' ORDER BY updated"
        found = await self.database.run((sql, (tenant, context)))
        return str(found[-1][0]) if found and all(row[1] for row in found) else ""

    async def claim(self) -> list[Kept]:
        """Take what nobody works on any more."""
        now = time.time()
        sql = f"""UPDATE a2a_tasks SET owner = ?, lease = ?, attempts = attempts + 1
            WHERE ended = 0 AND lease < ? RETURNING {_KEPT}"""
        return [_kept(row) for row in await self.database.run((sql, (self.owner, now + self.lease_seconds, now)))]

    async def renew(self) -> None:
        """Hold on to what is ours."""
        sql = "UPDATE a2a_tasks SET lease = ? WHERE ended = 0 AND owner = ?"
        await self.database.run((sql, (time.time() + self.lease_seconds, self.owner)))

    async def release(self) -> None:
        """Let go of what is ours, for whoever comes next."""
        sql = "UPDATE a2a_tasks SET lease = 0, attempts = attempts - 1 WHERE ended = 0 AND owner = ?"
        await self.database.run((sql, (self.owner,)))

    async def page(self, tenant: str, asked: ListTasksRequest) -> Page:
        """The tasks that are asked for (A2A 1.0 section 3.1.4), the latest first.

        :raises InvalidParamsError: if the page's size or token makes no sense.
        """
        size = asked.page_size if asked.HasField("page_size") else PAGE
        if not 1 <= size <= MAX_PAGE:
            raise InvalidParamsError(f"pageSize is {size}; use 1 to {MAX_PAGE}")
        where, values = ["tenant = ?", "ended <> ?"], [tenant, _TOLD_AS_MESSAGE]
        for column, value in _filters(asked):
            where.append(column)
            values.append(value)
        total = await self.database.run((f"SELECT count(*) FROM a2a_tasks WHERE {' AND '.join(where)}", values))
        if asked.page_token:
            where.append("(updated, id) < (?, ?)")
            values = [*values, *_from_token(asked.page_token)]
        sql = f"SELECT updated, id, body FROM a2a_tasks WHERE {' AND '.join(where)} ORDER BY updated DESC, id DESC"
        rows = await self.database.run((f"{sql} LIMIT {size + 1}", values))
        token = _to_token(rows[size - 1]) if len(rows) > size else ""
        return Page(tuple(Task.FromString(bytes(row[2])) for row in rows[:size]), token, int(total[0][0]))

    async def put_hook(self, tenant: str, hook: TaskPushNotificationConfig) -> None:
        """Keep whom to tell of a task."""
        sql = """INSERT INTO a2a_hooks (tenant, task, id, body) VALUES (?, ?, ?, ?)
            ON CONFLICT (tenant, task, id) DO UPDATE SET body = excluded.body"""
        await self.database.run((sql, (tenant, hook.task_id, hook.id, hook.SerializeToString())))

    async def hooks(self, tenant: str, task_id: str) -> list[TaskPushNotificationConfig]:
        """Whom to tell of a task, in the order of their ids."""
        sql = "SELECT body FROM a2a_hooks WHERE tenant = ? AND task = ? ORDER BY id"
        rows = await self.database.run((sql, (tenant, task_id)))
        return [TaskPushNotificationConfig.FromString(bytes(row[0])) for row in rows]

    async def drop_hook(self, tenant: str, task_id: str, hook_id: str) -> None:
        """Tell it no more; nothing if it is not there."""
        sql = "DELETE FROM a2a_hooks WHERE tenant = ? AND task = ? AND id = ?"
        await self.database.run((sql, (tenant, task_id, hook_id)))


def _kept(row: Row) -> Kept:
    tenant, body, request, session, said, answer, attempts = row
    task, asked = Task.FromString(bytes(body)), SendMessageRequest.FromString(bytes(request))
    return Kept(tenant, task, asked, session, said, answer, attempts)


def _filters(asked: ListTasksRequest) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if asked.context_id:
        found.append(("context = ?", asked.context_id))
    if asked.status != TaskState.TASK_STATE_UNSPECIFIED:
        found.append(("state = ?", int(asked.status)))
    if asked.HasField("status_timestamp_after"):
        found.append(("updated >= ?", asked.status_timestamp_after.ToNanoseconds() / 1e9))
    return found


def _to_token(row: Row) -> str:
    return base64.urlsafe_b64encode(json.dumps([row[0], row[1]]).encode()).decode()


def _from_token(token: str) -> Sequence[Any]:
    try:
        updated, task_id = json.loads(base64.urlsafe_b64decode(token.encode()))
        return [float(updated), str(task_id)]
    except (ValueError, TypeError) as error:
        raise InvalidParamsError("pageToken is not one that this agent gave") from error
