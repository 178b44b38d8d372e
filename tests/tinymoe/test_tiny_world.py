"""The simulated world of the tiny MoE: its conversations, its MCP servers, its chat format."""

import random
import sys

import pytest
from tiny_moe import k2
from tiny_moe.episodes import Episode, make_episode, pieces
from tiny_moe.judge import MIX, SERVER, Judge, held_out, tools_of
from tiny_moe.world import TOOLS, World

from agentrt import Agent, ToolSpec
from agentrt.contract import Gate, Passed
from agentrt.engines.scripted import ScriptedEngine, call, calls
from agentrt.types import Assistant, ToolCall
from agentrt_mcp import mcp

pytestmark = pytest.mark.anyio


def episodes(split, count, seed=1, turns=2):
    rng = random.Random(seed)
    return [make_episode(rng, turns=turns, mix=MIX, split=split) for _ in range(count)]


def gold(episode: Episode) -> list[Assistant]:
    """What a model that makes no mistake would answer."""
    answers = []
    for turn in episode.turns:
        for made in turn.rounds:
            answers.append(calls(*(call(name, arguments) for name, arguments in made)))
        answers.append(Assistant(text=turn.answer))
    return answers


def test_every_call_that_is_due_passes_the_gate():
    gate = Gate([ToolSpec(tool.name, tool.description, tool.schema) for tool in TOOLS])
    for episode in episodes("train", 300):
        for turn in episode.turns:
            for name, arguments in turn.calls:
                made = call(name, arguments)
                assert isinstance(gate.check(ToolCall("1", name, made.arguments)), Passed), made


def test_no_request_is_in_both_training_and_the_held_out_conversations():
    def asked(split, seed):
        return {turn.request for one in episodes(split, 800, seed) for turn in one.turns if not turn.closed}

    assert asked("train", 1).isdisjoint(asked("held-out", 2))


def test_a_seed_makes_the_same_conversations_and_the_same_world():
    assert episodes("train", 20) == episodes("train", 20)
    assert World(3).call("get_weather", {"city": "Oslo"}) == World(3).call("get_weather", {"city": "Oslo"})


def test_a_conversation_reads_as_kimi_k2_writes_it():
    episode = next(one for one in episodes("train", 200, turns=1) if one.turns[0].kind == "weather")
    turn = episode.turns[0]
    written = "".join(piece.text for piece in pieces(episode))
    assert written.startswith("<|im_system|>tool_declare<|im_middle|>[{")
    city = turn.calls[0][1]["city"]
    assert (
        f"<|im_user|>user<|im_middle|>{turn.request}<|im_end|><|im_assistant|>assistant<|im_middle|>"
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        f'{{"city": "{city}"}}<|tool_call_end|><|tool_calls_section_end|><|im_end|>'
        f"<|im_system|>tool<|im_middle|>## Return of functions.get_weather:0\n{turn.results[0][0]}<|im_end|>"
        f"<|im_assistant|>assistant<|im_middle|>{turn.answer}<|im_end|>"
    ) in written


def test_only_the_models_own_words_are_learned():
    for episode in episodes("train", 50):
        for piece in pieces(episode):
            assert piece.learned == (not piece.text.startswith("<|im_"))
            assert not piece.learned or piece.text.endswith(k2.END)


async def test_a_model_that_makes_no_mistake_scores_full_marks_over_the_real_servers():
    ((world, group),) = held_out(5, 12)
    script = [answer for episode in group for answer in gold(episode)]
    async with Agent(ScriptedEngine(script), tools=tools_of(world)) as agent:
        judge = Judge(agent, show=True)
        for episode in group:
            await judge.play(episode)
    score = judge.score
    assert (score.right, score.turns_right, score.answers_exact) == (12, score.turns, score.turns)
    assert score.dispatched == score.calls == sum(len(turn.calls) for one in group for turn in one.turns)
    assert score.rejected == 0


async def test_the_servers_return_what_the_conversations_were_made_with():
    ((world, group),) = held_out(6, 6)
    script = [answer for episode in group for answer in gold(episode)]
    async with Agent(ScriptedEngine(script), tools=tools_of(world)) as agent:
        for episode in group:
            for turn in episode.turns:
                result = await agent.run(turn.request)
                returned = [message.text for message in result.transcript if hasattr(message, "call_id")]
                assert returned == [text for results in turn.results for text in results]


async def test_one_server_serves_every_part_by_default():
    async with mcp([sys.executable, str(SERVER)], prefix=False) as toolset:
        assert {spec.name for spec in await toolset.specs()} == {tool.name for tool in TOOLS}
