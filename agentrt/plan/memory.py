"""What fits on a GPU: the weights' share of each parallel layout, what is left for the cache, and how many sessions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from agentrt.plan.gpus import Gpu
from agentrt.plan.shapes import Layer, Part, Quantisation, Shape


@dataclass(frozen=True, slots=True)
class Layout:
    """How one copy of a model lies over GPUs, in vLLM's words.

    ``tp`` cuts every matrix (inside a node), ``pp`` puts runs of layers on different nodes, ``dp`` gives whole
    attention to each rank and spreads the experts over all of them (with ``ep``), ``dcp`` spreads the cache of one
    session over tensor-parallel ranks that would otherwise each hold it.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    dcp: int = 1
    ep: bool = False

    @property
    def gpus(self) -> int:
        """GPUs for one copy."""
        return self.tp * self.pp * self.dp

    def share(self, part: Part) -> float:
        """How much of a part lies on one GPU of the stage that has its layer."""
        if part.kind in ("experts", "expert_bias"):
            return 1 / (self.tp * self.dp)
        return 1.0 if part.replicated else 1 / self.tp


def stages(shape: Shape, pp: int) -> Iterator[list[Layer]]:
    """The layers of each pipeline stage: equal runs, the first ones a layer longer where it doesn't divide."""
    layers = shape.each_layer()
    short, longer = divmod(shape.depth, pp)
    for stage in range(pp):
        yield list(islice(layers, short + (stage < longer)))


@dataclass(frozen=True, slots=True)
class Fit:
    """The memory of the fullest GPU of one copy, in bytes.

    ``session_bytes`` is what one session of the full context takes there. ``sessions`` is how many fit in one copy.
    """

    layout: Layout
    weight_bytes: float
    budget_bytes: float
    session_bytes: float

    @property
    def kv_bytes(self) -> float:
        """What is left for caches; negative where not even the weights fit."""
        return self.budget_bytes - self.weight_bytes

    @property
    def sessions(self) -> int:
        """Sessions of the full context whose caches fit in one copy, all data-parallel ranks together."""
        return max(0, int(self.kv_bytes // self.session_bytes)) * self.layout.dp


def fit(
    shape: Shape,
    quantisation: Quantisation,
    gpu: Gpu,
    layout: Layout,
    *,
    context: int,
    kv_value_bytes: float = 2.0,
    utilisation: float = 0.9,
    load_factor: float = 1.0,
) -> Fit:
    """What one copy leaves for caches, given ``utilisation``, the share of the memory that vLLM may take."""
    runs = list(stages(shape, layout.pp))
    ends = (quantisation.bytes_of(Part("embedding", shape.embedding)), quantisation.bytes_of(Part("head", shape.head)))
    weights = [sum(_layer_bytes(layer, quantisation, layout) for layer in run) for run in runs]
    weights[0] += ends[0] / layout.tp
    weights[-1] += ends[1] / layout.tp
    caches = [sum(_cache_bytes(layer, layout, context, kv_value_bytes) for layer in run) for run in runs]
    return Fit(
        layout=layout,
        weight_bytes=max(weights) * load_factor,
        budget_bytes=gpu.memory_bytes * utilisation - gpu.runtime_bytes,
        session_bytes=max(caches),
    )


def _layer_bytes(layer: Layer, quantisation: Quantisation, layout: Layout) -> float:
    return sum(quantisation.bytes_of(part) * layout.share(part) for part in layer.parts)


def cache_share(layer: Layer, layout: Layout) -> float:
    """How much of a session's cache in this layer lies on one GPU: a latent cache is whole on every rank."""
    split = layout.dcp if layer.attention.mode == "latent" else min(layout.tp, layer.attention.kv_heads)
    return 1 / split


def _cache_bytes(layer: Layer, layout: Layout, context: int, value_bytes: float) -> float:
    attention = layer.attention
    whole = attention.token_values * attention.cached_tokens(context) * value_bytes + attention.state_bytes
    return whole * cache_share(layer, layout)


def layouts(shape: Shape, quantisation: Quantisation, gpu: Gpu, *, dcp: bool, limit: int) -> list[Layout]:
    """Every layout of one copy on at most ``limit`` GPUs.

    Tensor parallel inside a node, then pipeline over nodes; for mixtures of experts also data-parallel attention with
    the experts spread over one node. Experts spread over several nodes are left out: their pace hangs on a network that
    no datasheet here describes.
    """
    sizes = [tp for tp in (1, 2, 4, 8) if tp <= gpu.per_node and shape.heads % tp == 0]
    found = [_tensor(shape, quantisation, tp, 1, dcp=dcp) for tp in sizes if tp <= limit]
    widest = sizes[-1]
    if widest == gpu.per_node:
        deepest = min(shape.depth, limit // widest)
        found += [_tensor(shape, quantisation, widest, pp, dcp=dcp) for pp in range(2, deepest + 1)]
    if shape.experts:
        found += [Layout(dp=dp, ep=True) for dp in (2, 4, 8) if dp <= min(limit, gpu.per_node, shape.experts)]
    return found


def _tensor(shape: Shape, quantisation: Quantisation, tp: int, pp: int, *, dcp: bool) -> Layout:
    """Tensor parallelism; experts stay whole (``ep``) where cutting them would cut a block that shares a scale."""
    cuts_blocks = "experts" in quantisation.kinds and (shape.expert_width / tp) % quantisation.block != 0
    return Layout(tp, pp, 1, tp if dcp and shape.latent else 1, ep=bool(shape.experts) and cuts_blocks)
