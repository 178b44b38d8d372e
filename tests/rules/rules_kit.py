"""The files that the house rules are about."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

SOURCES = ("agentrt", "connectors", "tools")


@cache
def root() -> Path:
    return Path(__file__).resolve().parents[2]


@cache
def sources() -> list[Path]:
    """Every Python file that is installed."""
    return sorted(path for place in SOURCES for path in (root() / place).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def committed() -> list[Path]:
    """Every text file that is in the repository or would be with the next commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root())
    if done.returncode:  # an unpacked source distribution
        return [*sources(), *(root() / "tests").rglob("*.py")]
    paths = [root() / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:1000]]
