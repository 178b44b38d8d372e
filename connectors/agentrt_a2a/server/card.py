"""Our agent card: what we are called, where and how we are spoken to, and what we can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentProvider,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from a2a.utils.signing import create_agent_card_signer

from agentrt.errors import ConfigError
from agentrt.types import ToolSpec
from agentrt_a2a.delegation import URI

RPC_PATH = "/a2a"
REST_PATH = "/a2a/rest"
INPUT_MODES = ("text/plain", "application/json")
OUTPUT_MODES = ("text/plain", "application/json")


@dataclass(frozen=True, slots=True)
class Profile:
    """What the operator says of the agent, beside its name: ``[serve.doors.a2a]`` of the configuration."""

    name: str
    description: str
    url: str
    schemes: Sequence[str] = ()
    skills: Sequence[Mapping[str, Any]] = ()
    provider: Mapping[str, str] = field(default_factory=dict)
    documentation_url: str = ""
    icon_url: str = ""
    grpc: str = ""
    legacy: bool = False
    push: bool = True
    signing_key: Path | None = None
    signing_key_id: str = "agentrt"
    jku: str = ""


def build(profile: Profile, agent: str, specs: Iterable[ToolSpec], *, extended: bool = False) -> AgentCard:
    """The card (A2A 1.0 section 4.4); the extended one also names the agent's tools.

    :raises ConfigError: if it is to be signed and can't be.
    """
    about = profile.description or f"The agent {profile.name!r}, which answers in words and works with tools."
    card = AgentCard(
        name=profile.name,
        description=about,
        version=version("agentrt"),
        supported_interfaces=_interfaces(profile),
        capabilities=_capabilities(profile, agent),
        default_input_modes=INPUT_MODES,
        default_output_modes=OUTPUT_MODES,
        skills=_skills(profile, about, specs if extended else ()),
        **{name: value for name in ("documentation_url", "icon_url") if (value := getattr(profile, name))},
    )
    if profile.provider:
        provider = AgentProvider(
            organization=profile.provider.get("organization", ""), url=profile.provider.get("url", "")
        )
        card.provider.CopyFrom(provider)
    for name, scheme in _security(profile).items():
        card.security_schemes[name].CopyFrom(scheme)
        card.security_requirements.append(SecurityRequirement(schemes={name: StringList()}))
    return _signed(card, profile) if profile.signing_key is not None else card


def _interfaces(profile: Profile) -> list[AgentInterface]:
    ways = [(profile.url + RPC_PATH, "JSONRPC"), (profile.url + REST_PATH, "HTTP+JSON")]
    if profile.grpc:
        ways.append((profile.grpc, "GRPC"))
    found = [AgentInterface(url=url, protocol_binding=way, protocol_version="1.0") for url, way in ways]
    if profile.legacy:
        found += [AgentInterface(url=url, protocol_binding=way, protocol_version="0.3") for url, way in ways[:2]]
    return found


def _capabilities(profile: Profile, agent: str) -> AgentCapabilities:
    about = "Reads who handed a task on, its deadline and its budget; knows a message that is sent again by its id."
    extension = AgentExtension(uri=URI, description=about)
    extension.params.update({"agent": agent, "idempotent": True})
    return AgentCapabilities(
        streaming=True,
        push_notifications=profile.push,
        extended_agent_card=bool(profile.schemes),
        extensions=[extension],
    )


def _skills(profile: Profile, about: str, specs: Iterable[ToolSpec]) -> list[AgentSkill]:
    named = [_skill(skill) for skill in profile.skills]
    skills = named or [
        AgentSkill(
            id="agent",
            name=profile.name,
            description=about,
            tags=["agent"],
            examples=["What can you do?"],
            input_modes=INPUT_MODES,
            output_modes=OUTPUT_MODES,
        )
    ]
    tools = [
        AgentSkill(id=spec.name, name=spec.title or spec.name, description=spec.description or spec.name, tags=["tool"])
        for spec in specs
    ]
    return skills + tools


def _skill(said: Mapping[str, Any]) -> AgentSkill:
    try:
        skill = AgentSkill(**{name: value for name, value in said.items() if name != "answer"})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"[[serve.doors.a2a.skills]] can't be read: {error}") from error
    if not (skill.id and skill.name and skill.description and skill.tags):
        raise ConfigError("each [[serve.doors.a2a.skills]] needs an id, a name, a description and tags")
    return skill


def _security(profile: Profile) -> dict[str, SecurityScheme]:
    schemes: dict[str, SecurityScheme] = {}
    if "bearer" in profile.schemes:
        bearer = HTTPAuthSecurityScheme(scheme="Bearer", description="A token from the operator.")
        schemes["bearer"] = SecurityScheme(http_auth_security_scheme=bearer)
    if "oauth2" in profile.schemes:
        about = f"An OAuth 2 access token; {profile.url}/.well-known/oauth-protected-resource names who gives one."
        bearer = HTTPAuthSecurityScheme(scheme="Bearer", bearer_format="JWT", description=about)
        schemes["oauth2"] = SecurityScheme(http_auth_security_scheme=bearer)
    return schemes


def _signed(card: AgentCard, profile: Profile) -> AgentCard:
    """The card with a signature (section 8.4) by the operator's private key (PEM, ES256)."""
    assert profile.signing_key is not None, "only called where there is a key"
    header = {"kid": profile.signing_key_id, "alg": "ES256", "typ": "JOSE"} | (
        {"jku": profile.jku} if profile.jku else {}
    )
    try:
        key = profile.signing_key.read_bytes()
        return create_agent_card_signer(key, header)(card)  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"the card can't be signed with {str(profile.signing_key)!r}: {error}") from error
