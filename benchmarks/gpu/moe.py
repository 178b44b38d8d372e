"""The MoE engine's acceptance with a real model on a GPU, and its throughput as a ratio to plain vLLM's."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import aclosing
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[2]))

from agentrt.engine import Assembler, Request, Traced
from agentrt.engines.tokens.source import Sampling
from agentrt.engines.vllm_inproc import InProcess
from agentrt.engines.vllm_local import Settings, TokenEngine
from agentrt.types import Transcript, User
from tests.moe.barrage import barrage, report
from tests.moe.talk import TOOLS, Talk, talk


async def valid_calls(source: InProcess, calls: int, streams: int, tokens: int) -> bool:
    settings = Settings(calls="required", answer_tokens=tokens, parallel_calls=2)
    counts = await barrage(TokenEngine("vllm", source, settings), calls, streams=streams)
    print("1. calls:", report(counts))
    # no grammar bounds a number's exponent; what can't be a number at all is the gate's to refuse
    wrong = [name for name, _, reason in counts.enforced_rejected if "larger than a number can be" not in reason]
    return counts.dispatched > 0 and counts.invalid_dispatched == 0 and not wrong and counts.leaked == 0


async def reuse(source: InProcess, sessions: int, turns: int) -> bool:
    block = source.block_size
    engine = TokenEngine("vllm", source, Settings(grammar="off", answer_tokens=64, trace=True))
    could = cached = total = same = 0
    for number in range(sessions):
        held = await talk(engine, turns, word=f"Session {number}")
        for turn in held.turns[1:]:
            could += (turn.prompted.kept - 1) // block * block
            cached += turn.finished.usage.cached_tokens
            total += turn.prompted.tokens
        answer = held.turns[-1].traced.answer
        again = Sampling(64, 0.0, options={"skip_reading_prefix_cache": True})
        ids = tuple([token async for piece in source.generate(held.ids, again) for token in piece.ids])
        same += ids[: len(answer)] == answer
    print(f"2. prefix reuse: {cached / max(could, 1):.1%} of what could be reused, {cached / total:.1%} of all")
    print(f"3. last answers equal to a stateless run: {same} of {sessions}")
    return cached >= 0.99 * could and same == sessions


async def throughput(source: InProcess, streams: int, tokens: int) -> None:
    """Both generate ``tokens`` tokens for each of the same prompts; ours reads, meters and keeps them as well."""
    options = {"ignore_eos": True, "min_tokens": tokens}
    engine = TokenEngine("vllm", source, Settings(grammar="off", answer_tokens=tokens, trace=True, sampling=options))
    prompts: list[list[int]] = []
    counted = [0, 0]

    async def ours(number: int) -> None:
        transcript = Transcript([User(f"Tell me a long story about the number {number}.")])
        assembler, answer = Assembler(transcript), 0
        async with aclosing(engine.stream(Request(transcript, tools=TOOLS, temperature=0.0))) as deltas:
            async for delta in deltas:
                assembler.feed(delta)
                if isinstance(delta, Traced):
                    prompts.append(list(delta.prompt))
                    answer = len(delta.answer)
        counted[0] += answer

    async def plain(ids: list[int]) -> None:
        async with aclosing(source.generate(ids, Sampling(tokens, 0.0, options=options))) as pieces:
            async for piece in pieces:
                counted[1] += len(piece.ids)

    seconds = []
    for jobs in (lambda: [(ours, number) for number in range(streams)], lambda: [(plain, ids) for ids in prompts]):
        start = time.perf_counter()
        async with anyio.create_task_group() as group:
            for job, argument in jobs():
                group.start_soon(job, argument)
        seconds.append(time.perf_counter() - start)
    rates = [count / spent for count, spent in zip(counted, seconds, strict=True)]
    print(
        f"4. {streams} streams: {rates[0]:,.0f} tokens/s, plain vLLM {rates[1]:,.0f}: ratio {rates[0] / rates[1]:.3f}"
    )


def prefilled(held: Talk) -> int:
    return sum(turn.prompted.tokens - turn.finished.usage.cached_tokens for turn in held.turns)


async def resumed(source: InProcess, sessions: int, turns: int, context: int) -> bool:
    """The same conversations in one request each and in one a turn, in turns, so that both see the same machine."""
    text = "The weather in Oslo is fine. " * (context // turns // 7)
    ways: dict[bool, list[Talk]] = {True: [], False: []}
    seconds = {True: 0.0, False: 0.0}
    for number in range(sessions):
        for kept in (True, False) if number % 2 else (False, True):
            engine = TokenEngine(
                "vllm", source, Settings(grammar="off", answer_tokens=16, trace=True, resumable=kept, idle_seconds=600)
            )
            start = time.perf_counter()
            # words of its own for each way: neither may find the other's blocks in the prefix cache
            ways[kept].append(await talk(engine, turns, word=f"{number} {kept}", text=text))
            seconds[kept] += time.perf_counter() - start
    tokens = {kept: sum(map(prefilled, talks)) for kept, talks in ways.items()}
    print(
        f"5. {turns} turns in one request: {tokens[True]:,} tokens prefilled, in one a turn {tokens[False]:,}: ratio "
        f"{tokens[True] / tokens[False]:.3f}; seconds a turn {seconds[True] / sessions / turns:.3f} and "
        f"{seconds[False] / sessions / turns:.3f}: ratio {seconds[True] / seconds[False]:.3f}"
    )
    return tokens[True] <= tokens[False]


async def main(given: argparse.Namespace) -> int:
    source = InProcess(given.model, json.loads(given.options))
    start = time.perf_counter()
    await source.start()
    print(f"{given.model} loaded in {time.perf_counter() - start:.0f} s; context {source.max_length}")
    try:
        good = await valid_calls(source, given.calls, given.streams, given.tokens)
        good = await reuse(source, given.sessions, 5) and good
        await throughput(source, given.streams, given.tokens)
        good = await resumed(source, given.sessions, 20, given.context) and good
    finally:
        await source.aclose()
    print("passed" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--model", required=True, help="a name that vLLM knows, or a folder")
    flags.add_argument("--options", default="{}", help="vLLM's own engine arguments, as JSON")
    flags.add_argument("--calls", type=int, default=1000)
    flags.add_argument("--streams", type=int, default=64)
    flags.add_argument("--sessions", type=int, default=6)
    flags.add_argument("--tokens", type=int, default=256)
    flags.add_argument("--context", type=int, default=16_000, help="tokens of a session of point 5 at its end, roughly")
    sys.exit(anyio.run(main, flags.parse_args()))
