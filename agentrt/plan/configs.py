"""From a Hugging Face ``config.json`` to the shape of the model: every tensor's size from the sizes it names."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

from agentrt.errors import ConfigError
from agentrt.plan import attention
from agentrt.plan.fields import Config, size
from agentrt.plan.shapes import BF16, EXPERTS, FP8, LINEAR, MXFP4, Kind, Layer, Part, Quantisation, Shape, int4, nvfp4

FAMILIES = (
    "deepseek_v2", "deepseek_v3", "glm4_moe", "glm4_moe_lite", "gpt_oss", "kimi_k2", "kimi_k25", "kimi_k3",
    "kimi_linear", "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_5", "qwen3_5_moe", "qwen3_moe", "qwen3_next",
)  # fmt: skip
"""The ``model_type`` values whose tensors this module knows."""


def load(path: Path) -> Config:
    """A ``config.json``, or the one in a folder.

    :raises ConfigError: if it can't be read, is not JSON or is not an object.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read {str(file)!r}: {error.strerror}; name a Hugging Face config.json") from error
    except ValueError as error:
        raise ConfigError(f"{str(file)!r} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{str(file)!r} holds {type(config).__name__}, not a JSON object with the model's sizes")
    return config


def read(config: Config) -> Shape:
    """The shape that a config describes.

    :raises ConfigError: if the family is not one of :data:`FAMILIES` or a size is missing or makes no sense.
    """
    text: Config = config.get("text_config") or config
    if not isinstance(text, dict) and text is not config:
        raise ConfigError(f"text_config must be an object, not {text!r}")
    family = str(config.get("model_type", text.get("model_type", "")))
    if family.removesuffix("_text") not in FAMILIES:
        raise ConfigError(f"model_type {family!r} is not one whose tensors are known: {', '.join(FAMILIES)}")
    try:
        return _shape(family, text, config.get("vision_config") or {})
    except KeyError as error:
        raise ConfigError(f"the config of a {family!r} model must name {error.args[0]!r}") from error
    except (TypeError, ValueError, ZeroDivisionError, IndexError, AttributeError) as error:
        raise ConfigError(f"the config of a {family!r} model makes no sense: {error}") from error


def _shape(family: str, text: Config, vision: Config) -> Shape:
    depth, hidden, vocabulary = size(text, "num_hidden_layers"), size(text, "hidden_size"), size(text, "vocab_size")
    if depth > 1000:
        raise ValueError(f"num_hidden_layers is {depth}, more than any model has")
    layers = [_layer(family, text, index) for index in range(depth)]
    embedding = vocabulary * hidden
    experts = expert_count(text)
    return Shape(
        family=family,
        layers=tuple((layer, len(list(run))) for layer, run in groupby(layers)),
        hidden=hidden,
        heads=size(text, "num_attention_heads"),
        embedding=embedding,
        head=0 if text.get("tie_word_embeddings") else embedding,
        experts=experts,
        top_k=_top_k(text) if experts else 0,
        expert_width=_expert_width(text) if experts else size(text, "intermediate_size"),
        max_context=int(text.get("max_position_embeddings", 131_072)),
        mtp=_mtp(family, text, layers[-1], embedding),
        vision=_vision(vision),
    )


def expert_count(text: Config) -> int:
    """How many routed experts a layer has; 0 in a dense model."""
    for name in ("n_routed_experts", "num_experts", "num_local_experts"):
        if text.get(name):
            return size(text, name)
    return 0


def _top_k(text: Config) -> int:
    top_k = size(text, "num_experts_per_tok", "num_experts_per_token", "experts_per_token")
    if top_k > expert_count(text):
        raise ValueError(f"{top_k} experts a token of {expert_count(text)}")
    return top_k


def _expert_width(text: Config) -> int:
    return size(text, "moe_intermediate_size", "intermediate_size")


def _layer(family: str, text: Config, index: int) -> Layer:
    mixer, cache = attention.build(family, text, index)
    feed_forward = _experts(family, text) if _is_sparse(text, index) else _dense(text)
    norms = Part("small", 2 * size(text, "hidden_size"), replicated=True)
    return Layer((*mixer, *feed_forward, norms), cache)


def _is_sparse(text: Config, index: int) -> bool:
    if not expert_count(text) or index in (text.get("mlp_only_layers") or ()):
        return False
    if index < int(text.get("first_k_dense_replace") or 0):
        return False
    if text.get("decoder_sparse_step"):
        return (index + 1) % int(text["decoder_sparse_step"]) == 0
    every = text.get("moe_layer_freq", 1)
    return bool(every[index]) if isinstance(every, list) else index % int(every) == 0


