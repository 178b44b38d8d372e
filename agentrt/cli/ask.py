"""The question about one call, as the person at the terminal sees it."""

from __future__ import annotations

import json

from agentrt.cli.terminal import Terminal, clean
from agentrt.policy.permissions import Ask, Reply
from agentrt.types import CheckedCall

SHOWN_CHARS = 4_000


def asking(terminal: Terminal) -> Ask:
    """Asks at ``terminal``, shows the exact call, and holds back all other output until there is an answer."""

    async def ask(call: CheckedCall, why: str) -> Reply:
        async with terminal.lock:
            _show(terminal, call, why, SHOWN_CHARS)
            while True:
                said = await terminal.question("  run it? [y]es, [a]lways this tool, [n]o (and a word why): ")
                reply = understand(said)
                if reply is not None:
                    return reply
                if said == "v":
                    _show(terminal, call, why, None)

    return ask


def _show(terminal: Terminal, call: CheckedCall, why: str, limit: int | None) -> None:
    terminal.line(f"{terminal.styled('?', 'warn')} {clean(call.name)} ({clean(call.spec.source)}): {clean(why)}")
    text = clean(json.dumps(call.arguments, ensure_ascii=False, indent=2))
    terminal.line("  " + text[:limit].replace("\n", "\n  "))
    if limit is not None and len(text) > limit:
        terminal.line(f"  … {len(text) - limit} more characters; v shows them all", "warn")


def understand(said: str | None) -> Reply | None:
    """The person's line as a reply, or ``None`` if it is not clear. The end of input refuses."""
    if said is None:
        return Reply(allow=False)
    word, _, rest = said.partition(" ")
    match word.lower().rstrip(",.:;"):
        case "y" | "yes":
            return Reply(allow=True)
        case "a" | "always":
            return Reply(allow=True, always=True)
        case "n" | "no":
            return Reply(allow=False, word=rest.strip())
        case _:
            return None
