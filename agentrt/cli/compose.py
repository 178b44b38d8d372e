"""From flags and files to what a command needs: configuration, tools, permissions, limits, instructions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from agentrt.cli.boxes import Boxes
from agentrt.cli.flags import ConfigFlags, PermissionFlags, RunFlags, ToolFlags
from agentrt.cli.sources import BestEffort, Sources, mcp_servers, named_servers, packs, python_tools
from agentrt.cli.terminal import Terminal
from agentrt.config import Claim, Loaded, PermissionsConfig, TrustStore, load
from agentrt.config.paths import nearest
from agentrt.config.references import learn_ahead
from agentrt.errors import ConfigError
from agentrt.home import data_dir
from agentrt.limits import Limits
from agentrt.policy.lock import LOCK_FILE, Lockfile
from agentrt.policy.permissions import Ask, AskAll, Mode, Permissions, Preview, Ungrounded
from agentrt.types import Effect


def configuration(flags: ConfigFlags, tools: ToolFlags | None, terminal: Terminal) -> Loaded:
    """The merged configuration. A project's file that wants more than the harmless is asked about.

    :raises ConfigError: if a file is wrong.
    """
    store = TrustStore(data_dir())

    def trusts(claim: Claim) -> bool:
        return flags.trust_project or store.allows(claim) or _asked(claim, store, terminal)

    loaded = load(
        cwd=Path.cwd(),
        environ=os.environ,
        trusts=trusts,
        file=flags.config,
        found_files=not flags.no_config,
        mcp_files=tools.mcp_config if tools else (),
        imports=hosts(flags),
    )
    for server in loaded.servers:
        if server.own:
            learn_ahead(server.config, os.environ, server.path.parent)
    for note in loaded.notes:
        terminal.note(note)
    return loaded


def hosts(flags: ConfigFlags) -> list[str]:
    """The hosts that ``--import`` names."""
    return [name.strip() for name in flags.imports.split(",") if name.strip()]


def _asked(claim: Claim, store: TrustStore, terminal: Terminal) -> bool:
    """Ask the person, who sees exactly what would happen; without one the answer is no."""
    if not terminal.can_ask:
        return False
    show_claim(claim, terminal)
    said = terminal.question_sync("Trust it? [y]es, from now on; [o]nce; [n]o: ")
    word = (said or "").lower()
    if word in ("y", "yes"):
        store.allow(claim)
    return word in ("y", "yes", "o", "once")


def show_claim(claim: Claim, terminal: Terminal) -> None:
    """What a project's file asks for, a line each."""
    terminal.note(f"{claim.path} comes with this project and wants to")
    for line in claim.lines:
        terminal.note(f"  {line}", "plain")


def sources(loaded: Loaded, flags: ToolFlags) -> Sources:
    """Everything that offers tools, by the flags and the configuration.

    :raises ConfigError: if a tool can't be loaded.
    """
    config = loaded.config
    names = [name.strip() for given in flags.pack for name in given.split(",") if name.strip()]
    boxes = boxes_of(loaded, flags)
    functions = [
        *packs([*config.tools, *names], boxes),
        *python_tools(config.tool_files, loaded.base("tool_files")),
        *python_tools(flags.python, Path.cwd()),
    ]
    lock = lockfile()
    configured = mcp_servers(loaded, dict(os.environ), boxes, flags.trust, lock)
    named = named_servers(flags.mcp, [server.name for server in configured], boxes, flags.trust, lock)
    servers = [*configured, *named]
    unknown = [name for name in flags.trust if name not in [server.name for server in servers]]
    if unknown:
        raise ConfigError(
            f"there is no MCP server {unknown[0]!r} to trust; there are: {', '.join(s.name for s in servers) or 'none'}"
        )
    if config.a2a or flags.a2a:
        from agentrt.cli.peers import configured_peers, named_peers

        servers += configured_peers(loaded, os.environ, boxes.guard)
        servers += named_peers(flags.a2a, [server.name for server in servers], boxes.guard)
    classes: dict[str, Effect] = {
        name: "read" if kind == "read-only" else kind for name, kind in config.classes.items()
    }
    return Sources(tuple(functions), tuple(servers), classes, flags.find_tools)


