"""Large record bodies as files named by their SHA-256, so that forks share them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


class Blobs:
    """A folder of content-addressed files. What :meth:`put` has returned from is durable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Keep ``content`` and return its name; if it is there already, that is all.

        :raises OSError: if it can't be written; no part of it is left under that name.
        """
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        if path.exists():
            sync_folder(path.parent)  # whoever wrote it may have died just before that
            return name
        self._make(self.folder)
        self._make(path.parent)
        draft = path.with_name(f"{name}.{os.getpid()}.tmp")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
        return name

    def get(self, name: str) -> bytes:
        """The content that :meth:`put` called ``name``.

        :raises ValueError: if the file is missing or holds something else.
        """
        try:
            content = self._path(name).read_bytes()
        except FileNotFoundError:
            raise ValueError(f"its file {self._path(name)} is missing") from None
        if hashlib.sha256(content).hexdigest() != name:
            raise ValueError(f"its file {self._path(name)} was changed")
        return content

    def remove(self, name: str) -> None:
        """Remove the file, if it is there."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def _make(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable; a new file may else be gone after a power loss."""
    if os.name == "nt":  # folders can't be opened there, and NTFS journals names itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
