"""Sessions that outgrow the model's context."""

import json

import pytest

from agentrt import Assistant, Compaction, ConfigError, ContextExceeded, ToolResult, Transcript, Usage, User
from agentrt.compaction.engine import BY_HAND
from agentrt.conversation import Conversation, OpenTurn
from agentrt.engines.scripted import call, calls
from agentrt.events import CallStarted, RunFinished
from tests.compaction.compaction_kit import SUMMARY, Heard, Model, World, agent, payments, prompt_text

pytestmark = pytest.mark.anyio

ASKED = "Pay each person once."


async def test_sixty_turns_stay_within_a_small_context_and_no_effect_is_forgotten() -> None:
    model, world, heard = Model(payments(60)), World(), Heard()
    result = await agent(model, world).run(ASKED, emit=heard)
    assert (result.reason, result.text) == ("done", "all done")
    assert world.paid == [step[1]["to"] for step in payments(60)]
    assert model.longest <= model.context
    last = "\n".join(prompt_text(model.requests[-1])).replace("\\", "")
    assert all(json.dumps(step[1])[1:-1] in last for step in payments(60))
    assert ASKED in last
    assert SUMMARY in last
    assert len(heard.cuts) == model.summaries >= 2


async def test_the_transcript_of_the_result_is_whole() -> None:
    result = await agent(Model(payments(40)), World()).run(ASKED)
    assert [message.text for message in result.transcript if isinstance(message, User)] == [ASKED]
    assert sum(isinstance(message, ToolResult) for message in result.transcript) == 40


async def test_long_results_that_only_were_read_are_shortened_first_without_asking_the_model() -> None:
    steps = [("look", {"at": f"place number {number:02}"}) for number in range(12)]
    model, heard = Model(steps), Heard()
    await agent(model, World(2_000), Compaction(keep_turns=2, turns_ahead=200)).run("Look at each.", emit=heard)
    assert heard.cuts[0].shortened
    assert not heard.cuts[0].dropped
    assert model.summaries == 0
    assert model.longest <= model.context
    assert "read_result" in [spec.name for spec in model.requests[-1].tools]
    short = [m for m in model.requests[-1].transcript if isinstance(m, ToolResult) and "read_result(" in m.text]
    assert short
    assert all(len(message.text) < 400 for message in short)


async def test_the_summary_is_asked_with_the_same_head_and_offers_no_call() -> None:
    model = Model(payments(50))
    await agent(model, World()).run(ASKED)
    at = next(at for at, request in enumerate(model.requests) if request.words_only)
    before, asking = prompt_text(model.requests[at - 1]), prompt_text(model.requests[at])
    assert asking[:-1] == before[: len(asking) - 1]  # what the prefix cache has, up to the cut
    assert model.requests[at].tools is model.requests[at - 1].tools


async def test_the_price_is_told_and_the_summary_s_tokens_count_with_the_run() -> None:
    model, heard = Model(payments(50)), Heard()
    result = await agent(model, World()).run(ASKED, emit=heard)
    first = heard.cuts[0]
    assert first.before > first.after > 0 < first.prefilled
    assert first.summary_tokens == 10
    assert first.usage.completion_tokens == 10
    spent = sum(cut.usage.prompt_tokens for cut in heard.cuts)
    turns = sum(m.usage.completion_tokens for m in result.transcript if isinstance(m, Assistant))
    assert spent
    assert result.usage.completion_tokens == turns
    assert result.usage.prompt_tokens == model.sent


async def test_without_a_known_context_it_is_learned_from_the_refusal_and_the_request_asked_again() -> None:
    model, world, heard = Model(payments(40), knows=False), World(), Heard()
    result = await agent(model, world).run(ASKED, emit=heard)
    assert result.reason == "done"
    assert len(world.paid) == 40
    assert heard.cuts[0].reason == "the server refused the prompt as too long"
    assert not any("refused" in cut.reason for cut in heard.cuts[1:])


async def test_switched_off_the_refusal_is_the_caller_s() -> None:
    with pytest.raises(ContextExceeded):
        await agent(Model(payments(60)), World(), None).run(ASKED)