def boxes_of(loaded: Loaded, flags: ToolFlags) -> Boxes:
    """The boxes of a run, around its root folder.

    :raises ConfigError: if an allowed network or host is none.
    """
    root = loaded.config.root
    return Boxes.of(loaded, flags, flags.root or (loaded.base("root") / root if root else Path.cwd()))


def lockfile() -> Lockfile | None:
    """The project's lockfile, if there is one.

    :raises ConfigError: if it can't be read.
    """
    path = nearest(Path.cwd(), LOCK_FILE)
    return Lockfile(path) if path else None


def notes(found: Sources) -> Iterator[str]:
    """What the person should know of the servers, once they have been opened."""
    for server in found.servers:
        if server.note:
            yield f"{server.kind} {server.name!r} ({server.origin}) is {server.note}"
        if server.warning:
            yield f"{server.kind} {server.name!r} {server.warning}"
        if isinstance(server.toolset, BestEffort) and server.toolset.note:
            yield f"{server.toolset.note}\nIt is left out ({server.origin})."
        if server.connected is not None:
            yield from server.connected.notes
        for guard in server.guards:
            yield from guard.notes


def limits(loaded: Loaded, flags: RunFlags) -> Limits:
    """The configured limits, and the flags' over them."""
    given = {
        "turns": _number(flags.max_turns, int),
        "calls": _number(flags.max_calls, int),
        "seconds": _number(flags.max_seconds, float),
        "cost": _number(flags.max_cost, float),
        "tokens": _number(flags.max_tokens, int),
    }
    changes: dict[str, Any] = {name: None if value == "none" else value for name, value in given.items() if value}
    return replace(loaded.config.limits.limits(), **changes)


def _number(text: str | None, kind: type[int] | type[float]) -> int | float | str | None:
    return text if text is None or text == "none" else kind(text)


def instructions(loaded: Loaded, flags: RunFlags) -> str:
    """What the model is told; ``@FILE`` is read, from the folder of the file that says so.

    :raises ConfigError: if the file can't be read.
    """
    base = Path.cwd() if flags.instructions is not None else loaded.base("instructions")
    said = flags.instructions if flags.instructions is not None else loaded.config.instructions or ""
    if not said.startswith("@"):
        return said
    path = base / Path(said[1:]).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the instructions can't be read from {str(path)!r}: {error}") from error


def temperature(loaded: Loaded, flags: RunFlags) -> float | None:
    """The sampling temperature, if one is set."""
    return loaded.config.temperature if flags.temperature is None else flags.temperature


@dataclass(frozen=True, slots=True)
class Rules:
    """The permissions of a run, before it is known which engine answers."""

    config: PermissionsConfig

    def grounds(self, *, embedded: bool) -> bool:
        """Whether it matters where arguments came from; without a word of config only for the embedded engine."""
        return embedded if self.config.grounding is None else self.config.grounding

    def permit(
        self,
        *,
        ask: Ask | None = None,
        ask_all: AskAll | None = None,
        instructions: str = "",
        ungrounded: Ungrounded | None = None,
        preview: Preview | None = None,
    ) -> Permissions:
        """A permit with no memory of other sessions, which asks as one of ``ask`` and ``ask_all`` says, or nobody."""
        config = self.config
        return Permissions(
            config.mode,
            allow=config.allow,
            deny=config.deny,
            rules=[item.rule() for item in config.rules],
            flow=config.flow(instructions),
            ask=ask,
            ask_all=ask_all,
            ungrounded=ungrounded,
            preview=preview,
        )


def rules(loaded: Loaded, flags: PermissionFlags) -> Rules:
    """The configured rules and the flags'. ``--yes`` answers questions; it does not lift a mode that asks none.

    :raises ConfigError: if there is no such mode.
    """
    config = loaded.config.permissions
    if flags.mode is not None and flags.mode not in get_args(Mode):
        raise ConfigError(f"there is no mode {flags.mode!r}; known: {', '.join(get_args(Mode))}")
    mode = cast(Mode, flags.mode or config.mode)
    if flags.yes and mode != "read-only":
        mode = "full"
    changes = {"mode": mode, "allow": (*config.allow, *flags.allow), "deny": (*config.deny, *flags.deny)}
    return Rules(config.model_copy(update=changes))
