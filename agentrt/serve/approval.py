"""A call that needs a person's word, as a question that every door can put."""

from __future__ import annotations

from agentrt.policy.permissions import Question, Reply
from agentrt.question import Answer, Form

SHOWN_CHARS = 4_000

APPROVAL = {
    "type": "object",
    "properties": {
        "decision": {
            "type": "string",
            "title": "Run it?",
            "enum": ["allow", "always", "refuse"],
            "enumNames": ["Allow this once", "Allow such calls from now on", "Refuse"],
        },
        "word": {"type": "string", "title": "A word to the agent", "description": "For example why not."},
    },
    "required": ["decision"],
}


def approval(question: Question) -> Form:
    """The question whether a call may run."""
    message = f"The agent wants to call {question.shown(SHOWN_CHARS)}\nAlways would allow: {question.grant}"
    return Form("agentrt", message, APPROVAL)


def is_approval(question: object) -> bool:
    """Whether it asks about a call."""
    return isinstance(question, Form) and dict(question.schema) == APPROVAL


def answer_of(reply: Reply) -> Answer:
    """What a person said about a call, as an answer to :func:`approval`."""
    decision = "refuse" if not reply.allow else "always" if reply.always else "allow"
    return Answer("accept", {"decision": decision, "word": reply.word})


def reply_of(answer: Answer) -> Reply:
    """What the person said about the call."""
    word, decision = str(answer.content.get("word", "")), answer.content.get("decision")
    if answer.action != "accept":
        return Reply(allow=False, word=word)
    return Reply(decision in ("allow", "always"), always=decision == "always", word=word)