async def test_what_can_t_be_made_shorter_is_refused_after_one_more_try() -> None:
    model = Model([], context=50)
    with pytest.raises(ContextExceeded):
        await agent(model, World()).run("x" * 4_000)
    assert len(model.requests) <= 2


async def test_a_result_that_alone_is_too_long_for_the_context_is_shortened() -> None:
    model, world, heard = Model([("look", {"at": "the sea"})], context=1_500), World(9_000), Heard()
    result = await agent(model, world).run("Look.", emit=heard)
    assert result.reason == "done"
    assert heard.cuts[0].shortened == 1


async def test_a_model_that_writes_no_summary_leaves_the_facts() -> None:
    model, world = Model(payments(40)), World()
    step = model._next
    assert step is not None
    model._next = lambda request: Assistant("", usage=Usage(1, 1)) if request.words_only else step(request)
    result = await agent(model, world).run(ASKED)
    assert result.reason == "done"
    assert len(world.paid) == 40


async def test_calls_in_a_summary_are_not_run() -> None:
    model, world, heard = Model(payments(40)), World(), Heard()
    step = model._next
    assert step is not None
    stray = calls(call("pay", {"to": "a thief"}), text="summed up")
    model._next = lambda request: stray if request.words_only else step(request)
    await agent(model, world).run(ASKED, emit=heard)
    assert heard.cuts
    assert "a thief" not in world.paid
    assert sum(isinstance(event, CallStarted) for event in heard.events) == 40


async def test_earlier_requests_stay_word_for_word_and_the_open_one_is_a_message_of_its_own() -> None:
    said, model, world = Transcript(), Model(payments(1)), World()
    for number in range(12):
        model.steps = payments(4 * number + 4)
        await agent(model, world).run(f"Never touch folder {number}, and pay 4 more.", transcript=said)
    last = model.requests[-1].transcript
    words = "\n".join(message.text for message in last)
    assert all(f"Never touch folder {number}, and" in words for number in range(12))
    assert User("Never touch folder 11, and pay 4 more.") in list(last)
    assert len(world.paid) == 48


async def test_by_hand_all_but_the_last_turns_are_summed_up_whether_it_pays_or_not() -> None:
    model, world, heard, talk = Model(payments(10), knows=False), World(), Heard(), Conversation()
    async with agent(model, world, None) as ours:
        await ours.run(ASKED, session=talk)
        told = await ours.compact(talk, emit=heard)
        assert told is not None
        assert told.reason == BY_HAND
        assert heard.events == [told]
        assert len(talk.view) < len(talk.transcript)
        model.steps = payments(12)
        assert (await ours.run("Two more.", session=talk)).reason == "done"
    assert world.paid == [step[1]["to"] for step in payments(12)]


async def test_by_hand_nothing_happens_to_a_conversation_of_a_few_turns() -> None:
    talk = Conversation()
    ours = agent(Model(payments(2)), World())
    await ours.run(ASKED, session=talk)
    assert await ours.compact(talk) is None
    assert talk.view is talk.transcript


async def test_by_hand_an_interrupted_turn_comes_first() -> None:
    talk = Conversation(Transcript([User("hi")]), OpenTurn(Assistant("", calls(call("pay", {})).calls)))
    with pytest.raises(ConfigError, match="take it up first"):
        await agent(Model([]), World()).compact(talk)


async def test_a_session_with_compaction_sends_and_prefills_less(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the figure; the engine without it has all the context that it needs."""
    short, long = Model(payments(120), context=6_000), Model(payments(120), context=1_000_000)
    heard = Heard()
    await agent(short, World(600)).run(ASKED, emit=heard)
    await agent(long, World(600), None).run(ASKED, emit=heard)
    ends = [event.turns for event in heard.events if isinstance(event, RunFinished)]
    assert ends == [121, 121]
    with capsys.disabled():
        print(f"\n120 calls: sent {short.sent} against {long.sent} prompt tokens without compaction", end="")
        print(f" ({short.sent / long.sent:.2f}x), prefilled {short.prefilled} against {long.prefilled}", end="")
        print(f" ({short.prefilled / long.prefilled:.2f}x), {len(heard.cuts)} cuts, longest {short.longest}")
    assert short.sent < long.sent / 2
