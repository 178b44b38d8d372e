"""The clauses of A2A 1.0 that we claim to keep, each with the tests that show it; checked both ways.

Sections are those of the specification 1.0.1 (tag v1.0.1, package lf.a2a.v1). The wording is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])

MUST = {
    "3.1.1 task-or-message": "SendMessage answers with a task or a message",
    "3.1.1 message": "an answer that is a message is that alone, with its role, parts and id (4.1.4)",
    "3.1.1 ended-takes-none": "a message for a task that has ended is an UnsupportedOperationError",
    "3.1.1 strange-part": "a part of a media type that is not supported is a ContentTypeNotSupportedError",
    "3.1.2 stream": "SendStreamingMessage streams: the task first, then its updates",
    "3.1.2 message-only": "a stream of a message has exactly that one message, and closes",
    "3.1.2 stream-ends": "the stream closes when the task has ended",
    "3.1.3 get": "GetTask answers with the task as it is",
    "3.1.3 get-unknown": "a task that is not there is a TaskNotFoundError",
    "3.1.4 list-own": "ListTasks shows the caller's own tasks alone",
    "3.1.4 list-cursor": "pages go on from a cursor, without a gap or a repetition",
    "3.1.4 list-order": "the task that changed last comes first",
    "3.1.4 list-token": "nextPageToken is always there, and empty on the last page",
    "3.1.4 list-artifacts": "artifacts are left out, unless they are asked for",
    "3.1.4 list-page-size": "a page has 1 to 100 tasks; other sizes are invalid",
    "3.1.5 cancel": "CancelTask answers with the task as it is then",
    "3.1.5 cancel-ended": "cancelling a task that has ended is a TaskNotCancelableError",
    "3.1.5 cancel-unknown": "cancelling a task that is not there is a TaskNotFoundError",
    "3.1.6 subscribe-first": "SubscribeToTask tells the task as it is first",
    "3.1.6 subscribe-ends": "its stream ends when the task has ended",
    "3.1.6 subscribe-ended": "subscribing to a task that has ended is an UnsupportedOperationError",
    "3.1.6 subscribe-unknown": "subscribing to a task that is not there is a TaskNotFoundError",
    "3.1.7 push-create": "a push notification is created with an id, and kept",
    "3.1.8 push-get": "it can be read again; one that is not there is a TaskNotFoundError",
    "3.1.9 push-list": "all of a task's are listed",
    "3.1.10 push-delete": "it can be deleted, and deleting it again does no harm",
    "3.1.11 extended-auth": "the extended card is for callers who have proved who they are",
    "3.2.2 blocking": "without returnImmediately the answer comes when the task has ended or asks",
    "3.2.2 immediately": "with returnImmediately it comes at once, and the task goes on",
    "3.2.4 history": "historyLength bounds the history that is shown; 0 shows none",
    "3.3.2 actionable": "an error says in words what is wrong, and what to do",
    "3.3.2 validation": "what is missing or makes no sense is refused before anything is done",
    "3.3.2 no-oracle": "another caller's task is as one that is not there",
    "3.3.4 no-push": "without push notifications each of their operations is a PushNotificationNotSupportedError",
    "3.3.4 no-extended": "without an extended card asking for it is an UnsupportedOperationError",
    "3.4.1 context-made": "a context is made where the message names none, and told",
    "3.4.1 context-kept": "a context that the message names is kept",
    "3.4.2 task-id": "each new task has an id that no other has, and tells it",
    "3.4.2 task-unknown": "a message for a task that is not there is a TaskNotFoundError",
    "3.4.2 context-inferred": "a message with only a taskId is in the task's context",
    "3.4.2 context-mismatch": "a taskId with another context is refused",
    "3.4.2 input-required": "a task that asks goes on with a message of the same task",
    "3.5.2 order": "events come in the order in which they happened",
    "3.5.2 every-stream": "each stream of a task hears the same, in the same order",
    "3.5.2 own-stream": "one stream that closes leaves the others alone",
    "3.6.2 version": "a version that is not spoken is a VersionNotSupportedError, and no version means 0.3",
    "4.3.3 push-payload": "a webhook gets a StreamResponse as JSON, with its token and its authentication",
    "4.4.1 card-fields": "the card has every field that it needs",
    "5.4 codes": "each error has the code that its binding has for it",
    "5.5 camel-case": "JSON names are in camelCase, enums are their names, times are RFC 3339",
    "7.4 auth": "a caller who does not prove who it is gets nothing",
    "7.6.1 auth-required": "work that needs an authorization is a task, and that waits as auth-required",
    "8.2 well-known": "the card is at /.well-known/agent-card.json, for anybody",
    "8.3 interfaces": "the card names each interface with its URL, binding and version, and each answers",
    "8.4.1 signed-content": "a signature is over the canonical card without its signatures",
    "8.4.2 signed-header": "a signature says with which key and algorithm it was made",
    "9.1 rpc-format": "JSON-RPC 2.0 over POST; what is none gets the standard codes",
    "9.2 rpc-content-type": "another content type than JSON is a ContentTypeNotSupportedError",
    "9.4 rpc-stream": "streams are server-sent events with a JSON-RPC response each",
    "10.1 grpc-service": "the whole service of a2a.proto is served",
    "10.1 grpc-tls": "gRPC that can be reached from elsewhere is encrypted",
    "10.2 grpc-metadata": "service parameters are gRPC metadata, the version among them",
    "10.6 grpc-errors": "gRPC errors carry an ErrorInfo with reason and domain",
    "10.7 grpc-stream": "streams are server-streaming calls of StreamResponse messages",
    "11.2 rest-parameters": "service parameters are HTTP headers, the version among them",
    "11.3 rest-paths": "HTTP+JSON has the paths and methods of the specification",
    "11.5 rest-query": "query parameters are in camelCase",
    "11.6 rest-errors": "HTTP+JSON errors are google.rpc.Status with an ErrorInfo",
    "11.7 rest-stream": "streams are server-sent events with a StreamResponse each",
    "13.1 scope": "every operation is scoped to the caller before it looks",
    "13.2 webhooks": "webhooks on private addresses are refused",
}

SHOULD = {
    "5.7 unknown-fields": "a field that is not known is passed over",
    "3.2.4 history-order": "the history has what was said, as it was said and in that order",
    "3.3.1 duplicate": "a message that is sent again, by its id, is worked on once",
    "8.6.1 card-cache": "the card says how long it may be kept, and has an ETag",
    "8.6.1 card-modified": "the card says since when it is so, and answers conditional requests with 304",
    "13.4 rate": "who asks too much is told to come back later, over every binding",
    "11.1 rest-media-type": "HTTP+JSON answers are application/a2a+json",
}

CLIENT = {
    "3.1.6 resubscribe": "a stream that broke is taken up again, and the work is done once",
    "3.6.1 version-sent": "each request says the version that is spoken, over every binding",
    "4.3.3 push-not-believed": "a notification with our token makes us look; what it says is not believed",
    "4.4.5 output-modes": "what the card does not declare is not taken for an answer",
    "7.2 credentials": "we prove who we are by a scheme that the card asks for, to its own host alone",
    "7.6 auth-required": "what a peer needs to go on is never typed to it: the person visits the address",
    "8.4.3 verify": "a signed card is believed by a key that we know, and refused when it was changed",
}

APART = {
    "3.1.11 not-configured": "our card offers an extended card only where there is one",
    "3.3.4 no-streaming": "our card always offers streams",
    "3.3.4 extension-required": "our card requires no extension",
    "3.4.1 context-refused": "we take any context that a client names",
}
"""Clauses on what a server of ours never does, with the reason; nothing is claimed of them."""

CLAUSES = MUST | SHOULD | CLIENT
PROOFS: dict[str, list[str]] = {}


def proves(*clauses: str) -> Callable[[T], T]:
    """Mark a test as one that shows these clauses."""

    def mark(test: T) -> T:
        for clause in clauses:
            PROOFS.setdefault(clause, []).append(test.__name__)
        return test

    return mark


def table() -> str:
    """The clauses and their tests, for people."""
    lines = []
    for clause, words in CLAUSES.items():
        level = "MUST" if clause in MUST else "SHOULD" if clause in SHOULD else "client"
        lines.append(f"{level:7}{clause:28}{words}\n{'':35}{', '.join(PROOFS.get(clause, ['no test']))}")
    lines += [f"{'apart':7}{clause:28}{words}" for clause, words in APART.items()]
    return "\n".join(lines)
