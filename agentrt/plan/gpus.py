"""The GPUs that a plan can be made for: memory, bandwidth, arithmetic, power and a price, each with its source."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from agentrt.errors import ConfigError

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    ``memory_bytes`` is what the driver reports. ``bf16_flops`` is dense. ``price`` is in dollars, for the GPU alone.
    ``runtime_bytes`` is what vLLM keeps beside weights and cache (activations, CUDA graphs, communication buffers): on
    80 GB and larger GPUs 9 GB, from four public logs (see docs/plan.md). ``unverified`` names the figures
    that are guesses.
    """

    name: str
    title: str
    memory_bytes: int
    bandwidth: float
    bf16_flops: float
    watts: float
    price: float
    runtime_bytes: float
    nvlink: bool
    source: str
    unverified: tuple[str, ...] = ()
    per_node: int = 8


_TABLE = "datasheet figures as listed in public tables"

GPUS: tuple[Gpu, ...] = (
    Gpu("H100", "NVIDIA H100 80 GB SXM", 81_559 * MIB, 3.35e12, 989e12, 700, 25_000, 9e9, True,
        f"{_TABLE}; 81,559 MiB in nvidia-smi; $25,000 is the figure people quote ($30,000 on the hub's hardware page)"),
    Gpu("H200", "NVIDIA H200 141 GB SXM", 143_771 * MIB, 4.8e12, 989e12, 700, 32_000, 9e9, True,
        f"{_TABLE}; 143,771 MiB in nvidia-smi; $32,000 on the hub's hardware page"),
    Gpu("B200", "NVIDIA B200 180 GB SXM", 183_359 * MIB, 7.67e12, 2250e12, 1000, 45_000, 9e9, True,
        f"{_TABLE}; 183,359 MiB in nvidia-smi; 7.67 TB/s in pytorch/ao#4002",
        ("price", "runtime_bytes")),
    Gpu("A100", "NVIDIA A100 80 GB SXM", 81_920 * MIB, 2.039e12, 312e12, 400, 15_000, 9e9, True,
        f"{_TABLE}; 85,198,045,184 bytes in a deviceQuery log; $15,000 on the hub's hardware page",
        ("runtime_bytes",)),
    Gpu("L40S", "NVIDIA L40S 48 GB", 46_068 * MIB, 0.864e12, 362e12, 350, 8_500, 5e9, False,
        f"{_TABLE}; 46,068 MiB in nvidia-smi; $8,500 on the hub's hardware page",
        ("runtime_bytes",)),
)  # fmt: skip

_ASKED = re.compile(
    r"(?:(?P<before>\d+)\s*[x*]\s*)?(?P<name>[A-Za-z]+\d+[A-Za-z]*?)(?:[ -]?\d+\s*GB)?(?:\s*[:x*]\s*(?P<after>\d+))?",
    re.IGNORECASE,
)


def parse(asked: str) -> tuple[Gpu, int | None]:
    """``H100``, ``8xH100`` or ``H100:8``: the GPU, and how many if that was said.

    :raises ConfigError: if the GPU is not known or the number is not positive.
    """
    match = _ASKED.fullmatch(asked.strip())
    name = match["name"].upper() if match else asked.strip().upper()
    known = {gpu.name: gpu for gpu in GPUS}
    if match is None or name not in known:
        near = difflib.get_close_matches(name, known, n=2, cutoff=0.5) or list(known)
        raise ConfigError(f"unknown GPU {asked!r}; try {' or '.join(near)} (known: {', '.join(known)}), e.g. 8xH100")
    said = match["before"] or match["after"]
    if match["before"] and match["after"]:
        raise ConfigError(f"{asked!r} says twice how many GPUs there are; write it once, e.g. 8x{name}")
    if said is not None and int(said) < 1:
        raise ConfigError(f"{asked!r} asks for no GPU at all; leave the number out to have it computed")
    return known[name], int(said) if said else None
