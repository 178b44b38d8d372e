"""The tokenizer: a small byte-level BPE over simulated conversations, with Kimi K2's markers as added tokens."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tiny_moe import k2

# Digits stand alone, and words have no space of their own, so that a value has the same tokens in the user's words, in
# the arguments and in the results: it can be copied. Runs of JSON punctuation with the
# keywords of JSON Schema stay whole, which makes declarations short.
_PUNCTUATION = r'[\[\]{}",:]'
_KEYWORDS = "type|function|name|description|parameters|properties|required|object|string|number|additionalProperties"
PATTERN = "|".join(
    (
        rf"{_PUNCTUATION}+(?:[ \[\]{{}},:\"]|(?:{_KEYWORDS}|enum|pattern|minLength|false)(?=\"|[,}}]))*",
        r"[a-z]+(?:_[a-z]+)*",
        r"[A-Z]+[a-z]*",
        r"\d",
        r"\s",
        r"[^\sa-zA-Z\d\[\]{},:\"]+",
    )
)


def make_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """A tokenizer with ``size`` tokens, the markers at the end as in the real vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    markers = [AddedToken(text, special=True, normalized=False) for text in (*k2.SPECIAL, "[UNK]", "[PAD]")]
    markers += [AddedToken(text, special=False, normalized=False) for text in k2.TOOL_MARKERS]
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(markers),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(markers)
    return tokenizer


def token_id(tokenizer: Tokenizer, text: str) -> int:
    """The id of a token.

    :raises KeyError: if there is none with this text.
    """
    found: int | None = tokenizer.token_to_id(text)
    if found is None:
        raise KeyError(text)
    return found
