"""Where a person's sessions are kept on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """``$AGENTRT_HOME``, or the folder that the platform has for a user's data (XDG base directories 0.8)."""
    if environ.get("AGENTRT_HOME"):
        return Path(environ["AGENTRT_HOME"])
    if environ.get("XDG_DATA_HOME"):
        return Path(environ["XDG_DATA_HOME"]) / "agentrt"
    if sys.platform == "win32" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / "agentrt"
    home = Path(environ.get("HOME") or Path.home())
    return home / ("Library/Application Support" if sys.platform == "darwin" else ".local/share") / "agentrt"


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """The database of :class:`agentrt.journal.sqlite.SqliteStore`, if nobody names another."""
    return data_dir(environ) / "sessions.db"
