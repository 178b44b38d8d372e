"""Tasks that are used again behave as a task group's own."""

from __future__ import annotations

from contextvars import ContextVar

import anyio
import pytest
from anyio.lowlevel import checkpoint

from agentrt.crew import Crew
from agentrt.errors import lone_errors

pytestmark = pytest.mark.anyio
WHERE: ContextVar[str] = ContextVar("where", default="")


async def test_what_comes_one_after_another_shares_a_task_and_what_comes_at_once_does_not() -> None:
    tasks: list[int] = []

    async def note() -> None:
        tasks.append(anyio.get_current_task().id)

    async with anyio.create_task_group() as group:
        with Crew(group) as crew:
            for _ in range(3):
                crew.start_soon(note)
                await anyio.wait_all_tasks_blocked()
            crew.start_soon(note)
            crew.start_soon(note)
            await anyio.wait_all_tasks_blocked()
    assert len(tasks) == 5
    assert len(set(tasks)) == 2


async def test_each_finds_the_context_variables_as_they_were_where_it_was_started() -> None:
    found: list[str] = []

    async def look() -> None:
        found.append(WHERE.get())
        WHERE.set("left behind")

    async with anyio.create_task_group() as group:
        with Crew(group) as crew:
            for place in ("first", "second"):
                WHERE.set(place)
                crew.start_soon(look)
                await anyio.wait_all_tasks_blocked()
    assert found == ["first", "second"]


async def test_leaving_the_block_ends_the_tasks_when_their_work_is_done() -> None:
    done: list[str] = []
    go = anyio.Event()

    async def work() -> None:
        await go.wait()
        done.append("work")

    async with anyio.create_task_group() as group:
        with Crew(group) as crew:
            crew.start_soon(work)
        go.set()
    assert done == ["work"]


async def test_what_raises_ends_the_group() -> None:
    async def fail() -> None:
        raise ValueError("no")

    async def start() -> None:
        async with lone_errors() as group:
            with Crew(group) as crew:
                crew.start_soon(checkpoint)
                await anyio.wait_all_tasks_blocked()
                crew.start_soon(fail)
                await anyio.sleep_forever()

    with pytest.raises(ValueError, match="no"):
        await start()


async def test_what_is_started_as_the_group_is_cancelled_still_gets_as_far_as_its_first_wait() -> None:
    done: list[str] = []

    async def write() -> None:
        with anyio.CancelScope(shield=True):
            await checkpoint()
        done.append("written")
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        with Crew(group) as crew:
            crew.start_soon(checkpoint)
            await anyio.wait_all_tasks_blocked()
            crew.start_soon(write)
            group.cancel_scope.cancel()
    assert done == ["written"]
