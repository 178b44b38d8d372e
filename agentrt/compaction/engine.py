"""An engine around the run's own: it makes the conversation shorter before it is sent, or when it is refused."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from agentrt.compaction.notes import ASK, note
from agentrt.compaction.plan import Compaction, Gauge, Plan, Sheet, facts_room
from agentrt.compaction.price import Compacted, cost, worth
from agentrt.compaction.view import Rewrite, View, origin_of, rewritten, stood_for, unanswered
from agentrt.conversation import Conversation
from agentrt.engine import Assembler, Delta, Engine, Finished, Request
from agentrt.errors import ConfigError, ContextExceeded, EngineRefused
from agentrt.secrets import KNOWN
from agentrt.types import Usage, User

AT_ONCE = 3
"""How often a prompt is made shorter before it is sent all the same."""
CHARS_A_WORD = 8
BY_HAND = "by hand"


def context_of(engine: Engine) -> int | None:
    """The tokens that prompt and answer may have together, if the engine, or one that it stands around, knows."""
    inner: object = engine
    while inner is not None:
        known = getattr(inner, "context_tokens", None)
        if known is not None:
            return int(known)
        inner = getattr(inner, "inner", None)
    return None


@dataclass(slots=True)
class Compacting:
    """Answers as ``inner`` does, and keeps the conversation within its context.

    What it does to the conversation it tells with a :class:`Compacted` before the answer; the tokens of summaries
    count with the answer that follows.
    """

    inner: Engine
    talk: Conversation
    settings: Compaction
    gauge: Gauge

    @property
    def name(self) -> str:
        """The inner engine's."""
        return self.inner.name

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Stream one answer.

        :raises ContextExceeded: if the prompt is refused as too long, and again in a shorter form.
        """
        spent, refused = Usage(), ""
        while True:
            async with aclosing(self._fitted(request, refused)) as cuts:
                async for told in cuts:
                    spent += told.usage
                    yield told
            request = replace(request, transcript=self.talk.view)
            try:
                async with aclosing(self.inner.stream(request)) as deltas:
                    async for delta in deltas:
                        if isinstance(delta, Finished):
                            self.gauge.learn(request, delta.usage.prompt_tokens)
                            delta = replace(delta, usage=delta.usage + spent)
                        yield delta
                return
            except ContextExceeded as error:
                if refused:
                    raise
                refused = "the server refused the prompt as too long"
                self._learn(request, error)

    async def aclose(self) -> None:
        """Close the inner engine."""
        await self.inner.aclose()

    async def by_hand(self, request: Request) -> Compacted | None:
        """Leave out all but the last turns for a summary, whether it pays or not; ``None`` if there is nothing.

        :raises ConfigError: if a turn is open.
        """
        if self.talk.open_turn is not None:
            raise ConfigError("the session was interrupted in the middle of a turn; take it up first, then compact it")
        sheet = self._sheet(request, self._room(request) or self.gauge.size(request))
        plan = sheet.deepest()
        return None if plan is None else await self._carry_out(plan, sheet, BY_HAND)

    async def _fitted(self, request: Request, refused: str) -> AsyncGenerator[Compacted, None]:
        """Make the conversation shorter where it must be, or where that pays."""
        room = self._room(request)
        if room is None:
            return
        for _ in range(AT_ONCE):
            request = replace(request, transcript=self.talk.view)
            size, most = self.gauge.size(request), self._most(room, request)
            if size <= most and not refused:
                return
            sheet = self._sheet(request, room)
            plan = sheet.plan(must=bool(refused) or size > room)
            if plan is None:
                return
            yield await self._carry_out(plan, sheet, refused or f"{size} tokens are more than {most}")
            refused = ""

    def _context(self) -> int | None:
        known = [self.settings.context_tokens or context_of(self.inner), self.gauge.limit]
        return min((tokens for tokens in known if tokens is not None), default=None)

    def _room(self, request: Request) -> int | None:
        """The tokens that a prompt may have, with place left for the answer."""
        context = self._context()
        if context is None:
            return None
        return context - min(request.max_tokens or context // 8, context // 4)

    def _most(self, room: int, request: Request) -> int:
        return min(int((self._context() or room) * self.settings.share), room)

    def _sheet(self, request: Request, room: int) -> Sheet:
        return Sheet(request, self.gauge, self.settings, room, bool(self.talk.handles))

    def _learn(self, request: Request, error: ContextExceeded) -> None:
        """What the refusal tells of the context, and of how long the prompt is."""
        size = self.gauge.size(request)
        limit = error.limit or min(size, self._context() or size) * 9 // 10
        self.gauge.limit = min(limit, self.gauge.limit or limit)
        self.gauge.learn(request, error.tokens or max(size, limit))

    async def _carry_out(self, plan: Plan, sheet: Sheet, reason: str) -> Compacted:
        view, cut, words, usage = sheet.view, plan.cut, "", Usage()
        rewrite, whole, left_out = Rewrite(cut.start, cut.start, (), plan.results), plan.whole, 0
        if plan.summary:
            words, usage = await self._summary(sheet, plan)
            asked = tuple(item for at, item in unanswered(view).items() if cut.start <= at < cut.end)
            span = [item for item in stood_for(view, cut.start, cut.end) if item not in asked]
            most_chars = int(facts_room(sheet.room) / self.gauge.tokens_a_char)
            made = note(span, words, sheet.reads, most_chars=most_chars)
            rewrite = Rewrite(cut.start, cut.end, (User(KNOWN.text(made.text)), *asked))
            whole, left_out = made.whole, cut.end - cut.start - len(asked)
        for handle, text in whole:
            await self.talk.keep(handle, text)
        after = self.gauge.estimate(replace(sheet.request, transcript=rewritten(view, rewrite)))
        generated = usage.completion_tokens or self.gauge.tokens(len(words))
        cut = replace(cut, after=after, summary=generated, asked=usage.prompt_tokens or cut.asked)
        rates = self.settings.rates
        told = Compacted(
            before=self.gauge.size(sheet.request),
            after=after,
            dropped=left_out,
            shortened=len(rewrite.shortened),
            prefilled=cut.prefilled,
            summary_tokens=generated,
            cost=round(cost(cut, rates), 1),
            worth=round(worth(cut, sheet.horizon, rates), 1),
            reason=reason,
            usage=usage,
        )
        await self.talk.compact(rewrite, told)
        return told

    async def _summary(self, sheet: Sheet, plan: Plan) -> tuple[str, Usage]:
        """What the model writes of the messages up to the cut, and what it cost; no words if it can't.

        The prompt is the one of before up to the cut, so the prefix cache has it.
        """
        view, cut = sheet.view, plan.cut
        asking = View([*view.since(0)[: cut.end], User(ASK)], origin_of(view), getattr(view, "notes", {}))
        request = replace(sheet.request, transcript=asking, words_only=True, max_tokens=cut.summary)
        assembler = Assembler(asking)
        try:
            async with aclosing(self.inner.stream(request)) as deltas:
                async for delta in deltas:
                    assembler.feed(delta)
        except EngineRefused:  # too long even so, or a server that takes no request of this kind: the facts must do
            return "", Usage()
        answer = assembler.answer()
        whole = answer.finish in ("stop", "length", "tool_calls")
        return answer.text.strip()[: cut.summary * CHARS_A_WORD] if whole else "", answer.usage
