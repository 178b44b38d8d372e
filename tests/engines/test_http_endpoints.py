import pytest

from agentrt import EngineError
from agentrt.engine import Request
from agentrt.engines.openai_chat import OpenAIChat, Prices, engine_from_name
from agentrt.engines.wire import Dialect
from agentrt.errors import ConfigError
from agentrt.types import ToolCall, ToolResult, ToolSpec, Transcript, User
from tests.engines.asking import CALM, OSLO, hear
from tests.model_server import (
    Ask,
    ModelServer,
    Reply,
    answer,
    call,
    calling,
    failing,
    whole_json,
)

pytestmark = pytest.mark.anyio


async def test_what_is_asked_for_is_sent() -> None:
    async with ModelServer([answer("Yes.")]) as server:
        engine = OpenAIChat(
            server.url,
            "org/model",
            key="k",
            headers={"X-Team": "a"},
            extra_body={"chat_template_kwargs": {"thinking": False}},
            dialect=Dialect("max_completion_tokens"),
        )
        spec = ToolSpec("f", "Does f.", {"type": "object", "properties": {}})
        await hear(engine, Request(Transcript([User("x")]), "Be brief.", (spec,), 50, 0.5))
        await engine.aclose()
    (asked,) = server.asks
    assert (asked.path, asked.headers["authorization"], asked.headers["x-team"]) == (
        "/v1/chat/completions",
        "Bearer k",
        "a",
    )
    assert asked.json == {
        "model": "org/model",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 50,
        "temperature": 0.5,
        "chat_template_kwargs": {"thinking": False},
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": "Does f.",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
    }


async def test_a_tool_name_that_the_endpoint_would_reject_is_mapped_and_mapped_back() -> None:
    def script(ask: Ask) -> Reply:
        wire = ask.json["tools"][0]["function"]["name"]
        return calling(call(0, "a", wire, OSLO)) if len(server.asks) == 1 else answer("Sunny.")

    async with ModelServer(script) as server:
        engine = OpenAIChat(server.url, "m")
        transcript = Transcript([User("x")])
        request = Request(transcript, "", (ToolSpec("met.no/forecast", "", {}),))
        first = (await hear(engine, request)).answer
        assert first.calls == (ToolCall("a", "met.no/forecast", OSLO),)
        transcript.close_turn(first, [ToolResult("a", "met.no/forecast", "sunny")])
        await hear(engine, request)
        wire = server.asks[1].json["tools"][0]["function"]["name"]
        assert server.asks[1].json["messages"][1]["tool_calls"][0]["function"]["name"] == wire
        await engine.aclose()


async def test_without_a_model_the_first_one_listed_is_taken() -> None:
    async with ModelServer(lambda ask: answer("Yes."), models=["one", "two"]) as server:
        engine = OpenAIChat(server.url)
        for _ in range(2):
            await hear(engine)
        assert [ask.path for ask in server.asks] == ["/v1/models", "/v1/chat/completions", "/v1/chat/completions"]
        assert server.asks[1].json["model"] == "one"
        assert engine.name == f"{server.url}#one"
        await engine.aclose()


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (whole_json({"object": "list", "data": []}), "lists no model"),
        (whole_json({"detail": "Not Found"}, status=404), "answered 404; name a model"),
        (whole_json([1]), "something else; name a model"),
        (Reply([b"<html>"]), "something else; name a model"),
    ],
)
async def test_without_a_model_to_be_had_the_engine_says_so(reply: Reply, message: str) -> None:
    async with ModelServer([reply]) as server:
        engine = OpenAIChat(server.url, patience=CALM)
        with pytest.raises(EngineError, match=message):
            await hear(engine)
        await engine.aclose()


async def test_a_server_that_is_not_up_yet_is_asked_for_its_models_again() -> None:
    async with ModelServer([]) as server:
        url = server.url
    with pytest.raises(EngineError, match="in 2 tries"):
        await hear(OpenAIChat(url, patience=CALM))


