"""The operations of A2A 1.0 (section 3.1) over the desk, the same for all bindings."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.types.a2a_pb2 import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
)
from a2a.utils.constants import VERSION_HEADER
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    ExtendedAgentCardNotConfiguredError,
    ExtensionSupportRequiredError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
    VersionNotSupportedError,
)
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import apply_history_length, validate_history_length
from anyio import move_on_after

from agentrt.serve.door import LOCAL, Caller
from agentrt_a2a.convert import media_type, plain_mode
from agentrt_a2a.exchange import ENDED, RESTING
from agentrt_a2a.server.desk import CANCEL_SECONDS, Desk
from agentrt_a2a.server.job import Happening, Job
from agentrt_a2a.server.others import Others
from agentrt_a2a.server.push import Push

CALLER = "agentrt_caller"
BRIEF_SECONDS = 30.0
"""How long a stream waits for the end of what may be answered with a plain message, before it tells of a task."""
T = TypeVar("T")


@dataclass(slots=True)
class Handler(RequestHandler):
    """Serves the desk's tasks, and through ``others`` the runs of the host's other doors.

    ``card`` and ``extended`` make the cards; ``brief`` says whether what is asked may be answered with a plain message;
    ``legacy`` lets A2A 0.3 in.
    """

    desk: Desk
    push: Push
    others: Others
    card: Callable[[], AgentCard]
    extended: Callable[[], AgentCard] | None
    brief: Callable[[SendMessageRequest], bool]
    legacy: bool = False

    def _enter(self, request: Any, context: ServerCallContext) -> str:
        """The tenant that may be seen.

        :raises A2AError: if the request is of another version, another tenant, or not whole.
        """
        version = _header(context, VERSION_HEADER) or "0.3"
        if version.split(".")[:2] != ["1", "0"] and not (self.legacy and version.startswith("0.3")):
            raise VersionNotSupportedError(f"A2A {version} is not spoken here; send {VERSION_HEADER}: 1.0")
        for extension in self.card().capabilities.extensions:
            if extension.required and extension.uri not in context.requested_extensions:
                raise ExtensionSupportRequiredError(f"the extension {extension.uri} is needed")
        validate_proto_required_fields(request)
        caller: Caller = context.state.get(CALLER, LOCAL)
        if context.tenant not in ("", caller.tenant):
            raise InvalidParamsError(f"there is no tenant {context.tenant!r} for this caller")
        return caller.tenant

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task | Message:
        """Take a message, and answer when its task rests, or at once if that is wished (section 3.2.2)."""
        tenant = self._enter(params, context)
        job, task_id, answered = await self._take(tenant, params)
        if not params.configuration.return_immediately:
            if job is not None:
                await _rested(job)
            async for _ in self._rest(tenant, task_id, unless=answered):
                pass
        if (message := await self._message(tenant, task_id, job)) is not None:
            return message
        task = await self._task(tenant, task_id)
        return apply_history_length(_copy(task), params.configuration)

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Happening | Message, None]:
        """Take a message, and tell of its task until it rests; or tell the one message that answers (section 3.1.2)."""
        tenant = self._enter(params, context)
        job, task_id, answered = await self._take(tenant, params)
        if job is not None and job.brief:
            with move_on_after(BRIEF_SECONDS):
                await _rested(job)
        if (message := await self._message(tenant, task_id, job)) is not None:
            yield message
            return
        async for event in self._rest(tenant, task_id, job, unless=answered):
            yield event

    async def _message(self, tenant: str, task_id: str, job: Job | None) -> Message | None:
        """What is told in place of the task, if it is settled that this is a message."""
        if job is not None:
            if not job.is_message:
                return None
            await job.done.wait()
        return await self.desk.tasks.message(tenant, task_id)

    async def _take(self, tenant: str, params: SendMessageRequest) -> tuple[Job | None, str, bytes]:
        """The job for a message: a new one, the one it answers, or the one that it made before.

        With the task's id, and the status that the message answers.
        """
        message = params.message
        self._check_parts(message)
        validate_history_length(params.configuration)
        if message.task_id:
            return await self._further(tenant, message)
        taken = await self.desk.tasks.known(tenant, message.message_id) or await self._new(tenant, params)
        return (taken, taken.task.id, b"") if isinstance(taken, Job) else (self.desk.jobs.get(taken), taken, b"")

    async def _new(self, tenant: str, params: SendMessageRequest) -> Job | str:
        message = params.message
        message.task_id = uuid.uuid4().hex
        message.context_id = message.context_id or uuid.uuid4().hex
        task = Task(id=message.task_id, context_id=message.context_id, history=[message])
        brief = self.brief(params) and not params.configuration.return_immediately
        if params.configuration.HasField("task_push_notification_config"):
            hook, brief = params.configuration.task_push_notification_config, False
            hook.task_id = task.id
            await self.push.add(tenant, hook)
        return await self.desk.submit(tenant, task, params, brief=brief)

    async def _further(self, tenant: str, message: Message) -> tuple[Job | None, str, bytes]:
        """A message for a task that waits for one (section 3.4.2)."""
        task = await self._task(tenant, message.task_id)
        if message.context_id and message.context_id != task.context_id:
            raise InvalidParamsError(f"the task {task.id!r} is in another context than {message.context_id!r}")
        if await self.desk.tasks.known(tenant, message.message_id) == task.id:
            return self.desk.jobs.get(task.id), task.id, b""
        if task.status.state in ENDED:
            raise UnsupportedOperationError(f"the task {task.id!r} has ended; send a message without a taskId")
        if task.status.state not in RESTING:
            raise UnsupportedOperationError(
                f"the task {task.id!r} is at work and waits for no message; try again later"
            )
        message.context_id = task.context_id
        answered = task.status.SerializeToString(deterministic=True)
        await self.desk.hear(tenant, task, message)
        return self.desk.jobs.get(task.id), task.id, answered

    def _check_parts(self, message: Message) -> None:
        """Whether we can read what was sent (section 3.3.2)."""
        if not message.parts:
            raise InvalidParamsError("a message has at least one part")
        modes = [plain_mode(mode) for mode in self.card().default_input_modes]
        for part in message.parts:
            kind = media_type(part)
            if kind not in modes and part.WhichOneof("content") != "text":
                raise ContentTypeNotSupportedError(f"{kind} can't be read here; send {', '.join(modes)}")

    async def _rest(
        self,
        tenant: str,
        task_id: str,
        job: Job | None = None,
        *,
        until: frozenset[int] = RESTING,
        unless: bytes = b"",
    ) -> AsyncIterator[Happening]:
        """The task as it is, and what happens to it until it is in one of the states ``until``."""
        job = job or self.desk.jobs.get(task_id)
        if job is None:
            async for event in self.desk.elsewhere(tenant, task_id, unless):
                yield event
                if isinstance(event, Task) and event.status.state in until:
                    return
            return
        with closing(job.listen()) as events:
            first = _copy(job.task)
            yield first
            if first.status.state in ENDED or (first.status.state in until and job.asks):
                return
            async for event in events:
                yield event
                if not isinstance(event, Task) and _is_in(event, until):
                    return

    async def _task(self, tenant: str, task_id: str) -> Task:
        """The task as it is now, if the tenant has it."""
        kept = await self.desk.tasks.get(tenant, task_id) or await self.others.task(tenant, task_id)
        if kept is None:
            raise TaskNotFoundError(f"there is no task {task_id!r}")
        job = self.desk.jobs.get(task_id)
        if job is None:
            return kept
        job.brief = False  # it is known as a task from now on
        return job.task

    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task | None:
        """How a task is (section 3.1.3)."""
        tenant = self._enter(params, context)
        validate_history_length(params)
        return apply_history_length(_copy(await self._task(tenant, params.id)), params)

    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """The caller's tasks, the latest first, page by page (section 3.1.4)."""
        tenant = self._enter(params, context)
        validate_history_length(params)
        await self.others.adopt_all(tenant)
        page = await self.desk.tasks.page(tenant, params)
        shown = []
        for kept in page.tasks:
            job = self.desk.jobs.get(kept.id)
            task = apply_history_length(_copy(job.task if job is not None else kept), params)
            if not params.include_artifacts:
                del task.artifacts[:]
            shown.append(task)
        return ListTasksResponse(tasks=shown, next_page_token=page.token, page_size=len(shown), total_size=page.total)

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task | None:
        """Stop a task (section 3.1.5)."""
        tenant = self._enter(params, context)
        task = await self._task(tenant, params.id)
        if task.status.state in ENDED:
            raise TaskNotCancelableError(f"the task {params.id!r} has ended")
        await self.desk.cancel(params.id)
        with move_on_after(CANCEL_SECONDS):
            async for _ in self._rest(tenant, params.id, until=ENDED):
                pass
        return _copy(await self._task(tenant, params.id))

    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Happening, None]:
        """Tell of a task from now on (section 3.1.6)."""
        tenant = self._enter(params, context)
        task = await self._task(tenant, params.id)
        if task.status.state in ENDED:
            raise UnsupportedOperationError(f"the task {params.id!r} has ended; get it instead")
        async for event in self._rest(tenant, params.id, until=ENDED):
            yield event

    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Tell a URL of a task (section 3.1.7)."""
        tenant = self._enter(params, context)
        self.push.check()
        await self._task(tenant, params.task_id)
        return await self.push.add(tenant, params)

    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """One of the URLs that are told (section 3.1.8)."""
        tenant = self._enter(params, context)
        self.push.check()
        await self._task(tenant, params.task_id)
        for hook in await self.desk.tasks.hooks(tenant, params.task_id):
            if hook.id == params.id:
                return hook
        raise TaskNotFoundError(f"the task {params.task_id!r} has no push notification {params.id!r}")

    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """All the URLs that are told (section 3.1.9)."""
        tenant = self._enter(params, context)
        self.push.check()
        await self._task(tenant, params.task_id)
        return ListTaskPushNotificationConfigsResponse(configs=await self.desk.tasks.hooks(tenant, params.task_id))

    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Tell a URL no more (section 3.1.10)."""
        tenant = self._enter(params, context)
        self.push.check()
        await self._task(tenant, params.task_id)
        await self.desk.tasks.drop_hook(tenant, params.task_id, params.id)

    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """The card for those whom we know (section 3.1.11)."""
        self._enter(params, context)
        if not self.card().capabilities.extended_agent_card:
            raise UnsupportedOperationError("there is no extended card")
        if self.extended is None:
            raise ExtendedAgentCardNotConfiguredError
        return self.extended()


async def _rested(job: Job) -> None:
    """Wait until the task has ended or asks. If whoever waits leaves before, it is a task for good."""
    try:
        with closing(job.listen()) as events:
            if job.asks or job.task.status.state in ENDED:
                return
            async for event in events:
                if not isinstance(event, Task) and _is_in(event, RESTING):
                    return
    finally:
        job.brief = False


def _is_in(event: Any, states: frozenset[int]) -> bool:
    status = getattr(event, "status", None)
    return status is not None and status.state in states


def _header(context: ServerCallContext, name: str) -> str:
    headers = context.state.get("headers", {})
    return str(headers.get(name) or headers.get(name.lower()) or "").strip()


def _copy(task: Task) -> Task:
    """A task of the asker's own: the one at work goes on changing."""
    copy = Task()
    copy.CopyFrom(task)
    return copy
