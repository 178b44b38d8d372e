"""The boxes of a run: what the flags and the configuration say of sandbox and network, for each program."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from agentrt.cli.flags import ToolFlags
from agentrt.config import Loaded, ServerConfig
from agentrt.home import data_dir
from agentrt.network import Guard
from agentrt.sandbox import Box, Plain, Sandbox, backend
from agentrt.sandbox.paths import too_wide

_DOWNLOADERS = re.compile(r"(npx|pnpx|bunx|uvx|pipx)(\.exe|\.cmd)?")
_URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Boxes:
    """Makes a sandbox for each program that a run starts; ``root`` is the workspace.

    ``hosts``, ``read`` and ``write`` are what all of them may reach and touch; ``allow`` widens the guard.
    """

    enabled: bool
    root: Path
    hosts: tuple[str, ...]
    read: tuple[Path, ...]
    write: tuple[Path, ...]
    allow: tuple[str, ...]

    @classmethod
    def of(cls, loaded: Loaded, flags: ToolFlags, root: Path) -> Boxes:
        """What the flags and, where they are silent, the files say.

        :raises ConfigError: if an allowed network or host is none.
        """
        box = loaded.config.sandbox
        Guard.allowing(loaded.config.network.allow)
        return cls(
            enabled=box.enabled is not False if flags.sandbox is None else flags.sandbox,
            root=root.expanduser().absolute(),
            hosts=(*box.hosts, *flags.reach),
            read=_paths(box.read, loaded.base("sandbox.read")),
            write=_paths(box.write, loaded.base("sandbox.write")),
            allow=loaded.config.network.allow,
        )

    @property
    def guard(self) -> Guard:
        """What may be dialled, by us and through the boxes' proxy."""
        return Guard.allowing(self.allow)

    def for_tools(self) -> Sandbox:
        """The box of the shell and Python tools.

        :raises ConfigError: if no sandbox works here, or the workspace is too wide for one.
        """
        box = Box(self.read, (self.root, *self.write), self.hosts)
        return Sandbox(backend() if self.enabled else Plain(), box, self.guard)

    def for_server(self, name: str, config: ServerConfig) -> Sandbox | None:
        """The box of a configured server, whose references are resolved; ``None`` if it is to run without.

        :raises ConfigError: if no sandbox works here.
        """
        if not (self.enabled and config.sandbox):
            return None
        here = Path.cwd()
        cwd = () if config.cwd is None else (Path(config.cwd),)
        wider = Box(_paths(config.read, here), (*cwd, *_paths(config.write, here)), config.hosts or ())
        return self._server(name, config.argv, wider, silent=config.hosts is None)

    def for_target(self, name: str, target: str) -> Sandbox | None:
        """The box of a server of ``--mcp``, if that is a command.

        :raises ConfigError: if no sandbox works here.
        """
        if not self.enabled or _URL.match(target):
            return None
        return self._server(name, target.split(), Box(), silent=True)

    def _server(self, name: str, argv: Sequence[str], wider: Box, *, silent: bool) -> Sandbox:
        """A server's box; where nobody said what it may reach, one that downloads its program reaches the public."""
        hosts = (*self.hosts, *wider.hosts)
        if silent and argv and _DOWNLOADERS.fullmatch(PurePath(argv[0]).name):
            hosts = (*hosts, "*")
        places = [path for path in (self.root, Path.cwd()) if not too_wide(path)]
        write = tuple(dict.fromkeys((*wider.write, *places, *self.write)))
        home = data_dir() / "boxes" / re.sub(r"[^\w-]", "_", name)
        return Sandbox(backend(), Box((*self.read, *wider.read), write, hosts, home), self.guard)


def warning(box: Sandbox | None) -> str:
    """A word on a server's box in which it can change no file, because it was started in a folder that is too wide."""
    if box is None or box.box.write:
        return ""
    return (
        "can change no file: the current folder holds a whole home or more, which no box is given. "
        "Start in a project's folder, or name one with --root or its `write`"
    )


def _paths(texts: Iterable[str], base: Path) -> tuple[Path, ...]:
    return tuple(base / Path(text).expanduser() for text in texts)
