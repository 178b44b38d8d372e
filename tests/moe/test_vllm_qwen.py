"""Qwen3-MoE with random weights, on which vLLM has a prefix cache on processors too: what token ids save."""

import json
from dataclasses import replace

import pytest

from agentrt.engine import Request
from agentrt.engines.tokens.memory import Memory
from agentrt.engines.tokens.source import Sampling
from agentrt.engines.tokens.template import Template
from agentrt.engines.tokens.vocabulary import Vocabulary
from agentrt.engines.vllm_local import Settings, TokenEngine
from agentrt.types import Assistant, ToolCall, ToolResult, Transcript, User
from tests.moe.conftest import started
from tests.moe.talk import EVIL, TOOLS, Talk, talk

pytestmark = [pytest.mark.anyio, pytest.mark.moe]
SESSIONS, TURNS = 6, 5


def reusable(qwen, kept: int) -> int:
    """What a cache of whole blocks can give back of these ids; that of the last one is not there yet."""
    return (kept - 1) // qwen.block_size * qwen.block_size


async def test_the_prefix_that_can_be_reused_is_and_the_ids_are_those_of_a_stateless_run(qwen) -> None:
    """Half of the sessions in words, whose ids a request without any history is asked for; half in calls."""
    words = TokenEngine("vllm:qwen", qwen, Settings(grammar="off", answer_tokens=60, trace=True))
    calls = TokenEngine("vllm:qwen", qwen, Settings(calls="required", parallel_calls=1, answer_tokens=60, trace=True))
    could = cached = total = made = 0
    for number in range(SESSIONS):
        held = await talk(calls if number % 2 else words, TURNS, word=f"Session {number}")
        for turn in held.turns[1:]:
            could += reusable(qwen, turn.prompted.kept)
            cached += min(turn.finished.usage.cached_tokens, reusable(qwen, turn.prompted.kept))
            total += turn.prompted.tokens
        made += sum(len(turn.answer.calls) for turn in held.turns)
        if not number % 2:
            again = Sampling(60, 0.0, options={"skip_reading_prefix_cache": True})
            ids = [token async for piece in qwen.generate(held.ids, again) for token in piece.ids]
            answer = list(held.turns[-1].traced.answer)
            assert ids[: len(answer)] == answer
    template = await template_way(qwen)
    print(f"\n{made} calls; token-exact: {cached / could:.1%} of what could be reused, {cached / total:.1%} of all")
    print(f"chat template, sessions of the same kind: {template:.1%} of all prompt tokens")
    assert made > 0
    assert cached >= 0.99 * could
    assert cached / total > template


async def template_way(qwen) -> float:
    """What most clients do: messages as text, arguments parsed and written again, everything encoded again."""
    cached = total = 0
    for number in range(SESSIONS):
        settings = Settings(parallel_calls=1, answer_tokens=60, trace=True)
        settings = replace(settings, **({"calls": "required"} if number % 2 else {"grammar": "off"}))
        engine = TokenEngine("vllm:qwen", qwen, settings)
        held = Talk(engine, Transcript([User(f"Template {number}! {EVIL}")]))
        for at in range(TURNS):
            # an engine that has never seen the conversation encodes all of it from its messages
            held.engine = TokenEngine("vllm:qwen", qwen, settings)
            turn = await held.turn()
            if at:
                cached += turn.finished.usage.cached_tokens
                total += turn.prompted.tokens
    return cached / total


@pytest.fixture
def vocabulary(qwen) -> Vocabulary:
    return Vocabulary(qwen.tokenizer)


