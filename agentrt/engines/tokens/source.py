"""Where tokens come from: something that goes on from token ids, in this process or over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to go on. ``tag`` is an xgrammar structural tag as JSON; ``options`` are vLLM's own sampling parameters."""

    max_tokens: int | None = None
    temperature: float | None = None
    stop_token_ids: tuple[int, ...] = ()
    tag: str = ""
    logprobs: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The next generated ids. ``finish`` is set on the last; ``cached`` prompt tokens came from the prefix cache."""

    ids: tuple[int, ...]
    finish: Literal["stop", "length", "cut"] | None = None
    cached: int | None = None
    logprobs: tuple[float, ...] = ()


class GrammarRefused(Exception):
    """The backend does not take the structural tag; the message is its own."""


class Generates(Protocol):
    """Goes on from token ids."""

    def generate(self, ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[Tokens, None]:
        """Go on from ``ids``. Closing the generator stops the model.

        :raises GrammarRefused: before anything is generated, if the tag can't be used.
        :raises EngineError: if it fails.
        """
        ...


class Source(Generates, Protocol):
    """Generates tokens for any number of conversations."""

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, of Hugging Face's kind; there once :meth:`start` has returned."""
        ...

    @property
    def max_length(self) -> int | None:
        """How many tokens prompt and answer may have together, if known."""
        ...

    async def start(self) -> None:
        """Get ready; may take minutes, and does nothing the second time.

        :raises EngineError: if the model can't be loaded or reached.
        """
        ...

    def conversation(self, idle_seconds: float) -> Generates:
        """For one conversation, whose state may be kept between its answers for so long.

        :raises ConfigError: if this source can't.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the model or the connections."""
        ...
