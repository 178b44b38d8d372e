"""Each published model's computed sizes, beside the numbers that its vendor prints."""

from __future__ import annotations

import json

import pytest

from agentrt.plan import configs, models
from agentrt.plan.published import MODELS
from agentrt.plan.shapes import FP8, checkpoint_bytes

NAMES = [model.name for model in MODELS]
K2_REPORT = "arXiv:2508.06471, table 1: Kimi K2 1043B total, 32B activated"
GLM_REPORT = "arXiv:2508.06471, table 1 (with the prediction module, without both vocabulary matrices)"
GPT_OSS_REPORT = "arXiv:2508.10925, table 1 (output matrix counted as active, embedding not)"

# name: total, active, how active is counted, source
CARDS = {
    "kimi-k2": (1043e9, 32e9, "output", K2_REPORT),
    "kimi-k2-thinking": (1043e9, 32e9, "output", K2_REPORT),
    "kimi-k2.5": (1043e9, 32e9, "output", K2_REPORT),
    "kimi-k2.6": (1043e9, 32e9, "output", K2_REPORT),
    "kimi-k3": (
        2.78e12,
        104e9,
        "output",
        "NVIDIA NeMo AutoModel docs: 2.8T total, 104B activated; 2.78T in its report",
    ),
    "qwen3-30b-a3b": (30.5e9, 3.3e9, "both", "model card: 30.5B in total and 3.3B activated"),
    "qwen3-235b-a22b": (235e9, 22e9, "both", "model card: 235B in total and 22B activated"),
    "glm-4.5": (355e9, 32e9, "neither", GLM_REPORT),
    "glm-4.5-air": (106e9, 12e9, "neither", GLM_REPORT),
    "glm-4.7": (355e9, 32e9, "neither", GLM_REPORT),
    "gpt-oss-20b": (20.91e9, 3.61e9, "output", GPT_OSS_REPORT),
    "gpt-oss-120b": (116.83e9, 5.13e9, "output", GPT_OSS_REPORT),
    "deepseek-v3": (671e9, 37e9, "output", "model card: 671B total, 37B activated"),
    "deepseek-r1": (671e9, 37e9, "output", "model card: 671B total, 37B activated"),
    "qwen3.5-35b-a3b": (35e9, 3e9, "output", "model card: 35B in total and 3B activated"),
    "qwen3.6-35b-a3b": (35e9, 3e9, "output", "model card: 35B in total and 3B activated"),
}

# name: bytes, source
FILES = {
    "kimi-k2": (1.03e12, "1.03 TB on the hub"),
    "kimi-k2-thinking": (594e9, "594 GB on the hub"),
    "kimi-k2.5": (595e9, "vllm-project/recipes: ~595 GB on disk"),
    "kimi-k2.6": (595e9, "vllm-project/recipes: ~595 GB on disk"),
    "kimi-k3": (1.56e12, "1.56 TB in JustVugg/colibri, docs/kimi_k3.md"),
    "qwen3-30b-a3b": (61_064_245_248, "total_size in model.safetensors.index.json"),
    "gpt-oss-20b": (12.8 * 2**30, "arXiv:2508.10925, table 1: 12.8 GiB"),
    "gpt-oss-120b": (60.8 * 2**30, "arXiv:2508.10925, table 1: 60.8 GiB"),
}


@pytest.mark.parametrize("name", CARDS)
def test_total_and_active_parameters_are_within_two_percent_of_the_card(name):
    total, active, counted, _ = CARDS[name]
    shape = models.find(name).shape
    mine = {
        "both": shape.active(embedding=True),
        "output": shape.active(),
        "neither": shape.active(head=False),
    }[counted]
    assert shape.total() == pytest.approx(total, rel=0.02)
    assert mine == pytest.approx(active, rel=0.02)


@pytest.mark.parametrize("name", FILES)
def test_weight_bytes_are_within_two_percent_of_the_published_file(name):
    model = models.find(name)
    assert checkpoint_bytes(model.shape, model.quantisation) == pytest.approx(FILES[name][0], rel=0.02)


