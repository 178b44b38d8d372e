"""Engines and connectors by name, found through entry points, so that the core names none of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from agentrt.engine import Engine
from agentrt.errors import ConfigError


def engine_from(name: str) -> Engine:
    """The engine called ``SCHEME:REST``, e.g. ``vllm:moonshotai/Kimi-K2.6`` or ``http://host:8000/v1#model``.

    The entry point ``SCHEME`` of the group ``agentrt.engines`` is a factory that takes the whole name.

    :raises ConfigError: if no engine has that scheme, or the factory does not like the rest.
    """
    scheme = name.partition(":")[0]
    factories = {found.name: found for found in entry_points(group="agentrt.engines")}
    if scheme not in factories:
        raise ConfigError(f"unknown engine {name!r}; it must start with one of {sorted(factories)} and a colon")
    engine: Engine = factories[scheme].load()(name)
    return engine


def connector(name: str) -> Callable[..., Any]:
    """The function that makes toolsets of the kind ``name``, from the group ``agentrt.connectors``.

    :raises ConfigError: if it is not installed.
    """
    for found in entry_points(group="agentrt.connectors", name=name):
        factory: Callable[..., Any] = found.load()
        return factory
    raise ConfigError(f"no connector {name!r} is installed; try: pip install 'agentrt[{name}]'")
