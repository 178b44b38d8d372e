"""The model: Kimi K2's architecture (DeepSeek-V3's) at two million parameters, and its training-time router balance."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter

BALANCE_STEP = 0.001
EMBEDDING_STD = 0.3
HEAD_STD = 0.08
COPY_GAIN = 5.0
LOOK_BACK = 6.0
# The dimensions of the residual stream at the start: the part of a token that is noted, one that is the same for
# every token, and room for the notes of the token before and the one before that, which embeddings leave free.
NOTE = 16
TOKEN, CONSTANT, BEFORE, BEFORE_THAT = slice(0, NOTE), 95, slice(96, 96 + NOTE), slice(112, 112 + NOTE)


def make_config(vocabulary: int, *, end: int, pad: int, start: int) -> DeepseekV3Config:
    """K2's settings, small. The latent rank and the rotary size are K2's own: vLLM's CPU kernel knows only these."""
    return DeepseekV3Config(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=256,
        moe_intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        n_routed_experts=16,
        num_experts_per_tok=2,
        n_shared_experts=1,
        first_k_dense_replace=1,
        n_group=1,
        topk_group=1,
        norm_topk_prob=True,
        routed_scaling_factor=1.0,
        scoring_func="sigmoid",  # these two are only read by vLLM
        topk_method="noaux_tc",
        kv_lora_rank=512,
        q_lora_rank=96,
        qk_rope_head_dim=64,
        qk_nope_head_dim=32,
        v_head_dim=32,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
        initializer_range=0.08,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=pad,
        use_cache=True,
    )


def make_model(config: DeepseekV3Config) -> DeepseekV3ForCausalLM:
    """A fresh model that can already copy: its attention starts as an induction head (arXiv:2209.11895).

    Copying is most of what calling a tool takes, and two million parameters need very long to find out how. So the
    value path of every layer starts as the identity, and the head as the embedding: to look at a token is to say it.
    In the first layer two heads look one and two tokens back, and note what they see; in the others two heads look
    for places where this token, or this one after the same one, was noted. All of it is trained further.
    """
    model = DeepseekV3ForCausalLM._from_config(config, experts_implementation="grouped_mm")
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight.normal_(std=EMBEDDING_STD)
        embedding[:, BEFORE] = embedding[:, BEFORE_THAT] = 0.0
        model.lm_head.weight.copy_(embedding * (HEAD_STD / EMBEDDING_STD))
        embedding[:, CONSTANT] = 2.0
        for name, param in model.named_parameters():
            if "down_proj" in name:
                param.mul_(0.1)
        for number, layer in enumerate(model.model.layers):
            _wire_values(layer.self_attn, config)
            if number == 0:
                _wire_notes(layer.self_attn, config)
            else:
                _wire_induction(layer.self_attn, config)
    return model


def _wire_values(attention: nn.Module, config: DeepseekV3Config) -> None:
    """Let each head pass on its share of what it looks at; let queries see the constant, the token and the note."""
    width, size = config.hidden_size, config.v_head_dim
    attention.kv_a_proj_with_mqa.weight[:width] = torch.eye(width)
    for head in range(config.num_attention_heads):
        _values(attention, config, head)[:, head * size : (head + 1) * size] = torch.eye(size)
    attention.o_proj.weight.copy_(0.3 * torch.eye(width))
    seen = torch.zeros(1 + 2 * NOTE, width)
    seen[0, CONSTANT] = 1.0
    seen[1 : 1 + NOTE, TOKEN] = torch.eye(NOTE)
    seen[1 + NOTE :, BEFORE] = torch.eye(NOTE)
    attention.q_a_proj.weight[: 1 + 2 * NOTE] = seen


def _values(attention: nn.Module, config: DeepseekV3Config, head: int) -> torch.Tensor:
    """What the head reads from the latent as its value, emptied."""
    rows = attention.kv_b_proj.weight.view(config.num_attention_heads, -1, config.kv_lora_rank)[head]
    return rows[config.qk_nope_head_dim :].zero_()


def _wire_notes(attention: nn.Module, config: DeepseekV3Config) -> None:
    """Heads 0 and 1 look one and two tokens back, by rotary position alone, and note those tokens' first dimensions."""
    nope, pairs, size = config.qk_nope_head_dim, 5, config.v_head_dim
    keys = attention.kv_a_proj_with_mqa.weight[config.kv_lora_rank :]
    keys[: 2 * pairs] = 0.0
    keys[0 : 2 * pairs : 2, CONSTANT] = 1.0
    turn = config.rope_parameters["rope_theta"] ** (-torch.arange(pairs) / (config.qk_rope_head_dim // 2))
    for head, place in enumerate((BEFORE, BEFORE_THAT)):
        queries = attention.q_b_proj.weight.view(config.num_attention_heads, -1, config.q_lora_rank)[head].zero_()
        back = (head + 1) * turn
        queries[nope : nope + 2 * pairs : 2, 0] = LOOK_BACK * torch.cos(back)
        queries[nope + 1 : nope + 2 * pairs : 2, 0] = -LOOK_BACK * torch.sin(back)
        _values(attention, config, head)[:NOTE, TOKEN] = torch.eye(NOTE)
        attention.o_proj.weight[:, head * size : (head + 1) * size] = 0.0
        attention.o_proj.weight[place, head * size : head * size + NOTE] = 0.3 * torch.eye(NOTE)


def _wire_induction(attention: nn.Module, config: DeepseekV3Config) -> None:
    """Head 0 looks for places that noted this token and the one before it, head 1 for those that noted this one."""
    nope = config.qk_nope_head_dim
    queries = attention.q_b_proj.weight.view(config.num_attention_heads, -1, config.q_lora_rank)
    keys = attention.kv_b_proj.weight.view(config.num_attention_heads, -1, config.kv_lora_rank)
    attention.o_proj.weight[:, : 2 * config.v_head_dim] *= COPY_GAIN
    for head, (strength, places) in enumerate(((4.0, (BEFORE, BEFORE_THAT)), (6.0, (BEFORE,)))):
        queries[head, :nope] = 0.0
        keys[head, :nope] = 0.0
        for part, place in enumerate(places):
            rows = slice(part * NOTE, (part + 1) * NOTE)
            queries[head, rows, 1 + part * NOTE : 1 + (part + 1) * NOTE] = strength * torch.eye(NOTE)
            keys[head, rows, place] = strength * torch.eye(NOTE)


def balance(model: DeepseekV3ForCausalLM) -> None:
    """Let every router push its bias towards the experts that were chosen too rarely (arXiv:2408.15664).

    The bias only decides who is chosen, not with what weight: it needs no loss of its own.
    """

    def after(router: DeepseekV3TopkRouter, _: object, output: tuple[torch.Tensor, ...]) -> None:
        if router.training:
            chosen = functional.one_hot(output[2], router.num_experts).sum((0, 1)).float()
            router.e_score_correction_bias += BALANCE_STEP * torch.sign(chosen.mean() - chosen)

    for module in model.modules():
        if isinstance(module, DeepseekV3TopkRouter):
            module.register_forward_hook(after)
