import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from agentrt.engines.discover import local_engine
from tests.model_server import Ask, ModelServer, Reply, failing, models, whole_json

pytestmark = pytest.mark.anyio
SCHEMES = ("OLLAMA", "VLLM", "LLAMACPP", "LMSTUDIO", "SGLANG")


@pytest.fixture(autouse=True)
async def nobody_at_home(monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> None:
    """Point every endpoint to a port of this machine where nobody listens."""
    async with ModelServer([]) as server:
        url = server.url
    for scheme in SCHEMES:
        monkeypatch.setenv(f"{scheme}_BASE_URL", url)


def serving(reply: Reply) -> Any:
    return lambda ask: reply


async def test_no_server_is_no_engine() -> None:
    assert await local_engine() is None


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_server_with_a_model_is_found(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ModelServer(serving(models("qwen3:8b", "other"))) as server:
        monkeypatch.setenv(f"{scheme}_BASE_URL", server.url)
        assert await local_engine() == f"{scheme.lower()}:qwen3:8b"
        assert [ask.path for ask in server.asks] == ["/v1/models"]
        await server.until(lambda server: server.closed == server.opened)


async def test_the_order_of_preference_does_not_depend_on_who_answers_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = anyio.Event()

    def script(ask: Ask) -> Reply:
        asked.set()
        return models("quick")

    slow = Reply(models("slow").steps, headers=[("content-type", "application/json")], before_head=asked)
    async with ModelServer(serving(slow)) as first, ModelServer(script) as second:
        monkeypatch.setenv("OLLAMA_BASE_URL", first.url)
        monkeypatch.setenv("VLLM_BASE_URL", second.url)
        assert await local_engine() == "ollama:slow"


async def test_models_that_do_not_converse_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ModelServer(serving(models("nomic-embed-text:latest", "bge-reranker", "qwen3"))) as server:
        monkeypatch.setenv("OLLAMA_BASE_URL", server.url)
        assert await local_engine() == "ollama:qwen3"


@pytest.mark.parametrize(
    "reply",
    [
        models(),
        models("nomic-embed-text"),
        failing(404, "not found"),
        failing(401, "who are you"),
        whole_json({"data": [{"id": "a product", "object": "product"}], "object": "list"}),
        whole_json({"data": [{"id": "model"}]}),
        whole_json([{"id": "m", "object": "model"}]),
        whole_json({"object": "list", "data": {"id": "m"}}),
        Reply([b"<html>It works!</html>"], headers=[("content-type", "text/html")]),
        Reply([b"{"], end="cut"),
    ],
)
async def test_whatever_else_listens_there_is_left_alone(reply: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ModelServer(serving(reply)) as server:
        monkeypatch.setenv("VLLM_BASE_URL", server.url)
        assert await local_engine() is None
        assert len(server.asks) == 1


async def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentrt.engines.discover.PROBE_SECONDS", 0.05)
    async with (
        ModelServer(serving(Reply(before_head=anyio.Event()))) as hung,
        ModelServer(serving(models("m"))) as good,
    ):
        monkeypatch.setenv("OLLAMA_BASE_URL", hung.url)
        monkeypatch.setenv("LLAMACPP_BASE_URL", good.url)
        assert await local_engine() == "llamacpp:m"
        await hung.until(lambda server: server.closed == 1)


async def test_only_this_machine_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in SCHEMES:
        monkeypatch.setenv(f"{scheme}_BASE_URL", "http://192.0.2.1:8000/v1")
    assert await local_engine() is None


def test_searching_costs_no_heavy_import() -> None:
    script = (
        "import sys, agentrt.engines.discover, agentrt.engines.openai_chat\n"
        "heavy = {'pydantic', 'mcp', 'aiohttp', 'httpx', 'httpx2', 'typer', 'rich', 'http.client', 'urllib.request'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
