"""Python functions as tools: the schema from the signature, and the way from arguments to a result."""

from __future__ import annotations

import enum
import functools
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Unit
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agentrt import ConfigError, Gate, Media, Progress, ToolCall, ToolResult, tool
from agentrt.function import Local

pytestmark = pytest.mark.anyio


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: int = 3


class Model(BaseModel):
    point: Point
    more: list[Point] = []


class Options(TypedDict):
    deep: bool
    title: str


async def answer(function: Any, arguments: str = "{}", *, reports: list[Any] | None = None) -> ToolResult:
    """Send one call through the gate to the function, as a run would."""

    async def progress(done: float, total: float | None, message: str) -> None:
        if reports is not None:
            reports.append((done, total, message))

    async with Local([function]) as local:
        gate = Gate(await local.specs())
        verdict = gate.check(ToolCall("c1", gate.specs[0].name, arguments))
        assert hasattr(verdict, "call"), verdict
        result = await local.call(verdict.call, progress)
    assert gate.check_output(result, result.name) is None
    return result


def properties(function: Any) -> dict[str, Any]:
    return dict(tool(function).spec().input_schema["properties"])


def test_types_and_defaults_become_a_closed_schema():
    def f(
        a: int,
        b: float | None = None,
        c: Literal["x", 1] = "x",
        e: Color = Color.RED,
        m: Model | None = None,
        d: date = date(2026, 1, 2),
        t: timedelta = timedelta(seconds=3),
        k: Decimal = Decimal("1.5"),
        s: set[int] = frozenset(),
        p: tuple[int, str] = (1, "a"),
        o: Options | None = None,
    ) -> None:
        """Do it."""

    spec = tool(f).spec()
    assert spec.name == "f"
    assert spec.description == "Do it."
    assert spec.output_schema is None
    schema = spec.input_schema
    assert schema["required"] == ["a"]
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {
        "a": {"type": "integer"},
        "b": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "c": {"enum": ["x", 1], "default": "x"},
        "e": {"$ref": "#/$defs/Color", "default": "red"},
        "m": {"anyOf": [{"$ref": "#/$defs/Model"}, {"type": "null"}], "default": None},
        "d": {"type": "string", "format": "date", "default": "2026-01-02"},
        "t": {"type": "string", "format": "duration", "default": "PT3S"},
        "k": {"anyOf": [{"type": "number"}, {"type": "string"}], "default": "1.5"},
        "s": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "default": []},
        "p": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "default": [1, "a"]}
        | {"minItems": 2, "maxItems": 2},
        "o": {"anyOf": [{"$ref": "#/$defs/Options"}, {"type": "null"}], "default": None},
    }
    assert schema["$defs"]["Options"]["properties"] == {"deep": {"type": "boolean"}, "title": {"type": "string"}}


def test_constraints_units_and_words_come_from_the_annotation():
    def f(
        a: Annotated[int, Field(ge=1, le=9, description="How many.")],
        b: Annotated[float, Ge(0), Unit("km")],
        c: Annotated[float, Unit("s")] | None = None,
        d: Annotated[str, "A name"] = "",
        e: Annotated[int, Field(alias="from", description="Start")] = 3,
    ) -> None: ...

    assert properties(f) == {
        "a": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many."},
        "b": {"type": "number", "minimum": 0, "description": "in km"},
        "c": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None, "description": "in s"},
        "d": {"type": "string", "default": "", "description": "A name"},
        "from": {"type": "integer", "default": 3, "description": "Start"},
    }


def google(a: int, b: Annotated[float, Unit("m")], c: Annotated[int, Field(description="Told.")] = 1) -> int:
    """Add things: well.

    Args:
        a: The first,
            and on.

        b (float): The second.
        c: Not this.

    Returns:
        The sum.
    """
    return a + c


def sphinx(a: int, b: Annotated[float, Unit("m")], c: Annotated[int, Field(description="Told.")] = 1) -> int:
    """Add things: well.

    :param a: The first,
        and on.
    :param float b: The second.
    :param c: Not this.
    :returns: The sum.
    """
    return a + c


