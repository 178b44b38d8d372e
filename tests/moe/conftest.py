"""Checkpoints with random weights, made once, and the model that a module of tests asks."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.moe.checkpoints import make_kimi, make_qwen

# they need vLLM: .ci/moe makes an environment of its own with it
collect_ignore_glob = ["test_vllm_*.py"] if find_spec("vllm") is None else []

OPTIONS: dict[str, object] = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 8192,
    "max_num_seqs": 16,
    "gpu_memory_utilization": 0.3,
}


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    make_kimi(folder / "kimi")
    make_qwen(folder / "qwen")
    return folder


@pytest.fixture(scope="session")
def cpu_settings() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")


@asynccontextmanager
async def started(folder: Path, **more: object) -> AsyncIterator[object]:
    from agentrt.engines.vllm_inproc import InProcess

    source = InProcess(str(folder), OPTIONS | more)
    await source.start()
    try:
        yield source
    finally:
        await source.aclose()


@pytest.fixture(scope="module")
async def kimi(checkpoints: Path, cpu_settings: None, anyio_backend: str) -> AsyncIterator[object]:
    async with started(checkpoints / "kimi") as source:
        yield source


@pytest.fixture(scope="module")
async def qwen(checkpoints: Path, cpu_settings: None, anyio_backend: str) -> AsyncIterator[object]:
    async with started(checkpoints / "qwen") as source:
        yield source
