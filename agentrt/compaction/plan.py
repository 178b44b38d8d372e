"""Which cuts a prompt offers, with what each costs; pure, apart from how long a token is, which is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil
from weakref import WeakKeyDictionary

from agentrt.compaction.notes import note_chars, shortened
from agentrt.compaction.price import Cut, Horizon, Rates, choose_cut, worth
from agentrt.compaction.view import cut_points, stood_for, unanswered
from agentrt.engine import Request
from agentrt.errors import ConfigError
from agentrt.plain import to_json
from agentrt.types import Assistant, Message, ToolCall, ToolResult, ToolSpec, Transcript

CHARS_A_TOKEN = 3.5
MESSAGE_CHARS = 24
MEDIA_CHARS = 4_000
NOTE_CHARS = 400


@dataclass(frozen=True, slots=True)
class Compaction:
    """When and how a conversation is made shorter.

    It is when a prompt would have more than ``share`` of the model's context, so that at most ``target`` of it is
    left. The context is what the engine knows, unless ``context_tokens`` says otherwise; where nobody knows it, it is
    learned when the server refuses a prompt as too long. The last ``keep_turns`` answers and their results stay as
    they are. Results over ``result_chars`` are long. ``summary_tokens`` bound the summary. ``turns_ahead``, and the
    price of a ``cached`` and of a generated (``completion``) token beside one that is prefilled, decide what pays.
    """

    context_tokens: int | None = None
    share: float = 0.75
    target: float = 0.5
    keep_turns: int = 4
    result_chars: int = 1_000
    summary_tokens: int = 1_000
    turns_ahead: int = 20
    cached: float = 0.1
    completion: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.target <= self.share <= 1:
            raise ConfigError(f"compaction needs 0 < target <= share <= 1, got {self.target:g} and {self.share:g}")

    @property
    def rates(self) -> Rates:
        """The prices of tokens."""
        return Rates(self.cached, self.completion)


def chars_of(message: Message) -> int:
    """About how many characters of a prompt a message is."""
    if isinstance(message, Assistant):
        return MESSAGE_CHARS + len(message.text) + sum(map(_call_chars, message.calls))
    return MESSAGE_CHARS + len(message.text) + MEDIA_CHARS * len(message.media)


def _call_chars(call: ToolCall) -> int:
    return MESSAGE_CHARS + len(call.name) + len(call.arguments)


@dataclass(slots=True)
class Gauge:
    """How many tokens a prompt has: measured with each answer whose engine counts, estimated in between.

    ``limit`` is what a refusal told of the model's context.
    """

    tokens_a_char: float = 1 / CHARS_A_TOKEN
    limit: int | None = None
    _head: tuple[tuple[ToolSpec, ...], int] = ((), 0)
    _read: WeakKeyDictionary[Transcript, tuple[int, int]] = field(default_factory=WeakKeyDictionary)
    _measured: WeakKeyDictionary[Transcript, tuple[int, int]] = field(default_factory=WeakKeyDictionary)

    def tokens(self, chars: float) -> int:
        """About how many tokens so many characters are."""
        return ceil(chars * self.tokens_a_char)

    def head_chars(self, request: Request) -> int:
        """The characters before the first message."""
        tools, chars = self._head
        if tools is not request.tools:
            chars = sum(len(str(to_json(spec.input_schema))) + len(spec.description) for spec in request.tools)
            chars += sum(len(spec.name) + MESSAGE_CHARS for spec in request.tools)
            self._head = (request.tools, chars)
        return chars + len(request.instructions) + MESSAGE_CHARS

    def chars(self, request: Request) -> int:
        """The characters of the whole prompt; costs what is new in it."""
        count, chars = self._read.get(request.transcript, (0, 0))
        chars += sum(map(chars_of, request.transcript.since(count)))
        self._read[request.transcript] = (len(request.transcript), chars)
        return self.head_chars(request) + chars

    def estimate(self, request: Request) -> int:
        """The tokens of a prompt by its characters alone."""
        return self.tokens(self.head_chars(request) + sum(map(chars_of, request.transcript)))

    def size(self, request: Request) -> int:
        """The tokens of a prompt: those of the last answer's, and what came since by its characters."""
        if request.transcript not in self._measured:
            return self.tokens(self.chars(request))
        count, tokens = self._measured[request.transcript]
        return tokens + self.tokens(sum(map(chars_of, request.transcript.since(count))))

    def learn(self, request: Request, prompt_tokens: int) -> None:
        """The prompt had so many tokens; 0 if the engine does not count."""
        if prompt_tokens:
            self.tokens_a_char = prompt_tokens / self.chars(request)
            self._measured[request.transcript] = (len(request.transcript), prompt_tokens)


