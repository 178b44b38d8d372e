"""The exception tree, and how errors leave a task group."""

from __future__ import annotations

import anyio
import pytest

from agentrt import AgentrtError, ConfigError, EngineError, EngineRefused, SchemaError, ToolsetError
from agentrt.errors import lone_errors

pytestmark = pytest.mark.anyio


def test_the_tree_is_as_drawn() -> None:
    for kind in (ConfigError, SchemaError, ToolsetError, EngineError):
        assert kind.__bases__ == (AgentrtError,)
    assert EngineRefused.__bases__ == (EngineError,)
    assert AgentrtError.__bases__ == (Exception,)


async def fail(error: BaseException) -> None:
    raise error


class TestLoneErrors:
    """One error comes out as itself, several as a group, and nobody else's group is opened."""

    async def test_one_error_of_a_task_comes_out_as_itself_with_its_cause(self) -> None:
        cause = OSError("below")
        error = ValueError("above")
        error.__cause__ = cause
        with pytest.raises(ValueError, match="above") as caught:
            async with lone_errors() as group:
                group.start_soon(fail, error)
        assert caught.value is error
        assert caught.value.__cause__ is cause

    async def test_one_error_of_the_block_comes_out_as_itself(self) -> None:
        with pytest.raises(KeyError):
            async with lone_errors():
                raise KeyError("x")

    async def test_several_errors_stay_together(self) -> None:
        async def two() -> None:
            async with lone_errors() as group:
                group.start_soon(fail, ValueError("a"))
                group.start_soon(fail, OSError("b"))

        with pytest.raises(ExceptionGroup) as caught:
            await two()
        assert {type(error) for error in caught.value.exceptions} == {ValueError, OSError}

    async def test_a_group_that_somebody_raised_stays_a_group(self) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with lone_errors() as group:
                group.start_soon(fail, ExceptionGroup("theirs", [ValueError("a")]))
        assert caught.value.message == "theirs"

    async def test_nested_ones_let_a_lone_error_through_every_layer(self) -> None:
        with pytest.raises(ValueError, match="deep"):
            async with lone_errors(), lone_errors() as inner:
                inner.start_soon(fail, ValueError("deep"))

    async def test_a_cancel_is_no_error(self) -> None:
        async with lone_errors() as group:
            group.start_soon(anyio.sleep_forever)
            group.cancel_scope.cancel()
