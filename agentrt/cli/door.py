"""The person's door at the terminal: what servers and peers ask is shown there, and what servers log."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync

from agentrt.cli.sources import McpServer, Sources
from agentrt.cli.terminal import Terminal, bounded, clean
from agentrt.engine import Engine
from agentrt.question import Answer, Asker, Consent, Form, Question, Visit, at_the_door, misfit
from agentrt.types import JSON

SHOWN_CHARS = 4_000
_YES, _NO = ("y", "yes"), ("n", "no")


def welcome(found: Sources, terminal: Terminal, engine: Engine | None = None, asker: Asker | None = None) -> None:
    """Give the servers what they may ask of us: the person if one is there, and what their configuration allows.

    Logins are for the person at the terminal: the browser comes back to this machine. ``asker`` takes all else.
    """
    login = asker_at(terminal) if terminal.can_ask else None
    for server in _mcp(found):
        server.connected.host = replace(_host(server, terminal, engine, asker or login), login=login)


def hand_on(found: Sources) -> None:
    """Let the servers ask whoever stands at the door of the run that calls them (:mod:`agentrt.question`).

    None of them is asked to log in: the login would be everybody's, and the browser comes back to this machine.
    """
    for server in _mcp(found):
        server.connected.host = replace(server.connected.host, asker=at_the_door, login=None)


def _mcp(found: Sources) -> list[McpServer]:
    return [server for server in found.servers if server.connected is not None and server.kind == "MCP server"]


def _host(server: McpServer, terminal: Terminal, engine: Engine | None, asker: Asker | None) -> Any:
    from agentrt_mcp import Host, Sampling

    rule = server.config.sampling if server.config else "deny"
    allowed = engine is not None and (rule == "allow" or (rule == "ask" and asker is not None))
    return Host(
        asker=asker,
        sampling=Sampling(partial(_same, engine), ask=rule == "ask") if allowed else None,
        roots=tuple(map(Path, server.config.roots)) if server.config else (),
        log=partial(_log, terminal),
    )


def _same(engine: Any) -> Any:
    return engine


def _log(terminal: Terminal, server: str, level: str, text: str) -> None:
    if not terminal.lock.locked() and not terminal.quiet:  # while a question is open nothing else is written
        terminal.note(f"{server} ({level}): {bounded(text, 400)}", "dim")


def asker_at(terminal: Terminal) -> Asker:
    """Puts questions to the person at ``terminal``, one at a time; where nobody can be asked, nobody answers."""

    async def ask(question: Question) -> Answer:
        if not terminal.can_ask:
            return Answer("cancel")
        async with terminal.lock:
            match question:
                case Form():
                    return await _form(terminal, question)
                case Visit():
                    return await _visit(terminal, question)
                case Consent():
                    return await _consent(terminal, question)

    return ask


def _head(terminal: Terminal, question: Question) -> None:
    mark = terminal.styled("?", "warn")
    terminal.line(f"{mark} {clean(question.source)} asks: {clean(question.message)}")


async def _form(terminal: Terminal, form: Form) -> Answer:
    """Ask for each field; Enter takes the default or leaves it out, ``!no`` declines, the end of input cancels."""
    _head(terminal, form)
    terminal.line("  Do not give it passwords or keys. Enter leaves a field as it is; !no declines all.", "dim")
    wanted = form.schema.get("required") or ()
    content: dict[str, JSON] = {}
    fields = dict(form.schema.get("properties") or {})
    for name, schema in fields.items():
        given = await _field(terminal, name, schema if isinstance(schema, dict) else {}, required=name in wanted)
        if isinstance(given, Answer):
            return given
        content |= given
    if len(fields) == 1:  # it was on the screen as it goes out
        return Answer("accept", content)
    said = await terminal.question("  send it? [y]es, [n]o: ")
    return _yes_or_no(said, content)


def _yes_or_no(said: str | None, content: Mapping[str, JSON] | None = None) -> Answer:
    if said is None:
        return Answer("cancel")
    return Answer("accept", content or {}) if said.lower() in _YES else Answer("decline")


async def _field(
    terminal: Terminal, name: str, schema: Mapping[str, Any], *, required: bool
) -> dict[str, JSON] | Answer:
    while True:
        said = await terminal.question(f"  {_label(name, schema, required=required)}: ")
        if said is None:
            return Answer("cancel")
        if said == "!no":
            return Answer("decline")
        if not said and ("default" in schema or not required):
            return {}
        value = _value(said, schema)
        wrong = misfit({"type": "object", "properties": {name: schema}}, {name: value})
        if said and not wrong:
            return {name: value}
        terminal.line(f"    {clean(wrong) if said else 'it has to be given'}", "warn")


def _label(name: str, schema: Mapping[str, Any], *, required: bool) -> str:
    words = bounded(str(schema.get("title") or name), 80)
    about = bounded(str(schema.get("description") or ""), 200)
    choices = _choices(schema)
    kind = " | ".join(f"{value}{'' if title == value else f' ({title})'}" for value, title in choices.items())
    kind = kind or {"boolean": "yes/no", "integer": "a whole number", "number": "a number"}.get(
        str(schema.get("type")), ""
    )
    if schema.get("type") == "array":
        kind = f"any of {kind}, with commas between"
    default = f"default {schema['default']}" if "default" in schema else "" if required else "may be left out"
    known = ", ".join(filter(None, (bounded(kind, 400), bounded(default, 80))))
    return f"{words}{f' - {about}' if about else ''}{f' [{known}]' if known else ''}"


def _choices(schema: Mapping[str, Any]) -> dict[str, str]:
    """The values to choose from and their titles, in every form that MCP has for them (SEP-1330)."""
    inner = schema.get("items") if schema.get("type") == "array" else schema
    inner = inner if isinstance(inner, dict) else {}
    titled = inner.get("oneOf") or inner.get("anyOf") or ()
    if titled:
        return {
            str(one.get("const")): str(one.get("title", one.get("const"))) for one in titled if isinstance(one, dict)
        }
    values = [str(value) for value in inner.get("enum") or ()]
    names = inner.get("enumNames") or values
    return dict(zip(values, map(str, names), strict=False))


def _value(said: str, schema: Mapping[str, Any]) -> JSON:
    """What the person typed, as the field's type; if it can't be that it stays text, and the schema objects."""
    match schema.get("type"):
        case "boolean":
            return True if said.lower() in (*_YES, "true") else False if said.lower() in (*_NO, "false") else said
        case "integer" | "number" as kind:
            try:
                return int(said) if kind == "integer" else float(said)
            except ValueError:
                return said
        case "array":
            return [_by_title(part.strip(), schema) for part in said.split(",") if part.strip()]
        case _:
            return _by_title(said, schema)


def _by_title(said: str, schema: Mapping[str, Any]) -> str:
    return next((value for value, title in _choices(schema).items() if said in (value, title)), said)


async def _visit(terminal: Terminal, visit: Visit) -> Answer:
    _head(terminal, visit)
    terminal.line("  It wants this page opened in your browser:", "dim")
    terminal.line(f"  {terminal.styled(clean(visit.url), 'bold')}")
    answer = _yes_or_no(await terminal.question("  open it? [y]es, [n]o: "))
    if answer.action == "accept":
        await run_sync(webbrowser.open, visit.url)
    return answer


async def _consent(terminal: Terminal, consent: Consent) -> Answer:
    _head(terminal, consent)
    details = clean(consent.details)
    terminal.line("  " + details[:SHOWN_CHARS].replace("\n", "\n  "))
    while len(details) > SHOWN_CHARS:
        terminal.line(f"  … {len(details) - SHOWN_CHARS} more characters; v shows them all", "warn")
        said = await terminal.question("  allow it? [y]es, [n]o: ")
        if said != "v":
            return _yes_or_no(said)
        terminal.line("  " + details.replace("\n", "\n  "))
    return _yes_or_no(await terminal.question("  allow it? [y]es, [n]o: "))
