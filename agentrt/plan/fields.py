"""Reading sizes out of a config, so that a wrong one is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]

LARGEST = 10**8
"""Above any size that a model's config names."""


def size(config: Config, *names: str) -> int:
    """The first of ``names`` that the config has.

    :raises ValueError: if it is not a positive whole number of a model's order.
    :raises KeyError: if the config has none of them.
    """
    for name in names:
        value = config.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < LARGEST:
                raise ValueError(f"{name} is {value!r}, which should be a positive whole number")
            return value
    raise KeyError(" or ".join(names))
