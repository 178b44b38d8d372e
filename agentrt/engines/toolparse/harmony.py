"""gpt-oss (harmony): messages with a channel, a recipient if they are calls, and a body."""

from __future__ import annotations

import re

from agentrt.engines.toolparse.bodies import JsonBody
from agentrt.engines.toolparse.parser import Parser

_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")


class HarmonyParser(Parser):
    """The analysis channel is reasoning, a message to a function is a call, all else are words."""

    marks = (
        *("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>"),
        *("<|end|>", "<|call|>", "<|return|>", "<|endoftext|>"),
    )
    begins = frozenset({"<|start|>", "<|channel|>"})
    ends = frozenset({"<|call|>", "<|end|>"})
    stops = frozenset({"<|return|>", "<|endoftext|>"})
    halts = frozenset({"<|call|>"})
    _header: str | None = ""  # the prompt ends after <|start|>assistant, so an answer begins within a header

    def mark(self, mark: str) -> None:
        """Take a marker."""
        match mark:
            case "<|message|>":
                self._begin_message(self._header or "")
            case "<|end|>" | "<|call|>":
                self._header, self._reasoning = None, False
            case "<|start|>":
                self._header = ""
            case _:
                self._header = (self._header or "") + mark

    def words(self, text: str) -> None:
        """Words outside of any call."""
        if self._header is None:
            super().words(text)
        else:
            self._header += text

    def end_call(self) -> None:
        """The open call is whole as far as its format goes."""
        super().end_call()
        self._header = None

    def _begin_message(self, header: str) -> None:
        self._header, self._fresh = None, True
        channel = _CHANNEL.search(header)
        recipient = _RECIPIENT.search(header)
        if recipient:
            written = recipient.group(1)
            bare = written.removeprefix("functions.")
            self.begin_call(JsonBody(self.emit))
            self.emit(written if written in self.schemas and bare not in self.schemas else bare, "")
        else:
            self._reasoning = channel is not None and channel.group(1) == "analysis"
