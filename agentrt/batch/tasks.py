"""The tasks of a batch: a file of JSON lines, and the session that each of them is."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from agentrt.errors import ConfigError
from agentrt.types import JSON

MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Task:
    """One line. ``instructions`` take the place of the batch's own; ``meta`` is copied into the result as it is."""

    id: str | int
    task: str
    instructions: str | None = None
    meta: JSON = None


_KEYS = tuple(item.name for item in fields(Task))


@dataclass(frozen=True, slots=True)
class Job:
    """A task and the id of its session."""

    task: Task
    session: str


def jobs(tasks: Iterable[Task], batch: str) -> list[Job]:
    """The tasks with their sessions, whose ids derive from the batch and from what the task says.

    So a task that was changed is another task, and one that only moved in its file is not.
    """
    return [Job(task, f"{batch}-{_digest(batch, str(task.id), task.task, task.instructions)}") for task in tasks]


def batch_name(path: Path) -> str:
    """The name of the batch in ``path``, if nobody gave it another: the same for as long as the file stays there."""
    return f"{plain_name(path.stem)}-{_digest(str(path.resolve()))[:6]}"


def plain_name(text: str) -> str:
    """``text`` as a part of a session's id: what is no ASCII letter, digit, dot or underscore becomes a hyphen."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "._") else "-" for char in text)[:60]


def _digest(*parts: str | None) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read_tasks(path: Path) -> list[Task]:
    """The tasks in a file of JSON lines (UTF-8): ``{"id"?, "task", "instructions"?, "meta"?}``.

    Empty lines do not count. A task without an id gets one from what it says.

    :raises ConfigError: if the file can't be read or is empty, or naming file and line of what is no task.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise ConfigError(f"the tasks can't be read from {str(path)!r}: {error.strerror}") from error
    tasks: list[Task] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    repeats: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            task = _task(line, repeats)
            before = seen.setdefault(str(task.id), number)
            if before != number:
                raise ValueError(f"the id {task.id!r} is already that of line {before}")
            tasks.append(task)
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    if problems:
        raise ConfigError(_listed(problems))
    if not tasks:
        raise ConfigError(f'{path} has no tasks: write one JSON object a line, e.g. {{"id": 1, "task": "…"}}')
    return tasks


def _listed(problems: Sequence[str]) -> str:
    more = len(problems) - MAX_PROBLEMS
    return "\n".join([*problems[:MAX_PROBLEMS], *([f"and {more} more lines"] if more > 0 else [])])


def _task(line: bytes, repeats: Counter[str]) -> Task:
    """The task on a line; ``repeats`` counts equal ones, so that each gets its own id.

    :raises ValueError: if it is none.
    """
    given = _object(line)
    unknown = [key for key in given if key not in _KEYS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], _KEYS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "put what is your own under 'meta'"
        raise ValueError(f"{unknown[0]!r} is not known: {hint}")
    text, instructions = given.get("task"), given.get("instructions")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("'task' must be a text that says what to do")
    if not isinstance(instructions, str | None):
        raise ValueError("'instructions' must be a text")
    name = given.get("id")
    if name is None:
        name = _digest(text, instructions)[:12]
        repeats[name] += 1
        name = name if repeats[name] == 1 else f"{name}-{repeats[name]}"
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        raise ValueError("'id' must be a text or a whole number")
    return Task(name, text, instructions, given.get("meta"))


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _object(line: bytes) -> dict[str, Any]:
    try:
        given = json.loads(line, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 ({error.reason} at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg} at character {error.colno})") from None
    if not isinstance(given, dict):
        raise ValueError('it must be a JSON object, e.g. {"id": 1, "task": "…"}')
    return given