@dataclass(frozen=True, slots=True)
class Plan:
    """A cut, and what is done there: a summary, or results that are shortened; and what these leave on the shelf."""

    cut: Cut
    worth: float
    summary: bool = False
    results: tuple[ToolResult, ...] = ()
    whole: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Sheet:
    """One prompt and all that is needed to price its cuts. ``room`` are the tokens that a prompt may have at most."""

    request: Request
    gauge: Gauge
    settings: Compaction
    room: int
    shelved: bool
    sums: list[int] = field(init=False)
    facts: list[int] = field(init=False)
    reads: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        view, tokens = self.view, self.gauge.tokens
        self.reads = frozenset(spec.name for spec in self.request.tools if spec.read_only)
        head = tokens(self.gauge.head_chars(self.request))
        self.sums = list(accumulate((tokens(chars_of(message)) for message in view), initial=head))
        noted = (sum(note_chars(item, self.reads) for item in stood_for(view, at, at + 1)) for at in range(len(view)))
        self.facts = list(accumulate(map(tokens, noted), initial=0))

    @property
    def view(self) -> Transcript:
        """What would be sent."""
        return self.request.transcript

    @property
    def before(self) -> int:
        """The tokens of the whole prompt."""
        return self.sums[-1]

    @property
    def horizon(self) -> Horizon:
        """What is to be expected, by what came so far."""
        turns = sum(isinstance(message, Assistant) for message in self.view)
        growth = (self.before - self.sums[0]) / max(turns, 1)
        return Horizon(self.settings.turns_ahead, growth, self.room)

    def plan(self, *, must: bool) -> Plan | None:
        """The best that can be done, the cheapest kind first; without ``must`` it has to pay."""
        keep, target = self.settings.keep_turns, int(self.room * self.settings.target)
        found = self._shortening(keep, target, must) or self._summary(keep, target, must)
        if found is not None or not must:
            return found
        for turns, most in ((keep, (target + self.room) // 2), (1, target), (keep, self.room), (1, self.room)):
            both = (self._shortening(turns, most, must), self._summary(turns, most, must))
            if plans := [plan for plan in both if plan is not None]:
                return max(plans, key=lambda plan: plan.worth)
        return self._shortening(0, self.before - 1, must)

    def deepest(self) -> Plan | None:
        """The summary of all but the last turns, whatever it is worth: what a person asks for."""
        return self._summary(self.settings.keep_turns, self.before - 1, True)

    def _chosen(self, cuts: Iterable[Cut], most: int, must: bool) -> tuple[Cut, float] | None:
        cut = choose_cut(cuts, self.horizon, self.settings.rates, target=most, must=must)
        return None if cut is None else (cut, worth(cut, self.horizon, self.settings.rates))

    def _shortening(self, keep_turns: int, most: int, must: bool) -> Plan | None:
        """Long results as lines with handles, from some place on."""
        kept_from = cut_points(self.view, keep_turns).kept_from
        found = list(self._long_results(kept_from))
        cuts: dict[int, Cut] = {}
        after = self.before
        for at, short, _ in reversed(found):
            after -= self.sums[at + 1] - self.sums[at] - self.gauge.tokens(chars_of(short))
            heads = 0 if self.shelved else after  # read_result joins the tools, with the next turn
            cuts[at] = Cut(at, kept_from, self.before, after, self.sums[at], heads=heads)
        chosen = self._chosen(cuts.values(), most, must)
        if chosen is None:
            return None
        used = [(short, whole) for at, short, whole in found if at >= chosen[0].start]
        results = tuple(short for short, _ in used)
        return Plan(*chosen, results=results, whole=tuple(whole for _, whole in used if whole is not None))

    def _long_results(self, until: int) -> Iterator[tuple[int, ToolResult, tuple[str, str] | None]]:
        for at, message in enumerate(self.view.since(0)[:until]):
            if isinstance(message, ToolResult) and self._long(message):
                yield at, *shortened(message)

    def _long(self, result: ToolResult) -> bool:
        """Whether to shorten it: errors are facts, and media fit behind no handle."""
        return len(result.text) > self.settings.result_chars and not (result.error or result.media)

    def _summary(self, keep_turns: int, most: int, must: bool) -> Plan | None:
        """Whole turns as a note, from the first answer or an earlier place up to some cut point."""
        chosen = self._chosen(self._summaries(keep_turns), most, must)
        return None if chosen is None else Plan(*chosen, summary=True)

    def _summaries(self, keep_turns: int) -> Iterator[Cut]:
        points, sums, settings = cut_points(self.view, keep_turns), self.sums, self.settings
        words = min(settings.summary_tokens, max(self.room // 8, 1))
        fixed = words + self.gauge.tokens(NOTE_CHARS)
        facts_most = facts_room(self.room)
        waiting = {at: self.gauge.tokens(chars_of(item)) for at, item in unanswered(self.view).items()}
        for start in points.starts:
            again = 0
            for end in range(start + 1, len(self.view) + 1):
                again += waiting.get(end - 1, 0)
                if end in points.ends:
                    facts = min(self.facts[end] - self.facts[start], facts_most)
                    after = sums[start] + fixed + facts + again + self.before - sums[end]
                    yield Cut(start, end, self.before, after, sums[start], asked=sums[end], summary=words)


def facts_room(room: int) -> int:
    """The tokens that the facts of a note may have."""
    return room // 4
