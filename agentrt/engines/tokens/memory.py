"""What a conversation's prompt was made of, so that the next one is the same ids and a suffix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import ReferenceType, ref

from agentrt.engine import Request
from agentrt.engines.tokens.template import Chat, Template
from agentrt.errors import EngineError
from agentrt.types import Assistant, ToolSpec, Transcript


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's ids. The first ``kept`` of them are the ids of the turn before, generated ones among them.

    ``rewritten`` says where the chat template changed what it had said before, ``defused`` counts the markers that
    data spelled; ``opening`` is the text that lets the model answer.
    """

    ids: tuple[int, ...]
    kept: int
    rewritten: str
    defused: int
    opening: str


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A stretch of the conversation: the template's text for it, and the ids that stand for it."""

    text: str
    ids: tuple[int, ...]
    label: str
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the model generated last, not known to be part of the conversation yet."""

    at: int
    opening: tuple[int, ...]
    ids: tuple[int, ...]
    call_ids: tuple[str, ...]
    calls: tuple[str, ...]


@dataclass(slots=True)
class Memory:
    """One conversation's prompt, chunk by chunk. ``ends`` are the spellings of the tokens that end an answer."""

    template: Template
    ends: tuple[str, ...]
    exact: bool = True
    _chunks: list[_Chunk] = field(default_factory=list)
    _answer: _Answer | None = None
    _opening: tuple[int, ...] = ()
    _messages: int = 0
    _tools: tuple[ToolSpec, ...] | None = None
    _late: list[tuple[int, tuple[ToolSpec, ...]]] = field(default_factory=list)
    _defused: int = 0
    _written: dict[str, str] = field(default_factory=dict)
    _form: ReferenceType[Transcript] | None = None

    def prompt(self, request: Request, tools: Sequence[ToolSpec]) -> Prompt:
        """The ids to ask with. Remembers them: the next prompt starts with the same.

        :raises EngineError: if the chat template does not take the conversation.
        """
        shorter = self._take_form(request.transcript)
        self._name_calls(request)
        self._see(tools, len(request.transcript))
        chat = self.template.chat(request, self._tools or (), self._written, self._late)
        body = self.template.render(chat)
        whole = self.template.render(chat, ask=True)
        opening = whole[len(body) :] if whole.startswith(body) else ""
        body = whole[: len(whole) - len(opening)]
        ended = self._take_answer(request, chat)
        position, rewritten = self._keep(body, shorter)
        kept = sum(len(chunk.ids) for chunk in self._chunks) - (ended and not rewritten)
        encode = self.template.vocabulary.encode
        if body[position:]:
            label = f"what came after message {self._messages}"
            self._chunks.append(_Chunk(body[position:], tuple(encode(body[position:])), label))
        self._opening = tuple(encode(opening))
        self._messages = len(request.transcript)
        ids = (*(token for chunk in self._chunks for token in chunk.ids), *self._opening)
        defused, self._defused = max(chat.defused - self._defused, 0), chat.defused
        return Prompt(ids, kept, rewritten, defused, opening)

    def _see(self, tools: Sequence[ToolSpec], at: int) -> None:
        """The first tools stand at the head for good; what comes later is declared where it came. None is taken out."""
        if self._tools is None:
            self._tools = tuple(tools)
            return
        known = {spec.name: spec for specs in (self._tools, *(specs for _, specs in self._late)) for spec in specs}
        new = tuple(spec for spec in tools if known.get(spec.name) != spec)
        if new:
            self._late.append((at, new))

    def answered(self, ids: Sequence[int], call_ids: Sequence[str], calls: Sequence[str]) -> None:
        """The model answered the last prompt with ``ids``, in which it wrote these call ids and arguments."""
        self._answer = _Answer(self._messages, self._opening, tuple(ids), tuple(call_ids), tuple(calls))

    def _is_answer(self, request: Request) -> Assistant | None:
        """The last answer as it stands in the transcript, if it does."""
        answer = self._answer
        if answer is None or not self.exact or len(request.transcript) <= answer.at:
            return None
        message = request.transcript[answer.at]
        if isinstance(message, Assistant) and tuple(call.arguments for call in message.calls) == answer.calls:
            return message
        return None

    def _name_calls(self, request: Request) -> None:
        message = self._is_answer(request)
        if message is not None and self._answer is not None:
            pairs = zip(message.calls, self._answer.call_ids, strict=False)
            self._written |= {call.id: written for call, written in pairs if written}

    def _take_answer(self, request: Request, chat: Chat) -> bool:
        """Make the last answer a chunk: the template's text for it, the model's ids.

        Returns whether it had been cut, so that its end marker had to be added.
        """
        message, answer = self._is_answer(request), self._answer
        self._answer = None
        if message is None or answer is None:
            return False
        before = "".join(chunk.text for chunk in self._chunks)
        declared = sum(place <= answer.at for place, _ in self._late)
        count = answer.at + 1 + bool(request.instructions) + declared
        try:
            text = self.template.render(chat, count=count)
        except EngineError:  # a template that refuses to stop there: this answer is encoded again
            return False
        if not text.startswith(before):
            return False
        text, end = self._up_to_end(text[len(before) :])
        cut = bool(end) and answer.ids[-1:] != (end,)
        label = f"message {answer.at + 1} (assistant)"
        ids = (*answer.opening, *answer.ids, *([end] if cut else []))
        self._chunks.append(_Chunk(text, ids, label, message.reasoning.strip()))
        return cut

    def _up_to_end(self, text: str) -> tuple[str, int]:
        """The text up to its last end marker, and that marker's id (0 if there is none)."""
        found = [(text.rfind(end) + len(end), end) for end in self.ends if end in text]
        at, end = max(found, default=(len(text), ""))
        return text[:at], self.template.vocabulary.ids.get(end, 0)

    def _take_form(self, transcript: Transcript) -> bool:
        """Whether the conversation comes in another form than before: compaction replaced a part of it.

        Tools that came within that part are declared from now on where it stood.
        """
        known, self._form = self._form, ref(transcript)
        if known is None or known() is transcript:
            return False
        last = max(getattr(transcript, "notes", {}), default=len(transcript))
        self._late = [(min(at, last), specs) for at, specs in self._late]
        return True

    def _keep(self, body: str, shorter: bool) -> tuple[int, str]:
        """Drop the chunks from the first on that the template writes differently now; return where they end."""
        position = 0
        for at, chunk in enumerate(self._chunks):
            if not body.startswith(chunk.text, position):
                del self._chunks[at:]
                if shorter:
                    return position, f"compaction replaced {chunk.label}"
                left_out = chunk.reasoning and chunk.reasoning not in body[position:]
                how = "left out the reasoning of" if left_out else "wrote differently"
                return position, f"the chat template {how} {chunk.label}"
            position += len(chunk.text)
        return position, ""
