"""A source of tokens without a model: it picks at random among what the grammar admits, as xgrammar says."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from agentrt.engines.tokens.source import GrammarRefused, Sampling, Tokens
from tests.moe.checkpoints import KIMI_PLAIN, KIMI_SPECIAL, KIMI_TEMPLATE, QWEN_PLAIN, QWEN_SPECIAL, QWEN_TEMPLATE
from tests.moe.checkpoints import tokenizer as make_tokenizer

PLAIN_TEMPLATE = """\
{{- tools | tojson }}
{%- for message in messages %}{{ OPEN[message.role] + message.content }}{% endfor -%}
{%- if add_generation_prompt %}{{ ASK }}{% endif -%}
"""
DEEPSEEK = {"user": "<｜User｜>", "ask": "<｜Assistant｜>", "end": "<｜end▁of▁sentence｜>"}
DEEPSEEK_PLAIN = [
    *(
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
    ),
    *("<think>", "</think>"),
]
GLM = {"user": "<|user|>", "ask": "<|assistant|>", "end": "<|endoftext|>"}
GLM_SPECIAL = ["<|observation|>", "<|system|>"]
GLM_PLAIN = [
    *("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "<think>", "</think>")
]
HARMONY = {"user": "<|start|>user<|message|>", "ask": "<|start|>assistant", "end": "<|return|>"}
HARMONY_SPECIAL = ["<|start|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|end|>", "<|call|>", "<|endoftext|>"]


def tokenizer(kind: str, folder: Path) -> Any:
    """A tokenizer with the markers of a format."""
    if kind == "kimi":
        return make_tokenizer(folder, KIMI_SPECIAL, KIMI_PLAIN, KIMI_TEMPLATE, end="<|im_end|>", start="[BOS]")
    if kind == "hermes":
        return make_tokenizer(folder, QWEN_SPECIAL, QWEN_PLAIN, QWEN_TEMPLATE, end="<|im_end|>", start="<|endoftext|>")
    words, special, plain = {
        "deepseek": (DEEPSEEK, [DEEPSEEK["user"], DEEPSEEK["ask"]], DEEPSEEK_PLAIN),
        "glm": (GLM, [GLM["user"], GLM["ask"], *GLM_SPECIAL], GLM_PLAIN),
        "harmony": (HARMONY, HARMONY_SPECIAL, []),
    }[kind]
    opened = repr({"user": words["user"], "assistant": words["ask"], "tool": words["user"], "system": words["user"]})
    template = PLAIN_TEMPLATE.replace("OPEN", f"({opened})").replace("ASK", repr(words["ask"]))
    return make_tokenizer(folder, [words["end"], *special], plain, template, end=words["end"], start=words["end"])


class Whim:
    """Markers are picked more often than anything else, so that most answers come to an end."""

    max_length = None

    def __init__(self, words: Any, seed: int = 1) -> None:
        from xgrammar import GrammarCompiler, TokenizerInfo

        self.tokenizer = words
        self._random = random.Random(seed)
        info = TokenizerInfo.from_huggingface(words, vocab_size=len(words))
        self._compiler = GrammarCompiler(info, max_threads=1)
        self._forgetful = GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self._marks = set(words.added_tokens_decoder)
        self.picked: list[int] = []

    async def start(self) -> None:
        pass

    def conversation(self, idle_seconds: float) -> Whim:
        return self

    async def generate(self, ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[Tokens, None]:
        import numpy
        from xgrammar import GrammarMatcher, allocate_token_bitmask

        stops = [*sampling.stop_token_ids, self.tokenizer.eos_token_id]  # as vLLM sees it
        try:
            compiled = self._compiler.compile_structural_tag(sampling.tag)
        except RuntimeError as error:
            raise GrammarRefused(str(error)) from error
        matcher = GrammarMatcher(compiled, override_stop_tokens=stops)
        apart = GrammarMatcher(self._forgetful.compile_structural_tag(sampling.tag), override_stop_tokens=stops)
        mask, alone = (allocate_token_bitmask(1, len(self.tokenizer)) for _ in range(2))
        for _ in range(sampling.max_tokens or 0):
            matcher.fill_next_token_bitmask(mask)
            apart.fill_next_token_bitmask(alone)
            # the cache of xgrammar 0.2.8 takes grammars for the same that differ in nothing but token ids
            assert mask.equal(alone), f"another grammar's mask after {self.tokenizer.decode(self.picked)[-80:]!r}"
            bits = numpy.unpackbits(mask.numpy().view(numpy.uint8), bitorder="little")[: len(self.tokenizer)]
            token = self._pick([int(at) for at in bits.nonzero()[0]])
            assert matcher.accept_token(token), "what the mask admits is accepted"
            assert apart.accept_token(token)
            self.picked.append(token)
            ended = token in stops
            yield Tokens((token,), "stop" if ended else None)
            if ended:
                return
        yield Tokens((), "length")

    def admits(self, tag: str, ids: Sequence[int], stops: Sequence[int]) -> int:
        """How many of ``ids`` the tag lets through, the last of which stops the model."""
        from xgrammar import GrammarMatcher

        matcher = GrammarMatcher(self._forgetful.compile_structural_tag(tag), override_stop_tokens=list(stops))
        return next((at for at, token in enumerate(ids) if not matcher.accept_token(token)), len(ids))

    def _pick(self, allowed: list[int]) -> int:
        marks = [token for token in allowed if token in self._marks]
        if marks and self._random.random() < 0.3:
            return self._random.choice(marks)
        return self._random.choice(allowed)

    async def aclose(self) -> None:
        pass
