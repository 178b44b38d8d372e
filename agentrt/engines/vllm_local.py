"""The MoE engine: vLLM token by token, in this process or behind HTTP, with every call constrained.

The next prompt is the ids of the last one, the ids that were generated, and the ids of what is new. Text is a view.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

from agentrt.compaction.view import origin_of
from agentrt.contract import Gate
from agentrt.engine import Delta, Engine, Prompted, Request, Retrying
from agentrt.engines import openai_chat
from agentrt.engines.grammar.tags import Tags, enforces
from agentrt.engines.retry import Patience
from agentrt.engines.tokens.memory import Memory, Prompt
from agentrt.engines.tokens.source import Generates, GrammarRefused, Sampling, Source
from agentrt.engines.tokens.template import Template
from agentrt.engines.tokens.turn import Turn
from agentrt.engines.tokens.vocabulary import Vocabulary
from agentrt.engines.toolparse import FORMATS, format_of, read_tokens
from agentrt.engines.vllm_http import Server
from agentrt.engines.vllm_inproc import InProcess
from agentrt.errors import ConfigError, ContextExceeded
from agentrt.outside import tapped
from agentrt.types import ToolSpec, Transcript

MAX_TOOL_SETS = 512


@dataclass(frozen=True, slots=True)
class Settings:
    """What of ``engine_options`` is the engine's own; everything else is vLLM's.

    ``format``: how the model writes calls (known from its vocabulary). ``grammar``: ``always`` hold calls to their
    schemas, or ``off``. ``calls``: whether an answer may be words (``auto``) or has a call (``required``; the grammar
    sees to it). ``parallel_calls``: calls that one answer may have. ``answer_tokens``: the limit of an answer.
    ``redecode``: how often the arguments of a call that would be rejected are decoded again. ``trace``: report ids
    and log-probabilities. ``sampling``: vLLM's sampling parameters. ``template``: options of the chat template.
    ``resumable``: keep one request of vLLM's and its cache for a conversation while tools run, ``idle_seconds`` at
    most; answers that are held to a grammar are requests of their own all the same.
    """

    format: str = "auto"
    grammar: Literal["always", "off"] = "always"
    calls: Literal["auto", "required"] = "auto"
    parallel_calls: int = 4
    answer_tokens: int = 4096
    redecode: int = 2
    trace: bool = False
    sampling: Mapping[str, Any] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=dict)
    resumable: bool = False
    idle_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.format not in ("auto", *FORMATS):
            raise ConfigError(f"there is no tool format {self.format!r}; known: auto, {', '.join(FORMATS)}")
        if self.grammar not in ("always", "off"):
            raise ConfigError(f"grammar is 'always' or 'off', not {self.grammar!r}")
        if self.calls not in ("auto", "required"):
            raise ConfigError(f"calls is 'auto' or 'required', not {self.calls!r}")
        if self.parallel_calls < 1 or self.answer_tokens < 1 or self.redecode < 0:
            raise ConfigError("parallel_calls and answer_tokens must be at least 1, redecode at least 0")
        if not self.idle_seconds > 0:
            raise ConfigError(f"idle_seconds is how long a request is kept, more than 0, not {self.idle_seconds!r}")


@dataclass(slots=True)
class _Model:
    """What is known of a model once it is there."""

    vocabulary: Vocabulary
    template: Template
    format: str
    ends: tuple[str, ...]
    tags: Tags | None


@dataclass(frozen=True, slots=True)
class _Talk:
    """One conversation's ids, and what goes on with them."""

    memory: Memory
    source: Generates


