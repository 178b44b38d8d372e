"""Where results go: a file that a later run of the same batch completes, or a stream."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TextIO

from agentrt.batch.outcome import FAILED, Outcome, line
from agentrt.batch.tasks import Job
from agentrt.errors import ConfigError


class Results(Protocol):
    """Takes one result for each task. Used as: ``begin`` once, ``add`` as they come, ``end`` in any case."""

    def begin(self, jobs: Sequence[Job], ended: frozenset[str]) -> Mapping[str, str]:
        """Get ready; return what is there already, as the reason by session.

        ``ended`` are the sessions that came to an end; only of those a result may be there.

        :raises ConfigError: if results can't be written there.
        """
        ...

    def add(self, job: Job, found: Outcome) -> None:
        """Write a result."""
        ...

    def end(self, *, whole: bool) -> None:
        """Write what is held back; ``whole`` if the batch was not stopped."""
        ...


class ResultsFile:
    """Results as lines in ``path``. What an earlier run wrote there stays, but for tasks that failed or changed.

    ``ordered``: sorted as the tasks are, once the batch has come to its end.
    """

    def __init__(self, path: Path, *, ordered: bool = False) -> None:
        self.path = path
        self.ordered = ordered
        self._jobs: Sequence[Job] = ()
        self._file: TextIO | None = None

    def begin(self, jobs: Sequence[Job], ended: frozenset[str]) -> Mapping[str, str]:
        """Take over what is in the file, if it is of this batch."""
        self._jobs = jobs
        there = self._there()
        self._refuse_others(there, jobs)
        kept, reasons = _keep(there, jobs, ended)
        try:
            if kept != [text for text, _ in there] or self._torn():
                self._replace(kept)
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"the results can't be written to {str(self.path)!r}: {error.strerror}") from error
        return reasons

    def add(self, job: Job, found: Outcome) -> None:
        """Append a line."""
        assert self._file is not None, "begin comes first"
        self._file.write(line(job, found) + "\n")
        self._file.flush()

    def end(self, *, whole: bool) -> None:
        """Close the file, sorted if that was asked for."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        if whole and self.ordered:
            places = {job.session: place for place, job in enumerate(self._jobs)}
            lines = sorted(self._there(), key=lambda item: places.get(item[1]["session"], len(places)))
            self._replace([text for text, _ in lines])

    def _there(self) -> list[tuple[str, dict[str, str]]]:
        """The whole lines of the file; half of one, from a run that was killed, is left out."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"the results in {str(self.path)!r} can't be read: {error.strerror}") from error
        return [(text, self._parsed(text, number)) for number, text in enumerate(lines, 1)]

    def _parsed(self, text: str, number: int) -> dict[str, str]:
        try:
            value = json.loads(text)
            if isinstance(value["session"], str) and isinstance(value["reason"], str) and "id" in value:
                return dict(value)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise ConfigError(f"{self.path}:{number} is no result of a batch, so nothing is written there: name a new file")

    def _refuse_others(self, there: Iterable[tuple[str, dict[str, str]]], jobs: Sequence[Job]) -> None:
        batch = jobs[0].session.rpartition("-")[0]
        for _, value in there:
            if value["session"].rpartition("-")[0] != batch:
                raise ConfigError(f"{self.path} has results of another batch ({value['session']}): name a new file")

    def _torn(self) -> bool:
        return self.path.exists() and not self.path.read_bytes().endswith(b"\n")

    def _replace(self, lines: Sequence[str]) -> None:
        new = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        new.write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")
        new.replace(self.path)


def _keep(
    there: Sequence[tuple[str, dict[str, str]]], jobs: Sequence[Job], ended: frozenset[str]
) -> tuple[list[str], dict[str, str]]:
    """The lines that stay, and the reasons of those that are of these jobs."""
    sessions = {job.session for job in jobs}
    ids = {str(job.task.id) for job in jobs}
    kept: list[str] = []
    reasons: dict[str, str] = {}
    for text, value in there:
        session, reason = value["session"], value["reason"]
        if session in sessions:
            if session in ended and session not in reasons and reason != FAILED:
                reasons[session] = reason
                kept.append(text)
        elif str(value["id"]) not in ids:
            kept.append(text)  # of a task that was taken out of the file
    return kept, reasons


class ResultsStream:
    """Results as lines on a stream, those of earlier runs too; ``ordered``: all at the end, sorted as the tasks are."""

    def __init__(self, stream: TextIO, *, ordered: bool = False) -> None:
        self.stream = stream
        self.ordered = ordered
        self._held: dict[str, str] = {}
        self._jobs: Sequence[Job] = ()

    def begin(self, jobs: Sequence[Job], ended: frozenset[str]) -> Mapping[str, str]:
        """Nothing is there."""
        self._jobs = jobs
        return {}

    def add(self, job: Job, found: Outcome) -> None:
        """Write a line, or hold it."""
        if self.ordered:
            self._held[job.session] = line(job, found)
        else:
            print(line(job, found), file=self.stream, flush=True)

    def end(self, *, whole: bool) -> None:
        """Write what was held."""
        for job in self._jobs:
            if job.session in self._held:
                print(self._held.pop(job.session), file=self.stream)
        self.stream.flush()
