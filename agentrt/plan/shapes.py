"""A model's shape: its tensors counted by kind, and what one token and one session cost in the KV cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["embedding", "head", "attention", "dense", "shared", "router", "experts", "expert_bias", "small"]
Mode = Literal["full", "sliding", "latent", "linear"]


@dataclass(frozen=True, slots=True)
class Part:
    """Tensors of one kind in one layer; ``replicated`` if every tensor-parallel rank holds them whole."""

    kind: Kind
    parameters: int
    replicated: bool = False


@dataclass(frozen=True, slots=True)
class Attention:
    """What one layer keeps of a session, and what attending to it costs.

    ``token_values`` are cached per token: 2 x kv_heads x head_dim for grouped-query attention, kv_lora_rank +
    qk_rope_head_dim (512 + 64) for latent attention (DeepSeek-V2, section 2.1.2), none for linear attention, which
    keeps ``state_bytes`` per session instead. ``kv_heads`` says over how many ranks the cache splits (1: not at all).
    The FLOPs are per new token and position attended to, multiply and add counted as two.
    """

    mode: Mode
    token_values: int = 0
    kv_heads: int = 1
    window: int | None = None
    state_bytes: int = 0
    prefill_flops: int = 0
    decode_flops: int = 0

    def cached_tokens(self, context: int) -> int:
        """How many of ``context`` tokens this layer keeps."""
        if self.mode == "linear":
            return 0
        return context if self.window is None else min(context, self.window)


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer."""

    parts: tuple[Part, ...]
    attention: Attention

    def parameters(self, *kinds: Kind) -> int:
        """The parameters of these kinds, or all of them."""
        return sum(part.parameters for part in self.parts if not kinds or part.kind in kinds)


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder as runs of equal layers, in order, with its embedding and output matrices.

    ``head`` is 0 where the output matrix is the embedding (tied). ``mtp`` are the multi-token-prediction parameters in
    the checkpoint, which vLLM loads only for speculative decoding; ``vision`` those of an image encoder, which
    ``--language-model-only`` leaves out. Neither is in :meth:`total`.
    """

    family: str
    layers: tuple[tuple[Layer, int], ...]
    hidden: int
    heads: int
    embedding: int
    head: int
    experts: int
    top_k: int
    expert_width: int
    max_context: int
    mtp: int = 0
    vision: int = 0

    def each_layer(self) -> Iterator[Layer]:
        """Every layer, first to last."""
        for layer, count in self.layers:
            for _ in range(count):
                yield layer

    @property
    def depth(self) -> int:
        """The number of layers."""
        return sum(count for _, count in self.layers)

    @property
    def latent(self) -> bool:
        """Whether any layer keeps its cache as one latent vector, which tensor parallelism can't split."""
        return any(layer.attention.mode == "latent" for layer, _ in self.layers)

    def total(self) -> int:
        """All parameters of the language model."""
        return sum(layer.parameters() * count for layer, count in self.layers) + self.embedding + self.head

    def active(self, *, embedding: bool = False, head: bool = True) -> int:
        """The parameters that one token is multiplied with.

        A lookup in the embedding reads one row, so it is not counted unless asked for; vendors differ (see
        :mod:`agentrt.plan.published`). A tied output matrix counts as the head.
        """
        in_layers = sum(self._active_in(layer) * count for layer, count in self.layers)
        output = self.head or self.embedding
        extra = self.embedding if embedding and self.head else 0
        return in_layers + extra + (output if head else 0)

    def _active_in(self, layer: Layer) -> int:
        routed = layer.parameters("experts", "expert_bias")
        used = routed * self.top_k // self.experts if self.experts else 0
        return layer.parameters() - routed + used

    def kv_token_bytes(self, value_bytes: float = 2.0, *, windows: bool = False) -> float:
        """KV bytes that one more token of one session costs, over all layers and before any replication.

        With ``windows``, layers whose sliding window is already full add nothing.
        """
        kept = ((layer.attention, count) for layer, count in self.layers)
        return sum(a.token_values * n * value_bytes for a, n in kept if not (windows and a.window is not None))

    def kv_session_bytes(self, context: int, value_bytes: float = 2.0) -> float:
        """KV and state bytes of one session at ``context`` tokens, over all layers and before any replication."""
        per_layer = (
            (layer.attention.token_values * layer.attention.cached_tokens(context) * value_bytes, layer, count)
            for layer, count in self.layers
        )
        return sum((cache + layer.attention.state_bytes) * count for cache, layer, count in per_layer)


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How many bytes a parameter takes: ``packed_bytes``, scales included, for ``kinds``, else two (bfloat16).

    ``block`` is the group along a matrix's columns that tensor parallelism must not cut.
    """

    name: str
    packed_bytes: float = 2.0
    kinds: frozenset[Kind] = frozenset()
    block: int = 1

    def bytes_of(self, part: Part) -> float:
        """The bytes of this part's tensors."""
        return part.parameters * (self.packed_bytes if part.kind in self.kinds else 2.0)


LINEAR: frozenset[Kind] = frozenset({"attention", "dense", "shared", "experts"})
EXPERTS: frozenset[Kind] = frozenset({"experts"})

BF16 = Quantisation("bf16")
FP8 = Quantisation("fp8", 1 + 4 / 128**2, LINEAR, block=128)  # a float32 scale for each 128 x 128 block
MXFP4 = Quantisation("mxfp4", 0.5 + 1 / 32, EXPERTS, block=32)  # an 8-bit exponent for each 32 values (OCP MX 1.0)


def int4(group: int = 32, kinds: frozenset[Kind] = EXPERTS) -> Quantisation:
    """Four-bit integers with a bfloat16 scale for each ``group`` of values."""
    return Quantisation("int4", 0.5 + 2 / group, kinds, block=group)


def nvfp4(kinds: frozenset[Kind] = EXPERTS) -> Quantisation:
    """NVIDIA's four-bit floats with an 8-bit scale for each 16 values."""
    return Quantisation("nvfp4", 0.5 + 1 / 16, kinds, block=16)


def checkpoint_bytes(shape: Shape, quantisation: Quantisation, *, mtp: bool = False) -> float:
    """Bytes of the language model's weights; with ``mtp`` those of the prediction modules too."""
    ends = (Part("embedding", shape.embedding), Part("head", shape.head))
    total = sum(quantisation.bytes_of(part) for part in ends)
    total += sum(quantisation.bytes_of(part) * count for layer, count in shape.layers for part in layer.parts)
    if mtp and shape.mtp:
        kind: Kind = "experts" if shape.experts else "dense"
        total += quantisation.bytes_of(Part(kind, shape.mtp))
    return total