def _dense(text: Config) -> list[Part]:
    return [Part("dense", 3 * size(text, "hidden_size") * size(text, "intermediate_size"))]


def _experts(family: str, text: Config) -> list[Part]:
    """Router, routed experts (in a narrower latent space in Kimi K3) and the shared experts that every token uses."""
    hidden, experts, width = size(text, "hidden_size"), expert_count(text), _expert_width(text)
    inner = int(text.get("routed_expert_hidden_size") or hidden)
    parts = [
        Part("router", hidden * experts, replicated=True),
        Part("experts", 3 * inner * width * experts),
    ]
    if inner != hidden:
        parts.append(Part("shared", 2 * hidden * inner))
    if family == "gpt_oss":  # biases on the router and on both matrices of each expert
        parts += [Part("expert_bias", (2 * width + inner) * experts), Part("small", experts, replicated=True)]
    shared = _shared_width(text, width)
    if shared:
        parts.append(Part("shared", 3 * hidden * shared))
    if text.get("shared_expert_intermediate_size"):
        parts.append(Part("small", hidden, replicated=True))
    return parts


def _shared_width(text: Config, width: int) -> int:
    named = text.get("shared_expert_intermediate_size")
    return int(named) if named else width * int(text.get("n_shared_experts") or text.get("num_shared_experts") or 0)


def _mtp(family: str, text: Config, last: Layer, embedding: int) -> int:
    """One more layer and a projection for each prediction module; DeepSeek and GLM repeat both vocabulary matrices."""
    modules = int(text.get("num_nextn_predict_layers") or text.get("mtp_num_hidden_layers") or 0)
    repeated = 0 if family.startswith("qwen3") else 2 * embedding
    return modules * (last.parameters() + 2 * size(text, "hidden_size") ** 2 + repeated)


def _vision(vision: Config) -> int:
    """About how many parameters an image encoder has: its blocks, without patch embedding and projector."""
    depth = vision.get("depth") or vision.get("vt_num_hidden_layers") or vision.get("num_hidden_layers") or 0
    hidden = int(vision.get("vt_hidden_size") or vision.get("hidden_size") or 0)
    width = int(vision.get("vt_intermediate_size") or vision.get("intermediate_size") or 0)
    return int(depth) * (4 * hidden**2 + 2 * hidden * width)


def quantisation(config: Config) -> Quantisation:
    """How the checkpoint that a config describes is stored.

    :raises ConfigError: if its quantisation method is not known.
    """
    try:
        return _stored(config)
    except (TypeError, ValueError, AttributeError, StopIteration) as error:
        raise ConfigError(f"quantization_config makes no sense: {error}") from error


def _stored(config: Config) -> Quantisation:
    text: Config = config.get("text_config") or config
    stored: Config = config.get("quantization_config") or text.get("quantization_config") or {}
    method = str(stored.get("quant_method", ""))
    match method:
        case "":
            return BF16
        case "fp8":
            return FP8
        case "mxfp4":
            return MXFP4
        case "compressed-tensors":
            return _compressed(stored)
        case "awq" | "gptq" | "auto-round":
            return int4(max(1, int(stored.get("group_size") or 128)), LINEAR)
        case "modelopt" | "modelopt_fp4":
            return nvfp4(LINEAR) if "FP4" in str(stored.get("quant_algo", "FP4")) else FP8
    raise ConfigError(f"quantisation {method!r} is not known; say how it is stored with --quant")


def _compressed(stored: Config) -> Quantisation:
    """What compressed-tensors packs: four or eight bits, without the modules that its ignore list names."""
    groups = stored.get("config_groups") or {"": {"weights": {"num_bits": 4, "type": "float", "group_size": 32}}}
    weights = next(iter(groups.values())).get("weights") or {}
    kinds = _without_ignored([str(pattern) for pattern in stored.get("ignore") or ()])
    if "mxfp4" in str(stored.get("format", "")):
        return Quantisation("mxfp4", MXFP4.packed_bytes, EXPERTS, block=32)
    if int(weights.get("num_bits", 8)) == 8:
        return Quantisation("fp8", FP8.packed_bytes, kinds, FP8.block)
    if weights.get("type") == "float":
        return nvfp4(kinds)
    return int4(int(weights.get("group_size") or 128), kinds)


def _without_ignored(ignored: list[str]) -> frozenset[Kind]:
    words: dict[Kind, str] = {"attention": "self_attn", "shared": "shared_expert", "dense": "mlp\\."}
    return LINEAR - {kind for kind, word in words.items() if any(word in pattern for pattern in ignored)}
