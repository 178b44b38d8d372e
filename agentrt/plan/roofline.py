"""How fast one copy of a model could be: a roofline for prefill and decode, and the pace of a whole turn.

A roofline (Williams et al., CACM 52(4), 2009) takes the slower of arithmetic and memory traffic. Real servers reach a
fraction of both; :class:`Pace` holds the fractions assumed, and docs/plan.md sets them beside public measurements.
Nothing here was measured by us on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from agentrt.errors import ConfigError
from agentrt.plan.gpus import Gpu
from agentrt.plan.memory import Layout, cache_share
from agentrt.plan.shapes import Layer, Part, Quantisation, Shape


@dataclass(frozen=True, slots=True)
class Pace:
    """What a server reaches of the datasheet, and what each step costs beside the roofline.

    ``compute`` is a share of the dense BF16 peak, for every weight format: published FP8 serving does not show the
    doubled peak. ``step_seconds`` is scheduling, sampling and launches; ``exchange_seconds`` one all-reduce or
    all-to-all over NVLink, ``hop_seconds`` one without it or a hand-over to the next node. ``chunk`` is the tokens of
    a prefill step.
    """

    compute: float = 0.25
    bandwidth: float = 0.6
    step_seconds: float = 2e-3
    exchange_seconds: float = 15e-6
    hop_seconds: float = 50e-6
    chunk: int = 8192

    def __post_init__(self) -> None:
        for name, share in (("--compute-efficiency", self.compute), ("--bandwidth-efficiency", self.bandwidth)):
            if not 0 < share <= 1:
                raise ConfigError(f"{name} is a share of the datasheet, more than 0 and at most 1, not {share!r}")


@dataclass(frozen=True, slots=True)
class Step:
    """One decode step: every running session gets one token."""

    seconds: float
    bound: Literal["memory", "compute"]
    weight_bytes: float
    cache_bytes: float
    experts_touched: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of each of ``batch`` sessions that one copy serves at once, every session with a full context."""

    batch: float
    seconds: float
    first_token_seconds: float
    decode_seconds: float
    prefill_tokens: float
    output_tokens: int

    @property
    def turns_per_second(self) -> float:
        """Turns that one copy finishes each second."""
        return self.batch / self.seconds

    @property
    def session_tokens_per_second(self) -> float:
        """Output tokens each second as one session sees them, its prefill included."""
        return self.output_tokens / self.seconds

    @property
    def tokens_per_second(self) -> float:
        """Output tokens each second of one copy."""
        return self.batch * self.output_tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Roofline:
    """The speed of one model on one GPU type in one layout."""

    shape: Shape
    quantisation: Quantisation
    gpu: Gpu
    layout: Layout
    pace: Pace
    kv_value_bytes: float = 2.0

    def decode(self, batch: float, context: int) -> Step:
        """The step that gives each of ``batch`` sessions of ``context`` tokens one token.

        With a pipeline, as many groups of sessions as there are stages are on their way at once, so each step reads
        the weights for one group.
        """
        group = max(1.0, batch / self.layout.pp)
        weights = self._weight_traffic(group)
        cache = self._cache_traffic(group, context)
        memory = (weights + cache) / (self.gpu.bandwidth * self.pace.bandwidth)
        compute = self._decode_flops(group, context) / (self.gpu.bf16_flops * self.pace.compute)
        return Step(
            seconds=max(memory, compute) + self._overhead(),
            bound="memory" if memory >= compute else "compute",
            weight_bytes=weights,
            cache_bytes=cache,
            experts_touched=expected_experts(self.shape.experts, self.shape.top_k, group),
        )

    def prefill_seconds(self, context: int) -> float:
        """Seconds that one copy works on each new prompt token, at the end of a context of ``context`` tokens."""
        flops = 2 * self.shape.active(head=False) + sum(
            layer.attention.prefill_flops * layer.attention.cached_tokens(context) for layer in self.shape.each_layer()
        )
        compute = flops / (self.layout.gpus * self.gpu.bf16_flops * self.pace.compute)
        whole = self._weight_traffic(self.pace.chunk) / (self.gpu.bandwidth * self.pace.bandwidth)
        return max(compute, whole / self.pace.chunk / self.layout.pp)

    def turn(self, batch: float, context: int, prefill_tokens: float, output_tokens: int) -> Turn:
        """A turn when ``batch`` sessions are in the server at once: each waits for everyone's prefill in between."""
        running = max(1.0, batch)
        per_token = self.prefill_seconds(context)
        step = self.decode(running, context)
        decode = step.seconds * output_tokens
        return Turn(
            batch=batch,
            seconds=running * prefill_tokens * per_token + decode,
            first_token_seconds=prefill_tokens * per_token * self.layout.pp + step.seconds,
            decode_seconds=step.seconds,
            prefill_tokens=prefill_tokens,
            output_tokens=output_tokens,
        )

    def _weight_traffic(self, group: float) -> float:
        """Bytes of weights that one GPU per stage reads for a step of ``group`` tokens, summed over the stages."""
        touched = expected_experts(self.shape.experts, self.shape.top_k, group) / max(1, self.shape.experts)
        output = Part("head", self.shape.head or self.shape.embedding)
        total = self.quantisation.bytes_of(output) / self.layout.tp
        for part, count in self._parts():
            read = touched if part.kind in ("experts", "expert_bias") else 1.0
            total += self.quantisation.bytes_of(part) * self.layout.share(part) * count * read
        return total

    def _cache_traffic(self, group: float, context: int) -> float:
        """Bytes of cache read; a recurrent state is read and written."""
        total = 0.0
        for layer, count in self.shape.layers:
            attention = layer.attention
            read = attention.token_values * attention.cached_tokens(context) * self.kv_value_bytes
            total += (read + 2 * attention.state_bytes) * count * cache_share(layer, self.layout)
        return total * group / self.layout.dp

    def _decode_flops(self, group: float, context: int) -> float:
        ranks = self.layout.tp * self.layout.dp
        attention = sum(
            layer.attention.decode_flops * layer.attention.cached_tokens(context) * count
            for layer, count in self.shape.layers
        )
        return group * (2 * self.shape.active() + attention) / ranks

    def _overhead(self) -> float:
        exchanges = 2 * self.shape.depth if self.layout.gpus > self.layout.pp else 0
        each = self.pace.exchange_seconds if self.gpu.nvlink else self.pace.hop_seconds
        return self.pace.step_seconds + exchanges * each + (self.layout.pp - 1) * self.pace.hop_seconds

    def _parts(self) -> Iterator[tuple[Part, int]]:
        for layer, count in self.shape.layers:
            for part in _heavy(layer):
                yield part, count


def _heavy(layer: Layer) -> Iterator[Part]:
    return (part for part in layer.parts if part.parameters)


def expected_experts(experts: int, top_k: int, tokens: float) -> float:
    """How many of ``experts`` a batch of ``tokens`` touches in one layer if each picks ``top_k`` at random.

    Each token misses an expert with probability 1 - k/E, so E (1 - (1 - k/E)^tokens) are hit. Trained routers are
    balanced, not uniform within one batch, so the real number is a little lower.
    """
    return experts * (1 - (1 - top_k / experts) ** tokens) if experts else 0.0
