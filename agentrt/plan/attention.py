"""The attention of one layer: its tensors, and what it caches, for the kinds that current models use."""

from __future__ import annotations

from agentrt.plan.fields import Config, size
from agentrt.plan.shapes import Attention, Part

Built = tuple[list[Part], Attention]

STATE_BYTES = 4
"""Bytes of a value in a linear layer's recurrent state: float32 (``mamba_ssm_dtype`` of Qwen3.5's config)."""


def build(family: str, text: Config, index: int) -> Built:
    """The attention tensors of layer ``index`` (from 0), and its cache."""
    linear: Config | None = text.get("linear_attn_config")
    if linear is not None and index + 1 in linear["kda_layers"]:
        return _kimi_delta(text, linear)
    if text.get("kv_lora_rank"):
        return _latent(text)
    kinds = text.get("layer_types")
    kind = kinds[index] if kinds else "full_attention"
    if kind == "linear_attention":
        return _gated_delta(text)
    return _grouped(family, text, sliding=kind == "sliding_attention")


def _grouped(family: str, text: Config, *, sliding: bool) -> Built:
    """Grouped-query attention (arXiv:2305.13245); an output gate doubles the query projection in Qwen3.5."""
    hidden, heads = size(text, "hidden_size"), size(text, "num_attention_heads")
    groups = size(text, "num_key_value_heads", "num_attention_heads")
    width = size(text, "head_dim") if text.get("head_dim") else hidden // heads
    gate = 2 if text.get("attn_output_gate") else 1
    query, keys = heads * width, groups * width
    parts = [Part("attention", hidden * (query * gate + 2 * keys + query))]
    biases = _biases(family, text, query, keys)
    if biases:
        parts.append(Part("small", biases))
    flops = 4 * query
    cache = Attention(
        mode="sliding" if sliding else "full",
        token_values=2 * keys,
        kv_heads=groups,
        window=size(text, "sliding_window") if sliding else None,
        prefill_flops=flops,
        decode_flops=flops,
    )
    return parts, cache


def _biases(family: str, text: Config, query: int, keys: int) -> int:
    if family == "gpt_oss":  # on every projection, and one sink for each head
        return query + 2 * keys + size(text, "hidden_size") + size(text, "num_attention_heads")
    return query + 2 * keys if text.get("attention_bias", family == "qwen2") else 0


def _latent(text: Config) -> Built:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1).

    The down projections are replicated on every rank, and so is the cached vector; decoding attends in the latent
    space, prefilling in the heads' own.
    """
    hidden, heads = size(text, "hidden_size"), size(text, "num_attention_heads")
    rank, rope = size(text, "kv_lora_rank"), size(text, "qk_rope_head_dim")
    key, value = size(text, "qk_nope_head_dim") + rope, size(text, "v_head_dim")
    down, up = hidden * (rank + rope), rank * heads * (size(text, "qk_nope_head_dim") + value)
    query_rank = int(text.get("q_lora_rank") or 0)
    if query_rank:
        down += hidden * query_rank
        up += query_rank * heads * key
    else:
        up += hidden * heads * key
    if text.get("mla_use_output_gate"):
        up += hidden * heads * value
    up += heads * value * hidden
    parts = [Part("attention", down, replicated=True), Part("attention", up)]
    cache = Attention(
        mode="latent",
        token_values=rank + rope,
        prefill_flops=2 * heads * (key + value),
        decode_flops=2 * heads * (2 * rank + rope),
    )
    return parts, cache


def _kimi_delta(text: Config, linear: Config) -> Built:
    """Kimi Delta Attention (arXiv:2510.26692): q, k, v, their convolutions, decay, write strength, gate and output."""
    hidden, heads, width = size(text, "hidden_size"), size(linear, "num_heads"), size(linear, "head_dim")
    inner = heads * width
    gate = hidden * inner if linear.get("use_full_rank_gate") else hidden * width + width * inner
    decay = hidden * width + width * inner
    convolutions = 3 * inner * size(linear, "short_conv_kernel_size")
    parts = [
        Part("attention", 3 * hidden * inner + gate + decay + hidden * heads + inner * hidden),
        Part("small", convolutions + inner + heads + width),
    ]
    state = heads * width * width * STATE_BYTES + 3 * inner * (size(linear, "short_conv_kernel_size") - 1) * STATE_BYTES
    return parts, Attention(mode="linear", kv_heads=heads, state_bytes=state)


def _gated_delta(text: Config) -> Built:
    """Gated DeltaNet (arXiv:2412.06464) as Qwen3-Next and Qwen3.5 use it."""
    hidden = size(text, "hidden_size")
    key_heads, value_heads = size(text, "linear_num_key_heads"), size(text, "linear_num_value_heads")
    key, value = size(text, "linear_key_head_dim"), size(text, "linear_value_head_dim")
    mixed, inner = 2 * key_heads * key + value_heads * value, value_heads * value
    kernel = size(text, "linear_conv_kernel_dim")
    parts = [
        Part("attention", hidden * (mixed + inner + 2 * value_heads) + inner * hidden),
        Part("small", mixed * kernel + 2 * value_heads + value),
    ]
    state = value_heads * key * value * STATE_BYTES + mixed * (kernel - 1) * 2
    return parts, Attention(mode="linear", kv_heads=value_heads, state_bytes=state)
