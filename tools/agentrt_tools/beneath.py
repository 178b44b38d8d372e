"""Opens and replaces files beneath one folder, which no path, symbolic link or race can lead out of."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import posixpath
import secrets
import stat
import sys
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from agentrt.errors import ConfigError

_SYS_OPENAT2 = 437  # the same on every architecture that Linux gained after 2011, and on x86 and arm
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_TRIES = 200
_NO_OPENAT2 = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG)


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Root:
    """A folder that is opened once; every path is resolved beneath it by the kernel, at the time of the open.

    On Linux this is ``openat2`` with ``RESOLVE_BENEATH``: symbolic links work as long as they stay inside.
    Elsewhere (or with ``walk=True``) each step is opened with ``O_NOFOLLOW``, so no link is followed at all.
    Every method may be called from any thread.
    """

    def __init__(self, path: Path, *, walk: bool = False) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - as it is written, without following its links
        self.walk = walk or not sys.platform.startswith("linux")
        self._fd: int | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Open the folder.

        :raises ConfigError: if it can't be opened, or the system has no file operations relative to a folder.
        """
        if os.open not in os.supports_dir_fd or os.rename not in os.supports_dir_fd:
            raise ConfigError("the file tools need a system that opens files relative to a folder (POSIX openat)")
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"the folder {str(self.path)!r} can't be opened: {error.strerror}") from error
        if not self.walk:
            try:
                os.close(_openat2(self._fd, ".", os.O_RDONLY | os.O_DIRECTORY))
            except OSError as error:
                self.walk = error.errno in _NO_OPENAT2

    def close(self) -> None:
        """Close the folder; calls that still run in other threads keep a handle of their own."""
        with self._lock:
            fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    @contextlib.contextmanager
    def _held(self) -> Iterator[int]:
        """A handle of our own on the folder, which closing the root in another thread can't pull away."""
        with self._lock:
            if self._fd is None:
                raise ValueError(f"the folder {str(self.path)!r} is not open any more")
            fd = os.dup(self._fd)
        try:
            yield fd
        finally:
            os.close(fd)

    def relative(self, path: str) -> str:
        """``path`` without ``.`` and ``..``, relative to the root; an absolute one must begin with the root's.

        :raises PermissionError: if it leads outside.
        """
        if "\0" in path or len(path) > 4096:
            raise PermissionError(f"{path[:100]!r} is no path")
        inside = posixpath.normpath(path)
        if inside.startswith("/"):
            inside = posixpath.relpath(inside, str(self.path))
        if inside == ".." or inside.startswith("../"):
            raise PermissionError(_outside(path))
        return inside

    def fd(self, path: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor of the file or folder at ``path``, for the caller to close. It never blocks on a pipe.

        :raises OSError: with a message for the model: it does not exist, leads outside, or can't be opened.
        """
        inside = self.relative(path)
        flags |= os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        try:
            with self._held() as root:
                return _walked(root, inside, flags) if self.walk else _openat2(root, inside, flags)
        except OSError as error:
            raise _told(error, path) from error

    @contextlib.contextmanager
    def folder(self, path: str, *, create: bool = False) -> Iterator[int]:
        """A descriptor of the folder at ``path``, made with its parents if asked to.

        :raises OSError: as :meth:`fd`.
        """
        fd = self._made(path) if create else self.fd(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    def _made(self, path: str) -> int:
        try:
            return self.fd(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            parent, name = posixpath.split(self.relative(path))
            with self.folder(parent or ".", create=True) as above, contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=above)
            return self.fd(path, os.O_RDONLY | os.O_DIRECTORY)

    def read(self, path: str, limit: int) -> tuple[bytes, os.stat_result]:
        """The content of a regular file of at most ``limit`` bytes.

        :raises OSError: as :meth:`fd`, and if it is no regular file or larger.
        """
        fd = self.fd(path)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(f"{path!r} is {'a folder' if stat.S_ISDIR(found.st_mode) else 'no regular file'}")
            parts, size = [], 0
            while chunk := os.read(fd, 1 << 20):
                parts.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise OSError(f"{path!r} has {max(size, found.st_size)} bytes, more than {limit}")
        finally:
            os.close(fd)
        return b"".join(parts), found

    def replace(self, path: str, data: bytes, *, seen: os.stat_result | None) -> None:
        """Write a file so that a reader finds the old content or the new one, never a part.

        ``seen`` is the file as it was read: mode bits are kept, and a file that changed since is left alone.
        ``None`` says that there must be no file yet; then folders on the way are made.

        :raises OSError: with a message for the model.
        """
        parent, name = posixpath.split(self.relative(path))
        if name in ("", "."):
            raise OSError(f"{path!r} is a folder")
        with self.folder(parent or ".", create=seen is None) as folder:
            temporary = f".{name[:80]}.{secrets.token_hex(6)}.tmp"
            try:
                _write(folder, temporary, data, seen)
                _swap(folder, temporary, name, seen)
            except OSError as error:
                raise _told(error, path) from error
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)


def _write(folder: int, name: str, data: bytes, seen: os.stat_result | None) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        if seen is not None:
            os.fchmod(fd, stat.S_IMODE(seen.st_mode) & 0o777)
        os.fsync(fd)


def _swap(folder: int, temporary: str, name: str, seen: os.stat_result | None) -> None:
    """Put the temporary file in its place, if that is still as it was seen."""
    if seen is None:
        _place(folder, temporary, name)
    else:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(there.st_mode):
            raise PermissionError("it is a symbolic link; write to the file that it points to")
        if (there.st_ino, there.st_mtime_ns, there.st_size) != (seen.st_ino, seen.st_mtime_ns, seen.st_size):
            raise FileExistsError("somebody else changed it meanwhile; read it again")
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def _place(folder: int, temporary: str, name: str) -> None:
    """Give a new file its name, which nobody else may have taken."""
    follow = os.link not in os.supports_follow_symlinks
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        if name in os.listdir(folder):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)  # a file system without hard links


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _openat2(root: int, path: str, flags: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    for _ in range(_TRIES):
        fd = _libc().syscall(_SYS_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return int(fd)
        failed = ctypes.get_errno()
        if failed != errno.EAGAIN:  # the kernel could not tell whether a rename beside us led outside: ask again
            break
    raise OSError(failed, os.strerror(failed))


def _walked(root: int, path: str, flags: int) -> int:
    """Open step by step, following no symbolic link."""
    *folders, last = path.split("/")
    at = os.dup(root)
    try:
        for name in folders:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
        return os.open(last, flags | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)


def _outside(path: str) -> str:
    return f"{path!r} leads outside the folder of the file tools; use paths relative to it, such as 'src/main.py'"


def _told(error: OSError, path: str) -> OSError:
    """The error with words for the model instead of numbers."""
    match error.errno:
        case errno.ENOENT:
            return FileNotFoundError(f"there is no {path!r}; list_files shows what there is")
        case errno.EXDEV:
            return PermissionError(_outside(path))
        case errno.ELOOP:
            return PermissionError(f"{path!r} is or passes a symbolic link that can't be followed here")
        case errno.ENOTDIR:
            return NotADirectoryError(f"{path!r} is no folder, or passes a file or a symbolic link")
        case errno.EEXIST:
            return FileExistsError(f"{path!r} exists already")
        case errno.EAGAIN:
            return OSError(f"{path!r} could not be opened safely: links on the way change all the time")
        case _:
            return type(error)(f"{path!r}: {error.strerror or error}")
