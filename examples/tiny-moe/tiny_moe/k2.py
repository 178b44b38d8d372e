"""Kimi K2's chat format: its markers, and a conversation as pieces of text that are either learned or given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SPECIAL = ("[BOS]", "[EOS]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>")
# As in the real vocabulary these are added tokens, but not special ones: decoding keeps them.
TOOL_MARKERS = (
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<think>",
    "</think>",
)
ANSWER = "<|im_assistant|>assistant<|im_middle|>"
END = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a conversation; ``learned`` is what the model has to say itself."""

    text: str
    learned: bool = False


def call_id(name: str, number: int) -> str:
    """The id of the ``number``-th call of the conversation, counted from 0."""
    return f"functions.{name}:{number}"


def declared(tools: Sequence[Mapping[str, Any]]) -> Piece:
    """The tools on offer."""
    return Piece(f"<|im_system|>tool_declare<|im_middle|>{json.dumps(list(tools))}{END}")


def said(role: str, text: str) -> Piece:
    """What the system or the user said."""
    return Piece(f"<|im_{role}|>{role}<|im_middle|>{text}{END}")


def answered(text: str, calls: Iterable[tuple[str, str]] = ()) -> tuple[Piece, Piece]:
    """An answer of the model: its words, then its calls as pairs of id and raw arguments."""
    section = "".join(
        f"<|tool_call_begin|>{ident}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"
        for ident, arguments in calls
    )
    if section:
        section = f"<|tool_calls_section_begin|>{section}<|tool_calls_section_end|>"
    return Piece(ANSWER), Piece(text + section + END, learned=True)


def returned(ident: str, text: str, role: str = "tool") -> Piece:
    """The result of one call."""
    return Piece(f"<|im_system|>{role}<|im_middle|>## Return of {ident}\n{text}{END}")
