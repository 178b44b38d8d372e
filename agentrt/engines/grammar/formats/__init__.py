"""The formats for which there is a grammar, one a module."""

from __future__ import annotations

from collections.abc import Mapping

from agentrt.engines.grammar.formats.deepseek import DeepSeekShape
from agentrt.engines.grammar.formats.glm import GlmShape
from agentrt.engines.grammar.formats.harmony import HarmonyShape
from agentrt.engines.grammar.formats.hermes import HermesShape
from agentrt.engines.grammar.formats.kimi import KimiShape
from agentrt.engines.grammar.parts import Shape

SHAPES: Mapping[str, Shape] = {
    "kimi": KimiShape(),
    "hermes": HermesShape(),
    "deepseek": DeepSeekShape(),
    "glm": GlmShape(),
    "harmony": HarmonyShape(),
}
"""By the names of :data:`agentrt.engines.toolparse.FORMATS`."""
