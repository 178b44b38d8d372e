"""Sessions that outlive their process: an append-only log, a pure fold over it, and stores to keep it in."""

from agentrt.journal.fold import Folded, fold
from agentrt.journal.opening import open_store
from agentrt.journal.records import Record, effect_of
from agentrt.journal.session import Session
from agentrt.journal.store import JournalError, Lease, NotFound, SessionInfo, Store, Unavailable
from agentrt.journal.transfer import export, fork, restore
from agentrt.types import Effect

__all__ = [
    "Effect",
    "Folded",
    "JournalError",
    "Lease",
    "NotFound",
    "Record",
    "Session",
    "SessionInfo",
    "Store",
    "Unavailable",
    "effect_of",
    "export",
    "fold",
    "fork",
    "open_store",
    "restore",
]
