"""The tools of a run: Python files, packs and MCP servers, from the flags and the configuration."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from agentrt.agent import Tool
from agentrt.catalogue import Catalogue
from agentrt.cli.access import oauth
from agentrt.cli.boxes import Boxes, warning
from agentrt.combine import Classified, Combined, Filtered, Wrapper
from agentrt.config import Loaded, PeerConfig, ServerConfig, Unresolved, resolve_server
from agentrt.config.load import Server
from agentrt.errors import ConfigError, ToolsetError
from agentrt.function import Function, Local
from agentrt.network import Guard
from agentrt.plugins import connector
from agentrt.policy.hidden import Cleaned
from agentrt.policy.lock import Locked, Lockfile
from agentrt.policy.permissions import Preview
from agentrt.sandbox import Sandbox
from agentrt.toolset import Toolset
from agentrt.types import CheckedCall, Effect, ToolSpec

MCP = "MCP server"


@dataclass(frozen=True, slots=True)
class McpServer:
    """An MCP server, or an agent of another ``kind``, as it will be opened; ``note`` says why it can't be, if so.

    ``connected`` is the connector's own toolset, inside the filters of ``toolset``: it knows the connection.
    ``guards`` are the wrappers that hold tools back, each with ``notes`` on what and why.
    ``config`` is its configuration with every reference filled in, if it was configured. ``warning`` is what to know
    of its box.
    """

    name: str
    toolset: Toolset | None
    origin: str
    note: str = ""
    connected: Any = None
    kind: str = MCP
    guards: tuple[Locked | Cleaned, ...] = ()
    config: ServerConfig | None = None
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that offers tools, not opened yet."""

    functions: tuple[Tool, ...]
    servers: tuple[McpServer, ...]
    classes: Mapping[str, Effect] = field(default_factory=dict)
    find: bool = False

    @property
    def tools(self) -> list[Tool]:
        """What an :class:`agentrt.Agent` takes: the tools in their classes, or a search (``find``)."""
        given = [*self.functions, *(server.toolset for server in self.servers if server.toolset is not None)]
        if not (self.classes or self.find):
            return given
        found: Toolset = Combined(toolsets(given))
        found = Classified(found, self.classes) if self.classes else found
        return [Catalogue(found) if self.find else found]

    async def preview(self, call: CheckedCall) -> str:
        """What a call would change, if one of the packs can tell."""
        for source in self.functions:
            look: Preview | None = getattr(source, "preview", None)
            if look is not None and call.spec.source == "python" and (seen := await look(call)):
                return seen
        return ""


def toolsets(tools: Iterable[Tool]) -> list[Toolset]:
    """Functions gathered into one local toolset, in front of the others."""
    given: list[Any] = list(tools)
    functions = [tool for tool in given if not hasattr(tool, "specs")]
    return [Local(functions), *(tool for tool in given if hasattr(tool, "specs"))]


class BestEffort(Wrapper):
    """A toolset that the run can do without: if it can't be opened it offers nothing, and ``note`` says why."""

    def __init__(self, inner: Toolset) -> None:
        super().__init__(inner)
        self.note = ""
        self._entered = False

    async def __aenter__(self) -> Self:
        try:
            await self.inner.__aenter__()
            self._entered = True
        except ToolsetError as error:
            self.note = str(error)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered:
            self._entered = False
            await self.inner.__aexit__(kind, error, trace)

    async def specs(self) -> Sequence[ToolSpec]:
        """The inner tools, or none."""
        if self.note:
            return ()
        try:
            return await self.inner.specs()
        except ToolsetError as error:
            self.note = str(error)
            return ()


def python_tools(names: Iterable[str], base: Path) -> list[Tool]:
    """The tools that ``FILE.py``, ``FILE.py:NAME`` or ``MODULE:NAME`` name, files from ``base``.

    :raises ConfigError: if a file or module can't be loaded, or has no such tool.
    """
    return [tool for name in names for tool in _named_tools(name, base)]


def _named_tools(name: str, base: Path) -> list[Tool]:
    where, _, attribute = name.rpartition(":")
    if name.endswith(".py"):
        where, attribute = name, ""
    elif not where:
        raise ConfigError(f"{name!r} names no Python tool: write FILE.py, FILE.py:NAME or MODULE:NAME")
    module = _load_file(base / Path(where).expanduser()) if where.endswith(".py") else _load_module(where, base)
    if attribute:
        found = getattr(module, attribute, None)
        if not callable(found) and not hasattr(found, "specs"):
            raise ConfigError(f"{where} has no tool {attribute!r}; it has {_tool_names(module) or 'none'}")
        return [found]
    tools: list[Tool] = list(_own_tools(module).values())
    if not tools:
        raise ConfigError(
            f"{where} has no tools: put @tool (from agentrt) above a function, or name one with {name}:NAME"
        )
    return tools


def _own_tools(module: ModuleType) -> dict[str, Function]:
    """The module's ``@tool`` functions in order, without those that it only imported."""
    found = {name: value for name, value in vars(module).items() if isinstance(value, Function)}
    return {name: item for name, item in found.items() if getattr(item.call, "__module__", "") == module.__name__}


