"""Make and train the tiny MoE, on one thread so that a seed reproduces it: `python examples/tiny-moe/train.py`."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tiny_moe.data import batches, stage_at, tokenizer_from
from tiny_moe.model import balance, make_config, make_model
from tiny_moe.vocabulary import token_id
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import DeepseekV3ForCausalLM, GenerationConfig, PreTrainedTokenizerFast

HERE = Path(__file__).parent
SAVE_EVERY = 50
CYCLES = (1500, 900, 600, 600, 600)  # steps in which the learning rate goes from full to nothing


def stream(tokenizer: Tokenizer, seed: int, steps: int, start: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches from step ``start`` on; what has been seen is drawn again and skipped, so a resumed run is the same."""
    step = 0
    while step < steps:
        rng = random.Random(f"{seed}/batches/{step}")
        for batch in batches(tokenizer, stage_at(step), rng):
            if step >= start:
                yield batch
            step += 1


def rate_at(step: int) -> float:
    """The share of the full rate, in cycles: a short warm-up, a plateau, and down to nothing over the last 60 %."""
    first = 0
    for length in CYCLES:
        if step < first + length:
            left = (first + length - step) / (0.6 * length)
            return min(1.0, (step - first + 1) / 30, 0.5 - 0.5 * math.cos(math.pi * min(1.0, left)))
        first += length
    return 0.0


class Trainer:
    """The model, its optimiser and where it stands; saved to ``work`` so that an interrupted run goes on."""

    def __init__(self, tokenizer: Tokenizer, *, seed: int, steps: int, rate: float, work: Path) -> None:
        self.tokenizer, self.seed, self.steps, self.rate = tokenizer, seed, steps, rate
        self.saved = work / "state.pt"
        torch.manual_seed(seed)
        ids = {name: token_id(tokenizer, text) for name, text in
               {"end": "<|im_end|>", "pad": "[PAD]", "start": "[BOS]"}.items()}  # fmt: skip
        config = make_config(tokenizer.get_vocab_size(), **ids)
        self.model = make_model(config)
        balance(self.model)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.step = 0
        if self.saved.exists():
            self.load()

    def start_from(self, checkpoint: Path, step: int) -> None:
        """Take a finished checkpoint's weights, with a fresh optimiser, as what ``step`` steps have made."""
        self.model.load_state_dict(DeepseekV3ForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).state_dict())
        self.step = step

    def load(self) -> None:
        """Go on where the saved state ended."""
        state = torch.load(self.saved)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def save(self) -> None:
        """Keep the state; the old one stays until the new one is whole."""
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step}
        fresh = self.saved.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self.saved)

    def learn(self, ids: torch.Tensor, weights: torch.Tensor) -> float:
        """One step; returns the loss of the model's own words before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * rate_at(self.step)
        logits = self.model(input_ids=ids, use_cache=False).logits
        losses = functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        counts = weights[:, 1:].flatten()
        ((losses * counts).sum() / counts.sum()).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        shown: float = losses.detach()[counts == 1].mean().item()
        return shown

    def run(self) -> None:
        """Train to the end, with a line of progress now and then."""
        self.model.train()
        began, seen, losses = time.monotonic(), 0, []
        for ids, weights in stream(self.tokenizer, self.seed, self.steps, self.step):
            if self.step >= self.steps:
                break
            losses.append(self.learn(ids, weights))
            seen += ids.numel()
            if self.step % 25 == 0 or self.step == self.steps:
                speed = seen / (time.monotonic() - began)
                print(
                    f"step {self.step}/{self.steps} loss {sum(losses) / len(losses):.4f} {speed:.0f} tok/s", flush=True
                )
                losses = []
            if self.step % SAVE_EVERY == 0:
                self.save()
        self.save()


def export(model: DeepseekV3ForCausalLM, tokenizer: Tokenizer, out: Path) -> str:
    """Write the checkpoint as Hugging Face and vLLM read it; return the sha256 of the weights."""
    out.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(out)
    end = model.config.eos_token_id
    GenerationConfig(bos_token_id=model.config.bos_token_id, eos_token_id=end, pad_token_id=model.config.pad_token_id,
                     do_sample=False).save_pretrained(out)  # fmt: skip
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="[BOS]", eos_token="<|im_end|>", unk_token="[UNK]", pad_token="[PAD]",
        model_max_length=model.config.max_position_embeddings, clean_up_tokenization_spaces=False,
        chat_template=(HERE / "tiny_moe" / "chat_template.jinja").read_text(),
    )  # fmt: skip
    fast.save_pretrained(out)
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


def main() -> None:
    """Read the command line, train, and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--steps", type=int, default=sum(CYCLES))
    parser.add_argument("--rate", type=float, default=0.0015)
    parser.add_argument("--out", type=Path, default=HERE / "checkpoint")
    parser.add_argument(
        "--work", type=Path, default=None, help="keep the state here and go on from it (default: OUT.work)"
    )
    parser.add_argument("--start", type=Path, help="begin with this checkpoint's weights, at step --at")
    parser.add_argument("--at", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    work = asked.work or asked.out.with_suffix(".work")
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(asked.start / "tokenizer.json")) if asked.start else tokenizer_from(asked.seed)
    trainer = Trainer(tokenizer, seed=asked.seed, steps=asked.steps, rate=asked.rate, work=work)
    if asked.start and not trainer.saved.exists():
        trainer.start_from(asked.start, asked.at)
    size = sum(param.numel() for param in trainer.model.parameters())
    print(
        f"seed {asked.seed}, {size:,} parameters, {tokenizer.get_vocab_size()} tokens, {asked.steps} steps", flush=True
    )
    began = time.monotonic()
    trainer.run()
    digest = export(trainer.model, tokenizer, asked.out)
    print(
        json.dumps(
            {"seed": asked.seed, "steps": asked.steps, "seconds": round(time.monotonic() - began), "sha256": digest}
        )
    )
    shutil.rmtree(work)  # it was only there to go on from


if __name__ == "__main__":
    main()
