"""A session: one conversation whose every step is in a store before anyone acts on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TypeGuard

from anyio import CancelScope, Lock

from agentrt.compaction.price import Compacted
from agentrt.compaction.view import Rewrite, View
from agentrt.conversation import Conversation, OpenTurn
from agentrt.engine import Traced
from agentrt.journal.fold import fold
from agentrt.journal.records import (
    Accepted,
    Answered,
    Asked,
    Cleared,
    Closed,
    Compaction,
    Ended,
    InDoubt,
    Intended,
    Landed,
    Reconciled,
    Record,
    Said,
    Spilled,
    Started,
    effect_of,
    encode,
)
from agentrt.journal.store import JournalError, Lease, SessionInfo, Store, new_id
from agentrt.outside import clock
from agentrt.plain import to_json
from agentrt.secrets import KNOWN
from agentrt.types import Assistant, CheckedCall, Message, ToolResult, ToolSpec, Transcript, Usage, User


class Session(Conversation):
    """A conversation in a store. Records wait in memory until a step that must be durable writes them.

    Only the holder of the lease may write: a session that was taken up elsewhere refuses this one's records.
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        transcript: Transcript | None = None,
        open_turn: OpenTurn | None = None,
        records: Sequence[Record] = (),
        view: View | None = None,
    ) -> None:
        super().__init__(transcript, open_turn, view=view)
        self.store = store
        self.lease = lease
        self._written = len(records)
        self._waiting: list[Record] = []
        self._one_at_a_time = Lock(fast_acquire=True)  # the store gives way
        self._intended = open_turn.answer if open_turn else None
        self._landed = dict(open_turn.results) if open_turn else {}
        self._handles = {record.handle for record in records if isinstance(record, Spilled)}
        self._asked: float | None = None
        self._engine_seconds = 0.0
        self._turn = 0
        self._instructions = ""
        self._tools: tuple[Sequence[ToolSpec], str] = ((), "")
        self._hash_view()

    @classmethod
    async def begin(
        cls, store: Store, *, title: str = "", engine: str = "", tenant: str = "", said: User | None = None
    ) -> Session:
        """Begin a new session in ``store``, with the user's first words if they are there: a run without a prompt
        (``None``) answers them.
        """
        info = SessionInfo(new_id(), KNOWN.text(title), engine, 0.0, 0.0, 0, tenant=tenant)
        records = [Said(said)] if said is not None else []
        lease = await store.create(info, records)
        return cls(store, lease, Transcript(record.message for record in records), records=records)

    @classmethod
    async def resume(cls, store: Store, session_id: str, *, tenant: str | None = None) -> Session:
        """Take up a session where it was; whoever still writes it is refused from now on.

        :raises JournalError: if the tenant has no such session, or it can't be read.
        """
        return await cls.held(store, await store.take(session_id, tenant=tenant))

    @classmethod
    async def held(cls, store: Store, lease: Lease) -> Session:
        """The session that ``lease`` gives the right to write, where it was.

        :raises JournalError: if it can't be read.
        """
        records = await store.read(lease.session_id)
        try:
            folded = fold(records)
        except ValueError as error:
            raise JournalError(f"the records of session {lease.session_id!r} make no conversation: {error}") from error
        return cls(store, lease, folded.transcript, folded.open_turn, records, folded.view)

    @property
    def id(self) -> str:
        """The session's name in the store."""
        return self.lease.session_id

    @property
    def written(self) -> int:
        """How many records are durable."""
        return self._written

    def key(self, call: CheckedCall) -> str:
        """A hash of the session and of what is to be done.

        The call's id alone would not do: of an answer that was cut off nothing is kept, so a model may use the
        id again for something else, after a read has run under it.
        """
        return hashlib.sha256(f"{self.id}/{call.id}/{call.name}/{_arguments(call)}".encode()).hexdigest()[:32]

    @property
    def handles(self) -> Collection[str]:
        """The names of the results that were too long for the transcript, also those of earlier runs."""
        return self._handles

    async def keep(self, handle: str, text: str) -> None:
        """Note the whole of a result; it is written with what the model gets of it."""
        if handle not in self._handles:
            self._handles.add(handle)
            self.note(Spilled(handle, text))

    async def kept(self, handle: str) -> str:
        """The whole result, from the store: it may be large, and is rarely asked for.

        :raises JournalError: if it can't be read.
        """
        written = await self.store.read(self.id)
        texts = (record.text for record in (*self._waiting, *written) if _is_spilled(record, handle))
        return next(texts)

    def note(self, *records: Record) -> None:
        """Keep records for the next commit."""
        self._waiting.extend(records)

    async def commit(self) -> None:
        """Make what was noted durable.

        :raises JournalError: if it can't be written; the records stay noted.
        """
        async with self._one_at_a_time:
            records = tuple(self._waiting)
            if records:
                with CancelScope(shield=True):  # nobody would know whether they are there; what gets through a
                    # shield (a native cancel, a lost connection) is settled by `after` with the next commit
                    self._written = await self.store.append(self.lease, records, after=self._written)
                del self._waiting[: len(records)]

    def _hash_view(self) -> None:
        self._prompt = hashlib.sha256()
        for message in self.view:
            self._hash(message)

    def _hash(self, message: Message) -> None:
        self._prompt.update(encode(message))

    async def say(self, message: User) -> None:
        """Write down what the user said."""
        await super().say(message)
        self._hash(message)
        self.note(Said(message))
        await self.commit()

    async def ask(self, turn: int, instructions: str, tools: Sequence[ToolSpec]) -> None:
        """Note the hash of the whole request; it is written with the answer."""
        if self._tools[0] is not tools:
            self._tools = (tools, json.dumps(to_json(tools), sort_keys=True))
        self._turn, self._instructions = turn, instructions
        self._note_asked()
        self._stop_watch()
        self._asked = clock()

    def _note_asked(self) -> None:
        prompt = self._prompt.copy()
        prompt.update(f"{self._instructions}\n{self._tools[1]}".encode("utf-8", "surrogatepass"))
        self.note(Asked(self._turn, prompt.hexdigest()))

    async def compact(self, rewrite: Rewrite, told: Compacted) -> None:
        """Write down how the conversation is sent from now on, and what the engine is asked with instead."""
        await super().compact(rewrite, told)
        self.note(Compaction(rewrite, told))
        await self.commit()
        self._hash_view()
        if self._asked is not None:
            self._note_asked()

    def trace(self, traced: Traced) -> None:
        """Note the ids; they are written with the answer."""
        self.note(traced)

    async def intend(
        self, answer: Assistant, calls: Sequence[CheckedCall], results: Sequence[ToolResult], *, flush: bool
    ) -> None:
        """Note the answer, every intent and the results that are there, to be written in one commit."""
        self._stop_watch()
        self._intended = answer
        self._landed.update((result.call_id, result) for result in results)
        self.note(Answered(answer), *map(_intent, calls), *map(Landed, results))
        if flush:
            await self.commit()

    async def start(self, call: CheckedCall) -> None:
        """Write the intents and that this call starts, unless it only reads."""
        self.note(Started(call.id))
        if not call.spec.read_only:
            await self.commit()

    async def accept(self, call: CheckedCall, handle: str) -> None:
        """Write the handle, unless the call only reads.

        Where that fails it stays noted: the call goes on at its peer, and the next step says that it failed.
        """
        if not call.spec.read_only:
            self.note(Accepted(call.id, handle))
            with suppress(JournalError):
                await self.commit()

    def land(self, result: ToolResult) -> bool:
        """Note the result, for :meth:`flush` to write."""
        self._landed[result.call_id] = result
        self.note(Landed(result))
        return True

    async def flush(self) -> None:
        """Write what was noted, also while the run is being cancelled: what is known now would be in doubt later."""
        with CancelScope(shield=True):
            await self.commit()

    async def doubt(self, result: ToolResult, *, reconciled: bool) -> None:
        """Write the outcome of a call that was in flight at a crash."""
        self._landed[result.call_id] = result
        self.note(Reconciled(result) if reconciled else InDoubt(result))
        await self.commit()

    async def clear(self, call: CheckedCall) -> None:
        """Note that the call may run; it is written when the call starts."""
        self.note(Cleared(call.id))

    async def call_off(self, results: Sequence[ToolResult]) -> None:
        """Write the results of calls that must not start any more, also while the run is being cancelled.

        Where that fails they stay noted: the cancel is what the caller is to hear of.
        """
        self._landed.update((result.call_id, result) for result in results)
        self.note(*map(Landed, results))
        with CancelScope(shield=True), suppress(JournalError):
            await self.commit()

    def close(self, answer: Assistant, results: Sequence[ToolResult]) -> None:
        """Note the whole turn."""
        self._stop_watch()
        super().close(answer, results)
        self._hash(answer)
        for result in results:
            self._hash(result)
        if self._intended is not answer:
            self.note(Answered(answer))
        self.note(Closed(tuple(result for result in results if self._landed.get(result.call_id) != result)))
        self._landed.clear()

    async def end(self, reason: str, turns: int, calls: int, usage: Usage, seconds: float) -> None:
        """Write how the run ended."""
        self._stop_watch()
        self.note(Ended(reason, turns, calls, usage, seconds, round(self._engine_seconds, 3)))
        self._engine_seconds = 0.0
        await self.commit()

    def _stop_watch(self) -> None:
        """The engine is done with what it was asked, if it was."""
        if self._asked is not None:
            self._engine_seconds += clock() - self._asked
            self._asked = None


def _is_spilled(record: Record, handle: str) -> TypeGuard[Spilled]:
    return isinstance(record, Spilled) and record.handle == handle


def _arguments(call: CheckedCall) -> str:
    return json.dumps(call.arguments, sort_keys=True, separators=(",", ":"))


def _intent(call: CheckedCall) -> Intended:
    digest = hashlib.sha256(_arguments(call).encode()).hexdigest()
    return Intended(call.id, call.name, call.spec.source, effect_of(call.spec), call.key, digest)
