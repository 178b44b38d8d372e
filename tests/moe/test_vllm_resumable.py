"""One vLLM request per conversation: the same ids as without, less prefilling, and let go of when it should be."""

import gc
import json
import os
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from agentrt.contract import Gate, Passed
from agentrt.engines.tokens.source import Sampling
from agentrt.engines.vllm_local import Settings, TokenEngine
from agentrt.types import Transcript, User
from tests.moe.conftest import OPTIONS
from tests.moe.talk import TOOLS, Talk, talk

pytestmark = [pytest.mark.anyio, pytest.mark.moe]
TURNS = int(os.environ.get("AGENTRT_TEST_MOE_TURNS", "20"))
WORDS = Sampling(8, 0.0)
HEAD = list(range(40, 80))


def settings(source, *, ends: bool = False, **more: object) -> Settings:
    """Words only, greedily. ``ends``: every answer ends by itself, after 12 tokens; else all are cut at 24."""
    options = {"logit_bias": {source.tokenizer.eos_token_id: 100.0}, "min_tokens": 12} if ends else {}
    return Settings(grammar="off", answer_tokens=24, trace=True, sampling=options, **more)


def open_requests(source) -> int:
    return int(source._engine.get_num_unfinished_requests())


def prefilled(held: Talk) -> int:
    return sum(turn.prompted.tokens - turn.finished.usage.cached_tokens for turn in held.turns)


async def none_open(source) -> None:
    with anyio.fail_after(60):
        while source.resting or open_requests(source):  # noqa: ASYNC110 - vLLM tells nobody that it has let go
            await anyio.sleep(0.01)


async def answer(source, ids: list[int], sampling: Sampling = WORDS) -> tuple[list[int], int | None]:
    """The ids of an answer, and how much of the prompt was there."""
    made, cached = [], None
    async with aclosing(source.generate(ids, sampling)) as pieces:
        async for piece in pieces:
            made += piece.ids
            cached = piece.cached
    return made, cached


@pytest.mark.parametrize("ends", [True, False])
async def test_twenty_turns_in_one_request_give_the_ids_of_requests_of_their_own(kimi, ends: bool) -> None:
    kept = await talk(TokenEngine("vllm:kimi", kimi, settings(kimi, ends=ends, resumable=True)), TURNS)
    assert kimi.resting == 1
    apart = await talk(TokenEngine("vllm:kimi", kimi, settings(kimi, ends=ends)), TURNS)
    assert [turn.traced.answer for turn in kept.turns] == [turn.traced.answer for turn in apart.turns]
    assert kept.ids == apart.ids
    assert {turn.answer.finish for turn in kept.turns} == {"stop" if ends else "length"}
    for before, turn in zip(kept.turns, kept.turns[1:], strict=False):
        # all of the last prompt and answer but the token that was sampled last
        assert turn.finished.usage.cached_tokens == before.prompted.tokens + len(before.traced.answer) - 1
    one, many = prefilled(kept), prefilled(apart)
    print(f"\n{TURNS} turns: {one} tokens prefilled in one request, {many} in requests of their own: {one / many:.1%}")
    assert one < many / 4
    del kept
    await none_open(kimi)


async def test_a_conversation_that_is_dropped_takes_its_request_with_it(kimi) -> None:
    engine = TokenEngine("vllm:kimi", kimi, settings(kimi, resumable=True))
    held = await talk(engine, 1)
    assert (kimi.resting, open_requests(kimi)) == (1, 1)
    del held
    gc.collect()
    await none_open(kimi)


async def test_a_request_that_nobody_asks_is_let_go_of_and_the_conversation_goes_on(kimi) -> None:
    engine = TokenEngine("vllm:kimi", kimi, settings(kimi, resumable=True, idle_seconds=0.05))
    held = await talk(engine, 1)
    await none_open(kimi)
    turn = await held.turn()
    assert turn.finished.usage.cached_tokens == 0
    apart = await talk(TokenEngine("vllm:kimi", kimi, settings(kimi)), 2)
    assert held.ids == apart.ids
    await none_open(kimi)


