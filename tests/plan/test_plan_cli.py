"""``agentrt plan`` as a person and a script use it."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
import pytest
from typer.testing import CliRunner

from agentrt.cli.plan import app
from agentrt.plan import SCHEMA, Request, document, make_plan
from agentrt.plan.published import MODELS

PROGRAM = """
import sys
from agentrt.cli.plan import app
try:
    app(prog_name="agentrt plan")
finally:
    print(sorted(set(sys.modules) & {"mcp", "xllamacpp", "torch", "vllm", "matplotlib", "httpx"}), file=sys.stderr)
"""


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})


def test_the_plan_is_shown_with_its_assumptions_and_the_quoted_figures():
    shown = invoke("kimi-k2.6", "--gpu", "H200")
    assert shown.exit_code == 0
    flat = " ".join(shown.stdout.split())
    for words in ("8 x NVIDIA H200 141 GB SXM", "1.026T, active 31.7B", "384, 8 a token", "int4 594 GB", "tp 8, dcp 8",
                  "not measured", "a GPU-second", "break-even against $200 a month a seat",
                  "vllm serve moonshotai/Kimi-K2.6",
                  "--tool-call-parser kimi_k2 --reasoning-parser kimi_k2", "not counted:", "$1,080 a year",
                  "so one H100 runs it"):  # fmt: skip
        assert words in flat


def test_without_a_model_the_published_ones_are_listed():
    shown = invoke()
    assert shown.exit_code == 0
    assert all(model.name in shown.stdout for model in MODELS)
    assert "$25,000" in shown.stdout
    listed = json.loads(invoke("--json").stdout)
    k2 = next(line for line in listed["models"] if line["name"] == "kimi-k2")
    assert k2["needed"]["H100"] == listed["reference"]["k2_fp8_h100s"] == 16


@pytest.mark.parametrize("model", [model.name for model in MODELS])
def test_json_keeps_its_schema_for_every_published_model(model):
    made = json.loads(json.dumps(document(make_plan(Request(model, "B200", curve_to=3)))))
    jsonschema.Draft202012Validator(SCHEMA).validate(made)
    assert made["model"]["name"] == model


def test_json_is_all_that_stdout_holds():
    shown = invoke(
        "gpt-oss-20b", "--gpu", "2xL40S", "--json", "--plot-to", "4", "--api-input", "1", "--api-output", "2"
    )
    made = json.loads(shown.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(made)
    assert made["gpus"]["asked"] == 2
    assert len(made["curve"]) == 4
    assert [one["name"] for one in made["money"]["alternatives"]] == ["$200 a month a seat", "API"]
    assert made["money"]["api_price"]["cached"] == 1
    assert made["assumptions"]["gpu_watts"] == 350


def test_two_runs_print_the_same_bytes():
    arguments = ("qwen3-30b-a3b", "--json", "--plot-to", "5")
    assert invoke(*arguments).stdout == invoke(*arguments).stdout


def test_the_plot_is_written_where_it_was_asked_for(tmp_path):
    target = tmp_path / "plan.svg"
    shown = invoke("qwen3.6-35b-a3b", "--quant", "fp8", "--plot", str(target), "--plot-to", "20")
    assert shown.exit_code == 0
    assert target.read_text().startswith("<svg")
    assert str(target) in shown.stderr


def test_a_config_json_of_ones_own_is_planned(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({
        "model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 36,
        "head_dim": 128, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 151_936, "max_position_embeddings": 40_960,
    }))  # fmt: skip
    made = json.loads(invoke(str(tmp_path), "--context", "32768", "--json", "--plot-to", "2").stdout)
    assert made["model"]["parameters"] == pytest.approx(8.19e9, rel=0.001)  # Qwen3-8B: 8.2B
    assert made["model"]["experts"] == 0
    assert made["model"]["source"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("kimi-k26",), "did you mean kimi-k2.6"),
        (("kimi-k2", "--gpu", "H300"), "H200 or H100"),
        (("kimi-k2", "--context", "999999"), "262144"),
        (("kimi-k2", "--hold", "some"), "--hold"),
        (("kimi-k2", "--api-input", "1"), "--api-output"),
        (("kimi-k2", "--seat", "0"), "--seat"),
        (("--plot", "plan.svg"), "needs a model"),
        (("gpt-oss-20b", "--plot", "plan.gif"), ".svg"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(arguments, words):
    shown = invoke(*arguments)
    assert shown.exit_code == 2
    assert shown.stdout == ""
    assert words in shown.stderr
    assert "Traceback" not in shown.stderr


def test_it_runs_as_a_program_and_loads_no_heavy_package():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "kimi-k2", "--json"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["gpus"]["needed"] >= 16
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("kimi-k2", "--developers", "1", "--sessions", "1", "--context", "32768"),
         ["--tensor-parallel-size 8", "--pipeline-parallel-size 2", "--decode-context-parallel-size 8",
          "--tool-call-parser kimi_k2", "Ray"]),
        (("qwen3-235b-a22b", "--gpu", "8xH100", "--quant", "fp8", "--developers", "1", "--context", "16384"),
         ["Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", "--tool-call-parser hermes"]),
        (("glm-4.7", "--gpu", "H100", "--quant", "fp8", "--kv-dtype", "fp8"),
         ["zai-org/GLM-4.7-FP8", "--enable-expert-parallel", "--tool-call-parser glm47 --reasoning-parser glm45",
          "--kv-cache-dtype fp8"]),
        (("gpt-oss-120b", "--gpu", "H200"), ["--tool-call-parser openai --reasoning-parser openai_gptoss"]),
        (("gpt-oss-20b", "--quant", "int4"), ["no int4 checkpoint is known"]),
        (("qwen3-30b-a3b", "--developers", "200"), ["independent copies"]),
    ],
)  # fmt: skip
def test_the_vllm_command_has_the_flags_for_its_layout(arguments, words):
    made = json.loads(invoke(*arguments, "--json", "--plot-to", "1").stdout)
    command = "\n".join(made["command"])
    for expected in words:
        assert expected in command
