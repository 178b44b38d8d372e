"""Whoever answers what a run asks: the person at the terminal, and anybody at the board of runs. The first counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from anyio import CancelScope, get_cancelled_exc_class, sleep_forever

from agentrt.cli.ask import asking
from agentrt.cli.door import asker_at
from agentrt.cli.terminal import Terminal, bounded
from agentrt.errors import AgentrtError
from agentrt.journal.session import Session
from agentrt.journal.store import JournalError, Store
from agentrt.loop import Result
from agentrt.policy.permissions import AskAll, Reply
from agentrt.policy.permissions import Question as CallQuestion
from agentrt.question import Answer, Asker, Question
from agentrt.serve.approval import answer_of, approval, is_approval, reply_of

if TYPE_CHECKING:
    from agentrt.serve.board import Seat

Here = Callable[[Sequence[str]], Awaitable[Mapping[str, Answer]]]
"""Asks at the terminal what has these names."""


class StoppedElsewhere(AgentrtError):
    """The run was stopped at another door."""


@dataclass(slots=True)
class Person:
    """Asks at ``terminal``; a run that is :meth:`seated` can be answered from elsewhere too.

    Where nobody is at the terminal, nobody is asked; unless it is to ``wait`` for answers from elsewhere.
    """

    terminal: Terminal
    wait: bool = False
    seat: Seat | None = None
    _asked: int = 0

    @property
    def calls(self) -> AskAll | None:
        """Asks whether calls may run."""
        return self._ask_calls if self.terminal.can_ask or self.wait else None

    @property
    def asker(self) -> Asker | None:
        """Puts what servers and peers ask."""
        return self._ask if self.terminal.can_ask or self.wait else None

    async def seated(self, store: Store, session: Session, start: int, job: Callable[[], Awaitable[Result]]) -> Result:
        """Do ``job``, which runs in ``session`` from the record ``start`` on, as a run that other doors see.

        :raises StoppedElsewhere: if one of them stopped it.
        """
        from agentrt.serve.board import TERMINAL, Board, Run

        run = Run(f"{session.id}.{start}", "", TERMINAL, session.id, start)
        async with AsyncExitStack() as stack:
            board = Board.of(store)
            stack.push_async_callback(board.aclose)
            scope = stack.enter_context(CancelScope())
            try:
                self.seat = await stack.enter_async_context(board.working(run, scope.cancel))
            except JournalError as error:
                self.terminal.note(f"nobody elsewhere can answer what this run asks: {error}", "dim")
                return await job()
            try:
                return await self._to_its_end(self.seat, job)
            finally:
                self.seat = None
        raise StoppedElsewhere("the run was stopped from elsewhere")

    async def _to_its_end(self, seat: Seat, job: Callable[[], Awaitable[Result]]) -> Result:
        try:
            result = await job()
        except get_cancelled_exc_class():
            seat.end("cancelled")
            raise
        except BaseException:
            seat.end("failed")
            raise
        seat.end("completed" if result.reason == "done" else "failed")
        return result

    async def _ask_calls(self, questions: Sequence[CallQuestion]) -> Sequence[Reply]:
        asked = {f"approve_{item.call.id}": item for item in questions}

        async def here(names: Sequence[str]) -> Mapping[str, Answer]:
            replies = await asking(self.terminal)([asked[name] for name in names])
            return dict(zip(names, map(answer_of, replies), strict=True))

        given = await self._first({name: approval(item) for name, item in asked.items()}, here)
        return [reply_of(given[name]) for name in asked]

    async def _ask(self, question: Question) -> Answer:
        self._asked += 1
        name = f"question_{self._asked}"

        async def here(names: Iterable[str]) -> Mapping[str, Answer]:
            return {name: await asker_at(self.terminal)(question) for name in names}

        return (await self._first({name: question}, here))[name]

    async def _first(self, questions: Mapping[str, Question], here: Here) -> Mapping[str, Answer]:
        """The answer to each, from wherever it came first."""
        seat = self.seat
        if seat is None:
            return await here(list(questions))
        given: dict[str, Answer] = {}
        here = here if self.terminal.can_ask else self._nobody
        shown = CancelScope()

        def deliver(name: str, answer: Answer) -> None:
            given[name] = answer
            shown.cancel()

        async with AsyncExitStack() as stack:
            for name, question in questions.items():
                await stack.enter_async_context(seat.asking(name, question, partial(deliver, name)))
            while missing := [name for name in questions if name not in given]:
                said: Mapping[str, Answer] = {}
                with CancelScope() as shown:
                    said = await here(missing)
                own = {name: answer for name, answer in said.items() if await _is_first(seat, name, given)}
                await self._say([(questions[name], given[name]) for name in missing if name in given])
                given |= own
        return given

    async def _nobody(self, names: Sequence[str]) -> Mapping[str, Answer]:
        """Nobody is here: wait until all is answered elsewhere."""
        assert self.seat is not None, "who waits for answers from elsewhere can get some"
        async with self.terminal.lock:
            self.terminal.note(f"it waits for a word: agentrt sessions answer {self.seat.run.id} yes, or no and why")
        await sleep_forever()
        raise AssertionError("it is cancelled by the answer")

    async def _say(self, came: Sequence[tuple[Question, Answer]]) -> None:
        """Show what was answered elsewhere, below the question that stood here."""
        if not came:
            return
        async with self.terminal.lock:
            self.terminal.taken_back()
            for question, answer in came:
                self.terminal.note(f"  answered elsewhere: {_words(question, answer)}", "dim")


async def _is_first(seat: Seat, name: str, given: dict[str, Answer]) -> bool:
    """Take a question that is answered here off the board; an answer that came there before this one is ``given``."""
    try:
        earlier = await seat.board.withdraw(seat.run.id, name)
    except JournalError:
        earlier = None
    if earlier is not None:
        given.setdefault(name, earlier)
    return name not in given


def _words(question: Question, answer: Answer) -> str:
    if not is_approval(question):
        return {"accept": "yes", "decline": "no", "cancel": "nothing"}[answer.action]
    reply = reply_of(answer)
    word = f", {bounded(reply.word, 200)}" if reply.word else ""
    return f"{'always' if reply.always else 'yes' if reply.allow else 'no'}{word}"