def numpy(a: int, b: Annotated[float, Unit("m")], c: Annotated[int, Field(description="Told.")] = 1) -> int:
    """Add things: well.

    Parameters
    ----------
    a : int
        The first,
        and on.
    b
        The second.
    c : int, optional
        Not this.

    Returns
    -------
    int
        The sum.
    """
    return a + c


@pytest.mark.parametrize("function", [google, sphinx, numpy])
def test_docstrings_of_every_common_style_describe_the_parameters(function):
    spec = tool(function).spec()
    assert spec.description == "Add things: well."
    described = {name: schema["description"] for name, schema in spec.input_schema["properties"].items()}
    assert described == {"a": "The first, and on.", "b": "The second., in m", "c": "Told."}


def test_signatures_that_make_no_schema_are_refused_with_the_fix():
    def untyped(x): ...
    def starred(*xs: int): ...
    def keywords(**xs: int): ...
    def positional(x: int, /): ...
    def foreign(x: threading.Lock): ...
    def field_default(x: int = Field(3)): ...

    reasons = {
        (lambda: 1): "needs a name",
        untyped: "needs a type annotation",
        starred: "can't be passed by name",
        keywords: "can't be passed by name",
        positional: "can't be passed by name",
        foreign: "no JSON Schema|can't be read",
        field_default: "Annotated",
    }
    for function, words in reasons.items():
        with pytest.raises(ConfigError, match=words):
            tool(function).spec()


async def test_arguments_arrive_as_their_python_types():
    got: list[Any] = []

    def f(
        m: Model, d: date, k: Decimal, t: tuple[int, str], e: Color, o: Options
    ) -> None:  # fmt: skip
        got.extend([m, d, k, t, e, o])

    await answer(
        f,
        '{"m": {"point": {"x": 1}}, "d": "2026-03-01", "k": "0.10", "t": [1, "a"], "e": "blue", '
        '"o": {"deep": true, "title": "t"}}',
    )
    assert got == [
        Model(point=Point(1)), date(2026, 3, 1), Decimal("0.10"), (1, "a"), Color.BLUE, {"deep": True, "title": "t"},
    ]  # fmt: skip


async def test_an_aliased_parameter_arrives_under_its_python_name():
    def f(from_: Annotated[int, Field(alias="from")] = 3) -> int:
        return from_

    assert (await answer(f, '{"from": 7}')).data == 7
    assert (await answer(f)).data == 3


async def test_what_json_schema_does_not_check_is_told_to_the_model():
    def f(d: date) -> None: ...

    result = await answer(f, '{"d": "2026-02-30"}')
    assert result.error
    assert result.text.startswith("f was not run: d: Input should be a valid date")


async def test_structured_results_have_a_schema_and_data():
    def f() -> Model:
        return Model(point=Point(1))

    schema = tool(f).spec().output_schema
    assert schema is not None
    assert schema["properties"]["point"] == {"$ref": "#/$defs/Point"}
    result = await answer(f)
    assert result.data == {"point": {"x": 1, "y": 3}, "more": []}
    assert result.text == '{"point": {"x": 1, "y": 3}, "more": []}'


async def test_media_are_shown_beside_the_words():
    picture = Media("image/png", b"\xff\x00")

    def one() -> Media:
        return picture

    def several() -> list[str | Media]:
        return ["look:", picture]

    def raw() -> bytes:
        return b"\xff\xfe"

    def maybe() -> Media | None:
        return None

    assert await answer(one) == ToolResult("c1", "one", "[image/png, 2 bytes]", media=(picture,))
    assert await answer(several) == ToolResult("c1", "several", "look:\n[image/png, 2 bytes]", media=(picture,))
    assert (await answer(raw)).media == (Media("application/octet-stream", b"\xff\xfe"),)
    assert (await answer(maybe)).text == "null"


