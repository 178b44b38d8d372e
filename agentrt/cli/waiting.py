"""``agentrt sessions waiting`` and ``answer``: what runs at terminals and doors wait with, and a word to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from agentrt.cli.ask import understand
from agentrt.cli.signals import Loop
from agentrt.cli.terminal import Terminal, clean
from agentrt.errors import ConfigError
from agentrt.journal import open_store
from agentrt.question import Answer, Consent, Form, Question, Visit
from agentrt.serve.approval import answer_of, is_approval
from agentrt.serve.board import TERMINAL, Board, NoSuchQuestion, Run

HOW = "agentrt sessions answer"
_NONE = "no run waits for a word"


def list_waiting(store: str, *, as_json: bool) -> None:
    """Print every question that runs wait with, and how to answer it."""
    runs = [run for run in _with(store, lambda board: board.going_on()) if run.questions]
    if not runs and not as_json:
        Terminal().note(_NONE, "dim")
    for run in runs:
        for question in run.questions.values():
            if as_json:
                known = {"id": run.id, "session": run.session, "door": run.door, "tenant": run.tenant}
                fields = {name: getattr(question, name) for name in question.__slots__}
                print(json.dumps({**known, "kind": type(question).__name__, **fields}, default=dict))
            else:
                where = "at a terminal" if run.door == TERMINAL else f"over {run.door}"
                print(f"{run.id} (session {run.session}, begun {where})")
                print("  " + clean(_words(question)).replace("\n", "\n  "))
                print(f"  {HOW} {run.id} {_example(question)}")


def answer(store: str, name: str, said: list[str]) -> None:
    """Answer the oldest question of the run or session ``name``.

    :raises ConfigError: if it asks nothing, or the answer is none to what it asks.
    """

    async def tell(board: Board) -> None:
        run = _meant(await board.going_on(), name)
        key, question = next(iter(run.questions.items()))
        try:
            await board.answer(run, key, _answer(question, said))
        except NoSuchQuestion as error:
            raise ConfigError(str(error)) from error

    _with(store, tell)
    Terminal().note("told", "dim")


def _with(store: str, job: Any) -> Any:
    async def run() -> Any:
        async with aclosing(open_store(store)) as kept, aclosing(Board.of(kept)) as board:
            return await job(board)

    with Loop() as loop:
        return loop.run(run)


def _meant(runs: list[Run], name: str) -> Run:
    found = [run for run in runs if run.questions and (run.id.startswith(name) or run.session.startswith(name))]
    if len(found) != 1:
        which = ", ".join(run.id for run in found) or "none"
        raise ConfigError(f"{name!r} means {which} of the runs that wait; see agentrt sessions waiting")
    return found[0]


def _words(question: Question) -> str:
    match question:
        case Visit(source, message, url):
            return f"{source} asks to visit {url}: {message}"
        case Consent(source, message, details):
            return f"{source} asks: {message}\n{details}".rstrip()
        case Form(source, message):
            return message if is_approval(question) else f"{source} asks: {message}"


def _example(question: Question) -> str:
    if is_approval(question):
        return "yes | always | 'no, because …'"
    if isinstance(question, Form):
        return " ".join(f"{name}=…" for name in question.schema.get("properties", {})) + " | no"
    return "yes | no"


def _answer(question: Question, said: list[str]) -> Answer:
    """What was typed as an answer to the question.

    :raises ConfigError: if it is none.
    """
    reply = understand(" ".join(said))
    if is_approval(question) and reply is not None:
        return answer_of(reply)
    if reply is not None and not reply.allow:
        return Answer("decline")
    if isinstance(question, Form) and not is_approval(question):
        return Answer("accept", _fields(said, question.schema))
    if reply is None:
        raise ConfigError(f"{' '.join(said)!r} is no answer; say {_example(question)}")
    return Answer("accept")


def _fields(said: list[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """``NAME=VALUE`` for each field: JSON where the field is no text."""
    found: dict[str, Any] = {}
    for item in said:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"{item!r} is no NAME=VALUE; the fields are {', '.join(schema.get('properties', {}))}")
        kind = schema.get("properties", {}).get(name, {}).get("type", "string")
        try:
            found[name] = value if kind == "string" else json.loads(value)
        except ValueError as error:
            raise ConfigError(f"{name} is {kind}, and {value!r} is none: {error}") from error
    return found
