"""What the trained checkpoint is; that it calls tools is tested in tests/moe, where vLLM is."""

import hashlib
import json
from pathlib import Path

HERE = Path(__file__).parent.parent.parent / "examples" / "tiny-moe"
CHECKPOINT = HERE / "checkpoint"


def test_the_checkpoint_is_small_enough_to_live_in_the_repository():
    sizes = {path.name: path.stat().st_size for path in CHECKPOINT.iterdir()}
    assert sizes["model.safetensors"] < 4_000_000
    assert sum(sizes.values()) < 5_000_000


def test_the_weights_are_those_that_the_readme_names():
    digest = hashlib.sha256((CHECKPOINT / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (HERE / "README.md").read_text()


def test_the_architecture_is_kimi_k2s():
    config = json.loads((CHECKPOINT / "config.json").read_text())
    assert config["architectures"] == ["DeepseekV3ForCausalLM"]
    assert (config["n_routed_experts"], config["num_experts_per_tok"], config["n_shared_experts"]) == (16, 2, 1)
    assert (config["kv_lora_rank"], config["qk_rope_head_dim"], config["n_group"]) == (512, 64, 1)
    assert config["norm_topk_prob"] is True
