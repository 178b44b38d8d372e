"""What fits on a GPU, beside what vLLM printed on real ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.errors import ConfigError
from agentrt.plan import gpus, models
from agentrt.plan.memory import Layout, fit, layouts, stages

CONTEXT = 131_072

# vLLM's own "GPU KV cache size", as others published it
LOGS = [
    ("kimi-k2-thinking", "native", "H200", Layout(tp=8), 0.9, 715_072, "vllm-project/recipes, Kimi-K2-Thinking: TP8"),
    ("kimi-k2-thinking", "native", "H200", Layout(tp=8, dcp=8), 0.9, 5_721_088, "the same: TP8+DCP8"),
    ("qwen3-235b-a22b", "fp8", "H100", Layout(tp=4), 0.9, 178_880, "vllm#21348: 4 x H100, 8.11 GiB of cache"),
]


@pytest.mark.parametrize(("name", "quant", "gpu", "layout", "utilisation", "tokens", "source"), LOGS)
def test_cache_tokens_are_within_five_percent_of_vllms_log(name, quant, gpu, layout, utilisation, tokens, source):
    model = models.find(name, quant)
    one = fit(model.shape, model.quantisation, gpus.parse(gpu)[0], layout, context=CONTEXT, utilisation=utilisation)
    assert one.kv_bytes / one.session_bytes * CONTEXT == pytest.approx(tokens, rel=0.05)


def test_gpt_oss_120b_leaves_an_h100_about_what_vllm_says():
    model = models.find("gpt-oss-120b")
    h100 = gpus.parse("H100")[0]
    tight, usual = (
        fit(
            model.shape,
            model.quantisation,
            h100,
            Layout(),
            context=8192,
            utilisation=share,
            load_factor=model.load_factor,
        )
        for share in (0.95, 0.9)
    )
    assert tight.weight_bytes == pytest.approx(66.0 * 2**30, rel=0.01)  # vllm#23278: loading took 65.97 GiB
    assert tight.kv_bytes == pytest.approx(1.71 * 2**30, abs=0.6e9)  # vllm#27508: 1.71 GiB available
    assert usual.kv_bytes == pytest.approx(-2.14 * 2**30, abs=0.6e9)  # vllm#23278: -2.14 GiB available


def test_a_latent_cache_is_whole_on_every_rank_unless_spread():
    model = models.find("kimi-k2.6")
    h200 = gpus.parse("H200")[0]
    kept = {
        dcp: fit(model.shape, model.quantisation, h200, Layout(tp=8, dcp=dcp), context=CONTEXT).session_bytes
        for dcp in (1, 8)
    }
    assert kept[1] == 61 * 576 * 2 * CONTEXT
    assert kept[8] == kept[1] / 8


def test_grouped_caches_split_no_further_than_their_heads():
    model = models.find("qwen3-30b-a3b")  # four key-value heads
    h100 = gpus.parse("H100")[0]
    four, eight = (
        fit(model.shape, model.quantisation, h100, Layout(tp=tp), context=CONTEXT).session_bytes for tp in (4, 8)
    )
    assert four == eight == 98_304 * CONTEXT / 4


def test_data_parallel_ranks_hold_the_attention_each_and_share_the_experts():
    model = models.find("kimi-k2.6")
    h200 = gpus.parse("H200")[0]
    spread = fit(model.shape, model.quantisation, h200, Layout(dp=8, ep=True), context=CONTEXT)
    cut = fit(model.shape, model.quantisation, h200, Layout(tp=8, dcp=8), context=CONTEXT)
    others = model.shape.total() - sum(layer.parameters("experts") * n for layer, n in model.shape.layers)
    assert spread.weight_bytes - cut.weight_bytes == pytest.approx(7 / 8 * 2 * others, rel=0.1)


@given(st.integers(1, 61))
def test_pipeline_stages_hold_every_layer_once_and_differ_by_at_most_one(pp):
    shape = models.find("kimi-k2").shape
    runs = list(stages(shape, pp))
    assert [layer for run in runs for layer in run] == list(shape.each_layer())
    assert max(map(len, runs)) - min(map(len, runs)) <= 1


def test_tensor_parallelism_never_cuts_a_block_that_shares_a_scale():
    h100 = gpus.parse("H100")[0]
    qwen, kimi = models.find("qwen3-235b-a22b", "fp8"), models.find("kimi-k2")
    by_tp = {one.tp: one for one in layouts(qwen.shape, qwen.quantisation, h100, dcp=True, limit=8) if one.dp == 1}
    # vllm-project/recipes: "FP8 block_n=128 + moe_intermediate_size=1536 -> TP must divide 12; cap at 4"
    assert [by_tp[tp].ep for tp in (1, 2, 4, 8)] == [False, False, False, True]
    assert not any(one.ep for one in layouts(kimi.shape, kimi.quantisation, h100, dcp=True, limit=16) if one.dp == 1)


@pytest.mark.parametrize(
    ("asked", "name", "count"),
    [("H100", "H100", None), ("8xH100", "H100", 8), ("h200:4", "H200", 4), ("2 x b200", "B200", 2),
     ("A100x8", "A100", 8), ("H100 80GB", "H100", None), ("l40s", "L40S", None)],
)  # fmt: skip
def test_a_gpu_and_its_number_are_read_from_one_word(asked, name, count):
    gpu, said = gpus.parse(asked)
    assert (gpu.name, said) == (name, count)


@pytest.mark.parametrize(("asked", "words"), [("H300", "H200 or H100"), ("", "known: H100"), ("0xH100", "no GPU"),
                                              ("8xH100:8", "twice"), ("RTX", "L40S")])  # fmt: skip
def test_an_unknown_gpu_lists_near_names(asked, words):
    with pytest.raises(ConfigError, match=words):
        gpus.parse(asked)


def test_every_gpu_says_where_its_figures_are_from():
    assert all(gpu.source for gpu in gpus.GPUS)
    h100 = gpus.parse("H100")[0]
    assert (h100.price, h100.watts) == (25_000, 700)