@pytest.mark.parametrize(
    ("name", "url", "model"),
    [
        ("vllm:moonshotai/Kimi-K2.6", "http://127.0.0.1:8000/v1", "moonshotai/Kimi-K2.6"),
        ("sglang:m", "http://127.0.0.1:30000/v1", "m"),
        ("llamacpp:", "http://127.0.0.1:8080/v1", ""),
        ("ollama:qwen3:8b", "http://127.0.0.1:11434/v1", "qwen3:8b"),
        ("lmstudio:m", "http://127.0.0.1:1234/v1", "m"),
        ("openai:gpt", "https://api.openai.com/v1", "gpt"),
        ("moonshot:kimi", "https://api.moonshot.ai/v1", "kimi"),
        ("gemini:flash", "https://generativelanguage.googleapis.com/v1beta/openai", "flash"),
        ("anthropic:claude", "https://api.anthropic.com/v1", "claude"),
        ("http://host:99/v1#org/m", "http://host:99/v1", "org/m"),
        ("https://host/v1", "https://host/v1", ""),
    ],
)
def test_engines_are_made_from_names(name: str, url: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("OPENAI", "MOONSHOT", "GEMINI", "ANTHROPIC"):
        monkeypatch.setenv(f"{key}_API_KEY", "k")
    monkeypatch.delenv("VLLM_BASE_URL", raising=False)
    engine = engine_from_name(name)
    assert (engine._place.url, engine._model) == (url, model)
    assert engine.name == (name if model else f"{url}#")


def test_the_environment_can_move_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "http://gpu:9000/v1")
    assert engine_from_name("vllm:m")._place.url == "http://gpu:9000/v1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openai:gpt", r"set \$OPENAI_API_KEY"),
        ("gemini:flash", r"set \$GEMINI_API_KEY"),
        ("openai:", "write openai:MODEL"),
        ("nobody:m", "unknown engine 'nobody:m'; known are ollama, vllm"),
        ("http://u:p@host/v1#m", "must not carry credentials"),
        ("http:///v1#m", "must look like"),
    ],
)
def test_a_name_that_can_not_be_used_is_a_mistake_of_the_operator(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("OPENAI", "GEMINI"):
        monkeypatch.delenv(f"{key}_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=message):
        engine_from_name(name)


async def test_an_engine_from_a_name_takes_the_options_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ModelServer([answer("Yes.")]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        engine = engine_from_name("openai:gpt", key="k", extra_body={"top_p": 1}, prices=Prices(1.0, 1.0))
        heard = await hear(engine, Request(Transcript(), max_tokens=5))
        await engine.aclose()
    (asked,) = server.asks
    assert asked.headers["authorization"] == "Bearer k"
    assert (asked.json["top_p"], asked.json["max_completion_tokens"]) == (1, 5)
    assert heard.answer.usage.cost == pytest.approx(120e-6)


async def test_tables_of_a_configuration_file_will_do_as_options(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ModelServer([failing(500), answer("Yes.")]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        engine = engine_from_name(
            "openai:gpt",
            key="k",
            dialect={"strict_tools": True},
            prices={"prompt": 1, "completion": 2},
            patience={"backoff_seconds": 0.0},
            tls={"verify": True},
        )
        heard = await hear(engine, Request(Transcript(), "", (ToolSpec("f", "", {}),), max_tokens=5))
        await engine.aclose()
    assert heard.answer.usage.cost == pytest.approx(140e-6)
    asked = server.asks[1].json
    assert (asked["max_completion_tokens"], asked["tools"][0]["function"]["strict"]) == (5, True)


@pytest.mark.parametrize("option", ["dialect", "prices", "patience", "tls"])
def test_a_table_with_a_field_that_is_none_is_a_mistake_of_the_operator(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{option}' can't be used: .*'colour'"):
        engine_from_name("vllm:m", **{option: {"colour": "blue"}})  # type: ignore[arg-type]


def test_extra_fields_must_not_replace_ours() -> None:
    with pytest.raises(ConfigError, match="'messages'"):
        OpenAIChat("http://x", extra_body={"messages": []})
