"""The trained tiny MoE of ``examples/tiny-moe`` in process: unseen conversations over real MCP servers."""

import sys
from pathlib import Path

import pytest

from agentrt.engines.vllm_local import Settings, TokenEngine

pytestmark = [pytest.mark.anyio, pytest.mark.moe]
EXAMPLE = Path(__file__).parents[2] / "examples" / "tiny-moe"
CHECKPOINT = EXAMPLE / "checkpoint"
SEEDS = (60, 61, 62)  # 60 conversations each


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch):
    if not (CHECKPOINT / "model.safetensors").is_file():
        pytest.skip(f"there is no trained checkpoint in {CHECKPOINT.relative_to(EXAMPLE.parents[1])}")
    monkeypatch.syspath_prepend(str(EXAMPLE))
    from tiny_moe import judge

    yield judge
    for name in [name for name in sys.modules if name.partition(".")[0] == "tiny_moe"]:
        del sys.modules[name]


async def test_unseen_conversations_are_right_and_every_dispatched_call_is_valid(judge, cpu_settings) -> None:
    from tests.moe.conftest import started

    async with started(CHECKPOINT) as source:
        engine = TokenEngine("vllm:tiny-moe", source, Settings(answer_tokens=256))
        scores = [await judge.evaluate(engine, seed=seed, count=60) for seed in SEEDS]
        print("", *scores, sep="\n")
        long = await judge.evaluate(engine, seed=20, count=1, turns=[20])
        print(f"20 turns: {long}")
        assert sum(score.right for score in scores) >= 0.95 * sum(score.episodes for score in scores)
        assert sum(score.rejected for score in scores) == 0  # its schemas are all of the kind that a grammar enforces
        assert long.turns == 20
