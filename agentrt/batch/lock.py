"""One batch at a time: a lock that is held for as long as its command, or a worker that it started, lives."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentrt.errors import ConfigError

if sys.platform != "win32":
    import fcntl

WAIT_SECONDS = 2.0


@contextmanager
def held(folder: Path, batch: str, store: str) -> Iterator[tuple[int, ...]]:
    """Hold the lock on ``batch`` in ``store``; yields the descriptors that a worker must inherit to hold it too.

    Waits a little: the workers of a command that was killed are about to end. On Windows there is no lock, and
    two commands for one batch take its sessions from each other.

    :raises ConfigError: if another process holds it.
    """
    if sys.platform == "win32":
        yield ()
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = hashlib.sha256(f"{batch}\n{store}".encode()).hexdigest()[:16]
    lock = os.open(folder / f"batch-{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(lock, batch)
        yield (lock,)
    finally:
        os.close(lock)


def _take(lock: int, batch: str) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise ConfigError(
                    f"the batch {batch!r} is being run by another process, or a worker of it has not ended yet: "
                    "wait for it, or start another batch with --name"
                ) from None
            time.sleep(0.1)
        else:
            return
