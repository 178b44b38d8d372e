"""Cutting a conversation: no call is parted from its result, whatever the conversation and wherever the cut."""

import json

from hypothesis import given
from hypothesis import strategies as st

from agentrt import Assistant, Request, ToolCall, ToolResult, ToolSpec, Transcript, User
from agentrt.compaction.notes import effects, note
from agentrt.compaction.plan import Compaction, Gauge, Sheet
from agentrt.compaction.view import Rewrite, View, cut_points, origin_of, rewritten, stood_for, unanswered

SPECS = (ToolSpec("pay", "", {"type": "object"}), ToolSpec("look", "", {"type": "object"}, read_only=True))


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """Requests and turns with any number of calls; a turn without calls answers the requests before it."""
    made, number = Transcript([User(draw(st.text(max_size=40)))]), 0
    for kind in draw(st.lists(st.sampled_from(["say", "answer", "turn", "turn", "turn"]), max_size=14)):
        if kind == "say":
            made.say(User(draw(st.text(max_size=40))))
        elif kind == "answer":
            made.close_turn(Assistant("done"), ())
        else:
            names = draw(st.lists(st.sampled_from(["pay", "look"]), min_size=1, max_size=3))
            calls = [ToolCall(f"c{number + at}", name, json.dumps({"n": number + at})) for at, name in enumerate(names)]
            number += len(calls)
            sizes = draw(st.lists(st.integers(0, 3_000), min_size=len(calls), max_size=len(calls)))
            given_back = [
                ToolResult(c.id, c.name, "r" * size, error=size == 7) for c, size in zip(calls, sizes, strict=True)
            ]
            made.close_turn(Assistant("", tuple(calls), finish="tool_calls"), given_back)
    return made


def sheet(view: Transcript, room: int) -> Sheet:
    return Sheet(Request(view, "", SPECS), Gauge(), Compaction(), room, True)


def paired(view: Transcript) -> bool:
    """Whether all results follow their calls, in order: what an engine must be sent."""
    return list(Transcript(view)) == list(view)


@given(transcripts(), st.integers(0, 5))
def test_every_cut_point_leaves_calls_with_their_results_and_the_last_turns_whole(view: Transcript, keep: int) -> None:
    points = cut_points(view, keep)
    kept = list(view.since(points.kept_from)) if points.ends else []
    for start in points.starts:
        for end in points.ends:
            if start < end:
                cut = rewritten(view, Rewrite(start, end, (User("note"),)))
                assert paired(cut)
                assert list(cut)[len(cut) - len(kept) :] == kept


@given(transcripts(), st.integers(100, 4_000), st.integers(1, 4))
def test_whatever_is_planned_can_be_carried_out_again_and_again(whole: Transcript, room: int, rounds: int) -> None:
    view = whole
    for _ in range(rounds):
        planned = sheet(view, room).plan(must=True)
        if planned is None:
            return
        assert planned.cut.after < planned.cut.before
        waiting = unanswered(view)
        cut = planned.cut
        if planned.summary:
            asked = tuple(item for at, item in waiting.items() if cut.start <= at < cut.end)
            view = rewritten(view, Rewrite(cut.start, cut.end, (User("note"), *asked)))
        else:
            view = rewritten(view, Rewrite(cut.start, cut.start, (), planned.results))
        assert paired(view)
        assert list(unanswered(view).values()) == list(waiting.values())
        assert origin_of(view) is whole
        ids = [call.id for item in stood_for(view, 0, len(view)) if isinstance(item, Assistant) for call in item.calls]
        assert ids == [call.id for item in whole if isinstance(item, Assistant) for call in item.calls]


@given(transcripts())
def test_a_view_follows_what_is_said_later(whole: Transcript) -> None:
    view = rewritten(whole, Rewrite(0, 1, (User("note"),)))
    whole.say(User("and now this"))
    whole.close_turn(Assistant("yes"), ())
    assert list(view.followed())[-2:] == [User("and now this"), Assistant("yes")]
    assert isinstance(view, View)


@given(transcripts())
def test_a_note_names_every_call_that_changed_something_and_all_that_was_said(whole: Transcript) -> None:
    made = note(list(whole), "", {"look"}, most_chars=1_000_000).text
    for called, result in effects(list(whole), {"look"}):
        assert f"- pay {called.arguments}: " in made
        assert not result.error or result.text in made
    assert all(message.text in made for message in whole if isinstance(message, User))


def test_effects_beyond_the_room_of_a_note_stand_behind_a_handle_and_the_last_ones_in_it() -> None:
    calls = [ToolCall(f"c{n}", "pay", json.dumps({"to": n})) for n in range(50)]
    turn = [Assistant("", tuple(calls), finish="tool_calls"), *(ToolResult(c.id, "pay", "ok") for c in calls)]
    made = note(turn, "", (), most_chars=200)
    ((handle, older),) = made.whole
    assert f"older ones: read_result(handle={handle!r}" in made.text
    for called in calls:
        assert f"- pay {called.arguments}: done" in f"{older}\n{made.text}"


def test_an_effect_in_doubt_is_told_in_the_words_of_its_result() -> None:
    doubt = "pay was running when its run broke off, and whether it took effect is unknown."
    turn = [Assistant("", (ToolCall("c", "pay", "{}"),)), ToolResult("c", "pay", doubt, error=True)]
    assert f"- pay {{}}: {doubt}" in note(turn, "", (), most_chars=1_000).text


def test_equal_effects_are_counted() -> None:
    calls = [ToolCall(f"c{n}", "pay", "{}") for n in range(3)]
    turn = [Assistant("", tuple(calls)), *(ToolResult(c.id, "pay", "ok") for c in calls)]
    assert "- pay {}: done (3 times)" in note(turn, "", (), most_chars=1_000).text


def test_the_gauge_takes_the_engine_s_count_and_adds_what_came_since() -> None:
    gauge, said = Gauge(), Transcript([User("a" * 350)])
    request = Request(said)
    gauge.learn(request, 1_000)
    assert gauge.size(request) == 1_000
    before = gauge.tokens_a_char
    said.close_turn(Assistant("b" * 100), ())
    assert 1_000 + 100 * before <= gauge.size(request) <= 1_000 + 130 * before
