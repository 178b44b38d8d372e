"""Where configuration and what agentrt remembers are kept on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT_FILE = "agentrt.toml"
MCP_FILE = ".mcp.json"


def home_dir(environ: Mapping[str, str]) -> Path:
    """The person's home folder."""
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def user_config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_CONFIG_HOME/agentrt/config.toml`` (``~/.config`` by default; ``%APPDATA%`` on Windows)."""
    return _base(environ, "XDG_CONFIG_HOME", "APPDATA", ".config") / "agentrt" / "config.toml"


def user_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """``$AGENTRT_HOME``, else ``$XDG_DATA_HOME/agentrt``, else where the platform keeps a user's data."""
    if environ.get("AGENTRT_HOME"):
        return Path(environ["AGENTRT_HOME"])
    default = "Library/Application Support" if sys.platform == "darwin" else ".local/share"
    return _base(environ, "XDG_DATA_HOME", "LOCALAPPDATA", default) / "agentrt"


def _base(environ: Mapping[str, str], name: str, windows_name: str, default: str) -> Path:
    named = environ.get(name) or (environ.get(windows_name) if sys.platform == "win32" else None)
    return Path(named) if named else home_dir(environ) / default


def project_dirs(cwd: Path) -> list[Path]:
    """The folders in which a project's file may lie: from ``cwd`` up to the git root, or ``cwd`` alone outside git.

    Higher folders are never looked at: a file that somebody left in ``/tmp`` is not this project's.
    """
    cwd = cwd.resolve()
    upward = [cwd, *cwd.parents]
    for depth, folder in enumerate(upward):
        if (folder / ".git").exists():
            return upward[: depth + 1]
    return [cwd]


def nearest(cwd: Path, name: str) -> Path | None:
    """The nearest file called ``name`` in the project, if there is one."""
    return next((folder / name for folder in project_dirs(cwd) if (folder / name).is_file()), None)
