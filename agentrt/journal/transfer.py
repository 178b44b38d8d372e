"""Sessions as values to copy: fork one at a turn, write one out as JSON lines, read one in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields

from agentrt.journal.fold import fold
from agentrt.journal.records import Answered, Closed, Record, Said, dump, load
from agentrt.journal.store import JournalError, Lease, NotFound, SessionInfo, Store, new_id
from agentrt.plain import to_json


def turn_ends(records: Sequence[Record]) -> list[int]:
    """How many records there are up to the end of each closed turn.

    :raises ValueError: if the records are not in an order that a session can have written.
    """
    ends: list[int] = []
    answered = False
    for count, record in enumerate(records):
        if isinstance(record, Said | Answered) and answered:  # the turn before it was whole, only not closed
            ends.append(count)
            answered = False
        if isinstance(record, Answered):
            answered = True
        elif isinstance(record, Closed):
            ends.append(count + 1)
            answered = False
    if answered and fold(records).open_turn is None:
        ends.append(len(records))
    return ends


async def fork(store: Store, session_id: str, turn: int | None = None, *, tenant: str | None = None) -> Lease:
    """A new session with everything up to the end of turn ``turn``, counted from 1; by default the last closed one.

    Its calls have keys of their own: nothing that the other session did is taken for its doing, or repeated.

    :raises NotFound: if there is no such session, or it has no such turn.
    """
    info = await store.lookup(session_id, tenant=tenant)
    records = await store.read(info.id, tenant=tenant)
    try:
        ends = turn_ends(records)
    except ValueError as error:
        raise JournalError(f"the records of session {info.id!r} make no conversation: {error}") from error
    chosen = len(ends) if turn is None else turn
    if not 1 <= chosen <= len(ends):
        has = f"turns 1 to {len(ends)}" if ends else "no turn that is finished"
        at = "its last turn" if turn is None else f"turn {turn}"
        raise NotFound(f"session {info.id!r} has {has}: it can't be forked at {at}")
    kept = records[: ends[chosen - 1]]
    copy = SessionInfo(new_id(), info.title, info.engine, 0.0, 0.0, 0, parent=info.id, tenant=info.tenant)
    return await store.create(copy, kept)


async def export(store: Store, session_id: str, *, tenant: str | None = None) -> list[str]:
    """A session as JSON lines: what it is, then its records.

    :raises NotFound: if there is no such session.
    """
    info = await store.lookup(session_id, tenant=tenant)
    records = await store.read(info.id, tenant=tenant)
    head = json.dumps(to_json(info), ensure_ascii=False, separators=(",", ":"))
    return [head, *(dump(record).decode() for record in records)]


async def restore(store: Store, lines: Iterable[str], *, tenant: str = "") -> Lease:
    """Make a session of what :func:`export` wrote, under a new id and as the tenant's.

    :raises JournalError: if the lines are no session.
    """
    try:
        head, *rest = [line for line in lines if line.strip()]
        plain = json.loads(head)
        known = {item.name: plain[item.name] for item in fields(SessionInfo) if item.name in plain}
        records = [load(line) for line in rest]
        fold(records)
        info = SessionInfo(**{**known, "id": new_id(), "parent": str(plain["id"]), "tenant": tenant})
    except (ValueError, TypeError, KeyError) as error:
        raise JournalError(f"this is no exported session: {error}") from error
    return await store.create(info, records)
