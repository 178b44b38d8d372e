"""Workers on a Ray cluster: a few actors that run hundreds of sessions each; what one forgets, the journal knows."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ray
from anyio import CancelScope, Event, move_on_after
from anyio.to_thread import run_sync
from ray.exceptions import RayError, RayTaskError

from agentrt import errors
from agentrt.batch.desk import Desk, Order
from agentrt.batch.fleet import Note, WorkerLost
from agentrt.batch.outcome import Outcome
from agentrt.batch.tasks import Job
from agentrt.errors import AgentrtError, ConfigError
from agentrt.journal.opening import open_store

T = TypeVar("T")
Ready = tuple[str, tuple[str, str] | None]
"""The machine of an actor, and the kind and text of what kept it from opening."""

CLOSE_SECONDS = 5.0
ROOM_SECONDS = 30.0


class Actor:
    """What runs on a node. ``serve`` holds the tools open, from one task, while ``run`` is called hundreds of times."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._desk: Desk | None = None
        self._ready = Event()
        self._closing = Event()
        self._failure: tuple[str, str] | None = None
        self._running: set[CancelScope] = set()

    async def serve(self) -> None:
        """Open the store and the tools, and close them when :meth:`close` is called."""
        order = self._order
        try:
            async with aclosing(open_store(order.store)) as store, order.crew() as agent_for:
                self._desk = Desk(order, store, agent_for)
                self._ready.set()
                await self._closing.wait()
        except AgentrtError as error:  # an exception of ours may not be what another process makes of it
            self._failure = (type(error).__name__, str(error))
        finally:
            self._ready.set()

    async def ready(self) -> Ready:
        """Wait until it is open, or can't be."""
        await self._ready.wait()
        return machine(), self._failure

    async def run(self, job: Job) -> Outcome | None:
        """Run a job; ``None`` if it was cancelled."""
        assert self._desk is not None, "jobs come when it is ready"
        with CancelScope() as scope:
            self._running.add(scope)
            try:
                return await self._desk.run(job)
            finally:
                self._running.discard(scope)
        return None

    async def close(self) -> None:
        """Cancel what runs, and let ``serve`` end."""
        for scope in self._running:
            scope.cancel()
        self._closing.set()


def machine() -> str:
    """The machine that this process runs on; containers of one machine share a kernel, and so a database file."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


class RayFleet:
    """Starts actors, one CPU each, spread over the nodes of a cluster that this process is connected to."""

    def __init__(self, order: Order, *, sessions: int, note: Note = print) -> None:
        """``sessions`` is how many an actor may have to run at a time; ``note`` is told if the cluster has no room."""
        self._order = order
        self._note = note
        remote: Any = ray.remote(Actor)
        self._actor: Any = remote.options(
            num_cpus=1, max_restarts=0, max_concurrency=sessions + 8, scheduling_strategy="SPREAD"
        )

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[_RayWorker]:
        """Start an actor, once the cluster has room for it.

        :raises AgentrtError: if it can't open its tools, or could not see the sessions.
        """
        actor = self._actor.remote(self._order)
        try:
            serving = actor.serve.remote()
            where, failure = await self._ready(actor.ready.remote())
            if failure is not None:
                raise getattr(errors, failure[0], AgentrtError)(failure[1])
            self._see_that_it_shares(where)
            try:
                yield _RayWorker(actor)
            finally:
                with CancelScope(shield=True), move_on_after(CLOSE_SECONDS), suppress(AgentrtError):
                    await _answer(actor.close.remote())
                    await _answer(serving)
        finally:
            ray.kill(actor)

    async def _ready(self, call: Awaitable[Ready]) -> Ready:
        with move_on_after(ROOM_SECONDS):
            return await _answer(call)
        self._note("a worker still waits for the cluster to have a CPU for it, or to open its tools")
        return await _answer(call)

    def _see_that_it_shares(self, where: str) -> None:
        if "://" not in self._order.store and where != machine():
            raise ConfigError(
                f"the workers run on other machines, and the sessions are in a file of this one ({self._order.store}): "
                "name a Postgres database that all of them reach (--store postgresql://…)"
            )


class _RayWorker:
    """An actor, as the foreman sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def run(self, job: Job) -> Outcome:
        """Run a job.

        :raises WorkerLost: if the actor or its node went away, or can't be reached; then it is not waited for.
        """
        bare = replace(job, task=replace(job.task, meta=None))
        found: Outcome | None = await _answer(self._actor.run.remote(bare))
        if found is None:
            raise WorkerLost("it was told to close")
        return found


async def _answer(call: Awaitable[T]) -> T:
    """What a call of an actor returned.

    :raises WorkerLost: if the actor can't answer any more.
    :raises AgentrtError: if it raised something.
    """
    try:
        return await call
    except RayTaskError as error:
        raise AgentrtError(f"a worker failed: {type(error.cause).__name__}: {error.cause}") from error
    except RayError as error:
        raise WorkerLost(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}") from error


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[int]:
    """Be connected to the cluster at ``address`` (``auto``, ``HOST:PORT``, ``ray://HOST:PORT``; ``local`` starts one).

    Yields how many of its nodes have CPUs. A connection that is there already is used, and left as it is.

    :raises AgentrtError: if there is no such cluster.
    """
    ours = not ray.is_initialized()
    if ours:
        try:
            await run_sync(partial(ray.init, address, log_to_driver=False, logging_level=logging.ERROR))
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise AgentrtError(f"no Ray cluster answers at {address!r}: {error}") from error
    try:
        yield sum(bool(node["Alive"] and node["Resources"].get("CPU")) for node in await run_sync(ray.nodes))
    finally:
        if ours:
            with CancelScope(shield=True):
                await run_sync(ray.shutdown)