async def test_an_answer_that_is_cancelled_lets_go_of_its_request(kimi) -> None:
    going = kimi.conversation(60.0)
    first, _ = await answer(going, HEAD)
    with anyio.CancelScope() as scope:
        async with aclosing(going.generate([*HEAD, *first, 50], Sampling(2000, 1.0))) as pieces:
            async for _ in pieces:
                scope.cancel()
    await none_open(kimi)
    again, cached = await answer(going, HEAD)
    assert (again, cached) == (first, 0)
    await going.release()
    await none_open(kimi)


async def test_a_prompt_that_is_no_extension_lets_go_of_the_request(kimi) -> None:
    going = kimi.conversation(60.0)
    first, cached = await answer(going, HEAD)
    assert cached == 0
    for prompt in ([*HEAD[:-1], 99, *first, 50], [*HEAD, *first, 51], HEAD[:20], HEAD[:20]):
        got, cached = await answer(going, prompt)
        assert cached == 0  # rewritten, forked at its end, cut short, the same again: never an extension
        assert got == (await answer(kimi, prompt))[0]
        assert (kimi.resting, open_requests(kimi)) == (1, 1)
    await going.release()
    await none_open(kimi)


async def test_answers_that_are_held_to_a_grammar_are_requests_of_their_own(kimi) -> None:
    options = Settings(calls="required", answer_tokens=80, parallel_calls=2, trace=True, resumable=True)
    held = await talk(TokenEngine("vllm:kimi", kimi, options), 4, temperature=1.0)
    gate = Gate(TOOLS)
    for turn in held.turns:
        assert all(isinstance(gate.check(call), Passed) for call in turn.answer.calls if turn.answer.finish != "length")
    await none_open(kimi)


@pytest.mark.parametrize("first", ['{"a": 1}', ""])
async def test_vllm_does_not_look_at_a_later_pieces_grammar(kimi, first: str) -> None:
    """Why the test above is as it is: should this one fail, vLLM has changed, and more can be kept."""
    done = anyio.Event()

    def tag(value: str) -> str:
        return (
            json.dumps({"type": "structural_tag", "format": {"type": "const_string", "value": value}}) if value else ""
        )

    stop = (kimi.tokenizer.eos_token_id,)

    async def pieces():
        yield kimi._piece(HEAD, Sampling(24, 0.0, stop, tag(first)))
        await done.wait()
        yield kimi._piece(HEAD, Sampling(24, 0.0, stop, tag('{"b": 2}')))

    answers: list[list[int]] = [[], []]
    async with aclosing(kimi._read(pieces(), Sampling(24, 0.0, stop, tag(first)))) as going:
        async for piece in going:
            answers[done.is_set()] += piece.ids
            if piece.finish:
                done.set()
    texts = [kimi.tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]
    assert texts[0] == (first or texts[0])
    assert texts[1] != '{"b": 2}'


async def test_what_is_kept_never_keeps_others_from_being_answered(checkpoints: Path, cpu_settings: None) -> None:
    from agentrt.engines.vllm_inproc import InProcess

    small = {"num_gpu_blocks_override": 96, "max_num_seqs": 4, "max_model_len": 1024}
    source = InProcess(str(checkpoints / "kimi"), {**OPTIONS, **small})
    await source.start()
    try:
        engine = TokenEngine("vllm:kimi", source, settings(source, resumable=True))
        talks = [Talk(engine, Transcript([User(f"Number {number}.")])) for number in range(6)]
        with anyio.fail_after(120):
            for _ in range(2):
                async with anyio.create_task_group() as group:
                    for held in talks:
                        group.start_soon(held.turn)
            assert 1 <= source.resting <= 2  # half of the places, and of the cache
            await answer(source, HEAD * 20, Sampling(200, 0.0))  # fits only if those that rest give way
            assert source.resting < 2
        assert all(len(held.turns) == 2 for held in talks)
    finally:
        await source.aclose()
