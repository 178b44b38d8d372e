"""A random Qwen3-MoE beside the trained model: vLLM has a prefix cache for it on CPUs, which it has not for MLA."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoTokenizer, GenerationConfig, Qwen3MoeConfig, Qwen3MoeForCausalLM

HERE = Path(__file__).parent


def make(out: Path, *, seed: int = 0, tokenizer: Path = HERE / "checkpoint") -> None:
    """Write a checkpoint with random weights and the trained model's tokenizer and chat template to ``out``."""
    words = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(seed)
    config = Qwen3MoeConfig(
        vocab_size=len(words),
        hidden_size=128,
        intermediate_size=256,
        moe_intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        num_experts=16,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        decoder_sparse_step=1,
        max_position_embeddings=8192,
        initializer_range=0.08,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    out.mkdir(parents=True, exist_ok=True)
    Qwen3MoeForCausalLM(config).to(torch.bfloat16).save_pretrained(out)
    GenerationConfig(eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id).save_pretrained(out)
    words.save_pretrained(out)


def main() -> None:
    """Read the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    make(asked.out, seed=asked.seed)


if __name__ == "__main__":
    main()
