"""The embedded engine: what it asks the model for, and the README's main job on the real weights."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agentrt import Assistant, ToolCall, ToolResult, ToolSpec, Transcript, User
from agentrt.cli.models import ensure_default_model
from agentrt.engine import Assembler, Finished, Request
from agentrt.engines.embedded import messages, reply_name, shape, step_schema
from agentrt.engines.step import NotAStepError, StepReader
from agentrt.errors import ConfigError
from agentrt.models import resolve

ROOT = Path(__file__).parents[2]
TOOL = ToolSpec("weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


@pytest.fixture(scope="session")
def weights() -> Path:
    if os.environ.get("AGENTRT_TEST_EMBEDDED") == "1":
        return ensure_default_model(Console(stderr=True), None)
    try:
        return resolve()
    except ConfigError as error:
        pytest.skip(str(error))


@given(st.data())
def test_a_step_reads_the_same_however_it_is_cut(data):
    whole = data.draw(
        st.sampled_from(
            [
                '{"tool": "weather", "arguments": {"city": "S\\u00e3o \\"P\\\\aulo}", "n": [1, {"a": "]"}]}}',
                '{"tool": "reply", "text": "A \\"quoted\\" \\ud83d\\ude00 line\\nand } more"}',
            ]
        )
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    def read(parts):
        reader, assembler = StepReader("reply"), Assembler()
        for part in parts:
            for delta in reader.feed(part):
                assembler.feed(delta)
        assembler.feed(Finished("stop"))
        return reader.whole, assembler.answer()

    assert read(pieces) == read([whole])
    assert read([whole])[0]


def test_what_is_no_step_is_refused():
    with pytest.raises(NotAStepError):
        StepReader("reply").feed("Sure! Here is the weather")


def test_the_reply_never_has_the_name_of_a_tool():
    assert reply_name([ToolSpec("reply", "", {"type": "object"})]) == "reply_"


def test_a_step_is_a_call_of_one_of_the_tools_or_the_reply():
    steps = step_schema([TOOL], "reply")["anyOf"]
    assert [step["properties"]["tool"] for step in steps] == [{"const": "weather"}, {"const": "reply"}]
    assert steps[0]["properties"]["arguments"]["properties"] == {"city": {"type": "string"}}


def test_what_a_grammar_may_not_know_is_left_to_the_gate():
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "multipleOf": 7}, "any": {"$ref": "#/$defs/x"}},
        "required": ["n"],
        "if": {"properties": {"n": {"const": 7}}},
    }
    assert shape(schema) == {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "any": {}},
        "required": ["n"],
        "additionalProperties": False,
    }


def test_the_history_has_the_form_that_the_model_writes():
    transcript = Transcript([User("Weather in Rome?")])
    call = ToolCall("c1", "weather", '{"city": "Rome"}')
    transcript.close_turn(Assistant(calls=(call,)), [ToolResult("c1", "weather", "sunny")])
    transcript.close_turn(Assistant("It is sunny."), [])
    said = [message["content"] for message in messages(Request(transcript, tools=(TOOL,)), "reply")][1:]
    assert said == [
        "Weather in Rome?",
        '{"tool": "weather", "arguments": {"city": "Rome"}}',
        "Result of weather:\nsunny",
        '{"tool": "reply", "text": "It is sunny."}',
    ]


@pytest.mark.embedded
def test_the_first_run_gives_a_right_answer_that_needed_both_tools(weights):
    done = subprocess.run(
        [sys.executable, "examples/first_run.py"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    assert "(python)" in done.stdout
    assert "(mcp:time)" in done.stdout
    assert "20:05" in done.stdout.rpartition("  <")[2]


def test_the_library_example_runs_without_a_model():
    done = subprocess.run(
        [sys.executable, "examples/library.py"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "was not run: its arguments do not match its schema" in done.stdout
    assert done.stdout.endswith("[done, 4 turns]\n")