def test_prediction_modules_make_up_the_rest_of_the_file():
    deepseek, flash, glm = (models.find(name).shape for name in ("deepseek-v3", "glm-4.7-flash", "glm-4.7"))
    assert deepseek.total() + deepseek.mtp == pytest.approx(685e9, rel=0.002)  # card: 671B and 14B, 685B on the hub
    assert flash.total() + flash.mtp == pytest.approx(31_221_488_576, rel=0.0001)  # the hub's own count
    assert glm.total() + glm.mtp == pytest.approx(358e9, rel=0.002)  # vllm-project/recipes, GLM-4.7: 358B


def test_a_name_that_rounds_active_parameters_to_three_billion_is_kept_to_its_rounding():
    assert round(models.find("glm-4.7-flash").shape.active(head=False) / 1e9) == 3


def test_kimi_k3s_trunk_is_as_large_as_its_loaders_say():
    shape = models.find("kimi-k3").shape
    routed = sum(layer.parameters("experts") * count for layer, count in shape.layers)
    assert routed == 92 * 896 * 33_030_144  # experts of 3 x 3584 x 3072 in 92 layers
    trunk = 2 * (shape.total() - routed - shape.embedding - shape.head)
    assert trunk == pytest.approx(108.81e9, rel=0.001)  # "Dense trunk | 108.81 GB", FareedKhan-dev/kimi-k3-in-c


@pytest.mark.parametrize(
    ("name", "bytes_a_token"),
    [("kimi-k2", 70_272), ("kimi-k2.6", 70_272), ("qwen3-30b-a3b", 98_304), ("gpt-oss-120b", 73_728),
     ("gpt-oss-20b", 49_152), ("deepseek-v3", 61 * 576 * 2), ("qwen3.6-35b-a3b", 10 * 2 * 2 * 256 * 2)],
)  # fmt: skip
def test_a_tokens_cache_is_latent_values_or_keys_and_values_over_the_layers(name, bytes_a_token):
    shape = models.find(name).shape
    assert shape.kv_token_bytes() == bytes_a_token
    assert shape.kv_token_bytes(1.0) == bytes_a_token / 2


def test_a_full_sliding_window_costs_nothing_more():
    shape = models.find("gpt-oss-120b").shape
    assert shape.kv_token_bytes(windows=True) == 73_728 / 2
    assert shape.kv_session_bytes(100_000) == 18 * 2 * 8 * 64 * 2 * (100_000 + 128)


def test_a_recurrent_state_does_not_grow_with_the_context():
    shape = models.find("qwen3.6-35b-a3b").shape
    grown = shape.kv_session_bytes(20_000) - shape.kv_session_bytes(10_000)
    assert grown == 10_000 * shape.kv_token_bytes()
    assert shape.kv_session_bytes(1) > 60e6


@pytest.mark.parametrize("name", NAMES)
def test_every_published_model_says_where_its_sizes_are_from(name):
    known = next(model for model in MODELS if model.name == name)
    assert known.source
    assert known.card.source
    assert known.tool_parser


@pytest.mark.parametrize("name", NAMES)
def test_a_config_on_disk_gives_the_same_model(name, tmp_path):
    known = next(model for model in MODELS if model.name == name)
    (tmp_path / "config.json").write_text(json.dumps(known.config))
    read = models.find(str(tmp_path))
    assert read.shape == models.find(name).shape
    assert read.quantisation == models.find(name).quantisation
    assert models.find(str(tmp_path / "config.json")).shape == read.shape


def test_weights_can_be_asked_for_in_another_form():
    native, fp8 = models.find("qwen3.6-35b-a3b"), models.find("Qwen/Qwen3.6-35B-A3B", "fp8")
    assert fp8.quantisation == FP8
    assert checkpoint_bytes(fp8.shape, fp8.quantisation) < 0.55 * checkpoint_bytes(native.shape, native.quantisation)
    assert fp8.checkpoint == "Qwen/Qwen3.6-35B-A3B-FP8"
    assert models.find("gpt-oss-20b", "int4").checkpoint is None


def test_the_configs_own_text_part_is_what_counts():
    nested = models.find("kimi-k2.5")
    assert nested.shape.layers == configs.read(models.find("kimi-k2").published.config).layers
    assert nested.shape.vision == pytest.approx(411e6, rel=0.01)
