"""From records to the transcript."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_samples import answered, ended, landed, said, turn

from agentrt.journal.fold import fold
from agentrt.journal.records import Asked, Closed, InDoubt, Intended, Reconciled, Started, dump, load
from agentrt.types import Assistant, ToolCall, ToolResult, User

CALL = ToolCall("call_1", "look", "{}")
OTHER = ToolCall("call_2", "look", "{}")


def intended(call_id, effect="unsafe"):
    return Intended(call_id, "look", "python", effect, f"key of {call_id}", "0" * 64)


def test_whole_turns_make_the_transcript():
    folded = fold([said("hi"), *turn(1), answered("done"), Closed(()), ended()])
    assert list(folded.transcript) == [
        User("hi"),
        Assistant("", (ToolCall("call_1", "look", '{"at": "the sky"}'),), finish="tool_calls"),
        ToolResult("call_1", "look", "ok"),
        Assistant("done"),
    ]
    assert folded.open_turn is None


def test_results_stand_in_call_order_whatever_order_they_landed_in():
    folded = fold([said("hi"), answered("", CALL, OTHER), landed("call_2"), landed("call_1"), Closed(())])
    assert [result.call_id for result in folded.transcript.since(2)] == ["call_1", "call_2"]


def test_a_result_that_was_changed_on_closing_is_read_as_it_was_closed():
    changed = ToolResult("call_1", "look", "ok\n(again)")
    folded = fold([said("hi"), answered("", CALL), landed("call_1"), Closed((changed,))])
    assert folded.transcript[2] == changed


def test_a_turn_whose_closing_was_lost_is_closed_by_what_landed():
    records = [said("hi"), answered("", CALL), landed("call_1")]
    folded = fold(records)
    assert folded.open_turn is None
    assert folded.transcript[2] == ToolResult("call_1", "look", "ok")
    assert list(fold([*records, said("go on")]).transcript) == [*folded.transcript, User("go on")]


def test_a_turn_in_the_middle_is_open_with_what_is_known_of_each_call():
    folded = fold(
        [
            said("hi"),
            answered("", CALL, OTHER, ToolCall("call_3", "look", "{}"), ToolCall("call_4", "look", "{}")),
            *(intended("call_1"), intended("call_2"), intended("call_3", "idempotent"), intended("call_4")),
            *(Started("call_1"), landed("call_1"), Started("call_2"), Started("call_3")),
        ]
    )
    assert len(folded.transcript) == 1
    turn = folded.open_turn
    assert turn.results == {"call_1": ToolResult("call_1", "look", "ok")}
    assert turn.in_flight == {"call_2"}  # call_3 may be repeated, call_4 never started
    assert turn.keys["call_4"] == "key of call_4"


@pytest.mark.parametrize("outcome", [InDoubt, Reconciled])
def test_what_became_of_a_call_in_flight_counts_as_its_result(outcome):
    found = ToolResult("call_1", "look", "who knows", error=True)
    folded = fold([said("hi"), answered("", CALL), intended("call_1"), Started("call_1"), outcome(found)])
    assert folded.transcript[2] == found


@pytest.mark.parametrize(
    ("records", "wrong"),
    [
        ([landed("call_1")], "a Landed record without an answer before it"),
        ([said("hi"), Closed(())], "a Closed record without an answer before it"),
        ([answered("", CALL), said("hi")], "the session went on although a call had no result"),
        ([answered("", CALL), Closed(())], "the session went on although a call had no result"),
    ],
)
def test_an_order_that_no_session_writes_is_refused(records, wrong):
    with pytest.raises(ValueError, match=wrong):
        fold(records)


SESSION = [
    said("hi"),
    *turn(1),
    Asked(2, "0" * 64),
    answered("", ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}")),
    *(intended("a"), intended("b"), Started("a"), landed("a"), Started("b"), landed("b"), Closed(())),
    *(answered("so"), Closed(()), ended(), said("more"), *turn(3), answered("done"), Closed(()), ended()),
]


@given(st.integers(0, len(SESSION)))
def test_any_beginning_of_a_journal_folds_to_a_beginning_of_the_transcript(length):
    whole = list(fold(SESSION).transcript)
    part = fold(SESSION[:length])
    assert list(part.transcript) == whole[: len(part.transcript)]
    assert (part.open_turn is None) or part.open_turn.answer == whole[len(part.transcript)]


def test_folding_what_was_dumped_and_loaded_gives_an_equal_transcript():
    assert list(fold(load(dump(record)) for record in SESSION).transcript) == list(fold(SESSION).transcript)
