"""What goes wrong with an endpoint: what is worth another try and after which time, and what is a refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from agentrt.engines.chunks import ServerFault, fault_in
from agentrt.engines.transport import CannotConnect
from agentrt.errors import ContextExceeded, EngineError, EngineRefused
from agentrt.outside import clock, now, random_number

MAX_MESSAGE_CHARS = 600
MAX_ERROR_BYTES = 2_000
_AGAIN = frozenset({408, 409, 425, 429})
_NEVER = frozenset({501, 505})
_LONGEST_BACKOFF = 8.0
_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum context|exceed_context|model length|(prompt|input|request) is too long",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"(?:context (?:length|window|size)|model length)[^\d]{0,24}([\d,]*\d)|> ([\d,]*\d) maximum", re.IGNORECASE
)
_TOKENS = re.compile(
    r"\(([\d,]*\d) in the messages"
    r"|(?:resulted in|too long:|request|prompt contains(?: at least)?) \(?([\d,]*\d) tokens",
    re.IGNORECASE,
)
_ABOUT_GRAMMAR = (b"structural", b"grammar", b"structured", b"triggers")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an engine waits, in seconds.

    ``connect_seconds``: for a connection. ``first_token_seconds``: from sending to the first token, which includes
    the server's queue and prefill. ``idle_seconds``: between two tokens; comments and empty chunks do not count.
    ``retry_seconds``: within this time (and at most ``tries`` times, ``connect_tries`` if there is not even a
    connection) a request that brought no token is sent again, with growing, jittered pauses from ``backoff_seconds``
    on, or after the pause that the server asks for, unless that is longer than ``longest_pause_seconds``. There is
    no limit on the whole answer.
    """

    connect_seconds: float = 10.0
    first_token_seconds: float = 300.0
    idle_seconds: float = 60.0
    retry_seconds: float = 120.0
    tries: int = 20
    connect_tries: int = 4
    backoff_seconds: float = 0.5
    longest_pause_seconds: float = 60.0


