"""The flags that several commands share, each declared once, in groups."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from typer import BadParameter, Option

_SOURCES = "Where tools come from"
_RUN = "The run"
_LIMITS = "Limits (a number, or none)"
_RULES = "Permissions"
_FILES = "Configuration"
_SESSION = "The session"
_OUTPUT = "Output"


def _limit(whole: bool) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text != "none":
            try:
                good = (int(text) if whole else float(text)) > 0
            except ValueError:
                good = False
            if not good:
                raise BadParameter(f"{text!r} must be a {'whole number' if whole else 'number'} above 0, or none")
        return text

    return parse


def _count(name: str, words: str) -> Any:
    return Option(name, metavar="N", parser=_limit(whole=True), help=words, rich_help_panel=_LIMITS)


def _amount(name: str, words: str) -> Any:
    return Option(name, metavar="N", parser=_limit(whole=False), help=words, rich_help_panel=_LIMITS)


@dataclass(frozen=True, slots=True)
class ConfigFlags:
    """Which configuration is read."""

    config: Annotated[
        Path | None,
        Option("--config", metavar="FILE", help="Read FILE in place of the project's files.", rich_help_panel=_FILES),
    ] = None
    no_config: Annotated[
        bool, Option("--no-config", help="Read no configuration that is not named.", rich_help_panel=_FILES)
    ] = False
    imports: Annotated[
        str,
        Option(
            "--import",
            metavar="HOSTS",
            help="Use the MCP servers of other hosts too: claude,claude-desktop,cursor,codex,kimi,vscode.",
            rich_help_panel=_FILES,
        ),
    ] = ""
    trust_project: Annotated[
        bool,
        Option("--trust-project", help="Trust the project's files for this once.", rich_help_panel=_FILES),
    ] = False


@dataclass(frozen=True, slots=True)
class ToolFlags:
    """Where tools come from, beside the configuration."""

    mcp: Annotated[
        list[str],
        Option("--mcp", metavar="CMD|URL", help="An MCP server to start or to reach.", rich_help_panel=_SOURCES),
    ] = field(default_factory=list)
    mcp_config: Annotated[
        list[Path],
        Option("--mcp-config", metavar="FILE", help="A file of MCP servers (JSON, TOML).", rich_help_panel=_SOURCES),
    ] = field(default_factory=list)
    trust: Annotated[
        list[str],
        Option(
            "--trust",
            metavar="NAME",
            help="An MCP server to believe when it says that a tool only reads, or may be repeated.",
            rich_help_panel=_SOURCES,
        ),
    ] = field(default_factory=list)
    a2a: Annotated[
        list[str],
        Option("--a2a", metavar="URL", help="An A2A agent whose skills become tools.", rich_help_panel=_SOURCES),
    ] = field(default_factory=list)
    python: Annotated[
        list[str],
        Option(
            "--tool",
            metavar="FILE.py[:NAME]",
            help="Python tools: a file's @tool functions, one of them, or MODULE:NAME.",
            rich_help_panel=_SOURCES,
        ),
    ] = field(default_factory=list)
    pack: Annotated[
        list[str],
        Option(
            "--pack", metavar="NAMES", help="Packs that come along, e.g. clock,calculator.", rich_help_panel=_SOURCES
        ),
    ] = field(default_factory=list)
    find_tools: Annotated[
        bool,
        Option("--find-tools", help="Show a search for tools instead of all of them.", rich_help_panel=_SOURCES),
    ] = False
    root: Annotated[
        Path | None,
        Option("--root", metavar="DIR", help="The folder that tools and boxes are kept in.", rich_help_panel=_SOURCES),
    ] = None
    sandbox: Annotated[
        bool | None,
        Option(
            "--sandbox/--no-sandbox",
            help="Box in shell, Python and MCP servers (the default), or do not.",
            rich_help_panel=_RULES,
        ),
    ] = None
    reach: Annotated[
        list[str],
        Option("--reach", metavar="HOST", help="A host that boxed programs may reach.", rich_help_panel=_RULES),
    ] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EngineFlags:
    """What answers."""

    engine: Annotated[
        str | None,
        Option("--engine", "-e", metavar="NAME", help="The engine, e.g. vllm:MODEL.", rich_help_panel=_RUN),
    ] = None


@dataclass(frozen=True, slots=True)
class RunFlags:
    """How a run goes."""

    instructions: Annotated[
        str | None,
        Option("--instructions", "-i", metavar="TEXT|@FILE", help="What the model is told.", rich_help_panel=_RUN),
    ] = None
    temperature: Annotated[
        float | None, Option("--temperature", metavar="N", min=0, max=5, help="Sampling.", rich_help_panel=_RUN)
    ] = None
    max_turns: Annotated[str | None, _count("--max-turns", "Turns.")] = None
    max_calls: Annotated[str | None, _count("--max-calls", "Tool calls.")] = None
    max_seconds: Annotated[str | None, _amount("--max-seconds", "Wall time.")] = None
    max_cost: Annotated[str | None, _amount("--max-cost", "US dollars, where prices are known.")] = None
    max_tokens: Annotated[str | None, _count("--max-tokens", "Prompt and completion tokens over all turns.")] = None


@dataclass(frozen=True, slots=True)
class PermissionFlags:
    """What may run without asking."""

    mode: Annotated[
        str | None,
        Option(
            "--mode",
            metavar="read-only|ask|workspace|full",
            help="Calls that may write: refuse, ask, ask if their values are not yours, or run.",
            rich_help_panel=_RULES,
        ),
    ] = None
    allow: Annotated[
        list[str], Option("--allow", metavar="GLOB", help="Tools to run without asking.", rich_help_panel=_RULES)
    ] = field(default_factory=list)
    deny: Annotated[list[str], Option("--deny", metavar="GLOB", help="Tools never to run.", rich_help_panel=_RULES)] = (
        field(default_factory=list)
    )
    yes: Annotated[bool, Option("--yes", "-y", help="Answer yes to every question.", rich_help_panel=_RULES)] = False


@dataclass(frozen=True, slots=True)
class SessionFlags:
    """Where the session is kept, and which one goes on."""

    resume: Annotated[
        str,
        Option(
            "--resume",
            metavar="ID",
            help="Go on with this session (its id, or a part of it).",
            rich_help_panel=_SESSION,
        ),
    ] = ""
    go_on: Annotated[
        bool, Option("--continue", "-c", help="Go on with the latest session.", rich_help_panel=_SESSION)
    ] = False
    store: Annotated[
        str,
        Option(
            "--store",
            envvar="AGENTRT_STORE",
            metavar="FILE|URL",
            help="Where sessions are kept, if not in your home.",
            rich_help_panel=_SESSION,
        ),
    ] = ""
    no_journal: Annotated[
        bool,
        Option("--no-journal", "--ephemeral", help="Keep nothing of this session.", rich_help_panel=_SESSION),
    ] = False
    wait: Annotated[
        bool,
        Option(
            "--wait",
            help="Without a terminal, wait until `agentrt sessions answer` says a word.",
            rich_help_panel=_SESSION,
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class OutputFlags:
    """What is printed."""

    json: Annotated[bool, Option("--json", help="Events as JSON lines on stdout.", rich_help_panel=_OUTPUT)] = False
    quiet: Annotated[bool, Option("--quiet", "-q", help="The answer and errors only.", rich_help_panel=_OUTPUT)] = False


def with_flags(command: Callable[..., int]) -> Callable[..., int]:
    """``command`` with the flags of every group among its parameters, in place of the group."""
    signature = inspect.signature(command, eval_str=True)
    taken: dict[str, Any] = {name: item.annotation for name, item in signature.parameters.items()}
    groups: dict[str, Any] = {name: kind for name, kind in taken.items() if is_dataclass(kind)}
    parameters = [item for item in signature.parameters.values() if item.name not in groups]
    for group in groups.values():
        hints = get_type_hints(group, include_extras=True)
        parameters += [_parameter(item, hints[item.name]) for item in fields(group)]

    @wraps(command)
    def flat(**given: Any) -> int:
        built = {
            name: group(**{item.name: given.pop(item.name) for item in fields(group)}) for name, group in groups.items()
        }
        return command(**given, **built)

    keyword = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in parameters]
    flat.__signature__ = signature.replace(parameters=keyword)  # type: ignore[attr-defined]
    flat.__annotations__ = {item.name: item.annotation for item in parameters} | {"return": int}
    return flat


def typed(*groups: Any, leaving: Collection[str] = ()) -> list[str]:
    """The words that give the flags of ``groups`` what they have, without those called in ``leaving``."""
    words: list[str] = []
    for group in groups:
        hints = get_type_hints(type(group), include_extras=True)
        for item in fields(group):
            value = getattr(group, item.name)
            if item.name in leaving or value in (None, "", False, []):
                continue
            name = get_args(hints[item.name])[1].default  # where typer keeps the first name of an annotated option
            for one in value if isinstance(value, list) else [value]:
                words += [name] if one is True else [name, str(one)]
    return words


def _parameter(item: Field[Any], annotation: Any) -> inspect.Parameter:
    default = item.default if item.default_factory is MISSING else item.default_factory()
    return inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
