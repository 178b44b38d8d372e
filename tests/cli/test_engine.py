import subprocess
import sys
from pathlib import Path

import pytest

MODEL_SERVER = Path(__file__).parents[1] / "model_server.py"
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture
def alone(machine):
    """No model server runs on this machine, whoever's machine it is."""
    for scheme in ("OLLAMA", "VLLM", "LLAMACPP", "LMSTUDIO", "SGLANG"):
        machine.environ[f"{scheme}_BASE_URL"] = NOWHERE
    return machine


def test_a_model_server_on_this_machine_is_found_and_named_in_one_line(alone):
    with subprocess.Popen(
        [sys.executable, str(MODEL_SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        alone.environ["VLLM_BASE_URL"] = server.stdout.readline().strip()
        ran = alone.run("run", "How is the weather?")
        server.stdin.close()
    assert (ran.returncode, ran.stdout) == (0, "It is sunny in Oslo.\n")
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("using ")]
    assert line.startswith("using vllm:")


def test_a_missing_key_is_a_mistake_and_not_a_stack_trace(alone):
    ran = alone.run("run", "Hi", "--engine", "openai:gpt-5")
    assert (ran.returncode, "OPENAI_API_KEY" in ran.stderr) == (2, True)
    assert "Traceback" not in ran.stderr


def test_engine_options_reach_the_engine_and_one_that_it_does_not_know_is_a_mistake(alone):
    alone.write("mine.toml", f'engine = "{alone.script("Yes.")}"\n[engine_options]\ncolour = "blue"\n')
    ran = alone.run("run", "Hi", "--config", "mine.toml")
    assert (ran.returncode, "does not take these engine_options" in ran.stderr) == (2, True)
    ran = alone.run("run", "Hi", "--config", "mine.toml", "--engine", alone.script("Other.", name="other.json"))
    assert (ran.returncode, ran.stdout) == (0, "Other.\n")


def test_without_any_engine_a_pipe_is_told_what_to_run(alone):
    ran = alone.run("run", "Hi")
    assert ran.returncode == 2
    assert "agentrt models pull" in ran.stderr
    assert "--yes" in ran.stderr


def test_without_any_engine_a_person_is_asked_before_anything_is_downloaded(alone):
    child = alone.spawn("run", "Hi")
    child.expect("GB")
    child.expect(r"\?")
    child.sendline("n")
    child.wait()
    assert child.exitstatus == 2
