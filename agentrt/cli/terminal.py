"""The person's terminal: the answer on stdout, everything else on stderr, one writer at a time."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, TextIO

from anyio import Lock, sleep, wait_readable
from anyio.to_thread import run_sync

from agentrt.errors import lone_errors

Style = Literal["plain", "dim", "bold", "good", "bad", "warn", "name"]
_SGR: dict[Style, str] = {"dim": "2", "bold": "1", "good": "32", "bad": "31", "warn": "33", "name": "36"}
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_SECONDS = 0.1
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """``text`` with nothing in it that a terminal obeys: escape sequences, carriage returns, turned writing."""
    return _UNSAFE.sub(_shown, text.replace("\r\n", "\n"))


def _shown(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode control pictures
    return "\u2421" if code == 0x7F else f"\\u{code:04x}"


def well_formed(text: str) -> str:
    """``text`` from the command line or a terminal; bytes in it that are no UTF-8 become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def bounded(text: str, limit: int) -> str:
    """The first line's worth of ``text``: on one line, ``limit`` characters at most, and clean."""
    flat = " ".join(clean(text[: 4 * limit]).split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


class Terminal:
    """Where output goes. ``live`` if a person watches stderr, ``answers_live`` if one watches stdout.

    Colours and the spinner appear only for a person, and no colour where ``NO_COLOR`` is set (no-color.org).
    ``lock`` is held by whoever writes or asks; the methods that write expect it to be held.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.out: TextIO = sys.stdout
        self.err: TextIO = sys.stderr
        for stream in (self.out, self.err):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        self.quiet = quiet
        self.live = self.err.isatty() and os.environ.get("TERM") != "dumb"
        self.answers_live = self.out.isatty()
        self.can_ask = sys.stdin is not None and sys.stdin.isatty() and self.err.isatty()
        self.colour = self.live and not os.environ.get("NO_COLOR")
        self.lock = Lock()
        self.waiting = ""
        self._since = time.monotonic()
        self._mid_line: TextIO | None = None
        self._spinning = False

    def styled(self, text: str, style: Style) -> str:
        """``text`` in a style, where there are styles."""
        return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if self.colour and style in _SGR else text

    def wait_for(self, what: str) -> None:
        """Say in the spinner what is waited for; nothing if ``what`` is empty."""
        if what != self.waiting:
            self.waiting, self._since = what, time.monotonic()

    def line(self, text: str, style: Style = "plain") -> None:
        """Write a line to stderr. ``text`` must be clean."""
        self.end_line()
        print(self.styled(text, style), file=self.err, flush=True)

    def note(self, text: str, style: Style = "warn") -> None:
        """Write a line that may come from anywhere."""
        self.line(clean(text), style)

    def flow(self, text: str, style: Style = "plain", *, answer: bool = False) -> None:
        """Write the next piece of a text that streams: to stdout if it is the answer, else to stderr."""
        self._erase()
        stream = self.out if answer else self.err
        stream.write(self.styled(clean(text), style))
        stream.flush()
        if text:
            self._mid_line = None if text.endswith("\n") else stream

    def end_line(self) -> None:
        """Start a new line unless one was just started."""
        self._erase()
        if self._mid_line is not None:
            print(file=self._mid_line, flush=True)
            self._mid_line = None

    def _erase(self) -> None:
        if self._spinning:
            self.err.write("\r\x1b[K")
            self.err.flush()
            self._spinning = False

    @asynccontextmanager
    async def spinner(self) -> AsyncIterator[None]:
        """Show what is waited for while the block runs, where a person watches."""
        if not self.live or self.quiet:
            yield
            return
        async with lone_errors() as group:
            group.start_soon(self._spin)
            try:
                yield
            finally:
                group.cancel_scope.cancel()
                self._erase()

    async def _spin(self) -> None:
        frame = 0
        while True:
            await sleep(_FRAME_SECONDS)
            if not self.waiting or self._mid_line is not None or self.lock.locked():
                continue
            frame += 1
            seconds = time.monotonic() - self._since
            mark = self.styled(_FRAMES[frame % len(_FRAMES)], "name")
            self.err.write(f"\r{mark} {bounded(self.waiting, 60)} {seconds:.0f} s\x1b[K")
            self.err.flush()
            self._spinning = True

    async def question(self, text: str) -> str | None:
        """Ask on stderr and return the line that the person typed, or ``None`` at the end of input."""
        self.end_line()
        self._put(text)
        return await _read_line()

    def taken_back(self) -> None:
        """The question that stood here needs no answer any more: what was typed to it is dropped."""
        if self.can_ask:
            _forget_typed()
            print(file=self.err, flush=True)

    def question_sync(self, text: str) -> str | None:
        """As :meth:`question`, before the event loop runs."""
        self._put(text)
        return sys.stdin.readline().strip() or None

    def _put(self, question: str) -> None:
        """Show a question. What was typed is dropped before it and not after: a Ctrl-C on seeing it would go too."""
        _forget_typed()
        self.err.write(self.styled(question, "bold"))
        self.err.flush()


def _forget_typed() -> None:
    """Drop what was typed before the question was shown: nobody can have meant it as the answer."""
    if os.name != "nt":
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


async def _read_line() -> str | None:
    if os.name == "nt":
        return (await run_sync(sys.stdin.readline, abandon_on_cancel=True)).strip() or None
    await wait_readable(sys.stdin)
    typed = os.read(sys.stdin.fileno(), 65_536)
    return typed.decode(errors="replace").strip() if typed else None
