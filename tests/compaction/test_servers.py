"""Servers that refuse a prompt as too long, over real HTTP."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from agentrt import Agent, Compaction, ContextExceeded, EngineRefused, tool
from agentrt.engines.openai_chat import OpenAIChat
from agentrt.engines.retry import Place
from tests.compaction.compaction_kit import Heard
from tests.model_server import Ask, ModelServer, Reply, answer, call, calling, usage, whole_json

pytestmark = pytest.mark.anyio

VLLM = (
    "This model's maximum context length is 4096 tokens. However, you requested 5096 tokens (4996 in the messages, "
    "100 in the completion). Please reduce the length of the messages or completion."
)
PLACE = Place("http://127.0.0.1/v1", "m", "KEY", "")


@pytest.mark.parametrize(
    ("status", "body", "limit", "tokens"),
    [
        (400, {"error": {"message": VLLM, "type": "BadRequestError", "code": 400}}, 4096, 4996),
        (400, {"error": {"message": "Too long.", "code": "context_length_exceeded"}}, None, None),
        (
            400,
            {"error": {"message": "request (9001 tokens) exceeds the available context size (8192 tokens), try to "
             "increase it", "type": "exceed_context_size_error", "code": 400}},
            8192,
            9001,
        ),
        (400, {"error": {"message": "prompt is too long: 212,000 tokens > 200,000 maximum"}}, 200_000, 212_000),
        (
            400,
            {"error": {"message": "The decoder prompt (length 700) is longer than the maximum model length of 512. "
             "Make sure that `max_model_len` is no smaller."}},
            512,
            None,
        ),
        (413, {"error": {"message": "Request Entity Too Large"}}, None, None),
    ],
)  # fmt: skip
def test_what_servers_say_of_a_prompt_that_is_too_long_is_understood(
    status: int, body: Any, limit: int | None, tokens: int | None
) -> None:
    refused = PLACE.failure(status, {}, json.dumps(body).encode(), strict=True)
    assert isinstance(refused, ContextExceeded)
    assert (refused.limit, refused.tokens) == (limit, tokens)
    assert "context_tokens" in str(refused)


@pytest.mark.parametrize("message", ["unknown parameter 'foo'", "max_tokens is too large", "no such model"])
def test_other_refusals_are_not_taken_for_it(message: str) -> None:
    refused = PLACE.failure(400, {}, json.dumps({"error": {"message": message}}).encode())
    assert isinstance(refused, EngineRefused)
    assert not isinstance(refused, ContextExceeded)


def counted(reply: Reply, size: int) -> Reply:
    """The reply, with the tokens of its prompt in the usage report."""
    return replace(reply, steps=[usage(size) if step == usage() else step for step in reply.steps])


class Server:
    """Counts a token for four bytes of messages; makes calls until it has seen ``turns`` results or notes of them."""

    def __init__(self, turns: int, limit: int) -> None:
        self.turns, self.limit = turns, limit
        self.made = self.refused = 0
        self.bodies: list[Any] = []

    def __call__(self, ask: Ask) -> Reply:
        body = ask.json
        size = len(json.dumps(body["messages"])) // 4
        if size > self.limit:
            self.refused += 1
            text = VLLM.replace("4096", str(self.limit)).replace("4996", str(size))
            return whole_json({"error": {"message": text, "code": "context_length_exceeded"}}, status=400)
        self.bodies.append(body)
        if body.get("tool_choice") == "none":
            return counted(answer("Some were paid."), size)
        if self.made == self.turns:
            return counted(answer("all done"), size)
        self.made += 1
        return counted(calling(call(0, f"id{self.made}", "pay", json.dumps({"to": f"number {self.made:02}"}))), size)


async def test_a_run_goes_on_after_the_server_refused_the_prompt_as_too_long() -> None:
    paid: list[str] = []

    @tool
    def pay(to: str) -> str:
        """Pay somebody."""
        paid.append(to)
        return f"{to} was paid " + "x" * 300

    script, heard = Server(40, 2_500), Heard()
    async with ModelServer(script) as server:
        engine = OpenAIChat(server.url, "m")
        result = await Agent(engine, tools=[pay]).run("Pay them all.", emit=heard)
        await engine.aclose()
    assert (result.reason, result.text) == ("done", "all done")
    assert paid == [f"number {number:02}" for number in range(1, 41)]
    assert script.refused == 1
    assert heard.cuts[0].reason == "the server refused the prompt as too long"
    asked = [body for body in script.bodies if body.get("tool_choice") == "none"]
    assert len(asked) == len([cut for cut in heard.cuts if cut.dropped])
    assert all(body["tools"] == script.bodies[0]["tools"] for body in asked)
    last = json.dumps(script.bodies[-1]["messages"])
    assert all(f"number {number:02}" in last for number in range(1, 41))


async def test_with_a_configured_context_the_server_never_has_to_refuse() -> None:
    @tool(read_only=True)
    def pay(to: str) -> str:
        """Look who is to be paid."""
        return f"{to} is to be paid " + "x" * 300

    script = Server(40, 2_500)
    async with ModelServer(script) as server:
        engine = OpenAIChat(server.url, "m")
        ours = Agent(engine, tools=[pay], compaction=Compaction(context_tokens=2_500))
        result = await ours.run("Look at them all.")
        await engine.aclose()
    assert (result.reason, script.refused) == ("done", 0)
