"""A vLLM server as a source of tokens: ``/v1/completions`` with a prompt of ids and ids in return."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from anyio import Lock, to_thread

from agentrt.engines.http1 import Http1
from agentrt.engines.retry import Patience
from agentrt.engines.sse import EventStream
from agentrt.engines.tokens.source import Generates, GrammarRefused, Sampling, Tokens
from agentrt.engines.transport import Exchange, TransportError, what_comes
from agentrt.errors import ConfigError, EngineError, EngineRefused

MAX_ERROR_BYTES = 65_536
_ABOUT_GRAMMAR = ("structural", "grammar", "structured", "schema")


class Server:
    """The model at ``url``. Its tokenizer is loaded here, from ``tokenizer``, or from where the server has it."""

    def __init__(
        self, url: str, model: str, *, tokenizer: str, key: str, patience: Patience, trust_remote_code: bool
    ) -> None:
        self._url = url
        self._model = model
        self._tokenizer_name = tokenizer
        self._trust = trust_remote_code
        self._patience = patience
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = Http1(f"{url}/v1", headers=headers, connect_seconds=patience.connect_seconds)
        self._tokenizer: Any = None
        self._lock = Lock()
        self.max_length: int | None = None

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self._tokenizer

    async def start(self) -> None:
        """Ask the server for its model, and load the tokenizer.

        :raises EngineError: if the server can't be asked.
        :raises ConfigError: if there is no tokenizer here.
        """
        async with self._lock:
            if self._tokenizer is None:
                card = await self._card()
                self._model = str(card["id"])
                length = card.get("max_model_len")
                self.max_length = length if isinstance(length, int) else None
                self._tokenizer = await to_thread.run_sync(self._load, str(card.get("root") or ""))

    async def _card(self) -> Mapping[str, Any]:
        answer = orjson.loads(await self._whole("GET", "/models"))
        cards = answer.get("data") or []
        for card in cards:
            if not self._model or card.get("id") == self._model:
                return dict(card)
        known = [card.get("id") for card in cards]
        raise EngineRefused(f"{self._url} has no model {self._model!r}; it has {known!r}")

    async def _whole(self, method: str, target: str) -> bytes:
        try:
            async with self._client.request(method, target, seconds=self._patience.connect_seconds) as exchange:
                body = await what_comes(exchange, seconds=self._patience.connect_seconds, max_bytes=4_000_000)
                if exchange.status != 200:
                    raise EngineRefused(f"{self._url}{target} answered {exchange.status}: {body[:300]!r}")
                return body
        except TransportError as error:
            raise EngineError(f"{self._url}: {error}") from error

    def _load(self, root: str) -> Any:
        name = self._tokenizer_name or (root if Path(root).is_dir() else "")
        if not name:
            raise ConfigError(
                f"{self._url} serves {self._model!r} from {root!r}, which is not on this machine: set the engine "
                "option `tokenizer` to a folder or a name of its tokenizer"
            )
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise ConfigError("a token-exact engine needs transformers: pip install 'agentrt[vllm-http]'") from error
        try:
            return AutoTokenizer.from_pretrained(name, trust_remote_code=self._trust)
        except (OSError, ValueError, LookupError, ImportError, AttributeError) as error:
            raise ConfigError(f"the tokenizer {name!r} can't be loaded: {error}") from error

    async def generate(self, ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[Tokens, None]:
        """Go on from ``ids``.

        :raises GrammarRefused: if the server does not take the tag.
        :raises EngineError: if it can't be asked, or gives no token ids.
        """
        body = orjson.dumps(self._body(ids, sampling))
        seconds = self._patience.first_token_seconds
        try:
            async with self._client.request("POST", "/completions", (body,), seconds=seconds) as exchange:
                if exchange.status != 200:
                    raise await self._refusal(exchange, sampling)
                async for tokens in self._read(exchange, tagged=bool(sampling.tag)):
                    yield tokens
        except TransportError as error:
            raise EngineError(f"{self._url}: {error}") from error

    def conversation(self, idle_seconds: float) -> Generates:
        """Never.

        :raises ConfigError: always.
        """
        raise ConfigError(
            f"{self._url} keeps no request between answers (its prefix cache may): leave out the engine option "
            "`resumable`, or run the model in process as vllm:MODEL"
        )

    def _body(self, ids: Sequence[int], sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": list(ids),
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
            "skip_special_tokens": False,
            "add_special_tokens": False,
            "stop_token_ids": list(sampling.stop_token_ids),
            "max_tokens": sampling.max_tokens,
            **sampling.options,
        }
        if sampling.temperature is not None:
            body["temperature"] = sampling.temperature
        if sampling.tag:
            body["structured_outputs"] = {"structural_tag": sampling.tag}
        if sampling.logprobs:
            body["logprobs"] = 0
        return {name: value for name, value in body.items() if value is not None}

    async def _refusal(self, exchange: Exchange, sampling: Sampling) -> Exception:
        said = await what_comes(exchange, seconds=self._patience.connect_seconds, max_bytes=MAX_ERROR_BYTES)
        text = said.decode("utf-8", "replace")[:500]
        if sampling.tag and exchange.status == 400 and _about_grammar(text):
            return GrammarRefused(text)
        kind = EngineRefused if 400 <= exchange.status < 500 else EngineError
        return kind(f"{self._url} answered {exchange.status}: {text}")

    async def _read(self, exchange: Exchange, *, tagged: bool) -> AsyncGenerator[Tokens, None]:
        """The tokens as they come. The last holds why it ended, and how much of the prompt was cached."""
        events, finish, cached = EventStream(), None, None
        while data := await exchange.read(self._patience.idle_seconds):
            for payload in events.feed(data):
                if payload.startswith(b"[DONE]"):
                    continue
                chunk = orjson.loads(payload)
                if "error" in chunk:
                    refused = tagged and _about_grammar(str(chunk["error"]))
                    raise (
                        GrammarRefused(str(chunk["error"]))
                        if refused
                        else EngineError(f"{self._url}: {chunk['error']}")
                    )
                details = (chunk.get("usage") or {}).get("prompt_tokens_details") or {}
                cached = details.get("cached_tokens", cached)
                for choice in chunk.get("choices") or ():
                    if choice.get("token_ids") is None:
                        raise EngineError(f"{self._url} gives no token ids; use http://HOST:PORT/v1#MODEL instead")
                    finish = choice.get("finish_reason") or finish
                    yield Tokens(tuple(choice["token_ids"]), None, None, _logprobs(choice))
        yield Tokens((), "stop" if finish == "stop" else "length" if finish == "length" else "cut", cached)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _about_grammar(text: str) -> bool:
    return any(word in text.lower() for word in _ABOUT_GRAMMAR)


def _logprobs(choice: Mapping[str, Any]) -> tuple[float, ...]:
    told = (choice.get("logprobs") or {}).get("token_logprobs") or ()
    return tuple(float(value) for value in told if value is not None)
