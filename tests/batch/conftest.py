import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import batch_kit
import pexpect
import pytest

HERE = Path(__file__).parent
PROGRAM = [sys.executable, "-m", "agentrt.cli", "batch"]


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """The kit's files, and its modules where other processes find them."""
    folder = tmp_path / "kit"
    folder.mkdir()
    monkeypatch.setenv("BATCH_KIT", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(plugin(tmp_path))]))
    return batch_kit


def plugin(folder):
    """A folder that offers the kit's engine as the plugin ``kit``."""
    info = folder / "plugin" / "batch_kit-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: batch-kit\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[agentrt.engines]\nkit = batch_kit:engine_from_name\n")
    return info.parent


@dataclass
class Desktop:
    """A folder with a file of tasks, and the real command."""

    work: Path
    environ: dict[str, str]

    def tasks(self, *lines, name="tasks.jsonl"):
        (self.work / name).write_text("".join(f"{line}\n" for line in lines))

    def command(self, *arguments):
        return [*PROGRAM, "tasks.jsonl", "--no-config", "--engine", "kit:", "--tool", "batch_kit:TOOLSET", *arguments]

    def run(self, *arguments, seconds=60):
        return subprocess.run(
            self.command(*arguments),
            cwd=self.work,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def spawn(self, *arguments):
        program, *rest = self.command(*arguments)
        return pexpect.spawn(
            program, rest, cwd=str(self.work), env=self.environ, encoding="utf-8", timeout=30, dimensions=(50, 160)
        )


@pytest.fixture
def desktop(kit, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "BATCH_KIT", "PYTHONPATH") if name in os.environ}
    return Desktop(work, {**kept, "HOME": str(tmp_path), "TERM": "xterm", "PYTHONUTF8": "1", "NO_COLOR": "1"})