class TokenEngine:
    """An engine that keeps token ids; :class:`agentrt.engine.Engine` describes its use.

    Every conversation's ids are remembered for as long as its transcript lives.
    """

    def __init__(self, name: str, source: Source, settings: Settings | None = None) -> None:
        self._name = name
        self._source = source
        self._settings = settings or Settings()
        self._model: _Model | None = None
        self._talks: WeakKeyDictionary[Transcript, _Talk] = WeakKeyDictionary()
        self._gates: dict[int, tuple[tuple[ToolSpec, ...], Gate]] = {}

    @property
    def name(self) -> str:
        """The name it was made from."""
        return self._name

    @property
    def context_tokens(self) -> int | None:
        """The tokens that prompt and answer may have together; known once the model is there."""
        return self._source.max_length if self._model is not None else None

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream one answer.

        :raises EngineError: if the model can't be loaded or asked, or the conversation does not fit its context.
        """
        model = await self._ready()
        gate = self._compiled(request.tools, model)
        talk = self._talk(origin_of(request.transcript), model)
        prompt = talk.memory.prompt(request, gate.specs)
        yield Prompted(len(prompt.ids), prompt.kept, prompt.rewritten, prompt.defused)
        while True:
            turn = self._turn(request, model, prompt, gate, talk.source)
            try:
                async with aclosing(turn.run(kept=prompt.kept, trace=self._settings.trace)) as deltas:
                    async for delta in deltas:
                        yield delta
                break
            except GrammarRefused as error:
                model.tags = None
                yield Retrying(f"the backend takes no grammar for these tools, so calls are only checked: {error}", 0.0)
        talk.memory.answered(turn.ids, [call.id for call in turn.calls], [call.arguments for call in turn.calls])

    def _talk(self, transcript: Transcript, model: _Model) -> _Talk:
        """What is known of a conversation. It goes with the transcript, and with it what vLLM keeps for it.

        :raises ConfigError: if `resumable` was asked for and can't be.
        """
        if transcript not in self._talks:
            settings, source = self._settings, self._source
            going = source.conversation(settings.idle_seconds) if settings.resumable else source
            self._talks[transcript] = _Talk(Memory(model.template, model.ends), going)
        return self._talks[transcript]

    async def _ready(self) -> _Model:
        if self._model is None:
            await self._source.start()
            self._model = self._describe()
        return self._model

    def _describe(self) -> _Model:
        """What the model's vocabulary tells.

        :raises ConfigError: if its format is not known and none was named.
        """
        settings = self._settings
        vocabulary = Vocabulary(self._source.tokenizer)
        found = format_of(vocabulary.ids) if settings.format == "auto" else settings.format
        if found is None:
            raise ConfigError(
                f"the vocabulary of {self._name} has the markers of no known tool format ({', '.join(FORMATS)}); set "
                "the engine option `format`, or ask its server with http://HOST:PORT/v1#MODEL"
            )
        end = str(getattr(self._source.tokenizer, "eos_token", "") or "")
        stops = (end, *sorted(FORMATS[found].stops), *FORMATS[found].halts)
        ends = tuple(dict.fromkeys(mark for mark in stops if mark in vocabulary.ids))
        tags = None
        if settings.grammar == "always" and enforces(found):
            required = settings.calls == "required"
            tags = Tags(found, vocabulary.ids, parallel=settings.parallel_calls, required=required)
        template = Template(vocabulary, raw_arguments=found == "kimi", options=settings.template)
        return _Model(vocabulary, template, found, ends, tags)

    def _compiled(self, tools: tuple[ToolSpec, ...], model: _Model) -> Gate:
        """The gate of these tools, in an order of its own: the same tools are always the same prompt."""
        known = self._gates.get(id(tools))
        if known is not None:
            return known[1]
        gate = Gate(sorted(tools, key=lambda spec: spec.name))
        if model.tags is not None:
            model.tags.prove(gate.specs)
        if len(self._gates) >= MAX_TOOL_SETS:
            self._gates.pop(next(iter(self._gates)))
        self._gates[id(tools)] = (tools, gate)  # with the tuple, so that no other can have its id
        return gate

    def _turn(self, request: Request, model: _Model, prompt: Prompt, gate: Gate, going: Generates) -> Turn:
        settings, source = self._settings, self._source
        room = None if source.max_length is None else source.max_length - len(prompt.ids)
        if room is not None and room < 1:
            refused = ContextExceeded(
                f"the conversation has {len(prompt.ids)} tokens and does not fit the {source.max_length} of "
                f"{self._name}; start a new one, offer fewer tools, or raise the engine option `max_model_len`"
            )
            refused.limit, refused.tokens = source.max_length, len(prompt.ids)
            raise refused
        limit = min(request.max_tokens or settings.answer_tokens, room or settings.answer_tokens)
        schemas = {spec.name: spec.input_schema for spec in gate.specs}
        reading = read_tokens(
            model.format,
            marks=model.vocabulary.marks,
            piece=model.vocabulary.piece,
            schemas=schemas,
            reasoning=prompt.opening.rstrip().endswith("<think>"),
        )
        stops = tuple(model.vocabulary.ids[end] for end in model.ends)
        return Turn(
            going,
            gate,
            Sampling(limit, request.temperature, stops, logprobs=settings.trace, options=settings.sampling),
            prompt.ids,
            reading,
            model.vocabulary.ids,
            model.tags if gate.specs and not request.words_only else None,
            request.transcript.calls,
            settings.redecode,
        )

    async def aclose(self) -> None:
        """Stop the model, or close the connections."""
        await self._source.aclose()


def engine_from_name(name: str, **options: Any) -> Engine:
    """``vllm:MODEL`` in this process, or ``vllm+http://HOST:PORT#MODEL`` (``vllm+https``) with a server's token ids.

    Where vLLM is not installed, or ``VLLM_BASE_URL`` is set, ``vllm:MODEL`` is a server's chat endpoint. ``options``
    are the fields of :class:`Settings`; with a server ``tokenizer``, ``trust_remote_code``, ``key`` and ``patience``
    too; in process everything else is vLLM's ``AsyncEngineArgs``.

    :raises ConfigError: if the name or an option can't be used.
    """
    scheme, _, rest = name.partition(":")
    if scheme == "vllm" and (os.environ.get("VLLM_BASE_URL") or find_spec("vllm") is None):
        return openai_chat.engine_from_name(name, **options)
    ours = {item.name: options.pop(item.name) for item in fields(Settings) if item.name in options}
    settings = replace(Settings(), **ours)
    if scheme == "vllm":
        if not rest:
            raise ConfigError("name the model: vllm:MODEL, a folder or a name that vLLM knows")
        return tapped("engine", cast(Engine, TokenEngine(name, InProcess(rest, options), settings)))
    url, _, model = f"{scheme.removeprefix('vllm+')}:{rest}".partition("#")
    return tapped("engine", cast(Engine, TokenEngine(name, _server(url, model, options), settings)))


def _server(url: str, model: str, options: dict[str, Any]) -> Server:
    known: Sequence[str] = ("tokenizer", "trust_remote_code", "key", "patience")
    if unknown := options.keys() - set(known):
        raise ConfigError(f"engine_options has {sorted(unknown)}; a server takes {', '.join(known)} and our own")
    patience = options.get("patience") or Patience()
    return Server(
        url.rstrip("/").removesuffix("/v1"),
        model,
        tokenizer=options.get("tokenizer", ""),
        key=options.get("key") or os.environ.get("VLLM_API_KEY", ""),
        patience=Patience(**patience) if isinstance(patience, Mapping) else patience,
        trust_remote_code=bool(options.get("trust_remote_code", False)),
    )
