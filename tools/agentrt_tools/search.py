"""Walks a folder beneath a root, lists what matches a glob, and searches lines in bounded time."""

from __future__ import annotations

import os
import posixpath
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice

from agentrt_tools.beneath import Root

SKIPPED = frozenset(
    {".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
)
MAX_ENTRIES = 50_000
MAX_DEPTH = 40
MAX_SEARCHED_BYTES = 5_000_000
MAX_SECONDS = 10.0
LINE_CHARS = 4_000
SHOWN_CHARS = 300
_REGEX_BYTES = 400_000


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a folder: its path relative to where the walk began, its mode and its size in bytes."""

    path: str
    mode: int
    size: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder itself, and no link to one."""
        return stat.S_ISDIR(self.mode)


@dataclass(slots=True)
class Walk:
    """Goes through a folder in the order of names, following no links; ``cut`` says that it stopped early."""

    root: Root
    top: str
    depth: int
    deadline: float
    seen: int = 0
    cut: bool = False

    def entries(self, below: str = "", level: int = 1) -> Iterator[Entry]:
        """Every entry, each folder before what is in it."""
        try:
            inside = self._folder(posixpath.join(self.top, below) if below else self.top)
        except OSError:
            if level == 1:
                raise
            return  # it went away, or may not be read: the walk goes on without it
        for name, mode, size in inside:
            self.seen += 1
            self.cut = self.cut or self.seen > MAX_ENTRIES or time.monotonic() > self.deadline
            if self.cut:
                return
            entry = Entry(posixpath.join(below, name), mode, size)
            yield entry
            if entry.is_folder and name not in SKIPPED and level < min(self.depth, MAX_DEPTH):
                yield from self.entries(entry.path, level + 1)

    def _folder(self, path: str) -> list[tuple[str, int, int]]:
        with self.root.folder(path) as fd, os.scandir(fd) as found:
            rows = []
            for item in islice(found, MAX_ENTRIES):
                try:
                    state = item.stat(follow_symlinks=False)
                except OSError:
                    continue
                rows.append((item.name, state.st_mode, state.st_size))
        return sorted(rows)


def matches(glob: str, path: str) -> bool:
    """Whether ``path`` matches ``glob``, in which ``**`` stands for any number of folders, none included."""
    steps = glob.split("/")
    at = _past_stars(steps, {0})
    for part in path.split("/"):
        reached = set()
        for place in at:
            if place < len(steps) and steps[place] == "**":
                reached.add(place)
            elif place < len(steps) and fnmatchcase(part, steps[place]):
                reached.add(place + 1)
        at = _past_stars(steps, reached)
    return len(steps) in at or (steps[-1] == "**" and len(steps) - 1 in at)


def _past_stars(steps: list[str], places: set[int]) -> set[int]:
    """The places in a glob that can be reached when ``**`` may stand for nothing."""
    reached = set(places)
    for place in sorted(places):
        at = place
        while at < len(steps) - 1 and steps[at] == "**":
            at += 1
            reached.add(at)
    return reached


def checked_glob(glob: str) -> str:
    """The glob relative to the folder.

    :raises ValueError: if it has braces, which would silently match nothing.
    """
    if "{" in glob:
        raise ValueError(f"{glob!r}: braces are not supported in a glob; ask once for each alternative")
    return posixpath.normpath(glob.removeprefix("./"))


def listing(root: Root, path: str, glob: str, max_entries: int) -> str:
    """The entries of ``path`` that match ``glob``, one a line.

    :raises OSError: if ``path`` is no folder beneath the root.
    """
    glob = checked_glob(glob)
    depth = MAX_DEPTH if "**" in glob else glob.count("/") + 1
    walk = Walk(root, path, depth, time.monotonic() + MAX_SECONDS)
    found = (entry for entry in walk.entries() if matches(glob, entry.path))
    lines = [_line(entry) for entry in islice(found, max_entries)]
    if next(found, None) is not None:
        lines.append(f"[more than {max_entries} entries; narrow the glob, or raise max_entries]")
    elif walk.cut:
        lines.append(f"[stopped after {walk.seen} entries; narrow the path]")
    return "\n".join(lines) or f"(nothing in {path!r} matches {glob!r})"


def _line(entry: Entry) -> str:
    name = _printable(entry.path)
    if entry.is_folder:
        return f"{name}/"
    if stat.S_ISLNK(entry.mode):
        return f"{name} (symbolic link)"
    return f"{name} ({entry.size} bytes)" if stat.S_ISREG(entry.mode) else f"{name} (no regular file)"


def _printable(name: str) -> str:
    """A name as text: file names are bytes and need not be UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


@dataclass(slots=True)
class Search:
    """One search for lines: what to look for, and how much was searched and left out so far."""

    root: Root
    pattern: str
    regex: bool = field(kw_only=True)
    ignore_case: bool = field(kw_only=True)
    searched: int = 0
    skipped: int = 0

    def run(self, path: str, glob: str, max_results: int) -> str:
        """Search ``path`` and answer with the matching lines and a line on what was not looked at.

        :raises OSError: if ``path`` is not beneath the root.
        :raises ValueError: if the pattern is no regular expression of the linear kind.
        """
        deadline = time.monotonic() + MAX_SECONDS
        hits = self._hits(path, glob, deadline)
        found = list(islice(hits, max_results))
        more = next(hits, None) is not None
        note = f"searched {self.searched} files"
        if more:
            note += f"; there are more than {max_results} matches"
        elif time.monotonic() > deadline:
            note += f"; stopped after {MAX_SECONDS:g} s, narrow the path or glob"
        if self.skipped:
            note += f"; left out {self.skipped} that are binary, too large or unreadable"
        return "\n".join([*(found or ["(no match)"]), f"[{note}]"])

    def _hits(self, path: str, glob: str, deadline: float) -> Iterator[str]:
        test = self._test()
        for name in self._names(path, glob, deadline):
            for number, line in self._lines(name):
                if test(line[:LINE_CHARS]):
                    yield f"{_printable(name)}:{number}: {line.strip()[:SHOWN_CHARS]}"
                if time.monotonic() > deadline:
                    return

    def _names(self, path: str, glob: str, deadline: float) -> Iterator[str]:
        """The files to search, relative to the root."""
        fd = self.root.fd(path)
        try:
            is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        finally:
            os.close(fd)
        top = self.root.relative(path)
        if not is_folder:
            yield top
            return
        glob = checked_glob(glob)
        glob = glob if "/" in glob else f"**/{glob}"
        for entry in Walk(self.root, path, MAX_DEPTH, deadline).entries():
            if not entry.is_folder and matches(glob, entry.path):
                yield posixpath.normpath(posixpath.join(top, entry.path))

    def _lines(self, name: str) -> Iterator[tuple[int, str]]:
        try:
            data, _ = self.root.read(name, MAX_SEARCHED_BYTES)
        except OSError:
            self.skipped += 1
            return
        if b"\0" in data[:8192]:
            self.skipped += 1
            return
        self.searched += 1
        yield from enumerate(data.decode(errors="replace").split("\n"), 1)

    def _test(self) -> Callable[[str], bool]:
        """What says whether a line matches, in time linear in the line whatever the pattern."""
        if self.regex:
            return _linear_regex(f"(?i){self.pattern}" if self.ignore_case else self.pattern)
        if self.ignore_case:
            folded = self.pattern.casefold()
            return lambda line: folded in line.casefold()
        return lambda line: self.pattern in line


def _linear_regex(pattern: str) -> Callable[[str], bool]:
    """A test by the regular expressions of Rust, which match in linear time.

    Python's own can take forever on a short line and can't be stopped. The gate's validator brings these along.
    """
    from jsonschema_rs import RegexOptions, ValidationError, validator_for  # only a search for a regex needs it

    options = RegexOptions(size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES)
    try:
        return validator_for({"pattern": pattern}, pattern_options=options).is_valid
    except (ValidationError, ValueError) as error:
        raise ValueError(
            f"{pattern[:100]!r} is no regular expression that can be used here, or too large a one: there are no "
            "look-arounds (?=…) and no back-references \\1. Or search for plain text with regex=false."
        ) from error
