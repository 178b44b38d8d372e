"""The catalogue of tools by name."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from agentrt import Agent, ConfigError, ToolResult
from agentrt.engines.scripted import ScriptedEngine, call, calls
from agentrt.function import Function
from agentrt_tools import PACK, pack

pytestmark = pytest.mark.anyio


async def test_a_run_uses_tools_that_were_taken_by_name(tmp_path):
    (tmp_path / "a.txt").write_text("6 * 7")
    script = [
        calls(call("read_file", {"path": "a.txt"}), call("now", {})),
        calls(call("calculate", {"expression": "6 * 7"})),
        "42",
    ]
    tools = pack(["clock", "calculator", "files"], root=tmp_path)
    result = await Agent(ScriptedEngine(script), tools=tools).run("go")
    answers = [message for message in result.transcript if isinstance(message, ToolResult)]
    assert [answer.error for answer in answers] == [False, False, False]
    assert answers[0].text == "6 * 7"
    assert json.loads(answers[1].text)["timezone"] == "UTC"
    assert answers[2].text == "42"
    assert result.reason == "done"


async def test_writing_files_takes_a_name_of_its_own(tmp_path):
    for name, count in (("files", 3), ("files:write", 5)):
        (toolset,) = pack([name], root=tmp_path)
        async with toolset:
            assert len(await toolset.specs()) == count


def test_unknown_and_repeated_names_are_the_operators_mistake(tmp_path):
    known = "calculator, clock, fetch, fetch:private, files, files:write"
    with pytest.raises(ConfigError, match=f"no tools called 'clok'; known: {known}"):
        pack(["clok"], root=tmp_path)
    with pytest.raises(ConfigError, match="'files' and 'files:write' are the same"):
        pack(["files", "files:write"], root=tmp_path)


async def test_every_tool_explains_itself(tmp_path):
    specs = []
    for name in ("calculator", "clock", "fetch", "files:write"):
        for item in pack([name], root=tmp_path):
            if isinstance(item, Function):
                specs.append(item.spec())
            else:
                async with item:
                    specs += await item.specs()
    assert len({spec.name for spec in specs}) == len(specs) == 11
    for spec in specs:
        assert len(spec.description) > 40, spec.name
        assert spec.input_schema["additionalProperties"] is False
        for name, schema in spec.input_schema["properties"].items():
            assert schema.get("description"), (spec.name, name)
        assert spec.read_only is (spec.name not in ("write_file", "edit_file"))


def test_the_catalogue_imports_nothing_before_it_is_asked():
    code = (
        "import sys, agentrt_tools\n"
        "print([name for name in ('pydantic', 'httpx2', 'httpcore2', 'mcp') if name in sys.modules])"
    )
    env = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert sorted(PACK) == list(PACK)
