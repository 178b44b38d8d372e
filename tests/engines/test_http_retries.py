from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from agentrt import EngineError
from agentrt.engine import Retrying
from agentrt.engines.openai_chat import OpenAIChat
from agentrt.engines.retry import Patience
from agentrt.errors import EngineRefused
from tests.engines.asking import CALM, SUNNY, ask, hear
from tests.model_server import (
    DONE,
    Ask,
    ModelServer,
    Reply,
    answer,
    event,
    failing,
    whole_json,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_a_failure_that_may_pass_is_tried_again(status: int) -> None:
    heard = await ask([failing(status, "a moment"), answer("It is sunny in Oslo.")], requests=2)
    assert heard.retries == [Retrying(f"it answered {status}, a moment", 0.0)]
    assert heard.answer == SUNNY


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply([], end="cut"), "the connection ended before the answer did"),
        (Reply([DONE]), "the answer was empty"),
        (Reply([event({"error": {"message": "CUDA error"}})]), "it reported an error: CUDA error"),
        (Reply([b"data: {nonsense\n\n"]), "the answer is broken: "),
        (answer("", finish="error"), "the answer was empty"),
    ],
)
async def test_an_answer_that_broke_before_its_first_token_is_tried_again(reply: Reply, reason: str) -> None:
    heard = await ask([reply, answer("It is sunny in Oslo.")], requests=2)
    assert [retry.reason.startswith(reason) for retry in heard.retries] == [True]
    assert heard.answer == SUNNY


async def test_the_pause_that_a_server_asks_for_is_kept() -> None:
    heard = await ask([failing(429, "slow", retry_after="0.01"), answer("Yes.")], requests=2)
    assert heard.retries[0].wait_seconds == 0.01
    heard = await ask([failing(429, "slow", retry_after_ms="20"), answer("Yes.")], requests=2)
    assert heard.retries[0].wait_seconds == 0.02
    past = format_datetime(datetime.now(UTC) - timedelta(minutes=5), usegmt=True)
    heard = await ask([failing(503, "slow", retry_after=past), answer("Yes.")], requests=2)
    assert heard.retries[0].wait_seconds == 0.0
    heard = await ask([failing(503, "slow", retry_after="whenever"), answer("Yes.")], requests=2)
    assert heard.retries[0].wait_seconds == 0.0


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_pause_that_is_too_long_ends_the_tries(form: str) -> None:
    # the date is made here and not when tests are collected, which may be minutes earlier
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=3601), usegmt=True)
    with pytest.raises(EngineError, match=r"429, out of quota; it asks to wait 3[56]\d\d s, longer than 60 s"):
        await ask([failing(429, "out of quota", retry_after="3600" if form == "seconds" else date)])


async def test_tries_end_and_the_last_reason_is_told() -> None:
    with pytest.raises(
        EngineError, match=r"/v1 did not answer in 3 tries over 0 s; at last: it answered 500, no memory"
    ):
        await ask(lambda ask: failing(500, "no memory"), requests=3)


async def test_tries_end_with_the_time_for_them() -> None:
    patience = Patience(retry_seconds=5.0, tries=100)
    with pytest.raises(EngineError, match="in 1 tries"):
        await ask([failing(500, "no memory", retry_after="6")], patience=patience)


async def test_pauses_grow_and_are_jittered() -> None:
    patience = Patience(backoff_seconds=0.001, tries=6)
    heard = await ask([*[failing(500)] * 5, answer("Yes.")], patience=patience, requests=6)
    bounds = [0.001 * 2**at for at in range(5)]
    assert all(top / 2 <= retry.wait_seconds <= top for top, retry in zip(bounds, heard.retries, strict=True))


async def test_nobody_there_is_tried_again_and_then_told() -> None:
    async with ModelServer([]) as server:
        url = server.url
    engine = OpenAIChat(url, "m", patience=CALM)
    with pytest.raises(
        EngineError, match=r"2 tries .* can't connect to http://127.*: Connection refused\. Next: start the server"
    ):
        await hear(engine)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, ""),
        (401, r"set \$MY_KEY to its key"),
        (403, r"set \$MY_KEY to its key"),
        (404, "check the address and the model name 'm'"),
        (413, "make the conversation shorter"),
        (302, "use the address that it redirects to"),
    ],
)
async def test_a_refusal_is_not_tried_again_and_says_what_to_do(status: int, advice: str) -> None:
    with pytest.raises(EngineRefused, match=rf"http://127.*/v1 answered {status}, it says no.*{advice}"):
        await ask([failing(status, "it says no")], key_variable="MY_KEY")


async def test_money_that_is_gone_does_not_come_back_by_trying() -> None:
    body = {"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}}
    with pytest.raises(EngineRefused, match="You exceeded your quota"):
        await ask([whole_json(body, status=429)])


async def test_a_refusal_inside_a_stream_is_one_too() -> None:
    with pytest.raises(EngineRefused, match="answered 400, too long"):
        await ask([Reply([event({"error": {"message": "too long", "code": 400}})])])


async def test_a_message_of_the_server_is_bounded_and_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with pytest.raises(EngineRefused, match=r"check the key in \$MY_KEY") as caught:
        await ask([failing(401, f"bad key sk-secret \x1b[31m{'x' * 5000}")], key_variable="MY_KEY")
    assert len(str(caught.value)) < 900
    assert "sk-secret" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("body", [b"<html><body>Bad gateway</body></html>", b"\xff\xfe", b"", b"[]", b'"no"', b"{}"])
async def test_an_error_of_any_shape_is_told(body: bytes) -> None:
    with pytest.raises(EngineRefused, match="answered 418"):
        await ask([Reply([body], status=418)])


async def test_a_server_that_does_not_know_usage_reports_is_asked_without_from_then_on() -> None:
    def script(ask: Ask) -> Reply:
        if "stream_options" in ask.json:
            return failing(400, "Extra inputs are not permitted: stream_options")
        return answer("Yes.")

    async with ModelServer(script) as server:
        engine = OpenAIChat(server.url, "m", patience=Patience())
        for _ in range(2):
            assert (await hear(engine)).answer.text == "Yes."
        assert ["stream_options" in ask.json for ask in server.asks] == [True, False, False]
        await engine.aclose()
