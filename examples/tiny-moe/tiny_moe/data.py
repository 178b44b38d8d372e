"""Training batches: simulated conversations as token ids, from single calls to long sessions, as a curriculum."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from tiny_moe import episodes, k2
from tiny_moe.play import WORDS
from tiny_moe.vocabulary import make_tokenizer, token_id
from tiny_moe.world import AIRLINES, CITIES, CURRENCIES, DAYS, PEOPLE, TITLES, TOOLS, UNITS

VOCABULARY = 1024
BATCH_TOKENS = 2048
POOL = 512  # episodes that are drawn at once and sorted by length, so that a batch has little padding
GIVEN_WEIGHT = 0.15


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the curriculum, up to step ``until``."""

    until: float
    mix: dict[str, float]
    turns: tuple[int, ...]
    spare: tuple[int | None, ...]
    rare: float = 1.0


STAGES = (
    Stage(180, {"single": 8, "abstain": 1}, (1,), (0, 0, 1)),
    Stage(675, {"single": 4, "parallel": 3, "chain": 4, "abstain": 1}, (1, 1, 2), (0, 1, 2)),
    Stage(1125, {"single": 3, "parallel": 4, "chain": 5, "abstain": 1}, (1, 2, 3), (1, 3, None)),
    Stage(1500, {"single": 3, "parallel": 4, "chain": 5, "abstain": 1}, (1, 2, 3, 5, 8, 20), (3, None, None)),
    Stage(2400, {"single": 3, "parallel": 4, "chain": 5, "abstain": 1}, (1, 2, 2, 3, 4, 20), (2, None)),
    Stage(3000, {"single": 3, "parallel": 6, "chain": 6, "abstain": 1}, (1, 1, 2, 2, 3, 20), (2, None, None)),
    Stage(3600, {"single": 3, "parallel": 7, "chain": 7, "abstain": 0.6}, (1, 1, 1, 2, 2, 20), (None,)),
    Stage(math.inf, {"single": 3, "parallel": 8, "chain": 7, "abstain": 0.6}, (1, 1, 2, 2, 20), (None,), rare=2),
)


def stage_at(step: int) -> Stage:
    """The stage that ``step`` is in."""
    return next(stage for stage in STAGES if step < stage.until)


_VOCABULARY_MIX = {"single": 3, "parallel": 4, "chain": 5, "abstain": 1}
_VALUES = (*WORDS, *CITIES, *PEOPLE, *TITLES, *AIRLINES, *CURRENCIES, *DAYS, *UNITS)


def tokenizer_from(seed: int) -> Tokenizer:
    """The vocabulary, learned from conversations that mix every kind of turn."""
    rng = random.Random(f"{seed}/vocabulary")
    drawn = [
        episodes.make_episode(rng, turns=1, mix=_VOCABULARY_MIX, split="train", spare=0, shuffled=False)
        for _ in range(6000)
    ]
    texts = [
        _bare(piece.text) for episode in drawn for piece in episodes.pieces(episode) if "tool_declare" not in piece.text
    ]
    every_tool = k2.declared([tool.declaration for tool in TOOLS])
    texts += [_bare(every_tool.text), *(f"{word} {word}\n" for word in _VALUES)] * 60
    return make_tokenizer(texts, VOCABULARY)


def _bare(text: str) -> str:
    for marker in (*k2.SPECIAL, *k2.TOOL_MARKERS):
        text = text.replace(marker, "\n")
    return text


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation: its token ids, and how much each counts in the loss (0: declarations, 1: the model's words)."""

    ids: list[int]
    weights: list[float]


def encode(tokenizer: Tokenizer, episode: episodes.Episode) -> Encoded:
    """The conversation as ids. What the user and the tools say counts a little: it repeats, which teaches to copy."""
    ids: list[int] = []
    weights: list[float] = []
    for piece in episodes.pieces(episode):
        encoded = tokenizer.encode(piece.text).ids
        weight = 1.0 if piece.learned else 0.0 if "tool_declare" in piece.text else GIVEN_WEIGHT
        ids += encoded
        numbers = _numbers(tokenizer, encoded) if piece.learned else set()
        weights += [GIVEN_WEIGHT if at in numbers else weight for at in range(len(encoded))]
    return Encoded(ids, weights)


def _numbers(tokenizer: Tokenizer, ids: list[int]) -> set[int]:
    """Where the numbers of call ids are: they count little, since the runtime counts calls and fixes ids anyway."""
    begin = token_id(tokenizer, "<|tool_call_argument_begin|>")
    digits = {token_id(tokenizer, digit) for digit in "0123456789"}
    found = set()
    for at in (at for at, token in enumerate(ids) if token == begin):
        while ids[at - 1] in digits:
            at -= 1
            found.add(at)
    return found


def _episode(rng: random.Random, stage: Stage) -> episodes.Episode:
    return episodes.make_episode(
        rng,
        turns=rng.choice(stage.turns),
        mix=stage.mix,
        split="train",
        spare=rng.choice(stage.spare),
        shuffled=rng.random() < 0.4,
        rare=stage.rare,
    )


def batches(tokenizer: Tokenizer, stage: Stage, rng: random.Random) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of ids and weights from one pool of new conversations, each shaped (episodes, longest)."""
    pool = sorted((encode(tokenizer, _episode(rng, stage)) for _ in range(POOL)), key=lambda one: len(one.ids))
    groups: list[list[Encoded]] = [[]]
    for one in pool:
        if groups[-1] and len(one.ids) * (len(groups[-1]) + 1) > BATCH_TOKENS:
            groups.append([])
        groups[-1].append(one)
    rng.shuffle(groups)
    pad = token_id(tokenizer, "[PAD]")
    for group in groups:
        longest = len(group[-1].ids)
        yield (
            torch.tensor([one.ids + [pad] * (longest - len(one.ids)) for one in group]),
            torch.tensor([one.weights + [0.0] * (longest - len(one.weights)) for one in group]),
        )
