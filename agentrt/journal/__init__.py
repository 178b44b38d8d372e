"""Sessions that outlive their process: an append-only log, a pure fold over it, and stores to keep it in."""

from agentrt.journal.fold import Folded, fold
from agentrt.journal.records import Effect, Record, effect_of
from agentrt.journal.session import Session
from agentrt.journal.store import JournalError, Lease, SessionInfo, Store

__all__ = [
    "Effect",
    "Folded",
    "JournalError",
    "Lease",
    "Record",
    "Session",
    "SessionInfo",
    "Store",
    "effect_of",
    "fold",
]
