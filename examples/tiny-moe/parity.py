"""The checkpoint in vLLM against Hugging Face's implementation, on held-out conversations: log-probabilities and words.

On x86 CPUs vLLM's own rotary op was found wrong for interleaved rotary embeddings, which this architecture has, and
says nothing (0.32). It is switched off here; `--rotary-op` switches it on, to see the difference.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny_moe.episodes import make_episode, pieces
from tiny_moe.judge import MIX
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
WORDS = 48  # tokens of greedy decoding that are compared for each prompt


@dataclass(frozen=True, slots=True)
class Case:
    """A whole conversation, and the prompts at which the model has to answer in it, as token ids."""

    ids: list[int]
    prompts: list[list[int]]


def make_cases(tokenizer: Any, count: int, seed: int) -> list[Case]:
    """``count`` held-out conversations."""
    rng = random.Random(f"{seed}/parity")
    cases = []
    for _ in range(count):
        ids: list[int] = []
        prompts = []
        for piece in pieces(make_episode(rng, turns=2, mix=MIX, split="held-out")):
            if piece.learned:
                prompts.append(list(ids))
            ids += tokenizer(piece.text, add_special_tokens=False).input_ids
        cases.append(Case(ids, prompts))
    return cases


def from_huggingface(checkpoint: Path, cases: Sequence[Case], end: int) -> tuple[list[list[float]], list[list[int]]]:
    """The log-probability of every token of every case after the first, and the greedy answer to every prompt."""
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    logprobs, answers = [], []
    with torch.inference_mode():
        for case in cases:
            ids = torch.tensor([case.ids])
            scores = model(ids).logits[0, :-1].log_softmax(-1)
            logprobs.append(scores.gather(-1, ids[0, 1:, None])[:, 0].tolist())
            for prompt in case.prompts:
                out = model.generate(torch.tensor([prompt]), max_new_tokens=WORDS, do_sample=False, eos_token_id=end)
                answers.append(out[0, len(prompt) :].tolist())
    return logprobs, answers


def from_vllm(
    checkpoint: Path, cases: Sequence[Case], end: int, *, rotary_op: bool
) -> tuple[list[list[float]], list[list[int]]]:
    """The same from vLLM, in this process."""
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1"}
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=str(checkpoint),
        dtype="float32",
        max_model_len=4096,
        enforce_eager=True,
        compilation_config={"custom_ops": ["all"] if rotary_op else ["all", "-rotary_embedding"]},
        disable_log_stats=True,
    )
    whole = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
    outputs = engine.generate([{"prompt_token_ids": case.ids} for case in cases], whole, use_tqdm=False)
    logprobs = [
        [at[token].logprob for token, at in zip(case.ids[1:], output.prompt_logprobs[1:], strict=True)]
        for case, output in zip(cases, outputs, strict=True)
    ]
    greedy = SamplingParams(max_tokens=WORDS, temperature=0, stop_token_ids=[end], detokenize=False)
    prompts = [{"prompt_token_ids": prompt} for case in cases for prompt in case.prompts]
    outputs = engine.generate(prompts, greedy, use_tqdm=False)
    return logprobs, [list(output.outputs[0].token_ids) for output in outputs]


def main() -> None:
    """Read the command line, run both, and print the difference as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--count", type=int, default=12, help="conversations")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rotary-op", action="store_true", help="leave vLLM's own rotary op on")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer: Any = AutoTokenizer.from_pretrained(asked.checkpoint)
    cases = make_cases(tokenizer, asked.count, asked.seed)
    end = tokenizer.eos_token_id
    reference, words = from_huggingface(asked.checkpoint, cases, end)
    found, answers = from_vllm(asked.checkpoint, cases, end, rotary_op=asked.rotary_op)
    apart = [
        abs(a - b) for ours, theirs in zip(reference, found, strict=True) for a, b in zip(ours, theirs, strict=True)
    ]
    same = sum(ours == theirs for ours, theirs in zip(words, answers, strict=True))
    print(
        json.dumps(
            {
                "tokens": len(apart),
                "mean_logprob_difference": sum(apart) / len(apart),
                "max_logprob_difference": max(apart),
                "answers": len(words),
                "answers_equal": same,
            }
        )
    )


if __name__ == "__main__":
    main()