class Again(Exception):
    """The request failed in a way that may pass. ``pause_seconds`` is what the server asked for, if it did."""

    def __init__(self, reason: str, pause_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause_seconds = pause_seconds


class UsageNotTaken(Again):
    """The endpoint does not know ``stream_options``: it must be asked without."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, 0.0)


class Retries:
    """Counts the tries of one request."""

    def __init__(self, patience: Patience, where: str) -> None:
        self._patience = patience
        self._where = where
        self._start = clock()
        self._tries = 0

    def pause(self, failure: Again) -> float:
        """The seconds to wait before the next try.

        :raises EngineError: if there must be no other.
        """
        self._tries += 1
        patience = self._patience
        asked = failure.pause_seconds
        if asked is not None and asked > patience.longest_pause_seconds:
            raise EngineError(
                f"{self._where}: {failure.reason}; it asks to wait {asked:.0f} s, longer than "
                f"{patience.longest_pause_seconds:g} s. Go on later."
            ) from failure
        wait = self._backoff() if asked is None else asked
        spent = clock() - self._start
        nobody = isinstance(failure.__cause__, CannotConnect)
        if (
            self._tries >= (patience.connect_tries if nobody else patience.tries)
            or spent + wait > patience.retry_seconds
        ):
            advice = ". Next: start the server there, or check the address." if nobody else ""
            raise EngineError(
                f"{self._where} did not answer in {self._tries} tries over {spent:.0f} s; "
                f"at last: {failure.reason}{advice}"
            ) from failure
        return wait

    def _backoff(self) -> float:
        whole = min(self._patience.backoff_seconds * 2.0 ** (self._tries - 1), _LONGEST_BACKOFF)
        return whole * (0.5 + random_number(32) / 2**33)  # jitter, so that many clients do not come back together


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait: ``Retry-After`` as seconds or date (RFC 9110 section 10.2.3)."""
    value = headers.get("retry-after", "").strip()
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(float(milliseconds) / 1000, 0.0)
        return max(float(value), 0.0) if value else None
    except ValueError:
        pass
    from email.utils import parsedate_to_datetime  # slow to import, and seldom needed

    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max((when - datetime.fromtimestamp(now(), UTC)).total_seconds(), 0.0)


class StrictNotTaken(Again):
    """The endpoint may not constrain calls to these schemas: it must be asked without."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, 0.0)


@dataclass(frozen=True, slots=True)
class Place:
    """What an error message says about an endpoint; ``secret`` must not appear in one."""

    url: str
    model: str
    key_variable: str
    secret: str

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, *, strict: bool = False) -> Exception:
        """The exception that an answer other than 200 means: :class:`Again` or :class:`EngineRefused`.

        ``strict``: it was asked to constrain calls, which not every server can that knows the word.
        """
        message = self._clean(_message(body))
        said = f"{status}, {message}" if message else f"{status}"
        if exceeded := too_long(
            status, body[:MAX_ERROR_BYTES].decode("utf-8", "replace"), f"{self.url} answered {said}."
        ):
            return exceeded
        if strict and _may_be_strictness(status, body):
            return StrictNotTaken(f"it may not take strict tools, since it answered {said}")
        if _may_pass(status, body):
            return Again(f"it answered {said}", retry_after(headers))
        if status in (400, 422) and (b"stream_options" in body or b"include_usage" in body):
            return UsageNotTaken(f"it answered {said}")
        return EngineRefused(f"{self.url} answered {said}{self._advice(status)}")

    def fault(self, fault: ServerFault, *, strict: bool = False) -> Exception:
        """The exception that an error inside a stream means; ``strict`` as in :meth:`failure`."""
        message = self._clean(str(fault))
        if exceeded := too_long(fault.status, message, f"{self.url} answered {fault.status}, {message}."):
            return exceeded
        if strict and _may_be_strictness(fault.status, message.encode()):
            return StrictNotTaken(f"it may not take strict tools, since it answered {fault.status}, {message}")
        if fault.status and not _may_pass(fault.status, b""):
            return EngineRefused(f"{self.url} answered {fault.status}, {message}{self._advice(fault.status)}")
        return Again(f"it reported an error: {message}")

    def _advice(self, status: int) -> str:
        if status in (401, 403):
            done = f"check the key in ${self.key_variable}" if self.secret else f"set ${self.key_variable} to its key"
            return f". Next: {done}."
        if status in (404, 405):
            return f". Next: check the address and the model name {self.model!r}."
        if 300 <= status < 400:
            return ". Next: use the address that it redirects to; requests with keys are not sent on."
        if status == 413:
            return ". Next: make the conversation shorter."
        return "."

    def _clean(self, message: str) -> str:
        text = " ".join(message.split())
        if self.secret:
            text = text.replace(self.secret, "***")
        text = "".join(mark for mark in text if mark.isprintable()).rstrip(". ")
        return text if len(text) <= MAX_MESSAGE_CHARS else f"{text[:MAX_MESSAGE_CHARS]}…"


def too_long(status: int, message: str, words: str) -> ContextExceeded | None:
    """What a server means that says that the prompt does not fit the model's context, in any of the usual ways."""
    if status != 413 and (status not in (400, 422) or not _TOO_LONG.search(message)):
        return None
    refused = ContextExceeded(f"{words} Next: make the conversation shorter, or name the limit as `context_tokens`.")
    refused.limit, refused.tokens = _number(_LIMIT, message), _number(_TOKENS, message)
    return refused


def _number(pattern: re.Pattern[str], message: str) -> int | None:
    found = pattern.search(message)
    return None if found is None else int(next(filter(None, found.groups())).replace(",", ""))


def _may_be_strictness(status: int, body: bytes) -> bool:
    return status in (400, 422) or (status >= 500 and any(word in body for word in _ABOUT_GRAMMAR))


def _may_pass(status: int, body: bytes) -> bool:
    if status == 429 and b"insufficient_quota" in body:
        return False  # out of money, not out of breath
    return status in _AGAIN or (status >= 500 and status not in _NEVER)


def _message(body: bytes) -> str:
    """The words in an error's body, whatever shape it has."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace")
        return "" if "<html" in text[:1000].lower() else text
    if isinstance(answer, list) and answer:
        answer = answer[0]
    if isinstance(answer, dict):
        fault = fault_in(answer)
        return str(fault) if fault else ""
    return str(answer)
