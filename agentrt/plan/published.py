"""The published models: their configs' sizes, what their cards say of themselves, and where that was read.

Sizes were copied from the configs named in ``source``; everything else is computed from them. ``card`` figures are
there to check the computation against, by the vendor's own way of counting: OpenAI counts the output matrix as active
and the embedding not (arXiv:2508.10925, table 1); Zhipu leaves out both and adds the prediction module to the total
(arXiv:2508.06471, table 1); Qwen counts both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Card:
    """What the vendor publishes, as printed; None where no figure could be read at the source."""

    total: float
    active: float
    weight_bytes: float | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """One published checkpoint.

    ``load_factor`` is how much more than its file the weights take on a GPU, where logs of vLLM show it.
    ``api`` are the (provider, model) names under which genai-prices lists it; ``variants`` are checkpoints stored
    otherwise, by quantisation. ``unverified`` names what could not be read at a source.
    """

    name: str
    model_id: str
    config: Mapping[str, Any]
    card: Card
    source: str
    tool_parser: str | None
    reasoning_parser: str | None = None
    parser_source: str = "vllm-project/recipes, models/"
    load_factor: float = 1.0
    api: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    extra_flags: tuple[str, ...] = ()
    variants: Mapping[str, str] = field(default_factory=dict)
    unverified: tuple[str, ...] = ()


def _deepseek(**sizes: Any) -> dict[str, Any]:
    """The sizes that DeepSeek-V3 and every Kimi K2 share."""
    return {
        "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
        "num_hidden_layers": 61, "n_shared_experts": 1, "num_experts_per_tok": 8, "q_lora_rank": 1536,
        "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, **sizes,
    }  # fmt: skip


def _kimi_k2(**sizes: Any) -> dict[str, Any]:
    return _deepseek(
        model_type="kimi_k2", n_routed_experts=384, num_attention_heads=64, first_k_dense_replace=1,
        vocab_size=163_840, num_nextn_predict_layers=0, **sizes,
    )  # fmt: skip


def _qwen3_moe(**sizes: Any) -> dict[str, Any]:
    return {
        "model_type": "qwen3_moe", "num_experts": 128, "num_experts_per_tok": 8, "head_dim": 128,
        "num_key_value_heads": 4, "vocab_size": 151_936, "decoder_sparse_step": 1, **sizes,
    }  # fmt: skip


def _glm4(**sizes: Any) -> dict[str, Any]:
    return {
        "model_type": "glm4_moe", "num_attention_heads": 96, "num_key_value_heads": 8, "head_dim": 128,
        "n_shared_experts": 1, "num_experts_per_tok": 8, "vocab_size": 151_552, "attention_bias": True,
        "num_nextn_predict_layers": 1, **sizes,
    }  # fmt: skip


def _gpt_oss(depth: int, experts: int) -> dict[str, Any]:
    return {
        "model_type": "gpt_oss", "num_hidden_layers": depth, "num_local_experts": experts, "num_experts_per_tok": 4,
        "hidden_size": 2880, "intermediate_size": 2880, "head_dim": 64, "num_attention_heads": 64,
        "num_key_value_heads": 8, "vocab_size": 201_088, "max_position_embeddings": 131_072, "sliding_window": 128,
        "attention_bias": True, "layer_types": ["sliding_attention", "full_attention"] * (depth // 2),
        "quantization_config": {"quant_method": "mxfp4"},
    }  # fmt: skip


_FP8_BLOCKS = {"quant_method": "fp8", "weight_block_size": [128, 128]}
_K2_INT4 = {
    "quant_method": "compressed-tensors", "format": "pack-quantized",
    "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}},
    "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"],
}  # fmt: skip
_K2_VISION = {"vt_hidden_size": 1152, "vt_intermediate_size": 4304, "vt_num_hidden_layers": 27}
_QWEN35 = {
    "model_type": "qwen3_5_moe",
    "text_config": {
        "model_type": "qwen3_5_moe_text", "hidden_size": 2048, "num_hidden_layers": 40, "num_attention_heads": 16,
        "num_key_value_heads": 2, "head_dim": 256, "attn_output_gate": True, "num_experts": 256,
        "num_experts_per_tok": 8, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "vocab_size": 248_320,
        "max_position_embeddings": 262_144, "mtp_num_hidden_layers": 1,
        "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 10,
    },
    "vision_config": {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304},
}  # fmt: skip
_K3 = {
    "model_type": "kimi_k3",
    "text_config": {
        "model_type": "kimi_linear", "hidden_size": 7168, "intermediate_size": 33_792, "num_hidden_layers": 93,
        "num_attention_heads": 96, "num_key_value_heads": 96, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "mla_use_output_gate": True,
        "num_experts": 896, "num_experts_per_token": 16, "num_shared_experts": 2, "moe_intermediate_size": 3072,
        "routed_expert_hidden_size": 3584, "first_k_dense_replace": 1, "vocab_size": 163_840,
        "max_position_embeddings": 1_048_576,
        "linear_attn_config": {
            "num_heads": 96, "head_dim": 128, "short_conv_kernel_size": 4, "use_full_rank_gate": True,
            "kda_layers": [layer for layer in range(1, 93) if layer % 4],
        },
        "quantization_config": {"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized"},
    },
    "vision_config": _K2_VISION,
}  # fmt: skip
_K2_CARD = "Kimi-K2 model card (1T, 32B, 384 experts, 8 of them used); 1043B in arXiv:2508.06471, table 1"
_K2_SOURCE = "config.json of Kimi-K2.5 as in MoonshotAI/Kimi-Vendor-Verifier (same text sizes); NVIDIA KimiK2Provider"
_GPT_OSS_CARD = "gpt-oss model card, arXiv:2508.10925, table 1"
_GLM_4_7 = _glm4(
    hidden_size=5120, intermediate_size=12_288, moe_intermediate_size=1536, num_hidden_layers=92,
    n_routed_experts=160, first_k_dense_replace=3, max_position_embeddings=202_752,
)  # fmt: skip
_GLM_CARD = "GLM-4.5 report, arXiv:2508.06471, table 1"
_GLM_SOURCE = "THUDM/slime scripts/models/glm4.5-355B-A32B.sh; NVIDIA Megatron-Bridge docs, GLM 4.5"

MODELS: tuple[Published, ...] = (
    Published(
        "kimi-k2", "moonshotai/Kimi-K2-Instruct-0905",
        _kimi_k2(max_position_embeddings=262_144, quantization_config=_FP8_BLOCKS),
        Card(1.043e12, 32e9, 1.03e12, f"{_K2_CARD}; 1.03 TB on the hub"), _K2_SOURCE,
        "kimi_k2", api=("moonshotai", "kimi-k2-0905-preview"),
        notes=("Kimi-K2-Instruct (July 2025) is the same size, with a context of 131,072",),
    ),
    Published(
        "kimi-k2-thinking", "moonshotai/Kimi-K2-Thinking",
        _kimi_k2(max_position_embeddings=262_144, quantization_config=_K2_INT4),
        Card(1.043e12, 32e9, 594e9, f"{_K2_CARD}; 594 GB on the hub"), _K2_SOURCE,
        "kimi_k2", "kimi_k2", api=("moonshotai", "kimi-k2-thinking"),
    ),
    Published(
        "kimi-k2.5", "moonshotai/Kimi-K2.5",
        {"model_type": "kimi_k25", "vision_config": _K2_VISION,
         "text_config": _kimi_k2(max_position_embeddings=262_144, quantization_config=_K2_INT4)},
        Card(1.043e12, 32e9, 595e9, f"{_K2_CARD}; ~595 GB in vllm-project/recipes"), _K2_SOURCE,
        "kimi_k2", "kimi_k2", api=("moonshotai", "kimi-k2.5"), extra_flags=("--language-model-only",),
    ),
    Published(
        "kimi-k2.6", "moonshotai/Kimi-K2.6",
        {"model_type": "kimi_k25", "vision_config": _K2_VISION,
         "text_config": _kimi_k2(max_position_embeddings=262_144, quantization_config=_K2_INT4)},
        Card(1.043e12, 32e9, 595e9, f"{_K2_CARD}; ~595 GB in vllm-project/recipes"), _K2_SOURCE,
        "kimi_k2", "kimi_k2", api=("moonshotai", "kimi-k2.6"), extra_flags=("--language-model-only",),
        variants={"fp8": "RedHatAI/Kimi-K2.6-FP8-BLOCK"},
        notes=("the sizes are K2.5's: the recipe gives the same count, precision and file size",),
    ),
    Published(
        "kimi-k3", "moonshotai/Kimi-K3", _K3,
        Card(2.78e12, 104e9, 1.56e12, "NVIDIA NeMo AutoModel docs, Kimi K3; 1.56 TB in JustVugg/colibri"),
        "config.json fields at commit f831ab6 of the hub's repository, as quoted by three public loaders",
        "kimi_k3", "kimi_k3", api=("moonshotai", "kimi-k3"), extra_flags=("--language-model-only",),
        notes=("vLLM's recipe starts at 32 H100s and cuts the context to 32,768 on Hopper",),
        unverified=("the bytes of a session's recurrent state: counted as float32",),
    ),
    Published(
        "qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B-Instruct-2507",
        _qwen3_moe(hidden_size=2048, intermediate_size=6144, moe_intermediate_size=768, num_hidden_layers=48,
                   num_attention_heads=32, max_position_embeddings=262_144),
        Card(30.5e9, 3.3e9, 61_064_245_248, "model card; total_size of the checkpoint's index"),
        "THUDM/slime scripts/models/qwen3-30B-A3B.sh", "hermes", api=("openrouter", "qwen/qwen3-30b-a3b-instruct-2507"),
        variants={"fp8": "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8"},
    ),
    Published(
        "qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B-Instruct-2507",
        _qwen3_moe(hidden_size=4096, intermediate_size=12_288, moe_intermediate_size=1536, num_hidden_layers=94,
                   num_attention_heads=64, max_position_embeddings=262_144),
        Card(235e9, 22e9, None, "model card"), "THUDM/slime scripts/models/qwen3-235b-A22B.sh", "hermes",
        variants={"fp8": "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8"},
    ),
    Published(
        "qwen3.5-35b-a3b", "Qwen/Qwen3.5-35B-A3B", _QWEN35, Card(35e9, 3e9, None, "model card"),
        "config.json as in alibaba/InferSim hf_configs/", "qwen3_coder", "qwen3",
        extra_flags=("--language-model-only",), variants={"fp8": "Qwen/Qwen3.5-35B-A3B-FP8"},
    ),
    Published(
        "qwen3.6-35b-a3b", "Qwen/Qwen3.6-35B-A3B", _QWEN35, Card(35e9, 3e9, None, "model card"),
        "config.json of Qwen3.5-35B-A3B; vllm-project/recipes: the same architecture and sizes",
        "qwen3_coder", "qwen3", api=("novita", "qwen/qwen3.6-35b-a3b"), extra_flags=("--language-model-only",),
        variants={"fp8": "Qwen/Qwen3.6-35B-A3B-FP8"},
        notes=("an FP8 checkpoint is published: plan it with --quant fp8",),
    ),
    Published(
        "glm-4.5", "zai-org/GLM-4.5",
        _glm4(hidden_size=5120, intermediate_size=12_288, moe_intermediate_size=1536, num_hidden_layers=92,
              n_routed_experts=160, first_k_dense_replace=3, max_position_embeddings=131_072),
        Card(355e9, 32e9, None, _GLM_CARD), _GLM_SOURCE, "glm45", "glm45",
        variants={"fp8": "zai-org/GLM-4.5-FP8"},
    ),
    Published(
        "glm-4.5-air", "zai-org/GLM-4.5-Air",
        _glm4(hidden_size=4096, intermediate_size=10_944, moe_intermediate_size=1408, num_hidden_layers=46,
              n_routed_experts=128, first_k_dense_replace=1, max_position_embeddings=131_072),
        Card(106e9, 12e9, None, _GLM_CARD), _GLM_SOURCE, "glm45", "glm45",
    ),
    Published(
        "glm-4.7", "zai-org/GLM-4.7",
        _GLM_4_7,
        Card(358e9, 32e9, None, "358B in vllm-project/recipes, GLM-4.7 (with the prediction module)"),
        f"{_GLM_SOURCE}; the recipe's 358B are GLM-4.5's sizes", "glm47", "glm45",
        variants={"fp8": "zai-org/GLM-4.7-FP8"},
    ),
    Published(
        "glm-4.7-flash", "zai-org/GLM-4.7-Flash",
        {"model_type": "glm4_moe_lite", "hidden_size": 2048, "intermediate_size": 10_240, "num_hidden_layers": 47,
         "moe_intermediate_size": 1536, "num_attention_heads": 20, "n_routed_experts": 64, "num_experts_per_tok": 4,
         "n_shared_experts": 1, "first_k_dense_replace": 1, "q_lora_rank": 768, "kv_lora_rank": 512,
         "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256, "vocab_size": 154_880,
         "max_position_embeddings": 202_752, "num_nextn_predict_layers": 1},
        Card(31_221_488_576, 3e9, None, "the hub's own count, with the prediction module; 30B-A3B in its card"),
        "config.json as copied in public test fixtures", "glm47", "glm45",
    ),
    Published(
        "gpt-oss-20b", "openai/gpt-oss-20b", _gpt_oss(24, 32),
        Card(20.91e9, 3.61e9, 12.8 * 2**30, _GPT_OSS_CARD), "config.json as copied in public fine-tunes",
        "openai", "openai_gptoss", load_factor=1.085, api=("groq", "openai/gpt-oss-20b"),
    ),
    Published(
        "gpt-oss-120b", "openai/gpt-oss-120b", _gpt_oss(36, 128),
        Card(116.83e9, 5.13e9, 60.8 * 2**30, _GPT_OSS_CARD), "config.json as copied in public fine-tunes",
        "openai", "openai_gptoss", load_factor=1.085, api=("groq", "openai/gpt-oss-120b"),
        notes=("vLLM logs 64.4 to 66.0 GiB of weights on one H100 (vllm#33155, #23278), more than the 60.8 GiB on disk",
               "on one H100 vLLM's recipe needs --gpu-memory-utilization 0.95 --max-num-batched-tokens 1024"),
    ),
    Published(
        "deepseek-v3", "deepseek-ai/DeepSeek-V3",
        _deepseek(n_routed_experts=256, num_attention_heads=128, first_k_dense_replace=3, vocab_size=129_280,
                  num_nextn_predict_layers=1, max_position_embeddings=163_840, quantization_config=_FP8_BLOCKS),
        Card(671e9, 37e9, None, "model card: 671B and 14B of prediction module, 37B active"),
        "inference/configs/config_671B.json of the hub's repository", "deepseek_v3",
        unverified=("whether the parser works without a chat template of vLLM's own, as it needs for DeepSeek-R1",),
    ),
    Published(
        "deepseek-r1", "deepseek-ai/DeepSeek-R1",
        _deepseek(n_routed_experts=256, num_attention_heads=128, first_k_dense_replace=3, vocab_size=129_280,
                  num_nextn_predict_layers=1, max_position_embeddings=163_840, quantization_config=_FP8_BLOCKS),
        Card(671e9, 37e9, None, "model card: 671B, 37B active; the architecture of DeepSeek-V3"),
        "inference/configs/config_671B.json of the hub's repository", "deepseek_v3", "deepseek_r1",
        extra_flags=("--chat-template", "examples/tool_chat_template_deepseekr1.jinja"),
    ),
)  # fmt: skip