async def test_values_that_json_does_not_know_still_make_json():
    def f() -> Any:
        return {"n": float("nan"), "b": b"\xff", "o": threading.main_thread}

    result = await answer(f)
    assert isinstance(result.data, dict)
    assert result.data["n"] is None
    assert result.data["b"] == "_w=="
    assert "main_thread" in result.data["o"]


async def test_methods_partials_and_callable_objects_are_tools_too():
    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        def sell(self, item: str) -> str:
            """Sell it."""
            return f"{self.name} sold {item}"

        @tool(read_only=True)
        async def count(self, item: str) -> int:
            """Count it."""
            return len(self.name + item)

        async def __call__(self, item: str) -> str:
            """Look at it."""
            return f"{self.name} shows {item}"

    shop = Shop("ours")
    assert (await answer(shop.sell, '{"item": "a"}')).text == "ours sold a"
    assert shop.count.read_only
    assert (await answer(shop.count, '{"item": "a"}')).data == 5
    result = await answer(shop, '{"item": "a"}')
    assert (result.name, result.text) == ("Shop", "ours shows a")
    assert tool(shop).spec().description == "Look at it."

    def send(account: str, text: str, times: int = 1) -> str:
        return f"{account}: {text * times}"

    bound = functools.partial(send, account="mine")
    assert list(properties(bound)) == ["text", "times"], "what the operator fixed is not the model's to choose"
    result = await answer(bound, '{"text": "hi"}')
    assert (result.name, result.text) == ("send", "mine: hi")
    assert (await answer(functools.partial(send, "mine"), '{"text": "a", "times": 2}')).text == "mine: aa"

    async def later(account: str, text: str) -> str:
        return f"{account}: {text}"

    assert (await answer(functools.partial(later, "mine"), '{"text": "a"}')).text == "mine: a"


async def test_decorated_functions_keep_their_signature():
    @functools.lru_cache
    def cached(x: int) -> int:
        """Square it."""
        return x * x

    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return inner

    @logged
    async def later(x: int) -> int:
        return x + 1

    assert tool(cached).spec().description == "Square it."
    assert (await answer(cached, '{"x": 3}')).data == 9
    assert (await answer(later, '{"x": 3}')).data == 4


async def test_plain_functions_run_in_a_thread_and_async_ones_in_the_loop():
    loop = threading.get_ident()

    def plain() -> bool:
        return threading.get_ident() == loop

    async def later() -> bool:
        return threading.get_ident() == loop

    assert (await answer(plain)).data is False
    assert (await answer(later)).data is True


async def test_generators_are_gathered_where_they_do_not_block_the_loop():
    loop = threading.get_ident()

    def count(n: int) -> Iterator[bool]:
        for _ in range(n):
            yield threading.get_ident() == loop

    async def stream(n: int) -> AsyncIterator[int]:
        yield n

    assert tool(count).spec().output_schema == {"type": "array", "items": {"type": "boolean"}}
    assert (await answer(count, '{"n": 2}')).data == [False, False]
    assert (await answer(stream, '{"n": 3}')).data == [3]


async def test_progress_reaches_the_caller_from_the_loop_and_from_a_thread():
    async def later(n: int, progress: Progress) -> str:
        await progress(1, n, "half")
        return "done"

    def plain(n: int, report: Progress | None = None) -> str:
        assert report is not None
        report(1, n, "half")
        return "done"

    for function in (later, plain):
        assert list(properties(function)) == ["n"]
        reports: list[Any] = []
        assert (await answer(function, '{"n": 2}', reports=reports)).text == "done"
        assert reports == [(1, 2, "half")]


async def test_results_that_belie_their_annotation_are_told_by_the_gate():
    def liar() -> int:
        return "no"  # type: ignore[return-value]

    async with Local([liar]) as local:
        gate = Gate(await local.specs())
        verdict = gate.check(ToolCall("c1", "liar", "{}"))

        async def progress(done: float, total: float | None, message: str) -> None: ...

        result = await local.call(verdict.call, progress)
    assert "expected integer" in str(gate.check_output(result, "liar"))