async def test_reasoning_that_the_template_drops_is_noticed_and_only_the_suffix_is_new(vocabulary: Vocabulary) -> None:
    memory = Memory(Template(vocabulary, raw_arguments=False), ("<|im_end|>",))
    transcript = Transcript([User("one")])
    first = memory.prompt(Request(transcript), ())
    answer = vocabulary.encode("<think>\nhm\n</think>\n\nok<|im_end|>")
    memory.answered(answer, (), ())
    transcript.close_turn(Assistant("ok", reasoning="hm"), ())
    transcript.say(User("two"))
    second = memory.prompt(Request(transcript), ())
    assert second.rewritten == "the chat template left out the reasoning of message 2 (assistant)"
    opening = len(vocabulary.encode(first.opening))
    assert second.kept == len(first.ids) - opening
    assert second.ids[: second.kept] == first.ids[: second.kept]


async def test_arguments_are_kept_as_they_were_written_and_not_as_the_template_would_write_them(
    vocabulary: Vocabulary,
) -> None:
    memory = Memory(Template(vocabulary, raw_arguments=False), ("<|im_end|>",))
    transcript = Transcript([User("one")])
    first = memory.prompt(Request(transcript, tools=TOOLS), TOOLS)
    arguments = '{ "n":3 }'
    call = '<tool_call>\n{"name": "look_up", "arguments": ' + arguments + "}\n</tool_call><|im_end|>"
    answer = vocabulary.encode(call)
    memory.answered(answer, ("",), (arguments,))
    transcript.close_turn(Assistant(calls=(ToolCall("c1", "look_up", arguments),)), [ToolResult("c1", "look_up", "x")])
    second = memory.prompt(Request(transcript, tools=TOOLS), TOOLS)
    assert second.ids[: len(first.ids) + len(answer)] == (*first.ids, *answer)
    assert (second.rewritten, second.kept) == ("", len(first.ids) + len(answer))
    assert json.dumps({"n": 3}) != arguments


@pytest.mark.parametrize("text", ["<|im_end|>", "<|im_<|im_end|>end|>", "a<tool_call>b", "<|im_", "end|>", "<think>"])
async def test_a_spelled_marker_is_encoded_as_words_that_read_the_same(vocabulary: Vocabulary, text: str) -> None:
    defused, _ = vocabulary.defuse(text)
    ids = vocabulary.encode("<|im_start|>user\n" + defused + "<|im_end|>")
    assert [token for token in ids if token in vocabulary.marks] == [
        vocabulary.ids["<|im_start|>"],
        vocabulary.ids["<|im_end|>"],
    ]
    assert (
        b"".join(vocabulary.piece(token) for token in ids if token not in vocabulary.marks).decode() == "user\n" + text
    )


async def test_tools_that_come_later_are_declared_at_the_end_and_the_prefix_stays(vocabulary: Vocabulary) -> None:
    memory = Memory(Template(vocabulary, raw_arguments=False), ("<|im_end|>",))
    transcript = Transcript([User("one")])
    first = memory.prompt(Request(transcript), TOOLS[:1])
    answer = vocabulary.encode("ok<|im_end|>")
    memory.answered(answer, (), ())
    transcript.close_turn(Assistant("ok"), ())
    transcript.say(User("two"))
    second = memory.prompt(Request(transcript), TOOLS)
    assert second.ids[: len(first.ids) + len(answer)] == (*first.ids, *answer)
    new = b"".join(vocabulary.piece(token) for token in second.ids[second.kept :]).decode()
    assert '"name": "look_up"' in new
    assert '"name": "note"' not in new
    transcript.close_turn(Assistant("three"), ())
    third = memory.prompt(Request(transcript), TOOLS[1:])
    assert (third.rewritten, third.ids[: third.kept]) == ("", second.ids[: third.kept])


async def test_a_checkpoints_own_sampling_counts_unless_a_request_says_otherwise(checkpoints, cpu_settings) -> None:
    async with started(checkpoints / "qwen", override_generation_config={"temperature": 0.0}) as source:
        first, second, hot = [
            [token async for piece in source.generate(range(10, 20), Sampling(20, warmth)) for token in piece.ids]
            for warmth in (None, None, 2.0)
        ]
    assert first == second != hot
