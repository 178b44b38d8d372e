"""The shape of agentrt's configuration, strict: a key that is not known is an error that names the nearest one."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic import ValidationError as PydanticError

from agentrt.compaction.plan import Compaction
from agentrt.config.access import AuthConfig, TokenExchangeConfig
from agentrt.config.rules import MatchConfig, PermissionsConfig, RuleConfig
from agentrt.config.serving import OAuthConfig, ServeConfig, ServeLimitsConfig
from agentrt.config.strict import Strict
from agentrt.errors import ConfigError
from agentrt.limits import Limits
from agentrt.types import Usage

Lifted = Literal["none"]
Class = Literal["read-only", "idempotent", "unsafe"]
Transport = Literal["stdio", "http", "sse"]
SamplingRule = Literal["deny", "ask", "allow"]
Host = Literal["claude", "claude-desktop", "cursor", "codex", "kimi", "vscode"]
HOST_NAMES: tuple[str, ...] = get_args(Host)
_FREE = (
    "a2a", "mcp_servers", "engine_options", "env", "headers", "classes", "prices", "tokens", "doors", "schemes",
    "card_keys", "rules", "when", "sensitive",
)  # fmt: skip
"""Tables whose keys are the user's own."""


class LimitsConfig(Strict):
    """``[limits]``: as :class:`agentrt.Limits`; ``"none"`` lifts a limit that may be lifted."""

    turns: PositiveInt | Lifted | None = None
    calls: PositiveInt | Lifted | None = None
    tokens: PositiveInt | Lifted | None = None
    cost: PositiveFloat | Lifted | None = None
    seconds: PositiveFloat | Lifted | None = None
    call_seconds: PositiveFloat | None = None
    identical_calls: PositiveInt | Lifted | None = None
    rejected_turns: PositiveInt | Lifted | None = None
    retries: NonNegativeInt | None = None
    result_chars: PositiveInt | None = None

    def limits(self) -> Limits:
        """The run's limits: what is set here over the defaults."""
        given: dict[str, Any] = {name: value for name, value in self if value is not None}
        lifted: dict[str, Any] = {name: None for name, value in given.items() if value == "none"}
        return replace(Limits(), **{**given, **lifted})


class CompactionConfig(Strict):
    """``[compaction]``: as :class:`agentrt.Compaction`; ``enabled = false`` leaves conversations to grow."""

    enabled: bool = True
    context_tokens: PositiveInt | None = None
    share: float | None = Field(default=None, gt=0, le=1)
    target: float | None = Field(default=None, gt=0, le=1)
    keep_turns: PositiveInt | None = None
    result_chars: int | None = Field(default=None, ge=500)
    summary_tokens: PositiveInt | None = None
    turns_ahead: PositiveInt | None = None
    cached: NonNegativeFloat | None = None
    completion: NonNegativeFloat | None = None

    def compaction(self) -> Compaction | None:
        """What is set here over the defaults, or ``None`` if it is off.

        :raises ConfigError: if ``target`` is over ``share``.
        """
        given = {name: value for name, value in self if value is not None and name != "enabled"}
        return Compaction(**given) if self.enabled else None


class _SourceConfig(Strict):
    """What holds for any source of tools: whether it is used, which of its tools, and how long it may take."""

    enabled: bool = True
    required: bool = False
    enabled_tools: tuple[str, ...] | None = None
    disabled_tools: tuple[str, ...] = ()
    start_seconds: PositiveFloat = 30.0
    idle_seconds: PositiveFloat = 60.0
    call_seconds: PositiveFloat = 600.0


class SandboxConfig(Strict):
    """``[sandbox]``: whether programs are boxed in, and what all of them may reach, read and write inside.

    ``hosts`` are names or globs; ``read`` and ``write`` are paths, from the file's folder.
    """

    enabled: bool | None = None
    hosts: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


class NetworkConfig(Strict):
    """``[network]``: the hosts and networks that are not on the public internet and may be reached all the same."""

    allow: tuple[str, ...] = ()


