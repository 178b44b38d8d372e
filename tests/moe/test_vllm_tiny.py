"""The trained checkpoint's chat template, and that vLLM computes with it what Hugging Face's implementation does."""

import hashlib
import json
import os
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_moe import k2
from tiny_moe.episodes import make_episode, pieces
from tiny_moe.judge import MIX

pytestmark = [pytest.mark.moe, pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM, see .ci/moe")]
HERE = Path(__file__).parents[2] / "examples" / "tiny-moe"
CHECKPOINT = HERE / "checkpoint"


def run(script, *arguments):
    """Run a script of the example; return the JSON that it prints last."""
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments], capture_output=True, text=True, env=os.environ | quiet
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_the_chat_template_writes_a_conversation_as_it_was_trained():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    rng = random.Random(3)
    for _ in range(40):
        episode = make_episode(rng, turns=3, mix=MIX, split="train")
        said = [{"role": "system", "content": episode.system}] if episode.system else []
        number = 0
        for turn in episode.turns:
            said.append({"role": "user", "content": turn.request})
            for made, results in zip(turn.rounds, turn.results, strict=True):
                ids = [k2.call_id(name, number + at) for at, (name, _) in enumerate(made)]
                number += len(made)
                functions = [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in made]
                called = [{"id": i, "type": "function", "function": f} for i, f in zip(ids, functions, strict=True)]
                said.append({"role": "assistant", "content": "", "tool_calls": called})
                said += [
                    {"role": "tool", "tool_call_id": i, "content": text} for i, text in zip(ids, results, strict=True)
                ]
            said.append({"role": "assistant", "content": turn.answer})
        tools = [tool.declaration for tool in episode.tools]
        written = "".join(piece.text for piece in pieces(episode))
        assert tokenizer.apply_chat_template(said, tools=tools, tokenize=False) == written
        assert tokenizer.decode(tokenizer.encode(written, add_special_tokens=False)) == written


def test_the_evaluation_runs_on_hugging_faces_implementation_too():
    score = run("evaluate.py", "--engine", "hf", "--count", "4")
    assert (score["episodes"], score["rejected"]) == (4, 0)
    assert score["right"] >= 3


def test_vllm_computes_what_hugging_face_computes():
    found = run("parity.py", "--count", "6")
    assert found["mean_logprob_difference"] < 1e-4
    assert found["answers_equal"] == found["answers"]


def test_the_random_qwen3_moe_has_the_trained_models_vocabulary(tmp_path):
    from transformers import AutoConfig, AutoTokenizer

    subprocess.run([sys.executable, str(HERE / "make_qwen3moe.py"), str(tmp_path)], check=True, capture_output=True)
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.model_type, config.num_experts) == ("qwen3_moe", 16)
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == AutoTokenizer.from_pretrained(CHECKPOINT).get_vocab()


def test_the_training_script_writes_a_checkpoint_and_names_its_hash(tmp_path):
    told = run("train.py", "--steps", "2", "--seed", "5", "--out", str(tmp_path / "made"))
    assert (told["seed"], told["steps"]) == (5, 2)
    assert told["sha256"] == hashlib.sha256((tmp_path / "made" / "model.safetensors").read_bytes()).hexdigest()
    assert {path.name for path in CHECKPOINT.iterdir()} == {path.name for path in (tmp_path / "made").iterdir()}
