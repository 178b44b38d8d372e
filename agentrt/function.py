"""Python functions as tools: the ``tool`` decorator and the local toolset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType, MethodType, TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from agentrt.outside import tapped
from agentrt.toolset import Outcome, Progress, Toolset
from agentrt.types import CheckedCall, ToolResult, ToolSpec

if TYPE_CHECKING:
    from agentrt.signature import Bound


@dataclass(frozen=True, slots=True)
class Function:
    """A typed Python function with what it promises; still callable as itself.

    The schema comes from its signature and docstring when it is first offered (see :mod:`agentrt.signature`).
    """

    call: Callable[..., Any]
    name: str = ""
    read_only: bool = False
    idempotent: bool = False
    repair: bool = True
    verify: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, without the gate."""
        return self.call(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Function:
        """A method decorated in its class, bound to the instance that it is looked up on."""
        if instance is None:
            return self
        verify = MethodType(self.verify, instance) if isinstance(self.verify, FunctionType) else self.verify
        return replace(self, call=MethodType(self.call, instance), verify=verify)

    def spec(self) -> ToolSpec:
        """The tool as it is offered to a model.

        :raises ConfigError: if the signature can't be turned into a schema.
        """
        return _bind(self).spec


@overload
def tool(function: Callable[..., Any]) -> Function: ...
@overload
def tool(
    *,
    name: str = "",
    read_only: bool = False,
    idempotent: bool = False,
    repair: bool = True,
    verify: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], Function]: ...
def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str = "",
    read_only: bool = False,
    idempotent: bool = False,
    repair: bool = True,
    verify: Callable[..., Any] | None = None,
) -> Function | Callable[[Callable[..., Any]], Function]:
    """Make a tool of a typed function, sync (it runs in a thread) or async.

    ``read_only`` promises that it changes nothing, so it may start while the model is still decoding;
    ``idempotent`` that doing it twice is as doing it once; ``repair=False`` switches the gate's repairs off.
    A parameter annotated :data:`agentrt.Progress` receives a callback to report progress, to be awaited in an
    async function and called in a plain one. A generator's items are gathered into one list.
    One annotated :data:`agentrt.Key` receives the call's idempotency key.

    ``verify(key, **arguments)``, sync or async, is asked after a crash what came of a call that was in flight.
    It returns what the tool itself would have, :data:`agentrt.NOT_RUN` if the call certainly had no effect
    (it then runs), or ``None`` if nobody can tell. In a class it is a method, as the tool is.
    """

    def wrap(call: Callable[..., Any]) -> Function:
        return Function(call, name, read_only, idempotent, repair, verify)

    return wrap if function is None else wrap(function)


SENSITIVE = "x-sensitive"
"""The keyword of JSON Schema that marks such a value; a server may say it too, for it only makes things stricter."""


@dataclass(frozen=True, slots=True)
class Sensitive:
    """Marks a parameter that only the user or a trusted source may supply: ``to: Annotated[str, Sensitive()]``.

    A call in which the model or a stranger's text supplied it is asked about (:mod:`agentrt.policy`).
    """

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Callable[[Any], dict[str, Any]]) -> Any:
        return {**handler(core_schema), SENSITIVE: True}


def _bind(function: Function) -> Bound:
    from agentrt.signature import bind  # pydantic costs 0.1 s: it is loaded when a function is first offered

    return bind(function)


@dataclass(slots=True)
class Local:
    """A toolset of Python functions in this process. Plain functions are taken as tools that may write."""

    functions: Iterable[Function | Callable[..., Any]]
    _bound: dict[str, Bound] = field(default_factory=dict)
    _specs: tuple[ToolSpec, ...] = ()

    async def __aenter__(self) -> Self:
        bound = [_bind(item if isinstance(item, Function) else Function(item)) for item in self.functions]
        self._bound = {item.spec.name: item for item in bound}
        self._specs = tuple(item.spec for item in bound)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def specs(self) -> Sequence[ToolSpec]:
        """One spec a function, in the order they were given."""
        return self._specs

    async def call(self, call: CheckedCall, progress: Progress) -> ToolResult:
        """Run the function; what it raises is left to the caller, who makes it the model's to read."""
        return await tapped("function", self._bound[call.name].run)(call, progress)

    async def outcome(self, call: CheckedCall) -> Outcome:
        """Ask the function's ``verify``, if it has one, what came of the call."""
        return await self._bound[call.name].outcome(call)


def gathered(tools: Iterable[Toolset | Function | Callable[..., Any]]) -> list[Toolset]:
    """Functions gathered into one local toolset, in front of the others."""
    given: list[Any] = list(tools)
    functions = [tool for tool in given if not hasattr(tool, "specs")]
    toolsets: list[Toolset] = [tool for tool in given if hasattr(tool, "specs")]
    return [Local(functions), *toolsets] if functions else toolsets
