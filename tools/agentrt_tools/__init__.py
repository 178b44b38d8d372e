"""agentrt's first tools, by name: a clock, a calculator, files beneath a folder, and fetching from the web."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from agentrt import ConfigError, Toolset
from agentrt.function import Function

__all__ = ["PACK", "pack"]


def _clock(root: Path) -> list[Function | Toolset]:
    from agentrt_tools.clock import convert_time, date_add, days_between, now

    return [now, convert_time, date_add, days_between]


def _calculator(root: Path) -> list[Function | Toolset]:
    from agentrt_tools.calculator import calculate

    return [calculate]


def _files(root: Path) -> list[Function | Toolset]:
    from agentrt_tools.files import files

    return [files(root)]


def _files_write(root: Path) -> list[Function | Toolset]:
    from agentrt_tools.files import files

    return [files(root, write=True)]


def _fetch(root: Path) -> list[Function | Toolset]:
    from agentrt_tools.fetch import fetch

    return [fetch]


def _fetch_private(root: Path) -> list[Function | Toolset]:
    from agentrt_tools.fetch import web

    return [web(allow_private=True)]


PACK: Mapping[str, Callable[[Path], list[Function | Toolset]]] = MappingProxyType(
    {
        "calculator": _calculator,
        "clock": _clock,
        "fetch": _fetch,
        "fetch:private": _fetch_private,
        "files": _files,
        "files:write": _files_write,
    }
)
"""What makes the tools of each name, given the folder that file tools may see. Nothing is imported before that.

What follows a colon is a wider permission: ``files:write`` also changes files, ``fetch:private`` also reaches
addresses that are not on the public internet. Take one of the two, not both.
"""


def pack(names: Iterable[str], *, root: Path) -> list[Function | Toolset]:
    """The tools called ``names``, e.g. ``pack(["clock", "files"], root=Path.cwd())``, for ``Agent(tools=...)``.

    :raises ConfigError: for a name that is unknown, or taken twice (also as ``files`` and ``files:write``).
    """
    taken: dict[str, str] = {}
    tools: list[Function | Toolset] = []
    for name in names:
        if name not in PACK:
            raise ConfigError(f"there are no tools called {name!r}; known: {', '.join(PACK)}")
        base = name.partition(":")[0]
        if base in taken:
            raise ConfigError(f"the tools {taken[base]!r} and {name!r} are the same; take one of them")
        taken[base] = name
        tools += PACK[name](root)
    return tools