def _tool_names(module: ModuleType) -> list[str]:
    return list(_own_tools(module))


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"there is no file {str(path)!r} to load tools from")
    name = f"agentrt_tool_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _importable(path.resolve().parent)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{str(path)!r} failed to load: {type(error).__name__}: {error}{_place(error, path)}"
        ) from error
    return module


def _load_module(name: str, base: Path) -> ModuleType:
    _importable(base)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"the module {name!r} can't be imported: {type(error).__name__}: {error}") from error


def _importable(folder: Path) -> None:
    """Let what is loaded import its neighbours; at the end of the path, so that they shadow nothing."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _place(error: BaseException, path: Path) -> str:
    """The line of ``path`` that the error came through."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f" (line {lines[-1]})" if lines else ""


def packs(names: Iterable[str], boxes: Boxes) -> list[Tool]:
    """The tools of the packs that come along, in the folder and the boxes that ``boxes`` has for them.

    :raises ConfigError: if there is no such pack, or it needs a sandbox and none works.
    """
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return []
    from agentrt_tools import BOXED, pack

    sandbox = boxes.for_tools() if BOXED.intersection(wanted) else None
    return list(pack(wanted, root=boxes.root, sandbox=sandbox, allow=boxes.allow))


def mcp_servers(
    loaded: Loaded, environ: dict[str, str], boxes: Boxes, trusted: Sequence[str], lock: Lockfile | None
) -> list[McpServer]:
    """The configured servers that are enabled; of their tools those that ``lock`` pins as they are.

    ``trusted`` are names, beside those that are marked so.

    :raises ConfigError: if one is to be boxed in and no sandbox works.
    """
    return [_configured(server, environ, boxes, trusted, lock) for server in loaded.servers if server.config.enabled]


def _guarded(connected: Any, name: str, lock: Lockfile | None) -> tuple[Locked, Cleaned]:
    """The server's tools as they were pinned, in words that people see; without a lockfile pinned at first sight."""
    locked = Locked(connected, name, lock.servers.get(name) if lock else None, strict=lock is not None)
    return locked, Cleaned(locked)


def _configured(
    server: Server, environ: dict[str, str], boxes: Boxes, trusted: Sequence[str], lock: Lockfile | None
) -> McpServer:
    origin = str(server.path)
    try:
        config = resolve_server(server.config, environ, server.path.parent, own=server.own)
        access = oauth(config.auth, environ, server.path.parent)
    except Unresolved as error:
        return McpServer(server.name, None, origin, f"left out: {error}")
    box = boxes.for_server(server.name, config) if config.argv else None
    trust = config.trusted or server.name in trusted
    connected = _connect(config, server.name, box, boxes.guard, access, trusted=trust)
    guards = _guarded(connected, server.name, lock)
    toolset = filtered(guards[-1], config, server.name)
    opened = toolset if config.required else BestEffort(toolset)
    known = McpServer(server.name, opened, origin, connected=connected, guards=guards, config=config)
    return replace(known, warning=warning(box))


def _connect(config: ServerConfig, name: str, box: Sandbox | None, guard: Guard, access: Any, *, trusted: bool) -> Any:
    argv = config.argv
    return connector("mcp")(
        list(argv) if argv else config.url,
        name=name,
        env=config.env or None,
        cwd=config.cwd,
        headers=config.headers or None,
        transport=config.transport,
        auth=access,
        sandbox=box,
        guard=guard,
        trusted=trusted,
        resources=config.resources,
        start_seconds=config.start_seconds,
        idle_seconds=config.idle_seconds,
        call_seconds=config.call_seconds,
    )


def filtered(toolset: Toolset, config: ServerConfig | PeerConfig, name: str) -> Toolset:
    """The tools of ``toolset`` that its configuration lets through."""
    if config.enabled_tools is None and not config.disabled_tools:
        return toolset

    def keep(spec: ToolSpec) -> bool:
        bare = spec.name.removeprefix(f"{name}__")
        wanted = config.enabled_tools is None or _any(bare, config.enabled_tools)
        return wanted and not _any(bare, config.disabled_tools)

    return Filtered(toolset, keep)


def _any(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def named_servers(
    targets: Sequence[str], taken: Iterable[str], boxes: Boxes, trusted: Sequence[str], lock: Lockfile | None
) -> list[McpServer]:
    """The servers of ``--mcp``, with names that are not ``taken``. The run can't do without them.

    Their hints count if their name is among the ``trusted``; their tools are those that ``lock`` pins as they are.

    :raises ConfigError: if one is to be boxed in and no sandbox works.
    """
    names = set(taken)
    made: list[McpServer] = []
    for target in targets:
        name = free_name(connector("mcp")(target).name, names)
        names.add(name)
        box = boxes.for_target(name, target)
        toolset = connector("mcp")(target, name=name, sandbox=box, guard=boxes.guard, trusted=name in trusted)
        guards = _guarded(toolset, name, lock)
        made.append(McpServer(name, guards[-1], "--mcp", connected=toolset, guards=guards, warning=warning(box)))
    return made


def free_name(name: str, taken: set[str]) -> str:
    """``name``, or with a number if that is taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
