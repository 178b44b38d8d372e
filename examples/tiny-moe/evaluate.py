"""Play unseen conversations on a checkpoint and print the score: `python examples/tiny-moe/evaluate.py --engine hf`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import anyio
from tiny_moe.judge import evaluate

from agentrt.engine import Engine
from agentrt.plugins import engine_from

HERE = Path(__file__).parent


def _engine(name: str, checkpoint: Path) -> Engine:
    if name == "hf":
        from tiny_moe.hf_engine import HuggingFace

        return HuggingFace(checkpoint)
    return engine_from(name)


async def _main(asked: argparse.Namespace) -> None:
    engine = _engine(asked.engine, asked.checkpoint)
    began = time.monotonic()
    try:
        score = await evaluate(engine, seed=asked.seed, count=asked.count, turns=asked.turns, show=asked.show)
    finally:
        await engine.aclose()
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"engine": engine.name, "seed": asked.seed, **asdict(score), "seconds": seconds}))


def main() -> None:
    """Read the command line and print the score as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="hf", help="hf, or an engine of agentrt such as vllm:CHECKPOINT")
    parser.add_argument("--checkpoint", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--seed", type=int, default=60)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--turns", type=int, nargs="+", default=[1, 2], help="requests in a conversation, drawn")
    parser.add_argument("--show", action="store_true", help="print what was not as it should be")
    anyio.run(_main, parser.parse_args())


if __name__ == "__main__":
    main()