class ServerConfig(_SourceConfig):
    """``[mcp_servers.NAME]``: an MCP server that is started (``command``) or reached (``url``).

    Texts may hold ``${NAME}`` or ``${NAME:-default}``; a value of ``env``, ``headers`` or ``bearer_token``
    may be ``env:NAME``, ``file:PATH`` or ``keyring:SERVICE/NAME``, so that no secret has to stand in a file.
    ``roots`` are folders that the server is told to work in; ``sampling`` says whether it may ask the model: no,
    after a question each time, or yes. A server that is started is boxed in unless ``sandbox`` is false; ``hosts``,
    ``read`` and ``write`` widen its box.
    """

    command: str | tuple[str, ...] | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    bearer_token: str | None = None
    auth: AuthConfig | None = None
    transport: Transport | None = None
    trusted: bool = False
    resources: bool = True
    roots: tuple[str, ...] = ()
    sampling: SamplingRule = "deny"
    sandbox: bool = True
    hosts: tuple[str, ...] | None = None
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError("give either 'command' (a server to start) or 'url' (a server to reach)")
        if self.auth is not None and not self.url:
            raise ValueError("'auth' belongs to a server with a 'url'")
        if self.url and not self.url.startswith(("http://", "https://", "${")):
            raise ValueError(f"'url' must start with http:// or https://, got {self.url!r}")
        return self

    @property
    def argv(self) -> tuple[str, ...]:
        """The command and its arguments, empty for a server that is reached by URL."""
        if self.command is None:
            return ()
        if isinstance(self.command, tuple):
            return (*self.command, *self.args)
        return (self.command, *self.args) if self.args else tuple(shlex.split(self.command))


class PriceConfig(Strict):
    """``[prices]``: dollars for a million tokens, or for a second of each of the ``gpus`` that serve the model."""

    input: NonNegativeFloat | None = None
    output: NonNegativeFloat | None = None
    cached: NonNegativeFloat | None = None
    gpu_second: NonNegativeFloat | None = None
    gpus: PositiveInt = 1

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.input is None) != (self.output is None) or (self.input is None) == (self.gpu_second is None):
            raise ValueError("give 'input' and 'output' (dollars for a million tokens), or 'gpu_second'")
        return self

    def cost(self, usage: Usage, engine_seconds: float) -> float:
        """Dollars for this use."""
        if self.gpu_second is not None:
            return engine_seconds * self.gpu_second * self.gpus
        cached = usage.cached_tokens if self.cached is not None else 0
        fresh = (usage.prompt_tokens - cached) * (self.input or 0.0)
        return (fresh + cached * (self.cached or 0.0) + usage.completion_tokens * (self.output or 0.0)) / 1e6


class PeerOAuthConfig(Strict):
    """``[a2a.NAME.oauth]``: us, as a client of the peer's OAuth 2 server."""

    client_id: str
    client_secret: str = ""
    token_url: str = ""
    scopes: tuple[str, ...] = ()
    refresh_token: str = ""
    authorization_url: str = ""
    redirect_port: int = Field(0, ge=0, le=65_535)


class PeerConfig(_SourceConfig):
    """``[a2a.NAME]``: an A2A agent whose skills become tools.

    What proves who we are (``token``, ``api_key``, ``user``, values of ``schemes`` and ``headers``, the secrets of
    ``oauth``) may be ``env:NAME`` or ``file:PATH``; ``certificate``, ``key`` and ``authorities`` are PEM files for
    TLS. ``card_keys`` are PEM files by key id: with any, a card that none of them signed is refused.
    """

    url: str
    token: str = ""
    api_key: str = ""
    user: str = ""
    schemes: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    oauth: PeerOAuthConfig | None = None
    certificate: str | None = None
    key: str | None = None
    authorities: str | None = None
    card_keys: dict[str, str] = Field(default_factory=dict)
    bindings: tuple[Literal["JSONRPC", "HTTP+JSON", "GRPC"], ...] = ("JSONRPC", "HTTP+JSON", "GRPC")
    streaming: bool = True
    tokens: PositiveInt | None = None
    cost: PositiveFloat | None = None


