"""The grammars of all formats, asked of xgrammar itself: whatever they admit is read as whole and valid calls."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from agentrt.engines.grammar.tags import Tags, enforces
from agentrt.engines.tokens.vocabulary import Vocabulary
from agentrt.engines.toolparse import FORMATS
from agentrt.engines.vllm_local import Settings, TokenEngine
from agentrt.types import ToolSpec
from tests.engines.wire_formats import WRITERS, Said
from tests.moe.barrage import barrage, report
from tests.moe.talk import TOOLS
from tests.moe.whim import Whim, tokenizer

pytestmark = [pytest.mark.anyio, pytest.mark.moe]
if find_spec("xgrammar") is None:
    pytest.skip("needs xgrammar: .ci/moe makes an environment with it", allow_module_level=True)


@pytest.fixture(params=sorted(FORMATS))
def whim(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Whim]:
    return request.param, Whim(tokenizer(request.param, tmp_path))


@pytest.mark.parametrize("offered", [1, 5])
async def test_whatever_a_grammar_admits_is_read_as_whole_calls_that_pass_the_gate(whim, offered: int) -> None:
    kind, source = whim
    settings = Settings(calls="required", answer_tokens=400, parallel_calls=2)
    counts = await barrage(TokenEngine(f"vllm:{kind}", source, settings), 200, streams=1, offered=offered)
    print("\n" + kind, report(counts))
    assert enforces(kind)
    assert (counts.invalid_dispatched, counts.finishes["cut"]) == (0, 0)
    # no grammar bounds a number's exponent
    assert [name for name, _, reason in counts.enforced_rejected if "larger than a number can be" not in reason] == []
    assert counts.dispatched > 130


WEATHER = ToolSpec(
    "get-weather",
    "The weather.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "why": {"type": "string"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
)
CALL = Said("call", '{"city": "Sr\u00e5, \u65e5 \\n", "days": 3}', "get-weather")
ANSWERS = {
    "a call": [CALL],
    "words and a call": [Said("words", "Let me look."), CALL],
    "a call that was thought about": [Said("reasoning", "Hm, weather?"), CALL],
    "two calls": [CALL, CALL],
    "words alone": [Said("words", "It is fine. {}")],
}


@pytest.mark.parametrize("said", ANSWERS)
@pytest.mark.parametrize("writer", WRITERS)
async def test_what_the_models_templates_write_is_admitted(writer: str, said: str, tmp_path: Path) -> None:
    kind = writer.partition("_")[0]
    if kind == "harmony" and said in ("two calls", "words and a call"):
        pytest.skip("a call ends an answer of gpt-oss, and so do words on its last channel")
    words = tokenizer(kind, tmp_path)
    ids = Vocabulary(words).ids
    tags = Tags(kind, ids, parallel=2)
    answer = words.encode(WRITERS[writer](ANSWERS[said]), add_special_tokens=False)
    stops = [ids[mark] for mark in (*FORMATS[kind].stops, *FORMATS[kind].halts) if mark in ids]
    if said == "words alone" and kind == "harmony":
        answer[-1] = ids["<|return|>"]
    assert Whim(words).admits(tags.calls((WEATHER, *TOOLS), 0), answer, stops) == len(answer)
