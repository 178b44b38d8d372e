"""The engine that keeps token ids: a cut is a rewrite at a named place, and the ids before it stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agentrt import Assistant, Request, ToolCall, ToolResult, ToolSpec, Transcript, User
from agentrt.compaction.notes import ASK
from agentrt.compaction.view import Rewrite, View, origin_of, rewritten
from agentrt.engines.tokens.memory import Memory
from agentrt.engines.tokens.template import Template
from agentrt.engines.tokens.vocabulary import Vocabulary

pytest.importorskip("jinja2", reason="chat templates need jinja2: pip install 'agentrt[vllm]'")

END = "<|end|>"


@dataclass(frozen=True)
class Added:
    content: str


class Letters:
    """A tokenizer with a token for each character, and one for the end of a message."""

    added_tokens_decoder: Mapping[int, Any] = {0: Added(END)}

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        ids: list[int] = []
        for at, part in enumerate(text.split(END)):
            ids += [0] * bool(at) + [ord(letter) for letter in part]
        return ids

    def apply_chat_template(self, conversation: Sequence[Mapping[str, Any]], **options: Any) -> str:
        made = f"tools {options['tools']}{END}" if options.get("tools") else ""
        for said in conversation:
            made += f"{said['role']}: {said['content']} {said.get('tool_calls', '')}{END}"
        return made + ("assistant: " if options.get("add_generation_prompt") else "")


def conversation(turns: int) -> Transcript:
    made = Transcript([User("do it")])
    for number in range(turns):
        turn(made, number)
    return made


def turn(made: Transcript, number: int) -> None:
    called = ToolCall(f"c{number}", "pay", f'{{"n": {number}}}')
    made.close_turn(Assistant("", (called,), finish="tool_calls"), [ToolResult(called.id, "pay", f"paid {number}")])


def test_the_ids_before_the_cut_are_kept_and_the_place_is_named() -> None:
    memory = Memory(Template(Vocabulary(Letters()), raw_arguments=True), (END,))
    whole = conversation(0)
    memory.prompt(Request(whole, "Pay."), ())
    for number in range(6):
        turn(whole, number)
        memory.prompt(Request(whole, "Pay."), ())
    before = memory.prompt(Request(whole, "Pay."), ())
    assert before.rewritten == ""

    asking = View([*whole.since(0)[:9], User(ASK)], origin_of(whole), {})
    summing = memory.prompt(Request(asking, "Pay.", words_only=True), ())
    assert summing.ids[: summing.kept] == before.ids[: summing.kept]
    assert summing.kept > len(before.ids) // 2

    view = rewritten(whole, Rewrite(1, 9, (User("note"),)))
    after = memory.prompt(Request(view, "Pay."), ())
    assert after.rewritten.startswith("compaction replaced what came after message 1")
    assert after.ids[: after.kept] == before.ids[: after.kept]
    assert "".join(map(chr, after.ids[: after.kept])).endswith("do it \x00")
    turn(whole, 9)
    assert memory.prompt(Request(view.followed(), "Pay."), ()).kept == len(after.ids) - len("assistant: ")


def test_tools_that_came_within_the_cut_are_declared_where_it_stands() -> None:
    memory = Memory(Template(Vocabulary(Letters()), raw_arguments=True), (END,))
    whole, late = conversation(3), ToolSpec("late", "comes late", {"type": "object"})
    memory.prompt(Request(whole, "Pay."), ())
    turn(whole, 3)
    memory.prompt(Request(whole, "Pay."), (late,))
    turn(whole, 4)
    memory.prompt(Request(whole, "Pay."), (late,))
    view = rewritten(whole, Rewrite(1, 9, (User("note"),)))
    text = "".join(map(chr, memory.prompt(Request(view, "Pay."), (late,)).ids))
    assert text.index("do it") < text.index("comes late") < text.index("note") < text.index("paid 4")
    assert text.count("comes late") == 1