class Config(Strict):
    """One file, or all files merged. ``[engine_options]`` are handed to the engine as they are.

    ``[classes]``: what running a call again does, by tool name or pattern; the first that fits counts, over
    whatever the tool's source says of it.
    """

    engine: str | None = None
    engine_options: dict[str, Any] = Field(default_factory=dict)
    instructions: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=5)
    max_answer_tokens: PositiveInt | None = None
    tools: tuple[str, ...] = ()
    tool_files: tuple[str, ...] = ()
    root: str | None = None
    classes: dict[str, Class] = Field(default_factory=dict)
    prices: dict[str, PriceConfig] = Field(default_factory=dict)
    limits: LimitsConfig = LimitsConfig()
    compaction: CompactionConfig = CompactionConfig()
    permissions: PermissionsConfig = PermissionsConfig()
    sandbox: SandboxConfig = SandboxConfig()
    network: NetworkConfig = NetworkConfig()
    mcp_servers: dict[str, ServerConfig] = Field(default_factory=dict)
    a2a: dict[str, PeerConfig] = Field(default_factory=dict)
    serve: ServeConfig = ServeConfig()
    imports: tuple[Host, ...] = Field(default=(), alias="import")

    def price(self, engine: str) -> PriceConfig | None:
        """The price of an engine by its name, the first pattern that fits."""
        return next((price for pattern, price in self.prices.items() if fnmatchcase(engine, pattern)), None)


_AUTH: dict[str, type[BaseModel]] = {"": AuthConfig, "exchange": TokenExchangeConfig}
_TABLES: dict[str, type[BaseModel]] = {
    "limits": LimitsConfig,
    "compaction": CompactionConfig,
    "permissions": PermissionsConfig,
    "sandbox": SandboxConfig,
    "network": NetworkConfig,
}
_SERVE: dict[str, type[BaseModel]] = {"": ServeConfig, "oauth": OAuthConfig, "limits": ServeLimitsConfig}


def check(raw: dict[str, Any], path: Path | str) -> Config:
    """The configuration in ``raw``.

    :raises ConfigError: naming ``path``, every wrong key, and the key that was probably meant.
    """
    try:
        return Config.model_validate(raw)
    except PydanticError as error:
        raise ConfigError(f"{path}:\n" + "\n".join(f"  {line}" for line in _problems(error, Config))) from None


def check_server(raw: dict[str, Any]) -> ServerConfig:
    """One server, from another host's file whose keys were already translated.

    :raises ConfigError: if it can't be used; the message is one line.
    """
    try:
        return ServerConfig.model_validate(raw)
    except PydanticError as error:
        raise ConfigError("; ".join(_problems(error, ServerConfig))) from None


def _problems(error: PydanticError, model: type[BaseModel]) -> list[str]:
    """One line a key, whatever the number of union branches that pydantic tried."""
    lines: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        path = _key_path(item["loc"], model)
        key = ".".join(path)
        if item["type"] == "extra_forbidden":
            lines[key] = [_unknown(path, model)]
        else:
            message = item["msg"].removeprefix("Value error, ")
            lines.setdefault(key, []).append(message[:1].lower() + message[1:])
    return [f"{key!r}: {', or '.join(dict.fromkeys(said))}" if key else ", ".join(said) for key, said in lines.items()]


def _key_path(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The keys of ``location`` without the branch names that pydantic adds for unions."""
    path: list[str] = []
    table: type[BaseModel] | None = model
    for step in location:
        if table is None and isinstance(step, str) and path[-1] not in _FREE:
            continue
        path.append(str(step))
        table = _inside(path, model)
    return path


def _inside(path: list[str], model: type[BaseModel]) -> type[BaseModel] | None:
    """The model of the table at ``path``, or ``None`` where there are values or free keys."""
    match path:
        case []:
            return model
        case ["permissions", *rest] if model is Config:
            return _inside_permissions(rest)
        case [name] if model is Config and name in _TABLES:
            return _TABLES[name]
        case ["mcp_servers", _] if model is Config:
            return ServerConfig
        case ["mcp_servers", _, "auth", *rest] if model is Config:
            return _AUTH.get(".".join(rest))
        case ["prices", _] if model is Config:
            return PriceConfig
        case ["a2a", _] if model is Config:
            return PeerConfig
        case ["a2a", _, "oauth"] if model is Config:
            return PeerOAuthConfig
        case ["serve", *rest] if model is Config:
            return _SERVE.get(".".join(rest))
        case _:
            return None


def _inside_permissions(path: list[str]) -> type[BaseModel] | None:
    match path:
        case []:
            return PermissionsConfig
        case ["rules", _]:
            return RuleConfig
        case ["rules", _, "when", _]:
            return MatchConfig
        case _:
            return None


def _unknown(path: list[str], model: type[BaseModel]) -> str:
    table = _inside(path[:-1], model)
    fields = table.model_fields.items() if table else ()
    known = [field.alias or name for name, field in fields]
    near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
    return f"is not known; did you mean {near[0]!r}?" if near else f"is not known; known keys: {', '.join(known)}"
