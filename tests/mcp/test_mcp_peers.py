"""The connector against servers that others wrote, as other processes."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import anyio
import pytest

from agentrt_mcp import mcp

pytestmark = pytest.mark.anyio


@pytest.mark.skipif(find_spec("mcp_server_time") is None, reason="mcp-server-time is not installed")
async def test_mcp_server_time_tells_the_time(ask):
    async with mcp([sys.executable, "-m", "mcp_server_time", "--local-timezone=UTC"]) as toolset:
        assert [spec.name for spec in await toolset.specs()] == ["time__get_current_time", "time__convert_time"]
        result = await ask(
            toolset, "time__convert_time", source_timezone="UTC", time="10:00", target_timezone="Asia/Tokyo"
        )
        assert json.loads(result.text)["time_difference"] == "+9.0h"
        refused = await ask(toolset, "time__get_current_time", timezone="Moon/Base")
        assert refused.error
        assert "Moon/Base" in refused.text


@pytest.fixture(scope="session")
def npx():
    """Starts packages of npm, downloaded before, so that a test does not wait for the network with a deadline on."""
    program = shutil.which("npx")
    if program is None:
        pytest.skip("npx is not installed")

    def argv(package, *arguments):
        fetch = [program, "-y", "-p", package, "node", "-e", "0"]
        if subprocess.run(fetch, capture_output=True, timeout=300).returncode:
            pytest.skip(f"npm can't fetch {package}")
        return [program, "-y", package, *arguments]

    return argv


async def test_the_filesystem_server_keeps_to_its_folder(npx, ask, tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    command = npx("@modelcontextprotocol/server-filesystem", str(tmp_path))
    async with mcp(command, start_seconds=120) as toolset:
        assert "draft-07" in (await toolset.specs())[0].input_schema["$schema"]
        result = await ask(toolset, "filesystem__read_text_file", path=str(tmp_path / "a.txt"))
        assert (result.text, result.error) == ("hello", False)
        assert (await ask(toolset, "filesystem__read_text_file", path="/etc/hostname")).error


async def test_the_everything_server_shows_every_kind_of_answer(npx, ask):
    steps = []

    async def progress(done, total, message):
        steps.append((done, total))

    async with mcp(npx("@modelcontextprotocol/server-everything"), start_seconds=120) as toolset:
        assert (await ask(toolset, "everything__echo", message="hi")).text == "Echo: hi"
        assert [item.mime_type for item in (await ask(toolset, "everything__get-tiny-image")).media] == ["image/png"]
        assert "[resource " in (await ask(toolset, "everything__get-resource-links", count=2)).text
        weather = await ask(toolset, "everything__get-structured-content", location="New York")
        assert set(weather.data) == {"temperature", "conditions", "humidity"}
        with anyio.fail_after(30):
            long = "everything__trigger-long-running-operation"
            assert not (await ask(toolset, long, progress=progress, duration=0.2, steps=2)).error
        assert steps[-1] == (2.0, 2.0)
